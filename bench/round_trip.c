/* bench/round_trip.c: the remote runtime against bare libcurl: round_trip PORT TOKEN N
 *
 * Both ask the same server for the same, in turns, each on its kept connection: GET /is_alive, and the POST of an
 * execution of `true`. Prints medians. */
#include <crex/crex.h>
#include <curl/curl.h>

#include "bench.h"

static double median(double *us, size_t n)
{
	qsort(us, n, sizeof *us, compare_doubles);
	return us[n / 2];
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	(void)data;
	*(size_t *)arg += size * n;
	return size * n;
}

static CURL *bare(const char *port, const char *path, struct curl_slist *headers, const char *body, size_t *got)
{
	char url[128];
	CURL *e = curl_easy_init();
	if (!e)
		die("libcurl fails");
	snprintf(url, sizeof url, "http://127.0.0.1:%s%s", port, path);
	curl_easy_setopt(e, CURLOPT_URL, url);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, got);
	if (body)
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
	return e;
}

enum { GET, ALIVE, POST, EXECUTE, KINDS };

struct asker {
	CURL *get, *post;
	struct crex_runtime *rt;
	const struct crex_execute_request *run;
};

static void ask(const struct asker *a, int kind)
{
	const struct crex_call patient = {.timeout = 10};
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	bool good = kind == GET	    ? curl_easy_perform(a->get) == CURLE_OK
		    : kind == ALIVE ? crex_runtime_is_alive(a->rt, &patient, &alive, NULL) == 0 && alive.is_alive
		    : kind == POST  ? curl_easy_perform(a->post) == CURLE_OK
				    : crex_runtime_execute(a->rt, a->run, &patient, &res, NULL) == 0;
	if (!good)
		die("request %d fails", kind);
	crex_is_alive_clear(&alive);
	crex_execute_result_clear(&res);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		die("usage: round_trip PORT TOKEN N");
	size_t n = count_argument(argc, argv, 3, 1000), got = 0;
	char token[256];
	snprintf(token, sizeof token, "X-API-Key: %s", argv[2]);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	struct curl_slist *headers = curl_slist_append(NULL, token);
	headers = curl_slist_append(headers, "Content-Type: application/json");
	CURL *get = bare(argv[1], "/is_alive", headers, NULL, &got);
	CURL *post = bare(argv[1], "/execute", headers, "{\"command\":[\"true\"]}", &got);

	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	config.auth_token = argv[2];
	config.port = atoi(argv[1]);
	struct crex_runtime *rt = crex_remote_runtime_new(&config, NULL);
	if (!rt)
		die("crex_remote_runtime_new fails");
	struct crex_str item = CREX_STR("true");
	struct crex_execute_request run = CREX_EXECUTE_REQUEST_INIT;
	run.command = (struct crex_str_list){&item, 1};
	run.command_is_list = true;

	double *took[KINDS];
	for (int k = 0; k < KINDS; k++)
		if (!(took[k] = calloc(n + 1, sizeof **took)))
			die("no memory");
	struct asker a = {get, post, rt, &run};
	for (int pair = GET; pair < KINDS; pair += 2) {
		for (size_t i = 0; i <= n; i++) { /* the first round opens the connections */
			for (int k = 0; k < 2; k++) {
				int kind = pair + (i % 2 ? 1 - k : k); /* who comes after whom must not count */
				double began = now_us();
				ask(&a, kind);
				took[kind][i ? i - 1 : 0] = now_us() - began;
			}
		}
	}
	printf("get_us=%.2f alive_us=%.2f post_us=%.2f execute_us=%.2f\n", median(took[GET], n), median(took[ALIVE], n),
	       median(took[POST], n), median(took[EXECUTE], n));
	for (int k = 0; k < KINDS; k++)
		free(took[k]);
	crex_runtime_free(rt);
	curl_easy_cleanup(get);
	curl_easy_cleanup(post);
	curl_slist_free_all(headers);
	return 0;
}

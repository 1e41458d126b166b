/* bench/hosts.c: what a host program weighs with many remote runtimes: hosts PORT TOKEN N crex|curl
 *
 * crex: N runtimes, each of which has opened a session of its own and run a command there. curl: the floor, N bare
 * libcurl handles with one request each. Either way each has its kept connection in the end. Prints resident KiB before
 * and after. */
#include <crex/crex.h>
#include <curl/curl.h>

#include "bench.h"

static long resident_kb(void)
{
	char line[256];
	long kb = -1;
	FILE *status = fopen("/proc/self/status", "r");
	while (status && fgets(line, sizeof line, status))
		if (sscanf(line, "VmRSS: %ld", &kb) == 1)
			break;
	if (status)
		fclose(status);
	if (kb < 0)
		die("no VmRSS in /proc/self/status");
	return kb;
}

static struct crex_runtime *runtime(const char *port, const char *token, size_t number)
{
	char name[32];
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	config.auth_token = token;
	config.port = atoi(port);
	struct crex_runtime *rt = crex_remote_runtime_new(&config, &err);
	struct crex_create_session_request session = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	snprintf(name, sizeof name, "h%zu", number);
	action.session = session.session = crex_str_of(name);
	session.startup_timeout = 20;
	action.command = crex_str_of("echo hi");
	if (!rt || crex_runtime_create_session(rt, &session, NULL, NULL, &err) < 0 ||
	    crex_runtime_run_in_session(rt, &action, NULL, NULL, &err) < 0)
		die("runtime %zu: %s", number, err.message);
	return rt;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	(void)data, (void)arg;
	return size * n;
}

static CURL *handle(const char *port)
{
	char url[128];
	CURL *e = curl_easy_init();
	snprintf(url, sizeof url, "http://127.0.0.1:%s/is_alive", port);
	if (!e || curl_easy_setopt(e, CURLOPT_URL, url) != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK || curl_easy_perform(e) != CURLE_OK)
		die("libcurl fails");
	return e;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		die("usage: hosts PORT TOKEN N crex|curl");
	size_t n = count_argument(argc, argv, 3, 100);
	bool ours = strcmp(argv[4], "crex") == 0;
	void **all = calloc(n, sizeof *all);
	if (!all)
		die("no memory");
	long before = resident_kb();
	for (size_t i = 0; i < n; i++)
		all[i] = ours ? (void *)runtime(argv[1], argv[2], i) : handle(argv[1]);
	printf("before_kb=%ld after_kb=%ld\n", before, resident_kb());
	if (ours)
		crex_runtime_close(all[0], NULL, NULL); /* the server's sessions, all of them */
	for (size_t i = 0; i < n; i++) {
		if (ours)
			crex_runtime_free(all[i]);
		else
			curl_easy_cleanup(all[i]);
	}
	free(all);
	return 0;
}

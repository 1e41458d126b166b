/* tests/unit/test_remote_faults.c: connections that break at any byte, servers that die and come back, TLS, proxies.
 *
 * The relay cuts the first connection of a call at a given byte; the call must bring the right reply home all the same,
 * and the command, which adds a line to a file, must have run once. */
#include "remote_rig.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 8 };

static struct rig_server server;

static int setup(void **state)
{
	(void)state;
	rig_server_start(&server, 0, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_server_stop(&server);
	return 0;
}

/* --- cuts ----------------------------------------------------------------------------------------------------- */

struct cutter {
	struct relay relay;
	char file[128];
	long request_bytes, reply_bytes;
	int index;
	size_t calls;
	char failure[256];
	pthread_t thread;
};

static bool call_once(struct cutter *c, long request, long reply)
{
	char script[256], want[64];
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	snprintf(want, sizeof want, "%08ld", c->calls);
	snprintf(script, sizeof script, "echo x >> %s; printf %s", c->file, want);
	struct crex_execute_request run = rig_shell(script);
	struct crex_runtime *rt = rig_runtime(c->relay.port);
	relay_set(&c->relay, request, reply, request >= 0 || reply >= 0);
	bool good = crex_runtime_execute(rt, &run, NULL, &res, &err) == 0;
	c->calls++;
	if (!good)
		snprintf(c->failure, sizeof c->failure, "cut at %ld/%ld: %.150s", request, reply, err.message);
	else if (strcmp(res.out, want) != 0 || rig_lines(c->file) != c->calls)
		snprintf(c->failure, sizeof c->failure, "cut at %ld/%ld: output %.20s, %zu lines after %zu calls",
			 request, reply, res.out, rig_lines(c->file), c->calls);
	crex_execute_result_clear(&res);
	crex_error_clear(&err);
	crex_runtime_free(rt);
	return !*c->failure;
}

static void *cut_everywhere(void *arg)
{
	struct cutter *c = arg;
	for (long at = c->index; at < c->request_bytes + c->reply_bytes; at += WORKERS) {
		bool in_request = at < c->request_bytes;
		if (!call_once(c, in_request ? at : -1, in_request ? -1 : at - c->request_bytes))
			break;
	}
	return NULL;
}

static void test_cut_at_every_byte(void **state)
{
	(void)state;
	static struct cutter cutters[WORKERS];
	long request = 0, reply = 0;
	for (int i = 0; i < WORKERS; i++) {
		struct cutter *c = &cutters[i];
		*c = (struct cutter){.index = i};
		relay_start(&c->relay, server.port);
		snprintf(c->file, sizeof c->file, "%s/lines%d", server.home, i);
		assert_true(call_once(c, -1, -1));
		double end = rig_now() + 10;
		while (request == 0 && rig_now() < end) { /* the relay notes them when the connection has ended */
			pthread_mutex_lock(&c->relay.lock);
			request = c->relay.seen_request;
			reply = c->relay.seen_reply;
			pthread_mutex_unlock(&c->relay.lock);
			usleep(1000);
		}
		assert_true(request > 100 && reply > 50);
		c->request_bytes = request;
		c->reply_bytes = reply;
	}
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&cutters[i].thread, NULL, cut_everywhere, &cutters[i]);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(cutters[i].thread, NULL);
	for (int i = 0; i < WORKERS; i++)
		relay_stop(&cutters[i].relay);
	for (int i = 0; i < WORKERS; i++)
		if (*cutters[i].failure)
			fail_msg("%s", cutters[i].failure);
	print_message("%ld bytes of request, %ld of reply\n", request, reply);
}

static void test_gives_up(void **state)
{
	(void)state;
	struct relay relay;
	struct crex_error err = CREX_ERROR_INIT;
	relay_start(&relay, server.port);
	relay_set(&relay, -1, 10, 1000);
	struct crex_runtime *rt = rig_runtime(relay.port);
	char script[160];
	const char *file = rig_path(&server, "given-up");
	snprintf(script, sizeof script, "echo x >> %s", file);
	struct crex_execute_request run = rig_shell(script);
	assert_fails(crex_runtime_execute(rt, &run, NULL, NULL, &err), err, CREX_E_CONNECTION);
	assert_non_null(strstr(err.message, "was lost"));
	assert_int_equal(rig_lines(file), 1);
	crex_runtime_free(rt);
	relay_stop(&relay);
	crex_error_clear(&err);
}

/* --- servers that go ------------------------------------------------------------------------------------------- */

struct caller {
	struct crex_runtime *rt;
	const char *script;
	int r;
	struct crex_error err;
	pthread_t thread;
};

static void *caller_main(void *arg)
{
	struct caller *c = arg;
	struct crex_execute_request run = rig_shell(c->script);
	c->r = crex_runtime_execute(c->rt, &run, NULL, NULL, &c->err);
	return NULL;
}

static void test_server_dies_and_returns(void **state)
{
	(void)state;
	struct rig_server other = {0};
	rig_server_start(&other, 0, false);
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	config.auth_token = RIG_TOKEN;
	config.port = other.port;
	config.retries = 1;
	char script[160];
	const char *runs = rig_path(&other, "runs");
	snprintf(script, sizeof script, "touch %s; sleep 100", runs);
	struct caller c = {.rt = crex_remote_runtime_new(&config, NULL), .script = script};
	pthread_create(&c.thread, NULL, caller_main, &c);
	double end = rig_now() + 20;
	while (access(runs, F_OK) < 0 && rig_now() < end)
		usleep(1000);
	rig_server_kill(&other);
	pthread_join(c.thread, NULL);
	assert_int_equal(c.r, -1);
	assert_int_equal(c.err.code, CREX_E_CONNECTION);
	crex_error_clear(&c.err);
	crex_runtime_free(c.rt);

	config.retries = 20;
	c = (struct caller){.rt = crex_remote_runtime_new(&config, NULL), .script = "true"};
	pthread_create(&c.thread, NULL, caller_main, &c); /* may well be early */
	rig_server_start(&other, config.port, false);
	pthread_join(c.thread, NULL);
	if (c.r < 0)
		fail_msg("%s", c.err.message);
	/* the connection that was kept is dead now, which nobody notices */
	rig_server_kill(&other);
	rig_server_start(&other, config.port, false);
	caller_main(&c);
	if (c.r < 0)
		fail_msg("%s", c.err.message);
	crex_runtime_free(c.rt);
	rig_server_stop(&other);
}

/* --- TLS, proxies ---------------------------------------------------------------------------------------------- */

static void make_certificates(const char *dir)
{
	free(rig_run("cd %s && { "
		     "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2 && "
		     "openssl req -newkey rsa:2048 -nodes -keyout key.pem -out req.pem -subj /CN=server && "
		     "echo subjectAltName=IP:127.0.0.1 > ext && "
		     "openssl x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out "
		     "cert.pem; "
		     "} >log 2>&1",
		     dir));
}

enum { STREAMED = 4 << 20 };

static void *write_stream(void *arg)
{
	struct crex_error err = CREX_ERROR_INIT;
	char *data = malloc(STREAMED);
	for (size_t i = 0; i < STREAMED; i++)
		data[i] = (char)(i >> 8 ^ i);
	assert_ok(crex_stream_write(arg, data, STREAMED, NULL, &err), err);
	assert_ok(crex_stream_close_stdin(arg, NULL, &err), err);
	free(data);
	return NULL;
}

/* Both ways at once, which TLS doesn't take from two threads as they come. */
static void tls_stream(struct crex_runtime *rt)
{
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_stream_request req = CREX_STREAM_REQUEST_INIT;
	struct crex_stream *s = NULL;
	struct crex_stream_event e = {.kind = CREX_STREAM_STDOUT};
	const struct crex_call patient = {.timeout = 60};
	const struct crex_str cat = CREX_STR("cat");
	pthread_t thread;
	req.command = (struct crex_str_list){&cat, 1};
	assert_ok(crex_runtime_open_stream(rt, &req, &patient, &s, &err), err);
	assert_int_equal(pthread_create(&thread, NULL, write_stream, s), 0);
	size_t seen = 0;
	while (e.kind != CREX_STREAM_EXIT) {
		struct pollfd fd = {.fd = crex_stream_fd(s), .events = POLLIN};
		const struct crex_call now = {.timeout = 0};
		assert_int_equal(poll(&fd, 1, 20000), 1);
		if (crex_stream_read(s, &e, &now, &err) < 0) {
			assert_int_equal(err.code, CREX_E_DEADLINE);
			continue;
		}
		for (size_t i = 0; i < e.len; i++, seen++)
			if (e.data[i] != (char)(seen >> 8 ^ seen))
				fail_msg("byte %zu is wrong", seen);
	}
	assert_int_equal(seen, STREAMED);
	assert_int_equal(e.exit_code, 0);
	pthread_join(thread, NULL);
	crex_stream_free(s);
}

static void tls_alive(const char *host, int port, const char *ca, const char *want)
{
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	const struct crex_call patient = {.timeout = 20};
	config.auth_token = RIG_TOKEN;
	config.host = host;
	config.port = port;
	config.ca_file = ca;
	struct crex_runtime *rt = crex_remote_runtime_new(&config, &err);
	assert_non_null(rt);
	assert_ok(crex_runtime_is_alive(rt, &patient, &alive, &err), err);
	if (alive.is_alive != !want || (want && !strstr(alive.message, want)))
		fail_msg("%s: %s", host, alive.message);
	crex_is_alive_clear(&alive);
	if (!want) {
		struct crex_execute_request run = rig_shell("head -c 300000 /dev/zero");
		struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
		assert_ok(crex_runtime_execute(rt, &run, NULL, &res, &err), err);
		assert_int_equal(res.out_len, 300000);
		crex_execute_result_clear(&res);
		tls_stream(rt);
	}
	crex_runtime_free(rt);
}

static void test_tls(void **state)
{
	(void)state;
	make_certificates(server.home);
	int in[2], out[2], port = 0;
	assert_int_equal(pipe(in) | pipe(out), 0);
	char number[16];
	snprintf(number, sizeof number, "%d", server.port);
	const char *cert = rig_path(&server, "cert.pem"), *key = rig_path(&server, "key.pem");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		execl(PYTHON, PYTHON, TLS_RELAY, cert, key, number, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	FILE *said = fdopen(out[0], "r");
	assert_int_equal(fscanf(said, "%d", &port), 1);
	const char *ca = rig_path(&server, "ca.pem");
	tls_alive("https://127.0.0.1", port, ca, NULL);
	tls_alive("https://127.0.0.1", port, NULL, "TLS verification");
	tls_alive("https://localhost", port, ca, "TLS verification");
	tls_alive("https://127.0.0.1", server.port, ca, "no TLS");
	fclose(said);
	close(in[1]);
	waitpid(pid, NULL, 0);
}

static void test_proxies(void **state)
{
	(void)state;
	struct canned proxy;
	canned_start(&proxy, "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"is_alive\":true}", false);
	char url[64];
	snprintf(url, sizeof url, "http://127.0.0.1:%d", proxy.port);
	setenv("http_proxy", url, 1);
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	struct crex_error err = CREX_ERROR_INIT;
	const struct crex_call patient = {.timeout = 20};
	config.host = "sandbox.invalid"; /* only the proxy is asked for it */
	struct crex_runtime *rt = crex_remote_runtime_new(&config, &err);
	assert_ok(crex_runtime_is_alive(rt, &patient, &alive, &err), err);
	assert_true(alive.is_alive);
	crex_is_alive_clear(&alive);
	crex_runtime_free(rt);
	canned_stop(&proxy);
	/* this machine is never reached by way of a proxy, here one that is gone */
	struct crex_execute_request run = rig_shell("true");
	rt = rig_runtime(server.port);
	assert_ok(crex_runtime_execute(rt, &run, NULL, NULL, &err), err);
	crex_runtime_free(rt);
	unsetenv("http_proxy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_gives_up),
		cmocka_unit_test(test_server_dies_and_returns),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_proxies),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

/* tests/unit/test_remote.c: the remote runtime against a real server: every call, its errors, many threads, and what
 * ends a call early. */
#include "remote_rig.h"

#include "runtime/remote/host.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct rig_server server;
static struct crex_runtime *rt;

static int setup(void **state)
{
	(void)state;
	rig_server_start(&server, 0, false);
	rt = rig_runtime(server.port);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rt = crex_runtime_free(rt);
	rig_server_stop(&server);
	return 0;
}

static void test_hosts(void **state)
{
	(void)state;
	static const struct {
		const char *host;
		int port;
		const char *url;
		bool loopback;
	} good[] = {
		{"http://127.0.0.1", 8000, "http://127.0.0.1:8000", true},
		{"127.0.0.1", 0, "http://127.0.0.1", true},
		{"127.0.0.1:81/", 0, "http://127.0.0.1:81", true},
		{"localhost:81", 81, "http://localhost:81", true},
		{"HTTPS://Example.org/a/b//", 0, "https://Example.org/a/b", false},
		{"https://example.org/a", 8443, "https://example.org:8443/a", false},
		{"[::1]:9", 0, "http://[::1]:9", true},
		{"::1", 9, "http://[::1]:9", true},
		{"http://[2001:db8::2]/x", 0, "http://[2001:db8::2]/x", false},
		{"fe80::1%eth0", 9, "http://[fe80::1%25eth0]:9", false},
		{"127.0.0.1.example.org", 0, "http://127.0.0.1.example.org", false},
		{"a.localhost", 0, "http://a.localhost", true},
		{"notlocalhost", 0, "http://notlocalhost", false},
	};
	static const struct {
		const char *host;
		int port;
	} bad[] = {{"", 0},	   {"http://", 0}, {"ftp://x", 0}, {"a b", 0},	    {"x:0", 0},
		   {"x:65536", 0}, {"x:80x", 0},   {"x:", 0},	   {"x:80", 81},    {"u:p@x", 0},
		   {"x?y", 0},	   {"x/a#b", 0},   {"[::1", 0},	   {"[zz]", 0},	    {"x", 65536},
		   {"x", -1},	   {"x\r\ny", 0},  {":80", 0},	   {"http:///x", 0}};
	struct crex_error err = CREX_ERROR_INIT;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct remote_host h;
		assert_ok(remote_host_parse(good[i].host, good[i].port, &h, &err), err);
		assert_string_equal(h.url, good[i].url);
		assert_int_equal(h.loopback, good[i].loopback);
		remote_host_deinit(&h);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct remote_host h;
		assert_fails(remote_host_parse(bad[i].host, bad[i].port, &h, &err), err, CREX_E_CONFIG);
	}
	crex_error_clear(&err);
}

static void test_config(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	static const char *const no_colon[] = {"X", NULL}, *const two_lines[] = {"A: b\r\nC: d", NULL};
	const struct crex_remote_runtime_config bad[] = {
		{.auth_token = "a\nb", .host = "x"},  {.host = NULL},
		{.host = "x", .ca_file = "/nowhere"}, {.host = "x", .headers = no_colon},
		{.host = "x", .headers = two_lines},  {.host = "x", .retries = -1},
		{.host = "x", .unix_socket = ""},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_null(crex_remote_runtime_new(&bad[i], &err));
		assert_int_equal(err.code, CREX_E_CONFIG);
	}
	assert_null(strstr(err.message, "a\nb"));
	crex_error_clear(&err);
	assert_null(crex_runtime_free(crex_remote_runtime_new(NULL, &err)));
}

static void test_every_call(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	const struct crex_call patient = {.timeout = 10};
	assert_ok(crex_runtime_is_alive(rt, &patient, &alive, &err), err);
	assert_true(alive.is_alive);
	crex_is_alive_clear(&alive);

	struct crex_create_session_request create = CREX_CREATE_SESSION_REQUEST_INIT;
	create.startup_timeout = 20;
	assert_ok(crex_runtime_create_session(rt, &create, NULL, NULL, &err), err);
	assert_fails(crex_runtime_create_session(rt, &create, NULL, NULL, &err), err, CREX_E_SESSION_EXISTS);

	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	action.command = crex_str_of("printf 'a\\tb\\303\\244\\n'; exit_code() { return 3; }; exit_code");
	action.check = CREX_CHECK_SILENT;
	assert_ok(crex_runtime_run_in_session(rt, &action, NULL, &obs, &err), err);
	assert_string_equal(obs.output, "a\tb\xC3\xA4\n");
	assert_true(obs.has_exit_code);
	assert_int_equal(obs.exit_code, 3);
	assert_string_equal(obs.expect_string, "SHELLPS1PREFIX");
	crex_observation_clear(&obs);
	action.check = CREX_CHECK_RAISE;
	assert_fails(crex_runtime_run_in_session(rt, &action, NULL, &obs, &err), err, CREX_E_NON_ZERO_EXIT_CODE);
	action.command = crex_str_of("if then");
	assert_fails(crex_runtime_run_in_session(rt, &action, NULL, &obs, &err), err, CREX_E_BASH_INCORRECT_SYNTAX);
	assert_non_null(crex_error_extra(&err, "bash_stderr"));

	action.command = crex_str_of("echo before; sleep 100");
	action.timeout = 0.3;
	assert_fails(crex_runtime_run_in_session(rt, &action, NULL, &obs, &err), err, CREX_E_COMMAND_TIMEOUT);
	assert_non_null(crex_error_extra(&err, "output"));
	struct crex_bash_interrupt_action interrupt = CREX_BASH_INTERRUPT_ACTION_INIT;
	assert_ok(crex_runtime_interrupt(rt, &interrupt, NULL, &obs, &err), err);
	crex_observation_clear(&obs);
	action.command = crex_str_of("exit 5");
	action.timeout = CREX_NO_TIMEOUT;
	action.check = CREX_CHECK_SILENT;
	assert_ok(crex_runtime_run_in_session(rt, &action, NULL, &obs, &err), err);
	assert_true(obs.session_ended);
	assert_string_equal(obs.failure_reason, "the shell has ended: the session is closed and its name is free");
	crex_observation_clear(&obs);
	assert_fails(crex_runtime_close_session(rt, crex_str_of("default"), NULL, &err), err,
		     CREX_E_SESSION_DOES_NOT_EXIST);

	struct crex_execute_request run = rig_shell("printf out; printf err >&2; kill -9 $$");
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	assert_ok(crex_runtime_execute(rt, &run, NULL, &res, &err), err);
	assert_string_equal(res.out, "out");
	assert_string_equal(res.err, "err");
	assert_int_equal(res.exit_code, -9);
	crex_execute_result_clear(&res);
	struct crex_str argv[] = {crex_str_of("/no/such/program")}, env[] = {crex_str_of("A=b=c")};
	run = (struct crex_execute_request)CREX_EXECUTE_REQUEST_INIT;
	run.command = (struct crex_str_list){argv, 1};
	run.command_is_list = true;
	assert_fails(crex_runtime_execute(rt, &run, NULL, &res, &err), err, CREX_E_FILE_NOT_FOUND);
	argv[0] = crex_str_of("env");
	run.has_env = true;
	run.env = (struct crex_str_list){env, 1};
	assert_ok(crex_runtime_execute(rt, &run, NULL, &res, &err), err);
	assert_string_equal(res.out, "A=b=c\n");
	crex_execute_result_clear(&res);
	run = rig_shell("sleep 100");
	run.timeout = 0.2;
	assert_fails(crex_runtime_execute(rt, &run, NULL, &res, &err), err, CREX_E_COMMAND_TIMEOUT);

	struct crex_write_file_request write_req = {crex_str_of(rig_path(&server, "d/file")),
						    CREX_STR("a\0b\xF0\x9F\x98\x80")};
	struct crex_read_file_request read_req = {.path = write_req.path};
	struct crex_text text = CREX_TEXT_INIT;
	assert_ok(crex_runtime_write_file(rt, &write_req, NULL, &err), err);
	assert_ok(crex_runtime_read_file(rt, &read_req, NULL, &text, &err), err);
	assert_int_equal(text.len, write_req.content.len);
	assert_memory_equal(text.data, write_req.content.ptr, text.len);
	crex_text_clear(&text);
	write_req.content = (struct crex_str)CREX_STR("\xFF");
	assert_fails(crex_runtime_write_file(rt, &write_req, NULL, &err), err, CREX_E_VALUE);
	read_req.path = crex_str_of("/no/file");
	assert_fails(crex_runtime_read_file(rt, &read_req, NULL, &text, &err), err, CREX_E_FILE_NOT_FOUND);
	assert_ok(crex_runtime_close(rt, NULL, &err), err);
	crex_error_clear(&err);
}

static void test_unix_socket(void **state)
{
	(void)state;
	struct rig_server local = {0};
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	const struct crex_call patient = {.timeout = 10};
	rig_server_start(&local, 0, true);
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	config.auth_token = RIG_TOKEN;
	config.unix_socket = local.socket;
	struct crex_runtime *r = crex_remote_runtime_new(&config, &err);
	assert_ok(crex_runtime_is_alive(r, &patient, &alive, &err), err);
	assert_true(alive.is_alive);
	crex_is_alive_clear(&alive);
	rig_server_stop(&local);
	assert_ok(crex_runtime_is_alive(r, &patient, &alive, &err), err);
	assert_false(alive.is_alive);
	assert_non_null(strstr(alive.message, "nothing listens"));
	crex_is_alive_clear(&alive);
	crex_runtime_free(r);
}

static void is_alive_of(int port, const struct crex_call *call, enum crex_error_code want, const char *text)
{
	struct crex_runtime *r = rig_runtime(port);
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	if (want == CREX_OK) {
		assert_ok(crex_runtime_is_alive(r, call, &alive, &err), err);
		assert_false(alive.is_alive);
	} else {
		assert_fails(crex_runtime_is_alive(r, call, &alive, &err), err, want);
	}
	const char *said = want == CREX_OK ? alive.message : err.message;
	if (!strstr(said, text))
		fail_msg("\"%s\" is not in \"%s\"", text, said);
	crex_is_alive_clear(&alive);
	crex_error_clear(&err);
	crex_runtime_free(r);
}

static void test_strange_servers(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *text;
		enum crex_error_code want;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n<html>hello you</html>", "none of a SWE-ReX server",
		 CREX_E_PROTOCOL},
		{"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}", "none of the fields", CREX_E_PROTOCOL},
		{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no SWE-ReX server", CREX_E_PROTOCOL},
		{"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n", "302", CREX_E_PROTOCOL},
		{"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP server", CREX_E_PROTOCOL},
		{"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "not available", CREX_OK},
		{"HTTP/1.1 200 OK\r\nContent-Len", "lost before the reply", CREX_OK},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"is_ali", "lost before the reply", CREX_OK},
	};
	const struct crex_call patient = {.timeout = 10};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct canned c;
		canned_start(&c, cases[i].bytes, false);
		is_alive_of(c.port, &patient, cases[i].want, cases[i].text);
		canned_stop(&c);
	}
	struct canned silent;
	canned_start(&silent, "", true);
	double began = rig_now();
	is_alive_of(silent.port, NULL, CREX_OK, "no answer within 0.15 s");
	assert_true(rig_now() - began < 5);
	canned_stop(&silent);
	is_alive_of(silent.port, &patient, CREX_OK, "is swerex-remote running there?");
	/* no end of bytes, well-formed ones too, is taken for an answer */
	static char endless[2 << 20];
	int head = snprintf(endless, sizeof endless, "HTTP/1.1 200 OK\r\n\r\n{\"is_alive\":true,\"message\":\"\"");
	memset(endless + head, ' ', sizeof endless - (size_t)head - 2);
	endless[sizeof endless - 2] = '}';
	struct canned chatty;
	canned_start(&chatty, endless, false);
	is_alive_of(chatty.port, &patient, CREX_E_LIMIT, "longer than the limit");
	canned_stop(&chatty);
}

static void test_wrong_token(void **state)
{
	(void)state;
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_execute_request run = rig_shell("true");
	config.port = server.port;
	for (int i = 0; i < 2; i++) {
		config.auth_token = i ? "another-secret" : NULL;
		struct crex_runtime *r = crex_remote_runtime_new(&config, &err);
		assert_fails(crex_runtime_execute(r, &run, NULL, NULL, &err), err, CREX_E_AUTHENTICATION);
		assert_null(strstr(err.message, "another-secret"));
		assert_fails(crex_runtime_is_alive(r, NULL, NULL, &err), err, CREX_E_AUTHENTICATION);
		crex_runtime_free(r);
	}
	crex_error_clear(&err);
}

/* --- threads, deadlines, cancels ------------------------------------------------------------------------------- */

enum { THREADS = 20, ROUNDS = 10 };

static void *one_thread(void *arg)
{
	static char failed[] = "failed", mixed[] = "mixed up";
	char script[64], want[32];
	for (int i = 0; i < ROUNDS; i++) {
		struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
		snprintf(want, sizeof want, "%d.%d", (int)(intptr_t)arg, i);
		snprintf(script, sizeof script, "printf %s", want);
		struct crex_execute_request run = rig_shell(script);
		if (crex_runtime_execute(rt, &run, NULL, &res, NULL) < 0)
			return failed;
		bool same = strcmp(res.out, want) == 0;
		crex_execute_result_clear(&res);
		if (!same)
			return mixed;
	}
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	pthread_t threads[THREADS];
	for (intptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, one_thread, (void *)i), 0);
	for (int i = 0; i < THREADS; i++) {
		void *said;
		pthread_join(threads[i], &said);
		assert_null(said);
	}
}

struct canceller {
	struct crex_cancel *cancel;
	const char *file;
	double at;
};

static void *cancel_later(void *arg)
{
	struct canceller *c = arg;
	while (access(c->file, F_OK) < 0)
		usleep(1000); /* until the command runs */
	c->at = rig_now();
	crex_cancel_trigger(c->cancel);
	return NULL;
}

static void test_deadline_and_cancel(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_execute_request run = rig_shell("sleep 5");
	struct crex_call call = {.timeout = 0.2};
	double began = rig_now();
	assert_fails(crex_runtime_execute(rt, &run, &call, NULL, &err), err, CREX_E_DEADLINE);
	assert_true(rig_now() - began < 2);
	char script[256];
	struct canceller c = {.cancel = crex_cancel_new(&err), .file = rig_path(&server, "runs")};
	snprintf(script, sizeof script, "touch %s; sleep 5", c.file);
	run = rig_shell(script);
	call = (struct crex_call){.timeout = 60, .cancel = c.cancel};
	pthread_t thread;
	pthread_create(&thread, NULL, cancel_later, &c);
	assert_fails(crex_runtime_execute(rt, &run, &call, NULL, &err), err, CREX_E_CANCELLED);
	double took = rig_now() - c.at;
	pthread_join(thread, NULL);
	assert_true(took < 2); /* at once, on a busy machine */
	print_message("cancelled within %.1f ms\n", took * 1000);
	assert_fails(crex_runtime_execute(rt, &run, &call, NULL, &err), err, CREX_E_CANCELLED);
	crex_cancel_free(c.cancel);

	/* between two tries as well */
	struct canned gone;
	canned_start(&gone, "", false);
	canned_stop(&gone);
	struct crex_runtime *r = rig_runtime(gone.port);
	call = (struct crex_call){.timeout = 0.25};
	began = rig_now();
	assert_fails(crex_runtime_execute(r, &run, &call, NULL, &err), err, CREX_E_DEADLINE);
	assert_non_null(strstr(err.message, "nothing listens"));
	assert_true(rig_now() - began < 2);
	crex_runtime_free(r);
	crex_error_clear(&err);
}

static void test_big_output(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_execute_request run = rig_shell("head -c 20000000 /dev/zero | tr '\\0' '\\n'");
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	double began = rig_now();
	assert_ok(crex_runtime_execute(rt, &run, NULL, &res, &err), err);
	assert_int_equal(res.out_len, 20000000);
	print_message("20 MB in %.2f s\n", rig_now() - began);
	crex_execute_result_clear(&res);
}

/* No connection of ours reaches the programs that the caller starts. */
static void test_descriptors(void **state)
{
	(void)state;
	int connections = 0;
	for (int fd = 0; fd < 1024; fd++) {
		int family = 0;
		socklen_t len = sizeof family;
		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0 || family != AF_INET)
			continue;
		connections++;
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	assert_true(connections > 0);
}

static long resident_kib(void)
{
	char *text = rig_run("grep VmRSS /proc/%d/status", (int)getpid());
	long kib = atol(strpbrk(text, "0123456789"));
	free(text);
	return kib;
}

static void test_hundred_runtimes(void **state)
{
	(void)state;
	struct crex_runtime *many[100];
	struct crex_execute_request run = rig_shell("true");
	struct crex_error err = CREX_ERROR_INIT;
	long before = resident_kib();
	for (int i = 0; i < 100; i++) {
		many[i] = rig_runtime(server.port);
		assert_ok(crex_runtime_execute(many[i], &run, NULL, NULL, &err), err);
	}
	print_message("resident memory of a runtime with its connection: %.1f KiB\n",
		      (double)(resident_kib() - before) / 100);
	for (int i = 0; i < 100; i++)
		crex_runtime_free(many[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_every_call),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_strange_servers),
		cmocka_unit_test(test_wrong_token),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_deadline_and_cancel),
		cmocka_unit_test(test_big_output),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_hundred_runtimes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

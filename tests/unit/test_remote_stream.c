/* tests/unit/test_remote_stream.c: streams at servers that have none, refuse, break off or are gone; and local ones
 * whose runtime goes first. What streams do when all is well is in tests/contract/streams.c. */
#include "remote_rig.h"

#include <crex/stream.h>
#include <signal.h>
#include <unistd.h>

static struct crex_error err;

static struct crex_stream_request script(const char *text)
{
	static struct crex_str command;
	struct crex_stream_request req = CREX_STREAM_REQUEST_INIT;
	command = (struct crex_str){text, strlen(text)};
	req.command = (struct crex_str_list){&command, 1};
	req.shell = true;
	return req;
}

static int open_at(struct crex_runtime *rt, const char *text, struct crex_stream **ret)
{
	const struct crex_call patient = {.timeout = 20};
	const struct crex_stream_request req = script(text);
	crex_error_clear(&err);
	return crex_runtime_open_stream(rt, &req, &patient, ret, &err);
}

static int read_at(struct crex_stream *s, struct crex_stream_event *ret)
{
	const struct crex_call patient = {.timeout = 20};
	crex_error_clear(&err);
	return crex_stream_read(s, ret, &patient, &err);
}

static void fails_against(const char *answer, enum crex_error_code code, const char *text)
{
	struct canned server;
	struct crex_stream *s = NULL;
	canned_start(&server, answer, false);
	struct crex_runtime *rt = rig_runtime(server.port);
	assert_fails(open_at(rt, "true", &s), err, code);
	if (!strstr(err.message, text))
		fail_msg("no '%s' in: %s", text, err.message);
	assert_null(s);
	crex_runtime_free(rt);
	canned_stop(&server);
}

#define ANSWER(status, body) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n" body

static void test_refusals(void **state)
{
	(void)state;
	fails_against(ANSWER("404 Not Found", "{\"detail\":\"Not Found\"}"), CREX_E_UNSUPPORTED, "no streams");
	fails_against(ANSWER("405 Method Not Allowed", ""), CREX_E_UNSUPPORTED, "no streams");
	fails_against(ANSWER("426 Upgrade Required", ""), CREX_E_UNSUPPORTED, "no streams");
	fails_against(ANSWER("401 Unauthorized", "{\"detail\":\"Invalid API Key\"}"), CREX_E_AUTHENTICATION, "");
	fails_against(ANSWER("503 No", "{\"detail\":\"Too many connections\"}"), CREX_E_CONNECTION,
		      "Too many connections");
	fails_against(ANSWER("200 OK", "{}"), CREX_E_PROTOCOL, "upgrade");
	fails_against("SSH-2.0-OpenSSH_9.2\r\n\r\n", CREX_E_PROTOCOL, "no HTTP");
	fails_against("", CREX_E_CONNECTION, "");
	fails_against("HTTP/1.1 10", CREX_E_CONNECTION, "");
}

#define SWITCHED "HTTP/1.1 101 Switching Protocols\r\nUpgrade: crex-stream/1\r\n\r\n"

static void test_broken_streams(void **state)
{
	(void)state;
	fails_against(SWITCHED, CREX_E_CONNECTION, "lost");
	fails_against(SWITCHED "garbage", CREX_E_PROTOCOL, "frame");
	fails_against(SWITCHED "?bbbb", CREX_E_PROTOCOL, "frame");
	fails_against(SWITCHED "F", CREX_E_CONNECTION, "lost");
}

static void test_silence(void **state)
{
	(void)state;
	const char *const answers[] = {"", "HTTP/1.1 101 Switching", SWITCHED};
	for (size_t i = 0; i < 3; i++) {
		struct canned server;
		struct crex_stream *s = NULL;
		canned_start(&server, answers[i], true);
		struct crex_runtime *rt = rig_runtime(server.port);
		const struct crex_stream_request req = script("true");
		const struct crex_call brief = {.timeout = 0.2};
		assert_fails(crex_runtime_open_stream(rt, &req, &brief, &s, &err), err, CREX_E_DEADLINE);
		struct crex_cancel *cancel = crex_cancel_new(&err);
		crex_cancel_trigger(cancel);
		const struct crex_call cancelled = {CREX_NO_TIMEOUT, cancel};
		assert_fails(crex_runtime_open_stream(rt, &req, &cancelled, &s, &err), err, CREX_E_CANCELLED);
		crex_cancel_free(cancel);
		crex_runtime_free(rt);
		canned_stop(&server);
	}
}

static void test_wrong_token_and_nobody(void **state)
{
	(void)state;
	struct rig_server server = {0};
	struct crex_stream *s = NULL;
	rig_server_start(&server, 0, false);
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	config.host = "127.0.0.1";
	config.port = server.port;
	config.auth_token = "wrong";
	struct crex_runtime *rt = crex_remote_runtime_new(&config, &err);
	assert_fails(open_at(rt, "true", &s), err, CREX_E_AUTHENTICATION);
	rig_server_stop(&server);
	assert_fails(open_at(rt, "true", &s), err, CREX_E_CONNECTION);
	crex_runtime_free(rt);
}

static void expect_exit(struct crex_stream *s, int code)
{
	struct crex_stream_event e;
	do
		assert_ok(read_at(s, &e), err);
	while (e.kind != CREX_STREAM_EXIT);
	assert_int_equal(e.exit_code, code);
	crex_stream_free(s);
}

static void test_unix_socket(void **state)
{
	(void)state;
	struct rig_server server = {0};
	struct crex_stream *s = NULL;
	rig_server_start(&server, 0, true);
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	config.unix_socket = server.socket;
	config.auth_token = RIG_TOKEN;
	struct crex_runtime *rt = crex_remote_runtime_new(&config, &err);
	assert_non_null(rt);
	assert_ok(open_at(rt, "exit 5", &s), err);
	expect_exit(s, 5);
	crex_runtime_free(rt);
	rig_server_stop(&server);
}

static void test_server_ends(void **state)
{
	(void)state;
	struct crex_stream_event e;
	for (int killed = 0; killed < 2; killed++) {
		struct rig_server server = {0};
		struct crex_stream *s = NULL;
		rig_server_start(&server, 0, false);
		struct crex_runtime *rt = rig_runtime(server.port);
		assert_ok(open_at(rt, "echo ready; exec sleep 600", &s), err);
		assert_ok(read_at(s, &e), err);
		if (killed)
			rig_server_kill(&server);
		else
			kill(server.pid, SIGTERM);
		assert_fails(read_at(s, &e), err, killed ? CREX_E_CONNECTION : CREX_E_SWEREX);
		assert_ok(crex_stream_write(s, "x", 1, NULL, &err), err); /* nobody takes it */
		crex_stream_free(s);
		crex_runtime_free(rt);
		rig_server_stop(&server);
	}
}

static void test_a_local_runtime_that_goes_first(void **state)
{
	(void)state;
	struct crex_stream_event e;
	struct crex_stream *s = NULL, *unread = NULL;
	struct crex_runtime *rt = crex_local_runtime_new(NULL, &err);
	assert_ok(open_at(rt, "echo ready; exec sleep 600", &s), err);
	assert_ok(open_at(rt, "exec cat /dev/zero", &unread), err);
	assert_ok(read_at(s, &e), err);
	crex_runtime_free(rt);
	assert_fails(read_at(s, &e), err, CREX_E_SWEREX);
	crex_stream_free(s);
	int r;
	while ((r = read_at(unread, &e)) == 0 && e.kind != CREX_STREAM_EXIT)
		;
	assert_int_equal(r, -1);
	crex_stream_free(unread);
}

static void test_too_much_to_open(void **state)
{
	(void)state;
	struct crex_stream *s = NULL;
	struct crex_runtime *rt = crex_local_runtime_new(NULL, &err);
	char *text = malloc(100001);
	memset(text, 'x', 100000);
	text[100000] = '\0';
	assert_fails(open_at(rt, text, &s), err, CREX_E_LIMIT);
	free(text);
	crex_runtime_free(rt);
}

static int clear(void **state)
{
	(void)state;
	crex_error_clear(&err);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_refusals, clear),
		cmocka_unit_test_teardown(test_broken_streams, clear),
		cmocka_unit_test_teardown(test_silence, clear),
		cmocka_unit_test_teardown(test_wrong_token_and_nobody, clear),
		cmocka_unit_test_teardown(test_unix_socket, clear),
		cmocka_unit_test_teardown(test_server_ends, clear),
		cmocka_unit_test_teardown(test_a_local_runtime_that_goes_first, clear),
		cmocka_unit_test_teardown(test_too_much_to_open, clear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

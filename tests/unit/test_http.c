/* tests/unit/test_http.c: the request path: parser, connections, routes, limits, on a fake engine.
 *
 * Inputs are fed whole, byte by byte, and cut at every place: the replies must be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/internal.h"
#include "server_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEY "X-API-Key: secret\r\n"
#define ALIVE "GET /is_alive HTTP/1.1\r\n" KEY "\r\n"

/* A POST of a command to /run_in_session. */
static void send_command(struct rig *r, struct client *c, const char *headers, const char *command)
{
	char body[256], text[1024];
	snprintf(body, sizeof body, "{\"action_type\":\"bash\",\"command\":\"%s\",\"check\":\"silent\"}", command);
	snprintf(text, sizeof text, "POST /run_in_session HTTP/1.1\r\n" KEY "%scontent-length: %zu\r\n\r\n%s", headers,
		 strlen(body), body);
	client_send_str(r, c, text);
}

static void ask(struct rig *r, const char *request, int status, const char *part)
{
	struct client c = rig_connect(r);
	client_send_str(r, &c, request);
	client_expect(r, &c, status, part);
	client_close(&c);
}

static void test_fixed_replies(void **state)
{
	struct rig *r = *state;
	ask(r, ALIVE, 200, "{\"is_alive\":true,\"message\":\"\"}");
	ask(r, "GET /?q=1 HTTP/1.1\r\n" KEY "\r\n", 200, "{\"message\":\"hello world\"}");
	ask(r, "GET /is_alive/?x HTTP/1.1\r\n" KEY "\r\n", 200, "is_alive");
	ask(r, "GET http://host:1/is%5Falive HTTP/1.1\r\n" KEY "\r\n", 200, "is_alive");
	ask(r, "GET /is_alive HTTP/1.1\r\n\r\n", 403, "{\"detail\":\"Not authenticated\"}");
	ask(r, "GET /nowhere HTTP/1.1\r\n\r\n", 403, "{\"detail\":\"Not authenticated\"}");
	ask(r, "GET /is_alive HTTP/1.1\r\nx-api-key: wrong\r\n\r\n", 401, "{\"detail\":\"Invalid API Key\"}");
	ask(r, "GET /is_alive HTTP/1.1\r\nx-api-key: secre\r\n\r\n", 401, "Invalid");
	ask(r, "GET /is_alive HTTP/1.1\r\nx-api-key: secrets\r\n\r\n", 401, "Invalid");
	ask(r, "GET /is_alive HTTP/1.1\r\nx-api-key:\r\n\r\n", 401, "Invalid");
	ask(r, "GET /nowhere HTTP/1.1\r\n" KEY "\r\n", 404, "{\"detail\":\"Not Found\"}");
	ask(r, "GET /execute HTTP/1.1\r\n" KEY "\r\n", 405, "{\"detail\":\"Method Not Allowed\"}");
	static const char *const methods[] = {"DELETE",
					      "OPTIONS",
					      "TRACE",
					      "PROPFIND",
					      "FOO",
					      "get",
					      "G",
					      "GETS",
					      "PLAY",
					      "SOURCE",
					      "M-SEARCH",
					      "1!#$%&'*+-.^_`|~",
					      "A23456789012345678901234567890x"};
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		char text[200];
		snprintf(text, sizeof text, "%s / HTTP/1.1\r\n" KEY "\r\n", methods[i]);
		ask(r, text, 405, "{\"detail\":\"Method Not Allowed\"}");
		snprintf(text, sizeof text, "%s /nowhere HTTP/1.1\r\n" KEY "content-length: 5\r\n\r\nhello",
			 methods[i]);
		ask(r, text, 404, "Not Found");
		snprintf(text, sizeof text, "%s / HTTP/1.1\r\n\r\n", methods[i]);
		ask(r, text, 403, "Not authenticated");
	}
	ask(r, "CONNECT host:443 HTTP/1.1\r\n" KEY "\r\n", 404, "Not Found");
	ask(r, "OPTIONS * HTTP/1.1\r\n" KEY "\r\n", 404, "Not Found");
	ask(r, "POST /execute HTTP/1.1\r\n" KEY "content-length: 3\r\n\r\n{]}", 422, "json_invalid");
	ask(r, "POST /close HTTP/1.1\r\n" KEY "\r\n", 200, "{}");
	ask(r, "POST /execute HTTP/1.1\r\n" KEY "content-length: 18\r\n\r\n{\"command\":[\"true\"]}", 422, NULL);
	ask(r, "POST /execute HTTP/1.1\r\n" KEY "content-length: 20\r\n\r\n{\"command\":[\"true\"]}", 200, "exit_code");
}

static void test_head_has_no_body(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r);
	client_send_str(r, &c, "HEAD / HTTP/1.1\r\n" KEY "connection: close\r\n\r\n");
	client_wait_eof(r, &c);
	assert_memory_equal(c.in.data, "HTTP/1.1 405", 12);
	assert_non_null(strstr(c.in.data, "content-length: 31\r\n"));
	assert_memory_equal(c.in.data + c.in.len - 4, "\r\n\r\n", 4);
	client_close(&c);
}

static void test_runtime_error_is_511(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r);
	send_command(r, &c, "", "fail");
	client_expect(r, &c, 511, "\"class_path\":\"swerex.exceptions.CommandTimeoutError\"");
	client_close(&c);
}

static const char pipeline[] =
	"POST /run_in_session HTTP/1.1\r\n" KEY "transfer-encoding: chunked\r\n\r\n"
	"10\r\n{\"action_type\":\"\r\n1d;x=y\r\nbash\",\"command\":\"echo one\"   \r\n8\r\n        "
	"\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n" ALIVE "\r\nWHAT /close HTTP/1.1\r\n" KEY "content-length: 2\r\n\r\n{}"
	"\r\nPOST /close HTTP/1.1\r\n" KEY "content-length: 0\r\n\r\n"
	"GET / HTTP/1.1\r\n" KEY "Connection: close\r\n\r\n";

static void talk(struct rig *r, const char *input, size_t len, size_t step, size_t cut, struct buf *ret)
{
	struct client c = rig_connect(r);
	for (size_t at = 0; at < len;) {
		size_t n = at < cut ? cut - at : len - at;
		if (step && n > step)
			n = step;
		client_send(r, &c, input + at, n);
		at += n;
	}
	client_wait_eof(r, &c);
	*ret = c.in;
	buf_init(&c.in, 0);
	client_close(&c);
}

static void test_every_split(void **state)
{
	struct rig *r = *state;
	struct buf whole;
	talk(r, pipeline, sizeof pipeline - 1, 0, 0, &whole);
	assert_non_null(strstr(whole.data, "echo one"));
	assert_non_null(strstr(whole.data, "hello world"));
	for (size_t cut = 0; cut <= sizeof pipeline - 1; cut++) {
		struct buf got;
		talk(r, pipeline, sizeof pipeline - 1, cut ? 0 : 1, cut, &got);
		assert_int_equal(got.len, whole.len);
		assert_memory_equal(got.data, whole.data, whole.len);
		buf_deinit(&got);
	}
	buf_deinit(&whole);
}

static void test_every_prefix(void **state)
{
	struct rig *r = *state;
	for (size_t len = 0; len < sizeof pipeline - 1; len++) {
		struct client c = rig_connect(r);
		client_send(r, &c, pipeline, len);
		shutdown(c.fd, SHUT_WR);
		client_wait_eof(r, &c);
		client_close(&c);
	}
	ask(r, ALIVE, 200, "is_alive");
}

static void test_malformed(void **state)
{
	struct rig *r = *state;
	static const char *const bad[] = {
		"\x16\x03\x01\x02\r\n\r\n",
		"GET\r\n\r\n",
		" / HTTP/1.1\r\n\r\n",
		"\tGET / HTTP/1.1\r\n\r\n",
		"GE\tT / HTTP/1.1\r\n\r\n",
		"F\xC3\xB6O / HTTP/1.1\r\n\r\n",
		"FOO(x) / HTTP/1.1\r\n\r\n",
		"FOO there\r\n\r\n",
		"A2345678901234567890123456789012 / HTTP/1.1\r\n\r\n",
		"GET / HTTP/9.9.9\r\n\r\n",
		"GET / HTTP/1.1\r\nbad header\r\n\r\n",
		"POST /execute HTTP/1.1\r\n" KEY "content-length: 5x\r\n\r\n",
		"POST /execute HTTP/1.1\r\n" KEY "content-length: 5\r\ncontent-length: 6\r\n\r\n",
		"POST /execute HTTP/1.1\r\n" KEY "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
		"POST /execute HTTP/1.1\r\n" KEY "transfer-encoding: chunked\r\n\r\nzz\r\n",
		"POST /execute HTTP/1.1\r\n" KEY "content-length: 99999999999999999999\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct client c = rig_connect(r);
		client_send_str(r, &c, bad[i]);
		client_expect(r, &c, 400, "\"detail\"");
		client_wait_eof(r, &c);
		client_close(&c);
	}
}

static void test_limits(void **state)
{
	struct rig *r = *state;
	ask(r, "POST /execute HTTP/1.1\r\n" KEY "content-length: 2000000\r\n\r\n", 413, "too large");
	struct client c = rig_connect(r);
	client_send_str(r, &c, "POST /execute HTTP/1.1\r\n" KEY "transfer-encoding: chunked\r\n\r\n");
	char *chunk = malloc(65536 + 16);
	memcpy(chunk, "10000\r\n", 7);
	memset(chunk + 7, ' ', 65536);
	memcpy(chunk + 7 + 65536, "\r\n", 2);
	for (int i = 0; i < 20; i++)
		client_send(r, &c, chunk, 65536 + 9);
	client_expect(r, &c, 413, "too large");
	client_close(&c);
	static const char *const starts[] = {"GET /", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nx: "};
	for (int i = 0; i < 3; i++) {
		c = rig_connect(r);
		client_send_str(r, &c, starts[i]);
		memset(chunk, 'a', 16384);
		client_send(r, &c, chunk, 16384);
		client_expect(r, &c, 431, "too large");
		client_close(&c);
	}
	free(chunk);
}

static void test_continue(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r);
	client_send_str(r, &c, "POST /execute HTTP/1.1\r\n" KEY "Expect: 100-continue\r\ncontent-length: 20\r\n\r\n");
	client_expect(r, &c, 100, NULL);
	client_send_str(r, &c, "{\"command\":[\"true\"]}");
	client_expect(r, &c, 200, "exit_code");
	client_send_str(r, &c, ALIVE);
	client_expect(r, &c, 200, "is_alive");
	client_send_str(r, &c, "POST /execute HTTP/1.1\r\nExpect: 100-continue\r\ncontent-length: 20\r\n\r\n");
	client_expect(r, &c, 403, "Not authenticated");
	client_wait_eof(r, &c);
	client_close(&c);
}

static void test_small_refusal_keeps_connection(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r);
	client_send_str(r, &c, "POST /execute HTTP/1.1\r\ncontent-length: 20\r\n\r\n{\"command\":[\"true\"]}" ALIVE);
	client_expect(r, &c, 403, "Not authenticated");
	client_expect(r, &c, 200, "is_alive");
	client_close(&c);
}

static void test_order_and_half_close(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r), other = rig_connect(r);
	send_command(r, &c, "", "hang");
	client_send_str(r, &c, ALIVE);
	shutdown(c.fd, SHUT_WR);
	while (fake_stats(r->srv.rt)->runs == 0)
		rig_turn(r);
	client_send_str(r, &other, ALIVE);
	client_expect(r, &other, 200, "is_alive");
	assert_false(client_read_some(&c));
	assert_true(fake_release(r->srv.rt));
	client_expect(r, &c, 200, "released");
	client_expect(r, &c, 200, "is_alive");
	client_wait_eof(r, &c);
	client_close(&c);
	client_close(&other);
}

static void test_request_ids(void **state)
{
	struct rig *r = *state;
	struct fake_stats *s = fake_stats(r->srv.rt);
	struct client a = rig_connect(r), b = rig_connect(r), gone = rig_connect(r);
	/* two wait for one run */
	send_command(r, &a, "X-Request-ID: one\r\n", "hang");
	send_command(r, &b, "X-Request-ID: one\r\n", "hang");
	send_command(r, &gone, "X-Request-ID: one\r\n", "hang");
	while (s->runs == 0)
		rig_turn(r);
	for (int i = 0; i < 10; i++)
		rig_turn(r);
	client_close(&gone);
	rig_turn(r);
	assert_int_equal(s->runs, 1);
	assert_true(fake_release(r->srv.rt));
	client_expect(r, &a, 200, "released");
	client_expect(r, &b, 200, "released");
	/* later repeats are told the same; another id, path or body is another request */
	send_command(r, &a, "X-Request-ID: one\r\n", "hang");
	client_expect(r, &a, 200, "released");
	assert_int_equal(s->runs, 1);
	send_command(r, &a, "X-Request-ID: two\r\n", "echo");
	client_expect(r, &a, 200, "echo");
	send_command(r, &b, "X-Request-ID: one\r\n", "other");
	client_expect(r, &b, 200, "other");
	assert_int_equal(s->runs, 3);
	/* the reply is kept though its client has gone */
	gone = rig_connect(r);
	send_command(r, &gone, "X-Request-ID: three\r\n", "hang");
	while (s->runs == 3)
		rig_turn(r);
	client_close(&gone);
	rig_turn(r);
	assert_true(fake_release(r->srv.rt));
	send_command(r, &a, "X-Request-ID: three\r\n", "hang");
	client_expect(r, &a, 200, "released");
	assert_int_equal(s->runs, 4);
	client_close(&a);
	client_close(&b);
}

static void test_big_bodies_and_slow_reader(void **state)
{
	struct rig *r = *state;
	/* a request over the inline limit goes through a worker */
	struct client c = rig_connect(r), slow = rig_connect(r);
	size_t len = 300000;
	char *text = malloc(len + 200), head[200];
	int n = snprintf(text, 200, "{\"action_type\":\"bash\",\"command\":\"");
	memset(text + n, 'y', len);
	memcpy(text + (size_t)n + len, "\"}", 3);
	snprintf(head, sizeof head, "POST /run_in_session HTTP/1.1\r\n" KEY "content-length: %zu\r\n\r\n",
		 strlen(text));
	client_send_str(r, &c, head);
	client_send_str(r, &c, text);
	client_expect(r, &c, 200, "yyyyyyyyyyyy");
	free(text);
	send_command(r, &slow, "", "big 8000000");
	for (int i = 0; i < 50; i++) {
		client_send_str(r, &c, ALIVE);
		client_expect(r, &c, 200, "is_alive");
	}
	struct crex_str body;
	assert_int_equal(client_reply(r, &slow, &body), 200);
	assert_true(body.len > 8000000);
	client_close(&c);
	client_close(&slow);
}

static void test_backlog_is_bounded(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.max_backlog = 6 << 20;
	rig_start(r);
	struct client slow[4];
	for (int i = 0; i < 4; i++) {
		slow[i] = rig_connect(r);
		send_command(r, &slow[i], "", "big 4000000");
		while (fake_stats(r->srv.rt)->runs == (unsigned)i || r->srv.n_calls > 0)
			rig_turn(r);
		/* others that come and go leave the order of the waiting ones alone, and end by FIN */
		struct client quick = rig_connect(r);
		client_send_str(r, &quick, "GET / HTTP/1.1\r\n" KEY "connection: close\r\n\r\n");
		client_expect(r, &quick, 200, "hello");
		client_wait_eof(r, &quick);
		client_close(&quick);
	}
	/* nobody is slow yet: the one that finds no room is told so */
	client_expect(r, &slow[3], 511, "the reply was dropped");
	/* then who doesn't read is cut off, the first ones first, until the rest has room */
	while (http_server_connections(r->srv.http) > 2)
		rig_turn(r);
	assert_int_equal(client_reply(r, &slow[0], NULL), 0);
	assert_int_equal(client_reply(r, &slow[1], NULL), 0);
	assert_int_equal(client_reply(r, &slow[2], NULL), 200);
	for (int i = 0; i < 4; i++)
		client_close(&slow[i]);
}

/* Replies that are read as they come are never cut off for others, however much of them is under way. */
static void test_backlog_of_fast_readers(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.max_backlog = 6 << 20;
	rig_start(r);
	struct client fast[2];
	for (int i = 0; i < 2; i++) {
		fast[i] = rig_connect(r);
		send_command(r, &fast[i], "", "big 5000000");
		while (fake_stats(r->srv.rt)->runs == (unsigned)i || r->srv.n_calls > 0)
			rig_turn(r);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(client_reply(r, &fast[i], NULL), 200);
		client_close(&fast[i]);
	}
}

static void test_early_refusal_of_upload(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r);
	char *junk = calloc(1, 4 << 20);
	client_send_str(r, &c,
			"POST /upload HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=x\r\n"
			"content-length: 1000000000\r\n\r\n");
	client_send(r, &c, junk, 4 << 20); /* the server drops it, so this ends */
	client_expect(r, &c, 403, "Not authenticated");
	assert_false(c.reset);
	client_wait_eof(r, &c);
	client_close(&c);
	free(junk);
}

static void test_idle_is_closed(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.idle_timeout_ms = 100;
	rig_start(r);
	struct client idle = rig_connect(r), half = rig_connect(r), body = rig_connect(r), busy = rig_connect(r);
	client_send_str(r, &half, "GET / HT");
	client_send_str(r, &body, "POST /execute HTTP/1.1\r\n" KEY "content-length: 20\r\n\r\n{");
	send_command(r, &busy, "", "hang");
	client_wait_eof(r, &idle);
	client_expect(r, &half, 408, "timeout");
	client_expect(r, &body, 408, "timeout");
	assert_true(fake_release(r->srv.rt)); /* a long command is not idleness */
	client_expect(r, &busy, 200, "released");
	client_close(&idle);
	client_close(&half);
	client_close(&body);
	client_close(&busy);
}

/* A byte at a time, for as long as the server takes them, against a clock that has run for most of the deadline. */
static void drip_until_408(struct rig *r, struct client *c, struct http_exchange *conn)
{
	conn->since -= r->opt.header_timeout_ms - 100;
	for (size_t sent = 0; sent < 4000 && !client_read_some(c); sent++) {
		client_send_str(r, c, "x");
		rig_turn(r);
	}
	client_expect(r, c, 408, "timeout");
}

static void test_head_deadline(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.idle_timeout_ms = 600000; /* idleness is not what ends anything here */
	rig_start(r);
	struct client late = rig_connect(r);
	client_send_str(r, &late, "GET / HTTP/1.1\r\nx: ");
	rig_turn(r);
	struct http_exchange *conn = r->srv.http->first;
	drip_until_408(r, &late, conn);
	/* nor do its bytes keep it for the whole time of lingering */
	assert_int_equal(conn->state, CONN_LINGER);
	assert_true(conn->linger_end <= uv_now(&r->loop) + HTTP_LINGER_IDLE_MS);
	client_close(&late);
	while (http_server_connections(r->srv.http) > 0)
		rig_turn(r);

	/* The time until the first byte counts on a new connection. */
	struct client silent = rig_connect(r);
	r->srv.http->first->since -= r->opt.header_timeout_ms;
	client_send_str(r, &silent, "G");
	client_expect(r, &silent, 408, "timeout");
	client_close(&silent);
	struct client mute = rig_connect(r);
	r->srv.http->last->since -= r->opt.header_timeout_ms;
	client_wait_eof(r, &mute);
	client_close(&mute);
	while (http_server_connections(r->srv.http) > 0)
		rig_turn(r);

	/* Between requests it does not, but then a head has no more time than the first. */
	struct client kept = rig_connect(r);
	client_send_str(r, &kept, ALIVE);
	client_expect(r, &kept, 200, "is_alive");
	conn = r->srv.http->first;
	uint64_t before = conn->since -= 2 * r->opt.header_timeout_ms;
	uint64_t begin = uv_now(&r->loop);
	while (uv_now(&r->loop) < begin + 2 * HTTP_SWEEP_MS)
		rig_turn(r);
	assert_int_equal(conn->since, before);
	client_send_str(r, &kept, "GET /");
	while (conn->since == before)
		rig_turn(r);
	drip_until_408(r, &kept, conn);
	client_close(&kept);
}

/* A POST whose body is still to come, its head taken by the server. */
static struct http_exchange *begin_body(struct rig *r, struct client *c, const char *head)
{
	*c = rig_connect(r);
	client_send_str(r, c, head);
	while (r->srv.http->last->state != CONN_BODY)
		rig_turn(r);
	return r->srv.http->last;
}

static void test_body_rate(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.min_rate = 1000;
	r->opt.idle_timeout_ms = 20000;
	rig_start(r);
	static const char *const heads[] = {
		"POST /execute HTTP/1.1\r\n" KEY "content-length: 100000\r\n\r\n",
		"POST /upload HTTP/1.1\r\n" KEY
		"content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000000000\r\n\r\n",
	};
	struct client c;
	for (int i = 0; i < 2; i++) {
		/* Bytes below the rate are worth their own time and no more. */
		struct http_exchange *conn = begin_body(r, &c, heads[i]);
		uint64_t before = conn->since -= 10000;
		client_send(r, &c, "                                                  ", 50);
		while (conn->since == before)
			rig_turn(r);
		assert_int_equal(conn->since, before + 50);
		/* A byte now and then doesn't save it. */
		conn->since = uv_now(&r->loop) - r->opt.idle_timeout_ms + 100;
		for (size_t sent = 0; sent < 100 && !client_read_some(&c); sent++) {
			client_send_str(r, &c, " ");
			rig_turn(r);
		}
		while (conn->state == CONN_BODY)
			rig_turn(r);
		client_expect(r, &c, 408, "{\"detail\":\"Request timeout\"}");
		assert_int_equal(conn->state, CONN_LINGER);
		assert_true(conn->linger_end <= uv_now(&r->loop) + HTTP_LINGER_IDLE_MS);
		client_close(&c);
	}
	/* What comes fast pays back a silence, but earns nothing for later. */
	struct http_exchange *conn = begin_body(r, &c, heads[0]);
	uint64_t before = conn->since -= 10000;
	char *much = calloc(1, 50000);
	client_send(r, &c, much, 50000);
	while (conn->since == before || conn->body.len < 50000)
		rig_turn(r);
	assert_true(conn->since <= uv_now(&r->loop));
	assert_true(conn->since > before + 9000);
	client_send(r, &c, much, 50000);
	client_expect(r, &c, 422, "json_invalid");
	client_close(&c);
	free(much);
}

static void test_no_rate_asked(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.min_rate = 0;
	rig_start(r);
	struct client c;
	struct http_exchange *conn = begin_body(r, &c, "POST /execute HTTP/1.1\r\n" KEY "content-length: 20\r\n\r\n");
	uint64_t before = conn->since -= 50000;
	client_send_str(r, &c, "{");
	while (conn->since == before)
		rig_turn(r);
	assert_true(conn->since > before + 49000);
	client_close(&c);
}

/* ---- accepting ---- */

static struct client dial(unsigned port)
{
	struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	buf_init(&c.in, 1 << 20);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
	return c;
}

static unsigned listen_here(struct rig *r)
{
	int fd;
	unsigned port;
	assert_int_equal(http_listen_tcp("127.0.0.1", 0, &fd, &port), 0);
	assert_true(port > 0);
	assert_int_equal(http_server_listen(r->srv.http, fd), 0);
	return port;
}

static void test_connection_limit(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.max_connections = 2;
	rig_start(r);
	unsigned port = listen_here(r);
	struct client a = dial(port), b = dial(port);
	send_command(r, &a, "", "hang");
	send_command(r, &b, "", "hang");
	while (fake_stats(r->srv.rt)->runs < 2)
		rig_turn(r);
	struct client c = dial(port);
	client_send_str(r, &c, ALIVE);
	client_expect(r, &c, 503, "Too many connections");
	client_wait_eof(r, &c);
	fake_release(r->srv.rt);
	client_expect(r, &b, 200, "released");
	client_close(&b);
	while (http_server_connections(r->srv.http) > 1)
		rig_turn(r);
	client_close(&c);
	c = dial(port);
	client_send_str(r, &c, ALIVE);
	client_expect(r, &c, 200, "is_alive");
	client_close(&a);
	client_close(&c);
}

static void test_incomplete_heads_make_room(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.max_connections = 3;
	rig_start(r);
	unsigned port = listen_here(r);
	struct client busy = dial(port), old = dial(port), young = dial(port);
	send_command(r, &busy, "", "hang");
	while (fake_stats(r->srv.rt)->runs < 1 || http_server_connections(r->srv.http) < 3)
		rig_turn(r);
	client_send_str(r, &old, "GET / HTTP/1.1\r\n");
	client_send_str(r, &young, "GET /");
	for (bool both = false; !both;) {
		rig_turn(r);
		both = true;
		for (struct http_exchange *c = r->srv.http->first; c; c = c->next)
			both = both && (c->state == CONN_BUSY || c->parser.started);
	}
	r->srv.http->first->next->since -= 500; /* in the order of dialling */
	struct client fine = dial(port);
	client_send_str(r, &fine, ALIVE);
	client_expect(r, &fine, 200, "is_alive");
	while (!old.eof && !old.reset) {
		client_read_some(&old);
		rig_turn(r);
	}
	assert_int_equal(old.in.len, 0);
	client_send_str(r, &young, "is_alive HTTP/1.1\r\n" KEY "\r\n");
	client_expect(r, &young, 200, "is_alive");
	fake_release(r->srv.rt);
	client_expect(r, &busy, 200, "released");
	client_close(&busy);
	client_close(&old);
	client_close(&young);
	client_close(&fine);
}

static void test_late_bodies_make_room(void **state)
{
	struct rig *r = *state;
	rig_reset(r);
	r->opt.max_connections = 2;
	rig_start(r);
	unsigned port = listen_here(r);
	struct client late, prompt;
	begin_body(r, &late, "POST /execute HTTP/1.1\r\ncontent-length: 20\r\n\r\n")->since -= 2 * HTTP_SWEEP_MS;
	begin_body(r, &prompt, "POST /execute HTTP/1.1\r\n" KEY "content-length: 20\r\n\r\n");
	struct client fine = dial(port);
	client_send_str(r, &fine, ALIVE);
	client_expect(r, &fine, 200, "is_alive");
	while (!late.eof && !late.reset) {
		client_read_some(&late);
		rig_turn(r);
	}
	client_send_str(r, &prompt, "{\"command\":[\"true\"]}");
	client_expect(r, &prompt, 200, "exit_code");
	client_close(&late);
	client_close(&prompt);
	client_close(&fine);
}

static void test_spare_descriptor_answers(void **state)
{
	struct rig *r = *state;
	unsigned port = listen_here(r);
	struct client c = dial(port);
	int taken[512];
	int n = 0;
	struct rlimit before, few;
	getrlimit(RLIMIT_NOFILE, &before);
	few = before;
	few.rlim_cur = 256;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (n < 512 && (taken[n] = dup(0)) >= 0)
		n++;
	client_send_str(r, &c, ALIVE);
	client_expect(r, &c, 503, "Too many connections");
	for (int i = 0; i < n; i++)
		close(taken[i]);
	setrlimit(RLIMIT_NOFILE, &before);
	client_close(&c);
	c = dial(port);
	client_send_str(r, &c, ALIVE);
	client_expect(r, &c, 200, "is_alive");
	client_close(&c);
}

static void test_listen_names(void **state)
{
	(void)state;
	int fd;
	unsigned port;
	assert_int_equal(http_listen_tcp("localhost", 0, &fd, &port), 0);
	close(fd);
	assert_int_equal(http_listen_tcp("no.such.host.invalid", 0, &fd, &port), -2);
	assert_int_equal(http_listen_tcp("::1", 0, &fd, &port), 0);
	close(fd);
	char path[] = "/tmp/test-http-XXXXXX";
	assert_non_null(mkdtemp(path));
	char name[64];
	snprintf(name, sizeof name, "%s/s", path);
	assert_int_equal(http_listen_unix(name, &fd), 0);
	int second;
	assert_int_equal(http_listen_unix(name, &second), -98);
	close(fd);
	assert_int_equal(http_listen_unix(name, &fd), 0); /* the dead one's place is taken */
	close(fd);
	unlink(name);
	rmdir(path);
}

#define STREAM GET_STREAM "Connection: Upgrade\r\nUpgrade: crex-stream/1\r\n\r\n"
#define GET_STREAM "GET /stream HTTP/1.1\r\nX-API-Key: secret\r\n"

static void wait_text(struct rig *r, struct client *c, const char *text)
{
	for (int i = 0; i < 5000 && !(c->in.len && memmem(c->in.data, c->in.len, text, strlen(text))); i++) {
		rig_turn(r);
		client_read_some(c);
	}
	assert_non_null(c->in.len ? memmem(c->in.data, c->in.len, text, strlen(text)) : NULL);
}

/* The engine's stand-in echoes. */
static void test_upgrade(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r);
	client_send_str(r, &c, ALIVE STREAM "first ");
	wait_text(r, &c, "101 Switching Protocols");
	wait_text(r, &c, "\r\n\r\nfirst ");
	client_send_str(r, &c, "GET / HTTP/1.1\r\n\r\n");
	wait_text(r, &c, "first GET / HTTP/1.1\r\n\r\n");
	assert_int_equal(http_server_connections(r->srv.http), 1);
	assert_true(http_server_busy(r->srv.http));
	assert_int_equal(r->srv.n_calls, 1);
	client_send_str(r, &c, "end");
	wait_text(r, &c, "end");
	client_wait_eof(r, &c);
	client_close(&c);
	while (http_server_connections(r->srv.http))
		rig_turn(r);
	assert_int_equal(r->srv.n_calls, 0);
	assert_int_equal(fake_stats(r->srv.rt)->stream_hang_ups, 0);
}

static void test_upgraded_hangs_up(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r), d = rig_connect(r);
	client_send_str(r, &c, STREAM);
	wait_text(r, &c, "101");
	client_close(&c);
	while (fake_stats(r->srv.rt)->stream_hang_ups < 1)
		rig_turn(r);
	client_send_str(r, &d, STREAM "pause");
	wait_text(r, &d, "pause");
	client_close(&d); /* it isn't read; the sweep finds it out */
	while (fake_stats(r->srv.rt)->stream_hang_ups < 2)
		rig_turn(r);
	assert_int_equal(r->srv.n_calls, 0);
}

static void test_upgraded_slow_reader(void **state)
{
	enum { PIECE = 65536, PIECES = 16 };
	struct rig *r = *state;
	struct client c = rig_connect(r);
	buf_deinit(&c.in);
	buf_init(&c.in, 2 * PIECE * PIECES);
	client_send_str(r, &c, STREAM);
	wait_text(r, &c, "\r\n\r\n");
	size_t head = c.in.len;
	char *piece = malloc(PIECE);
	for (int i = 0; i < PIECES; i++) {
		memset(piece, 'a' + i, PIECE);
		client_send(r, &c, piece, PIECE);
	}
	free(piece);
	while (fake_stats(r->srv.rt)->stream_drains == 0 || c.in.len < head + PIECE * PIECES) {
		rig_turn(r);
		client_read_some(&c);
	}
	for (size_t i = 0; i < PIECE * PIECES; i++)
		assert_int_equal(c.in.data[head + i], 'a' + (int)(i / PIECE));
	client_close(&c);
}

static void test_upgraded_at_the_end(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r);
	client_send_str(r, &c, STREAM);
	wait_text(r, &c, "101");
	rig_reset(r); /* hangs up for it: a leak or a use after free would be told by the sanitizers */
	client_wait_eof(r, &c);
	client_close(&c);
	rig_start(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
		CASE(test_fixed_replies),
		CASE(test_head_has_no_body),
		CASE(test_runtime_error_is_511),
		CASE(test_every_split),
		CASE(test_every_prefix),
		CASE(test_malformed),
		CASE(test_limits),
		CASE(test_continue),
		CASE(test_small_refusal_keeps_connection),
		CASE(test_order_and_half_close),
		CASE(test_request_ids),
		CASE(test_big_bodies_and_slow_reader),
		CASE(test_backlog_is_bounded),
		CASE(test_backlog_of_fast_readers),
		CASE(test_early_refusal_of_upload),
		CASE(test_idle_is_closed),
		CASE(test_head_deadline),
		CASE(test_body_rate),
		CASE(test_no_rate_asked),
		CASE(test_connection_limit),
		CASE(test_incomplete_heads_make_room),
		CASE(test_late_bodies_make_room),
		CASE(test_spare_descriptor_answers),
		CASE(test_listen_names),
		CASE(test_upgrade),
		CASE(test_upgraded_hangs_up),
		CASE(test_upgraded_slow_reader),
		CASE(test_upgraded_at_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

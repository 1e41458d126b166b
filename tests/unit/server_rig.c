/* tests/unit/server_rig.c: see the header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server_rig.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE_S = 20 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void set_defaults(struct rig *r)
{
	memset(r, 0, sizeof *r);
	r->opt = (struct options){.max_connections = 64,
				  .max_body = 1 << 20,
				  .max_header = 8192,
				  .max_output = 16 << 20,
				  .max_file = 1 << 20,
				  .max_backlog = 64 << 20,
				  .idle_timeout_ms = 60000,
				  .header_timeout_ms = 20000,
				  .min_rate = 512,
				  .idempotency_count = 64,
				  .idempotency_bytes = 32 << 20,
				  .idempotency_age_ms = 60000};
	r->opt.token = strdup("secret");
}

void rig_start(struct rig *r)
{
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(uv_loop_init(&r->loop), 0);
	r->http = (struct http_config){.max_header = r->opt.max_header,
				       .max_body = r->opt.max_body,
				       .max_connections = r->opt.max_connections,
				       .max_backlog = r->opt.max_backlog,
				       .idle_ms = (unsigned)r->opt.idle_timeout_ms,
				       .header_ms = (unsigned)r->opt.header_timeout_ms,
				       .min_rate = (unsigned)r->opt.min_rate};
	const struct local_config engine = {.max_sessions = 1};
	const struct idem_config kept = {r->opt.idempotency_count, r->opt.idempotency_bytes, r->opt.idempotency_age_ms};
	r->srv.loop = &r->loop;
	r->srv.opt = &r->opt;
	r->srv.reply_max = 128 << 20;
	r->srv.rt = local_new(&r->loop, &engine);
	r->srv.http = http_server_new(&r->loop, &r->http, &server_handler, &r->srv);
	r->srv.idem = idem_new(&kept);
	assert_non_null(r->srv.http);
}

static void on_engine_closed(void *arg)
{
	(void)arg;
}

static void on_closed(void *arg)
{
	((struct rig *)arg)->closed = true;
}

void rig_turn(struct rig *r)
{
	if (uv_run(&r->loop, UV_RUN_NOWAIT) == 0)
		return;
	struct pollfd p = {.fd = uv_backend_fd(&r->loop), .events = POLLIN};
	poll(&p, 1, 5);
	uv_run(&r->loop, UV_RUN_NOWAIT);
}

static void stop(struct rig *r)
{
	double end = now() + DEADLINE_S;
	http_server_drain(r->srv.http);
	local_shutdown(r->srv.rt, on_engine_closed, r);
	http_server_close(r->srv.http, on_closed, r);
	while (!r->closed || uv_loop_alive(&r->loop)) {
		assert_true(now() < end);
		rig_turn(r);
	}
	assert_int_equal(r->srv.n_calls, 0);
	assert_int_equal(uv_loop_close(&r->loop), 0);
	idem_free(r->srv.idem);
	options_deinit(&r->opt);
}

void rig_reset(struct rig *r)
{
	stop(r);
	set_defaults(r);
}

int rig_setup(void **state)
{
	struct rig *r = *state = calloc(1, sizeof *r);
	assert_non_null(r);
	set_defaults(r);
	rig_start(r);
	return 0;
}

int rig_teardown(void **state)
{
	stop(*state);
	free(*state);
	return 0;
}

struct client rig_connect(struct rig *r)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(http_server_adopt(r->srv.http, pair[0]), 0);
	struct client c = {.fd = pair[1]};
	buf_init(&c.in, 256 << 20);
	return c;
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	buf_deinit(&c->in);
}

bool client_read_some(struct client *c)
{
	char part[65536];
	if (c->eof || c->reset)
		return false;
	ssize_t n = recv(c->fd, part, sizeof part, MSG_DONTWAIT);
	if (n > 0)
		assert_int_equal(buf_append(&c->in, part, (size_t)n), 0);
	else if (n == 0)
		c->eof = true;
	else if (errno != EAGAIN)
		c->reset = true;
	return n >= 0;
}

void client_send(struct rig *r, struct client *c, const char *data, size_t len)
{
	double end = now() + DEADLINE_S;
	while (len > 0) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN) {
			c->reset = errno == EPIPE ? c->reset : true;
			return;
		}
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
		assert_true(now() < end);
		rig_turn(r);
	}
}

void client_send_str(struct rig *r, struct client *c, const char *text)
{
	client_send(r, c, text, strlen(text));
}

static const char *find_text(const char *in, size_t len, const char *what)
{
	return memmem(in, len, what, strlen(what));
}

int client_reply(struct rig *r, struct client *c, struct crex_str *ret_body)
{
	double end = now() + DEADLINE_S;
	for (;;) {
		const char *head_end = c->in.len ? find_text(c->in.data, c->in.len, "\r\n\r\n") : NULL;
		if (head_end) {
			size_t head = (size_t)(head_end - c->in.data) + 4;
			const char *length = find_text(c->in.data, head, "content-length: ");
			size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
			if (c->in.len >= head + body) {
				int status = atoi(c->in.data + 9);
				static struct buf taken; /* the reply that was handed out last */
				buf_deinit(&taken);
				buf_init(&taken, 256 << 20);
				assert_int_equal(buf_append(&taken, c->in.data + head, body), 0);
				buf_consume(&c->in, head + body);
				if (ret_body)
					*ret_body = (struct crex_str){taken.data, taken.len};
				return status;
			}
		}
		if (!client_read_some(c)) {
			if (c->eof || c->reset)
				return 0;
			rig_turn(r);
		}
		assert_true(now() < end);
	}
}

void client_expect(struct rig *r, struct client *c, int status, const char *part)
{
	struct crex_str body = {"", 0};
	int got = client_reply(r, c, &body);
	if (got != status || (part && !memmem(body.ptr, body.len, part, strlen(part))))
		fail_msg("got %d %.*s, not %d %s", got, (int)body.len, body.ptr, status, part ? part : "");
}

void client_wait_eof(struct rig *r, struct client *c)
{
	double end = now() + DEADLINE_S;
	while (!c->eof) {
		assert_false(c->reset);
		if (!client_read_some(c))
			rig_turn(r);
		assert_true(now() < end);
	}
}

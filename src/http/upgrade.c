/* http/upgrade.c: a connection after "101 Switching Protocols": bytes both ways, whoever speaks first.
 *
 * It stays one of the server's connections, counted and closed like the others, but no clock runs over it: such a
 * stream may be silent for days. TCP's keepalive finds a peer that is gone. One that we have stopped reading for a
 * while is asked by the sweep, since a hang-up behind unread bytes makes no event.
 *
 * What the socket doesn't take at once is copied: one buffer is in libuv's hands, one fills up behind it. How much
 * waits is told to the writer, who is to stop by himself; ENOMEM and a limit that stays unreached otherwise break the
 * connection. An error of a write breaks it too, but never within the write itself: the user of the connection is in
 * the middle of something then. */
#include "http/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEEPALIVE_S = 30, WAITING_MAX = 4 << 20 };

struct http_upgrade {
	const struct http_raw *raw; /* NULL: the user has closed it, what waits is still to be sent */
	void *arg;
	struct buf flight, more;
	size_t left; /* as last seen by the sweep */
	bool broken;
};

/* Whether the comma-separated list has this word. */
static bool has_word(struct crex_str list, const char *word)
{
	size_t len = strlen(word);
	for (size_t at = 0; at < list.len;) {
		size_t end = at;
		while (end < list.len && list.ptr[end] != ',')
			end++;
		size_t last = end;
		while (at < last && (list.ptr[at] == ' ' || list.ptr[at] == '\t'))
			at++;
		while (last > at && (list.ptr[last - 1] == ' ' || list.ptr[last - 1] == '\t'))
			last--;
		if (last - at == len && strncasecmp(list.ptr + at, word, len) == 0)
			return true;
		at = end + 1;
	}
	return false;
}

bool http_wants_upgrade(const struct http_exchange *c, const char *protocol)
{
	return c->parser.ll.http_minor >= 1 &&
	       has_word(http_parser_header(&c->parser, HTTP_HEADER_CONNECTION), "upgrade") &&
	       has_word(http_parser_header(&c->parser, HTTP_HEADER_UPGRADE), protocol);
}

int http_upgrade(struct http_exchange *c, const char *head, const struct http_raw *raw, void *arg)
{
	struct http_upgrade *u = calloc(1, sizeof *u);
	if (!u)
		return -ENOMEM;
	u->raw = raw;
	u->arg = arg;
	buf_init(&u->flight, WAITING_MAX);
	buf_init(&u->more, WAITING_MAX);
	c->owned = false;
	if (c->state == CONN_CLOSED) { /* gone before the handler came to it */
		free(u);
		conn_maybe_free(c);
		return -ECONNRESET;
	}
	c->upgrade = u;
	c->state = CONN_RAW;
	buf_deinit(&c->body);
	if (c->h.handle.type == UV_TCP)
		uv_tcp_keepalive(&c->h.tcp, 1, KEEPALIVE_S);
	http_raw_write(c, head, strlen(head), NULL, 0);
	return 0;
}

static void start_flight(struct http_exchange *c);

static void on_flown(uv_write_t *req, int status)
{
	struct http_exchange *c = req->data;
	struct http_upgrade *u = c->upgrade;
	if (c->state != CONN_RAW)
		return; /* closed meanwhile */
	buf_clear(&u->flight);
	if (status < 0 || u->broken)
		conn_close(c);
	else if (u->more.len > 0)
		start_flight(c);
	else if (u->raw)
		u->raw->on_drained(u->arg);
	else
		conn_linger(c);
}

static void start_flight(struct http_exchange *c)
{
	struct http_upgrade *u = c->upgrade;
	struct buf empty = u->flight;
	u->flight = u->more;
	u->more = empty;
	uv_buf_t buf = {.base = u->flight.data, .len = u->flight.len};
	c->since = uv_now(c->server->loop);
	if (uv_write(&c->req.write, &c->h.stream, &buf, 1, on_flown) < 0)
		u->broken = true;
}

size_t http_raw_write(struct http_exchange *c, const char *head, size_t head_len, const char *data, size_t len)
{
	struct http_upgrade *u = c->upgrade;
	if (c->state != CONN_RAW || u->broken)
		return 0;
	size_t sent = 0;
	if (u->flight.len == 0) {
		uv_buf_t bufs[2] = {{.base = (char *)head, .len = head_len}, {.base = (char *)data, .len = len}};
		int r = uv_try_write(&c->h.stream, bufs, len ? 2 : 1);
		u->broken = r < 0 && r != UV_EAGAIN;
		sent = r > 0 ? (size_t)r : 0;
	}
	size_t from_head = sent < head_len ? sent : head_len, from_data = sent - from_head;
	if ((from_head < head_len && buf_append(&u->more, head + from_head, head_len - from_head) < 0) ||
	    (from_data < len && buf_append(&u->more, data + from_data, len - from_data) < 0))
		u->broken = true;
	if (!u->broken && u->flight.len == 0 && u->more.len > 0)
		start_flight(c);
	return u->broken ? 0 : u->flight.len + u->more.len;
}

void http_raw_pause(struct http_exchange *c, bool paused)
{
	if (c->state == CONN_RAW)
		conn_want_reading(c, !paused);
}

void http_raw_close(struct http_exchange *c)
{
	if (c->state != CONN_RAW)
		return;
	c->upgrade->raw = NULL;
	c->since = uv_now(c->server->loop);
	if (c->upgrade->flight.len == 0)
		conn_linger(c);
}

/* ---- for connection.c ---- */

void upgrade_data(struct http_exchange *c, const char *data, size_t len)
{
	if (c->upgrade->raw && len > 0)
		c->upgrade->raw->on_data(c->upgrade->arg, data, len);
}

void upgrade_gone(struct http_exchange *c)
{
	const struct http_raw *raw = c->upgrade->raw;
	c->upgrade->raw = NULL;
	if (raw)
		raw->on_gone(c->upgrade->arg);
}

static bool has_hung_up(const struct http_exchange *c)
{
	struct pollfd p = {.events = POLLRDHUP};
	return uv_fileno(&c->h.handle, &p.fd) == 0 && poll(&p, 1, 0) > 0;
}

bool upgrade_is_over(struct http_exchange *c, uint64_t now)
{
	struct http_upgrade *u = c->upgrade;
	if (u->broken || (!c->reading && has_hung_up(c)))
		return true;
	size_t left = uv_stream_get_write_queue_size(&c->h.stream);
	if (u->raw || left != u->left)
		c->since = now;
	u->left = left;
	return now - c->since >= c->server->config.idle_ms;
}

void *upgrade_free(struct http_upgrade *u)
{
	if (u) {
		buf_deinit(&u->flight);
		buf_deinit(&u->more);
		free(u);
	}
	return NULL;
}

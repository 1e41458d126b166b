/* http/connection.c: one connection's state machine: bytes in, exchanges through the handler, replies out.
 *
 *   HEAD --head--> BODY --message--> BUSY --reply--> WRITE --sent--> HEAD (kept alive) or LINGER or CLOSED
 *                                      \--upgrade--> RAW (upgrade.c) --> LINGER or CLOSED
 *
 * The connection and its exchange are one object, since requests of a connection are served one after the other:
 * a new request costs no allocation beyond its body. The object outlives its handle when the client has gone while
 * the handler still works, because the command goes on and the handler holds a pointer; it goes when both are done.
 *
 * Reading never stops while a request is served (that would cost two system calls a request): what comes early is
 * stashed, and only a client that sends more than HTTP_STASH_MAX ahead is made to wait. So a hang-up in the middle of
 * a long command is seen at once and frees the descriptor.
 *
 * conn_feed() is the only place where bytes are parsed. It loops rather than recursing: a handler that replies before
 * it returns leaves the state at HEAD and the loop takes the next pipelined request.
 *
 * Slow clients: one that sends a byte a second must not keep its place for ever, or a few hundred of them would keep
 * everybody else out. A head has a deadline that no byte postpones: header_ms (or idle_ms, when that is less) from its
 * first byte, and on a new connection from its beginning. A body has no such deadline, since an upload over a thin line
 * may rightly take hours; it has a rate to keep. The silence that `since` measures shrinks by a second for each
 * min_rate bytes that come, never below none: a leaky bucket that is as deep as the idle time. So a stall is forgiven
 * as long as a silence is, a trickle ends after about idle_ms, and a fast start earns no credit for a slow rest. Time
 * in which we make the client wait doesn't count. Readers of replies may be as slow as they like: they hold memory, not
 * a request, and that is bounded by max_backlog.
 *
 * A reply is one writev of head and body. What the socket does not take is queued in libuv with the connection as
 * its owner; nobody waits. A connection whose request was not read to its end (refused uploads, malformed input)
 * is closed in the lingering way: we shut our side, then read and drop until the client is done, since closing with
 * unread data makes the kernel send RST, which can overtake the reply. */
#include "http/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void conn_feed(struct http_exchange *c, const char *data, size_t len);
static void got_eof(struct http_exchange *c);

static uint64_t now_of(const struct http_exchange *c)
{
	return uv_now(c->server->loop);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	(void)suggested;
	struct http_exchange *c = handle->data;
	*ret = uv_buf_init(c->server->read_buffer, HTTP_READ_SIZE);
}

void conn_want_reading(struct http_exchange *c, bool on)
{
	if (c->state == CONN_CLOSED || c->reading == on || (on && c->eof))
		return;
	c->reading = on;
	if (on)
		uv_read_start(&c->h.stream, on_alloc, on_read);
	else
		uv_read_stop(&c->h.stream);
}

struct http_exchange *conn_new(struct http_server *s, int fd, int domain, int *ret_error)
{
	struct http_exchange *c = calloc(1, sizeof *c);
	if (!c) {
		close(fd);
		*ret_error = -ENOMEM;
		return NULL;
	}
	c->server = s;
	c->since = uv_now(s->loop);
	c->fresh = true;
	http_parser_init(&c->parser, s->config.max_header);
	buf_init(&c->body, s->config.max_body);
	buf_init(&c->stash, HTTP_STASH_MAX + HTTP_READ_SIZE);
	int r;
	if (domain == AF_UNIX) {
		uv_pipe_init(s->loop, &c->h.pipe, 0);
		r = uv_pipe_open(&c->h.pipe, fd);
	} else {
		uv_tcp_init(s->loop, &c->h.tcp);
		r = uv_tcp_open(&c->h.tcp, fd);
	}
	c->h.handle.data = c;
	c->req.write.data = c;
	server_conn_opened(s, c);
	if (r < 0) {
		close(fd);
		conn_close(c); /* the handle is initialised, so it goes by way of the loop */
		*ret_error = r;
		return NULL;
	}
	conn_want_reading(c, true);
	return c;
}

/* ---- the end of a connection ---- */

void conn_maybe_free(struct http_exchange *c)
{
	if (!c->freed_late || c->owned)
		return;
	struct http_server *s = c->server;
	http_content_unref(c->content);
	http_parser_deinit(&c->parser);
	buf_deinit(&c->body);
	buf_deinit(&c->stash);
	upgrade_free(c->upgrade);
	free(c);
	server_conn_gone(s);
}

static void on_closed(uv_handle_t *handle)
{
	struct http_exchange *c = handle->data;
	c->freed_late = true;
	conn_maybe_free(c);
}

static void abort_handler(struct http_exchange *c)
{
	if (!c->owned || c->complete)
		return;
	c->owned = false;
	c->server->handler->on_abort(c->server->arg, c);
}

/* A reply that is cut short is cut by a reset: the reader learns that it broke off, and the kernel drops what it has
 * of it at once, megabytes perhaps, rather than offering them to a silent client for minutes. */
static void reset_on_close(struct http_exchange *c)
{
	const struct linger now = {.l_onoff = 1};
	int fd;
	if (uv_fileno(&c->h.handle, &fd) == 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void conn_close(struct http_exchange *c)
{
	if (c->state == CONN_CLOSED)
		return;
	if (c->writing) {
		server_writer_remove(c->server, c);
		reset_on_close(c);
	}
	bool raw = c->state == CONN_RAW;
	c->state = CONN_CLOSED;
	server_conn_closing(c->server, c);
	abort_handler(c);
	if (raw)
		upgrade_gone(c);
	buf_deinit(&c->stash);
	uv_close(&c->h.handle, on_closed);
}

void conn_linger(struct http_exchange *c)
{
	c->state = CONN_LINGER;
	c->since = now_of(c);
	c->linger_end = c->since + HTTP_LINGER_TOTAL_MS;
	buf_deinit(&c->stash);
	buf_deinit(&c->body);
	/* By the raw call: the write queue is empty, and libuv's request would have to outlive a close from here. */
	int fd;
	if (uv_fileno(&c->h.handle, &fd) < 0 || shutdown(fd, SHUT_WR) < 0 || c->eof) {
		conn_close(c);
		return;
	}
	c->paused = false;
	conn_want_reading(c, true);
}

/* ---- replies ---- */

static const char *reason_of(int status)
{
	switch (status) {
	case 200: return "OK";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 413: return "Content Too Large";
	case 426: return "Upgrade Required";
	case 422: return "Unprocessable Content";
	case 431: return "Request Header Fields Too Large";
	case 503: return "Service Unavailable";
	case 511: return "Network Authentication Required";
	default: return status < 400 ? "OK" : "Error";
	}
}

static void reply_sent(struct http_exchange *c)
{
	c->content = http_content_unref(c->content);
	c->fixed = NULL;
	if (!c->keep) {
		if (c->complete && c->stash.len == 0)
			conn_close(c);
		else
			conn_linger(c);
		return;
	}
	c->state = CONN_HEAD;
	c->since = now_of(c);
	c->complete = false;
	http_parser_reset(&c->parser);
	if (c->body.cap > HTTP_READ_SIZE)
		buf_deinit(&c->body);
	else
		buf_clear(&c->body);
	if (c->feeding)
		return;
	if (c->stash.len > 0) {
		struct buf stash = c->stash;
		buf_init(&c->stash, stash.max);
		conn_feed(c, stash.data, stash.len);
		buf_deinit(&stash);
	}
	if (c->state != CONN_HEAD && c->state != CONN_BODY)
		return;
	if (c->eof)
		got_eof(c);
	else if (!c->paused)
		conn_want_reading(c, true);
}

static void on_written(uv_write_t *req, int status)
{
	struct http_exchange *c = req->data;
	if (c->state != CONN_WRITE)
		return; /* closed meanwhile */
	server_writer_remove(c->server, c);
	if (status < 0)
		conn_close(c);
	else
		reply_sent(c);
}

/* Sends c->head and c->content or c->fixed. */
static void send_reply(struct http_exchange *c)
{
	const char *body = c->content ? c->content->body.data : c->fixed;
	uv_buf_t bufs[2] = {uv_buf_init(c->head, (unsigned)c->head_len), {.base = (char *)body, .len = c->out_len}};
	unsigned n_bufs = c->out_len > 0 ? 2 : 1;
	c->state = CONN_WRITE;
	int r = uv_try_write(&c->h.stream, bufs, n_bufs);
	size_t sent = r > 0 ? (size_t)r : 0, total = c->head_len + c->out_len;
	if ((r < 0 && r != UV_EAGAIN) || sent >= total) {
		if (r < 0)
			conn_close(c);
		else
			reply_sent(c);
		return;
	}
	size_t first = sent < c->head_len ? sent : c->head_len;
	bufs[0].base += first;
	bufs[0].len -= first;
	if (n_bufs == 2) {
		bufs[1].base += sent - first;
		bufs[1].len -= sent - first;
	}
	c->since = c->write_start = now_of(c);
	/* All of the reply stays in memory until its last byte is taken, so all of it counts. */
	server_writer_add(c->server, c, c->content ? c->content->body.cap : total - sent);
	c->out_left = total - sent;
	unsigned skip = bufs[0].len == 0;
	r = uv_write(&c->req.write, &c->h.stream, bufs + skip, n_bufs - skip, on_written);
	if (r < 0)
		conn_close(c);
}

static char *put(char *at, const char *end, const char *text)
{
	size_t n = strlen(text), room = (size_t)(end - at);
	return mempcpy(at, text, n < room ? n : room);
}

static char *put_number(char *at, const char *end, size_t value)
{
	char digits[24], *first = digits + sizeof digits - 1;
	*first = '\0';
	do
		*--first = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	return put(at, end, first);
}

/* By hand: of an is_alive's whole work, printf's part would be a tenth. */
static size_t write_head(char head[HTTP_HEAD_MAX], int status, size_t len, const char *extra_header,
			 const char *connection)
{
	char *at = head, *end = head + HTTP_HEAD_MAX;
	at = put(at, end, "HTTP/1.1 ");
	at = put_number(at, end, (size_t)status);
	at = put(at, end, " ");
	at = put(at, end, reason_of(status));
	at = put(at, end, "\r\ncontent-type: application/json\r\ncontent-length: ");
	at = put_number(at, end, len);
	at = put(at, end, "\r\n");
	at = put(at, end, extra_header);
	at = put(at, end, connection);
	at = put(at, end, "\r\n");
	return (size_t)(at - head);
}

static void start_reply(struct http_exchange *c, int status, size_t len, const char *extra_header)
{
	c->owned = false;
	c->chain = NULL;
	c->data = NULL;
	if (c->state == CONN_CLOSED) {
		c->content = http_content_unref(c->content);
		conn_maybe_free(c);
		return;
	}
	if (!c->complete)
		c->keep = false;
	if (c->server->draining)
		c->keep = false;
	/* An HTTP/1.0 client takes silence for the end. */
	const char *connection = !c->keep			? "connection: close\r\n"
				 : c->parser.ll.http_minor == 0 ? "connection: keep-alive\r\n"
								: "";
	c->head_len = write_head(c->head, status, len, extra_header, connection);
	c->out_len = c->parser.head_done && c->parser.ll.method == HTTP_HEAD ? 0 : len;
	send_reply(c);
}

void http_reply(struct http_exchange *c, int status, struct http_content *content, const char *extra_header)
{
	if (!content) {
		http_reply_static(
			c, 511,
			"{\"swerexception\":{\"message\":\"out of memory\",\"class_path\":\"builtins.MemoryError\","
			"\"traceback\":\"\",\"extra_info\":{}}}",
			"");
		return;
	}
	if (!server_has_room(c->server, content->body.len)) {
		http_content_unref(content);
		http_reply_static(
			c, 511,
			"{\"swerexception\":{\"message\":\"the reply was dropped: other replies that are still "
			"being read fill the memory for them (--max-backlog)\","
			"\"class_path\":\"swerex.exceptions.SwerexException\",\"traceback\":\"\",\"extra_info\":{}}}",
			"");
		return;
	}
	c->content = content;
	start_reply(c, status, content->body.len, extra_header);
}

void http_reply_static(struct http_exchange *c, int status, const char *static_json, const char *extra_header)
{
	c->fixed = static_json;
	start_reply(c, status, strlen(static_json), extra_header);
}

enum { LOGGED_ID_MAX = 63, LOGGED_PATH_MAX = 127 };

/* The handler logs what it answers, so this layer must say what it answers itself. */
static void log_refused(const struct http_exchange *c, int status, const char *json)
{
	const struct log *log = c->server->config.log;
	if (!log_enabled(log, LOG_LEVEL_INFO))
		return;
	if (c->state == CONN_HEAD) {
		log_write(log, LOG_LEVEL_INFO, "http", NULL, "refused: %d %s", status, json);
		return;
	}
	struct crex_str given = http_request_id(c);
	char id[LOGGED_ID_MAX + 1];
	snprintf(id, sizeof id, "%.*s", (int)(given.len < LOGGED_ID_MAX ? given.len : LOGGED_ID_MAX), given.ptr);
	log_write(log, LOG_LEVEL_INFO, "http", given.len > 0 ? id : NULL, "refused: %s %.*s %d %s", http_method(c),
		  (int)(c->path.len < LOGGED_PATH_MAX ? c->path.len : LOGGED_PATH_MAX), c->path.ptr, status, json);
}

/* An answer of this layer itself; whatever the handler had begun is aborted. */
static void refuse(struct http_exchange *c, int status, const char *static_json)
{
	abort_handler(c);
	if (c->state != CONN_HEAD && c->state != CONN_BODY)
		return;
	log_refused(c, status, static_json);
	http_reply_static(c, status, static_json, "");
}

/* ---- requests ---- */

static void expect_continue(struct http_exchange *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct crex_str expect = http_parser_header(&c->parser, HTTP_HEADER_EXPECT);
	if (expect.len != 12 || strncasecmp(expect.ptr, "100-continue", 12) != 0 || c->parser.ll.http_minor == 0)
		return;
	/* 25 bytes between two replies fit into any socket buffer; when not, the client goes on after its own wait. */
	uv_buf_t buf = uv_buf_init((char *)text, sizeof text - 1);
	uv_try_write(&c->h.stream, &buf, 1);
}

static void got_head(struct http_exchange *c)
{
	c->state = CONN_BODY;
	c->since = now_of(c);
	c->rate_carry = 0;
	c->fresh = false;
	c->path = http_parser_path(&c->parser);
	c->owned = true;
	c->keep = false;
	c->mode = c->server->handler->on_head(c->server->arg, c);
	if (c->state != CONN_BODY)
		return;
	uint64_t length;
	bool known = http_parser_has_length(&c->parser, &length);
	if (c->mode == HTTP_BODY_BUFFER && known) {
		if (length > c->server->config.max_body) {
			refuse(c, 413, "{\"detail\":\"Request body too large\"}");
			return;
		}
		/* Beyond this, memory follows the bytes that really come. */
		if (buf_reserve(&c->body, length < HTTP_READ_SIZE ? (size_t)length : HTTP_READ_SIZE) == -ENOMEM) {
			refuse(c, 503, "{\"detail\":\"Out of memory\"}");
			return;
		}
	}
	if (!known || length > 0)
		expect_continue(c);
}

static void credit_bytes(struct http_exchange *c, size_t len)
{
	uint64_t rate = c->server->config.min_rate, now = now_of(c);
	uint64_t earned = c->rate_carry + (uint64_t)len * 1000;
	if (rate == 0 || earned / rate >= now - c->since) {
		c->since = now;
		c->rate_carry = 0;
	} else {
		c->since += earned / rate;
		c->rate_carry = earned % rate;
	}
}

static void got_body(struct http_exchange *c)
{
	struct crex_str part = c->parser.body;
	credit_bytes(c, part.len);
	if (c->mode == HTTP_BODY_STREAM) {
		c->server->handler->on_body(c->server->arg, c, part.ptr, part.len);
		return;
	}
	int r = buf_append(&c->body, part.ptr, part.len);
	if (r == -ENOSPC)
		refuse(c, 413, "{\"detail\":\"Request body too large\"}");
	else if (r < 0)
		refuse(c, 503, "{\"detail\":\"Out of memory\"}");
}

static void got_message(struct http_exchange *c)
{
	c->state = CONN_BUSY;
	c->complete = true;
	c->keep = http_parser_keep_alive(&c->parser) && !c->server->draining;
	c->paused = false;
	c->server->handler->on_complete(c->server->arg, c);
}

static void stash(struct http_exchange *c, const char *data, size_t len)
{
	if (len > 0 && buf_append(&c->stash, data, len) < 0) {
		conn_close(c);
		return;
	}
	if (c->stash.len >= HTTP_STASH_MAX)
		conn_want_reading(c, false);
}

static void conn_feed(struct http_exchange *c, const char *data, size_t len)
{
	c->feeding = true;
	while (c->state == CONN_HEAD || c->state == CONN_BODY) {
		bool between = !c->parser.started && !c->fresh;
		size_t used = 0;
		enum http_event event = http_parser_feed(&c->parser, data, len, &used);
		data += used;
		len -= used;
		if (between && c->parser.started)
			c->since = now_of(c); /* the head's own deadline starts with its first byte */
		if (event == HTTP_EVENT_MORE)
			break;
		switch (event) {
		case HTTP_EVENT_HEAD: got_head(c); break;
		case HTTP_EVENT_BODY: got_body(c); break;
		case HTTP_EVENT_MESSAGE: got_message(c); break;
		case HTTP_EVENT_HEAD_LIMIT: refuse(c, 431, "{\"detail\":\"Request header fields too large\"}"); break;
		case HTTP_EVENT_BAD: refuse(c, 400, "{\"detail\":\"Malformed HTTP request\"}"); break;
		case HTTP_EVENT_MORE: break;
		}
	}
	c->feeding = false;
	if (c->state == CONN_BUSY || c->state == CONN_WRITE)
		stash(c, data, len);
	else if (c->state == CONN_RAW)
		upgrade_data(c, data, len);
}

static void got_eof(struct http_exchange *c)
{
	c->eof = true;
	conn_want_reading(c, false);
	/* A half-closed client still gets the reply to what it has sent whole. */
	if (c->state == CONN_BUSY || c->state == CONN_WRITE)
		return;
	if (c->state == CONN_HEAD && c->parser.started) {
		refuse(c, 400, "{\"detail\":\"Malformed HTTP request\"}");
		return;
	}
	if (c->state == CONN_BODY) {
		refuse(c, 400, "{\"detail\":\"Request body ended early\"}");
		return;
	}
	conn_close(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct http_exchange *c = stream->data;
	if (n == 0)
		return;
	if (n == UV_EOF) {
		got_eof(c);
		return;
	}
	if (n < 0) {
		conn_close(c);
		return;
	}
	switch (c->state) {
	case CONN_HEAD:
	case CONN_BODY: conn_feed(c, buf->base, (size_t)n); break;
	case CONN_BUSY:
	case CONN_WRITE: stash(c, buf->base, (size_t)n); break;
	case CONN_RAW: upgrade_data(c, buf->base, (size_t)n); break;
	case CONN_LINGER: c->since = now_of(c); break;
	case CONN_CLOSED: break;
	}
}

/* A client mostly sends right behind its connect: what has come by the time that the next accept finds nothing spares a
 * turn of the loop, and a connection of one request its place in epoll. An end or an error is left to the loop. */
void conn_read_now(struct http_exchange *c)
{
	int fd;
	if (c->state != CONN_HEAD || uv_fileno(&c->h.handle, &fd) < 0)
		return;
	ssize_t n = recv(fd, c->server->read_buffer, HTTP_READ_SIZE, MSG_DONTWAIT);
	if (n > 0)
		conn_feed(c, c->server->read_buffer, (size_t)n);
}

/* ---- deadlines and drains ---- */

bool conn_is_idle(const struct http_exchange *c)
{
	return c->state == CONN_HEAD && !c->parser.started;
}

bool conn_is_slow(const struct http_exchange *c, uint64_t now)
{
	uint64_t ms = now > c->write_start ? now - c->write_start : 0;
	size_t left = uv_stream_get_write_queue_size(&c->h.stream), sent = c->out_len > left ? c->out_len - left : 0;
	return c->state == CONN_WRITE && ms >= HTTP_SWEEP_MS && sent < HTTP_SLOW_RATE * (ms / 1000);
}

bool conn_is_late(const struct http_exchange *c, uint64_t now)
{
	if (c->state == CONN_BODY) /* now below its rate, or silent */
		return !c->paused && now - c->since >= HTTP_SWEEP_MS;
	return c->state == CONN_HEAD && c->parser.started;
}

void conn_drain(struct http_exchange *c)
{
	if (c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER)
		conn_close(c);
}

static void refuse_late(struct http_exchange *c)
{
	refuse(c, 408, "{\"detail\":\"Request timeout\"}");
	if (c->state == CONN_LINGER) /* what it sends byte by byte is no reason to wait longer */
		c->linger_end = now_of(c) + HTTP_LINGER_IDLE_MS;
}

void conn_sweep(struct http_exchange *c, uint64_t now)
{
	unsigned idle = c->server->config.idle_ms;
	uint64_t age = now > c->since ? now - c->since : 0;
	switch (c->state) {
	case CONN_HEAD:
		if (age < idle && (age < c->server->config.header_ms || !(c->fresh || c->parser.started)))
			break;
		if (c->parser.started)
			refuse_late(c);
		else
			conn_close(c);
		break;
	case CONN_BODY:
		if (c->paused)
			c->since = now; /* we are the ones who make it wait */
		else if (age >= idle)
			refuse_late(c);
		break;
	case CONN_WRITE: {
		size_t left = uv_stream_get_write_queue_size(&c->h.stream);
		if (left != c->out_left) {
			c->out_left = left;
			c->since = now;
		} else if (age >= idle) {
			conn_close(c);
		}
		break;
	}
	case CONN_RAW:
		if (upgrade_is_over(c, now))
			conn_close(c);
		break;
	case CONN_LINGER:
		if (age >= HTTP_LINGER_IDLE_MS || now >= c->linger_end)
			conn_close(c);
		break;
	case CONN_BUSY:
	case CONN_CLOSED: break;
	}
}

/* ---- what the handler sees ---- */

const char *http_method(const struct http_exchange *c)
{
	return http_parser_method(&c->parser);
}

struct crex_str http_path(const struct http_exchange *c)
{
	return c->path;
}

struct crex_str http_api_key(const struct http_exchange *c)
{
	return http_parser_header(&c->parser, HTTP_HEADER_API_KEY);
}

struct crex_str http_request_id(const struct http_exchange *c)
{
	return http_parser_header(&c->parser, HTTP_HEADER_REQUEST_ID);
}

struct crex_str http_content_type(const struct http_exchange *c)
{
	return http_parser_header(&c->parser, HTTP_HEADER_CONTENT_TYPE);
}

bool http_body_is_small(const struct http_exchange *c)
{
	uint64_t length;
	return http_parser_has_length(&c->parser, &length) && length <= HTTP_SMALL_BODY &&
	       http_parser_header(&c->parser, HTTP_HEADER_EXPECT).ptr == NULL;
}

struct buf *http_body(struct http_exchange *c)
{
	return &c->body;
}

void http_set_data(struct http_exchange *c, void *data)
{
	c->data = data;
}

void *http_data(const struct http_exchange *c)
{
	return c->data;
}

struct http_exchange **http_next(struct http_exchange *c)
{
	return &c->chain;
}

void http_pause(struct http_exchange *c)
{
	if (c->state != CONN_BODY)
		return;
	c->paused = true;
	conn_want_reading(c, false);
}

void http_resume(struct http_exchange *c)
{
	if (!c->paused)
		return;
	c->paused = false;
	if (c->state != CONN_BODY)
		return;
	c->since = now_of(c);
	conn_want_reading(c, true);
}

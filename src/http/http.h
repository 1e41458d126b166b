/* http/http.h: an HTTP/1.1 server for JSON replies on a libuv loop.
 *
 * All of it runs on the loop's thread and nothing blocks. The server owns connections; the handler is given one
 * exchange (request and reply) at a time for each of them, in order. Who owns an exchange: from on_head on the
 * handler, until it calls http_reply*() on it, exactly once, or until on_abort returns. A client that hangs up after
 * on_complete is not reported: the reply is simply dropped. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/buf.h"
#include "base/log.h"
#include <crex/runtime.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct http_server;
struct http_exchange;

/* A reply's body, shared by reference between connections and stores; loop thread only. */
struct http_content {
	size_t refs;
	struct buf body;
};
struct http_content *http_content_new(size_t max); /* one reference; NULL: no memory */
struct http_content *http_content_ref(struct http_content *c);
void *http_content_unref(struct http_content *c); /* NULL is fine; returns NULL */

enum http_body_mode {
	HTTP_BODY_BUFFER, /* collected up to max_body, then on_complete */
	HTTP_BODY_STREAM, /* handed to on_body as it comes, no limit, then on_complete */
};

struct http_handler {
	/* Head is in. The handler may reply here: then the body is not read and the connection is closed cleanly. */
	enum http_body_mode (*on_head)(void *arg, struct http_exchange *ex);
	void (*on_body)(void *arg, struct http_exchange *ex, const char *data, size_t len); /* STREAM only; may reply */
	void (*on_complete)(void *arg, struct http_exchange *ex);
	void (*on_abort)(void *arg, struct http_exchange *ex); /* body broke off; ex is gone afterwards */
};

struct http_config {
	size_t max_header;	/* bytes of target and headers; more is 431 */
	size_t max_body;	/* bytes of a buffered body; more is 413 */
	size_t max_connections; /* one more takes the place of one that is idle or late with its request, else 503 */
	size_t max_backlog;	/* memory of replies that wait for slow readers; beyond it the oldest is cut off */
	unsigned idle_ms;	/* no byte for that long while we wait for the client: closed */
	unsigned header_ms;	/* for a whole head, from its first byte on, if that is less than idle_ms */
	unsigned min_rate;	/* bytes a second that a body must bring, averaged over idle_ms; 0: any */
	struct log *log;	/* may be NULL */
};

struct http_server *http_server_new(uv_loop_t *loop, const struct http_config *config,
				    const struct http_handler *handler, void *arg);
int http_server_listen(struct http_server *s, int fd_take); /* a listening socket; 0 or negative errno */
int http_server_adopt(struct http_server *s, int fd_take);  /* a connected stream socket; 0 or negative errno */
/* No new connections and no new requests; each connection closes after the reply that it waits for. */
void http_server_drain(struct http_server *s);
/* Closes everything; frees the server and calls done when no handle is left and every exchange has been replied to. */
void http_server_close(struct http_server *s, void (*done)(void *arg), void *arg);
size_t http_server_connections(const struct http_server *s);
bool http_server_busy(const struct http_server *s);	  /* some reply is still being written or made */
bool http_server_is_awaited(const struct http_server *s); /* the same, and who asked has not hung up */

/* Reading an exchange; views live until the reply. */
const char *http_method(const struct http_exchange *ex);
struct crex_str http_path(const struct http_exchange *ex);
struct crex_str http_api_key(const struct http_exchange *ex);
struct crex_str http_request_id(const struct http_exchange *ex);
struct crex_str http_content_type(const struct http_exchange *ex);
/* The body still to come is small enough to be read and dropped, rather than cutting the connection. */
bool http_body_is_small(const struct http_exchange *ex);
struct buf *http_body(struct http_exchange *ex); /* BUFFER mode, from on_complete on; may be stolen from */
void http_set_data(struct http_exchange *ex, void *data);
void *http_data(const struct http_exchange *ex);
/* For chains of exchanges that wait for one reply. */
struct http_exchange **http_next(struct http_exchange *ex);

/* Back-pressure in STREAM mode. */
void http_pause(struct http_exchange *ex);
void http_resume(struct http_exchange *ex);

/* extra_header: static, "name: value\r\n" or "". content_take NULL means that memory ran out. */
void http_reply(struct http_exchange *ex, int status, struct http_content *content_take, const char *extra_header);
void http_reply_static(struct http_exchange *ex, int status, const char *static_json, const char *extra_header);

/* Upgrading: from on_complete on, instead of a reply. The connection then carries bytes both ways and is the user's
 * until on_gone, or until the user closes it; no call comes after either. No call comes from within a call to here. */
struct http_raw {
	void (*on_data)(void *arg, const char *data, size_t len);
	void (*on_drained)(void *arg); /* nothing waits any more */
	void (*on_gone)(void *arg);    /* the client has hung up, or the server ends */
};
bool http_wants_upgrade(const struct http_exchange *ex, const char *protocol);
/* head: the whole 101. -ENOMEM: a reply is due; -ECONNRESET: the client has gone and ex with it. */
int http_upgrade(struct http_exchange *ex, const char *head, const struct http_raw *raw, void *arg);
/* Sends both pieces; what the socket doesn't take is copied. Returns how many bytes wait: stop in time. */
size_t http_raw_write(struct http_exchange *ex, const char *head, size_t head_len, const char *data, size_t len);
void http_raw_pause(struct http_exchange *ex, bool paused); /* reads no more for now */
void http_raw_close(struct http_exchange *ex);		    /* when what waits has been sent */

/* Listening sockets, CLOEXEC and non-blocking. 0 or negative errno; a host name that is neither a literal nor in
 * /etc/hosts is -ENOENT. */
int http_listen_tcp(const char *host, unsigned port, int *ret_fd, unsigned *ret_port);
int http_listen_unix(const char *path, int *ret_fd); /* mode 0600; a stale socket is replaced */

#endif

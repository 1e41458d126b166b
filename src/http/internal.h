/* http/internal.h: what server.c and connection.c share. */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include "http/http.h"
#include "http/parser.h"

enum {
	HTTP_READ_SIZE = 65536,
	HTTP_HEAD_MAX = 320, /* of a reply; ours have at most some 200 bytes */
	HTTP_STASH_MAX = 2 * HTTP_READ_SIZE,
	HTTP_SMALL_BODY = 65536,
	HTTP_SWEEP_MS = 1000,
	HTTP_SLOW_RATE = 128 << 10, /* bytes a second: who takes less may be cut off when memory for replies is short */
	HTTP_REPLY_SMALL = 1 << 20, /* always let through */
	HTTP_LINGER_IDLE_MS = 5000,
	HTTP_LINGER_TOTAL_MS = 60000,
};

enum conn_state {
	CONN_HEAD,   /* between requests or inside a head */
	CONN_BODY,   /* head done, body coming */
	CONN_BUSY,   /* message complete, handler at work */
	CONN_WRITE,  /* reply partly in the socket */
	CONN_RAW,    /* upgraded; upgrade.c */
	CONN_LINGER, /* reply sent and our side shut; what still comes is dropped */
	CONN_CLOSED, /* handle closed or closing; the object stays until the handler has replied */
};

struct http_listener {
	struct http_listener *next;
	struct http_server *server;
	uv_poll_t poll;
	int fd;
	int domain; /* AF_UNIX or an internet family; that of every connection it accepts */
};

struct http_server {
	uv_loop_t *loop;
	struct http_config config;
	const struct http_handler *handler;
	void *arg;
	struct http_listener *listeners;
	struct http_exchange *first, *last;		  /* all with an open handle */
	struct http_exchange *writer_first, *writer_last; /* those whose reply waits in libuv, longest-waiting first */
	size_t n_connections;
	size_t n_objects; /* connections, closed ones with an unanswered exchange included */
	size_t backlog;
	uv_timer_t sweep;
	bool sweeping;
	bool accept_stopped; /* no descriptor at all; the sweep starts it again */
	bool draining;
	bool closing;
	size_t handles; /* listeners and the timer, until their close callbacks */
	int spare_fd;	/* given up for a moment when accept finds no fd */
	void (*closed)(void *arg);
	void *closed_arg;
	char read_buffer[HTTP_READ_SIZE]; /* shared: a read callback has used it up before the next read */
};

struct http_exchange {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} h;
	union {
		uv_write_t write;
		uv_shutdown_t shutdown;
	} req;
	struct http_server *server;
	struct http_exchange *prev, *next; /* server's list */
	struct http_exchange *writer_prev, *writer_next;
	struct http_exchange *chain; /* http_next() */
	void *data;
	enum conn_state state;
	enum http_body_mode mode;
	bool owned;    /* by the handler */
	bool keep;     /* the connection outlives this exchange */
	bool complete; /* the message is complete */
	bool eof;      /* the client has shut its side */
	bool fresh;    /* no head has come on it yet */
	bool reading;
	bool paused;	     /* by the handler */
	bool writing;	     /* in the server's list of writers */
	bool feeding;	     /* conn_feed is on the stack and will go on by itself */
	bool freed_late;     /* the object may go once its handle is closed */
	uint64_t since;	     /* loop time of the last progress that counts in this state */
	uint64_t rate_carry; /* bytes of a body times 1000 that have not yet moved `since` on */
	uint64_t linger_end;
	size_t out_left;      /* as last seen by the sweep, in CONN_WRITE */
	uint64_t write_start; /* loop time, in CONN_WRITE */
	size_t out_size;      /* counted into the server's backlog */
	struct http_parser parser;
	struct crex_str path;
	struct buf body;
	struct buf stash; /* bytes that came while we were busy */
	struct http_content *content;
	const char *fixed;
	struct http_upgrade *upgrade; /* owned; NULL: still HTTP */
	size_t out_len;		      /* of the body as sent */
	size_t head_len;
	char head[HTTP_HEAD_MAX];
};

struct http_exchange *conn_new(struct http_server *s, int fd_take, int domain, int *ret_error);
void conn_sweep(struct http_exchange *c, uint64_t now);
void conn_close(struct http_exchange *c); /* aborts what the handler has only half; safe in any state */
void conn_maybe_free(struct http_exchange *c);
void conn_linger(struct http_exchange *c);
void conn_want_reading(struct http_exchange *c, bool on);
void conn_read_now(struct http_exchange *c); /* of a connection that has just been accepted */
void conn_drain(struct http_exchange *c);
bool conn_is_idle(const struct http_exchange *c);
bool conn_is_late(const struct http_exchange *c,
		  uint64_t now); /* we wait for the rest of its request, too long perhaps */

/* upgrade.c, in CONN_RAW */
void upgrade_data(struct http_exchange *c, const char *data, size_t len);
void upgrade_gone(struct http_exchange *c); /* the connection is being closed */
bool upgrade_is_over(struct http_exchange *c, uint64_t now);
void *upgrade_free(struct http_upgrade *u); /* NULL is fine; returns NULL */

void server_conn_opened(struct http_server *s, struct http_exchange *c);
void server_conn_closing(struct http_server *s, struct http_exchange *c); /* out of the lists */
void server_conn_gone(struct http_server *s);
void server_relieve_backlog(struct http_server *s);
bool server_has_room(struct http_server *s, size_t bytes);	/* for a reply of this size */
bool conn_is_slow(const struct http_exchange *c, uint64_t now); /* in CONN_WRITE */
void server_writer_add(struct http_server *s, struct http_exchange *c, size_t bytes);
void server_writer_remove(struct http_server *s, struct http_exchange *c);

#endif

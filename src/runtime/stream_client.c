/* runtime/stream_client.c: reads and writes of a stream as frames on a connection, without a thread of its own.
 *
 * Whoever waits does the work: a reader and a writer take turns under one lock (a connection under TLS serves one
 * thread at a time), which is never held while waiting. pump() moves what can be moved at once: it sends what waits and
 * receives until nothing comes or enough is there. Data frames then lie in `fresh`; a read takes all of it over as its
 * `batch` and hands the frames out where they lie. Windows, the end and failures are noted on the way.
 *
 * Two eventfds make news of one side visible to the other, which sleeps in poll(2): `readable` is set as long as a read
 * has something to return, whoever has received it; `nudge` when a writer should look again, because there is a window
 * or because a full `fresh` has been taken over. What crex_stream_fd gives is an epoll of `readable` and the
 * connection.
 *
 * Bounded: FRESH_HIGH and one receipt of data, twice; OUT_MAX of what is to be sent, in memory that never moves, since
 * TLS wants a write that didn't go through to be repeated from the same place. */
#include "runtime/stream_client.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "wire/client.h"
#include "wire/frame.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum {
	RECEIVE = 64 * 1024,
	FRESH_HIGH = 256 * 1024,
	FRESH_MAX = FRESH_HIGH + 2 * (FRAME_HEADER + FRAME_PAYLOAD_MAX) + RECEIVE,
	OUT_MAX = 2 * (FRAME_HEADER + FRAME_PAYLOAD_MAX),
	PIECE_MAX = 32 * 1024,
};

struct client {
	struct crex_stream base;
	const struct stream_duplex *duplex;
	void *arg;
	int fd; /* the connection's, borrowed from it */
	int readable, nudge, both;

	pthread_mutex_t lock; /* of all below */
	struct frame_parser parser;
	struct buf fresh; /* whole data frames */
	size_t out_at, out_end;
	size_t window;
	bool more;     /* receiving ended because enough was there: TLS may hold bytes that poll(2) doesn't see */
	bool running;  /* the first window has come */
	bool over;     /* the last frame has come, or the connection has ended */
	int exit_code; /* when over without failure */
	struct crex_error failure;
	char out[OUT_MAX];
	char receipt[RECEIVE];

	/* the reader's alone */
	struct buf batch;
	size_t batch_at;
};

static struct client *of(struct crex_stream *s)
{
	return (struct client *)s; /* the base stands first */
}

static void signal_fd(int fd)
{
	eventfd_write(fd, 1);
}

static void calm_fd(int fd)
{
	eventfd_t value;
	eventfd_read(fd, &value);
}

static void end_with(struct client *c, struct crex_error *err)
{
	c->over = true;
	crex_error_move(&c->failure, err);
}

static void break_with(struct client *c, enum crex_error_code code, const char *text)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	crex_error_set(&err, code, "%s", text);
	end_with(c, &err);
}

/* ---- receiving, under the lock ---- */

static void take_frame(struct client *c, const struct frame *f)
{
	char head[FRAME_HEADER];
	int32_t number = 0;
	switch (f->type) {
	case FRAME_STDOUT:
	case FRAME_STDERR:
		frame_put_header(head, (enum frame_type)f->type, f->len);
		if (f->len > 0 &&
		    (buf_append(&c->fresh, head, sizeof head) < 0 || buf_append(&c->fresh, f->data, f->len) < 0))
			break_with(c, CREX_E_MEMORY, "out of memory");
		return;
	case FRAME_WINDOW:
		if (!frame_get_numbers(f, &number, 1) || number < 0)
			break;
		c->running = true;
		c->window += (size_t)number;
		return;
	case FRAME_EXIT:
		if (!frame_get_numbers(f, &number, 1))
			break;
		c->over = true;
		c->exit_code = number;
		return;
	case FRAME_FAILURE:
		c->over = true;
		wire_read_error(511, (struct crex_str){f->data, f->len}, &c->failure);
		return;
	default: break;
	}
	break_with(c, CREX_E_PROTOCOL, "the server sent a frame that the stream's protocol doesn't have");
}

static void take_bytes(struct client *c, const char *data, size_t len)
{
	enum frame_result r = len ? FRAME_READY : FRAME_MORE;
	while (r == FRAME_READY && !c->over) {
		size_t used = 0;
		struct frame frame;
		r = frame_feed(&c->parser, data, len, &used, &frame);
		data += used;
		len -= used;
		if (r == FRAME_READY)
			take_frame(c, &frame);
	}
	if (r == FRAME_TOO_LONG)
		break_with(c, CREX_E_PROTOCOL, "the server sent a frame that is too long");
	else if (r == FRAME_NO_MEMORY)
		break_with(c, CREX_E_MEMORY, "out of memory");
}

static void flush(struct client *c)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	while (c->out_at < c->out_end && !c->over) {
		ssize_t n = c->duplex->send(c->arg, c->out + c->out_at, c->out_end - c->out_at, &err);
		if (n == -EAGAIN)
			return;
		if (n < 0)
			break; /* why will be found out by receiving: a last frame may lie there */
		c->out_at += (size_t)n;
	}
	c->out_at = c->out_end = 0;
}

static bool wants_more(const struct client *c)
{
	return !c->over && c->fresh.len < FRESH_HIGH;
}

/* Sends and receives what goes without waiting. */
static void pump(struct client *c)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	bool could_write = c->window > 0;
	flush(c);
	while (wants_more(c)) {
		ssize_t n = c->duplex->recv(c->arg, c->receipt, sizeof c->receipt, &err);
		c->more = n != -EAGAIN;
		if (n == -EAGAIN)
			break;
		if (n < 0)
			end_with(c, &err);
		else if (n == 0)
			break_with(c, CREX_E_CONNECTION, "the connection was lost while the program was running");
		else
			take_bytes(c, c->receipt, (size_t)n);
	}
	if (c->fresh.len > 0 || c->over)
		signal_fd(c->readable);
	if (c->over || (!could_write && c->window > 0))
		signal_fd(c->nudge);
}

/* ---- reading ---- */

static bool next_of_batch(struct client *c, struct crex_stream_event *ret)
{
	if (c->batch_at == c->batch.len)
		return false;
	struct frame_parser none;
	frame_parser_init(&none);
	struct frame f = {.type = 0};
	size_t used = 0;
	frame_feed(&none, c->batch.data + c->batch_at, c->batch.len - c->batch_at, &used, &f); /* whole, so in place */
	c->batch_at += used;
	*ret = (struct crex_stream_event){f.type == FRAME_STDERR ? CREX_STREAM_STDERR : CREX_STREAM_STDOUT, f.data,
					  f.len, 0};
	return true;
}

/* Under the lock. 1: an event, 0: none yet, -1: failed. */
static int try_read(struct client *c, struct crex_stream_event *ret, struct crex_error *err)
{
	if (c->batch_at == c->batch.len) {
		if (c->fresh.len == 0)
			pump(c);
		bool was_full = c->fresh.len >= FRESH_HIGH;
		buf_clear(&c->batch);
		struct buf empty = c->batch;
		c->batch = c->fresh;
		c->batch_at = 0;
		c->fresh = empty;
		if (was_full)
			signal_fd(c->nudge);
	}
	if (next_of_batch(c, ret)) {
		if (c->batch_at == c->batch.len && c->fresh.len == 0 && !c->over) {
			calm_fd(c->readable);
			if (c->more)
				pump(c);
		}
		return 1;
	}
	if (!c->over) {
		calm_fd(c->readable);
		return 0;
	}
	if (c->failure.code != CREX_OK) {
		crex_error_set_bytes(err, c->failure.code, c->failure.message ? c->failure.message : "",
				     c->failure.message_len);
		return -1;
	}
	*ret = (struct crex_stream_event){CREX_STREAM_EXIT, NULL, 0, c->exit_code};
	return 1;
}

static int client_read(struct crex_stream *s, struct crex_stream_event *ret, const struct crex_call *call,
		       struct crex_error *err)
{
	struct client *c = of(s);
	struct deadline d;
	deadline_begin(&d, call);
	for (;;) {
		pthread_mutex_lock(&c->lock);
		int r = try_read(c, ret, err);
		short out = c->out_at < c->out_end ? POLLOUT : 0;
		pthread_mutex_unlock(&c->lock);
		if (r != 0)
			return r < 0 ? -1 : 0;
		struct pollfd fds[2] = {{.fd = c->readable, .events = POLLIN},
					{.fd = c->fd, .events = (short)(POLLIN | out)}};
		if (deadline_poll(&d, fds, 2, err) < 0)
			return -1;
	}
}

/* ---- writing ---- */

static bool add_frame(struct client *c, enum frame_type type, const char *data, size_t len)
{
	if (OUT_MAX - c->out_end < FRAME_HEADER + len)
		return false;
	frame_put_header(c->out + c->out_end, type, len);
	if (len)
		memcpy(c->out + c->out_end + FRAME_HEADER, data, len);
	c->out_end += FRAME_HEADER + len;
	return true;
}

/* Waits until the connection or the reader may have changed something. */
static int wait_for_news(struct client *c, const struct deadline *d, bool receives, bool sends, struct crex_error *err)
{
	struct pollfd fds[2] = {{.fd = c->nudge, .events = POLLIN},
				{.fd = c->fd, .events = (short)((receives ? POLLIN : 0) | (sends ? POLLOUT : 0))}};
	if (!receives && !sends)
		fds[1].fd = -1;
	if (deadline_poll(d, fds, 2, err) < 0)
		return -1;
	if (fds[0].revents)
		calm_fd(c->nudge);
	return 0;
}

/* Sends frames of `type` until data is used up and all has left; input is cut into pieces, and follows the window. */
static int send_all(struct client *c, enum frame_type type, const char *data, size_t len, const struct crex_call *call,
		    struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	bool is_input = type == FRAME_INPUT;
	for (bool added = is_input && len == 0;;) {
		pthread_mutex_lock(&c->lock);
		pump(c);
		while (!added) {
			size_t piece = len;
			if (is_input && piece > PIECE_MAX)
				piece = PIECE_MAX;
			if (is_input && piece > c->window)
				piece = c->window;
			if ((is_input && piece == 0) || !add_frame(c, type, data, piece))
				break;
			c->window -= is_input ? piece : 0;
			added = piece == len;
			if (added)
				break;
			data += piece;
			len -= piece;
		}
		flush(c);
		bool over = c->over, sends = c->out_at < c->out_end, receives = wants_more(c);
		bool goes_on = !sends && (!is_input || c->window > 0); /* there was no room, now there is */
		pthread_mutex_unlock(&c->lock);
		if (over || (added && !sends))
			return 0; /* a program that is over takes nothing more; why it is so, a read tells */
		if (!goes_on && wait_for_news(c, &d, receives, sends, err) < 0)
			return -1;
	}
}

static int client_write(struct crex_stream *s, const char *data, size_t len, const struct crex_call *call,
			struct crex_error *err)
{
	return send_all(of(s), FRAME_INPUT, data, len, call, err);
}

static int client_close_stdin(struct crex_stream *s, const struct crex_call *call, struct crex_error *err)
{
	return send_all(of(s), FRAME_END, NULL, 0, call, err);
}

static int client_resize(struct crex_stream *s, int rows, int columns, const struct crex_call *call,
			 struct crex_error *err)
{
	char payload[8];
	if (rows < 1 || rows > 65535 || columns < 1 || columns > 65535)
		return crex_error_set(err, CREX_E_VALUE, "rows and columns are 1 to 65535");
	frame_put_number(payload, rows);
	frame_put_number(payload + 4, columns);
	return send_all(of(s), FRAME_RESIZE, payload, sizeof payload, call, err);
}

static int client_signal(struct crex_stream *s, int signum, const struct crex_call *call, struct crex_error *err)
{
	char payload[4];
	if (signum < 1 || signum > 64)
		return crex_error_set(err, CREX_E_VALUE, "there is no signal %d", signum);
	frame_put_number(payload, signum);
	return send_all(of(s), FRAME_SIGNAL, payload, sizeof payload, call, err);
}

static int client_fd(const struct crex_stream *s)
{
	return ((const struct client *)s)->both;
}

/* ---- birth and end ---- */

static void client_free(struct crex_stream *s)
{
	struct client *c = of(s);
	c->duplex->close(c->arg);
	cleanup_close_fd(&c->both);
	cleanup_close_fd(&c->readable);
	cleanup_close_fd(&c->nudge);
	pthread_mutex_destroy(&c->lock);
	frame_parser_deinit(&c->parser);
	buf_deinit(&c->fresh);
	buf_deinit(&c->batch);
	crex_error_clear(&c->failure);
	free(c);
}

static const struct crex_stream_ops ops = {
	.read = client_read,
	.write = client_write,
	.close_stdin = client_close_stdin,
	.resize = client_resize,
	.signal = client_signal,
	.fd = client_fd,
	.free = client_free,
};

static int make_fds(struct client *c)
{
	struct epoll_event in = {.events = EPOLLIN};
	c->readable = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->both = epoll_create1(EPOLL_CLOEXEC);
	return c->readable < 0 || c->nudge < 0 || c->both < 0 ||
			       epoll_ctl(c->both, EPOLL_CTL_ADD, c->readable, &in) < 0 ||
			       epoll_ctl(c->both, EPOLL_CTL_ADD, c->fd, &in) < 0
		       ? -errno
		       : 0;
}

/* Until the first window, or the end. */
static int wait_running(struct client *c, const struct deadline *d, struct crex_error *err)
{
	for (;;) {
		pthread_mutex_lock(&c->lock);
		pump(c);
		bool running = c->running, over = c->over, sends = c->out_at < c->out_end;
		pthread_mutex_unlock(&c->lock);
		if (running)
			return 0;
		if (over && c->failure.code != CREX_OK) {
			crex_error_move(err, &c->failure);
			return -1;
		}
		if (over)
			return crex_error_set(err, CREX_E_PROTOCOL, "the stream ended before it had begun");
		if (wait_for_news(c, d, true, sends, err) < 0)
			return -1;
	}
}

static int begin(struct client *c, struct crex_str early, const struct crex_stream_request *req,
		 const struct deadline *d, struct crex_error *err)
{
	const struct wire_request what = {.kind = WIRE_OPEN_STREAM, .u.open_stream = *req};
	cleanup_buf struct buf body;
	buf_init(&body, FRAME_PAYLOAD_MAX);
	int r = make_fds(c);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	r = wire_encode_request(&body, &what);
	if (r == -ENOSPC)
		return crex_error_set(err, CREX_E_LIMIT,
				      "command and environment of a stream are longer than %d bytes together",
				      FRAME_PAYLOAD_MAX);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	add_frame(c, FRAME_OPEN, body.data, body.len);
	take_bytes(c, early.ptr, early.len);
	return wait_running(c, d, err);
}

int stream_client_open(const struct stream_duplex *duplex, void *arg, int fd, struct crex_str early,
		       const struct crex_stream_request *req, const struct crex_call *call, struct crex_stream **ret,
		       struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	struct client *c = malloc(sizeof *c);
	if (!c) {
		duplex->close(arg);
		return crex_error_set_errno(err, ENOMEM, NULL);
	}
	memset(c, 0, offsetof(struct client, out));
	c->batch_at = 0;
	c->base.ops = &ops;
	c->duplex = duplex;
	c->arg = arg;
	c->fd = fd;
	c->readable = c->nudge = c->both = -1;
	pthread_mutex_init(&c->lock, NULL);
	frame_parser_init(&c->parser);
	buf_init(&c->fresh, FRESH_MAX);
	buf_init(&c->batch, FRESH_MAX);
	if (begin(c, early, req, &d, err) < 0) {
		client_free(&c->base);
		return -1;
	}
	*ret = &c->base;
	return 0;
}

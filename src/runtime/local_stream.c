/* runtime/local_stream.c: the two ends of a local stream.
 *
 * The caller's end is the same client as a remote stream's, the loop's end the same service as in the server: what
 * holds for one holds for the other. Between them is a socket pair, so that a caller on any thread can poll. */
#include "runtime/local_stream.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "runtime/local/stream_service.h"
#include "runtime/stream_client.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

/* ---- the caller's end ---- */

static int fd_of(void *arg)
{
	return (int)(intptr_t)arg;
}

static ssize_t done_or_error(ssize_t n, struct crex_error *err)
{
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	crex_error_set(err, CREX_E_CONNECTION, "the local runtime has closed the stream");
	return -EPIPE;
}

static ssize_t pair_recv(void *arg, char *data, size_t len, struct crex_error *err)
{
	return done_or_error(recv(fd_of(arg), data, len, MSG_DONTWAIT), err);
}

static ssize_t pair_send(void *arg, const char *data, size_t len, struct crex_error *err)
{
	return done_or_error(send(fd_of(arg), data, len, MSG_DONTWAIT | MSG_NOSIGNAL), err);
}

static void pair_close(void *arg)
{
	close(fd_of(arg));
}

int local_stream_connect(int fd, const struct crex_stream_request *req, const struct crex_call *call,
			 struct crex_stream **ret, struct crex_error *err)
{
	static const struct stream_duplex duplex = {pair_recv, pair_send, pair_close};
	return stream_client_open(&duplex, (void *)(intptr_t)fd, fd, (struct crex_str){NULL, 0}, req, call, ret, err);
}

/* ---- the loop's end ---- */

enum { READ_SIZE = 64 * 1024, WAITING_MAX = 4 << 20 };

struct serving {
	uv_pipe_t pipe;
	uv_write_t write;
	struct stream_service *service; /* NULL: over */
	struct buf flight, more;	/* in libuv's hands; what waits behind it */
	bool broken, closing;
	char data[READ_SIZE];
};

static void on_closed(uv_handle_t *handle)
{
	struct serving *s = handle->data;
	buf_deinit(&s->flight);
	buf_deinit(&s->more);
	free(s);
}

static void hang_up(struct serving *s)
{
	if (s->closing)
		return;
	s->closing = true;
	struct stream_service *service = steal_ptr(s->service);
	if (service)
		stream_service_hang_up(service);
	uv_close((uv_handle_t *)&s->pipe, on_closed);
}

static void start_flight(struct serving *s);

static void on_flown(uv_write_t *write, int status)
{
	struct serving *s = write->data;
	if (s->closing)
		return;
	buf_clear(&s->flight);
	if (status < 0 || s->broken)
		hang_up(s);
	else if (s->more.len > 0)
		start_flight(s);
	else if (s->service)
		stream_service_drained(s->service);
	else
		hang_up(s);
}

static void start_flight(struct serving *s)
{
	struct buf empty = s->flight;
	s->flight = s->more;
	s->more = empty;
	uv_buf_t buf = {.base = s->flight.data, .len = s->flight.len};
	s->write.data = s;
	s->broken = uv_write(&s->write, (uv_stream_t *)&s->pipe, &buf, 1, on_flown) < 0;
}

static size_t send_frame(void *arg, const char *head, size_t head_len, const char *data, size_t len)
{
	struct serving *s = arg;
	size_t sent = 0;
	if (s->broken || s->closing)
		return 0;
	if (s->flight.len == 0) {
		uv_buf_t bufs[2] = {{.base = (char *)head, .len = head_len}, {.base = (char *)data, .len = len}};
		int r = uv_try_write((uv_stream_t *)&s->pipe, bufs, len ? 2 : 1);
		s->broken = r < 0 && r != UV_EAGAIN;
		sent = r > 0 ? (size_t)r : 0;
	}
	size_t from_head = sent < head_len ? sent : head_len, from_data = sent - from_head;
	if ((from_head < head_len && buf_append(&s->more, head + from_head, head_len - from_head) < 0) ||
	    (from_data < len && buf_append(&s->more, data + from_data, len - from_data) < 0))
		s->broken = true;
	if (!s->broken && s->flight.len == 0 && s->more.len > 0)
		start_flight(s);
	return s->broken ? 0 : s->flight.len + s->more.len;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	(void)suggested;
	struct serving *s = handle->data;
	*ret = uv_buf_init(s->data, sizeof s->data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct serving *s = stream->data;
	if (n < 0)
		hang_up(s);
	else if (n > 0 && s->service)
		stream_service_feed(s->service, buf->base, (size_t)n);
}

static void pause_input(void *arg, bool paused)
{
	struct serving *s = arg;
	if (s->closing)
		return;
	if (paused)
		uv_read_stop((uv_stream_t *)&s->pipe);
	else
		uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_read);
}

static void finish(void *arg)
{
	struct serving *s = arg;
	s->service = NULL;
	if (s->flight.len == 0)
		hang_up(s);
}

int local_stream_serve(uv_loop_t *loop, struct local *engine, int fd, struct crex_error *err)
{
	static const struct stream_transport transport = {send_frame, pause_input, finish};
	struct serving *s = calloc(1, sizeof *s);
	if (s)
		s->service = stream_service_new(engine, &transport, s);
	if (!s || !s->service) {
		free(s);
		close(fd);
		return crex_error_set_errno(err, ENOMEM, NULL);
	}
	buf_init(&s->flight, WAITING_MAX);
	buf_init(&s->more, WAITING_MAX);
	uv_pipe_init(loop, &s->pipe, 0);
	s->pipe.data = s;
	int r = uv_pipe_open(&s->pipe, fd);
	if (r == 0)
		r = uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_read);
	else
		close(fd);
	if (r == 0)
		return 0;
	hang_up(s);
	return crex_error_set_errno(err, -r, NULL);
}

static void close_serving(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (handle->type == UV_NAMED_PIPE) /* nothing else on this loop is one */
		hang_up(handle->data);
}

void local_stream_close_all(uv_loop_t *loop)
{
	uv_walk(loop, close_serving, NULL);
}

/* http/server.c: the set of connections: accepting, limits over all of them, and the end.
 *
 * Accepting is done by hand on a polled socket, because running out of descriptors must not lose clients: with
 * EMFILE the spare descriptor is given up, the client is accepted, told 503 and let go, and the spare is taken back.
 * Before that, and when max_connections is reached, a connection that matters least makes room: one that is kept alive
 * and on which nothing happens; else one whose reply is out and that only lingers; else the one whose request has been
 * late for longest: an honest client sends its head at once and its body without stopping. Whoever is being served
 * stays.
 *
 * One timer sweeps over the connections once a second while there are any: deadlines need no better grain, and no
 * timer heap is touched a request. An idle server sleeps without waking.
 *
 * Memory: replies that slow readers have not taken to their end are counted together, each whole, since it is held
 * whole; beyond max_backlog the connection that has been writing for longest is cut off. So no number of slow readers
 * can make the server grow. */
#include "http/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPT_BURST = 64 };

struct http_content *http_content_new(size_t max)
{
	struct http_content *c = calloc(1, sizeof *c);
	if (c) {
		c->refs = 1;
		buf_init(&c->body, max);
	}
	return c;
}

struct http_content *http_content_ref(struct http_content *c)
{
	c->refs++;
	return c;
}

void *http_content_unref(struct http_content *c)
{
	if (c && --c->refs == 0) {
		buf_deinit(&c->body);
		free(c);
	}
	return NULL;
}

static int open_spare(void)
{
	return eventfd(0, EFD_CLOEXEC); /* needs no file of the image, unlike /dev/null */
}

struct http_server *http_server_new(uv_loop_t *loop, const struct http_config *config,
				    const struct http_handler *handler, void *arg)
{
	struct http_server *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->loop = loop;
	s->config = *config;
	s->handler = handler;
	s->arg = arg;
	s->spare_fd = open_spare();
	uv_timer_init(loop, &s->sweep);
	s->sweep.data = s;
	s->handles = 1;
	return s;
}

static void maybe_gone(struct http_server *s)
{
	if (!s->closing || s->handles > 0 || s->n_objects > 0)
		return;
	void (*closed)(void *arg) = s->closed;
	void *arg = s->closed_arg;
	if (s->spare_fd >= 0)
		close(s->spare_fd);
	free(s);
	if (closed)
		closed(arg);
}

/* ---- the lists ---- */

static void on_sweep(uv_timer_t *timer);
static void on_listener(uv_poll_t *poll, int status, int events);

static void start_sweeping(struct http_server *s)
{
	if (s->sweeping || s->closing)
		return;
	s->sweeping = true;
	uv_timer_start(&s->sweep, on_sweep, HTTP_SWEEP_MS, HTTP_SWEEP_MS);
}

static void on_sweep(uv_timer_t *timer)
{
	struct http_server *s = timer->data;
	uint64_t now = uv_now(s->loop);
	for (struct http_listener *l = s->listeners; l && s->accept_stopped; l = l->next)
		uv_poll_start(&l->poll, UV_READABLE, on_listener);
	s->accept_stopped = false;
	struct http_exchange *next;
	for (struct http_exchange *c = s->first; c; c = next) {
		next = c->next;
		conn_sweep(c, now);
	}
	server_relieve_backlog(s);
	if (!s->first) {
		uv_timer_stop(timer);
		s->sweeping = false;
	}
}

void server_conn_opened(struct http_server *s, struct http_exchange *c)
{
	c->prev = s->last;
	*(s->last ? &s->last->next : &s->first) = c;
	s->last = c;
	s->n_connections++;
	s->n_objects++;
	start_sweeping(s);
}

void server_conn_closing(struct http_server *s, struct http_exchange *c)
{
	*(c->prev ? &c->prev->next : &s->first) = c->next;
	*(c->next ? &c->next->prev : &s->last) = c->prev;
	c->prev = c->next = NULL;
	s->n_connections--;
}

void server_conn_gone(struct http_server *s)
{
	s->n_objects--;
	maybe_gone(s);
}

void server_writer_add(struct http_server *s, struct http_exchange *c, size_t bytes)
{
	c->writing = true;
	c->out_size = bytes;
	c->writer_prev = s->writer_last;
	c->writer_next = NULL;
	*(s->writer_last ? &s->writer_last->writer_next : &s->writer_first) = c;
	s->writer_last = c;
	s->backlog += bytes;
	server_relieve_backlog(s);
}

/* Only who is slow is cut off, whoever waits longest first: a reply that is being read as fast as it can be would be
 * lost for others that are no better. */
void server_relieve_backlog(struct http_server *s)
{
	struct http_exchange *next;
	for (struct http_exchange *c = s->writer_first; c && s->backlog > s->config.max_backlog; c = next) {
		next = c->writer_next;
		if (!conn_is_slow(c, uv_now(s->loop)))
			continue;
		log_at(s->config.log, LOG_LEVEL_WARNING, "http", NULL,
		       "a slow reader was cut off: replies wait with %zu bytes", s->backlog);
		conn_close(c);
	}
}

/* Fast readers may take it to twice the limit. */
bool server_has_room(struct http_server *s, size_t bytes)
{
	return bytes <= HTTP_REPLY_SMALL || s->writer_first == NULL || s->backlog + bytes <= 2 * s->config.max_backlog;
}

void server_writer_remove(struct http_server *s, struct http_exchange *c)
{
	*(c->writer_prev ? &c->writer_prev->writer_next : &s->writer_first) = c->writer_next;
	*(c->writer_next ? &c->writer_next->writer_prev : &s->writer_last) = c->writer_prev;
	c->writer_prev = c->writer_next = NULL;
	s->backlog -= c->out_size;
	c->out_size = 0;
	c->writing = false;
}

/* ---- accepting ---- */

static bool make_room(struct http_server *s)
{
	struct http_exchange *lingering = NULL, *oldest = NULL;
	for (struct http_exchange *c = s->first; c; c = c->next) {
		/* One that has just come may be about to send; a second of silence says it is kept alive. */
		if (conn_is_idle(c) && uv_now(s->loop) - c->since >= HTTP_SWEEP_MS) {
			conn_close(c);
			return true;
		}
		if (c->state == CONN_LINGER && (!lingering || c->linger_end < lingering->linger_end))
			lingering = c;
		if (conn_is_late(c, uv_now(s->loop)) && (!oldest || c->since < oldest->since))
			oldest = c;
	}
	/* A reply that has just been sent may still be on its way, and the reset would overtake it. */
	bool read_it = lingering && lingering->linger_end < uv_now(s->loop) + HTTP_LINGER_TOTAL_MS - HTTP_SWEEP_MS;
	struct http_exchange *least = read_it ? lingering : oldest;
	if (least)
		conn_close(least);
	return least != NULL;
}

static void turn_away(int fd)
{
	static const char text[] =
		"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
		"content-length: 33\r\nconnection: close\r\n\r\n{\"detail\":\"Too many connections\"}";
	_Static_assert(sizeof "{\"detail\":\"Too many connections\"}" - 1 == 33, "content-length is written by hand");
	char scrap[4096];
	ssize_t r = send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)r;
	shutdown(fd, SHUT_WR);
	/* Unread bytes would turn the close into a reset; what has already come is all that we wait for. */
	for (int i = 0; i < 16 && recv(fd, scrap, sizeof scrap, MSG_DONTWAIT) > 0; i++)
		;
	close(fd);
}

static int accept_one(int fd)
{
	int r;
	do
		r = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* accept found no descriptor. True: worth another try at once. */
static bool accept_without_fds(struct http_server *s, int listen_fd)
{
	/* An evicted one's descriptor is closed by uv_close itself, that is now. */
	if (make_room(s))
		return true;
	if (s->spare_fd < 0)
		s->spare_fd = open_spare();
	if (s->spare_fd < 0)
		return false;
	close(s->spare_fd);
	s->spare_fd = -1;
	int fd = accept_one(listen_fd);
	if (fd >= 0)
		turn_away(fd);
	s->spare_fd = open_spare();
	return fd >= 0 || fd == -EAGAIN;
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct http_listener *l = poll->data;
	struct http_server *s = l->server;
	(void)events;
	if (status < 0)
		return;
	struct http_exchange *newest = NULL;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		int fd = accept_one(l->fd);
		if (newest)
			conn_read_now(newest);
		newest = NULL;
		if (fd == -EMFILE || fd == -ENFILE) {
			if (accept_without_fds(s, l->fd))
				continue;
			/* Not even the spare one: rather than spin on a socket that stays readable, ask again in a
			 * second. */
			for (l = s->listeners; l; l = l->next)
				uv_poll_stop(&l->poll);
			s->accept_stopped = true;
			start_sweeping(s);
			return;
		}
		if (fd == -ECONNABORTED)
			continue;
		if (fd < 0)
			return;
		if (s->n_connections >= s->config.max_connections && !make_room(s)) {
			log_at(s->config.log, LOG_LEVEL_WARNING, "http", NULL, "connection refused: %zu are open",
			       s->n_connections);
			turn_away(fd);
			continue;
		}
		int error = 0;
		newest = conn_new(s, fd, l->domain, &error);
		if (!newest)
			log_at(s->config.log, LOG_LEVEL_ERROR, "http", NULL, "connection lost: %s", strerror(-error));
	}
	if (newest)
		conn_read_now(newest);
}

static int domain_of(int fd, int *ret)
{
	socklen_t size = sizeof *ret;
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, ret, &size) < 0 ? -errno : 0;
}

int http_server_listen(struct http_server *s, int fd)
{
	struct http_listener *l = calloc(1, sizeof *l);
	int r = l ? domain_of(fd, &l->domain) : -ENOMEM;
	if (r == 0)
		r = uv_poll_init(s->loop, &l->poll, fd);
	if (r < 0) {
		free(l);
		close(fd);
		return r;
	}
	l->server = s;
	l->fd = fd;
	l->poll.data = l;
	l->next = s->listeners;
	s->listeners = l;
	s->handles++;
	return uv_poll_start(&l->poll, UV_READABLE, on_listener);
}

int http_server_adopt(struct http_server *s, int fd)
{
	int domain = 0, error = domain_of(fd, &domain);
	if (error < 0) {
		close(fd);
		return error;
	}
	return conn_new(s, fd, domain, &error) ? 0 : error;
}

/* ---- the end ---- */

static void on_listener_closed(uv_handle_t *handle)
{
	struct http_listener *l = handle->data;
	struct http_server *s = l->server;
	close(l->fd);
	free(l);
	s->handles--;
	maybe_gone(s);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct http_server *s = handle->data;
	s->handles--;
	maybe_gone(s);
}

void http_server_drain(struct http_server *s)
{
	s->draining = true;
	while (s->listeners) {
		struct http_listener *l = s->listeners;
		s->listeners = l->next;
		uv_close((uv_handle_t *)&l->poll, on_listener_closed);
	}
	struct http_exchange *next;
	for (struct http_exchange *c = s->first; c; c = next) {
		next = c->next;
		conn_drain(c);
	}
}

void http_server_close(struct http_server *s, void (*done)(void *arg), void *arg)
{
	http_server_drain(s);
	s->closing = true;
	s->closed = done;
	s->closed_arg = arg;
	while (s->first)
		conn_close(s->first);
	uv_close((uv_handle_t *)&s->sweep, on_timer_closed);
}

size_t http_server_connections(const struct http_server *s)
{
	return s->n_connections;
}

static bool is_under_way(const struct http_exchange *c)
{
	return c->state == CONN_BUSY || c->state == CONN_WRITE || c->state == CONN_BODY || c->state == CONN_RAW;
}

bool http_server_busy(const struct http_server *s)
{
	if (s->n_objects > s->n_connections)
		return true;
	for (const struct http_exchange *c = s->first; c; c = c->next)
		if (is_under_way(c))
			return true;
	return false;
}

bool http_server_is_awaited(const struct http_server *s)
{
	for (const struct http_exchange *c = s->first; c; c = c->next)
		if (is_under_way(c) && !c->eof)
			return true;
	return false;
}

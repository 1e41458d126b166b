/* server/stream.c: GET /stream: an upgraded connection for the engine's stream service.
 *
 * A `struct stream` lives from the 101 to the connection's end, or to the service's, whichever comes first; for that
 * long a client is present. */
#include "runtime/local/stream_service.h"
#include "server/server.h"
#include "wire/frame.h"

#include <errno.h>
#include <stdlib.h>

struct stream {
	struct server *srv;
	struct http_exchange *ex;
	struct stream_service *service;
	uint64_t started_ns;
	char id[SERVER_LOG_ID_MAX];
};

static void stream_free(struct stream *s)
{
	server_log_reply(s->srv, LOG_LEVEL_INFO, "GET", "/stream", s->id, 101, s->started_ns);
	s->srv->n_calls--;
	s->srv->last_request_ms = uv_now(s->srv->loop);
	free(s);
}

static size_t send_frame(void *arg, const char *head, size_t head_len, const char *data, size_t len)
{
	return http_raw_write(((struct stream *)arg)->ex, head, head_len, data, len);
}

static void pause_input(void *arg, bool paused)
{
	http_raw_pause(((struct stream *)arg)->ex, paused);
}

static void finish(void *arg)
{
	struct stream *s = arg;
	http_raw_close(s->ex);
	stream_free(s);
}

static void on_data(void *arg, const char *data, size_t len)
{
	stream_service_feed(((struct stream *)arg)->service, data, len);
}

static void on_drained(void *arg)
{
	stream_service_drained(((struct stream *)arg)->service);
}

static void on_gone(void *arg)
{
	struct stream *s = arg;
	stream_service_hang_up(s->service);
	stream_free(s);
}

bool stream_acceptable(const struct http_exchange *ex)
{
	return http_wants_upgrade(ex, FRAME_PROTOCOL);
}

void stream_start(struct server *srv, struct http_exchange *ex)
{
	static const char head[] =
		"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: " FRAME_PROTOCOL "\r\n\r\n";
	static const struct stream_transport transport = {send_frame, pause_input, finish};
	static const struct http_raw raw = {on_data, on_drained, on_gone};
	struct stream *s = calloc(1, sizeof *s);
	struct stream_service *service = s ? stream_service_new(srv->rt, &transport, s) : NULL;
	if (!service) {
		free(s);
		http_reply(ex, 511, NULL, "");
		return;
	}
	*s = (struct stream){.srv = srv, .ex = ex, .service = service, .started_ns = uv_hrtime()};
	srv->n_calls++;
	if (log_enabled(srv->log, LOG_LEVEL_INFO))
		server_log_id(srv, ex, s->id);
	int r = http_upgrade(ex, head, &raw, s);
	if (r < 0) {
		stream_service_hang_up(service);
		stream_free(s);
	}
	if (r == -ENOMEM)
		http_reply(ex, 511, NULL, "");
}

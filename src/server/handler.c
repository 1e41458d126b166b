/* server/handler.c: from an HTTP exchange to the part of the server that answers it.
 *
 * What can be said from the head alone (token, path, method, content type) is decided by one pure function, judge().
 * It is asked twice: when the head is in, so that a refused upload of a gigabyte is refused at once, and when the
 * message is complete. A refused request with a small body is read to its end first and answered then, which keeps
 * the connection usable; a refused large one costs the connection.
 *
 * Order matters: the token is checked before the path, so that nobody without one learns which paths exist. */
#include "server/auth.h"
#include "server/server.h"
#include "wire/frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct judgement {
	const struct route *route; /* NULL: refused */
	int status;
	const char *json;
	const char *header;
};

#define MISSING_FIELD(name) \
	"{\"type\":\"missing\",\"loc\":[\"body\",\"" name "\"],\"msg\":\"Field required\",\"input\":null}"

static struct judgement judge(const struct server *srv, const struct http_exchange *ex)
{
	switch (auth_check(srv->opt->token, http_api_key(ex))) {
	case AUTH_MISSING: return (struct judgement){NULL, 403, "{\"detail\":\"Not authenticated\"}", ""};
	case AUTH_WRONG: return (struct judgement){NULL, 401, "{\"detail\":\"Invalid API Key\"}", ""};
	case AUTH_OK: break;
	}
	const struct route *route = route_find(http_path(ex));
	if (!route)
		return (struct judgement){NULL, 404, "{\"detail\":\"Not Found\"}", ""};
	if (strcmp(route->method, http_method(ex)) != 0)
		return (struct judgement){NULL, 405, "{\"detail\":\"Method Not Allowed\"}", route->allow};
	if (route->kind == ROUTE_UPLOAD && !upload_acceptable(ex))
		return (struct judgement){
			NULL, 422, "{\"detail\":[" MISSING_FIELD("file") "," MISSING_FIELD("target_path") "]}", ""};
	if (route->kind == ROUTE_STREAM && !stream_acceptable(ex))
		return (struct judgement){NULL, 426, "{\"detail\":\"Upgrade to " FRAME_PROTOCOL " required\"}",
					  "upgrade: " FRAME_PROTOCOL "\r\nconnection: upgrade\r\n"};
	return (struct judgement){route, 0, NULL, NULL};
}

void server_log_id(struct server *srv, const struct http_exchange *ex, char id[SERVER_LOG_ID_MAX])
{
	struct crex_str given = http_request_id(ex);
	if (given.len > 0)
		*(char *)mempcpy(id, given.ptr, given.len < SERVER_LOG_ID_MAX ? given.len : SERVER_LOG_ID_MAX - 1) =
			'\0';
	else
		snprintf(id, SERVER_LOG_ID_MAX, "r%" PRIu64, ++srv->n_requests);
}

int server_log_level(const struct route *route, int status)
{
	return status < 400 && !route->notable ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

void server_log_reply(struct server *srv, int level, const char *method, const char *path, const char *id, int status,
		      uint64_t since_ns)
{
	log_at(srv->log, level, "server", id, "%s %s %d %.3f ms", method, path, status,
	       (double)(uv_hrtime() - since_ns) / 1e6);
}

static void reply_fixed(struct server *srv, struct http_exchange *ex, int status, const char *json, const char *header)
{
	int level = status < 400 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
	if (log_enabled(srv->log, level)) {
		char id[SERVER_LOG_ID_MAX], path[128];
		server_log_id(srv, ex, id);
		struct crex_str p = http_path(ex);
		snprintf(path, sizeof path, "%.*s", p.len > 200 ? 200 : (int)p.len, p.ptr);
		server_log_reply(srv, level, http_method(ex), path, id, status, uv_hrtime());
	}
	http_reply_static(ex, status, json, header);
}

static enum http_body_mode on_head(void *arg, struct http_exchange *ex)
{
	struct server *srv = arg;
	struct judgement j = judge(srv, ex);
	if (j.status != 401 && j.status != 403)
		srv->last_request_ms = uv_now(srv->loop);
	if (!j.route) {
		if (!http_body_is_small(ex))
			reply_fixed(srv, ex, j.status, j.json, j.header);
		return HTTP_BODY_BUFFER;
	}
	if (j.route->kind != ROUTE_UPLOAD)
		return HTTP_BODY_BUFFER;
	upload_start(srv, ex);
	return HTTP_BODY_STREAM;
}

static void on_body(void *arg, struct http_exchange *ex, const char *data, size_t len)
{
	(void)arg;
	upload_feed(ex, data, len);
}

static void on_complete(void *arg, struct http_exchange *ex)
{
	struct server *srv = arg;
	struct judgement j = judge(srv, ex);
	if (!j.route) {
		reply_fixed(srv, ex, j.status, j.json, j.header);
		return;
	}
	switch (j.route->kind) {
	case ROUTE_HELLO: reply_fixed(srv, ex, 200, "{\"message\":\"hello world\"}", ""); break;
	case ROUTE_IS_ALIVE: reply_fixed(srv, ex, 200, "{\"is_alive\":true,\"message\":\"\"}", ""); break;
	case ROUTE_UPLOAD: upload_complete(ex); break;
	case ROUTE_STREAM: stream_start(srv, ex); break;
	case ROUTE_CALL:
	case ROUTE_CLOSE: call_start(srv, j.route, ex); break;
	}
}

static void on_abort(void *arg, struct http_exchange *ex)
{
	(void)arg;
	if (http_data(ex))
		upload_abort(ex);
}

const struct http_handler server_handler = {on_head, on_body, on_complete, on_abort};

/* server/server.h: what the parts of the server share. Loop thread only. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/log.h"
#include "http/http.h"
#include "runtime/local/local.h"
#include "server/idempotency.h"
#include "server/options.h"
#include "server/routes.h"

struct server {
	uv_loop_t *loop;
	const struct options *opt;
	struct log *log;
	struct local *rt;
	struct http_server *http;
	struct idem *idem;
	size_t reply_max;	  /* bytes that one reply may have */
	size_t n_calls;		  /* requests under way, those of clients that have gone included */
	uint64_t last_request_ms; /* loop time of its beginning or end; is_alive counts too, a wrong token doesn't */
	uint64_t n_requests;	  /* generated request ids */
};

enum { SERVER_LOG_ID_MAX = 64 };

/* handler.c */
extern const struct http_handler server_handler; /* arg: struct server */
/* The client's X-Request-ID, cut to fit, or one of ours. */
void server_log_id(struct server *srv, const struct http_exchange *ex, char id[SERVER_LOG_ID_MAX]);
/* At info stand failures and what comes but once a session; a line for each command would cost it two system calls. */
int server_log_level(const struct route *route, int status);
void server_log_reply(struct server *srv, int level, const char *method, const char *path, const char *id, int status,
		      uint64_t since_ns);

/* call.c: a JSON request that is complete; replies to ex in every case. */
void call_start(struct server *srv, const struct route *route, struct http_exchange *ex);

/* upload.c: the upload's data hangs on the exchange. */
struct upload;
bool upload_acceptable(const struct http_exchange *ex);		 /* its content type is multipart with a boundary */
void upload_start(struct server *srv, struct http_exchange *ex); /* may reply: out of memory */
void upload_feed(struct http_exchange *ex, const char *data, size_t len);
void upload_complete(struct http_exchange *ex);
void upload_abort(struct http_exchange *ex);

/* stream.c */
bool stream_acceptable(const struct http_exchange *ex);		 /* it asks for an upgrade to our protocol */
void stream_start(struct server *srv, struct http_exchange *ex); /* from on_complete on; replies or upgrades */

/* reply.c: bodies that aren't of the wire schema proper. Each returns NULL when memory ran out. */
struct http_content *reply_of_error(const struct crex_error *err, size_t max);
/* pydantic's boolean from a form field. */
bool reply_parse_bool(struct crex_str text, bool *ret);

#endif

/* server/call.c: one JSON request: decode, run, encode, reply; and the joining of repeats.
 *
 * A `struct call` is the request from its complete body to its reply. It does not belong to a connection: when the
 * client has gone, the engine's answer is still encoded and kept under the request id, because the client may ask
 * again. Repeats that come while it runs hang on the idempotency entry and are answered together with the first.
 *
 * The loop must never be away for long, so that big bodies are decoded and big results encoded in a worker (moving
 * between threads costs some 20 us, which small ones are spared). The engine copies what it needs out of the request
 * before its starting call returns, so the decoded document goes right after. */
#include "base/cleanup.h"
#include "server/server.h"

#include <errno.h>
#include <stdlib.h>

enum { DECODE_INLINE_MAX = 128 * 1024, ENCODE_INLINE_MAX = 1024 * 1024 };

enum result_kind {
	RESULT_ERROR,
	RESULT_CREATED,
	RESULT_OBSERVATION,
	RESULT_EXECUTED,
	RESULT_TEXT,
	RESULT_CLOSED,
	RESULT_EMPTY
};

struct call {
	struct server *srv;
	const struct route *route;
	struct http_exchange *ex;
	struct idem_entry *idem; /* NULL: no request id */
	struct buf body;	 /* of a big request only */
	struct wire_doc *doc;
	struct wire_request req;
	struct buf detail;
	int decoded;
	enum result_kind kind;
	struct crex_error err;
	union {
		struct crex_observation obs;
		struct crex_execute_result exec;
		struct {
			char *ptr;
			size_t len;
		} text;
	} u;
	struct http_content *content;
	int status;
	uint64_t started_ns;
	uv_work_t work;
	char id[SERVER_LOG_ID_MAX];
};

static void call_free(struct call *call)
{
	buf_deinit(&call->body);
	buf_deinit(&call->detail);
	wire_doc_free(call->doc);
	call->srv->n_calls--;
	call->srv->last_request_ms = uv_now(call->srv->loop);
	free(call);
}

/* ---- the reply ---- */

static void finish(struct call *call)
{
	struct server *srv = call->srv;
	struct http_exchange *waiters = NULL;
	if (!call->content)
		idem_relieve(srv->idem);
	if (call->idem) {
		waiters = *idem_waiters(call->idem);
		*idem_waiters(call->idem) = NULL;
		idem_finish(srv->idem, call->idem, call->status, call->content, uv_now(srv->loop));
	}
	server_log_reply(srv, server_log_level(call->route, call->status), call->route->method, call->route->path,
			 call->id, call->status, call->started_ns);
	while (waiters) {
		struct http_exchange *ex = waiters;
		waiters = *http_next(ex);
		http_reply(ex, call->status, call->content ? http_content_ref(call->content) : NULL, "");
	}
	http_reply(call->ex, call->status, call->content, "");
	call_free(call);
}

static int encode_into(const struct call *call, struct buf *out)
{
	switch (call->kind) {
	case RESULT_ERROR: return wire_encode_error(out, &call->err, "");
	case RESULT_CREATED: return wire_encode_create_session(out, call->u.obs.output, call->u.obs.output_len);
	case RESULT_OBSERVATION: return wire_encode_observation(out, &call->u.obs);
	case RESULT_EXECUTED: return wire_encode_execute(out, &call->u.exec);
	case RESULT_TEXT: return wire_encode_read_file(out, call->u.text.ptr, call->u.text.len);
	case RESULT_CLOSED: return wire_encode_close_session(out);
	case RESULT_EMPTY: return wire_encode_empty(out);
	}
	return -1;
}

static void clear_result(struct call *call)
{
	switch (call->kind) {
	case RESULT_CREATED:
	case RESULT_OBSERVATION: crex_observation_clear(&call->u.obs); break;
	case RESULT_EXECUTED: crex_execute_result_clear(&call->u.exec); break;
	case RESULT_TEXT: free(call->u.text.ptr); break;
	case RESULT_ERROR:
	case RESULT_CLOSED:
	case RESULT_EMPTY: break;
	}
	crex_error_clear(&call->err);
}

static size_t result_size(const struct call *call)
{
	size_t n = call->err.message_len;
	for (size_t i = 0; i < call->err.n_extra; i++)
		n += call->err.extra[i].len;
	switch (call->kind) {
	case RESULT_CREATED:
	case RESULT_OBSERVATION: return n + call->u.obs.output_len;
	case RESULT_EXECUTED: return n + call->u.exec.out_len + call->u.exec.err_len;
	case RESULT_TEXT: return n + call->u.text.len;
	case RESULT_ERROR:
	case RESULT_CLOSED:
	case RESULT_EMPTY: return n;
	}
	return n;
}

/* Any thread: touches nothing but the call. */
static void encode(struct call *call)
{
	size_t size = result_size(call);
	call->status = call->kind == RESULT_ERROR ? crex_error_http_status(call->err.code) : 200;
	call->content = http_content_new(call->srv->reply_max);
	/* text grows by a few escapes; growing step by step would copy it again and again */
	if (call->content && buf_reserve(&call->content->body, size + size / 16 + 160) == -ENOMEM)
		call->content = http_content_unref(call->content);
	if (call->content && encode_into(call, &call->content->body) < 0)
		call->content = http_content_unref(call->content);
	if (!call->content)
		call->status = 511;
	clear_result(call);
}

static void encode_work(uv_work_t *work)
{
	encode(work->data);
}

static void after_encode(uv_work_t *work, int status)
{
	(void)status; /* nothing cancels our work */
	finish(work->data);
}

/* The result is in the call. */
static void answer(struct call *call, enum result_kind kind)
{
	call->kind = kind;
	call->work.data = call;
	if (result_size(call) > ENCODE_INLINE_MAX &&
	    uv_queue_work(call->srv->loop, &call->work, encode_work, after_encode) == 0)
		return;
	encode(call);
	finish(call);
}

static void answer_error(struct call *call, struct crex_error *err)
{
	if (err->code == CREX_E_MEMORY)
		idem_relieve(call->srv->idem);
	crex_error_move(&call->err, err);
	answer(call, RESULT_ERROR);
}

static void created(void *arg, struct crex_error *err, struct crex_observation *obs)
{
	struct call *call = arg;
	if (err) {
		answer_error(call, err);
		return;
	}
	call->u.obs = *obs;
	*obs = (struct crex_observation)CREX_OBSERVATION_INIT;
	answer(call, RESULT_CREATED);
}

static void observed(void *arg, struct crex_error *err, struct crex_observation *obs)
{
	struct call *call = arg;
	if (err) {
		answer_error(call, err);
		return;
	}
	call->u.obs = *obs;
	*obs = (struct crex_observation)CREX_OBSERVATION_INIT;
	answer(call, RESULT_OBSERVATION);
}

static void executed(void *arg, struct crex_error *err, struct crex_execute_result *res)
{
	struct call *call = arg;
	if (err) {
		answer_error(call, err);
		return;
	}
	call->u.exec = *res;
	*res = (struct crex_execute_result)CREX_EXECUTE_RESULT_INIT;
	answer(call, RESULT_EXECUTED);
}

static void have_text(void *arg, struct crex_error *err, char *text, size_t len)
{
	struct call *call = arg;
	if (err) {
		answer_error(call, err);
		return;
	}
	call->u.text.ptr = text;
	call->u.text.len = len;
	answer(call, RESULT_TEXT);
}

static void session_closed(void *arg, struct crex_error *err)
{
	if (err)
		answer_error(arg, err);
	else
		answer(arg, RESULT_CLOSED);
}

static void all_done(void *arg, struct crex_error *err)
{
	if (err)
		answer_error(arg, err);
	else
		answer(arg, RESULT_EMPTY);
}

/* ---- the request ---- */

static void run(struct call *call)
{
	struct local *rt = call->srv->rt;
	/* The engine may answer, and so free the call, before its call returns; the document must outlive that. */
	struct wire_doc *doc = call->doc;
	call->doc = NULL;
	struct wire_request req = call->req;
	switch (req.kind) {
	case WIRE_CREATE_SESSION: local_create_session(rt, &req.u.create_session, created, call); break;
	case WIRE_RUN_IN_SESSION:
		if (req.is_interrupt)
			local_interrupt(rt, &req.u.interrupt, observed, call);
		else
			local_run_in_session(rt, &req.u.bash, observed, call);
		break;
	case WIRE_CLOSE_SESSION: local_close_session(rt, req.u.close_session, session_closed, call); break;
	case WIRE_EXECUTE: local_execute(rt, &req.u.execute, executed, call); break;
	case WIRE_READ_FILE: local_read_file(rt, &req.u.read_file, have_text, call); break;
	case WIRE_WRITE_FILE: local_write_file(rt, &req.u.write_file, all_done, call); break;
	case WIRE_OPEN_STREAM: break; /* has no route here */
	}
	wire_doc_free(doc);
}

static void decode(struct call *call, struct crex_str body)
{
	call->decoded = wire_decode(call->route->wire, body, &call->doc, &call->req, &call->detail);
}

static void after_decoding(struct call *call)
{
	buf_deinit(&call->body);
	if (call->decoded == 0) {
		run(call);
		return;
	}
	if (call->decoded == 422) {
		call->status = 422;
		call->content = http_content_new(call->detail.max);
		if (call->content) {
			call->content->body = call->detail;
			buf_init(&call->detail, call->content->body.max);
			finish(call);
			return;
		}
	}
	crex_error_set(&call->err, CREX_E_MEMORY, "no memory to read the request");
	answer(call, RESULT_ERROR);
}

static void decode_work(uv_work_t *work)
{
	struct call *call = work->data;
	decode(call, (struct crex_str){call->body.data, call->body.len});
}

static void after_decode_work(uv_work_t *work, int status)
{
	(void)status;
	after_decoding(work->data);
}

/* False: the reply has been given, or will be together with the first of these requests. */
static bool claim(struct server *srv, const struct route *route, struct http_exchange *ex, struct idem_entry **ret)
{
	struct crex_str id = http_request_id(ex);
	const struct buf *body = http_body(ex);
	if (id.len == 0)
		return true;
	struct idem_key key = {route, id, {body->data, body->len}};
	struct http_content *content;
	int status;
	switch (idem_begin(srv->idem, &key, uv_now(srv->loop), ret, &content, &status)) {
	case IDEM_NEW: return true;
	case IDEM_PENDING:
		*http_next(ex) = *idem_waiters(*ret);
		*idem_waiters(*ret) = ex;
		return false;
	case IDEM_STORED: http_reply(ex, status, http_content_ref(content), ""); return false;
	case IDEM_NO_MEMORY: http_reply(ex, 511, NULL, ""); return false;
	}
	return false;
}

void call_start(struct server *srv, const struct route *route, struct http_exchange *ex)
{
	/* Connections are limited, but clients that hang up leave their commands behind. */
	if (srv->n_calls >= 2 * srv->opt->max_connections) {
		http_reply_static(ex, 503, "{\"detail\":\"Too many requests under way\"}", "");
		return;
	}
	struct call *call = calloc(1, sizeof *call);
	if (!call) {
		http_reply(ex, 511, NULL, "");
		return;
	}
	if (!claim(srv, route, ex, &call->idem)) {
		free(call);
		return;
	}
	srv->n_calls++;
	call->srv = srv;
	call->route = route;
	call->ex = ex;
	call->started_ns = uv_hrtime();
	buf_init(&call->detail, srv->reply_max);
	if (log_enabled(srv->log, LOG_LEVEL_INFO))
		server_log_id(srv, ex, call->id);
	if (route->kind == ROUTE_CLOSE) {
		local_close_all(srv->rt, all_done, call);
		return;
	}
	struct buf *body = http_body(ex);
	call->work.data = call;
	if (body->len > DECODE_INLINE_MAX) {
		call->body = *body;
		buf_init(body, call->body.max);
		if (uv_queue_work(srv->loop, &call->work, decode_work, after_decode_work) == 0)
			return;
		decode(call, (struct crex_str){call->body.data, call->body.len});
	} else {
		decode(call, (struct crex_str){body->data, body->len});
	}
	after_decoding(call);
}

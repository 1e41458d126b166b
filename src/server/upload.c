/* server/upload.c: one upload, from its first byte to its place.
 *
 * The form's fields come in any order; SWE-ReX's client sends the file first. So there are three ways for the bytes:
 *   - target and unzip came before the file: the engine opens its file and the bytes go there;
 *   - the whole file fits into one chunk: it stays in memory until the fields are known;
 *   - else: into an unnamed spool file, moved on within the kernel when the form is complete.
 * Memory is two chunks: one being filled from the socket, one being written by a worker. When the worker is slower,
 * the socket is paused. The loop never touches the disk.
 *
 * At any time at most one thing is under way (`pending`): a worker's write, the engine's begin, or its commit. Each
 * comes back to step(), which looks at what is there and does the next thing; there is no other order. When the client
 * goes before its body is complete, `ex` is NULL from then on, and step() takes everything down once nothing is
 * pending. An error is kept until nothing is pending, then answered; the rest of the body is dropped by the
 * connection's lingering close. */
#include "base/cleanup.h"
#include "http/multipart.h"
#include "server/server.h"
#include "server/spool.h"
#include "wire/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 * 1024, FILL_MAX = CHUNK + 128 * 1024, FIELD_MAX = 64 * 1024 };

enum field { FIELD_OTHER, FIELD_FILE, FIELD_TARGET, FIELD_UNZIP };

struct upload {
	struct server *srv;
	struct http_exchange *ex; /* NULL: replied to, or gone */
	struct multipart parser;
	enum field field; /* the part that is coming */
	bool has_file, has_target, has_unzip;
	bool unzip;
	bool form_done;	      /* the closing boundary was seen */
	bool complete;	      /* the message is complete */
	bool pending;	      /* a worker or the engine will call back */
	bool committed;	      /* the engine's upload is given back by commit */
	bool stepping, again; /* of step() */
	int status;	      /* of a refusal of ours; 0: none, or err is set */
	struct buf refusal;
	struct crex_error err;
	struct buf target, unzip_text;
	struct buf fill; /* from the socket */
	struct buf out;	 /* being written */
	int spool;	 /* fd or -1 */
	uint64_t spooled;
	struct local_upload *up;
	int up_fd; /* the engine's */
	int io_error;
	uv_work_t work;
	uint64_t started_ns;
	char id[SERVER_LOG_ID_MAX];
};

static void step(struct upload *u);

bool upload_acceptable(const struct http_exchange *ex)
{
	struct multipart m;
	return multipart_init(&m, http_content_type(ex));
}

/* ---- endings ---- */

static void upload_free(struct upload *u)
{
	if (u->up && !u->committed)
		local_upload_abort(u->up);
	if (u->spool >= 0)
		close(u->spool);
	buf_deinit(&u->refusal);
	buf_deinit(&u->target);
	buf_deinit(&u->unzip_text);
	buf_deinit(&u->fill);
	buf_deinit(&u->out);
	crex_error_clear(&u->err);
	u->srv->n_calls--;
	u->srv->last_request_ms = uv_now(u->srv->loop);
	free(u);
}

static void reply(struct upload *u)
{
	struct http_exchange *ex = steal_ptr(u->ex);
	http_set_data(ex, NULL);
	int status = u->status;
	struct http_content *content = NULL;
	if (status) {
		content = http_content_new(FIELD_MAX * 8);
		if (content) {
			content->body = u->refusal;
			buf_init(&u->refusal, 0);
		}
	} else if (u->err.code != CREX_OK) {
		status = crex_error_http_status(u->err.code);
		content = reply_of_error(&u->err, u->srv->reply_max);
	} else {
		status = 200;
		content = http_content_new(64);
		if (content && wire_encode_empty(&content->body) < 0)
			content = http_content_unref(content);
	}
	server_log_reply(u->srv, LOG_LEVEL_INFO, "POST", "/upload", u->id, content ? status : 511, u->started_ns);
	http_reply(ex, status, content, "");
}

static bool failed(const struct upload *u)
{
	return u->status != 0 || u->err.code != CREX_OK;
}

static void refuse(struct upload *u, int status, const char *json)
{
	if (failed(u))
		return;
	buf_clear(&u->refusal);
	if (buf_append_str(&u->refusal, json) < 0)
		crex_error_set(&u->err, CREX_E_MEMORY, "out of memory");
	else
		u->status = status;
}

/* ---- the form, out of the multipart parser ---- */

static bool name_is(struct crex_str name, const char *text)
{
	return name.len == strlen(text) && memcmp(name.ptr, text, name.len) == 0;
}

static int on_part(void *arg, struct crex_str name, bool is_file)
{
	struct upload *u = arg;
	(void)is_file;
	u->field = FIELD_OTHER;
	if (name_is(name, "file")) {
		if (u->has_file) {
			refuse(u, 400, "{\"detail\":\"More than one file in the form\"}");
			return -1;
		}
		u->has_file = true;
		u->field = FIELD_FILE;
	} else if (name_is(name, "target_path")) {
		u->field = FIELD_TARGET;
		u->has_target = true;
		buf_clear(&u->target);
	} else if (name_is(name, "unzip")) {
		u->field = FIELD_UNZIP;
		u->has_unzip = true;
		buf_clear(&u->unzip_text);
	}
	return 0;
}

static int on_data(void *arg, const char *data, size_t len)
{
	struct upload *u = arg;
	int r = 0;
	switch (u->field) {
	case FIELD_FILE: r = buf_append(&u->fill, data, len); break;
	case FIELD_TARGET: r = buf_append(&u->target, data, len); break;
	case FIELD_UNZIP: r = buf_append(&u->unzip_text, data, len); break;
	case FIELD_OTHER: break;
	}
	if (r == -ENOSPC)
		refuse(u, 400, "{\"detail\":\"Form field too large\"}");
	else if (r < 0)
		crex_error_set(&u->err, CREX_E_MEMORY, "no memory for the upload");
	return r;
}

static int on_part_end(void *arg)
{
	struct upload *u = arg;
	struct crex_str text = {u->unzip_text.data, u->unzip_text.len};
	if (u->field == FIELD_UNZIP && !reply_parse_bool(text, &u->unzip)) {
		refuse(u, 422,
		       "{\"detail\":[{\"type\":\"bool_parsing\",\"loc\":[\"body\",\"unzip\"],\"msg\":\"Input should be "
		       "a "
		       "valid boolean, unable to interpret input\",\"input\":");
		if (u->status &&
		    (wire_encode_string(&u->refusal, text.ptr, text.len) < 0 || buf_append_str(&u->refusal, "}]}") < 0))
			buf_deinit(&u->refusal);
		return -1;
	}
	u->field = FIELD_OTHER;
	return 0;
}

static void check_form(struct upload *u)
{
	static const char *const missing[2] = {
		"{\"type\":\"missing\",\"loc\":[\"body\",\"file\"],\"msg\":\"Field required\",\"input\":null}",
		"{\"type\":\"missing\",\"loc\":[\"body\",\"target_path\"],\"msg\":\"Field required\",\"input\":null}",
	};
	if (!u->form_done) {
		refuse(u, 400, "{\"detail\":\"There was an error parsing the body\"}");
	} else if (!u->has_file || !u->has_target) {
		char json[320] = "{\"detail\":[";
		if (!u->has_file)
			strcat(json, missing[0]);
		if (!u->has_file && !u->has_target)
			strcat(json, ",");
		if (!u->has_target)
			strcat(json, missing[1]);
		strcat(json, "]}");
		refuse(u, 422, json);
	}
}

/* ---- writing ---- */

/* Worker. With the engine's file open: what was spooled goes there first, then the chunk. */
static void write_work(uv_work_t *work)
{
	struct upload *u = work->data;
	int r = 0, fd = u->up_fd;
	if (fd < 0 && u->spool < 0) {
		u->spool = spool_open(getenv("TMPDIR"));
		r = u->spool < 0 ? u->spool : 0;
	}
	if (fd < 0)
		fd = u->spool;
	else if (u->spooled > 0)
		r = spool_move(u->spool, fd, u->spooled);
	if (r == 0)
		r = spool_write(fd, u->out.data, u->out.len);
	if (u->up_fd < 0)
		u->spooled += u->out.len;
	else
		u->spooled = 0;
	u->io_error = r;
}

static void after_write(uv_work_t *work, int status)
{
	struct upload *u = work->data;
	u->pending = false;
	buf_clear(&u->out);
	int r = status < 0 ? status : u->io_error;
	if (r < 0 && !failed(u))
		crex_error_set_errno(&u->err, -r, u->has_target ? u->target.data : NULL);
	step(u);
}

static void write_out(struct upload *u)
{
	struct buf full = u->fill;
	u->fill = u->out;
	u->out = full;
	u->work.data = u;
	u->pending = true;
	int r = uv_queue_work(u->srv->loop, &u->work, write_work, after_write);
	if (r < 0) { /* libuv refuses only a missing callback */
		u->pending = false;
		crex_error_set_errno(&u->err, -r, NULL);
	}
}

static void begun(void *arg, struct crex_error *err, struct local_upload *up, int fd)
{
	struct upload *u = arg;
	u->pending = false;
	if (err) {
		if (!failed(u))
			crex_error_move(&u->err, err);
	} else {
		u->up = up;
		u->up_fd = fd;
	}
	step(u);
}

static void begin(struct upload *u)
{
	u->pending = true;
	struct crex_str target = {u->target.data ? u->target.data : "", u->target.len};
	local_upload_begin(u->srv->rt, target, u->unzip, begun, u);
}

static void committed(void *arg, struct crex_error *err)
{
	struct upload *u = arg;
	u->pending = false;
	if (err && !failed(u))
		crex_error_move(&u->err, err);
	step(u);
}

/* Does the next thing. True: the upload is over. */
static bool advance(struct upload *u)
{
	if (u->complete && u->ex && !failed(u) && !u->committed)
		check_form(u);
	if (u->pending)
		return false;
	if (!u->ex || failed(u) || u->committed) {
		if (u->ex)
			reply(u);
		return true;
	}
	if (u->complete && !u->up) {
		begin(u);
	} else if (u->complete && (u->fill.len > 0 || u->spooled > 0)) {
		write_out(u);
	} else if (u->complete) {
		u->committed = u->pending = true;
		local_upload_commit(u->up, committed, u);
	} else if (u->fill.len >= CHUNK) {
		/* Only what came before the file can send it to its place directly: unzip may still follow the target.
		 */
		bool direct = u->field == FIELD_FILE && u->has_target && u->has_unzip;
		if (direct && !u->up && u->spool < 0)
			begin(u);
		else
			write_out(u);
	}
	return false;
}

/* The one place of progress: called whenever something has come or has been done. The engine may call back before its
 * call returns: that lands here too and only asks for another round. */
static void step(struct upload *u)
{
	u->again = true;
	if (u->stepping)
		return;
	u->stepping = true;
	bool over = false;
	while (u->again && !over) {
		u->again = false;
		over = advance(u);
	}
	u->stepping = false;
	if (over)
		upload_free(u);
	else if (u->ex && u->pending && u->fill.len >= CHUNK)
		http_pause(u->ex);
	else if (u->ex)
		http_resume(u->ex);
}

/* ---- what the connection says ---- */

void upload_start(struct server *srv, struct http_exchange *ex)
{
	struct upload *u = calloc(1, sizeof *u);
	if (!u) {
		http_reply(ex, 511, NULL, "");
		return;
	}
	srv->n_calls++;
	u->srv = srv;
	u->ex = ex;
	u->spool = u->up_fd = -1;
	u->started_ns = uv_hrtime();
	buf_init(&u->refusal, FIELD_MAX * 8);
	buf_init(&u->target, FIELD_MAX);
	buf_init(&u->unzip_text, FIELD_MAX);
	buf_init(&u->fill, FILL_MAX);
	buf_init(&u->out, FILL_MAX);
	multipart_init(&u->parser, http_content_type(ex));
	if (log_enabled(srv->log, LOG_LEVEL_INFO))
		server_log_id(srv, ex, u->id);
	http_set_data(ex, u);
}

void upload_feed(struct http_exchange *ex, const char *data, size_t len)
{
	static const struct multipart_sink sink = {on_part, on_data, on_part_end};
	struct upload *u = http_data(ex);
	if (failed(u))
		return; /* waits for what is pending; the reply comes then */
	switch (multipart_feed(&u->parser, data, len, &sink, u)) {
	case MULTIPART_DONE: u->form_done = true; break;
	case MULTIPART_BAD: refuse(u, 400, "{\"detail\":\"There was an error parsing the body\"}"); break;
	case MULTIPART_MORE:
	case MULTIPART_STOPPED: break;
	}
	step(u);
}

void upload_complete(struct http_exchange *ex)
{
	struct upload *u = http_data(ex);
	u->complete = true;
	step(u);
}

void upload_abort(struct http_exchange *ex)
{
	struct upload *u = http_data(ex);
	u->ex = NULL;
	http_set_data(ex, NULL);
	step(u);
}

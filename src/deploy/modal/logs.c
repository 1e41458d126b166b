/* deploy/modal/logs.c: what a sandbox has printed so far.
 *
 * The first generation's output comes from the control plane, as entries; the stream ends when the asked time is over.
 * The second one's comes as bytes from a router beside the sandbox, which has its own address and wants its own token;
 * that stream ends with the sandbox, so of one that runs we take what comes within a moment. */
#include "deploy/modal/modal.h"

#include "base/cleanup.h"
#include "base/keep.h"
#include <errno.h>
#include <string.h>

#define CALL_SECONDS 30.0
#define LISTEN_SECONDS 1.0
#define ROUTER_METHOD "/modal.task_command_router.TaskCommandRouter/SandboxStdioReadV2"

enum { KEPT = 1 << 20, STREAMS = 2 };

static int keep_text(struct keep *k, struct crex_str text, struct crex_error *err)
{
	return text.len && keep_append(k, text.ptr, text.len) < 0 ? crex_error_set_errno(err, ENOMEM, NULL) : 0;
}

/* ---- first generation ---- */

/* TaskLogsBatch: items (TaskLogs: data), eof. */
static int on_batch(void *arg, struct crex_str message, struct crex_error *err)
{
	struct keep *k = arg;
	bool eof = false;
	struct pb_reader r = pb_read(message);
	for (struct pb_field f; pb_next(&r, &f);) {
		eof |= pb_is_uint(&f, 14) && f.value;
		if (!pb_is_bytes(&f, 2))
			continue;
		struct pb_reader item = pb_read(f.bytes);
		for (struct pb_field g; pb_next(&item, &g);)
			if (pb_is_bytes(&g, 1) && keep_text(k, g.bytes, err) < 0)
				return -1;
	}
	return eof;
}

static enum modal_stream_end read_entries(struct modal_client *c, const struct modal_sandbox *s, unsigned stream,
					  struct keep *k, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	const struct modal_stream listen = {
		.method = "SandboxGetLogs", .seconds = LISTEN_SECONDS + 5, .on_message = on_batch, .arg = k};
	pb_init(&request, 1024);
	pb_string(&request, 1, s->id);
	pb_uint(&request, 2, stream + 1);
	pb_float(&request, 3, (float)LISTEN_SECONDS / 2);
	pb_string(&request, 4, "0-0");
	return modal_listen(c, &listen, &request, deadline, err);
}

/* ---- second generation ---- */

struct router {
	char *task_id, *jwt, *url;
};

static void router_deinit(struct router *r)
{
	if (r->jwt)
		explicit_bzero(r->jwt, strlen(r->jwt));
	free(r->task_id);
	free(r->jwt);
	free(r->url);
}

static int find_router(struct modal_client *c, const struct modal_sandbox *s, const struct deadline *deadline,
		       struct router *ret, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	cleanup_buf struct buf task = {.data = NULL}, access = {.data = NULL};
	pb_init(&request, 1024);
	pb_string(&request, 1, s->id);
	if (modal_call(c, "SandboxGetTaskIdV2", &request, NULL, CALL_SECONDS, deadline, &task, err) < 0 ||
	    modal_take_string(&task, 1, "SandboxGetTaskIdV2", "a task", &ret->task_id, err) < 0 ||
	    modal_call(c, "SandboxGetCommandRouterAccess", &request, NULL, CALL_SECONDS, deadline, &access, err) < 0 ||
	    modal_take_string(&access, 1, "SandboxGetCommandRouterAccess", "a token", &ret->jwt, err) < 0 ||
	    modal_take_string(&access, 2, "SandboxGetCommandRouterAccess", "an address", &ret->url, err) < 0)
		return -1;
	if (access.data)
		explicit_bzero(access.data, access.len);
	return strncmp(ret->url, "https://", 8) == 0
		       ? 0
		       : crex_error_set(err, CREX_E_PROTOCOL, "the router's address has no https");
}

static int on_bytes(void *arg, struct crex_str message, struct crex_error *err)
{
	struct pb_reader r = pb_read(message);
	for (struct pb_field f; pb_next(&r, &f);)
		if (pb_is_bytes(&f, 1) && keep_text(arg, f.bytes, err) < 0)
			return -1;
	return 0;
}

static enum modal_stream_end read_bytes(struct modal_client *c, const struct router *router, unsigned stream,
					struct keep *k, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	const struct modal_stream listen = {
		.url = router->url,
		.method = ROUTER_METHOD,
		.bearer = router->jwt,
		.seconds = LISTEN_SECONDS,
		.on_message = on_bytes,
		.arg = k,
	};
	pb_init(&request, 1024);
	pb_string(&request, 1, router->task_id);
	pb_uint(&request, 3, stream);
	return modal_listen(c, &listen, &request, deadline, err);
}

/* ---- both ---- */

static int take(struct keep *k, struct buf *ret, struct crex_error *err)
{
	size_t len;
	bool cut;
	if (keep_is_empty(k))
		return 0;
	cleanup_free char *text = keep_steal(k, &len, &cut);
	return text && buf_append(ret, text, len) == 0 ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

int modal_logs(struct modal_client *c, const struct modal_sandbox *s, const struct deadline *deadline, struct buf *ret,
	       struct crex_error *err)
{
	struct router router = {.url = NULL};
	int r = s->v2 ? find_router(c, s, deadline, &router, err) : 0;
	for (unsigned stream = 0; r == 0 && stream < STREAMS; stream++) {
		struct keep k;
		keep_init(&k, KEPT);
		enum modal_stream_end end = s->v2 ? read_bytes(c, &router, stream, &k, deadline, err)
						  : read_entries(c, s, stream, &k, deadline, err);
		r = end == MODAL_STREAM_ENDED ? take(&k, ret, err) : -1;
		keep_deinit(&k);
	}
	router_deinit(&router);
	return r;
}

/* runtime/remote/call.c: one call of a runtime: its id, its repeats, and what the answer's status means.
 *
 * A connection that fails says nothing about the command: it may not have arrived, may run, may have ended. Each call
 * has one id, whatever it takes to bring it home, and the server runs a command once for each id (ours keeps thousands
 * of them; SWE-ReX's own server remembers the newest alone). Waiting between tries doubles from 0.1 s up to 5 s, less
 * a random part, so that the clients of a server that restarts don't come back in step. Gateways in between (502, 503,
 * 504) count as broken connections. */
#include "base/cleanup.h"
#include "base/random.h"
#include "runtime/remote/remote.h"
#include "wire/client.h"

static const double PAUSE_FIRST = 0.1, PAUSE_MAX = 5;

static enum remote_outcome try_once(struct remote *rt, const struct remote_request *req, const struct deadline *d,
				    struct remote_reply *ret, struct crex_error *err)
{
	enum remote_outcome outcome = remote_try(rt, req, d, ret, err);
	if (outcome != REMOTE_ANSWERED || ret->status < 502 || ret->status > 504)
		return outcome;
	wire_read_error(ret->status, (struct crex_str){ret->body.data, ret->body.len}, err);
	err->code = CREX_E_CONNECTION;
	crex_error_prefix(err, "%s is not available: ", rt->host.url);
	buf_deinit(&ret->body);
	return REMOTE_BROKEN;
}

/* When the call's time ends between two tries, what failed before is the news. */
static int pause_before(const struct deadline *d, double pause, struct crex_error *err)
{
	cleanup_error struct crex_error over = CREX_ERROR_INIT;
	if (deadline_pause(d, random_jitter(pause), &over) == 0)
		return 0;
	crex_error_prefix(err, "%s; the last try: ", over.message ? over.message : "");
	err->code = over.code;
	return -1;
}

static int read_status(const struct remote *rt, struct remote_reply *reply, struct buf *ret_body,
		       struct crex_error *err)
{
	if (reply->status == 200) {
		*ret_body = reply->body;
		return 0;
	}
	wire_read_error(reply->status, (struct crex_str){reply->body.data, reply->body.len}, err);
	buf_deinit(&reply->body);
	if (err->code == CREX_E_PROTOCOL || err->code == CREX_E_AUTHENTICATION)
		crex_error_prefix(err, "%s: ", rt->host.url);
	return -1;
}

int remote_request(struct remote *rt, const struct remote_request *asked, const struct deadline *d,
		   struct buf *ret_body, int (*anew)(void *arg, struct crex_error *err), void *arg,
		   struct crex_error *err)
{
	char uuid[RANDOM_UUID_SIZE];
	struct remote_request req = *asked;
	struct remote_reply reply;
	double pause = PAUSE_FIRST;
	if (req.post && !req.form) {
		random_uuid(uuid);
		req.id = uuid;
	}
	for (int left = req.post ? rt->retries : 0;; left--) {
		enum remote_outcome outcome = try_once(rt, &req, d, &reply, err);
		if (outcome == REMOTE_ANSWERED)
			return read_status(rt, &reply, ret_body, err);
		if (outcome == REMOTE_FAILED || left <= 0 || pause_before(d, pause, err) < 0)
			return -1;
		if (anew && anew(arg, err) < 0)
			return -1;
		crex_error_clear(err);
		pause = pause * 2 > PAUSE_MAX ? PAUSE_MAX : pause * 2;
	}
}

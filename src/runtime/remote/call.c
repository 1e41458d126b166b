/* runtime/remote/call.c: one call of a runtime: its id, its repeats, and what the answer's status means.
 *
 * A connection that fails says nothing about the command: it may not have arrived, may run, may have ended. Each call
 * has one id, whatever it takes to bring it home, and the server runs a command once for each id (ours keeps thousands
 * of them; SWE-ReX's own server remembers the newest alone). Waiting between tries doubles from 0.1 s up to 5 s, less
 * a random part, so that the clients of a server that restarts don't come back in step. Gateways in between (502, 503,
 * 504) count as broken connections. */
#include "base/cleanup.h"
#include "runtime/remote/remote.h"
#include "wire/client.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { UUID_LEN = 36 };

static const double PAUSE_FIRST = 0.1, PAUSE_MAX = 5;

static void random_bytes(void *data, size_t len)
{
	if (getrandom(data, len, 0) == (ssize_t)len) /* so few bytes come at once */
		return;
	double now = clock_now(); /* no kernel that we run on; still no two ids alike */
	for (size_t i = 0; i < len; i++)
		((unsigned char *)data)[i] ^= ((const unsigned char *)&now)[i % sizeof now];
}

static void make_uuid(char out[UUID_LEN + 1])
{
	unsigned char b[16] = {0};
	random_bytes(b, sizeof b);
	b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
	snprintf(out, UUID_LEN + 1, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* Between a half and the whole. */
static double jittered(double pause)
{
	uint16_t r = 0;
	random_bytes(&r, sizeof r);
	return pause * (0.5 + r / 131072.0);
}

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
	if (deadline_pause(d, jittered(pause), &over) == 0)
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
	char uuid[UUID_LEN + 1];
	struct remote_request req = *asked;
	struct remote_reply reply;
	double pause = PAUSE_FIRST;
	if (req.post && !req.form) {
		make_uuid(uuid);
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

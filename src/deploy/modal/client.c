/* deploy/modal/client.c: calls that are repeated until they count, and the short-lived token.
 *
 * A call has one idempotency key for all of its tries, so that a repeat whose first try did arrive gets that one's
 * reply. Repeated is after a lost connection and after statuses that speak of the moment; on "too many requests" for
 * longer, with pauses that differ between clients, because nothing was done then.
 *
 * Modal wants two kinds of credentials: the token pair on every call, and a token that AuthTokenGet hands out for some
 * minutes. It looks like a JWT; its times are read, by the server's own clock, to renew it when four fifths of its life
 * are over. If it is refused all the same (a clock that jumped), it is renewed once and the call repeated.
 *
 * The text of a refusal is the server's. Should our credentials be in it, they are taken out. */
#include "deploy/modal/client.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/modal/exchange.h"
#include "deploy/modal/jwt.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TRIES = 4, THROTTLE_TRIES = 8 };
#define PAUSE_FIRST 0.1
#define PAUSE_MAX 1.0
#define THROTTLE_FIRST 0.5
#define THROTTLE_MAX 8.0
#define TOKEN_SECONDS 20.0
#define TOKEN_LIFE 300.0 /* of a token that doesn't say */
#define SERVICE "/modal.client.ModalClient/"

/* ---- beginning and end ---- */

int modal_client_init(struct modal_client *c, const struct modal_profile *profile, const char *ca_file,
		      struct crex_error *err)
{
	*c = (struct modal_client){.profile = profile, .ca_file = ca_file, .status = GRPC_NONE};
	c->channel = net_channel_new(err);
	return c->channel ? 0 : -1;
}

static void forget_token(struct modal_client *c)
{
	if (c->auth_token)
		explicit_bzero(c->auth_token, strlen(c->auth_token));
	free(c->auth_token);
	c->auth_token = NULL;
}

void modal_client_deinit(struct modal_client *c)
{
	forget_token(c);
	net_channel_free(c->channel);
	*c = (struct modal_client){.status = GRPC_NONE};
}

/* ---- errors ---- */

static enum crex_error_code code_of(int status)
{
	switch (status) {
	case GRPC_UNAUTHENTICATED:
	case GRPC_PERMISSION_DENIED: return CREX_E_AUTHENTICATION;
	case GRPC_UNIMPLEMENTED: return CREX_E_UNSUPPORTED;
	case GRPC_CANCELLED:
	case GRPC_UNKNOWN:
	case GRPC_DEADLINE_EXCEEDED:
	case GRPC_INTERNAL:
	case GRPC_UNAVAILABLE: return CREX_E_CONNECTION;
	default: return CREX_E_DEPLOYMENT_STARTUP;
	}
}

static void take_out(char *text, const char *secret)
{
	size_t len = secret ? strlen(secret) : 0;
	for (char *at = text; len >= 4 && (at = strstr(at, secret)); at += len)
		memset(at, '*', len);
}

static int refused(struct modal_client *c, const char *method, struct grpc_outcome *o, struct crex_error *err)
{
	const char *hint = "";
	take_out(o->message, c->profile->token_secret);
	take_out(o->message, c->profile->token_id);
	take_out(o->message, c->auth_token);
	if (o->status == GRPC_UNAUTHENTICATED)
		hint = " (check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or the profile in ~/.modal.toml)";
	return crex_error_set(err, code_of(o->status), "Modal refuses %s: %s%s%s%s", method,
			      grpc_status_name(o->status), *o->message ? ": " : "", o->message, hint);
}

/* ALREADY_EXISTS is not among these: what exists may be what an earlier try has made. */
bool modal_was_refused(const struct modal_client *c)
{
	switch (c->status) {
	case GRPC_INVALID_ARGUMENT:
	case GRPC_NOT_FOUND:
	case GRPC_PERMISSION_DENIED:
	case GRPC_RESOURCE_EXHAUSTED:
	case GRPC_FAILED_PRECONDITION:
	case GRPC_UNIMPLEMENTED:
	case GRPC_UNAUTHENTICATED: return true;
	default: return false;
	}
}

/* ---- one call ---- */

struct call {
	const char *method;
	const struct pb_writer *request;
	const char *key;
	double seconds;
	bool with_token; /* the short-lived one */
	unsigned tries, throttled;
};

struct taking {
	struct buf *reply;
	unsigned count;
};

static int on_reply(void *arg, struct crex_str message)
{
	struct taking *t = arg;
	t->count++;
	buf_clear(t->reply);
	return buf_append(t->reply, message.ptr, message.len);
}

static enum exchange_end try_once(struct modal_client *c, const struct call *call, const struct deadline *deadline,
				  struct buf *reply, struct grpc_outcome *outcome, struct crex_error *err)
{
	struct taking taking = {.reply = reply};
	char path[128], attempt[48], throttled[48], key[80];
	snprintf(path, sizeof path, SERVICE "%s", call->method);
	snprintf(key, sizeof key, "x-idempotency-key: %s", call->key);
	snprintf(attempt, sizeof attempt, "x-retry-attempt: %u", call->tries);
	snprintf(throttled, sizeof throttled, "x-throttle-retry-attempt: %u", call->throttled);
	const struct exchange e = {
		.client = c,
		.path = path,
		.lines = {key, attempt, throttled},
		.with_token = call->with_token,
		.request = call->request,
		.seconds = call->seconds,
		.on_message = on_reply,
		.arg = &taking,
	};
	enum exchange_end end = exchange_run(&e, deadline, outcome, err);
	if (end == EXCHANGE_ANSWERED && outcome->status == GRPC_OK && taking.count != 1) {
		crex_error_set(err, CREX_E_CONNECTION, "%s answered %s without a reply", c->profile->server_url,
			       call->method);
		outcome->status = GRPC_NONE;
		return EXCHANGE_BROKEN;
	}
	return end;
}

/* Seconds until the next try; negative: there is none. */
static double pause_before_next(struct call *call, const struct grpc_outcome *o, bool broken)
{
	double pause;
	if (!broken && o->status == GRPC_RESOURCE_EXHAUSTED) {
		if (++call->throttled >= THROTTLE_TRIES)
			return -1;
		pause = THROTTLE_FIRST * (double)(1u << (call->throttled - 1));
		pause = pause < THROTTLE_MAX ? pause : THROTTLE_MAX;
		return random_jitter(pause);
	}
	if ((!broken && !grpc_is_transient(o->status)) || ++call->tries >= TRIES)
		return -1;
	pause = PAUSE_FIRST * (double)(1u << (call->tries - 1));
	return pause < PAUSE_MAX ? pause : PAUSE_MAX;
}

static int fetch_token(struct modal_client *c, const struct deadline *deadline, struct crex_error *err);

static int run(struct modal_client *c, struct call *call, const struct deadline *deadline, struct buf *reply,
	       struct crex_error *err)
{
	bool renewed = false;
	for (;;) {
		struct grpc_outcome outcome;
		c->status = GRPC_NONE;
		if (call->with_token && (!c->auth_token || clock_now() >= c->renew_at) &&
		    fetch_token(c, deadline, err) < 0)
			return -1;
		enum exchange_end end = try_once(c, call, deadline, reply, &outcome, err);
		c->status = end == EXCHANGE_ANSWERED ? outcome.status : GRPC_NONE;
		if (end == EXCHANGE_FAILED)
			return -1;
		if (end == EXCHANGE_ANSWERED && outcome.status == GRPC_OK)
			return 0;
		if (end == EXCHANGE_ANSWERED)
			refused(c, call->method, &outcome, err);
		if (end == EXCHANGE_ANSWERED && outcome.status == GRPC_UNAUTHENTICATED && call->with_token &&
		    !renewed) {
			renewed = true;
			forget_token(c);
			crex_error_clear(err);
			continue;
		}
		double pause = pause_before_next(call, &outcome, end == EXCHANGE_BROKEN);
		if (pause < 0)
			return -1;
		crex_error_clear(err);
		if (deadline_pause(deadline, pause, err) < 0)
			return -1;
	}
}

int modal_call(struct modal_client *c, const char *method, const struct pb_writer *request, const char *key,
	       double seconds, const struct deadline *deadline, struct buf *ret_reply, struct crex_error *err)
{
	char own[RANDOM_UUID_SIZE];
	cleanup_buf struct buf reply = {.data = NULL};
	buf_init(&reply, MODAL_REPLY_MAX);
	c->status = GRPC_NONE;
	if (pb_finish(request, err) < 0)
		return -1;
	random_uuid(own);
	struct call call = {method, request, key ? key : own, seconds, true, 0, 0};
	if (run(c, &call, deadline, &reply, err) < 0)
		return -1;
	*ret_reply = reply;
	buf_init(&reply, 0);
	return 0;
}

/* ---- the short-lived token ---- */

static int fetch_token(struct modal_client *c, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	cleanup_buf struct buf reply = {.data = NULL};
	char key[RANDOM_UUID_SIZE];
	pb_init(&request, 64);
	buf_init(&reply, 1 << 16);
	random_uuid(key);
	forget_token(c);
	struct call call = {"AuthTokenGet", &request, key, TOKEN_SECONDS, false, 0, 0};
	if (run(c, &call, deadline, &reply, err) < 0)
		return -1;
	struct pb_reader r = pb_read((struct crex_str){reply.data, reply.len});
	for (struct pb_field f; !c->auth_token && pb_next(&r, &f);)
		if (pb_is_bytes(&f, 1) && jwt_is_plain(f.bytes) && !(c->auth_token = strndup(f.bytes.ptr, f.bytes.len)))
			return crex_error_set_errno(err, ENOMEM, NULL);
	if (reply.data)
		explicit_bzero(reply.data, reply.len);
	if (!c->auth_token)
		return crex_error_set(err, CREX_E_PROTOCOL, "Modal's AuthTokenGet answers without a token");
	double life = jwt_life(crex_str_of(c->auth_token));
	c->renew_at = clock_now() + (life > 0 ? life : TOKEN_LIFE) * 0.8;
	return 0;
}

/* ---- streams ---- */

struct listening {
	const struct modal_stream *s;
	struct crex_error *err;
};

static int on_stream_message(void *arg, struct crex_str message)
{
	struct listening *l = arg;
	return l->s->on_message(l->s->arg, message, l->err);
}

static enum modal_stream_end judge(struct modal_client *c, const struct modal_stream *s, struct grpc_outcome *o,
				   struct crex_error *err)
{
	if (o->status == GRPC_OK)
		return MODAL_STREAM_ENDED;
	refused(c, s->method, o, err);
	return grpc_is_transient(o->status) ? MODAL_STREAM_BROKEN : MODAL_STREAM_FAILED;
}

enum modal_stream_end modal_listen(struct modal_client *c, const struct modal_stream *s,
				   const struct pb_writer *request, const struct deadline *deadline,
				   struct crex_error *err)
{
	struct listening l = {s, err};
	struct grpc_outcome outcome;
	cleanup_free char *authorization = NULL;
	char path[128];
	c->status = GRPC_NONE;
	if (pb_finish(request, err) < 0)
		return MODAL_STREAM_FAILED;
	if (!s->bearer && (!c->auth_token || clock_now() >= c->renew_at) && fetch_token(c, deadline, err) < 0)
		return MODAL_STREAM_FAILED;
	if (s->bearer && asprintf(&authorization, "authorization: Bearer %s", s->bearer) < 0) {
		authorization = NULL;
		crex_error_set_errno(err, ENOMEM, NULL);
		return MODAL_STREAM_FAILED;
	}
	snprintf(path, sizeof path, "%s%s", *s->method == '/' ? "" : SERVICE, s->method);
	const struct exchange e = {
		.client = c,
		.url = s->url,
		.path = path,
		.lines = {authorization},
		.with_token = !s->bearer,
		.is_foreign = s->bearer,
		.request = request,
		.seconds = s->seconds,
		.ends_with_time = true,
		.on_message = on_stream_message,
		.arg = &l,
	};
	enum exchange_end end = exchange_run(&e, deadline, &outcome, err);
	if (authorization)
		explicit_bzero(authorization, strlen(authorization));
	switch (end) {
	case EXCHANGE_ANSWERED: c->status = outcome.status; return judge(c, s, &outcome, err);
	case EXCHANGE_ENOUGH: return MODAL_STREAM_ENDED;
	case EXCHANGE_BROKEN: return MODAL_STREAM_BROKEN;
	case EXCHANGE_FAILED: break;
	}
	return MODAL_STREAM_FAILED;
}

/* deploy/modal/exchange.c: gRPC by libcurl: a POST over HTTP/2 whose trailers say how it went.
 *
 * libcurl hands out trailers as header lines, so the outcome is read from all of them. Clear text (a stand-in on this
 * machine) is spoken without an upgrade; libcurl can't use such a connection twice, so it isn't kept. A reply without a
 * status has not come to its end, whatever its bytes were.
 *
 * What clients of Modal say about themselves is what its Go client says: it sends the short-lived token on every call,
 * as we do. Redirects are not followed: credentials would go along. */
#include "deploy/modal/exchange.h"

#include "base/cleanup.h"
#include "runtime/remote/host.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CLIENT_TYPE "9"
#define CLIENT_VERSION "1.0.0"
#define LOOK_UP_SECONDS 0.1

enum { URL_MAX = 4096, HEADER_MAX = 32768 };

struct transfer {
	struct net_transfer net;
	struct grpc_outcome outcome;
	struct grpc_frames frames;
	const struct exchange *e;
	size_t sent; /* of the request's frame */
	int stopped; /* what on_message, or a frame, said */
};

static void on_header(void *arg, const char *line, size_t len)
{
	struct transfer *t = arg;
	grpc_outcome_line(&t->outcome, line, len);
}

/* The body of what is no gRPC answer (a proxy's page) is not looked at. */
static int on_body(void *arg, const char *data, size_t len)
{
	struct transfer *t = arg;
	if (t->outcome.http_status == 200 && t->outcome.is_grpc)
		t->stopped = grpc_frames_feed(&t->frames, data, len);
	return t->stopped;
}

/* ---- lines ---- */

static int add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *more = curl_slist_append(*list, line);
	if (!more)
		return -ENOMEM;
	*list = more;
	return 0;
}

static int add_pair(struct curl_slist **list, const char *name, const char *value)
{
	char line[HEADER_MAX];
	snprintf(line, sizeof line, "%s: %s", name, value);
	int r = add_line(list, line);
	explicit_bzero(line, sizeof line);
	return r;
}

static struct curl_slist *free_lines(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(list);
	return NULL;
}

static struct curl_slist *make_lines(const struct exchange *e)
{
	static const char *const always[] = {"content-type: application/grpc", "te: trailers",
					     "Expect:", "user-agent: crex"};
	const struct modal_client *c = e->client;
	struct curl_slist *list = NULL;
	int r = 0;
	for (size_t i = 0; r == 0 && i < sizeof always / sizeof *always; i++)
		r = add_line(&list, always[i]);
	for (size_t i = 0; r == 0 && i < EXCHANGE_LINES; i++)
		if (e->lines[i])
			r = add_line(&list, e->lines[i]);
	if (r == 0 && !e->is_foreign) {
		r = add_pair(&list, "x-modal-client-type", CLIENT_TYPE);
		if (r == 0)
			r = add_pair(&list, "x-modal-client-version", CLIENT_VERSION);
		if (r == 0)
			r = add_pair(&list, "x-modal-token-id", c->profile->token_id);
		if (r == 0)
			r = add_pair(&list, "x-modal-token-secret", c->profile->token_secret);
		if (r == 0 && e->with_token)
			r = add_pair(&list, "x-modal-auth-token", c->auth_token);
	}
	return r == 0 ? list : free_lines(list);
}

/* ---- the request ---- */

static int set_server(struct transfer *t, struct crex_error *err)
{
	const struct exchange *e = t->e;
	CURL *c = e->client->channel->easy;
	struct remote_host host;
	char whole[URL_MAX];
	if (remote_host_parse(t->net.peer, 0, &host, err) < 0)
		return -1;
	bool fits = snprintf(whole, sizeof whole, "%s%s", host.url, e->path) < (int)sizeof whole;
	bool tls = t->net.tls = host.tls, loopback = host.loopback;
	remote_host_deinit(&host);
	if (!fits || (!tls && !loopback))
		return crex_error_set(err, CREX_E_PROTOCOL, "this is no address that Modal would have: %.200s",
				      t->net.peer);
	net_prepare(c);
	net_trust(c, e->client->ca_file);
	curl_easy_setopt(c, CURLOPT_URL, whole);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION,
			 tls ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	curl_easy_setopt(c, CURLOPT_FORBID_REUSE, tls ? 0L : 1L);
	if (loopback)
		curl_easy_setopt(c, CURLOPT_PROXY, "");
	return 0;
}

/* The frame's head and the message, piece by piece as libcurl wants them: a server is not copied for being sent. */
static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	const struct pb_writer *message = t->e->request;
	unsigned char head[GRPC_HEAD];
	size_t room = size * n, len = pb_length(message), left = GRPC_HEAD + len - t->sent;
	size_t take = room < left ? room : left, done = 0;
	grpc_frame_head(head, len);
	for (; done < take && t->sent + done < GRPC_HEAD; done++)
		to[done] = (char)head[t->sent + done];
	if (pb_copy(message, t->sent + done - GRPC_HEAD, to + done, take - done) < 0) {
		t->stopped = -EIO;
		return CURL_READFUNC_ABORT;
	}
	t->sent += take;
	return take;
}

/* For a request that is sent again because a kept connection was closed. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct transfer *t = arg;
	if (origin != SEEK_SET || offset < 0 || (size_t)offset > GRPC_HEAD + pb_length(t->e->request))
		return CURL_SEEKFUNC_FAIL;
	t->sent = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static void set_body(struct transfer *t)
{
	CURL *c = t->e->client->channel->easy;
	curl_easy_setopt(c, CURLOPT_POST, 1L);
	curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(GRPC_HEAD + pb_length(t->e->request)));
	curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(c, CURLOPT_READDATA, t);
	curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
	curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
}

/* ---- how it went ---- */

static enum exchange_end broken(struct transfer *t, CURLcode code, const char *told, struct crex_error *err)
{
	t->net.code = code;
	if (told)
		snprintf(t->net.told, sizeof t->net.told, "%s", told);
	bool may_pass = net_explain(&t->net, "ca_file", err);
	crex_error_prefix(err, "%s: ", strrchr(t->e->path, '/') + 1);
	return may_pass ? EXCHANGE_BROKEN : EXCHANGE_FAILED;
}

/* A status of HTTP's own, from something between Modal and us, as the one that gRPC has for it. */
static int status_of_http(int status)
{
	switch (status) {
	case 401: return GRPC_UNAUTHENTICATED;
	case 403: return GRPC_PERMISSION_DENIED;
	case 404: return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504: return GRPC_UNAVAILABLE;
	default: return GRPC_UNKNOWN;
	}
}

static enum exchange_end judge(struct transfer *t, struct crex_error *err)
{
	struct grpc_outcome *o = &t->outcome;
	if (t->stopped > 0)
		return EXCHANGE_ENOUGH;
	if (t->stopped < 0) {
		if (err->code == CREX_OK && t->stopped == -ENOSPC)
			crex_error_set(err, CREX_E_LIMIT, "a reply to %s is longer than the limit", t->e->path);
		else if (err->code == CREX_OK && t->stopped == -EPROTO)
			crex_error_set(err, CREX_E_PROTOCOL, "a reply to %s is no gRPC", t->e->path);
		else if (err->code == CREX_OK)
			crex_error_set_errno(err, -t->stopped, NULL);
		return EXCHANGE_FAILED;
	}
	if (o->status > GRPC_OK)
		return EXCHANGE_ANSWERED; /* the connection may be gone behind it */
	if (t->net.code != CURLE_OK)
		return broken(t, t->net.code, NULL, err);
	if (o->status == GRPC_NONE && o->http_status != 200) {
		o->status = status_of_http(o->http_status);
		snprintf(o->message, sizeof o->message, "HTTP status %d", o->http_status);
		return EXCHANGE_ANSWERED;
	}
	if (!o->is_grpc) {
		crex_error_set(err, CREX_E_PROTOCOL, "what answers at %s doesn't speak gRPC", t->net.peer);
		return EXCHANGE_FAILED;
	}
	if (o->status == GRPC_NONE || !grpc_frames_at_end(&t->frames)) {
		o->status = GRPC_NONE;
		return broken(t, CURLE_PARTIAL_FILE, "it ends too early", err);
	}
	return EXCHANGE_ANSWERED;
}

static enum exchange_end perform(struct transfer *t, const struct deadline *deadline, struct crex_error *err)
{
	const struct exchange *e = t->e;
	struct deadline limited = *deadline;
	deadline_limit(&limited, e->seconds);
	if (net_perform(e->client->channel, &t->net, &limited, err) == 0)
		return judge(t, err);
	if (err->code != CREX_E_DEADLINE || deadline_left(deadline) == 0)
		return EXCHANGE_FAILED;
	crex_error_clear(err); /* our own limit */
	return e->ends_with_time ? EXCHANGE_ENOUGH : broken(t, CURLE_OPERATION_TIMEDOUT, "it takes too long", err);
}

enum exchange_end exchange_run(const struct exchange *e, const struct deadline *deadline, struct grpc_outcome *ret,
			       struct crex_error *err)
{
	struct transfer t = {.e = e};
	CURL *c = e->client->channel->easy;
	enum exchange_end end = EXCHANGE_FAILED;
	t.net = (struct net_transfer){
		.peer = e->url ? e->url : e->client->profile->server_url,
		.limit = CREX_NO_TIMEOUT,
		.look_up = LOOK_UP_SECONDS,
		.on_header = on_header,
		.on_body = on_body,
		.arg = &t,
	};
	grpc_outcome_init(&t.outcome);
	grpc_frames_init(&t.frames, MODAL_REPLY_MAX, e->on_message, e->arg);
	curl_easy_reset(c);
	struct curl_slist *lines = make_lines(e);
	if (!lines)
		crex_error_set(err, CREX_E_MEMORY, "memory ran out");
	else if (set_server(&t, err) == 0) {
		curl_easy_setopt(c, CURLOPT_HTTPHEADER, lines);
		set_body(&t);
		end = perform(&t, deadline, err);
	}
	curl_easy_reset(c);
	free_lines(lines);
	grpc_frames_deinit(&t.frames);
	*ret = t.outcome;
	return end;
}

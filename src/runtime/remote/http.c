/* runtime/remote/http.c: one request to the server, once, with an end.
 *
 * The transfer is driven by curl_multi_poll, which also watches the call's cancel: a deadline or a cancel ends it at
 * once, wherever it stands (a name that is being resolved included). There is no time limit of our own on a reply:
 * request->limit is the command's own timeout with a margin, or none; a peer that is gone is found by TCP keepalive.
 *
 * A reply whose head is cut is, to libcurl, a reply without a body: so we note the end of the head ourselves. What a
 * redirect names is never followed, since the token would go there too.
 *
 * SIGPIPE: plain sockets are written to with MSG_NOSIGNAL, but OpenSSL writes without; for https the signal is held
 * back from this thread while libcurl works, and one that it has caused is taken away. */
#include "runtime/remote/remote.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { CONNECT_MS = 10000, KEEPALIVE_IDLE_S = 30, KEEPALIVE_INTERVAL_S = 10, RESERVE_MAX = 64 << 20 };

struct transfer {
	struct remote *rt;
	const struct remote_request *req;
	struct remote_reply *reply;
	CURL *easy;
	char told[CURL_ERROR_SIZE];
	bool head_ended;
	bool interim; /* the head under way is a 1xx */
	int write_error;
};

/* --- what libcurl calls -------------------------------------------------------------------------------------- */

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * n;
	if (len > 12 && memcmp(line, "HTTP/", 5) == 0) {
		const char *code = memchr(line, ' ', len);
		t->interim = code && code[1] == '1';
		t->head_ended = false;
	} else if (len <= 2 && !t->interim) {
		t->head_ended = true;
	}
	return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	struct buf *body = &t->reply->body;
	size_t len = size * n;
	curl_off_t whole = -1;
	if (body->len == 0 && curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &whole) == CURLE_OK &&
	    whole > 0 && whole <= RESERVE_MAX)
		buf_reserve(body, (size_t)whole); /* a failure shows below */
	t->write_error = buf_append(body, data, len);
	return t->write_error < 0 ? 0 : len;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)arg;
	(void)purpose;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* --- SIGPIPE -------------------------------------------------------------------------------------------------- */

struct quiet {
	bool on;
	sigset_t before;
};

static void quiet_begin(struct quiet *q, bool wanted)
{
	sigset_t pipe, pending;
	q->on = false;
	if (!wanted || sigpending(&pending) < 0 || sigismember(&pending, SIGPIPE))
		return; /* one that waits already is not ours */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	q->on = pthread_sigmask(SIG_BLOCK, &pipe, &q->before) == 0;
}

static void quiet_end(struct quiet *q)
{
	if (!q->on)
		return;
	sigset_t pipe;
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	const struct timespec now = {0};
	while (sigtimedwait(&pipe, NULL, &now) == SIGPIPE)
		;
	pthread_sigmask(SIG_SETMASK, &q->before, NULL);
}

/* --- the transfer --------------------------------------------------------------------------------------------- */

void remote_set_way(const struct remote *rt, CURL *e)
{
	if (rt->unix_socket)
		curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, rt->unix_socket);
	if (rt->unix_socket || rt->host.loopback)
		curl_easy_setopt(e, CURLOPT_PROXY, "");
	if (rt->ca_file) {
		curl_easy_setopt(e, CURLOPT_CAINFO, rt->ca_file);
		curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	}
}

/* What all requests of a runtime have in common: set once for each handle. */
static void prepare(const struct remote *rt, CURL *e)
{
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* a cancelled call doesn't wait for the resolver's thread */
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	remote_set_way(rt, e);
}

static void set_request(struct transfer *t)
{
	CURL *e = t->easy;
	char url[8192 * 2];
	snprintf(url, sizeof url, "%s%s", t->rt->host.url, t->req->path); /* host.c bounds it */
	curl_easy_setopt(e, CURLOPT_URL, url);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->told);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
	if (!t->req->post) {
		curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
	} else if (!t->req->form) {
		curl_easy_setopt(e, CURLOPT_POST, 1L);
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->req->body.len);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, t->req->body.len ? t->req->body.ptr : "");
	}
}

/* Nothing of a request outlives it in the handle; a form leaves too much behind to be undone piece by piece. */
static void forget_request(struct remote_channel *c, const struct remote_request *req)
{
	if (req->form) {
		curl_easy_reset(c->easy);
		c->prepared = false;
		return;
	}
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, NULL);
}

/* The request's own lines before those that all have. The list is only read by libcurl. */
struct header_lines {
	char id[80];
	struct curl_slist nodes[3];
};

static struct curl_slist *set_headers(struct header_lines *lines, const struct remote *rt,
				      const struct remote_request *req)
{
	static char json[] = "Content-Type: application/json", no_expect[] = "Expect:";
	struct curl_slist *list = rt->headers;
	size_t n = 0;
	if (req->id) {
		snprintf(lines->id, sizeof lines->id, "X-Request-ID: %s", req->id);
		lines->nodes[n] = (struct curl_slist){lines->id, list};
		list = &lines->nodes[n++];
	}
	if (!req->form) { /* an upload is worth asking first whether it is welcome */
		lines->nodes[n] = (struct curl_slist){no_expect, list};
		list = &lines->nodes[n++];
	}
	if (req->body.len) {
		lines->nodes[n] = (struct curl_slist){json, list};
		list = &lines->nodes[n++];
	}
	return list;
}

static int wait_ms(double seconds)
{
	return seconds < 0 || seconds > 60 ? 60000 : (int)ceil(seconds * 1000);
}

/* 0: the transfer has ended, in whatever way. */
static int drive(struct transfer *t, CURLM *multi, const struct deadline *d, struct crex_error *err)
{
	struct deadline limited = {.at = CREX_NO_TIMEOUT};
	deadline_limit(&limited, t->req->limit);
	struct curl_waitfd cancel = {.fd = d->cancel ? crex_cancel_fd(d->cancel) : -1, .events = CURL_WAIT_POLLIN};
	for (;;) {
		int running = 0;
		CURLMcode m = curl_multi_perform(multi, &running);
		if (m == CURLM_OK && !running)
			return 0;
		double left = deadline_left(d), limit = deadline_left(&limited);
		if (limit >= 0 && (left < 0 || limit < left))
			left = limit;
		if (m == CURLM_OK)
			m = curl_multi_poll(multi, &cancel, d->cancel ? 1 : 0, wait_ms(left), NULL);
		if (m != CURLM_OK)
			return crex_error_set(err, CREX_E_CONNECTION, "the request to %s failed: %s", t->rt->host.url,
					      curl_multi_strerror(m));
		if (cancel.revents || deadline_left(d) == 0) /* NULL cancels nothing: its revents stay 0 */
			return deadline_check(d, err);
		if (deadline_left(&limited) == 0)
			return crex_error_set(err, CREX_E_CONNECTION,
					      "%s gave no answer within %g s, long after the command's own timeout",
					      t->rt->host.url, t->req->limit);
	}
}

static CURLcode result_of(CURLM *multi)
{
	int left;
	CURLMsg *message;
	while ((message = curl_multi_info_read(multi, &left)))
		if (message->msg == CURLMSG_DONE)
			return message->data.result;
	return CURLE_RECV_ERROR;
}

static enum remote_outcome judge(struct transfer *t, CURLcode code, struct crex_error *err)
{
	if (t->req->form && remote_form_failed(t->req->form, err))
		return REMOTE_FAILED;
	if (t->write_error == -ENOSPC) {
		crex_error_set(err, CREX_E_LIMIT, "the reply of %s is longer than the limit of %zu bytes",
			       t->rt->host.url, t->reply->body.max);
		return REMOTE_FAILED;
	}
	if (t->write_error < 0)
		code = CURLE_OUT_OF_MEMORY;
	if (code == CURLE_OK && !t->head_ended) {
		code = CURLE_PARTIAL_FILE;
		snprintf(t->told, sizeof t->told, "the head of the reply ends too early");
	}
	if (code != CURLE_OK) {
		long os_errno = 0;
		curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
		return remote_explain(t->rt, code, os_errno, t->told, err);
	}
	long status = 0;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	t->reply->status = (int)status;
	return REMOTE_ANSWERED;
}

static enum remote_outcome transfer(struct transfer *t, struct remote_channel *c, const struct deadline *d,
				    struct crex_error *err)
{
	struct header_lines lines;
	curl_mime *mime = NULL;
	if (!c->prepared)
		prepare(t->rt, c->easy);
	c->prepared = true;
	set_request(t);
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, set_headers(&lines, t->rt, t->req));
	if (t->req->form) {
		mime = remote_form_build(t->req->form, t->easy);
		if (!mime) {
			crex_error_set(err, CREX_E_MEMORY, "memory ran out");
			return REMOTE_FAILED;
		}
		curl_easy_setopt(t->easy, CURLOPT_MIMEPOST, mime);
	}
	struct quiet quiet;
	quiet_begin(&quiet, t->rt->host.tls);
	enum remote_outcome outcome = REMOTE_FAILED;
	if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK) {
		crex_error_set(err, CREX_E_MEMORY, "memory ran out");
	} else {
		if (drive(t, c->multi, d, err) == 0)
			outcome = judge(t, result_of(c->multi), err);
		curl_multi_remove_handle(c->multi, c->easy);
	}
	quiet_end(&quiet);
	curl_mime_free(mime);
	return outcome;
}

enum remote_outcome remote_try(struct remote *rt, const struct remote_request *req, const struct deadline *d,
			       struct remote_reply *ret, struct crex_error *err)
{
	*ret = (struct remote_reply){0};
	buf_init(&ret->body, REMOTE_REPLY_MAX);
	struct remote_channel *c = remote_channel_take(rt, err);
	if (!c)
		return REMOTE_FAILED;
	struct transfer t = {.rt = rt, .req = req, .reply = ret, .easy = c->easy};
	enum remote_outcome outcome = transfer(&t, c, d, err);
	forget_request(c, req);
	remote_channel_give(rt, c);
	if (outcome != REMOTE_ANSWERED)
		buf_deinit(&ret->body);
	return outcome;
}

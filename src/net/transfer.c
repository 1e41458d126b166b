/* net/transfer.c: one request, once, with an end.
 *
 * The transfer is driven by curl_multi_poll, which also watches the call's cancel: a deadline or a cancel ends it at
 * once, wherever it stands (a name that is being resolved included). Beside the caller's patience there is only the
 * limit that its user sets; a peer that is gone is found by TCP keepalive.
 *
 * A reply whose head is cut is, to libcurl, a reply without a body: so we note the end of the head ourselves. What a
 * redirect names is never followed, since the caller's secrets would go there too.
 *
 * SIGPIPE: plain sockets are written to with MSG_NOSIGNAL, but OpenSSL writes without; for https the signal is held
 * back from this thread while libcurl works, and one that it has caused is taken away. */
#include "net/transfer.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>

enum { CONNECT_MS = 10000, KEEPALIVE_IDLE_S = 30, KEEPALIVE_INTERVAL_S = 10, RESERVE_MAX = 64 << 20 };

/* --- what libcurl calls -------------------------------------------------------------------------------------- */

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct net_transfer *t = arg;
	size_t len = size * n;
	if (len > 12 && memcmp(line, "HTTP/", 5) == 0) {
		const char *code = memchr(line, ' ', len);
		t->inner.interim = code && code[1] == '1';
		t->inner.head_ended = false;
	} else if (len <= 2 && !t->inner.interim) {
		t->inner.head_ended = true;
	}
	if (t->on_header)
		t->on_header(t->arg, line, len);
	return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct net_transfer *t = arg;
	struct buf *body = t->reply;
	size_t len = size * n;
	curl_off_t whole = -1;
	if (t->on_body)
		return t->on_body(t->arg, data, len) == 0 ? len : 0;
	if (body->len == 0 &&
	    curl_easy_getinfo(t->inner.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &whole) == CURLE_OK && whole > 0 &&
	    whole <= RESERVE_MAX)
		buf_reserve(body, (size_t)whole); /* a failure shows below */
	t->inner.write_error = buf_append(body, data, len);
	return t->inner.write_error < 0 ? 0 : len;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)arg;
	(void)purpose;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

void net_prepare(CURL *e)
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
}

void net_trust(CURL *e, const char *ca_file)
{
	if (!ca_file)
		return;
	curl_easy_setopt(e, CURLOPT_CAINFO, ca_file);
	curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
}

/* --- SIGPIPE -------------------------------------------------------------------------------------------------- */

void net_quiet_begin(struct net_quiet *q, bool wanted)
{
	sigset_t pipe, pending;
	q->on = false;
	if (!wanted || sigpending(&pending) < 0 || sigismember(&pending, SIGPIPE))
		return; /* one that waits already is not ours */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	q->on = pthread_sigmask(SIG_BLOCK, &pipe, &q->before) == 0;
}

void net_quiet_end(struct net_quiet *q)
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

static int wait_ms(double seconds, double most)
{
	return (int)ceil((seconds < 0 || seconds > most ? most : seconds) * 1000);
}

/* An HTTP/2 peer may take nothing for a while although its socket does; libcurl 7.88 then polls for writing and is
 * woken at once, again and again. After some such rounds (no byte moves, nothing was waited for) only input is waited
 * for, since that is what tells of a wider window. */
struct spin {
	curl_off_t moved;
	unsigned rounds;
};

enum { SPIN_ROUNDS = 3, SPIN_SOCKETS = 4 };
#define SPIN_WAIT 0.0001 /* a poll that took longer has waited */
#define SPIN_PAUSE 0.01	 /* at most, should there be more to do than we know */

static int wait_for_input(CURLM *multi, const struct deadline *d, struct crex_error *err)
{
	fd_set in, out, other;
	struct pollfd fds[SPIN_SOCKETS];
	struct deadline limited = *d;
	size_t n = 0;
	int last = -1;
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&other);
	curl_multi_fdset(multi, &in, &out, &other, &last); /* knows none above FD_SETSIZE: then it is the pause alone */
	for (int fd = 0; fd <= last && n < SPIN_SOCKETS; fd++)
		if (FD_ISSET(fd, &in))
			fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
	deadline_limit(&limited, SPIN_PAUSE);
	deadline_poll(&limited, fds, n, NULL);
	return deadline_check(d, err);
}

static int spin_check(struct spin *s, struct net_transfer *t, CURLM *multi, double waited, const struct deadline *d,
		      struct crex_error *err)
{
	curl_off_t up = 0, down = 0;
	curl_easy_getinfo(t->inner.easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(t->inner.easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	bool spins = up > 0 && up + down == s->moved && waited < SPIN_WAIT;
	s->moved = up + down;
	s->rounds = spins ? s->rounds + 1 : 0;
	return s->rounds < SPIN_ROUNDS ? 0 : wait_for_input(multi, d, err);
}

/* 0: the transfer has ended, in whatever way. */
static int drive(struct net_transfer *t, CURLM *multi, const struct deadline *d, struct crex_error *err)
{
	struct deadline limited = {.at = CREX_NO_TIMEOUT};
	deadline_limit(&limited, t->limit);
	struct spin spin = {0, 0};
	struct curl_waitfd cancel = {.fd = d->cancel ? crex_cancel_fd(d->cancel) : -1, .events = CURL_WAIT_POLLIN};
	for (;;) {
		int running = 0;
		CURLMcode m = curl_multi_perform(multi, &running);
		if (m == CURLM_OK && !running)
			return 0;
		double left = deadline_left(d), limit = deadline_left(&limited);
		if (limit >= 0 && (left < 0 || limit < left))
			left = limit;
		double began = clock_now();
		if (m == CURLM_OK)
			m = curl_multi_poll(multi, &cancel, d->cancel ? 1 : 0,
					    wait_ms(left, t->look_up > 0 ? t->look_up : 60), NULL);
		if (m != CURLM_OK)
			return crex_error_set(err, CREX_E_CONNECTION, "the request to %s failed: %s", t->peer,
					      curl_multi_strerror(m));
		if (cancel.revents || deadline_left(d) == 0) /* NULL cancels nothing: its revents stay 0 */
			return deadline_check(d, err);
		if (deadline_left(&limited) == 0)
			return crex_error_set(err, CREX_E_CONNECTION, "%s gave no answer within %g s", t->peer,
					      t->limit);
		if (spin_check(&spin, t, multi, clock_now() - began, d, err) < 0)
			return -1;
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

static int judge(struct net_transfer *t, CURLcode code, struct crex_error *err)
{
	long status = 0;
	if (t->inner.write_error == -ENOSPC)
		return crex_error_set(err, CREX_E_LIMIT, "the reply of %s is longer than the limit of %zu bytes",
				      t->peer, t->reply->max);
	if (t->inner.write_error < 0)
		code = CURLE_OUT_OF_MEMORY;
	if (code == CURLE_OK && !t->inner.head_ended && !t->inner.connect_only) {
		code = CURLE_PARTIAL_FILE;
		snprintf(t->told, sizeof t->told, "the head of the reply ends too early");
	}
	curl_easy_getinfo(t->inner.easy, CURLINFO_OS_ERRNO, &t->os_errno);
	curl_easy_getinfo(t->inner.easy, CURLINFO_RESPONSE_CODE, &status);
	t->code = code;
	t->status = (int)status;
	return 0;
}

int net_perform(struct net_channel *c, struct net_transfer *t, const struct deadline *d, struct crex_error *err)
{
	struct net_quiet quiet;
	int r = -1;
	t->inner.easy = c->easy;
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, t->told);
	curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, t);
	net_quiet_begin(&quiet, t->tls);
	if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK) {
		crex_error_set(err, CREX_E_MEMORY, "memory ran out");
	} else {
		r = drive(t, c->multi, d, err);
		if (r == 0)
			r = judge(t, result_of(c->multi), err);
		if (!t->inner.connect_only) /* curl_easy_send wants the handle where it was connected */
			curl_multi_remove_handle(c->multi, c->easy);
	}
	net_quiet_end(&quiet);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, NULL);
	return r;
}

int net_connect(struct net_channel *c, struct net_transfer *t, const struct deadline *d, struct crex_error *err)
{
	t->inner.connect_only = true;
	curl_easy_setopt(c->easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(c->easy, CURLOPT_HTTPPROXYTUNNEL, 1L); /* a proxy might read what it should only pass on */
	return net_perform(c, t, d, err);
}

/* runtime/remote/stream.c: a stream at a server: an upgraded connection for the stream client.
 *
 * libcurl makes the connection (TLS, proxies, Unix sockets are its part) and then only carries bytes. The request and
 * the head of its answer are ours: libcurl knows no upgrade to a protocol of ours. The client gives each connection to
 * one thread at a time, as libcurl wants it. */
#include "base/cleanup.h"
#include "net/transfer.h"
#include "runtime/remote/remote.h"
#include "runtime/stream_client.h"
#include "wire/client.h"
#include "wire/frame.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 64 * 1024, BODY_MAX = 64 * 1024, ANSWER_S = 30 };

struct connection {
	struct net_channel *channel;
	bool tls;
	int fd;
};

/* ---- bytes ---- */

static ssize_t carried(CURLcode code, size_t n, struct crex_error *err)
{
	if (code == CURLE_OK)
		return (ssize_t)n;
	if (code == CURLE_AGAIN)
		return -EAGAIN;
	crex_error_set(err, CREX_E_CONNECTION, "the connection was lost while the program was running: %s",
		       curl_easy_strerror(code));
	return -EPIPE;
}

static ssize_t connection_recv(void *arg, char *data, size_t len, struct crex_error *err)
{
	struct connection *c = arg;
	size_t n = 0;
	struct net_quiet quiet;
	net_quiet_begin(&quiet, c->tls); /* TLS may have to write before it can read */
	CURLcode code = curl_easy_recv(c->channel->easy, data, len, &n);
	net_quiet_end(&quiet);
	return carried(code, n, err);
}

static ssize_t connection_send(void *arg, const char *data, size_t len, struct crex_error *err)
{
	struct connection *c = arg;
	size_t n = 0;
	struct net_quiet quiet;
	net_quiet_begin(&quiet, c->tls);
	CURLcode code = curl_easy_send(c->channel->easy, data, len, &n);
	net_quiet_end(&quiet);
	return carried(code, n, err);
}

static void connection_close(void *arg)
{
	struct connection *c = arg;
	struct net_quiet quiet;
	net_quiet_begin(&quiet, c->tls);
	net_channel_free(c->channel);
	net_quiet_end(&quiet);
	free(c);
}

static const struct stream_duplex duplex = {connection_recv, connection_send, connection_close};

static int wait_for(const struct connection *c, short events, const struct deadline *d, struct crex_error *err)
{
	struct pollfd fd = {.fd = c->fd, .events = events};
	return deadline_poll(d, &fd, 1, err) < 0 ? -1 : 0;
}

/* ---- the upgrade ---- */

/* The URL without scheme: its authority, which ends at *ret_path. */
static const char *authority(const char *url, const char **ret_path)
{
	const char *at = strstr(url, "://");
	at = at ? at + 3 : url;
	*ret_path = at + strcspn(at, "/");
	return at;
}

static int write_request(const struct remote *rt, struct buf *out)
{
	const char *path, *host = authority(rt->host.url, &path);
	bool has_host = false;
	for (const struct curl_slist *h = rt->headers; h; h = h->next)
		has_host = has_host || strncasecmp(h->data, "host:", 5) == 0;
	int r = buf_printf(out, "GET %s/stream HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: " FRAME_PROTOCOL "\r\n",
			   path);
	if (r == 0 && !has_host)
		r = buf_printf(out, "Host: %.*s\r\n", (int)(path - host), host);
	for (const struct curl_slist *h = rt->headers; h && r == 0; h = h->next) {
		size_t name = strcspn(h->data, ":;"); /* "Name;" is libcurl's way to write an empty one */
		r = buf_printf(out, "%.*s:%s\r\n", (int)name, h->data, h->data[name] ? h->data + name + 1 : "");
	}
	return r < 0 ? r : buf_append_str(out, "\r\n");
}

static int send_request(struct connection *c, const struct buf *text, const struct deadline *d, struct crex_error *err)
{
	for (size_t sent = 0; sent < text->len;) {
		ssize_t n = connection_send(c, text->data + sent, text->len - sent, err);
		if (n == -EAGAIN) {
			if (wait_for(c, POLLOUT, d, err) < 0)
				return -1;
			continue;
		}
		if (n < 0)
			return -1;
		sent += (size_t)n;
	}
	return 0;
}

/* More of the answer, 1; 0: it has ended. */
static int receive(struct connection *c, struct buf *in, const struct deadline *d, struct crex_error *err)
{
	char data[4096];
	for (;;) {
		ssize_t n = connection_recv(c, data, sizeof data, err);
		if (n == -EAGAIN) {
			if (wait_for(c, POLLIN, d, err) < 0)
				return -1;
			continue;
		}
		if (n <= 0)
			return n < 0 ? -1 : 0;
		int r = buf_append(in, data, (size_t)n);
		return r < 0 ? crex_error_set(err, CREX_E_PROTOCOL, "the head of the server's reply is too long") : 1;
	}
}

/* The value of a header in a head, 0 when there is none or it is no number. */
static size_t content_length(const char *head, size_t len)
{
	static const char name[] = "\r\ncontent-length:";
	for (const char *at = head; (size_t)(at - head) + sizeof name < len; at++)
		if (strncasecmp(at, name, sizeof name - 1) == 0)
			return strtoul(at + sizeof name - 1, NULL, 10);
	return 0;
}

static int read_refusal(const struct remote *rt, int status, struct crex_str body, struct crex_error *err)
{
	if (status == 404 || status == 405 || status == 426)
		return crex_error_set(err, CREX_E_UNSUPPORTED,
				      "%s: the server has no streams (" FRAME_PROTOCOL "): execute does the job there",
				      rt->host.url);
	if (status == 200) /* something that answers to everything */
		return crex_error_set(err, CREX_E_PROTOCOL, "%s: the server didn't upgrade the connection",
				      rt->host.url);
	wire_read_error(status, body, err);
	if (status >= 502 && status <= 504)
		err->code = CREX_E_CONNECTION;
	return crex_error_prefix(err, "%s: ", rt->host.url);
}

/* Reads the head of the answer; in keeps what came behind it. */
static int read_answer(const struct remote *rt, struct connection *c, struct buf *in, const struct deadline *d,
		       struct crex_error *err)
{
	const char *end;
	int r = 1;
	while (!(end = in->len ? memmem(in->data, in->len, "\r\n\r\n", 4) : NULL))
		if ((r = receive(c, in, d, err)) <= 0)
			return r < 0 ? -1
				     : crex_error_set(err, CREX_E_CONNECTION, "%s closed the connection", rt->host.url);
	size_t head = (size_t)(end - in->data) + 4;
	if (in->len < 12 || memcmp(in->data, "HTTP/1.", 7) != 0)
		return crex_error_set(err, CREX_E_PROTOCOL, "what listens at %s is no HTTP server", rt->host.url);
	int status = (int)strtol(in->data + 9, NULL, 10);
	if (status != 101) {
		size_t whole = head + content_length(in->data, head);
		while (in->len < whole && in->len < head + BODY_MAX && (r = receive(c, in, d, err)) > 0)
			;
		crex_error_clear(err);
		return read_refusal(rt, status, (struct crex_str){in->data + head, in->len - head}, err);
	}
	buf_consume(in, head);
	return 0;
}

static int upgrade(const struct remote *rt, struct connection *c, struct buf *in, const struct deadline *d,
		   struct crex_error *err)
{
	cleanup_buf struct buf request;
	buf_init(&request, 1 << 20);
	int r = write_request(rt, &request);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	struct deadline answer = *d;
	deadline_limit(&answer, ANSWER_S);
	if (send_request(c, &request, &answer, err) == 0 && read_answer(rt, c, in, &answer, err) == 0)
		return 0;
	if (err->code == CREX_E_DEADLINE && deadline_left(d) != 0)
		crex_error_set(err, CREX_E_CONNECTION, "%s gave no answer within %d s", rt->host.url, ANSWER_S);
	return -1;
}

static int reach(const struct remote *rt, struct connection *c, const struct deadline *d, struct crex_error *err)
{
	struct net_transfer t = {.peer = rt->host.url, .tls = c->tls, .limit = CREX_NO_TIMEOUT};
	c->channel = net_channel_new(err);
	if (!c->channel)
		return -1;
	net_prepare(c->channel->easy);
	curl_easy_setopt(c->channel->easy, CURLOPT_URL, rt->host.url);
	remote_set_way(rt, c->channel->easy);
	if (net_connect(c->channel, &t, d, err) < 0)
		return -1;
	if (t.code != CURLE_OK) {
		net_explain(&t, "ca_file", err);
		return -1;
	}
	curl_socket_t fd = -1;
	curl_easy_getinfo(c->channel->easy, CURLINFO_ACTIVESOCKET, &fd);
	c->fd = fd;
	return 0;
}

int remote_open_stream(struct crex_runtime *base, const struct crex_stream_request *req, const struct crex_call *call,
		       struct crex_stream **ret, struct crex_error *err)
{
	struct remote *rt = (struct remote *)base; /* the base stands first */
	struct deadline d;
	deadline_begin(&d, call);
	struct connection *c = calloc(1, sizeof *c);
	if (!c)
		return crex_error_set_errno(err, ENOMEM, NULL);
	c->tls = rt->host.tls;
	cleanup_buf struct buf in;
	buf_init(&in, HEAD_MAX + BODY_MAX);
	if (reach(rt, c, &d, err) < 0 || upgrade(rt, c, &in, &d, err) < 0) {
		connection_close(c);
		return -1;
	}
	const struct crex_call rest = deadline_rest(&d);
	return stream_client_open(&duplex, c, c->fd, (struct crex_str){in.data, in.len}, req, &rest, ret, err);
}

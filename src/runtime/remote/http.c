/* runtime/remote/http.c: one request to the server, once, with an end.
 *
 * net/transfer.c carries it out, with a limit of its own for how long the server may take: the command's own timeout
 * with a margin, or none. Here is what a request consists of; an open handle keeps what all of a runtime's requests
 * share. */
#include "runtime/remote/remote.h"

#include <stdio.h>

void remote_set_way(const struct remote *rt, CURL *e)
{
	if (rt->unix_socket)
		curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, rt->unix_socket);
	if (rt->unix_socket || rt->host.loopback)
		curl_easy_setopt(e, CURLOPT_PROXY, "");
	net_trust(e, rt->ca_file);
}

static void set_request(const struct remote *rt, const struct remote_request *req, CURL *e)
{
	char url[8192 * 2];
	snprintf(url, sizeof url, "%s%s", rt->host.url, req->path); /* host.c bounds it */
	curl_easy_setopt(e, CURLOPT_URL, url);
	if (!req->post) {
		curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
	} else if (!req->form) {
		curl_easy_setopt(e, CURLOPT_POST, 1L);
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body.len);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, req->body.len ? req->body.ptr : "");
	}
}

/* Nothing of a request outlives it in the handle; a form leaves too much behind to be undone piece by piece. */
static void forget_request(struct net_channel *c, const struct remote_request *req)
{
	if (req->form) {
		curl_easy_reset(c->easy);
		c->prepared = false;
		return;
	}
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

static enum remote_outcome judge(const struct remote *rt, const struct remote_request *req, int performed,
				 const struct net_transfer *t, struct remote_reply *ret, struct crex_error *err)
{
	if (req->form && remote_form_failed(req->form, err))
		return REMOTE_FAILED;
	if (performed < 0)
		return REMOTE_FAILED;
	if (t->code != CURLE_OK)
		return remote_explain(rt, t, err);
	ret->status = t->status;
	return REMOTE_ANSWERED;
}

static enum remote_outcome transfer(struct remote *rt, const struct remote_request *req, struct net_channel *c,
				    const struct deadline *d, struct remote_reply *ret, struct crex_error *err)
{
	struct header_lines lines;
	curl_mime *mime = NULL;
	if (!c->prepared) {
		net_prepare(c->easy);
		remote_set_way(rt, c->easy);
	}
	c->prepared = true;
	set_request(rt, req, c->easy);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, set_headers(&lines, rt, req));
	if (req->form) {
		mime = remote_form_build(req->form, c->easy);
		if (!mime) {
			crex_error_set(err, CREX_E_MEMORY, "memory ran out");
			return REMOTE_FAILED;
		}
		curl_easy_setopt(c->easy, CURLOPT_MIMEPOST, mime);
	}
	struct net_transfer t = {.peer = rt->host.url, .tls = rt->host.tls, .limit = req->limit, .reply = &ret->body};
	int performed = net_perform(c, &t, d, err);
	enum remote_outcome outcome = judge(rt, req, performed, &t, ret, err);
	curl_mime_free(mime);
	return outcome;
}

enum remote_outcome remote_try(struct remote *rt, const struct remote_request *req, const struct deadline *d,
			       struct remote_reply *ret, struct crex_error *err)
{
	*ret = (struct remote_reply){0};
	buf_init(&ret->body, req->short_reply ? REMOTE_SHORT_REPLY_MAX : REMOTE_REPLY_MAX);
	struct net_channel *c = net_pool_take(&rt->pool, err);
	if (!c)
		return REMOTE_FAILED;
	enum remote_outcome outcome = transfer(rt, req, c, d, ret, err);
	forget_request(c, req);
	net_pool_give(&rt->pool, c);
	if (outcome != REMOTE_ANSWERED)
		buf_deinit(&ret->body);
	return outcome;
}

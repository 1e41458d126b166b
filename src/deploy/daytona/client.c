/* deploy/daytona/client.c: one call of Daytona: JSON over HTTP, repeated where that may help.
 *
 * What a gateway or a network does for a moment (429, 5xx, a connection that breaks) is answered with a pause and a
 * repeat, a few times; how long the pause is, they may say themselves. A call that must not be carried out twice is
 * repeated only where it certainly hasn't been once; for it libcurl must not repeat either, which it would do on a kept
 * connection that turns out to be dead, so it gets a new one. Where it stays open whether such a call was carried out,
 * the reply says so, and the caller finds out.
 *
 * The key goes to the API and to what the API names as the sandbox's toolbox, by https alone where the API itself is
 * reached so. It is never in a message, also when the other side repeats it in one of its own. */
#include "deploy/daytona/client.h"

#include "base/cleanup.h"
#include "base/keep.h"
#include "base/random.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CALL_SECONDS 30.0
#define PAUSE_FIRST 0.2
#define PAUSE_MAX 2.0
#define ASKED_PAUSE_MAX 60.0

enum {
	TRIES = 5,
	URL_MAX = 4096,
	LINE_MAX_BYTES = 8192,
	REPLY_MAX = 8 << 20,
	TEXT_MAX_BYTES = 256 << 10,
	QUOTE_BYTES = 600
};

int daytona_client_init(struct daytona_client *c, const struct daytona_account *account, struct crex_error *err)
{
	*c = (struct daytona_client){account, net_channel_new(err)};
	return c->channel ? 0 : -1;
}

void daytona_client_deinit(struct daytona_client *c)
{
	c->channel = net_channel_free(c->channel);
}

void daytona_reply_deinit(struct daytona_reply *r)
{
	json_decref(r->json);
	crex_text_clear(&r->text);
	*r = (struct daytona_reply){.status = 0};
}

const char *daytona_string(const json_t *object, const char *field)
{
	const json_t *value = json_object_get(object, field);
	const char *text = json_string_value(value);
	if (!text || strlen(text) != json_string_length(value))
		return NULL;
	for (const char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			return NULL;
	return text;
}

char *daytona_escape(const char *text)
{
	struct buf out;
	buf_init(&out, 3 * strlen(text) + 1);
	int r = buf_append_str(&out, "");
	for (const char *c = text; r == 0 && *c; c++)
		r = isalnum((unsigned char)*c) || strchr("-._~", *c)
			    ? buf_append_char(&out, *c)
			    : buf_printf(&out, "%%%02X", (unsigned)(unsigned char)*c);
	if (r == 0)
		return buf_steal(&out, NULL);
	buf_deinit(&out);
	return NULL;
}

/* ---- one try ---- */

struct
try {
	const struct daytona_request *request;
	struct net_transfer net;
	char url[URL_MAX];
	struct curl_slist *lines;
	curl_mime *form;
	char *body; /* owned */
	struct keep answer;
	int failure;	    /* of the keeping */
	double asked_pause; /* negative: none was asked for */
};

static void on_header(void *arg, const char *line, size_t len)
{
	static const char name[] = "retry-after:";
	struct try *t = arg;
	char value[16];
	if (len < sizeof name || strncasecmp(line, name, sizeof name - 1) != 0)
		return;
	snprintf(value, sizeof value, "%.*s", (int)(len - sizeof name + 1), line + sizeof name - 1);
	char *end = NULL;
	double seconds = strtod(value, &end);
	if (end != value && seconds >= 0) /* the other form, a date, is as if none was given */
		t->asked_pause = seconds < ASKED_PAUSE_MAX ? seconds : ASKED_PAUSE_MAX;
}

static int on_body(void *arg, const char *data, size_t len)
{
	struct try *t = arg;
	t->failure = keep_append(&t->answer, data, len);
	return t->failure;
}

static int add_line(struct try *t, const char *name, const char *value)
{
	char line[LINE_MAX_BYTES];
	if (snprintf(line, sizeof line, "%s: %s", name, value) >= (int)sizeof line)
		return -ENOSPC;
	struct curl_slist *more = curl_slist_append(t->lines, line);
	explicit_bzero(line, sizeof line);
	if (!more)
		return -ENOMEM;
	t->lines = more;
	return 0;
}

static int add_lines(struct try *t, const struct daytona_account *a)
{
	char bearer[LINE_MAX_BYTES];
	int r = snprintf(bearer, sizeof bearer, "Bearer %s", a->key) < (int)sizeof bearer ? 0 : -ENOSPC;
	if (r == 0)
		r = add_line(t, "Authorization", bearer);
	explicit_bzero(bearer, sizeof bearer);
	if (r == 0)
		r = add_line(t, "X-Daytona-Source", "crex");
	if (r == 0 && a->organization)
		r = add_line(t, "X-Daytona-Organization-ID", a->organization);
	if (r == 0 && t->request->body)
		r = add_line(t, "Content-Type", "application/json");
	struct curl_slist *more = r == 0 ? curl_slist_append(t->lines, "Expect:") : NULL;
	if (more)
		t->lines = more;
	return more ? 0 : r < 0 ? r : -ENOMEM;
}

static int add_form(struct try *t, CURL *easy)
{
	t->form = curl_mime_init(easy);
	for (const struct daytona_part *p = t->request->parts; t->form && p->name; p++) {
		curl_mimepart *part = curl_mime_addpart(t->form);
		if (!part || curl_mime_name(part, p->name) != CURLE_OK ||
		    (p->text ? curl_mime_data(part, p->text, CURL_ZERO_TERMINATED)
			     : curl_mime_filedata(part, p->file)) != CURLE_OK ||
		    (p->file_name && curl_mime_filename(part, p->file_name) != CURLE_OK))
			return -ENOMEM;
	}
	return t->form ? 0 : -ENOMEM;
}

static int set_address(struct try *t, const struct daytona_account *a, CURL *easy, struct crex_error *err)
{
	const char *base = t->request->base ? t->request->base : a->api.url;
	struct remote_host host;
	if (t->request->base && a->api.tls && strncasecmp(base, "https://", 8) != 0)
		return crex_error_set(err, CREX_E_PROTOCOL,
				      "the API of Daytona names an address that is no https: %.200s", base);
	if (remote_host_parse(base, 0, &host, err) < 0)
		return -1;
	bool fits = snprintf(t->url, sizeof t->url, "%s%s", host.url, t->request->path) < (int)sizeof t->url;
	t->net.tls = host.tls;
	net_prepare(easy);
	net_trust(easy, a->ca_file);
	curl_easy_setopt(easy, CURLOPT_URL, t->url);
	if (host.loopback)
		curl_easy_setopt(easy, CURLOPT_PROXY, "");
	remote_host_deinit(&host);
	t->net.peer = base;
	return fits ? 0 : crex_error_set(err, CREX_E_LIMIT, "the address is too long: %.200s...", t->url);
}

static int prepare(struct try *t, const struct daytona_account *a, CURL *easy, struct crex_error *err)
{
	const struct daytona_request *q = t->request;
	if (set_address(t, a, easy, err) < 0)
		return -1;
	int r = add_lines(t, a);
	if (r == 0 && q->parts)
		r = add_form(t, easy);
	if (r == 0 && q->body && !(t->body = json_dumps(q->body, JSON_COMPACT)))
		r = -ENOMEM;
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	if (t->form) {
		curl_easy_setopt(easy, CURLOPT_MIMEPOST, t->form);
	} else if (t->body || strcmp(q->method, "POST") == 0) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, t->body ? t->body : "");
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(t->body ? strlen(t->body) : 0));
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, q->method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->lines);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, q->once ? 1L : 0L);
	return 0;
}

static void end_try(struct try *t, CURL *easy)
{
	curl_easy_reset(easy);
	for (struct curl_slist *l = t->lines; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(t->lines);
	curl_mime_free(t->form);
	if (t->body)
		explicit_bzero(t->body, strlen(t->body)); /* the user's environment was in it */
	free(t->body);
	keep_deinit(&t->answer);
}

/* ---- how it went ---- */

enum verdict { DONE, FAILED, AGAIN, AGAIN_BY_RIGHT /* certainly not carried out */ };

static bool never_reached(CURLcode code)
{
	return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
	       code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_SSL_CONNECT_ERROR ||
	       code == CURLE_PEER_FAILED_VERIFICATION;
}

/* What they say about a refusal, in one line. */
static void quote(const struct try *t, const char *key, char ret[QUOTE_BYTES])
{
	const struct buf *said = &t->answer.buf;
	json_t *json = said->len ? json_loadb(said->data, said->len, 0, NULL) : NULL;
	const json_t *message = json_object_get(json, "message");
	cleanup_free char *list = json_is_array(message) ? json_dumps(message, JSON_COMPACT) : NULL;
	const char *text = list				? list
			   : json_string_value(message) ? json_string_value(message)
			   : said->data			? said->data
							: "";
	snprintf(ret, QUOTE_BYTES, "%s%s", *text ? ": " : "", strstr(text, key) ? "(a text with the key in it)" : text);
	for (char *c = ret; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = ' ';
	json_decref(json);
}

static int refuse(const struct try *t, const struct daytona_account *a, int status, struct crex_error *err)
{
	char said[QUOTE_BYTES];
	quote(t, a->key, said);
	if (status == 401)
		return crex_error_set(err, CREX_E_AUTHENTICATION,
				      "Daytona refuses the API key (DAYTONA_API_KEY, field 'api_key')%s", said);
	if (status == 403)
		return crex_error_set(err, CREX_E_PERMISSION, "Daytona doesn't permit it (HTTP 403)%s", said);
	if (status >= 300 && status < 400)
		return crex_error_set(err, CREX_E_PROTOCOL,
				      "%s answers with a redirect (HTTP %d): is it Daytona's API?", t->net.peer,
				      status);
	return crex_error_set(err, CREX_E_SWEREX, "HTTP %d%s", status, said);
}

/* A status that is no success. */
static enum verdict judge_status(const struct try *t, int status)
{
	const struct daytona_request *q = t->request;
	if (status == 429)
		return AGAIN_BY_RIGHT;
	if (q->expects_busy && status >= 400 && status != 401 && status != 403 && status != 404)
		return AGAIN;
	/* a toolbox says 500 for what would be 4xx elsewhere */
	if (status == 408 || status > 500 || (status == 500 && !q->base))
		return AGAIN;
	return FAILED;
}

static enum verdict read_answer(struct try *t, struct daytona_reply *ret, struct crex_error *err)
{
	if (t->request->wants_text) {
		ret->text.data = keep_steal(&t->answer, &ret->text.len, &(bool){false});
		if (ret->text.data)
			return DONE;
		crex_error_set_errno(err, ENOMEM, NULL);
		return FAILED;
	}
	const struct buf *said = &t->answer.buf;
	if (said->len == 0)
		return DONE;
	ret->json = json_loadb(said->data, said->len, 0, NULL);
	if (ret->json)
		return DONE;
	crex_error_set(err, CREX_E_PROTOCOL, "%s answers with something else than JSON: is it Daytona's API?",
		       t->net.peer);
	return FAILED;
}

static enum verdict judge(struct try *t, const struct daytona_account *a, struct daytona_reply *ret,
			  struct crex_error *err)
{
	if (t->failure < 0) {
		crex_error_set_errno(err, -t->failure, NULL);
		return FAILED;
	}
	if (t->net.code != CURLE_OK) {
		bool may_pass = net_explain(&t->net, "ca_file", err);
		ret->unsure = !never_reached(t->net.code);
		return !may_pass ? FAILED : ret->unsure ? AGAIN : AGAIN_BY_RIGHT;
	}
	ret->status = t->net.status;
	if (ret->status >= 200 && ret->status < 300) {
		enum verdict v = read_answer(t, ret, err);
		ret->unsure = v != DONE;
		return v;
	}
	enum verdict v = judge_status(t, ret->status);
	ret->unsure = v == AGAIN;
	refuse(t, a, ret->status, err);
	return v;
}

static enum verdict try_once(struct daytona_client *c, const struct daytona_request *q, const struct deadline *deadline,
			     struct daytona_reply *ret, double *ret_pause, struct crex_error *err)
{
	struct try t = {.request = q, .asked_pause = -1};
	t.net = (struct net_transfer){
		.limit = q->seconds > 0 ? q->seconds : CALL_SECONDS,
		.on_body = on_body,
		.on_header = on_header,
		.arg = &t,
	};
	CURL *easy = c->channel->easy;
	enum verdict v = FAILED;
	*ret = (struct daytona_reply){.status = 0};
	keep_init(&t.answer, q->wants_text ? TEXT_MAX_BYTES : REPLY_MAX);
	curl_easy_reset(easy);
	if (prepare(&t, c->account, easy, err) == 0) {
		if (net_perform(c->channel, &t.net, deadline, err) == 0) {
			v = judge(&t, c->account, ret, err);
		} else {
			ret->unsure = true;
			v = err->code == CREX_E_CONNECTION ? AGAIN : FAILED;
		}
	}
	*ret_pause = t.asked_pause;
	end_try(&t, easy);
	return v;
}

int daytona_call(struct daytona_client *c, const struct daytona_request *q, const struct deadline *deadline,
		 struct daytona_reply *ret, struct crex_error *err)
{
	double pause = PAUSE_FIRST;
	*ret = (struct daytona_reply){.status = 0};
	for (int i = 1;; i++) {
		double asked;
		if (deadline_check(deadline, err) < 0)
			return -1;
		bool was_unsure = ret->unsure;
		daytona_reply_deinit(ret);
		enum verdict v = try_once(c, q, deadline, ret, &asked, err);
		if (v == DONE)
			return 0;
		ret->unsure |= was_unsure;
		bool repeats = v == AGAIN_BY_RIGHT || (v == AGAIN && !q->once);
		if (!repeats || (i >= TRIES && !q->expects_busy))
			return crex_error_prefix(err, "daytona: %s: ", q->what);
		double left = deadline_left(deadline), wait = asked >= 0 ? asked : random_jitter(pause);
		if (left >= 0 && wait >= left) /* it would be too late: what they said tells more than "too late" */
			return crex_error_prefix(err, "daytona: %s: ", q->what);
		crex_error_clear(err);
		if (deadline_pause(deadline, wait, err) < 0)
			return -1;
		pause = pause * 2 < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
	}
}

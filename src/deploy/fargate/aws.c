/* deploy/fargate/aws.c: one call to its end.
 *
 * libcurl signs (CURLOPT_AWS_SIGV4); we say region and service, so that an endpoint of one's own is signed for as well.
 * Everything is a POST with the parameters in its body.
 *
 * A call is repeated after a lost connection, a failure of AWS, and throttling, after pauses that double and of which a
 * random part is taken away, so that many clients don't come back together; throttling is waited out longer, with
 * longer pauses. Credentials that AWS calls expired are fetched anew once, where they come from a place that renews
 * them. */
#include "deploy/fargate/aws.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/fargate/profile.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { REPLY_MAX = 64 << 20, TRIES = 5, THROTTLE_TRIES = 10 };
#define ANSWER_SECONDS 30.0
#define PAUSE_FIRST 0.1
#define PAUSE_MAX 2.0
#define THROTTLE_FIRST 0.3
#define THROTTLE_MAX 8.0

static int find_region(const char *given, const char *profile, char **ret, struct crex_error *err)
{
	const char *variables[] = {given, getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION")};
	*ret = NULL;
	for (size_t i = 0; i < sizeof variables / sizeof *variables && !*ret; i++)
		if (variables[i] && *variables[i] && !(*ret = strdup(variables[i])))
			return crex_error_set_errno(err, ENOMEM, NULL);
	if (!*ret && profile_get(profile, "region", ret, err) < 0)
		return -1;
	if (!*ret || !**ret) {
		free(*ret);
		*ret = NULL;
		return crex_error_set(err, CREX_E_CONFIG,
				      "fargate: field 'region': no AWS region is given; set it, or AWS_REGION, or the "
				      "profile's");
	}
	if (strspn(*ret, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(*ret) && strlen(*ret) <= 32)
		return 0;
	crex_error_set(err, CREX_E_CONFIG, "fargate: field 'region' must be the name of a region, as us-east-1");
	free(*ret);
	*ret = NULL;
	return -1;
}

int aws_init(struct aws *a, const char *region, const char *endpoint, const char *profile, struct crex_error *err)
{
	char url[AWS_URL_MAX];
	const char *ca_file = getenv("AWS_CA_BUNDLE");
	*a = (struct aws){0};
	if (find_region(region, profile, &a->region, err) < 0)
		return -1;
	bool sound = aws_endpoint(AWS_ECS, a->region, endpoint, url) == 0;
	a->endpoint = endpoint ? strdup(endpoint) : NULL;
	a->ca_file = ca_file && *ca_file ? strdup(ca_file) : NULL;
	if (sound && (!endpoint || a->endpoint) && (!ca_file || !*ca_file || a->ca_file)) {
		credentials_init(&a->credentials, profile);
		net_pool_init(&a->pool);
		return 0;
	}
	if (sound)
		crex_error_set_errno(err, ENOMEM, NULL);
	else
		crex_error_set(err, CREX_E_CONFIG,
			       "fargate: field 'endpoint_url' (or AWS_ENDPOINT_URL) must be an http or https address");
	free(a->region);
	free(a->endpoint);
	free(a->ca_file);
	*a = (struct aws){0};
	return -1;
}

void aws_deinit(struct aws *a)
{
	if (!a->region)
		return;
	net_pool_deinit(&a->pool);
	credentials_deinit(&a->credentials);
	free(a->region);
	free(a->endpoint);
	free(a->ca_file);
	*a = (struct aws){0};
}

/* ---- one try ---- */

struct call {
	struct aws *aws;
	enum aws_service service;
	const char *operation;
	struct crex_str body;
	char url[AWS_URL_MAX + 1];
	bool renew; /* the credentials */
};

enum outcome { ANSWERED, REFUSED, BROKEN, FAILED };

/* Header lines in one list; false: memory ran out. */
static bool add_line(struct curl_slist **list, const char *fmt, const char *a, const char *b)
{
	char line[16384];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	int len = snprintf(line, sizeof line, fmt, a, b);
#pragma GCC diagnostic pop
	struct curl_slist *longer = len > 0 && len < (int)sizeof line ? curl_slist_append(*list, line) : NULL;
	explicit_bzero(line, sizeof line);
	if (longer)
		*list = longer;
	return longer;
}

static struct curl_slist *headers_of(const struct call *c, const struct aws_key *key)
{
	const struct aws_service_facts *facts = aws_service_facts(c->service);
	struct curl_slist *list = NULL;
	bool made = facts->protocol == AWS_JSON
			    ? add_line(&list, "Content-Type: application/x-amz-json-1.1%s%s", "", "") &&
				      add_line(&list, "X-Amz-Target: %s.%s", facts->version, c->operation)
			    : add_line(&list, "Content-Type: application/x-www-form-urlencoded%s%s", "", "");
	if (made && key->token)
		made = add_line(&list, "X-Amz-Security-Token: %s%s", key->token, "");
	if (made)
		return list;
	curl_slist_free_all(list);
	return NULL;
}

static void set_call(const struct call *c, struct net_channel *channel, const struct aws_key *key,
		     struct curl_slist *lines)
{
	CURL *e = channel->easy;
	char sign[128];
	if (!channel->prepared) {
		net_prepare(e);
		net_trust(e, c->aws->ca_file);
		channel->prepared = true;
	}
	snprintf(sign, sizeof sign, "aws:amz:%s:%s", aws_signing_region(c->service, c->aws->region),
		 aws_service_facts(c->service)->name);
	curl_easy_setopt(e, CURLOPT_URL, c->url);
	curl_easy_setopt(e, CURLOPT_AWS_SIGV4, sign);
	curl_easy_setopt(e, CURLOPT_USERNAME, key->id);
	curl_easy_setopt(e, CURLOPT_PASSWORD, key->secret);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, lines);
	curl_easy_setopt(e, CURLOPT_POST, 1L);
	curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.len);
	curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body.ptr);
}

/* What the handle would go on to point at. */
static void forget_call(CURL *e)
{
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(e, CURLOPT_POSTFIELDS, NULL);
	curl_easy_setopt(e, CURLOPT_PASSWORD, NULL);
}

static enum outcome perform(struct call *c, const struct aws_key *key, const struct deadline *d, struct buf *reply,
			    struct aws_refusal *why, struct crex_error *err)
{
	struct curl_slist *lines = headers_of(c, key);
	struct net_channel *channel = lines ? net_pool_take(&c->aws->pool, err) : NULL;
	if (!channel) {
		curl_slist_free_all(lines);
		if (err->code == CREX_OK)
			crex_error_set_errno(err, ENOMEM, NULL);
		return FAILED;
	}
	set_call(c, channel, key, lines);
	struct net_transfer t = {
		.peer = c->url, .tls = strncmp(c->url, "https", 5) == 0, .limit = ANSWER_SECONDS, .reply = reply};
	enum outcome outcome = ANSWERED;
	if (net_perform(channel, &t, d, err) < 0)
		outcome = err->code == CREX_E_CONNECTION ? BROKEN : FAILED;
	else if (t.code != CURLE_OK)
		outcome = net_explain(&t, "AWS_CA_BUNDLE", err) ? BROKEN : FAILED;
	forget_call(channel->easy);
	net_pool_give(&c->aws->pool, channel);
	curl_slist_free_all(lines);
	if (outcome != ANSWERED || (t.status >= 200 && t.status < 300))
		return outcome;
	aws_refusal_read(why, t.status, reply->data ? reply->data : "", reply->len);
	return REFUSED;
}

static enum outcome try_once(struct call *c, const struct deadline *d, struct buf *reply, struct aws_refusal *why,
			     struct crex_error *err)
{
	cleanup_aws_key struct aws_key key = {0};
	*why = (struct aws_refusal){0};
	buf_clear(reply);
	if (credentials_get(&c->aws->credentials, c->renew, d, &key, err) < 0)
		return FAILED;
	c->renew = false;
	return perform(c, &key, d, reply, why, err);
}

/* ---- all tries ---- */

/* Whether the call is worth another try, and then the pause before it. */
static bool is_worth_it(struct call *c, enum outcome outcome, const struct aws_refusal *why, int tries,
			double *ret_pause)
{
	enum aws_kind kind = outcome == REFUSED ? aws_refusal_kind(why) : AWS_TRANSIENT;
	double first = kind == AWS_THROTTLED ? THROTTLE_FIRST : PAUSE_FIRST;
	double most = kind == AWS_THROTTLED ? THROTTLE_MAX : PAUSE_MAX;
	double pause = first * (double)(1 << (tries < 16 ? tries : 16));
	*ret_pause = random_jitter(pause < most ? pause : most);
	if (kind == AWS_EXPIRED) {
		c->renew = tries == 0 && c->aws->credentials.renewable;
		*ret_pause = 0;
		return c->renew;
	}
	return (kind == AWS_THROTTLED && tries + 1 < THROTTLE_TRIES) || (kind == AWS_TRANSIENT && tries + 1 < TRIES);
}

static int call(struct aws *a, enum aws_service service, const char *operation, struct crex_str body,
		const struct deadline *d, struct buf *reply, struct aws_refusal *why, struct crex_error *err)
{
	struct call c = {.aws = a, .service = service, .operation = operation, .body = body};
	const char *name = aws_service_facts(service)->name;
	buf_init(reply, REPLY_MAX);
	if (aws_endpoint(service, a->region, a->endpoint, c.url) < 0)
		return crex_error_set(err, CREX_E_CONFIG, "fargate: %s (or AWS_ENDPOINT_URL) is no http address",
				      aws_service_facts(service)->variable);
	strcat(c.url, "/");
	for (int tries = 0;; tries++) {
		double pause;
		enum outcome outcome = try_once(&c, d, reply, why, err);
		if (outcome == ANSWERED)
			return 0;
		if (outcome == REFUSED)
			aws_refusal_tell(why, name, operation, err);
		else
			crex_error_prefix(err, "%s:%s: ", name, operation);
		if (outcome == FAILED || !is_worth_it(&c, outcome, why, tries, &pause))
			return -1;
		cleanup_error struct crex_error over = CREX_ERROR_INIT;
		if (deadline_pause(d, pause, &over) < 0) {
			crex_error_prefix(err, "%s; the last try: ", over.message ? over.message : "");
			err->code = over.code;
			return -1;
		}
		crex_error_clear(err);
	}
}

int aws_json(struct aws *a, enum aws_service service, const char *operation, json_t *body, const struct deadline *d,
	     json_t **ret, struct aws_refusal *why, struct crex_error *err)
{
	struct aws_refusal unheard;
	cleanup_buf struct buf reply = {0};
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	if (!why)
		why = &unheard;
	*why = (struct aws_refusal){0};
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	int r = call(a, service, operation, (struct crex_str){text, strlen(text)}, d, &reply, why, err);
	explicit_bzero(text, strlen(text)); /* a task's token may be in it */
	free(text);
	if (r < 0 || !ret)
		return r;
	*ret = reply.len ? json_loadb(reply.data, reply.len, 0, NULL) : json_object();
	return json_is_object(*ret) ? 0
				    : crex_error_set(err, CREX_E_PROTOCOL, "%s:%s: the answer is no JSON object",
						     aws_service_facts(service)->name, operation);
}

static bool add_pair(struct buf *form, const char *name, const char *value)
{
	int r = buf_printf(form, "%s%s=", form->len ? "&" : "", name);
	for (; r == 0 && *value; value++) {
		unsigned char c = (unsigned char)*value;
		bool plain =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c);
		r = plain ? buf_append_char(form, (char)c) : buf_printf(form, "%%%02X", c);
	}
	return r == 0;
}

int aws_query(struct aws *a, enum aws_service service, const char *operation, const char *const *pairs,
	      const struct deadline *d, struct xml_node **ret, struct aws_refusal *why, struct crex_error *err)
{
	enum { FORM_MAX = 1 << 20 };
	struct aws_refusal unheard;
	cleanup_buf struct buf form;
	cleanup_buf struct buf reply = {0};
	buf_init(&form, FORM_MAX);
	if (!why)
		why = &unheard;
	*why = (struct aws_refusal){0};
	bool made =
		add_pair(&form, "Action", operation) && add_pair(&form, "Version", aws_service_facts(service)->version);
	for (; made && *pairs; pairs += 2)
		made = add_pair(&form, pairs[0], pairs[1]);
	if (!made)
		return crex_error_set_errno(err, ENOMEM, NULL);
	int r = call(a, service, operation, (struct crex_str){form.data, form.len}, d, &reply, why, err);
	if (r < 0 || !ret)
		return r;
	*ret = reply.len ? xml_parse(reply.data, reply.len) : NULL;
	return *ret ? 0
		    : crex_error_set(err, CREX_E_PROTOCOL, "%s:%s: the answer is no XML",
				     aws_service_facts(service)->name, operation);
}

/* deploy/fargate/metadata.c: two small HTTP services on link-local addresses.
 *
 * A container is told by environment variables where to ask (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI at ECS's own
 * address, or _FULL_URI, with a token from a variable or a file). An address that is not this machine's own must be
 * https, or whoever sets the variable could have the token sent anywhere in clear.
 *
 * An instance asks 169.254.169.254: first for a session token (version 2; version 1, without one, is not asked), then
 * for its role's name, then for credentials. On a machine that is no instance nothing answers there, so the first
 * question has one second. Neither ever goes through a proxy. */
#include "deploy/fargate/metadata.h"

#include "base/cleanup.h"
#include "net/transfer.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ANSWER_MAX = 1 << 20, URL_MAX = 2048, HEADER_MAX = 16384 };
#define ECS_ADDRESS "http://169.254.170.2"
#define INSTANCE_ADDRESS "http://169.254.169.254"
#define FIRST_SECONDS 1.0
#define ANSWER_SECONDS 5.0

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

struct question {
	const char *url;
	bool put;
	const char *line; /* a header; NULL: none */
	double seconds;
};

/* 0: *ret_status and body are set; 1: nobody answers; -1: called off. */
static int ask(const struct question *q, const struct deadline *d, int *ret_status, struct buf *body,
	       struct crex_error *err)
{
	struct net_channel *c = net_channel_new(err);
	if (!c)
		return -1;
	struct curl_slist line = {(char *)q->line, NULL};
	net_prepare(c->easy);
	curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(c->easy, CURLOPT_URL, q->url);
	if (q->put)
		curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, "PUT");
	if (q->line)
		curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, &line);
	struct net_transfer t = {
		.peer = q->url, .tls = strncmp(q->url, "https", 5) == 0, .limit = q->seconds, .reply = body};
	buf_init(body, ANSWER_MAX);
	int r = net_perform(c, &t, d, err);
	if (r < 0 && err->code == CREX_E_CONNECTION)
		r = 1;
	if (r == 0 && t.code != CURLE_OK) {
		net_explain(&t, "AWS_CA_BUNDLE", err);
		r = 1;
	}
	*ret_status = t.status;
	net_channel_free(c);
	return r;
}

/* "2026-11-23T17:00:00Z"; negative: not read. */
static double seconds_of(const char *text)
{
	struct tm tm = {0};
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	return end ? (double)timegm(&tm) : -1;
}

static int read_answer(const char *url, int status, const struct buf *body, struct aws_key *ret, double *ret_expires,
		       struct crex_error *err)
{
	const char *id = NULL, *secret = NULL, *token = NULL, *expires = NULL;
	json_t *answer = status == 200 && body->len ? json_loadb(body->data, body->len, 0, NULL) : NULL;
	int r = 1;
	if (!answer || json_unpack(answer, "{s:s, s:s, s?s, s?s}", "AccessKeyId", &id, "SecretAccessKey", &secret,
				   "Token", &token, "Expiration", &expires) < 0) {
		r = crex_error_set(err, CREX_E_AUTHENTICATION, "%s gave no credentials (status %d)", url, status);
	} else {
		*ret = (struct aws_key){strdup(id), strdup(secret), token ? strdup(token) : NULL};
		*ret_expires = seconds_of(expires);
		if (!ret->id || !ret->secret || (token && !ret->token)) {
			aws_key_deinit(ret);
			r = crex_error_set_errno(err, ENOMEM, NULL);
		}
	}
	json_decref(answer);
	return r;
}

static int ask_credentials(const char *url, const char *line, const struct deadline *d, struct aws_key *ret,
			   double *ret_expires, struct crex_error *err)
{
	cleanup_buf struct buf body = {0};
	int status = 0;
	const struct question q = {.url = url, .line = line, .seconds = ANSWER_SECONDS};
	if (ask(&q, d, &status, &body, err) != 0)
		return -1;
	int r = read_answer(url, status, &body, ret, ret_expires, err);
	if (body.data)
		explicit_bzero(body.data, body.len);
	return r;
}

/* ---- a container ---- */

static bool may_be_told(const char *url)
{
	static const char *const own[] = {"http://127.",	  "http://localhost",	   "http://[::1]",
					  "http://169.254.170.2", "http://169.254.170.23", "http://[fd00:ec2::23]"};
	if (strchr(url, '@')) /* a user's name can look like an address */
		return false;
	if (strncmp(url, "https://", 8) == 0)
		return true;
	for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
		size_t len = strlen(own[i]);
		bool open = own[i][len - 1] == '.';
		if (strncmp(url, own[i], len) == 0 &&
		    (open ? strspn(url + len, "0123456789.") == strcspn(url + len, ":/")
			  : strchr(":/", url[len]) != NULL))
			return true;
	}
	return false;
}

/* "Authorization: ..." as the variables say; *ret NULL: none is wanted. */
static int authorization(char **ret, struct crex_error *err)
{
	const char *path = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	char from_file[HEADER_MAX] = "";
	*ret = NULL;
	if (path) {
		FILE *in = fopen(path, "re");
		if (!in)
			return crex_error_set_errno(err, errno, path);
		size_t len = fread(from_file, 1, sizeof from_file - 1, in);
		fclose(in);
		from_file[len] = '\0';
		token = from_file;
	}
	if (!token)
		return 0;
	int r = asprintf(ret, "Authorization: %.*s", (int)strcspn(token, "\r\n"), token);
	explicit_bzero(from_file, sizeof from_file);
	return r < 0 ? crex_error_set_errno(err, ENOMEM, NULL) : 0;
}

int metadata_container(struct aws_key *ret, double *ret_expires, const struct deadline *d, struct crex_error *err)
{
	const char *relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	if (!relative && !full)
		return 0;
	char url[URL_MAX];
	int len = relative ? snprintf(url, sizeof url, ECS_ADDRESS "%s", relative)
			   : snprintf(url, sizeof url, "%s", full);
	if (len >= URL_MAX || !may_be_told(url))
		return crex_error_set(err, CREX_E_AUTHENTICATION,
				      "AWS_CONTAINER_CREDENTIALS_FULL_URI: an https address, or one of this machine "
				      "itself, is needed");
	cleanup_free char *line = NULL;
	if (authorization(&line, err) < 0)
		return -1;
	int r = ask_credentials(url, line, d, ret, ret_expires, err);
	if (line)
		explicit_bzero(line, strlen(line));
	return r;
}

/* ---- an instance ---- */

/* The token that the two further questions need. 1, 0: no instance, -1. */
static int instance_token(const char *base, const struct deadline *d, char line[HEADER_MAX], struct crex_error *err)
{
	char url[URL_MAX];
	cleanup_buf struct buf body = {0};
	int status = 0;
	snprintf(url, sizeof url, "%s/latest/api/token", base);
	const struct question q = {
		.url = url, .put = true, .line = "X-aws-ec2-metadata-token-ttl-seconds: 300", .seconds = FIRST_SECONDS};
	int r = ask(&q, d, &status, &body, err);
	if (r < 0)
		return -1;
	if (r > 0 || status != 200 || !body.len || body.len > 4096) {
		crex_error_clear(err);
		return 0;
	}
	snprintf(line, HEADER_MAX, "X-aws-ec2-metadata-token: %s", body.data);
	return 1;
}

int metadata_instance(struct aws_key *ret, double *ret_expires, const struct deadline *d, struct crex_error *err)
{
	const char *off = variable("AWS_EC2_METADATA_DISABLED");
	const char *base = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	char line[HEADER_MAX], url[URL_MAX];
	cleanup_buf struct buf role = {0};
	int status = 0;
	if (off && strcasecmp(off, "true") == 0)
		return 0;
	if (!base)
		base = INSTANCE_ADDRESS;
	int base_len = (int)strlen(base);
	if (base_len > 512)
		return crex_error_set(err, CREX_E_CONFIG, "AWS_EC2_METADATA_SERVICE_ENDPOINT is too long");
	while (base_len && base[base_len - 1] == '/')
		base_len--;
	char root[513];
	snprintf(root, sizeof root, "%.*s", base_len, base);
	int r = instance_token(root, d, line, err);
	if (r <= 0)
		return r;
	snprintf(url, sizeof url, "%s/latest/meta-data/iam/security-credentials/", root);
	const struct question q = {.url = url, .line = line, .seconds = ANSWER_SECONDS};
	if (ask(&q, d, &status, &role, err) != 0)
		return -1;
	if (status == 404 || !role.len)
		return 0; /* an instance without a role */
	cleanup_free char *full = NULL;
	if (asprintf(&full, "%s%.*s", url, (int)strcspn(role.data, "\r\n"), role.data) < 0) {
		full = NULL;
		return crex_error_set_errno(err, ENOMEM, NULL);
	}
	return ask_credentials(full, line, d, ret, ret_expires, err);
}

/* deploy/fargate/credentials.c: the chain of places, and when to ask again.
 *
 * In order: AWS_ACCESS_KEY_ID and its companions, unless the config names a profile, which is then what is meant, as
 * with AWS's own tools; the profile in ~/.aws (profile.c); the endpoint that a container is told of (metadata.c); an
 * instance's metadata. The first that has credentials is stayed with. A place that is there but broken (half a pair, an
 * endpoint that refuses) ends the search: what comes after it would be somebody else.
 *
 * Credentials with an end are fetched anew five minutes before it. */
#include "deploy/fargate/credentials.h"

#include "base/cleanup.h"
#include "deploy/fargate/metadata.h"
#include "deploy/fargate/profile.h"
#include <errno.h>
#include <string.h>
#include <time.h>

#define RENEW_BEFORE 300.0

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

void aws_key_deinit(struct aws_key *key)
{
	wipe(&key->id);
	wipe(&key->secret);
	wipe(&key->token);
}

void credentials_init(struct credentials *c, const char *profile)
{
	*c = (struct credentials){.profile = profile, .expires = -1};
	pthread_mutex_init(&c->lock, NULL);
}

void credentials_deinit(struct credentials *c)
{
	aws_key_deinit(&c->key);
	pthread_mutex_destroy(&c->lock);
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static int copy_key(struct aws_key *to, const char *id, const char *secret, const char *token, struct crex_error *err)
{
	*to = (struct aws_key){strdup(id), strdup(secret), token ? strdup(token) : NULL};
	if (to->id && to->secret && (!token || to->token))
		return 0;
	aws_key_deinit(to);
	return crex_error_set_errno(err, ENOMEM, NULL);
}

/* ---- the places: 1: here they are, 0: this place has none, -1 ---- */

static int from_environment(struct credentials *c, struct crex_error *err)
{
	const char *id = variable("AWS_ACCESS_KEY_ID"), *secret = variable("AWS_SECRET_ACCESS_KEY");
	if (!id && !secret)
		return 0;
	if (!id || !secret)
		return crex_error_set(err, CREX_E_AUTHENTICATION, "%s is set but %s is not",
				      id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
				      id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	c->source = "the environment";
	return copy_key(&c->key, id, secret, variable("AWS_SESSION_TOKEN"), err) < 0 ? -1 : 1;
}

/* What AWS's own tools would do with the profile and we don't. */
static int unsupported(const char *profile, struct crex_error *err)
{
	static const char *const ways[] = {"role_arn", "sso_session", "sso_start_url", "credential_process",
					   "web_identity_token_file"};
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		cleanup_free char *value = NULL;
		if (profile_get(profile, ways[i], &value, err) < 0)
			return -1;
		if (value)
			return crex_error_set(
				err, CREX_E_AUTHENTICATION,
				"the AWS profile '%s' gets its credentials by %s, which is not supported here: put "
				"them into the environment (eval \"$(aws configure export-credentials --format env)\")",
				profile_name(profile), ways[i]);
	}
	return 0;
}

static int from_profile(struct credentials *c, struct crex_error *err)
{
	cleanup_aws_key struct aws_key key = {0};
	if (profile_get(c->profile, "aws_access_key_id", &key.id, err) < 0 ||
	    profile_get(c->profile, "aws_secret_access_key", &key.secret, err) < 0 ||
	    profile_get(c->profile, "aws_session_token", &key.token, err) < 0)
		return -1;
	if (key.id && key.secret) {
		c->key = key;
		key = (struct aws_key){0};
		c->source = "a profile";
		c->renewable = true; /* other programs write new ones into the file */
		return 1;
	}
	if (key.id || key.secret)
		return crex_error_set(
			err, CREX_E_AUTHENTICATION,
			"the AWS profile '%s' has only one of aws_access_key_id and aws_secret_access_key",
			profile_name(c->profile));
	bool named = (c->profile && *c->profile) || variable("AWS_PROFILE");
	int exists = named ? profile_exists(c->profile, err) : 1;
	if (exists == 0)
		return crex_error_set(err, CREX_E_AUTHENTICATION, "there is no AWS profile '%s'",
				      profile_name(c->profile));
	return exists < 0 ? -1 : unsupported(c->profile, err);
}

static int from_metadata(struct credentials *c, const struct deadline *d, struct crex_error *err)
{
	int found = metadata_container(&c->key, &c->expires, d, err);
	if (found > 0)
		c->source = "the container's role";
	if (found == 0 && (found = metadata_instance(&c->key, &c->expires, d, err)) > 0)
		c->source = "the instance's role";
	c->renewable |= found > 0;
	return found;
}

static int search(struct credentials *c, const struct deadline *d, struct crex_error *err)
{
	aws_key_deinit(&c->key);
	c->renewable = false;
	c->expires = -1;
	bool named = c->profile && *c->profile;
	int found = named ? 0 : from_environment(c, err);
	if (found == 0)
		found = from_profile(c, err);
	if (found == 0)
		found = from_metadata(c, d, err);
	if (found == 0)
		return crex_error_set(err, CREX_E_CONFIG,
				      "no AWS credentials: not in the environment (AWS_ACCESS_KEY_ID, "
				      "AWS_SECRET_ACCESS_KEY), in no profile (~/.aws, AWS_PROFILE), and neither a "
				      "container's nor an instance's role answers");
	return found < 0 ? -1 : 0;
}

int credentials_get(struct credentials *c, bool renew, const struct deadline *d, struct aws_key *ret,
		    struct crex_error *err)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	pthread_mutex_lock(&c->lock);
	bool ends = c->expires >= 0 && (double)now.tv_sec > c->expires - RENEW_BEFORE;
	int r = 0;
	if (!c->key.id || ends || (renew && c->renewable))
		r = search(c, d, err);
	if (r == 0)
		r = copy_key(ret, c->key.id, c->key.secret, c->key.token, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}

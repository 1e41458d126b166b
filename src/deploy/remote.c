/* deploy/remote.c: a server that somebody else has started and will end.
 *
 * start only waits for it to answer. stop leaves the server alone and closes the sessions that this deployment has made
 * there, in an earlier program too: their names go along when it is detached. */
#include "deploy/registry.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "deploy/config.h"
#include "deploy/own_sessions.h"
#include "deploy/ready.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>

#define START_SECONDS 10.0

struct remote_deployment {
	struct crex_deployment base;
	struct crex_remote_runtime_config config; /* owned, by remote_schema */
	struct crex_runtime *rt;		  /* of own_sessions.c; NULL while down */
};

#define FIELD(member, kind)                                                                            \
	{                                                                                              \
#member, kind, offsetof(struct crex_remote_runtime_config, member), false, false, NULL \
	}

static const struct config_field remote_fields[] = {
	{"auth_token", CONFIG_STRING_OR_NULL, offsetof(struct crex_remote_runtime_config, auth_token), false, true,
	 NULL},
	FIELD(host, CONFIG_STRING),
	FIELD(port, CONFIG_PORT),
	FIELD(timeout, CONFIG_SECONDS),
	FIELD(unix_socket, CONFIG_STRING_OR_NULL),
	FIELD(ca_file, CONFIG_STRING_OR_NULL),
	FIELD(headers, CONFIG_STRINGS),
	FIELD(retries, CONFIG_INT),
};

static const struct config_schema remote_schema = {
	.type = "remote",
	.fields = remote_fields,
	.n_fields = sizeof remote_fields / sizeof *remote_fields,
	.size = sizeof(struct crex_remote_runtime_config),
};

static struct remote_deployment *of(struct crex_deployment *d)
{
	return (struct remote_deployment *)d;
}

static struct crex_runtime *runtime_new(const struct remote_deployment *d, const json_t *sessions,
					struct crex_error *err)
{
	struct crex_runtime *rt = crex_remote_runtime_new(&d->config, err);
	return rt ? own_sessions_new(rt, sessions, err) : NULL;
}

static int start(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	if (call->timeout < 0)
		deadline_limit(&deadline, START_SECONDS);
	of(d)->rt = runtime_new(of(d), NULL, err);
	return of(d)->rt ? wait_until_ready(of(d)->rt, &deadline, NULL, NULL, err) : -1;
}

static int stop(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
{
	(void)err;
	if (of(d)->rt)
		own_sessions_close(of(d)->rt, call);
	of(d)->rt = crex_runtime_free(of(d)->rt);
	return 0;
}

static struct crex_runtime *runtime(struct crex_deployment *d)
{
	return of(d)->rt;
}

static void remote_free(struct crex_deployment *d)
{
	config_deinit(&remote_schema, &of(d)->config);
	free(d);
}

/* What a config holds, and the sessions, are all that is needed to come back. */
static int detach(struct crex_deployment *d, struct crex_text *ret_state, struct crex_error *err)
{
	const struct crex_remote_runtime_config *c = &of(d)->config;
	json_t *headers = c->headers ? json_array() : json_null();
	for (const char *const *h = c->headers; h && *h; h++)
		json_array_append_new(headers, json_string(*h));
	json_t *state = json_pack("{s:s?, s:s, s:o, s:f, s:s?, s:s?, s:o, s:i, s:o}", "auth_token", c->auth_token,
				  "host", c->host, "port", c->port ? json_integer(c->port) : json_null(), "timeout",
				  c->timeout, "unix_socket", c->unix_socket, "ca_file", c->ca_file, "headers", headers,
				  "retries", c->retries, "sessions", own_sessions_names(of(d)->rt));
	char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
	json_decref(state);
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	*ret_state = (struct crex_text){text, strlen(text)};
	of(d)->rt = crex_runtime_free(of(d)->rt);
	return 0;
}

static const struct crex_deployment_ops remote_ops = {
	.type = "remote",
	.start = start,
	.stop = stop,
	.runtime = runtime,
	.detach = detach,
	.free = remote_free,
};

struct crex_deployment *crex_remote_deployment_new(const struct crex_remote_runtime_config *config,
						   struct crex_error *err)
{
	struct remote_deployment *d = calloc(1, sizeof *d);
	if (!d) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	if (config_copy(&remote_schema, config, &d->config, err) < 0) {
		free(d);
		return NULL;
	}
	/* what only the runtime can tell of a config (an address that is none) is told now as well */
	struct crex_runtime *probe = crex_remote_runtime_new(&d->config, err);
	if (probe && crex_deployment_init(&d->base, &remote_ops, err) == 0) {
		crex_runtime_free(probe);
		return &d->base;
	}
	crex_runtime_free(probe);
	config_deinit(&remote_schema, &d->config);
	free(d);
	return NULL;
}

static struct crex_deployment *from_json(const json_t *config, struct crex_error *err)
{
	struct crex_remote_runtime_config c = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	if (config_read(&remote_schema, config, &c, err) < 0)
		return NULL;
	struct crex_deployment *d = crex_remote_deployment_new(&c, err);
	config_deinit(&remote_schema, &c);
	return d;
}

static struct crex_deployment *resume(const json_t *state, struct crex_error *err)
{
	json_t *config = json_copy((json_t *)(uintptr_t)state); /* borrows the values */
	json_object_del(config, "sessions");
	struct crex_deployment *d = from_json(config, err);
	json_decref(config);
	if (!d)
		return NULL;
	of(d)->rt = runtime_new(of(d), json_object_get(state, "sessions"), err);
	return of(d)->rt ? d : crex_deployment_free(d);
}

const struct deployment_type deployment_type_remote = {.name = "remote", .from_json = from_json, .resume = resume};

/* deploy/daytona/deployment.c: the config of a sandbox at Daytona, and its way out of this process and back.
 *
 * What is wrong with a config or lacks in the environment is said by the constructor, before anything is asked of
 * anybody. A detached state has all that reaches and ends the sandbox, but the API key only where the config had it:
 * one that came from the environment is looked for there again. */
#include "deploy/daytona/daytona.h"

#include "base/cleanup.h"
#include "deploy/config.h"
#include "deploy/registry.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIELD_NAMED(name, member, kind)                                                      \
	{                                                                                    \
		name, kind, offsetof(struct crex_daytona_config, member), false, false, NULL \
	}
#define FIELD(member, kind) FIELD_NAMED(#member, member, kind)

static const struct config_field daytona_fields[] = {
	{"api_key", CONFIG_STRING_OR_NULL, offsetof(struct crex_daytona_config, api_key), false, true, NULL},
	FIELD(target, CONFIG_STRING_OR_NULL),
	FIELD(port, CONFIG_PORT),
	FIELD(container_timeout, CONFIG_SECONDS),
	FIELD(runtime_timeout, CONFIG_SECONDS),
	FIELD(image, CONFIG_STRING),
	FIELD(snapshot, CONFIG_STRING_OR_NULL),
	FIELD(api_url, CONFIG_STRING_OR_NULL),
	FIELD(organization_id, CONFIG_STRING_OR_NULL),
	FIELD_NAMED("public", is_public, CONFIG_BOOL),
	FIELD(cpu, CONFIG_INT),
	FIELD(memory, CONFIG_INT),
	FIELD(disk, CONFIG_INT),
	FIELD(gpu, CONFIG_INT),
	FIELD(network_block_all, CONFIG_BOOL),
	{"env", CONFIG_JSON, offsetof(struct crex_daytona_config, env), false, true, NULL},
	FIELD(labels, CONFIG_JSON),
	FIELD(startup_timeout, CONFIG_SECONDS),
	FIELD(host_timeout, CONFIG_SECONDS_OR_NULL),
	FIELD(ca_file, CONFIG_STRING_OR_NULL),
	FIELD(server_path, CONFIG_STRING_OR_NULL),
};

static const struct config_schema daytona_schema = {
	.type = "daytona",
	.fields = daytona_fields,
	.n_fields = sizeof daytona_fields / sizeof *daytona_fields,
	.size = sizeof(struct crex_daytona_config),
};

/* ---- out of this process and back ---- */

static int detach(struct crex_deployment *base, struct crex_text *ret_state, struct crex_error *err)
{
	struct daytona_deployment *d = daytona_of(base);
	const struct crex_daytona_config *c = &d->config;
	const struct daytona_account *a = &d->account;
	json_t *host_timeout = c->host_timeout > 0 ? json_real(c->host_timeout) : json_null();
	json_t *state =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s?, s:f, s:o}", "sandbox",
			  d->sandbox.id, "toolbox", d->sandbox.toolbox, "session", d->sandbox.session, "command",
			  d->sandbox.command, "url", d->url, "header", d->header, "token", d->token, "api_url",
			  a->api.url, "organization_id", a->organization, "api_key", c->api_key ? c->api_key : "",
			  "ca_file", a->ca_file, "runtime_timeout", c->runtime_timeout, "host_timeout", host_timeout);
	char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
	json_decref(state);
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	*ret_state = (struct crex_text){text, strlen(text)};
	daytona_let_go(d);
	daytona_sandbox_forget(&d->sandbox);
	return 0;
}

static void daytona_free(struct crex_deployment *base)
{
	struct daytona_deployment *d = daytona_of(base);
	daytona_let_go(d);
	daytona_sandbox_forget(&d->sandbox);
	daytona_account_deinit(&d->account);
	config_deinit(&daytona_schema, &d->config);
	free(d);
}

static const struct crex_deployment_ops daytona_ops = {
	.type = "daytona",
	.start = daytona_start,
	.is_alive = daytona_is_alive,
	.stop = daytona_stop,
	.runtime = daytona_runtime,
	.detach = detach,
	.logs = daytona_logs,
	.free = daytona_free,
};

/* ---- making one ---- */

static int invalid(const char *field, const char *wanted, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "daytona: field '%s' must be %s", field, wanted);
}

static bool is_object_of_strings(const char *text)
{
	const char *name;
	json_t *value;
	cleanup_json json_t *json = text ? json_loads(text, 0, NULL) : json_object();
	json_object_foreach(json, name, value) if (!json_is_string(value)) return false;
	return json_is_object(json);
}

/* An image's name becomes a line of a Dockerfile, and must not bring further ones. */
static bool is_one_word(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!isgraph((unsigned char)*c))
			return false;
	return *text;
}

/* What the table of fields can't tell. */
static int complete(struct daytona_deployment *d, struct crex_error *err)
{
	const struct crex_daytona_config *c = &d->config;
	if (c->port == 0)
		return invalid("port", "a port from 1 to 65535", err);
	if (!is_one_word(c->image))
		return invalid("image", "a name without blanks", err);
	if (c->snapshot && !is_one_word(c->snapshot))
		return invalid("snapshot", "a name without blanks, or null", err);
	if (!is_object_of_strings(c->env))
		return invalid("env", "an object of strings", err);
	if (!is_object_of_strings(c->labels))
		return invalid("labels", "an object of strings", err);
	return daytona_account_load(c, &d->account, err);
}

static struct daytona_deployment *make(const struct crex_daytona_config *config, struct crex_error *err)
{
	struct daytona_deployment *d = calloc(1, sizeof *d);
	if (!d) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	if (config_copy(&daytona_schema, config, &d->config, err) < 0) {
		free(d);
		return NULL;
	}
	if (complete(d, err) == 0 && crex_deployment_init(&d->base, &daytona_ops, err) == 0)
		return d;
	daytona_free(&d->base);
	return NULL;
}

struct crex_deployment *crex_daytona_deployment_new(const struct crex_daytona_config *config, struct crex_error *err)
{
	struct daytona_deployment *d = make(config, err);
	return d ? &d->base : NULL;
}

static struct crex_deployment *from_json(const json_t *config, struct crex_error *err)
{
	struct crex_daytona_config c = CREX_DAYTONA_CONFIG_INIT;
	if (config_read(&daytona_schema, config, &c, err) < 0)
		return NULL;
	struct crex_deployment *d = crex_daytona_deployment_new(&c, err);
	config_deinit(&daytona_schema, &c);
	return d;
}

/* ---- resume ---- */

static int not_ours(struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "this is not the state of a detached daytona deployment");
}

static int restore(struct daytona_deployment *d, const json_t *state, struct crex_error *err)
{
	struct daytona_sandbox *s = &d->sandbox;
	const struct {
		const char *field;
		char *to; /* NULL: copied */
		size_t size;
		char **copy;
	} texts[] = {
		{"sandbox", s->id, sizeof s->id, NULL},
		{"session", s->session, sizeof s->session, NULL},
		{"command", s->command, sizeof s->command, NULL},
		{"token", d->token, sizeof d->token, NULL},
		{"toolbox", NULL, 0, &s->toolbox},
		{"url", NULL, 0, &d->url},
		{"header", NULL, 0, &d->header},
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		const char *text = json_string_value(json_object_get(state, texts[i].field));
		if (!text || (texts[i].to && strlen(text) >= texts[i].size))
			return not_ours(err);
		if (texts[i].to)
			snprintf(texts[i].to, texts[i].size, "%s", text);
		else if (!(*texts[i].copy = strdup(text)))
			return crex_error_set_errno(err, ENOMEM, NULL);
	}
	return 0;
}

static struct crex_deployment *resume(const json_t *state, struct crex_error *err)
{
	struct crex_daytona_config c = CREX_DAYTONA_CONFIG_INIT;
	c.api_key = json_string_value(json_object_get(state, "api_key"));
	c.api_url = json_string_value(json_object_get(state, "api_url"));
	c.organization_id = json_string_value(json_object_get(state, "organization_id"));
	c.ca_file = json_string_value(json_object_get(state, "ca_file"));
	c.runtime_timeout = json_number_value(json_object_get(state, "runtime_timeout"));
	if (!c.api_url || c.runtime_timeout <= 0) {
		not_ours(err);
		return NULL;
	}
	const json_t *host_timeout = json_object_get(state, "host_timeout");
	c.host_timeout = json_number_value(host_timeout) > 0 ? json_number_value(host_timeout) : CREX_NO_TIMEOUT;
	struct daytona_deployment *d = make(&c, err);
	if (!d)
		return NULL;
	if (restore(d, state, err) == 0 && daytona_attach(d, err) == 0)
		return &d->base;
	daytona_let_go(d);
	daytona_sandbox_forget(&d->sandbox); /* what can't be resumed is not stopped either */
	return crex_deployment_free(&d->base);
}

const struct deployment_type deployment_type_daytona = {
	.name = "daytona",
	.from_json = from_json,
	.resume = resume,
	.gc = daytona_gc,
	.check = daytona_check,
};

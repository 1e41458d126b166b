/* deploy/daytona/deployment.c: a sandbox at Daytona as a deployment: its config, its life in large.
 *
 * start: the sandbox from an image (sandbox.c), the server program into it and started by way of its toolbox
 * (server.c), the address of its preview, and then asking there until the server answers. The preview's own token goes
 * along in a header of every request; the server's is behind it. stop deletes the sandbox wherever the start was cut.
 *
 * Three things end what this program can't end any more: the server ends itself when nobody has asked for a while
 * (host_timeout) or its time is over (container_timeout), and Daytona stops and deletes a sandbox in which nothing
 * happens. What is wrong with a config or lacks in the environment is said by the constructor. */
#include "deploy/daytona/daytona.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/config.h"
#include "deploy/heartbeat.h"
#include "deploy/ready.h"
#include "deploy/registry.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEARTBEATS_IN_TIME 4
#define HEARTBEAT_SECONDS_MAX 15.0
#define LOOK_SECONDS 1.0   /* between two questions to Daytona whether the server still runs */
#define WORDS_SECONDS 10.0 /* for asking what it printed last */

enum { WORDS_BYTES = 4000, HEADERS = 2 };

struct daytona_deployment {
	struct crex_deployment base;
	struct crex_daytona_config config; /* owned, by daytona_schema */
	struct daytona_account account;

	/* of one sandbox, from its creation until it is gone */
	struct daytona_sandbox sandbox;
	char token[DAYTONA_TOKEN_SIZE];
	char *url, *header; /* where its server is reached */
	struct crex_runtime *rt;
	struct heartbeat *heart;
};

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

static struct daytona_deployment *of(struct crex_deployment *d)
{
	return (struct daytona_deployment *)d;
}

/* ---- is it up ---- */

/* What the server printed last, behind a text. */
static void add_words(struct daytona_deployment *d, struct daytona_client *c, const struct deadline *deadline,
		      struct buf *ret)
{
	struct crex_text said __attribute__((cleanup(crex_text_clear))) = CREX_TEXT_INIT;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	struct deadline limited = *deadline;
	deadline_limit(&limited, WORDS_SECONDS);
	if (!*d->sandbox.command || daytona_server_logs(c, &d->sandbox, &limited, &said, &unheard) < 0 || !said.len)
		return;
	size_t skip = said.len > WORDS_BYTES ? said.len - WORDS_BYTES : 0;
	buf_printf(ret, "; it printed:\n%s", said.data + skip);
}

struct watch {
	struct daytona_deployment *d;
	struct daytona_client *c;
	const struct deadline *deadline;
	double next;
};

/* A server, or a sandbox, that has ended is told of at once. */
static int look(void *arg, struct crex_error *err)
{
	struct watch *w = arg;
	struct daytona_deployment *d = w->d;
	cleanup_buf struct buf words = {.data = NULL};
	int code;
	if (clock_now() < w->next)
		return 0;
	w->next = clock_now() + LOOK_SECONDS;
	buf_init(&words, 4 * WORDS_BYTES);
	int ended = daytona_server_ended(w->c, &d->sandbox, w->deadline, &code, err);
	if (ended > 0) {
		add_words(d, w->c, w->deadline, &words);
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the server has ended with exit code %d%s", code,
				      words.data ? words.data : "");
	}
	if (ended == 0 || err->code == CREX_E_CANCELLED || err->code == CREX_E_DEADLINE)
		return ended;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (daytona_sandbox_look(w->c, &d->sandbox, w->deadline, &words, &unheard) <= 0)
		return -1;
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the sandbox has ended: %s",
			      words.data ? words.data : "");
}

static int connect_runtime(struct daytona_deployment *d, struct crex_error *err)
{
	struct crex_remote_runtime_config c = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	const char *const headers[HEADERS + 1] = {d->header, "X-Daytona-Skip-Preview-Warning: true", NULL};
	c.auth_token = d->token;
	c.host = d->url;
	c.timeout = d->config.runtime_timeout;
	c.ca_file = d->account.ca_file;
	c.headers = headers;
	d->rt = crex_remote_runtime_new(&c, err);
	return d->rt ? 0 : -1;
}

static int begin_heartbeat(struct daytona_deployment *d, struct crex_error *err)
{
	double seconds = d->config.host_timeout / HEARTBEATS_IN_TIME;
	if (d->config.host_timeout < 0)
		return 0;
	d->heart = heartbeat_start(d->rt, seconds < HEARTBEAT_SECONDS_MAX ? seconds : HEARTBEAT_SECONDS_MAX, err);
	return d->heart ? 0 : -1;
}

/* ---- start ---- */

static void tell_state(void *arg, const char *state)
{
	struct daytona_deployment *d = arg;
	crex_deployment_report(&d->base, "Sandbox %s is %s", d->sandbox.id, state);
}

static int wait_for_server(struct daytona_deployment *d, struct daytona_client *c, const struct deadline *deadline,
			   struct crex_error *err)
{
	struct deadline limited = *deadline;
	deadline_limit(&limited, d->config.runtime_timeout);
	struct watch watch = {d, c, &limited, clock_now() + LOOK_SECONDS};
	crex_deployment_report(&d->base, "Starting runtime at %s", d->url);
	if (wait_until_ready(d->rt, &limited, look, &watch, err) == 0)
		return 0;
	if (err->code != CREX_E_DEPLOYMENT_STARTUP || deadline_left(&limited) != 0)
		return -1;
	cleanup_buf struct buf words = {.data = NULL};
	buf_init(&words, 4 * WORDS_BYTES);
	struct deadline grace = {.at = CREX_NO_TIMEOUT, .cancel = deadline->cancel};
	add_words(d, c, &grace, &words);
	cleanup_free char *first = err->message ? strdup(err->message) : NULL;
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "%s%s", first ? first : "", words.data ? words.data : "");
}

static int bring_up(struct daytona_deployment *d, struct daytona_client *c, const struct deadline *deadline,
		    struct crex_error *err)
{
	struct daytona_sandbox *s = &d->sandbox;
	int r = random_hex(d->token, sizeof d->token / 2);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	crex_deployment_report(&d->base, "Creating Daytona sandbox");
	if (daytona_sandbox_create(c, &d->config, s, deadline, err) < 0 ||
	    daytona_sandbox_wait(c, s, tell_state, d, deadline, err) < 0)
		return -1;
	crex_deployment_report(&d->base, "Starting server in sandbox %s", s->id);
	if (daytona_server_start(c, &d->config, s, d->token, deadline, err) < 0 ||
	    daytona_sandbox_preview(c, s, d->config.port, deadline, &d->url, &d->header, err) < 0 ||
	    connect_runtime(d, err) < 0)
		return -1;
	return wait_for_server(d, c, deadline, err);
}

static char *forget_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	return NULL;
}

static void let_go(struct daytona_deployment *d)
{
	d->heart = heartbeat_stop(d->heart);
	d->rt = crex_runtime_free(d->rt);
	free(steal_ptr(d->url));
	d->header = forget_secret(d->header);
	explicit_bzero(d->token, sizeof d->token);
}

/* Wherever a start was cut, in whatever state. */
static int take_down(struct daytona_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	let_go(d);
	if (!*d->sandbox.id && !d->sandbox.unsure) {
		daytona_sandbox_forget(&d->sandbox);
		return 0;
	}
	if (daytona_client_init(&c, &d->account, err) < 0)
		return -1;
	return daytona_sandbox_remove(&c, &d->sandbox, deadline, err);
}

static int start(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct daytona_deployment *d = of(base);
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	struct deadline deadline, startup;
	deadline_begin(&deadline, call);
	/* what an earlier stop could not take down */
	if (take_down(d, &deadline, err) < 0 || daytona_client_init(&c, &d->account, err) < 0)
		return -1;
	startup = deadline;
	deadline_limit(&startup, d->config.startup_timeout);
	int r = bring_up(d, &c, &startup, err);
	if (r < 0 && err->code == CREX_E_DEADLINE && deadline_left(&deadline) != 0)
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
				      "the sandbox was not ready within startup_timeout (%g s); it was last seen %s",
				      d->config.startup_timeout, *d->sandbox.state ? d->sandbox.state : "nowhere");
	if (r < 0 && err->code == CREX_E_SWEREX)
		err->code = CREX_E_DEPLOYMENT_STARTUP;
	return r < 0 ? -1 : begin_heartbeat(d, err);
}

static int stop(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	return take_down(of(base), &deadline, err);
}

/* ---- while it is up: other threads may call these, so each has a client of its own ---- */

static struct crex_runtime *runtime(struct crex_deployment *base)
{
	return of(base)->rt;
}

static int is_alive(struct crex_deployment *base, const struct crex_call *call, struct crex_is_alive *ret,
		    struct crex_error *err)
{
	struct daytona_deployment *d = of(base);
	struct deadline deadline;
	deadline_begin(&deadline, call);
	if (deadline.at < 0)
		deadline_limit(&deadline, d->config.runtime_timeout);
	const struct crex_call limited = deadline_rest(&deadline);
	int r = crex_runtime_is_alive(d->rt, &limited, ret, err);
	if (r == 0 && ret->is_alive)
		return 0;
	if (r < 0 && err->code == CREX_E_CANCELLED)
		return -1;
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	cleanup_buf struct buf why = {.data = NULL};
	struct daytona_sandbox seen = {.toolbox = NULL};
	memcpy(seen.id, d->sandbox.id, sizeof seen.id);
	buf_init(&why, 16384);
	buf_append_str(&why, "the sandbox has ended: ");
	int gone = -1;
	if (daytona_client_init(&c, &d->account, &unheard) == 0)
		gone = daytona_sandbox_look(&c, &seen, &deadline, &why, &unheard);
	daytona_sandbox_forget(&seen);
	if (gone <= 0)
		return r; /* what the runtime said is the answer then */
	crex_error_clear(err);
	free(ret->message);
	*ret = (struct crex_is_alive){false, buf_steal(&why, NULL)};
	return ret->message ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

static int logs(struct crex_deployment *base, const struct crex_call *call, struct crex_text *ret,
		struct crex_error *err)
{
	struct daytona_deployment *d = of(base);
	struct deadline deadline;
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	deadline_begin(&deadline, call);
	if (daytona_client_init(&c, &d->account, err) < 0)
		return -1;
	return daytona_server_logs(&c, &d->sandbox, &deadline, ret, err);
}

/* ---- out of this process and back ---- */

/* A key that came from the environment is found there again. */
static int detach(struct crex_deployment *base, struct crex_text *ret_state, struct crex_error *err)
{
	struct daytona_deployment *d = of(base);
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
	let_go(d);
	daytona_sandbox_forget(&d->sandbox);
	return 0;
}

static void daytona_free(struct crex_deployment *base)
{
	struct daytona_deployment *d = of(base);
	let_go(d);
	daytona_sandbox_forget(&d->sandbox);
	daytona_account_deinit(&d->account);
	config_deinit(&daytona_schema, &d->config);
	free(d);
}

static const struct crex_deployment_ops daytona_ops = {
	.type = "daytona",
	.start = start,
	.is_alive = is_alive,
	.stop = stop,
	.runtime = runtime,
	.detach = detach,
	.logs = logs,
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
	if (restore(d, state, err) == 0 && connect_runtime(d, err) == 0 && begin_heartbeat(d, err) == 0)
		return &d->base;
	let_go(d);
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

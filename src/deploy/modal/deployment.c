/* deploy/modal/deployment.c: a sandbox at Modal as a deployment: its config, its life in large.
 *
 * start: the app, the image with the server in it (images.c), the sandbox (sandbox.c), the address of its tunnel, and
 * then asking there until the server answers. The sandbox listens at an encrypted port, so its address is https from
 * here to Modal's edge. stop ends the sandbox wherever the start was cut. The server inside ends itself when nobody has
 * asked for a while, and Modal ends the sandbox when deployment_timeout is over, whatever happens to this program.
 *
 * What is wrong with a config, the Dockerfile and the tokens included, is said by the constructor; nothing is asked of
 * Modal before start. */
#include "deploy/modal/modal.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/config.h"
#include "deploy/heartbeat.h"
#include "deploy/ready.h"
#include "deploy/registry.h"
#include "deploy/server_binary.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ARCHITECTURE "x86_64" /* Modal has no other */
#define HEARTBEATS_IN_TIME 4
#define HEARTBEAT_SECONDS_MAX 15.0
#define LOOK_SECONDS 1.0   /* between two questions to Modal whether the sandbox still runs */
#define WORDS_SECONDS 10.0 /* for asking what it printed last */

enum { WORDS_BYTES = 4000, LOGS_BYTES = 8 << 20 };

static const char *const generation_choices[] = {
	[CREX_MODAL_AUTO] = "auto", [CREX_MODAL_V1] = "v1", [CREX_MODAL_V2] = "v2", NULL};

#define FIELD(member, kind)                                                                   \
	{                                                                                     \
#member, kind, offsetof(struct crex_modal_config, member), false, false, NULL \
	}

static const struct config_field modal_fields[] = {
	FIELD(image, CONFIG_STRING),
	FIELD(startup_timeout, CONFIG_SECONDS),
	FIELD(runtime_timeout, CONFIG_SECONDS),
	FIELD(deployment_timeout, CONFIG_SECONDS),
	FIELD(modal_sandbox_kwargs, CONFIG_JSON),
	FIELD(install_pipx, CONFIG_BOOL),
	FIELD(app_name, CONFIG_STRING),
	FIELD(environment, CONFIG_STRING_OR_NULL),
	FIELD(profile, CONFIG_STRING_OR_NULL),
	FIELD(registry_secret, CONFIG_STRING_OR_NULL),
	{"generation", CONFIG_CHOICE, offsetof(struct crex_modal_config, generation), false, false, generation_choices},
	FIELD(build_timeout, CONFIG_SECONDS),
	FIELD(port, CONFIG_PORT),
	FIELD(host_timeout, CONFIG_SECONDS_OR_NULL),
	FIELD(ca_file, CONFIG_STRING_OR_NULL),
	FIELD(server_path, CONFIG_STRING_OR_NULL),
};

static const struct config_schema modal_schema = {
	.type = "modal",
	.fields = modal_fields,
	.n_fields = sizeof modal_fields / sizeof *modal_fields,
	.size = sizeof(struct crex_modal_config),
};

static struct modal_deployment *of(struct crex_deployment *d)
{
	return (struct modal_deployment *)d;
}

/* ---- is it up ---- */

/* Puts the sandbox's last words behind an error. */
static void add_words(struct modal_deployment *d, struct modal_client *c, const struct deadline *deadline,
		      struct buf *ret)
{
	cleanup_buf struct buf said = {.data = NULL};
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	struct deadline limited = *deadline;
	deadline_limit(&limited, WORDS_SECONDS);
	buf_init(&said, LOGS_BYTES);
	if (modal_logs(c, &d->sandbox, &limited, &said, &unheard) < 0 || !said.len)
		return;
	size_t skip = said.len > WORDS_BYTES ? said.len - WORDS_BYTES : 0;
	buf_printf(ret, "; it printed:\n%s", said.data + skip);
}

struct watch {
	struct modal_deployment *d;
	const struct deadline *deadline;
	double next;
};

/* A sandbox that has died is told of at once, with its last words. */
static int look(void *arg, struct crex_error *err)
{
	struct watch *w = arg;
	struct modal_deployment *d = w->d;
	cleanup_buf struct buf words = {.data = NULL};
	char how[640];
	if (clock_now() < w->next)
		return 0;
	w->next = clock_now() + LOOK_SECONDS;
	int ended = modal_sandbox_poll(&d->client, &d->sandbox, w->deadline, how, sizeof how, err);
	if (ended <= 0)
		return ended;
	buf_init(&words, 2 * WORDS_BYTES);
	add_words(d, &d->client, w->deadline, &words);
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the sandbox has ended: %s%s", how,
			      words.data ? words.data : "");
}

static int connect_runtime(struct modal_deployment *d, struct crex_error *err)
{
	struct crex_remote_runtime_config c = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	c.auth_token = d->token;
	c.host = d->url;
	c.timeout = d->config.runtime_timeout;
	c.ca_file = d->ca_file;
	d->rt = crex_remote_runtime_new(&c, err);
	return d->rt ? 0 : -1;
}

static int begin_heartbeat(struct modal_deployment *d, struct crex_error *err)
{
	double seconds = d->config.host_timeout / HEARTBEATS_IN_TIME;
	if (d->config.host_timeout < 0)
		return 0;
	d->heart = heartbeat_start(d->rt, seconds < HEARTBEAT_SECONDS_MAX ? seconds : HEARTBEAT_SECONDS_MAX, err);
	return d->heart ? 0 : -1;
}

/* ---- start ---- */

static int choose_token(struct modal_deployment *d, struct crex_error *err)
{
	int r = random_hex(d->token, sizeof d->token / 2);
	return r < 0 ? crex_error_set_errno(err, -r, NULL) : 0;
}

static int provide_image(struct modal_deployment *d, const struct deadline *deadline, char **ret_id,
			 struct crex_error *err)
{
	struct deadline limited = *deadline;
	struct recipe recipe;
	deadline_limit(&limited, d->config.build_timeout);
	cleanup_free char *server = server_binary_find(d->config.server_path, ARCHITECTURE, err);
	if (!server || recipe_load(d->config.image, &recipe, err) < 0)
		return -1;
	int r = modal_app_find(&d->client, d->config.app_name, true, deadline, &d->app_id, err);
	if (r == 0) {
		crex_deployment_report(&d->base, "Building image %s", d->config.image);
		r = modal_image_provide(d, &recipe, server, &limited, ret_id, err);
	}
	if (r < 0 && err->code == CREX_E_DEADLINE && deadline_left(deadline) != 0)
		crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
			       "the image was not ready within build_timeout (%g s); Modal builds on, and may have it "
			       "when you try again",
			       d->config.build_timeout);
	recipe_deinit(&recipe);
	return r;
}

static int provide_sandbox(struct modal_deployment *d, const char *image_id, const struct deadline *deadline,
			   struct crex_error *err)
{
	crex_deployment_report(&d->base, "Starting modal sandbox");
	if (choose_token(d, err) < 0 || modal_sandbox_create(d, image_id, deadline, err) < 0)
		return -1;
	crex_deployment_report(&d->base, "Sandbox %s; its logs are at https://modal.com/id/%s", d->sandbox.id,
			       d->sandbox.id);
	if (modal_sandbox_tunnel(d, deadline, err) < 0 || connect_runtime(d, err) < 0)
		return -1;
	crex_deployment_report(&d->base, "Starting runtime at %s", d->url);
	struct watch watch = {d, deadline, clock_now() + LOOK_SECONDS};
	return wait_until_ready(d->rt, deadline, look, &watch, err);
}

static void let_go(struct modal_deployment *d)
{
	d->heart = heartbeat_stop(d->heart);
	d->rt = crex_runtime_free(d->rt);
	free(steal_ptr(d->url));
	explicit_bzero(d->token, sizeof d->token);
}

static bool is_left(const struct modal_deployment *d)
{
	return d->creation.method || *d->sandbox.id;
}

/* Wherever a start was cut, in whatever state. */
static int take_down(struct modal_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	let_go(d);
	if (!is_left(d))
		return 0;
	if (!d->client.channel && modal_client_init(&d->client, &d->profile, d->ca_file, err) < 0)
		return -1;
	int r = modal_sandbox_remove(d, deadline, err);
	free(steal_ptr(d->url)); /* a creation that was found out again has told it again */
	return r;
}

static void forget(struct modal_deployment *d)
{
	modal_client_deinit(&d->client);
	if (!is_left(d))
		free(steal_ptr(d->app_id));
}

static int start(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct modal_deployment *d = of(base);
	struct deadline deadline, startup;
	cleanup_free char *image_id = NULL;
	deadline_begin(&deadline, call);
	/* what an earlier stop could not take down */
	if (take_down(d, &deadline, err) < 0)
		return -1;
	forget(d);
	if (modal_client_init(&d->client, &d->profile, d->ca_file, err) < 0 ||
	    provide_image(d, &deadline, &image_id, err) < 0)
		return -1;
	startup = deadline;
	deadline_limit(&startup, d->config.startup_timeout);
	int r = provide_sandbox(d, image_id, &startup, err);
	if (r < 0 && err->code == CREX_E_DEADLINE && deadline_left(&deadline) != 0)
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
				      "the sandbox was not ready within startup_timeout (%g s)",
				      d->config.startup_timeout);
	return r < 0 ? -1 : begin_heartbeat(d, err);
}

static int stop(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct modal_deployment *d = of(base);
	struct deadline deadline;
	deadline_begin(&deadline, call);
	int r = take_down(d, &deadline, err);
	forget(d);
	return r;
}

/* ---- while it is up: other threads may call these, so each has a client of its own ---- */

static struct crex_runtime *runtime(struct crex_deployment *base)
{
	return of(base)->rt;
}

static int is_alive(struct crex_deployment *base, const struct crex_call *call, struct crex_is_alive *ret,
		    struct crex_error *err)
{
	struct modal_deployment *d = of(base);
	struct deadline deadline;
	char how[640];
	deadline_begin(&deadline, call);
	if (crex_runtime_is_alive(d->rt, call, ret, err) < 0)
		return -1;
	if (ret->is_alive)
		return 0;
	cleanup_modal_client struct modal_client c = {.status = GRPC_NONE};
	cleanup_buf struct buf words = {.data = NULL};
	if (modal_client_init(&c, &d->profile, d->ca_file, err) < 0)
		return -1;
	int ended = modal_sandbox_poll(&c, &d->sandbox, &deadline, how, sizeof how, err);
	if (ended <= 0) {
		crex_error_clear(err); /* what the runtime said is the answer then */
		return 0;
	}
	buf_init(&words, 2 * WORDS_BYTES);
	buf_printf(&words, "the sandbox has ended: %s", how);
	add_words(d, &c, &deadline, &words);
	char *message = buf_steal(&words, &(size_t){0});
	if (!message)
		return crex_error_set_errno(err, ENOMEM, NULL);
	free(ret->message);
	ret->message = message;
	return 0;
}

static int logs(struct crex_deployment *base, const struct crex_call *call, struct crex_text *ret,
		struct crex_error *err)
{
	struct modal_deployment *d = of(base);
	struct deadline deadline;
	cleanup_modal_client struct modal_client c = {.status = GRPC_NONE};
	cleanup_buf struct buf text = {.data = NULL};
	deadline_begin(&deadline, call);
	buf_init(&text, LOGS_BYTES);
	if (modal_client_init(&c, &d->profile, d->ca_file, err) < 0 ||
	    modal_logs(&c, &d->sandbox, &deadline, &text, err) < 0)
		return -1;
	ret->data = buf_steal(&text, &ret->len);
	return ret->data ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

/* ---- out of this process and back ---- */

static int detach(struct crex_deployment *base, struct crex_text *ret_state, struct crex_error *err)
{
	struct modal_deployment *d = of(base);
	const struct crex_modal_config *c = &d->config;
	json_t *host_timeout = c->host_timeout > 0 ? json_real(c->host_timeout) : json_null();
	json_t *state = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s, s:s?, s:f, s:o}", "sandbox", d->sandbox.id, "url",
				  d->url, "token", d->token, "app_name", c->app_name, "profile", c->profile,
				  "environment", d->profile.environment, "ca_file", d->ca_file, "runtime_timeout",
				  c->runtime_timeout, "host_timeout", host_timeout);
	char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
	json_decref(state);
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	*ret_state = (struct crex_text){text, strlen(text)};
	let_go(d);
	d->sandbox.id[0] = '\0';
	forget(d);
	return 0;
}

static void modal_free(struct crex_deployment *base)
{
	struct modal_deployment *d = of(base);
	modal_client_deinit(&d->client);
	pb_deinit(&d->creation.request);
	modal_options_deinit(&d->options);
	modal_profile_deinit(&d->profile);
	config_deinit(&modal_schema, &d->config);
	free(d->app_id);
	free(d->ca_file);
	free(d->url);
	free(d);
}

static const struct crex_deployment_ops modal_ops = {
	.type = "modal",
	.start = start,
	.is_alive = is_alive,
	.stop = stop,
	.runtime = runtime,
	.detach = detach,
	.logs = logs,
	.free = modal_free,
};

/* ---- making one ---- */

static int invalid(const char *field, const char *wanted, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "modal: field '%s' must be %s", field, wanted);
}

static int choose_authorities(struct modal_deployment *d, struct crex_error *err)
{
	const char *variable = getenv("SSL_CERT_FILE");
	const char *file = d->config.ca_file ? d->config.ca_file : variable && *variable ? variable : NULL;
	if (!file)
		return 0;
	if (access(file, R_OK) < 0)
		return crex_error_set(err, CREX_E_CONFIG, "modal: %s: %s: %s",
				      d->config.ca_file ? "field 'ca_file'" : "SSL_CERT_FILE", file, strerror(errno));
	d->ca_file = strdup(file);
	return d->ca_file ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

/* What the table of fields can't tell. `with_image`: one is to be started, not one that runs is resumed. */
static int complete(struct modal_deployment *d, bool with_image, struct crex_error *err)
{
	struct recipe recipe;
	const struct crex_modal_config *c = &d->config;
	if (c->port == 0)
		return invalid("port", "a port from 1 to 65535", err);
	if (modal_options_read(c->modal_sandbox_kwargs, &d->options, err) < 0)
		return -1;
	if (d->options.gpu && c->generation == CREX_MODAL_V2)
		return crex_error_set(err, CREX_E_CONFIG, "modal: sandboxes of generation \"v2\" have no GPU");
	if (choose_authorities(d, err) < 0)
		return -1;
	if (modal_profile_load(c->profile, c->environment, &d->profile, err) < 0)
		return -1;
	if (!with_image)
		return 0;
	if (recipe_load(c->image, &recipe, err) < 0)
		return -1;
	int r = modal_image_check(d, &recipe, err);
	recipe_deinit(&recipe);
	return r;
}

static struct modal_deployment *make(const struct crex_modal_config *config, bool with_image, struct crex_error *err)
{
	struct modal_deployment *d = calloc(1, sizeof *d);
	if (!d) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	if (config_copy(&modal_schema, config, &d->config, err) < 0) {
		free(d);
		return NULL;
	}
	if (complete(d, with_image, err) == 0 && crex_deployment_init(&d->base, &modal_ops, err) == 0)
		return d;
	modal_free(&d->base);
	return NULL;
}

struct crex_deployment *crex_modal_deployment_new(const struct crex_modal_config *config, struct crex_error *err)
{
	struct modal_deployment *d = make(config, true, err);
	return d ? &d->base : NULL;
}

static struct crex_deployment *from_json(const json_t *config, struct crex_error *err)
{
	struct crex_modal_config c = CREX_MODAL_CONFIG_INIT;
	if (config_read(&modal_schema, config, &c, err) < 0)
		return NULL;
	struct crex_deployment *d = crex_modal_deployment_new(&c, err);
	config_deinit(&modal_schema, &c);
	return d;
}

static const char *text_in(const json_t *state, const char *name)
{
	return json_string_value(json_object_get(state, name));
}

static struct crex_deployment *resume(const json_t *state, struct crex_error *err)
{
	struct crex_modal_config c = CREX_MODAL_CONFIG_INIT;
	const char *sandbox = text_in(state, "sandbox"), *url = text_in(state, "url"), *token = text_in(state, "token");
	const char *app_name = text_in(state, "app_name");
	double runtime_timeout = json_number_value(json_object_get(state, "runtime_timeout"));
	if (!sandbox || !url || !token || !app_name || strlen(sandbox) >= MODAL_ID_SIZE ||
	    strlen(token) >= MODAL_TOKEN_SIZE) {
		crex_error_set(err, CREX_E_CONFIG, "this is not the state of a detached modal deployment");
		return NULL;
	}
	c.app_name = app_name;
	c.profile = text_in(state, "profile");
	c.environment = text_in(state, "environment");
	c.ca_file = text_in(state, "ca_file");
	c.runtime_timeout = runtime_timeout > 0 ? runtime_timeout : c.runtime_timeout;
	const json_t *host_timeout = json_object_get(state, "host_timeout");
	c.host_timeout = json_number_value(host_timeout) > 0 ? json_number_value(host_timeout) : CREX_NO_TIMEOUT;
	struct modal_deployment *d = make(&c, false, err);
	if (!d)
		return NULL;
	snprintf(d->token, sizeof d->token, "%s", token);
	d->url = strdup(url);
	if (!d->url)
		crex_error_set_errno(err, ENOMEM, NULL);
	else if (connect_runtime(d, err) == 0 && begin_heartbeat(d, err) == 0) {
		snprintf(d->sandbox.id, sizeof d->sandbox.id, "%s", sandbox);
		d->sandbox.v2 = modal_id_is_v2(sandbox);
		return &d->base;
	}
	let_go(d); /* what can't be resumed is not stopped either */
	return crex_deployment_free(&d->base);
}

const struct deployment_type deployment_type_modal = {
	.name = "modal",
	.from_json = from_json,
	.resume = resume,
	.gc = modal_gc,
	.check = modal_check,
};

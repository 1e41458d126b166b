/* deploy/docker/deployment.c: a container of Docker or podman as a deployment: its config, its life in large.
 *
 * start: the image (image.c), the server for it (server_binary.c), the container (container.c), and a heartbeat that
 * keeps the server from ending itself while this program lives. stop takes all of that back, wherever the start was
 * cut. What is wrong with a config is said by the constructor; nothing is asked of the engine before start. */
#include "deploy/docker/docker.h"

#include "base/cleanup.h"
#include "deploy/config.h"
#include "deploy/heartbeat.h"
#include "deploy/registry.h"
#include "deploy/server_binary.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A few questions within the time after which the server would end itself. */
#define HEARTBEATS_IN_TIME 4
#define HEARTBEAT_SECONDS_MAX 15.0

static const char *const pull_choices[] = {
	[CREX_PULL_MISSING] = "missing", [CREX_PULL_ALWAYS] = "always", [CREX_PULL_NEVER] = "never", NULL};

#define FIELD(member, kind)                                                                    \
	{                                                                                      \
#member, kind, offsetof(struct crex_docker_config, member), false, false, NULL \
	}

static const struct config_field docker_fields[] = {
	FIELD(image, CONFIG_STRING),
	FIELD(port, CONFIG_PORT),
	FIELD(docker_args, CONFIG_STRINGS),
	FIELD(startup_timeout, CONFIG_SECONDS),
	{"pull", CONFIG_CHOICE, offsetof(struct crex_docker_config, pull), false, false, pull_choices},
	FIELD(remove_images, CONFIG_BOOL),
	FIELD(python_standalone_dir, CONFIG_STRING_OR_NULL),
	FIELD(platform, CONFIG_STRING_OR_NULL),
	FIELD(remove_container, CONFIG_BOOL),
	FIELD(container_runtime, CONFIG_STRING),
	FIELD(exec_shell, CONFIG_STRINGS),
	FIELD(docker_internal_host, CONFIG_STRING),
	FIELD(publish_address, CONFIG_STRING),
	FIELD(host_timeout, CONFIG_SECONDS_OR_NULL),
	FIELD(server_path, CONFIG_STRING_OR_NULL),
};

static const struct config_schema docker_schema = {
	.type = "docker",
	.fields = docker_fields,
	.n_fields = sizeof docker_fields / sizeof *docker_fields,
	.size = sizeof(struct crex_docker_config),
};

static struct docker_deployment *of(struct crex_deployment *d)
{
	return (struct docker_deployment *)d;
}

static int begin_heartbeat(struct docker_deployment *d, struct crex_error *err)
{
	double seconds = d->config.host_timeout / HEARTBEATS_IN_TIME;
	if (d->config.host_timeout < 0)
		return 0;
	d->heart = heartbeat_start(d->rt, seconds < HEARTBEAT_SECONDS_MAX ? seconds : HEARTBEAT_SECONDS_MAX, err);
	return d->heart ? 0 : -1;
}

static int start(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct docker_deployment *d = of(base);
	struct deadline deadline;
	const char *architecture;
	deadline_begin(&deadline, call);
	if (d->config.python_standalone_dir)
		crex_deployment_report(base, "python_standalone_dir is not needed: ignored");
	/* what an earlier stop could not take down */
	if (docker_container_remove(d, &deadline, err) < 0)
		return -1;
	if (docker_image_provide(d, &deadline, &architecture, err) < 0)
		return -1;
	cleanup_free char *server = server_binary_find(d->config.server_path, architecture, err);
	if (!server)
		return -1;
	crex_deployment_report(base, "Starting container");
	if (docker_container_start(d, server, &deadline, err) < 0)
		return -1;
	return begin_heartbeat(d, err);
}

static void let_go(struct docker_deployment *d)
{
	d->heart = heartbeat_stop(d->heart);
	d->rt = crex_runtime_free(d->rt);
	explicit_bzero(d->token, sizeof d->token);
}

static int stop(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct docker_deployment *d = of(base);
	struct deadline deadline;
	deadline_begin(&deadline, call);
	let_go(d);
	if (docker_container_remove(d, &deadline, err) < 0)
		return -1;
	d->planned[0] = '\0';
	if (d->config.remove_images && d->used_image)
		docker_image_remove(d, &deadline);
	return 0;
}

static struct crex_runtime *runtime(struct crex_deployment *base)
{
	return of(base)->rt;
}

static int logs(struct crex_deployment *base, const struct crex_call *call, struct crex_text *ret,
		struct crex_error *err)
{
	enum { LOG_BYTES = 16 << 20 };
	struct docker_deployment *d = of(base);
	struct deadline deadline;
	deadline_begin(&deadline, call);
	const char *const command[] = {d->config.container_runtime, "logs", d->container, NULL};
	const struct process_spec spec = {.argv = command, .max_output = LOG_BYTES};
	cleanup_process struct process p = {0};
	cleanup_buf struct buf text;
	buf_init(&text, 2 * LOG_BYTES + 1);
	if (process_run(&p, &spec, &deadline, err) < 0)
		return -1;
	if (process_exit_code(&p) != 0)
		return engine_failure(d->config.container_runtime, &p, CREX_E_SWEREX, "logs", err);
	int r = buf_append(&text, process_output(&p, PROCESS_STDOUT), p.output[PROCESS_STDOUT].len);
	if (r == 0)
		r = buf_append(&text, process_output(&p, PROCESS_STDERR), p.output[PROCESS_STDERR].len);
	char *data = r == 0 ? buf_steal(&text, &ret->len) : NULL;
	if (!data)
		return crex_error_set_errno(err, ENOMEM, NULL);
	ret->data = data;
	return 0;
}

/* ---- out of this process and back ---- */

static int text_of(json_t *state, struct crex_text *ret, struct crex_error *err)
{
	char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
	json_decref(state);
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	*ret = (struct crex_text){text, strlen(text)};
	return 0;
}

static int plan(struct crex_deployment *base, struct crex_text *ret_state, struct crex_error *err)
{
	struct docker_deployment *d = of(base);
	if (docker_container_choose_id(d->planned, err) < 0)
		return -1;
	return text_of(json_pack("{s:s, s:s, s:s, s:s}", "container_runtime", d->config.container_runtime, "image",
				 d->config.image, "container", d->args.container ? d->args.container : d->planned,
				 "planned", d->planned),
		       ret_state, err);
}

/* Nobody beats the heart of a detached sandbox: with a host_timeout it ends itself so long after it was last used. */

static int detach(struct crex_deployment *base, struct crex_text *ret_state, struct crex_error *err)
{
	struct docker_deployment *d = of(base);
	const struct crex_docker_config *c = &d->config;
	json_t *host_timeout = c->host_timeout > 0 ? json_real(c->host_timeout) : json_null();
	json_t *state = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:b, s:b, s:o}", "container_runtime",
				  c->container_runtime, "image", c->image, "container", d->container, "id", d->id,
				  "docker_internal_host", c->docker_internal_host, "port", d->port, "token", d->token,
				  "remove_images", c->remove_images, "remove_container", c->remove_container,
				  "host_timeout", host_timeout);
	if (text_of(state, ret_state, err) < 0)
		return -1;
	let_go(d);
	d->id[0] = d->planned[0] = '\0';
	d->is_up = d->used_image = false;
	return 0;
}

static void docker_free(struct crex_deployment *base)
{
	struct docker_deployment *d = of(base);
	process_deinit(&d->birth);
	docker_arguments_deinit(&d->args);
	config_deinit(&docker_schema, &d->config);
	free(d);
}

static const struct crex_deployment_ops docker_ops = {
	.type = "docker",
	.start = start,
	.stop = stop,
	.runtime = runtime,
	.detach = detach,
	.logs = logs,
	.free = docker_free,
	.plan = plan,
};

/* ---- making one ---- */

static int invalid(const char *field, const char *wanted, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "docker: field '%s' must be %s", field, wanted);
}

/* What the table of fields can't tell. */
static int complete(struct docker_deployment *d, struct crex_error *err)
{
	unsigned char address[sizeof(struct in6_addr)];
	const struct crex_docker_config *c = &d->config;
	if (*c->image == '-' || c->image[strcspn(c->image, " \t\n")])
		return invalid("image", "the name of an image", err);
	if (inet_pton(AF_INET, c->publish_address, address) != 1 &&
	    inet_pton(AF_INET6, c->publish_address, address) != 1)
		return invalid("publish_address", "an address of this machine, as 127.0.0.1", err);
	if (docker_arguments_read(c->docker_args, &d->args, err) < 0)
		return -1;
	if (c->platform && *c->platform && d->args.platform)
		return crex_error_set(
			err, CREX_E_CONFIG,
			"docker: field 'platform' is given and docker_args have --platform as well: say it once");
	d->platform = d->args.platform ? d->args.platform : c->platform && *c->platform ? c->platform : NULL;
	return 0;
}

struct crex_deployment *crex_docker_deployment_new(const struct crex_docker_config *config, struct crex_error *err)
{
	struct docker_deployment *d = calloc(1, sizeof *d);
	if (!d) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	d->birth.pidfd = d->birth.fds[0] = d->birth.fds[1] = -1;
	if (config_copy(&docker_schema, config, &d->config, err) < 0) {
		free(d);
		return NULL;
	}
	if (complete(d, err) == 0 && crex_deployment_init(&d->base, &docker_ops, err) == 0)
		return &d->base;
	docker_free(&d->base);
	return NULL;
}

static struct crex_deployment *from_json(const json_t *config, struct crex_error *err)
{
	struct crex_docker_config c = CREX_DOCKER_CONFIG_INIT;
	if (config_read(&docker_schema, config, &c, err) < 0)
		return NULL;
	struct crex_deployment *d = crex_docker_deployment_new(&c, err);
	config_deinit(&docker_schema, &c);
	return d;
}

static struct docker_deployment *named(struct crex_docker_config *c, const char *container, const char *id,
				       struct crex_error *err)
{
	/* a container that the user has named is known again by its name and our label */
	const char *const name[] = {"--name", container, NULL};
	c->docker_args = strcmp(container, id) == 0 ? NULL : name;
	struct docker_deployment *d = of(crex_docker_deployment_new(c, err));
	if (!d)
		return NULL;
	snprintf(d->id, sizeof d->id, "%s", id);
	d->container = d->args.container ? d->args.container : d->id;
	return d;
}

/* There may be a container, or one to come; there is nothing to talk to. */
static struct crex_deployment *resume_plan(const json_t *state, struct crex_error *err)
{
	struct crex_docker_config c = CREX_DOCKER_CONFIG_INIT;
	const char *container = NULL, *id = NULL;
	if (json_unpack((json_t *)state, "{s:s, s:s, s:s, s:s}", "container_runtime", &c.container_runtime, "image",
			&c.image, "container", &container, "planned", &id) < 0) {
		crex_error_set(err, CREX_E_CONFIG, "this is not the plan of a docker deployment");
		return NULL;
	}
	struct docker_deployment *d = named(&c, container, id, err);
	if (!d)
		return NULL;
	d->is_cut_off = true;
	return &d->base;
}

static struct crex_deployment *resume(const json_t *state, struct crex_error *err)
{
	if (json_object_get(state, "planned"))
		return resume_plan(state, err);
	struct crex_docker_config c = CREX_DOCKER_CONFIG_INIT;
	const char *container = NULL, *id = NULL, *token = NULL;
	int port = 0, remove_images = 0, remove_container = 0;
	if (json_unpack((json_t *)state, "{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:b, s:b}", "container_runtime",
			&c.container_runtime, "image", &c.image, "container", &container, "id", &id,
			"docker_internal_host", &c.docker_internal_host, "port", &port, "token", &token,
			"remove_images", &remove_images, "remove_container", &remove_container) < 0) {
		crex_error_set(err, CREX_E_CONFIG, "this is not the state of a detached docker deployment");
		return NULL;
	}
	const json_t *host_timeout = json_object_get(state, "host_timeout");
	c.host_timeout = json_number_value(host_timeout) > 0 ? json_number_value(host_timeout) : CREX_NO_TIMEOUT;
	c.remove_images = remove_images;
	c.remove_container = remove_container;
	struct docker_deployment *d = named(&c, container, id, err);
	if (!d)
		return NULL;
	snprintf(d->token, sizeof d->token, "%s", token);
	d->is_up = d->used_image = true;
	if (docker_container_connect(d, port, err) == 0 && begin_heartbeat(d, err) == 0)
		return &d->base;
	let_go(d);
	d->id[0] = '\0'; /* what can't be resumed is not stopped either */
	return crex_deployment_free(&d->base);
}

const struct deployment_type deployment_type_docker = {
	.name = "docker",
	.from_json = from_json,
	.resume = resume,
	.gc = docker_gc,
	.check = docker_check,
};

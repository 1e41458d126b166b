/* deploy/fargate/deployment.c: a task of AWS Fargate as a deployment: its config, its life in large.
 *
 * start: role, log group, cluster, task definition, network, then the task, its address, and the server in it. Whatever
 * of the first five is missing is made and stays: it costs nothing and the next start finds it. The task is the one
 * thing that is paid for; stop ends it, wherever the start was cut (task.c).
 *
 * The way to the server is plain HTTP, as upstream's: the token goes over it in clear, which is why only this machine's
 * address is let in unless the config says otherwise. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include "deploy/config.h"
#include "deploy/heartbeat.h"
#include "deploy/ready.h"
#include "deploy/registry.h"
#include <errno.h>
#include <string.h>

#define HEARTBEATS_IN_TIME 4
#define HEARTBEAT_SECONDS_MAX 15.0
#define LOOK_SECONDS 2.0 /* between two looks at a task whose server is waited for */
enum { LOG_BYTES = 16 << 20 };

static const char *const architectures[] = {[CREX_FARGATE_X86_64] = "x86_64", [CREX_FARGATE_AARCH64] = "aarch64", NULL};

#define FIELD(member, kind)                                                                     \
	{                                                                                       \
#member, kind, offsetof(struct crex_fargate_config, member), false, false, NULL \
	}

static const struct config_field fargate_fields[] = {
	FIELD(image, CONFIG_STRING),
	FIELD(port, CONFIG_PORT),
	FIELD(cluster_name, CONFIG_STRING),
	FIELD(execution_role_prefix, CONFIG_STRING),
	FIELD(task_definition_prefix, CONFIG_STRING),
	FIELD(log_group, CONFIG_STRING_OR_NULL),
	FIELD(security_group_prefix, CONFIG_STRING),
	FIELD(fargate_args, CONFIG_JSON),
	FIELD(container_timeout, CONFIG_SECONDS),
	FIELD(runtime_timeout, CONFIG_SECONDS),
	FIELD(region, CONFIG_STRING_OR_NULL),
	FIELD(profile, CONFIG_STRING_OR_NULL),
	FIELD(endpoint_url, CONFIG_STRING_OR_NULL),
	FIELD(ingress_cidr, CONFIG_STRING_OR_NULL),
	FIELD(address_url, CONFIG_STRING),
	FIELD(assign_public_ip, CONFIG_BOOL),
	FIELD(subnets, CONFIG_STRINGS),
	FIELD(security_groups, CONFIG_STRINGS),
	FIELD(execution_role_arn, CONFIG_STRING_OR_NULL),
	{"architecture", CONFIG_CHOICE, offsetof(struct crex_fargate_config, architecture), false, false,
	 architectures},
	FIELD(server_url, CONFIG_STRING_OR_NULL),
	FIELD(server_sha256, CONFIG_STRING_OR_NULL),
	FIELD(startup_timeout, CONFIG_SECONDS),
	FIELD(host_timeout, CONFIG_SECONDS_OR_NULL),
};

static const struct config_schema fargate_schema = {
	.type = "fargate",
	.fields = fargate_fields,
	.n_fields = sizeof fargate_fields / sizeof *fargate_fields,
	.size = sizeof(struct crex_fargate_config),
};

static struct fargate *of(struct crex_deployment *d)
{
	return (struct fargate *)d;
}

/* ---- start ---- */

static int prepare(struct fargate *f, bool *ret_role_is_new, const struct deadline *d, struct crex_error *err)
{
	struct fargate_network network;
	cleanup_free char *role = NULL, *definition = NULL;
	if (fargate_role(f, d, &role, ret_role_is_new, err) < 0 || fargate_log_group(f, d, err) < 0 ||
	    fargate_cluster(f, d, err) < 0 || fargate_definition(f, role, *ret_role_is_new, d, &definition, err) < 0 ||
	    fargate_network(f, d, &network, err) < 0)
		return -1;
	int r = fargate_task_prepare(f, definition, &network, err);
	fargate_network_deinit(&network);
	return r;
}

static void report_log_url(struct fargate *f)
{
	cleanup_free char *url = fargate_log_url(f);
	if (url)
		crex_deployment_report(&f->base, "Log: %s", url);
}

static int connect_to(struct fargate *f, struct crex_error *err)
{
	struct crex_remote_runtime_config c = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	c.host = f->address;
	c.port = f->config.port;
	c.auth_token = f->token;
	c.timeout = f->config.runtime_timeout;
	f->rt = crex_remote_runtime_new(&c, err);
	return f->rt ? 0 : -1;
}

struct look {
	struct fargate *f;
	const struct deadline *d;
	double at; /* clock_now() of the last one */
};

static int still_there(void *arg, struct crex_error *err)
{
	struct look *look = arg;
	double now = clock_now();
	if (now - look->at < LOOK_SECONDS)
		return 0;
	look->at = now;
	return fargate_task_check(look->f, look->d, err);
}

static int wait_for_server(struct fargate *f, const struct deadline *deadline, struct crex_error *err)
{
	struct deadline answer = *deadline;
	deadline_limit(&answer, f->config.runtime_timeout);
	struct look look = {f, &answer, clock_now()};
	crex_deployment_report(&f->base, "Waiting for the server at %s port %d", f->address, f->config.port);
	if (wait_until_ready(f->rt, &answer, still_there, &look, err) == 0)
		return 0;
	if (err->code == CREX_E_DEADLINE && deadline_check(deadline, NULL) == 0) /* in the middle of a look */
		crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the runtime did not answer in time");
	/* a server that ended in the last seconds has a better story than the time that is over */
	cleanup_error struct crex_error ended = CREX_ERROR_INIT;
	if (err->code == CREX_E_DEPLOYMENT_STARTUP && !f->has_stopped && deadline_check(deadline, NULL) == 0 &&
	    fargate_task_check(f, deadline, &ended) < 0 && ended.code == CREX_E_DEPLOYMENT_STARTUP)
		crex_error_move(err, &ended);
	else if (err->code == CREX_E_DEPLOYMENT_STARTUP && !f->has_stopped)
		crex_error_prefix(
			err,
			"the task runs, but its server can't be reached at %s port %d (may this machine reach "
			"it? see ingress_cidr, assign_public_ip): ",
			f->address, f->config.port);
	return -1;
}

static int begin_heartbeat(struct fargate *f, struct crex_error *err)
{
	double seconds = f->config.host_timeout / HEARTBEATS_IN_TIME;
	if (f->config.host_timeout < 0)
		return 0;
	f->heart = heartbeat_start(f->rt, seconds < HEARTBEAT_SECONDS_MAX ? seconds : HEARTBEAT_SECONDS_MAX, err);
	return f->heart ? 0 : -1;
}

static int bring_up(struct fargate *f, const struct deadline *d, struct crex_error *err)
{
	struct deadline startup = *d;
	bool role_is_new = false;
	deadline_limit(&startup, f->config.startup_timeout);
	/* what an earlier stop could not take down */
	if (fargate_task_stop(f, d, err) < 0 || prepare(f, &role_is_new, &startup, err) < 0 ||
	    fargate_task_run(f, role_is_new, &startup, err) < 0)
		return -1;
	report_log_url(f);
	if (fargate_task_wait(f, &startup, err) < 0 || connect_to(f, err) < 0 || wait_for_server(f, d, err) < 0)
		return -1;
	return begin_heartbeat(f, err);
}

static int start(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	if (bring_up(of(base), &d, err) == 0)
		return 0;
	if (err->code == CREX_E_SWEREX) /* AWS refused something of this start */
		err->code = CREX_E_DEPLOYMENT_STARTUP;
	if (err->code == CREX_E_DEADLINE && deadline_check(&d, NULL) == 0) { /* startup_timeout, not the caller's */
		crex_error_prefix(err, "the task did not run within startup_timeout: ");
		err->code = CREX_E_DEPLOYMENT_STARTUP;
	}
	return -1;
}

/* ---- the rest of its life ---- */

static void let_go(struct fargate *f)
{
	f->heart = heartbeat_stop(f->heart);
	f->rt = crex_runtime_free(f->rt);
}

static int stop(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	let_go(of(base));
	if (fargate_task_stop(of(base), &d, err) < 0)
		return -1;
	explicit_bzero(of(base)->token, sizeof of(base)->token);
	return 0;
}

static struct crex_runtime *runtime(struct crex_deployment *base)
{
	return of(base)->rt;
}

/* When the runtime doesn't answer, what ECS says of its task is the better message. */
static int is_alive(struct crex_deployment *base, const struct crex_call *call, struct crex_is_alive *ret,
		    struct crex_error *err)
{
	struct fargate *f = of(base);
	struct deadline d;
	deadline_begin(&d, call);
	if (crex_runtime_is_alive(f->rt, call, ret, err) < 0)
		return -1;
	cleanup_error struct crex_error ended = CREX_ERROR_INIT;
	if (ret->is_alive || deadline_check(&d, NULL) < 0 || fargate_task_check(f, &d, &ended) == 0 ||
	    ended.code != CREX_E_DEPLOYMENT_STARTUP || !ended.message)
		return 0;
	free(ret->message);
	ret->message = steal_ptr(ended.message);
	return 0;
}

static int logs(struct crex_deployment *base, const struct crex_call *call, struct crex_text *ret,
		struct crex_error *err)
{
	struct deadline d;
	cleanup_buf struct buf text = {0};
	deadline_begin(&d, call);
	if (!of(base)->config.log_group)
		return crex_error_set(err, CREX_E_UNSUPPORTED, "fargate: log_group is null, so no log is kept");
	if (fargate_logs(of(base), &d, LOG_BYTES, &text, err) < 0)
		return -1;
	char *data = buf_steal(&text, &ret->len);
	if (!data)
		return crex_error_set_errno(err, ENOMEM, NULL);
	ret->data = data;
	return 0;
}

static int detach(struct crex_deployment *base, struct crex_text *ret_state, struct crex_error *err)
{
	struct fargate *f = of(base);
	const struct crex_fargate_config *c = &f->config;
	json_t *timeout = c->host_timeout > 0 ? json_real(c->host_timeout) : json_null();
	json_t *state = json_pack("{s:s, s:s?, s:s?, s:s?, s:s, s:s, s:s, s:i, s:s, s:f, s:o}", "region", f->aws.region,
				  "profile", c->profile, "endpoint_url", c->endpoint_url, "log_group", c->log_group,
				  "cluster", f->cluster, "task", f->task, "address", f->address, "port", c->port,
				  "token", f->token, "runtime_timeout", c->runtime_timeout, "host_timeout", timeout);
	char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
	json_decref(state);
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	*ret_state = (struct crex_text){text, strlen(text)};
	let_go(f);
	fargate_task_forget(f);
	return 0;
}

static void fargate_free(struct crex_deployment *base)
{
	struct fargate *f = of(base);
	fargate_task_forget(f);
	free(f->cluster);
	explicit_bzero(f->token, sizeof f->token);
	fargate_settings_deinit(&f->settings);
	aws_deinit(&f->aws);
	config_deinit(&fargate_schema, &f->config);
	free(f);
}

static const struct crex_deployment_ops fargate_ops = {
	.type = "fargate",
	.start = start,
	.is_alive = is_alive,
	.stop = stop,
	.runtime = runtime,
	.detach = detach,
	.logs = logs,
	.free = fargate_free,
};

/* ---- making one ---- */

struct crex_deployment *crex_fargate_deployment_new(const struct crex_fargate_config *config, struct crex_error *err)
{
	struct fargate *f = calloc(1, sizeof *f);
	if (!f) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	if (config_copy(&fargate_schema, config, &f->config, err) < 0) {
		free(f);
		return NULL;
	}
	const struct crex_fargate_config *c = &f->config;
	if (fargate_settings_read(c, &f->settings, err) == 0 &&
	    aws_init(&f->aws, c->region, c->endpoint_url, c->profile, err) == 0 &&
	    crex_deployment_init(&f->base, &fargate_ops, err) == 0)
		return &f->base;
	fargate_free(&f->base);
	return NULL;
}

static struct crex_deployment *from_json(const json_t *config, struct crex_error *err)
{
	struct crex_fargate_config c = CREX_FARGATE_CONFIG_INIT;
	if (config_read(&fargate_schema, config, &c, err) < 0)
		return NULL;
	struct crex_deployment *d = crex_fargate_deployment_new(&c, err);
	config_deinit(&fargate_schema, &c);
	return d;
}

static int restore(struct fargate *f, const char *cluster, const char *task, const char *address, const char *token,
		   struct crex_error *err)
{
	f->cluster = strdup(cluster);
	f->task = strdup(task);
	f->address = strdup(address);
	if (!f->cluster || !f->task || !f->address)
		return crex_error_set_errno(err, ENOMEM, NULL);
	memcpy(f->token, token, strlen(token) + 1);
	return connect_to(f, err) < 0 ? -1 : begin_heartbeat(f, err);
}

static struct crex_deployment *resume(const json_t *state, struct crex_error *err)
{
	struct crex_fargate_config c = CREX_FARGATE_CONFIG_INIT;
	const char *cluster, *task, *address, *token;
	if (json_unpack((json_t *)state, "{s:s, s:s, s:s, s:s, s:s, s:i, s:F}", "region", &c.region, "cluster",
			&cluster, "task", &task, "address", &address, "token", &token, "port", &c.port,
			"runtime_timeout", &c.runtime_timeout) < 0 ||
	    strlen(token) >= sizeof((struct fargate *)NULL)->token) {
		crex_error_set(err, CREX_E_CONFIG, "this is not the state of a detached fargate deployment");
		return NULL;
	}
	c.profile = json_string_value(json_object_get(state, "profile"));
	c.endpoint_url = json_string_value(json_object_get(state, "endpoint_url"));
	c.log_group = json_string_value(json_object_get(state, "log_group"));
	const json_t *timeout = json_object_get(state, "host_timeout");
	c.host_timeout = json_is_number(timeout) ? json_number_value(timeout) : CREX_NO_TIMEOUT;
	struct crex_deployment *d = crex_fargate_deployment_new(&c, err);
	if (!d || restore(of(d), cluster, task, address, token, err) == 0)
		return d;
	let_go(of(d)); /* the task isn't this object's to stop when it could not be resumed */
	fargate_task_forget(of(d));
	return crex_deployment_free(d);
}

const struct deployment_type deployment_type_fargate = {
	.name = "fargate",
	.from_json = from_json,
	.resume = resume,
	.gc = fargate_gc,
	.check = fargate_check,
};

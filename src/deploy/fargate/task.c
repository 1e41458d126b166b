/* deploy/fargate/task.c: one task, from RunTask to StopTask.
 *
 * RunTask's answer may be lost after the task was made. So its parameters, with a client token, are fixed before it is
 * sent: a repeat with the same token gets the same task, and never a second one. A stop that does not know the task
 * looks for it by its startedBy first; the list may lag behind, so when nothing is found there RunTask is repeated,
 * whose answer is certain, and the task in it stopped: it costs nothing yet.
 *
 * StopTask's answer is the end for us: ECS has taken it down for good then, and the server ends on its SIGTERM. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/owner.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NEW_ROLE_SECONDS 90.0
#define OLD_ROLE_SECONDS 15.0
#define MISSING_SECONDS 15.0 /* a task that was just made may not be found yet */
#define ADDRESS_SECONDS 30.0
#define POLL_FIRST 0.1
#define POLL_MAX 3.0

static json_t *environment_of(const struct fargate *f)
{
	const struct crex_fargate_config *c = &f->config;
	char timeout[32];
	snprintf(timeout, sizeof timeout, "%g", c->host_timeout > 0 ? c->host_timeout : 0);
	return json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "name", "SWEREX_AUTH_TOKEN", "value",
			 f->token, "name", "SWEREX_HOST_TIMEOUT", "value", timeout, "name", "CREX_SERVER_URL", "value",
			 c->server_url ? c->server_url : "", "name", "CREX_SERVER_SHA256", "value",
			 c->server_sha256 ? c->server_sha256 : "");
}

/* What is to outlive its program is nobody's to sweep. */
static json_t *tags_of(const struct fargate *f)
{
	json_t *tags = fargate_tags();
	if (f->config.host_timeout < 0 || !tags)
		return tags;
	cleanup_free char *owner = owner_of_this_process();
	if (owner)
		fargate_owner_to_tag(owner);
	json_t *tag = owner ? json_pack("{s:s, s:s}", "key", FARGATE_OWNER_TAG, "value", owner) : NULL;
	if (json_array_append_new(tags, tag) == 0)
		return tags;
	json_decref(tags);
	return NULL;
}

int fargate_task_prepare(struct fargate *f, const char *definition, const struct fargate_network *network,
			 struct crex_error *err)
{
	char uuid[RANDOM_UUID_SIZE];
	random_uuid(uuid);
	if (random_hex(f->token, 16) < 0)
		return crex_error_set(err, CREX_E_OS, "the system gives no random numbers for a token");
	if (asprintf(&f->mark, "crex-%s", uuid) < 0)
		f->mark = NULL;
	cleanup_json json_t *run = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:i, s:{s:{s:O, s:O, s:s}}, s:{s:[{s:s, s:o}]}, s:o}", "cluster", f->cluster,
		"taskDefinition", definition, "launchType", "FARGATE", "clientToken", uuid, "startedBy",
		f->mark ? f->mark : "", "count", 1, "networkConfiguration", "awsvpcConfiguration", "subnets",
		network->subnets, "securityGroups", network->groups, "assignPublicIp",
		f->config.assign_public_ip ? "ENABLED" : "DISABLED", "overrides", "containerOverrides", "name",
		FARGATE_CONTAINER, "environment", environment_of(f), "tags", tags_of(f));
	f->run = run && f->mark ? json_dumps(run, JSON_COMPACT) : NULL;
	return f->run ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

void fargate_task_forget(struct fargate *f)
{
	if (f->run)
		explicit_bzero(f->run, strlen(f->run));
	free(f->run);
	free(f->mark);
	free(f->task);
	free(f->address);
	f->run = f->mark = f->task = f->address = NULL;
	f->sent = f->has_stopped = false;
}

/* ---- RunTask ---- */

static int no_task(const json_t *answer, struct crex_error *err)
{
	const json_t *failure = json_array_get(json_object_get(answer, "failures"), 0);
	const char *reason = json_string_value(json_object_get(failure, "reason"));
	const char *detail = json_string_value(json_object_get(failure, "detail"));
	bool told = detail && *detail;
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "Fargate did not start a task: %s%s%s%s",
			      reason ? reason : "no reason given", told ? " (" : "", told ? detail : "",
			      told ? ")" : "");
}

static int run_once(struct fargate *f, const struct deadline *d, struct aws_refusal *why, struct crex_error *err)
{
	cleanup_json json_t *answer = NULL;
	f->sent = true;
	if (aws_json(&f->aws, AWS_ECS, "RunTask", json_loads(f->run, 0, NULL), d, &answer, why, err) < 0)
		return -1;
	const json_t *task = json_array_get(json_object_get(answer, "tasks"), 0);
	const char *arn = json_string_value(json_object_get(task, "taskArn"));
	if (!arn) {
		f->sent = false; /* an answer without a task is certain */
		return no_task(answer, err);
	}
	f->task = strdup(arn);
	return f->task ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

/* What passes: a role, a security group, ECS's own role that were just made. */
static bool may_settle(const struct aws_refusal *why)
{
	return (aws_was_refused_with(why, "ClientException") && strcasestr(why->message, "role")) ||
	       (aws_was_refused_with(why, "InvalidParameterException") &&
		(strcasestr(why->message, "service linked role") || strstr(why->message, "InvalidGroup.NotFound")));
}

int fargate_task_run(struct fargate *f, bool role_is_new, const struct deadline *d, struct crex_error *err)
{
	struct fargate_pause pause = fargate_pause_begin(0.5, 4, role_is_new ? NEW_ROLE_SECONDS : OLD_ROLE_SECONDS);
	crex_deployment_report(&f->base, "Starting task");
	for (;;) {
		struct aws_refusal why;
		if (run_once(f, d, &why, err) == 0)
			return 0;
		if (aws_refusal_kind(&why) == AWS_REFUSED && *why.code)
			f->sent = false;
		if (!may_settle(&why) || fargate_pause_take(&pause, d, err) <= 0)
			return -1;
	}
}

/* ---- waiting ---- */

/* *ret: the task, to be freed; NULL: ECS doesn't know it. */
static int describe(struct fargate *f, const struct deadline *d, json_t **ret, struct crex_error *err)
{
	cleanup_json json_t *answer = NULL;
	json_t *body = json_pack("{s:s, s:[s]}", "cluster", f->cluster, "tasks", f->task);
	*ret = NULL;
	if (aws_json(&f->aws, AWS_ECS, "DescribeTasks", body, d, &answer, NULL, err) < 0)
		return -1;
	*ret = json_incref(json_array_get(json_object_get(answer, "tasks"), 0));
	return 0;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? text : "";
}

/* A detail of the task's network interface, by its name; NULL: not there yet. */
static const char *interface_detail(const json_t *task, const char *name)
{
	size_t i, j;
	json_t *attachment, *detail;
	json_array_foreach(json_object_get(task, "attachments"), i, attachment)
	{
		if (strcmp(text_of(attachment, "type"), "ElasticNetworkInterface") != 0)
			continue;
		json_array_foreach(json_object_get(attachment, "details"), j,
				   detail) if (strcmp(text_of(detail, "name"), name) ==
					       0) return json_string_value(json_object_get(detail, "value"));
	}
	return NULL;
}

/* A task on its way out never comes back. */
static bool is_ending(const json_t *task)
{
	return strcmp(text_of(task, "lastStatus"), "STOPPED") == 0 ||
	       strcmp(text_of(task, "desiredStatus"), "STOPPED") == 0;
}

static int wait_until_running(struct fargate *f, const struct deadline *d, json_t **ret, struct crex_error *err)
{
	struct fargate_pause pause = fargate_pause_begin(POLL_FIRST, POLL_MAX, CREX_NO_TIMEOUT);
	struct deadline missing = {.at = CREX_NO_TIMEOUT};
	char last[32] = "";
	deadline_limit(&missing, MISSING_SECONDS);
	for (;;) {
		cleanup_json json_t *task = NULL;
		if (describe(f, d, &task, err) < 0)
			return -1;
		const char *status = task ? text_of(task, "lastStatus") : "";
		if (task && strcmp(status, last) != 0) {
			snprintf(last, sizeof last, "%s", status);
			crex_deployment_report(&f->base, "Task is %s", status);
		}
		if (strcmp(status, "STOPPED") == 0) {
			f->has_stopped = true;
			return fargate_explain_stop(f, task, d, err);
		}
		if (strcmp(status, "RUNNING") == 0 && !is_ending(task)) {
			*ret = json_incref(task);
			return 0;
		}
		if (!task && deadline_left(&missing) == 0)
			return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "ECS does not know its own task %s",
					      f->task);
		if (fargate_pause_take(&pause, d, err) < 0)
			return -1;
	}
}

static int take_address(struct fargate *f, const char *address, struct crex_error *err)
{
	bool v6 = strchr(address, ':');
	if (asprintf(&f->address, v6 ? "http://[%s]" : "http://%s", address) >= 0)
		return 0;
	f->address = NULL;
	return crex_error_set_errno(err, ENOMEM, NULL);
}

static int find_public_address(struct fargate *f, const char *interface, const struct deadline *d,
			       struct crex_error *err)
{
	const char *const pairs[] = {"NetworkInterfaceId.1", interface, NULL};
	struct fargate_pause pause = fargate_pause_begin(POLL_FIRST, POLL_MAX, ADDRESS_SECONDS);
	for (;;) {
		cleanup_xml struct xml_node *answer = NULL;
		struct aws_refusal why;
		int r = aws_query(&f->aws, AWS_EC2, "DescribeNetworkInterfaces", pairs, d, &answer, &why, err);
		if (r < 0 && !aws_was_refused_with(&why, "InvalidNetworkInterfaceID.NotFound"))
			return -1;
		const char *address = xml_text(answer, "networkInterfaceSet/item/association/publicIp");
		if (address)
			return take_address(f, address, err);
		if (r == 0)
			crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
				       "the task has no public address: do its subnets lead to an internet gateway? "
				       "(assign_public_ip false uses the private one)");
		if (fargate_pause_take(&pause, d, err) <= 0)
			return -1;
	}
}

int fargate_task_wait(struct fargate *f, const struct deadline *d, struct crex_error *err)
{
	cleanup_json json_t *task = NULL;
	if (wait_until_running(f, d, &task, err) < 0)
		return -1;
	const char *address = interface_detail(task, "privateIPv4Address");
	const char *interface = interface_detail(task, "networkInterfaceId");
	if (!f->config.assign_public_ip && address)
		return take_address(f, address, err);
	if (f->config.assign_public_ip && interface)
		return find_public_address(f, interface, d, err);
	return crex_error_set(err, CREX_E_PROTOCOL, "ecs: the running task has no network interface");
}

int fargate_task_check(struct fargate *f, const struct deadline *d, struct crex_error *err)
{
	cleanup_json json_t *task = NULL;
	if (describe(f, d, &task, err) < 0)
		return -1;
	if (!task)
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the task is gone");
	if (!is_ending(task))
		return 0;
	/* exit codes and reasons are there when it has ended altogether */
	struct fargate_pause pause = fargate_pause_begin(POLL_FIRST, 1, 20);
	while (strcmp(text_of(task, "lastStatus"), "STOPPED") != 0 && fargate_pause_take(&pause, d, err) > 0) {
		json_t *now = NULL;
		if (describe(f, d, &now, err) < 0 || !now)
			break;
		json_decref(task);
		task = now;
	}
	f->has_stopped = strcmp(text_of(task, "lastStatus"), "STOPPED") == 0;
	return fargate_explain_stop(f, task, d, err);
}

/* ---- the end ---- */

static bool is_gone(const struct aws_refusal *why)
{
	return aws_was_refused_with(why, "ClusterNotFoundException") ||
	       (aws_was_refused_with(why, "InvalidParameterException") && strstr(why->message, "not found"));
}

static int find_by_mark(struct fargate *f, const struct deadline *d, struct crex_error *err)
{
	cleanup_json json_t *answer = NULL;
	json_t *body = json_pack("{s:s, s:s}", "cluster", f->cluster, "startedBy", f->mark);
	if (aws_json(&f->aws, AWS_ECS, "ListTasks", body, d, &answer, NULL, err) < 0)
		return -1;
	const char *arn = json_string_value(json_array_get(json_object_get(answer, "taskArns"), 0));
	f->task = arn ? strdup(arn) : NULL;
	return 0;
}

/* f->task, or NULL: there certainly is none. */
static int find_again(struct fargate *f, const struct deadline *d, struct crex_error *err)
{
	struct aws_refusal why;
	find_by_mark(f, d, err); /* when it fails the next one decides */
	crex_error_clear(err);
	if (f->task)
		return 0;
	if (run_once(f, d, &why, err) == 0)
		return 0;
	enum aws_kind kind = *why.code ? aws_refusal_kind(&why) : AWS_TRANSIENT;
	bool certain = !f->sent || (kind != AWS_TRANSIENT && kind != AWS_THROTTLED);
	if (certain)
		crex_error_clear(err);
	return certain ? 0 : -1;
}

int fargate_task_stop(struct fargate *f, const struct deadline *d, struct crex_error *err)
{
	struct aws_refusal why;
	if (f->run && f->sent && !f->task && find_again(f, d, err) < 0)
		return -1;
	if (f->task && !f->has_stopped) {
		json_t *body = json_pack("{s:s, s:s, s:s}", "cluster", f->cluster, "task", f->task, "reason",
					 "stopped by crex");
		if (aws_json(&f->aws, AWS_ECS, "StopTask", body, d, NULL, &why, err) < 0 && !is_gone(&why))
			return -1;
		crex_error_clear(err);
	}
	fargate_task_forget(f);
	return 0;
}

/* deploy/fargate/definition.c: what a task is made from: log group, cluster, task definition.
 *
 * The task definition's family has the hash of its content in its name: a config that was used before finds its own,
 * and one that differs in anything gets another. Registering twice (an answer that was lost) makes a second revision of
 * the same content, which harms nobody.
 *
 * The log group is made here, with our tag, and not by the log driver, which could not tag it. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NEW_ROLE_SECONDS 90.0
#define OLD_ROLE_SECONDS 15.0

int fargate_log_group(struct fargate *f, const struct deadline *d, struct crex_error *err)
{
	struct aws_refusal why;
	if (!f->config.log_group)
		return 0;
	json_t *body = json_pack("{s:s, s:{s:s}}", "logGroupName", f->config.log_group, "tags", FARGATE_TAG,
				 FARGATE_TAG_VALUE);
	if (aws_json(&f->aws, AWS_LOGS, "CreateLogGroup", body, d, NULL, &why, err) == 0)
		return 0;
	if (!aws_was_refused_with(&why, "ResourceAlreadyExistsException"))
		return -1;
	crex_error_clear(err);
	return 0;
}

static int take(const json_t *answer, const char *object, const char *name, char **ret, struct crex_error *err)
{
	const char *arn = json_string_value(json_object_get(json_object_get(answer, object), name));
	if (!arn)
		return crex_error_set(err, CREX_E_PROTOCOL, "ecs: the answer has no %s", name);
	*ret = strdup(arn);
	return *ret ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

int fargate_cluster(struct fargate *f, const struct deadline *d, struct crex_error *err)
{
	cleanup_json json_t *answer = NULL;
	json_t *body = json_pack("{s:s, s:o}", "clusterName", f->config.cluster_name, "tags", fargate_tags());
	crex_deployment_report(&f->base, "Creating cluster %s, unless there is one", f->config.cluster_name);
	if (aws_json(&f->aws, AWS_ECS, "CreateCluster", body, d, &answer, NULL, err) < 0)
		return -1;
	free(f->cluster);
	f->cluster = NULL;
	return take(answer, "cluster", "clusterArn", &f->cluster, err);
}

static json_t *content_of(struct fargate *f, const char *role)
{
	const struct crex_fargate_config *c = &f->config;
	cleanup_free char *command = fargate_command(c);
	json_t *container = command ? json_pack("{s:s, s:s, s:b, s:[s, s], s:[s], s:[{s:i, s:i, s:s}]}", "name",
						FARGATE_CONTAINER, "image", c->image, "essential", 1, "entryPoint",
						"/bin/sh", "-c", "command", command, "portMappings", "containerPort",
						c->port, "hostPort", c->port, "protocol", "tcp")
				    : NULL;
	if (c->log_group && container)
		json_object_set_new(container, "logConfiguration",
				    json_pack("{s:s, s:{s:s, s:s, s:s}}", "logDriver", "awslogs", "options",
					      "awslogs-group", c->log_group, "awslogs-region", f->aws.region,
					      "awslogs-stream-prefix", FARGATE_STREAM_PREFIX));
	json_t *content = container
				  ? json_pack("{s:s, s:s, s:s, s:s, s:{s:i}, s:[s], s:[o]}", "executionRoleArn", role,
					      "networkMode", "awsvpc", "cpu", f->settings.cpu, "memory",
					      f->settings.memory, "ephemeralStorage", "sizeInGiB", f->settings.storage,
					      "requiresCompatibilities", "FARGATE", "containerDefinitions", container)
				  : NULL;
	if (content && f->settings.task_role)
		json_object_set_new(content, "taskRoleArn", json_string(f->settings.task_role));
	if (content && c->architecture == CREX_FARGATE_AARCH64)
		json_object_set_new(
			content, "runtimePlatform",
			json_pack("{s:s, s:s}", "cpuArchitecture", "ARM64", "operatingSystemFamily", "LINUX"));
	return content;
}

/* 1: found, 0: there is none. */
static int find(struct fargate *f, const char *family, const struct deadline *d, char **ret_arn, struct crex_error *err)
{
	cleanup_json json_t *answer = NULL;
	struct aws_refusal why;
	if (aws_json(&f->aws, AWS_ECS, "DescribeTaskDefinition", json_pack("{s:s}", "taskDefinition", family), d,
		     &answer, &why, err) == 0)
		return take(answer, "taskDefinition", "taskDefinitionArn", ret_arn, err) < 0 ? -1 : 1;
	if (!aws_was_refused_with(&why, "ClientException"))
		return -1;
	crex_error_clear(err);
	return 0;
}

static bool is_about_the_role(const struct aws_refusal *why)
{
	return aws_was_refused_with(why, "ClientException") && strcasestr(why->message, "role");
}

int fargate_definition(struct fargate *f, const char *role, bool role_is_new, const struct deadline *d, char **ret_arn,
		       struct crex_error *err)
{
	char family[256];
	cleanup_json json_t *content = content_of(f, role);
	cleanup_free char *text = content ? json_dumps(content, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	fargate_name(family, sizeof family, f->config.task_definition_prefix, text);
	crex_deployment_report(&f->base, "Looking for task definition %s", family);
	int found = find(f, family, d, ret_arn, err);
	if (found != 0)
		return found < 0 ? -1 : 0;
	json_object_set_new(content, "family", json_string(family));
	json_object_set_new(content, "tags", fargate_tags());
	struct fargate_pause pause = fargate_pause_begin(0.5, 4, role_is_new ? NEW_ROLE_SECONDS : OLD_ROLE_SECONDS);
	for (;;) {
		cleanup_json json_t *answer = NULL;
		struct aws_refusal why;
		if (aws_json(&f->aws, AWS_ECS, "RegisterTaskDefinition", json_incref(content), d, &answer, &why, err) ==
		    0)
			return take(answer, "taskDefinition", "taskDefinitionArn", ret_arn, err);
		if (!is_about_the_role(&why))
			return -1;
		int waited = fargate_pause_take(&pause, d, err);
		if (waited <= 0)
			return -1;
	}
}

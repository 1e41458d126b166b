/* deploy/fargate/role.c: the role by which ECS pulls images and writes logs for a task.
 *
 * It has AWS's managed policy for that and nothing more; a task's own programs don't have it. Its name tells its
 * content, and it is made under a path of ours, so that teardown needn't look through all roles of an account.
 *
 * A role that was just made is not known everywhere at once: who uses it first is refused for some seconds, which
 * definition.c and task.c wait out. Two starts at a time may both want to make it: the second finds it. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRUST                                                                                          \
	"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":" \
	"\"ecs-tasks.amazonaws.com\"},\"Action\":\"sts:AssumeRole\"}]}"
#define POLICY "service-role/AmazonECSTaskExecutionRolePolicy"

static int take_arn(const struct xml_node *answer, const char *path, char **ret, struct crex_error *err)
{
	const char *arn = xml_text(answer, path);
	if (!arn)
		return crex_error_set(err, CREX_E_PROTOCOL, "iam: the answer has no ARN of the role");
	*ret = strdup(arn);
	return *ret ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

/* 1: found, 0: there is none. */
static int find(struct fargate *f, const char *name, const struct deadline *d, char **ret_arn, struct crex_error *err)
{
	cleanup_xml struct xml_node *answer = NULL;
	struct aws_refusal why;
	const char *const pairs[] = {"RoleName", name, NULL};
	if (aws_query(&f->aws, AWS_IAM, "GetRole", pairs, d, &answer, &why, err) == 0)
		return take_arn(answer, "GetRoleResult/Role/Arn", ret_arn, err) < 0 ? -1 : 1;
	if (!aws_was_refused_with(&why, "NoSuchEntity"))
		return -1;
	crex_error_clear(err);
	return 0;
}

static int make(struct fargate *f, const char *name, const struct deadline *d, char **ret_arn, struct crex_error *err)
{
	cleanup_xml struct xml_node *answer = NULL;
	struct aws_refusal why;
	const char *const pairs[] = {"RoleName",
				     name,
				     "Path",
				     FARGATE_ROLE_PATH,
				     "AssumeRolePolicyDocument",
				     TRUST,
				     "Description",
				     "Execution role of crex's tasks",
				     "Tags.member.1.Key",
				     FARGATE_TAG,
				     "Tags.member.1.Value",
				     FARGATE_TAG_VALUE,
				     NULL};
	crex_deployment_report(&f->base, "Creating role %s", name);
	if (aws_query(&f->aws, AWS_IAM, "CreateRole", pairs, d, &answer, &why, err) == 0)
		return take_arn(answer, "CreateRoleResult/Role/Arn", ret_arn, err);
	if (!aws_was_refused_with(&why, "EntityAlreadyExists"))
		return -1;
	crex_error_clear(err);
	int r = find(f, name, d, ret_arn, err);
	return r == 0 ? crex_error_set(err, CREX_E_SWEREX, "iam: the role %s exists and can't be found", name)
		      : (r < 0 ? -1 : 0);
}

static bool has_policy(const struct xml_node *answer, const char *policy)
{
	const struct xml_node *list = xml_find(answer, "ListAttachedRolePoliciesResult/AttachedPolicies");
	for (const struct xml_node *one = xml_first(list, "member"); one; one = xml_next(one)) {
		const char *arn = xml_text(one, "PolicyArn");
		if (arn && strcmp(arn, policy) == 0)
			return true;
	}
	return false;
}

int fargate_role(struct fargate *f, const struct deadline *d, char **ret_arn, bool *ret_new, struct crex_error *err)
{
	char name[65], policy[128];
	cleanup_free char *arn = NULL;
	*ret_new = false;
	if (f->config.execution_role_arn) {
		*ret_arn = strdup(f->config.execution_role_arn);
		return *ret_arn ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
	}
	crex_deployment_report(&f->base, "Looking for the execution role");
	fargate_name(name, sizeof name, f->config.execution_role_prefix, TRUST POLICY);
	snprintf(policy, sizeof policy, "arn:%s:iam::aws:policy/" POLICY, aws_partition(f->aws.region));
	int found = find(f, name, d, &arn, err);
	if (found < 0 || (found == 0 && make(f, name, d, &arn, err) < 0))
		return -1;
	*ret_new = found == 0;
	bool attached = false;
	if (found) { /* whoever made it may have been cut before the next step */
		cleanup_xml struct xml_node *answer = NULL;
		const char *const pairs[] = {"RoleName", name, NULL};
		if (aws_query(&f->aws, AWS_IAM, "ListAttachedRolePolicies", pairs, d, &answer, NULL, err) < 0)
			return -1;
		attached = has_policy(answer, policy);
	}
	const char *const attach[] = {"RoleName", name, "PolicyArn", policy, NULL};
	if (!attached && aws_query(&f->aws, AWS_IAM, "AttachRolePolicy", attach, d, NULL, NULL, err) < 0)
		return -1;
	*ret_new |= !attached;
	*ret_arn = steal_ptr(arn);
	return 0;
}

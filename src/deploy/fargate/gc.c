/* deploy/fargate/gc.c: what sandboxes have left in an account, found by its tags; and whether AWS can be used at all.
 *
 * Asked is the region that the environment names. A task belongs to the program in its crex-owner tag; without `all`
 * those are stopped whose program is certainly gone, which only a program on the same machine can tell. One without an
 * owner was made to outlive its program. With `all` it
 * is a teardown: every task with our tag, then all that starts have made: task definitions, clusters, security groups
 * and log groups by AWS's list of tagged resources, roles by the path that they are made under. Things in use can't be
 * deleted while a task is still on its way out, so refusals of that kind are waited out. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include "deploy/owner.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 100 };
#define IN_USE_SECONDS 120.0

struct sweep {
	struct aws aws;
	bool all;
	void (*report)(void *arg, const char *what);
	void *report_arg;
	const struct deadline *d;
	size_t removed;
};

static void removed(struct sweep *s, const char *kind, const char *name)
{
	cleanup_free char *what = NULL;
	s->removed++;
	if (!s->report)
		return;
	if (asprintf(&what, "fargate %s %s", kind, name) < 0)
		what = NULL;
	if (what)
		s->report(s->report_arg, what);
}

/* All pages of a JSON list into one array, to be freed. body is consumed. */
static json_t *list(struct sweep *s, enum aws_service service, const char *operation, const char *name,
		    const char *token_name, json_t *body, struct crex_error *err)
{
	json_t *all = json_array();
	cleanup_free char *token = NULL;
	do {
		cleanup_json json_t *answer = NULL;
		if (body && token)
			json_object_set_new(body, token_name, json_string(token));
		if (aws_json(&s->aws, service, operation, json_incref(body), s->d, &answer, NULL, err) < 0) {
			json_decref(all);
			json_decref(body);
			return NULL;
		}
		json_array_extend(all, json_object_get(answer, name));
		const char *next = json_string_value(json_object_get(answer, token_name));
		free(token);
		token = next && *next ? strdup(next) : NULL;
	} while (token);
	json_decref(body);
	return all;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? text : "";
}

static const char *tag_of(const json_t *object, const char *key)
{
	size_t i;
	json_t *tag;
	json_array_foreach(json_object_get(object, "tags"), i,
			   tag) if (strcmp(text_of(tag, "key"), key) == 0) return text_of(tag, "value");
	return "";
}

/* ---- tasks ---- */

static int sweep_task(struct sweep *s, const char *cluster, const json_t *task, struct crex_error *err)
{
	const char *arn = text_of(task, "taskArn");
	char owner[257];
	snprintf(owner, sizeof owner, "%s", tag_of(task, FARGATE_OWNER_TAG));
	fargate_owner_from_tag(owner);
	struct aws_refusal why;
	bool ends = strcmp(text_of(task, "desiredStatus"), "STOPPED") == 0;
	if (ends || strcmp(tag_of(task, FARGATE_TAG), FARGATE_TAG_VALUE) != 0 ||
	    (!s->all && (!*owner || !owner_is_gone(owner))))
		return 0;
	json_t *body = json_pack("{s:s, s:s, s:s}", "cluster", cluster, "task", arn, "reason", "left behind");
	if (aws_json(&s->aws, AWS_ECS, "StopTask", body, s->d, NULL, &why, err) < 0) {
		if (!aws_was_refused_with(&why, "InvalidParameterException"))
			return -1;
		crex_error_clear(err);
		return 0;
	}
	removed(s, "task", arn);
	return 0;
}

static int sweep_cluster(struct sweep *s, const char *cluster, struct crex_error *err)
{
	cleanup_json json_t *arns =
		list(s, AWS_ECS, "ListTasks", "taskArns", "nextToken", json_pack("{s:s}", "cluster", cluster), err);
	if (!arns)
		return -1;
	for (size_t at = 0; at < json_array_size(arns); at += BATCH) {
		cleanup_json json_t *answer = NULL;
		json_t *batch = json_array();
		for (size_t i = at; i < at + BATCH && i < json_array_size(arns); i++)
			json_array_append(batch, json_array_get(arns, i));
		json_t *body = json_pack("{s:s, s:o, s:[s]}", "cluster", cluster, "tasks", batch, "include", "TAGS");
		if (aws_json(&s->aws, AWS_ECS, "DescribeTasks", body, s->d, &answer, NULL, err) < 0)
			return -1;
		size_t i;
		json_t *task;
		json_array_foreach(json_object_get(answer, "tasks"), i,
				   task) if (sweep_task(s, cluster, task, err) < 0) return -1;
	}
	return 0;
}

static int sweep_tasks(struct sweep *s, struct crex_error *err)
{
	cleanup_json json_t *clusters =
		list(s, AWS_ECS, "ListClusters", "clusterArns", "nextToken", json_object(), err);
	size_t i;
	json_t *cluster;
	if (!clusters)
		return -1;
	json_array_foreach(clusters, i, cluster) if (sweep_cluster(s, json_string_value(cluster), err) < 0) return -1;
	return 0;
}

/* ---- what has a tag ---- */

enum { GONE, IN_USE, WAS_GONE };

/* What a refused deletion means; -1: that it failed. */
static int settle(const struct aws_refusal *why, const char *const *in_use, const char *const *absent,
		  struct crex_error *err)
{
	for (; *in_use; in_use++)
		if (aws_was_refused_with(why, *in_use))
			return IN_USE;
	for (; *absent; absent++)
		if (aws_was_refused_with(why, *absent)) {
			crex_error_clear(err);
			return WAS_GONE;
		}
	return -1;
}

static int delete_definition(struct sweep *s, const char *arn, struct crex_error *err)
{
	struct aws_refusal why;
	if (aws_json(&s->aws, AWS_ECS, "DeregisterTaskDefinition", json_pack("{s:s}", "taskDefinition", arn), s->d,
		     NULL, &why, err) < 0 &&
	    !aws_was_refused_with(&why, "ClientException") && !aws_was_refused_with(&why, "InvalidParameterException"))
		return -1;
	crex_error_clear(err); /* it was deregistered before */
	if (aws_json(&s->aws, AWS_ECS, "DeleteTaskDefinitions", json_pack("{s:[s]}", "taskDefinitions", arn), s->d,
		     NULL, &why, err) == 0)
		return 0;
	static const char *const in_use[] = {NULL}, *const absent[] = {"ClientException", "InvalidParameterException",
								       NULL};
	return settle(&why, in_use, absent, err);
}

static int delete_cluster(struct sweep *s, const char *arn, struct crex_error *err)
{
	static const char *const in_use[] = {"ClusterContainsTasksException", "UpdateInProgressException", NULL};
	static const char *const absent[] = {"ClusterNotFoundException", NULL};
	struct aws_refusal why;
	if (aws_json(&s->aws, AWS_ECS, "DeleteCluster", json_pack("{s:s}", "cluster", arn), s->d, NULL, &why, err) == 0)
		return 0;
	return settle(&why, in_use, absent, err);
}

static int delete_group(struct sweep *s, const char *arn, struct crex_error *err)
{
	static const char *const in_use[] = {"DependencyViolation", NULL};
	static const char *const absent[] = {"InvalidGroup.NotFound", NULL};
	const char *slash = strrchr(arn, '/');
	const char *const pairs[] = {"GroupId", slash ? slash + 1 : arn, NULL};
	struct aws_refusal why;
	if (aws_query(&s->aws, AWS_EC2, "DeleteSecurityGroup", pairs, s->d, NULL, &why, err) == 0)
		return 0;
	return settle(&why, in_use, absent, err);
}

static int delete_log_group(struct sweep *s, const char *arn, struct crex_error *err)
{
	static const char *const in_use[] = {"OperationAbortedException", NULL};
	static const char *const absent[] = {"ResourceNotFoundException", NULL};
	const char *name = strstr(arn, ":log-group:");
	char plain[513];
	struct aws_refusal why;
	if (!name)
		return 0;
	name += strlen(":log-group:");
	snprintf(plain, sizeof plain, "%.*s", (int)strcspn(name, ":"), name);
	if (aws_json(&s->aws, AWS_LOGS, "DeleteLogGroup", json_pack("{s:s}", "logGroupName", plain), s->d, NULL, &why,
		     err) == 0)
		return 0;
	return settle(&why, in_use, absent, err);
}

static const struct kind {
	const char *resource, *in_arn, *name;
	int (*take)(struct sweep *s, const char *arn, struct crex_error *err);
} definitions = {NULL, ":task-definition/", "task definition", delete_definition},
  tagged[] = {
	  /* the order in which they let go of one another */
	  {"ecs:cluster", ":cluster/", "cluster", delete_cluster},
	  {"ec2:security-group", ":security-group/", "security group", delete_group},
	  {"logs", ":log-group:", "log group", delete_log_group},
};

static int delete_one(struct sweep *s, const struct kind *kind, const char *arn, struct crex_error *err)
{
	struct fargate_pause pause = fargate_pause_begin(0.2, 5, IN_USE_SECONDS);
	for (;;) {
		int r = kind->take(s, arn, err);
		if (r == GONE)
			removed(s, kind->name, arn);
		if (r != IN_USE)
			return r < 0 ? -1 : 0;
		if (fargate_pause_take(&pause, s->d, err) <= 0)
			return -1;
	}
}

static int sweep_tagged(struct sweep *s, const struct kind *kind, struct crex_error *err)
{
	json_t *body = json_pack("{s:[{s:s, s:[s]}], s:[s]}", "TagFilters", "Key", FARGATE_TAG, "Values",
				 FARGATE_TAG_VALUE, "ResourceTypeFilters", kind->resource);
	cleanup_json json_t *found =
		list(s, AWS_TAGGING, "GetResources", "ResourceTagMappingList", "PaginationToken", body, err);
	size_t i;
	json_t *one;
	if (!found)
		return -1;
	json_array_foreach(found, i, one)
	{
		const char *arn = text_of(one, "ResourceARN");
		if (strstr(arn, kind->in_arn) && delete_one(s, kind, arn, err) < 0)
			return -1;
	}
	return 0;
}

/* "...-0123456789abcdef:7", as all of ours end: the others of an account need not be asked for their tags. */
static bool may_be_ours(const char *arn)
{
	const char *colon = strrchr(arn, ':');
	return colon && colon - arn > 17 && colon[-17] == '-' && strspn(colon - 16, "0123456789abcdef") == 16;
}

/* AWS's list of tagged resources is slow to know them, so they are asked one by one. */
static int sweep_definitions(struct sweep *s, const char *status, struct crex_error *err)
{
	cleanup_json json_t *arns = list(s, AWS_ECS, "ListTaskDefinitions", "taskDefinitionArns", "nextToken",
					 json_pack("{s:s}", "status", status), err);
	size_t i;
	json_t *one;
	if (!arns)
		return -1;
	json_array_foreach(arns, i, one)
	{
		const char *arn = json_string_value(one);
		cleanup_json json_t *tags = NULL;
		if (!arn || !may_be_ours(arn))
			continue;
		if (aws_json(&s->aws, AWS_ECS, "ListTagsForResource", json_pack("{s:s}", "resourceArn", arn), s->d,
			     &tags, NULL, err) < 0)
			return -1;
		if (strcmp(tag_of(tags, FARGATE_TAG), FARGATE_TAG_VALUE) == 0 &&
		    delete_one(s, &definitions, arn, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- roles ---- */

static int delete_role(struct sweep *s, const char *name, struct crex_error *err)
{
	static const char *const none[] = {NULL}, *const absent[] = {"NoSuchEntity", NULL};
	cleanup_xml struct xml_node *answer = NULL;
	struct aws_refusal why;
	const char *const role[] = {"RoleName", name, NULL};
	if (aws_query(&s->aws, AWS_IAM, "ListAttachedRolePolicies", role, s->d, &answer, &why, err) < 0)
		return settle(&why, none, absent, err) < 0 ? -1 : 0;
	const struct xml_node *policies = xml_find(answer, "ListAttachedRolePoliciesResult/AttachedPolicies");
	for (const struct xml_node *p = xml_first(policies, "member"); p; p = xml_next(p)) {
		const char *arn = xml_text(p, "PolicyArn");
		const char *const detach[] = {"RoleName", name, "PolicyArn", arn ? arn : "", NULL};
		if (aws_query(&s->aws, AWS_IAM, "DetachRolePolicy", detach, s->d, NULL, &why, err) < 0 &&
		    settle(&why, none, absent, err) < 0)
			return -1;
	}
	if (aws_query(&s->aws, AWS_IAM, "DeleteRole", role, s->d, NULL, &why, err) < 0)
		return settle(&why, none, absent, err) < 0 ? -1 : 0;
	removed(s, "role", name);
	return 0;
}

static bool is_ours(const struct xml_node *tags)
{
	for (const struct xml_node *t = xml_first(tags, "member"); t; t = xml_next(t)) {
		const char *key = xml_text(t, "Key"), *value = xml_text(t, "Value");
		if (key && value && strcmp(key, FARGATE_TAG) == 0 && strcmp(value, FARGATE_TAG_VALUE) == 0)
			return true;
	}
	return false;
}

static int sweep_roles(struct sweep *s, struct crex_error *err)
{
	cleanup_free char *marker = NULL;
	do {
		cleanup_xml struct xml_node *answer = NULL;
		const char *const pairs[] = {"PathPrefix", FARGATE_ROLE_PATH, marker ? "Marker" : NULL, marker, NULL};
		if (aws_query(&s->aws, AWS_IAM, "ListRoles", pairs, s->d, &answer, NULL, err) < 0)
			return -1;
		const struct xml_node *result = xml_find(answer, "ListRolesResult"), *roles = xml_find(result, "Roles");
		for (const struct xml_node *r = xml_first(roles, "member"); r; r = xml_next(r)) {
			cleanup_xml struct xml_node *tags = NULL;
			const char *name = xml_text(r, "RoleName");
			const char *const role[] = {"RoleName", name ? name : "", NULL};
			if (aws_query(&s->aws, AWS_IAM, "ListRoleTags", role, s->d, &tags, NULL, err) < 0)
				return -1;
			if (is_ours(xml_find(tags, "ListRoleTagsResult/Tags")) && delete_role(s, name, err) < 0)
				return -1;
		}
		const char *next = xml_text(result, "Marker");
		free(marker);
		marker = next && *next ? strdup(next) : NULL;
	} while (marker);
	return 0;
}

/* ---- the two ways in ---- */

int fargate_gc(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
	       size_t *ret_removed, struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	struct sweep s = {.all = all, .report = report, .report_arg = report_arg, .d = &d};
	if (aws_init(&s.aws, NULL, NULL, NULL, err) < 0)
		return -1;
	int r = sweep_tasks(&s, err);
	if (all && r == 0)
		r = sweep_definitions(&s, "ACTIVE", err);
	if (all && r == 0)
		r = sweep_definitions(&s, "INACTIVE", err);
	for (size_t i = 0; all && r == 0 && i < sizeof tagged / sizeof *tagged; i++)
		r = sweep_tagged(&s, &tagged[i], err);
	if (all && r == 0)
		r = sweep_roles(&s, err);
	*ret_removed += s.removed;
	aws_deinit(&s.aws);
	return r;
}

int fargate_check(const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	struct deadline d;
	struct aws aws;
	deadline_begin(&d, call);
	if (aws_init(&aws, NULL, NULL, NULL, err) < 0)
		return -1;
	cleanup_xml struct xml_node *answer = NULL;
	const char *const none[] = {NULL};
	int r = aws_query(&aws, AWS_STS, "GetCallerIdentity", none, &d, &answer, NULL, err);
	const char *who = xml_text(answer, "GetCallerIdentityResult/Arn");
	char *says = NULL;
	if (r == 0) {
		int len = asprintf(&says, "%s, by %s; region %s", who ? who : "somebody", aws.credentials.source,
				   aws.region);
		r = len < 0 ? crex_error_set_errno(err, ENOMEM, NULL) : 0;
		if (r == 0)
			*ret = (struct crex_text){says, (size_t)len};
	}
	aws_deinit(&aws);
	return r;
}

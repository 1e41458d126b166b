/* deploy/fargate/network.c: which subnets a task may be in, and who may reach it there.
 *
 * All subnets of the VPC are given to Fargate, which chooses: one zone may have no capacity left. The security group
 * lets one CIDR reach the one port; both are in its name's hash, so that a caller whose address has changed gets a
 * group of its own instead of opening an old one further. A group without its rule (whoever made it was cut) gets it
 * now. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SUBNETS_MAX = 16 }; /* what RunTask takes */
#define NEW_GROUP_SECONDS 30.0

struct place {
	char vpc[64];
	char cidr[FARGATE_CIDR_MAX];
};

void fargate_network_deinit(struct fargate_network *n)
{
	json_decref(n->subnets);
	json_decref(n->groups);
	*n = (struct fargate_network){0};
}

static json_t *list_of(const char *const *texts)
{
	json_t *list = json_array();
	for (; list && *texts; texts++)
		if (json_array_append_new(list, json_string(*texts)) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static int default_vpc(struct fargate *f, const struct deadline *d, struct place *ret, struct crex_error *err)
{
	cleanup_xml struct xml_node *answer = NULL;
	const char *const pairs[] = {"Filter.1.Name", "isDefault", "Filter.1.Value.1", "true", NULL};
	if (aws_query(&f->aws, AWS_EC2, "DescribeVpcs", pairs, d, &answer, NULL, err) < 0)
		return -1;
	const struct xml_node *vpc = xml_find(answer, "vpcSet/item");
	if (!xml_text(vpc, "vpcId"))
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
				      "%s has no default VPC: name subnets of another one in 'subnets'", f->aws.region);
	copy(ret->vpc, sizeof ret->vpc, xml_text(vpc, "vpcId"));
	copy(ret->cidr, sizeof ret->cidr, xml_text(vpc, "cidrBlock"));
	return 0;
}

static int default_subnets(struct fargate *f, const struct place *place, const struct deadline *d, json_t **ret,
			   struct crex_error *err)
{
	cleanup_xml struct xml_node *answer = NULL;
	const char *const pairs[] = {"Filter.1.Name", "vpc-id", "Filter.1.Value.1", place->vpc, NULL};
	if (aws_query(&f->aws, AWS_EC2, "DescribeSubnets", pairs, d, &answer, NULL, err) < 0)
		return -1;
	*ret = json_array();
	const struct xml_node *list = xml_find(answer, "subnetSet");
	for (const struct xml_node *one = xml_first(list, "item"); one && json_array_size(*ret) < SUBNETS_MAX;
	     one = xml_next(one))
		if (xml_text(one, "subnetId"))
			json_array_append_new(*ret, json_string(xml_text(one, "subnetId")));
	return json_array_size(*ret)
		       ? 0
		       : crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
					"the default VPC %s has no subnets: name others in 'subnets'", place->vpc);
}

/* Where the config's subnets are; the first tells. */
static int place_of_subnet(struct fargate *f, const char *subnet, const struct deadline *d, struct place *ret,
			   struct crex_error *err)
{
	cleanup_xml struct xml_node *answer = NULL;
	const char *const pairs[] = {"SubnetId.1", subnet, NULL};
	if (aws_query(&f->aws, AWS_EC2, "DescribeSubnets", pairs, d, &answer, NULL, err) < 0)
		return -1;
	const struct xml_node *one = xml_find(answer, "subnetSet/item");
	copy(ret->vpc, sizeof ret->vpc, xml_text(one, "vpcId"));
	copy(ret->cidr, sizeof ret->cidr, xml_text(one, "cidrBlock"));
	return *ret->vpc ? 0 : crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "there is no subnet %s", subnet);
}

/* ---- the security group ---- */

struct rule {
	const char *cidr;
	char port[8];
	char name[256];
};

static bool has_rule(const struct xml_node *group, const struct rule *rule)
{
	bool v6 = strchr(rule->cidr, ':');
	const struct xml_node *permissions = xml_find(group, "ipPermissions");
	for (const struct xml_node *p = xml_first(permissions, "item"); p; p = xml_next(p)) {
		const char *from = xml_text(p, "fromPort");
		const struct xml_node *ranges = xml_find(p, v6 ? "ipv6Ranges" : "ipRanges");
		if (!from || strcmp(from, rule->port) != 0)
			continue;
		for (const struct xml_node *r = xml_first(ranges, "item"); r; r = xml_next(r)) {
			const char *cidr = xml_text(r, v6 ? "cidrIpv6" : "cidrIp");
			if (cidr && strcmp(cidr, rule->cidr) == 0)
				return true;
		}
	}
	return false;
}

/* 1: found, 0: there is none. */
static int find_group(struct fargate *f, const struct place *place, const struct rule *rule, const struct deadline *d,
		      char **ret_id, bool *ret_complete, struct crex_error *err)
{
	cleanup_xml struct xml_node *answer = NULL;
	const char *const pairs[] = {"Filter.1.Name",	 "group-name",	  "Filter.1.Value.1",
				     rule->name,	 "Filter.2.Name", "vpc-id",
				     "Filter.2.Value.1", place->vpc,	  NULL};
	if (aws_query(&f->aws, AWS_EC2, "DescribeSecurityGroups", pairs, d, &answer, NULL, err) < 0)
		return -1;
	const struct xml_node *group = xml_find(answer, "securityGroupInfo/item");
	if (!xml_text(group, "groupId"))
		return 0;
	*ret_complete = has_rule(group, rule);
	*ret_id = strdup(xml_text(group, "groupId"));
	return *ret_id ? 1 : crex_error_set_errno(err, ENOMEM, NULL);
}

static int make_group(struct fargate *f, const struct place *place, const struct rule *rule, const struct deadline *d,
		      char **ret_id, bool *ret_complete, struct crex_error *err)
{
	cleanup_xml struct xml_node *answer = NULL;
	struct aws_refusal why;
	const char *const pairs[] = {"GroupName",
				     rule->name,
				     "GroupDescription",
				     "reaches the runtime of crex's tasks",
				     "VpcId",
				     place->vpc,
				     "TagSpecification.1.ResourceType",
				     "security-group",
				     "TagSpecification.1.Tag.1.Key",
				     FARGATE_TAG,
				     "TagSpecification.1.Tag.1.Value",
				     FARGATE_TAG_VALUE,
				     NULL};
	crex_deployment_report(&f->base, "Creating a security group for %s", rule->cidr);
	if (aws_query(&f->aws, AWS_EC2, "CreateSecurityGroup", pairs, d, &answer, &why, err) == 0) {
		const char *id = xml_text(answer, "groupId");
		*ret_id = id ? strdup(id) : NULL;
		return *ret_id ? 0 : crex_error_set(err, CREX_E_PROTOCOL, "ec2: the answer has no groupId");
	}
	if (!aws_was_refused_with(&why, "InvalidGroup.Duplicate"))
		return -1;
	crex_error_clear(err); /* another start, or ours whose answer was lost */
	int r = find_group(f, place, rule, d, ret_id, ret_complete, err);
	return r == 0 ? crex_error_set(err, CREX_E_SWEREX, "ec2: the security group %s exists and can't be found",
				       rule->name)
		      : (r < 0 ? -1 : 0);
}

static int open_port(struct fargate *f, const char *group, const struct rule *rule, const struct deadline *d,
		     struct crex_error *err)
{
	bool v6 = strchr(rule->cidr, ':');
	const char *const pairs[] = {"GroupId",
				     group,
				     "IpPermissions.1.IpProtocol",
				     "tcp",
				     "IpPermissions.1.FromPort",
				     rule->port,
				     "IpPermissions.1.ToPort",
				     rule->port,
				     v6 ? "IpPermissions.1.Ipv6Ranges.1.CidrIpv6" : "IpPermissions.1.IpRanges.1.CidrIp",
				     rule->cidr,
				     NULL};
	struct fargate_pause pause = fargate_pause_begin(0.5, 2, NEW_GROUP_SECONDS);
	for (;;) {
		struct aws_refusal why;
		if (aws_query(&f->aws, AWS_EC2, "AuthorizeSecurityGroupIngress", pairs, d, NULL, &why, err) == 0)
			return 0;
		if (aws_was_refused_with(&why, "InvalidPermission.Duplicate")) {
			crex_error_clear(err);
			return 0;
		}
		/* a new group is not known everywhere at once */
		if (!aws_was_refused_with(&why, "InvalidGroup.NotFound") || fargate_pause_take(&pause, d, err) <= 0)
			return -1;
	}
}

static int security_group(struct fargate *f, const struct place *place, const struct deadline *d, json_t **ret,
			  struct crex_error *err)
{
	char cidr[FARGATE_CIDR_MAX], content[128];
	struct rule rule = {.cidr = f->config.ingress_cidr};
	cleanup_free char *id = NULL;
	bool complete = false;
	if (!rule.cidr) {
		if (fargate_own_cidr(f, f->config.assign_public_ip ? NULL : place->cidr, d, cidr, err) < 0)
			return -1;
		rule.cidr = cidr;
	}
	snprintf(rule.port, sizeof rule.port, "%d", f->config.port);
	snprintf(content, sizeof content, "%s %s", rule.port, rule.cidr);
	fargate_name(rule.name, sizeof rule.name, f->config.security_group_prefix, content);
	int found = find_group(f, place, &rule, d, &id, &complete, err);
	if (found < 0 || (found == 0 && make_group(f, place, &rule, d, &id, &complete, err) < 0))
		return -1;
	if (!complete && open_port(f, id, &rule, d, err) < 0)
		return -1;
	*ret = json_pack("[s]", id);
	return *ret ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

static int gather(struct fargate *f, const struct deadline *d, struct fargate_network *ret, struct crex_error *err)
{
	const struct crex_fargate_config *c = &f->config;
	struct place place = {0};
	if (c->subnets && !(ret->subnets = list_of(c->subnets)))
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (c->security_groups && !(ret->groups = list_of(c->security_groups)))
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (ret->subnets && ret->groups)
		return 0;
	crex_deployment_report(&f->base, "Looking for the network");
	int r = c->subnets ? place_of_subnet(f, c->subnets[0], d, &place, err) : default_vpc(f, d, &place, err);
	if (r == 0 && !ret->subnets)
		r = default_subnets(f, &place, d, &ret->subnets, err);
	if (r == 0 && !ret->groups)
		r = security_group(f, &place, d, &ret->groups, err);
	return r;
}

int fargate_network(struct fargate *f, const struct deadline *d, struct fargate_network *ret, struct crex_error *err)
{
	*ret = (struct fargate_network){0};
	int r = gather(f, d, ret, err);
	if (r < 0)
		fargate_network_deinit(ret);
	return r;
}

/* deploy/fargate/endpoint.c: addresses by service, region and partition.
 *
 * Three partitions are known by the beginning of a region's name. Whoever needs another one (or a proxy, or a fixture)
 * sets an endpoint; the variables are the ones that AWS's own tools honour. */
#include "deploy/fargate/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct aws_service_facts services[] = {
	[AWS_ECS] = {"ecs", AWS_JSON, "AmazonEC2ContainerServiceV20141113", "AWS_ENDPOINT_URL_ECS"},
	[AWS_EC2] = {"ec2", AWS_QUERY, "2016-11-15", "AWS_ENDPOINT_URL_EC2"},
	[AWS_IAM] = {"iam", AWS_QUERY, "2010-05-08", "AWS_ENDPOINT_URL_IAM"},
	[AWS_LOGS] = {"logs", AWS_JSON, "Logs_20140328", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"},
	[AWS_STS] = {"sts", AWS_QUERY, "2011-06-15", "AWS_ENDPOINT_URL_STS"},
	[AWS_TAGGING] = {"tagging", AWS_JSON, "ResourceGroupsTaggingAPI_20170126",
			 "AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API"},
};

const struct aws_service_facts *aws_service_facts(enum aws_service service)
{
	return &services[service];
}

struct partition {
	const char *begins, *name, *domain, *console, *iam_host, *iam_region;
};

static const struct partition *partition_of(const char *region)
{
	static const struct partition partitions[] = {
		{"cn-", "aws-cn", "amazonaws.com.cn", "console.amazonaws.cn", "iam.cn-north-1.amazonaws.com.cn",
		 "cn-north-1"},
		{"us-gov-", "aws-us-gov", "amazonaws.com", "console.amazonaws-us-gov.com", "iam.us-gov.amazonaws.com",
		 "us-gov-west-1"},
		{"", "aws", "amazonaws.com", "console.aws.amazon.com", "iam.amazonaws.com", "us-east-1"},
	};
	const struct partition *p = partitions;
	while (strncmp(region, p->begins, strlen(p->begins)) != 0)
		p++;
	return p;
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

int aws_endpoint(enum aws_service service, const char *region, const char *endpoint, char ret[AWS_URL_MAX])
{
	const struct partition *p = partition_of(region);
	if (!endpoint)
		endpoint = variable(services[service].variable);
	if (!endpoint)
		endpoint = variable("AWS_ENDPOINT_URL");
	int len;
	if (endpoint)
		len = snprintf(ret, AWS_URL_MAX, "%s", endpoint);
	else if (service == AWS_IAM)
		len = snprintf(ret, AWS_URL_MAX, "https://%s", p->iam_host);
	else
		len = snprintf(ret, AWS_URL_MAX, "https://%s.%s.%s", services[service].name, region, p->domain);
	if (len < 0 || len >= AWS_URL_MAX || (strncmp(ret, "http://", 7) != 0 && strncmp(ret, "https://", 8) != 0))
		return -1;
	while (len && ret[len - 1] == '/')
		ret[--len] = '\0';
	return 0;
}

const char *aws_signing_region(enum aws_service service, const char *region)
{
	return service == AWS_IAM ? partition_of(region)->iam_region : region;
}

const char *aws_partition(const char *region)
{
	return partition_of(region)->name;
}

const char *aws_console_domain(const char *region)
{
	return partition_of(region)->console;
}

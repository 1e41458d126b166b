/* deploy/fargate/endpoint.h: where AWS's services are. */
#ifndef DEPLOY_FARGATE_ENDPOINT_H
#define DEPLOY_FARGATE_ENDPOINT_H

#include <stddef.h>

enum aws_service { AWS_ECS, AWS_EC2, AWS_IAM, AWS_LOGS, AWS_STS, AWS_TAGGING };

enum aws_protocol {
	AWS_JSON,  /* JSON 1.1: the operation in a header */
	AWS_QUERY, /* a form; XML comes back */
};

struct aws_service_facts {
	const char *name; /* in the scope of a signature, too */
	enum aws_protocol protocol;
	const char *version;  /* of the query protocol; the prefix of JSON's target */
	const char *variable; /* AWS_ENDPOINT_URL_... */
};
const struct aws_service_facts *aws_service_facts(enum aws_service service);

enum { AWS_URL_MAX = 512 };

/* Writes the service's address, without a slash at its end. `endpoint` (the config's; may be NULL) wins over
 * $AWS_ENDPOINT_URL_SERVICE, $AWS_ENDPOINT_URL and AWS's own. -1: too long, or no http address. */
int aws_endpoint(enum aws_service service, const char *region, const char *endpoint, char ret[AWS_URL_MAX]);
/* IAM is one for a partition, and signed for one region of it. */
const char *aws_signing_region(enum aws_service service, const char *region);

const char *aws_partition(const char *region);	    /* "aws", "aws-cn", "aws-us-gov" */
const char *aws_console_domain(const char *region); /* "console.aws.amazon.com" */

#endif

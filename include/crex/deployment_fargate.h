/* crex/deployment_fargate.h: a task of AWS Fargate; type "fargate".
 *
 * Field names and defaults as in SWE-ReX 1.4.0 (FargateDeploymentConfig in swerex/deployment/config.py) where it has
 * them. Who pays is found as AWS's own tools find it: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN,
 * else a profile of ~/.aws, else the role of the container or instance that this runs on. Further variables:
 * AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL (and _ECS, _EC2, _IAM, ...), AWS_CA_BUNDLE. What a start makes in the
 * account (role, cluster, task definition, security group, log group) costs nothing by itself and serves the next
 * start; each has the tag origin=crex, by which crex_deployment_gc with `all` finds and deletes it. */
#ifndef CREX_DEPLOYMENT_FARGATE_H
#define CREX_DEPLOYMENT_FARGATE_H

#include <crex/deployment.h>

#ifdef __cplusplus
extern "C" {
#endif

enum crex_fargate_architecture { CREX_FARGATE_X86_64, CREX_FARGATE_AARCH64 };

struct crex_fargate_config {
	const char *image;		    /* "python:3.11": a name that Fargate can pull; needs /bin/sh and bash */
	int port;			    /* 8880: where the server listens */
	const char *cluster_name;	    /* "swe-rex-cluster"; made when missing */
	const char *execution_role_prefix;  /* "swe-rex-execution-role" */
	const char *task_definition_prefix; /* "swe-rex-task" */
	const char *log_group;		    /* "/ecs/swe-rex-deployment"; NULL: the task's output is not kept */
	const char *security_group_prefix;  /* "swe-rex-deployment-sg" */
	/* JSON object: vcpus (1) or cpu (in 1024ths), memory (2048, MiB), ephemeral_storage (21, GiB), taskRoleArn;
	 * numbers or strings; NULL: {} */
	const char *fargate_args;
	double container_timeout; /* 900, seconds after which the server ends, no matter what */
	double runtime_timeout;	  /* 60, seconds that the server may take to answer once its task runs */
	/* beyond upstream */
	const char *region;	    /* NULL: AWS_REGION, AWS_DEFAULT_REGION, the profile's */
	const char *profile;	    /* of ~/.aws; NULL: AWS_PROFILE, "default" */
	const char *endpoint_url;   /* instead of AWS's addresses, for all services; NULL: AWS_ENDPOINT_URL..., AWS's */
	const char *ingress_cidr;   /* who may reach the port, as "192.0.2.7/32"; NULL: this machine's address alone */
	const char *address_url;    /* "https://checkip.amazonaws.com": tells this machine its public address */
	bool assign_public_ip;	    /* true; false: reached by its private address, from inside its network */
	const char *const *subnets; /* NULL: those of the default VPC */
	const char *const *security_groups;	     /* used as they are; NULL: one is made */
	const char *execution_role_arn;		     /* used as it is; NULL: a role is made */
	enum crex_fargate_architecture architecture; /* "x86_64" */
	const char *server_url;	   /* https address of a static swerex-remote for images without one; NULL: none */
	const char *server_sha256; /* of that file; NULL: not checked */
	double startup_timeout;	   /* 600, seconds until the task runs */
	double host_timeout; /* 60: the sandbox ends itself when this program has been gone for so long; negative: never
			      */
};
#define CREX_FARGATE_CONFIG_INIT                                                                                       \
	{                                                                                                              \
		"python:3.11", 8880, "swe-rex-cluster", "swe-rex-execution-role", "swe-rex-task",                      \
			"/ecs/swe-rex-deployment", "swe-rex-deployment-sg", NULL, 900.0, 60.0, NULL, NULL, NULL, NULL, \
			"https://checkip.amazonaws.com", true, NULL, NULL, NULL, CREX_FARGATE_X86_64, NULL, NULL,      \
			600.0, 60.0                                                                                    \
	}
CREX_API struct crex_deployment *crex_fargate_deployment_new(const struct crex_fargate_config *config,
							     struct crex_error *err);

#ifdef __cplusplus
}
#endif
#endif

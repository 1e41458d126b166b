/* deploy/fargate/fargate.h: the parts of the Fargate deployment, for one another. Internal to src/deploy/fargate. */
#ifndef DEPLOY_FARGATE_FARGATE_H
#define DEPLOY_FARGATE_FARGATE_H

#include "deploy/fargate/aws.h"
#include <crex/deployment_fargate.h>
#include <crex/interface.h>

#define FARGATE_CONTAINER "swerex" /* its name in the task definition */
#define FARGATE_STREAM_PREFIX "ecs"
#define FARGATE_TAG "origin" /* of all that is made, with this value */
#define FARGATE_TAG_VALUE "crex"
#define FARGATE_OWNER_TAG "crex-owner" /* of tasks: the program that it belongs to (deploy/owner.h) */
#define FARGATE_ROLE_PATH "/crex/"     /* teardown finds roles by it */

/* ---- settings.c: what the config's free-form parts say ---- */

struct fargate_settings {
	char cpu[16], memory[16]; /* as the task definition has them: 1024ths, MiB */
	int storage;		  /* GiB */
	char *task_role;	  /* owned; NULL: none */
};
/* All that can be told to be wrong with a config without asking anybody. */
int fargate_settings_read(const struct crex_fargate_config *config, struct fargate_settings *ret,
			  struct crex_error *err);
void fargate_settings_deinit(struct fargate_settings *s);

/* ---- deployment.c ---- */

struct fargate {
	struct crex_deployment base;
	struct crex_fargate_config config; /* owned, by its schema */
	struct fargate_settings settings;
	struct aws aws;

	/* of one task, from before RunTask is sent until StopTask is answered */
	char *run;  /* RunTask's parameters, the client token and our secrets among them; NULL: there is no task */
	char *mark; /* its startedBy */
	bool sent;  /* RunTask may have arrived */
	char *cluster, *task; /* ARNs; task NULL: not known */
	bool has_stopped;     /* it has been seen STOPPED */
	char *address;	      /* URL's host */
	char token[33];
	struct crex_runtime *rt;
	struct heartbeat *heart;
};

/* Pauses of a wait for AWS, ever longer up to max seconds. */
struct fargate_pause {
	double next, max;
	struct deadline until; /* the wait's own end */
};
struct fargate_pause fargate_pause_begin(double first, double max, double patience);
/* 1: waited; 0: its patience is over; -1: cancelled, or the deadline is over. */
int fargate_pause_take(struct fargate_pause *p, const struct deadline *d, struct crex_error *err);

/* A name of prefix, '-' and 16 digits that tell one content from another. */
void fargate_name(char *ret, size_t size, const char *prefix, const char *content);

/* ---- tags.c ---- */

json_t *fargate_tags(void); /* [{"key": "origin", "value": "crex"}] */
/* An owner's text as a tag may hold it, and back; in place. */
void fargate_owner_to_tag(char *owner);
void fargate_owner_from_tag(char *owner);

/* ---- role.c ---- */

/* Finds or makes the execution role; *ret_arn is the caller's. *ret_new: it may not be known everywhere yet. */
int fargate_role(struct fargate *f, const struct deadline *d, char **ret_arn, bool *ret_new, struct crex_error *err);

/* ---- definition.c: log group, cluster, task definition ---- */

int fargate_log_group(struct fargate *f, const struct deadline *d, struct crex_error *err);
int fargate_cluster(struct fargate *f, const struct deadline *d, struct crex_error *err); /* sets f->cluster */
int fargate_definition(struct fargate *f, const char *role, bool role_is_new, const struct deadline *d, char **ret_arn,
		       struct crex_error *err);

/* ---- command.c ---- */

char *fargate_command(const struct crex_fargate_config *config); /* a script for sh -c; caller frees */
const char *fargate_command_failure(int exit_code); /* what it means in words; NULL: not the script's own */

/* ---- network.c ---- */

struct fargate_network {
	json_t *subnets, *groups; /* owned: ids */
};
int fargate_network(struct fargate *f, const struct deadline *d, struct fargate_network *ret, struct crex_error *err);
void fargate_network_deinit(struct fargate_network *n);

/* ---- address.c ---- */

enum { FARGATE_CIDR_MAX = 64 };
bool fargate_cidr_is_sound(const char *cidr);
/* Of this machine, as seen from outside, or, with near (a network's CIDR) not NULL, from there. */
int fargate_own_cidr(struct fargate *f, const char *near, const struct deadline *d, char ret[FARGATE_CIDR_MAX],
		     struct crex_error *err);

/* ---- task.c ---- */

/* Sets f->run, f->mark; nothing is sent. */
int fargate_task_prepare(struct fargate *f, const char *definition, const struct fargate_network *network,
			 struct crex_error *err);
int fargate_task_run(struct fargate *f, bool role_is_new, const struct deadline *d, struct crex_error *err);
int fargate_task_wait(struct fargate *f, const struct deadline *d, struct crex_error *err); /* sets f->address */
/* Whether it still runs: 0, or -1 with DEPLOYMENT_STARTUP: why it has stopped. */
int fargate_task_check(struct fargate *f, const struct deadline *d, struct crex_error *err);
/* Wherever the start was cut: there is no task, or it stops. */
int fargate_task_stop(struct fargate *f, const struct deadline *d, struct crex_error *err);
void fargate_task_forget(struct fargate *f);

/* ---- stopped.c ---- */

/* DEPLOYMENT_STARTUP from what DescribeTasks shows of a task that has ended, with the end of its output. */
int fargate_explain_stop(struct fargate *f, const json_t *task, const struct deadline *d, struct crex_error *err);

/* ---- logs.c ---- */

/* The newest `max` bytes of a task's output; an empty one when there is none yet. */
int fargate_logs(struct fargate *f, const struct deadline *d, size_t max, struct buf *ret, struct crex_error *err);
/* Where a browser shows it; caller frees; NULL: no memory, or no log group. */
char *fargate_log_url(const struct fargate *f);

/* ---- gc.c ---- */

int fargate_gc(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
	       size_t *ret_removed, struct crex_error *err);
int fargate_check(const struct crex_call *call, struct crex_text *ret, struct crex_error *err);

#endif

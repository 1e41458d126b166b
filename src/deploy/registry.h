/* deploy/registry.h: the list of deployment types, and what each knows beside an object's own slots. */
#ifndef DEPLOY_REGISTRY_H
#define DEPLOY_REGISTRY_H

#include <crex/interface.h>
#include <jansson.h>

struct deployment_type {
	const char *name;
	/* A new deployment from a config object (its `type` field included); NULL with err set. */
	struct crex_deployment *(*from_json)(const json_t *config, struct crex_error *err);
	/* A started deployment from the "state" that its detach wrote; NULL slot: can't. */
	struct crex_deployment *(*resume)(const json_t *state, struct crex_error *err);
	/* crex_deployment_gc; NULL: nothing can be left. */
	int (*gc)(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
		  size_t *ret_removed, struct crex_error *err);
	/* crex_deployment_check; NULL: always works. */
	int (*check)(const struct crex_call *call, struct crex_text *ret, struct crex_error *err);
};

/* One row a type, defined in the type's own file. */
extern const struct deployment_type deployment_type_local, deployment_type_remote, deployment_type_dummy,
	deployment_type_docker, deployment_type_fargate, deployment_type_modal, deployment_type_daytona;

const struct deployment_type *deployment_type_find(const char *name); /* NULL: unknown */

/* A deployment made by resume is born started. */
void deployment_set_started(struct crex_deployment *d);

#endif

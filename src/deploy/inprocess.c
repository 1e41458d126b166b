/* deploy/inprocess.c: the two deployments that are no sandbox: local, whose commands run beside the program, by the
 * engine inside it, and dummy, which only pretends, for tests of programs that use a deployment.
 *
 * What they share is all but the runtime that start makes. It lives from start to stop, so that a dummy's replies can
 * be queued while it is up. */
#include "deploy/registry.h"

#include "deploy/config.h"
#include <errno.h>

struct inprocess {
	struct crex_deployment base;
	struct crex_runtime *rt; /* NULL while down */
};

static struct inprocess *of(struct crex_deployment *d)
{
	return (struct inprocess *)d;
}

static int start_local(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
{
	(void)call;
	of(d)->rt = crex_local_runtime_new(NULL, err);
	return of(d)->rt ? 0 : -1;
}

static int start_dummy(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
{
	(void)call;
	crex_deployment_report(d, "Starting dummy runtime");
	of(d)->rt = crex_dummy_runtime_new(err);
	return of(d)->rt ? 0 : -1;
}

static int stop(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
{
	(void)call, (void)err;
	of(d)->rt = crex_runtime_free(of(d)->rt);
	return 0;
}

static struct crex_runtime *runtime(struct crex_deployment *d)
{
	return of(d)->rt;
}

static void inprocess_free(struct crex_deployment *d)
{
	free(d);
}

static const struct crex_deployment_ops local_ops = {
	.type = "local",
	.start = start_local,
	.stop = stop,
	.runtime = runtime,
	.free = inprocess_free,
};

static const struct crex_deployment_ops dummy_ops = {
	.type = "dummy",
	.start = start_dummy,
	.stop = stop,
	.runtime = runtime,
	.free = inprocess_free,
};

static struct crex_deployment *inprocess_new(const struct crex_deployment_ops *ops, struct crex_error *err)
{
	struct inprocess *d = calloc(1, sizeof *d);
	if (!d)
		crex_error_set_errno(err, ENOMEM, NULL);
	else if (crex_deployment_init(&d->base, ops, err) == 0)
		return &d->base;
	free(d);
	return NULL;
}

struct crex_deployment *crex_local_deployment_new(struct crex_error *err)
{
	return inprocess_new(&local_ops, err);
}

struct crex_deployment *crex_dummy_deployment_new(struct crex_error *err)
{
	return inprocess_new(&dummy_ops, err);
}

/* A config without fields but its type. */
static struct crex_deployment *new_of(const struct crex_deployment_ops *ops, const json_t *config,
				      struct crex_error *err)
{
	const struct config_schema schema = {.type = ops->type};
	char nothing[1];
	return config_read(&schema, config, nothing, err) < 0 ? NULL : inprocess_new(ops, err);
}

static struct crex_deployment *local_from_json(const json_t *config, struct crex_error *err)
{
	return new_of(&local_ops, config, err);
}

static struct crex_deployment *dummy_from_json(const json_t *config, struct crex_error *err)
{
	return new_of(&dummy_ops, config, err);
}

const struct deployment_type deployment_type_local = {.name = "local", .from_json = local_from_json};
const struct deployment_type deployment_type_dummy = {.name = "dummy", .from_json = dummy_from_json};

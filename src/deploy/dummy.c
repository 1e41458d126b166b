/* deploy/dummy.c: a deployment that only pretends, for tests of programs that use one. Its runtime lives as long as it
 * does, so that replies can be queued while it is up. */
#include "deploy/registry.h"

#include "deploy/config.h"
#include <errno.h>

struct dummy_deployment {
	struct crex_deployment base;
	struct crex_runtime *rt; /* NULL while down */
};

static const struct config_schema dummy_schema = {.type = "dummy"};

static struct dummy_deployment *of(struct crex_deployment *d)
{
	return (struct dummy_deployment *)d;
}

static int start(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
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

static void dummy_free(struct crex_deployment *d)
{
	free(d);
}

static const struct crex_deployment_ops dummy_ops = {
	.type = "dummy",
	.start = start,
	.stop = stop,
	.runtime = runtime,
	.free = dummy_free,
};

struct crex_deployment *crex_dummy_deployment_new(struct crex_error *err)
{
	struct dummy_deployment *d = calloc(1, sizeof *d);
	if (!d)
		crex_error_set_errno(err, ENOMEM, NULL);
	else if (crex_deployment_init(&d->base, &dummy_ops, err) == 0)
		return &d->base;
	free(d);
	return NULL;
}

static struct crex_deployment *from_json(const json_t *config, struct crex_error *err)
{
	char nothing[1];
	return config_read(&dummy_schema, config, nothing, err) < 0 ? NULL : crex_dummy_deployment_new(err);
}

const struct deployment_type deployment_type_dummy = {.name = "dummy", .from_json = from_json};

/* deploy/local.c: no sandbox at all: commands run beside the program, by the engine inside it. */
#include "deploy/registry.h"

#include "deploy/config.h"
#include <errno.h>

struct local_deployment {
	struct crex_deployment base;
	struct crex_runtime *rt; /* NULL while down */
};

static const struct config_schema local_schema = {.type = "local"};

static struct local_deployment *of(struct crex_deployment *d)
{
	return (struct local_deployment *)d;
}

static int start(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
{
	(void)call;
	of(d)->rt = crex_local_runtime_new(NULL, err);
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

static void local_free(struct crex_deployment *d)
{
	free(d);
}

static const struct crex_deployment_ops local_ops = {
	.type = "local",
	.start = start,
	.stop = stop,
	.runtime = runtime,
	.free = local_free,
};

struct crex_deployment *crex_local_deployment_new(struct crex_error *err)
{
	struct local_deployment *d = calloc(1, sizeof *d);
	if (!d)
		crex_error_set_errno(err, ENOMEM, NULL);
	else if (crex_deployment_init(&d->base, &local_ops, err) == 0)
		return &d->base;
	free(d);
	return NULL;
}

static struct crex_deployment *from_json(const json_t *config, struct crex_error *err)
{
	char nothing[1];
	return config_read(&local_schema, config, nothing, err) < 0 ? NULL : crex_local_deployment_new(err);
}

const struct deployment_type deployment_type_local = {.name = "local", .from_json = from_json};

/* deploy/registry.c: which deployment types there are: from a name to what can be done with it.
 *
 * Configs and detached states are JSON objects that say their `type`; everything else about them is the type's own. */
#include "deploy/registry.h"

#include "base/buf.h"
#include "deploy/json.h"
#include "base/cleanup.h"
#include <string.h>

static const struct deployment_type *const types[] = {
	&deployment_type_local,	  &deployment_type_remote, &deployment_type_dummy,   &deployment_type_docker,
	&deployment_type_fargate, &deployment_type_modal,  &deployment_type_daytona,
};
enum { N_TYPES = sizeof types / sizeof *types };

/* The names, for a list that a caller can keep. */
static const char *const names[N_TYPES + 1] = {"local", "remote", "dummy", "docker", "fargate", "modal", "daytona"};

const char *const *crex_deployment_types(void)
{
	return names;
}

const struct deployment_type *deployment_type_find(const char *name)
{
	for (size_t i = 0; i < N_TYPES; i++)
		if (strcmp(types[i]->name, name) == 0)
			return types[i];
	return NULL;
}

static int unknown_type(const char *name, struct crex_error *err)
{
	cleanup_buf struct buf known;
	buf_init(&known, 1024);
	for (size_t i = 0; i < N_TYPES; i++)
		buf_printf(&known, "%s%s", i ? ", " : "", types[i]->name);
	return crex_error_set(err, CREX_E_CONFIG, "unknown deployment type '%s'; there are: %s", name,
			      known.data ? known.data : "");
}

/* Parses a text that must be an object with a known `type`; NULL with err set. */
static json_t *parse(const char *text, size_t len, const struct deployment_type **ret_type, struct crex_error *err)
{
	json_error_t problem;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
	if (!root) {
		crex_error_set(err, CREX_E_CONFIG, "deployment config: line %d, column %d: %s", problem.line,
			       problem.column, problem.text);
		return NULL;
	}
	const char *name = json_string_value(json_object_get(root, "type"));
	const struct deployment_type *type = name ? deployment_type_find(name) : NULL;
	if (!json_is_object(root))
		crex_error_set(err, CREX_E_CONFIG, "deployment config: an object is expected");
	else if (!name)
		crex_error_set(err, CREX_E_CONFIG, "deployment config: field 'type' is required");
	else if (!type)
		unknown_type(name, err);
	if (!type) {
		json_decref(root);
		return NULL;
	}
	*ret_type = type;
	return root;
}

struct crex_deployment *crex_deployment_from_json(const char *json, size_t len, struct crex_error *err)
{
	const struct deployment_type *type;
	cleanup_json json_t *root = parse(json, len, &type, err);
	return root ? type->from_json(root, err) : NULL;
}

struct crex_deployment *crex_deployment_resume(const char *state, size_t len, struct crex_error *err)
{
	const struct deployment_type *type;
	cleanup_json json_t *root = parse(state, len, &type, err);
	if (!root)
		return NULL;
	const json_t *inner = json_object_get(root, "state");
	if (!type->resume || !json_is_object(inner)) {
		crex_error_set(err, CREX_E_CONFIG, "this is not the state of a detached %s deployment", type->name);
		return NULL;
	}
	struct crex_deployment *d = type->resume(inner, err);
	if (d && d->ops->runtime(d)) /* there is none of a start that was cut off */
		deployment_set_started(d);
	return d;
}

int crex_deployment_gc(const char *type_name, bool all, void (*report)(void *arg, const char *what), void *report_arg,
		       const struct crex_call *call, size_t *ret_removed, struct crex_error *err)
{
	static const struct crex_call forever = CREX_CALL_INIT;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!err)
		err = &unheard;
	crex_error_clear(err);
	const struct deployment_type *type = deployment_type_find(type_name);
	if (!type)
		return unknown_type(type_name, err);
	if (!type->gc)
		return crex_error_set(err, CREX_E_UNSUPPORTED, "a %s deployment leaves nothing behind", type_name);
	size_t removed = 0;
	int r = type->gc(all, report, report_arg, call ? call : &forever, &removed, err);
	if (ret_removed)
		*ret_removed = removed;
	return r;
}

int crex_deployment_check(const char *type_name, const struct crex_call *call, struct crex_text *ret,
			  struct crex_error *err)
{
	static const struct crex_call forever = CREX_CALL_INIT;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!err)
		err = &unheard;
	crex_error_clear(err);
	const struct deployment_type *type = deployment_type_find(type_name);
	if (!type)
		return unknown_type(type_name, err);
	struct crex_text says = CREX_TEXT_INIT;
	if (type->check && type->check(call ? call : &forever, &says, err) < 0) {
		crex_text_clear(&says);
		return -1;
	}
	if (!says.data) {
		says.data = strdup("works everywhere");
		says.len = says.data ? strlen(says.data) : 0;
	}
	*ret = says;
	return 0;
}

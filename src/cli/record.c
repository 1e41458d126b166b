/* cli/record.c: reading a sandbox's record.
 *
 * The library's state is opaque and holds the token, under one name or another. What is shown of it is a list of what
 * may be shown, not of what may not: a new field stays hidden until somebody has thought about it. */
#include "cli/record.h"

#include "base/cleanup.h"
#include <string.h>
#include <time.h>

static const char *const shown[] = {"host", "port",  "unix_socket",	  "container",
				    "id",   "image", "container_runtime", "docker_internal_host"};
static const char *const tokens[] = {"auth_token", "token"};

const char *record_text(const struct sandbox *s, const char *key)
{
	const char *text = json_string_value(json_object_get(s->record, key));
	return text ? text : "";
}

double record_age(const struct sandbox *s)
{
	return (double)time(NULL) - json_number_value(json_object_get(s->record, "created"));
}

json_t *record_describe(const struct sandbox *s, bool with_token)
{
	json_t *out = json_pack("{s:s, s:s, s:s, s:O?}", "name", s->name, "type", record_text(s, "type"), "target",
				record_text(s, "target"), "created", json_object_get(s->record, "created"));
	json_t *inner = json_object_get(json_object_get(s->record, "state"), "state");
	json_t *connection = json_object();
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
		if (json_object_get(inner, shown[i]))
			json_object_set(connection, shown[i], json_object_get(inner, shown[i]));
	for (size_t i = 0; i < sizeof tokens / sizeof *tokens && with_token; i++)
		if (json_object_get(inner, tokens[i]))
			json_object_set(connection, "token", json_object_get(inner, tokens[i]));
	if (json_object_set_new(out, "connection", connection) < 0) {
		json_decref(out);
		return NULL;
	}
	return out;
}

const char *record_status(const struct sandbox *s, double seconds, struct crex_cancel *cancel, char **ret_why)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	const struct crex_call call = {seconds, cancel};
	*ret_why = NULL;
	if (s->damage) {
		*ret_why = strdup(s->damage);
		return "damaged";
	}
	if (s->is_starting && !json_is_object(json_object_get(s->record, "state")))
		return "starting";
	struct crex_deployment *d = sandbox_resume(s, &err);
	int r = d ? crex_deployment_is_alive(d, &call, &alive, &err) : -1;
	sandbox_release(d);
	bool is_alive = r == 0 && alive.is_alive;
	const char *why = r == 0 ? alive.message : err.message;
	if (!is_alive && why && *why)
		*ret_why = strdup(why);
	crex_is_alive_clear(&alive);
	if (r < 0 && (err.code == CREX_E_CONFIG || err.code == CREX_E_AUTHENTICATION))
		return "unknown";
	return is_alive ? "running" : "gone";
}

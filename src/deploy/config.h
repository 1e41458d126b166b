/* deploy/config.h: a deployment's config as a table: one list of fields reads it from JSON, copies and frees it.
 *
 * A config struct holds plain C values; the table names each field as it is called in JSON and says where it lies.
 * Strings and lists in a struct that config_read or config_copy has filled are owned by it and freed by config_deinit.
 */
#ifndef DEPLOY_CONFIG_H
#define DEPLOY_CONFIG_H

#include <crex/deployment.h>
#include <jansson.h>

enum config_kind {
	CONFIG_STRING,		/* const char *, never NULL */
	CONFIG_STRING_OR_NULL,	/* const char *, NULL for null */
	CONFIG_STRINGS,		/* const char *const *, NULL-terminated; NULL for null and for [] */
	CONFIG_PORT,		/* int, 1 to 65535; null is 0 */
	CONFIG_INT,		/* int, >= 0 */
	CONFIG_SECONDS,		/* double, > 0 */
	CONFIG_SECONDS_OR_NULL, /* double; null is CREX_NO_TIMEOUT */
	CONFIG_BOOL,		/* bool */
	CONFIG_CHOICE,		/* int (an enum), one of `choices` by its position */
	CONFIG_JSON,		/* const char *: an object or null, kept as compact JSON text; NULL for null */
};

struct config_field {
	const char *name;
	enum config_kind kind;
	size_t offset;
	bool required;
	bool secret;		    /* never in messages */
	const char *const *choices; /* NULL-terminated */
};

struct config_schema {
	const char *type; /* what `type` must say */
	const struct config_field *fields;
	size_t n_fields;
	size_t size; /* of the struct */
};

/* Reads obj (whose `type` has been looked at) into cfg, which holds the defaults as literals. An unknown field, a wrong
 * type or a missing required field is CONFIG: "docker: unknown field 'imag', did you mean 'image'?". On failure nothing
 * of cfg is owned. */
int config_read(const struct config_schema *schema, const json_t *obj, void *cfg, struct crex_error *err);
/* A deep copy; the same checks on the values (a port above 65535, an empty required string...). */
int config_copy(const struct config_schema *schema, const void *src, void *dst, struct crex_error *err);
void config_deinit(const struct config_schema *schema, void *cfg);

#endif

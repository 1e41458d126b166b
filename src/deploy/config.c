/* deploy/config.c: configs by table.
 *
 * Reading has two steps: the JSON values go into a struct that only borrows (strings point into the JSON), and that
 * struct is then copied as one that a program has filled would be. So the copy is the one place that allocates and the
 * one place that checks values, for both ways in. */
#include "deploy/config.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/nearest.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>

static void *at(void *cfg, const struct config_field *f)
{
	return (char *)cfg + f->offset;
}

static const void *at_const(const void *cfg, const struct config_field *f)
{
	return (const char *)cfg + f->offset;
}

static int fail(const struct config_schema *s, const struct config_field *f, const char *wanted, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "%s: field '%s' must be %s", s->type, f->name, wanted);
}

static const char *wanted(const struct config_field *f, struct buf *scratch)
{
	switch (f->kind) {
	case CONFIG_STRING: return "a string that is not empty";
	case CONFIG_STRING_OR_NULL: return "a string or null";
	case CONFIG_STRINGS: return "a list of strings";
	case CONFIG_PORT: return "a port from 1 to 65535, or null";
	case CONFIG_INT: return "a whole number, 0 or more";
	case CONFIG_SECONDS: return "a number of seconds above 0";
	case CONFIG_SECONDS_OR_NULL: return "a number of seconds above 0, or null";
	case CONFIG_BOOL: return "true or false";
	case CONFIG_JSON: return "an object or null";
	case CONFIG_CHOICE: break;
	}
	buf_append_str(scratch, "one of");
	for (size_t i = 0; f->choices[i]; i++)
		buf_printf(scratch, "%s \"%s\"", i ? "," : "", f->choices[i]);
	return scratch->data ? scratch->data : "one of its choices";
}

static int fail_kind(const struct config_schema *s, const struct config_field *f, struct crex_error *err)
{
	cleanup_buf struct buf scratch;
	buf_init(&scratch, 1024);
	return fail(s, f, wanted(f, &scratch), err);
}

/* ---- reading ---- */

static int fail_unknown(const struct config_schema *s, const char *name, struct crex_error *err)
{
	struct nearest nearest = nearest_begin(name);
	for (size_t i = 0; i < s->n_fields; i++)
		nearest_offer(&nearest, s->fields[i].name);
	return nearest.found ? crex_error_set(err, CREX_E_CONFIG, "%s: unknown field '%s', did you mean '%s'?", s->type,
					      name, nearest.found)
			     : crex_error_set(err, CREX_E_CONFIG, "%s: unknown field '%s'", s->type, name);
}

/* A C string can't hold a NUL: such text is of the wrong kind. */
static const char *plain_string(const json_t *value)
{
	const char *text = json_string_value(value);
	return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static bool borrow_choice(const struct config_field *f, const json_t *value, int *ret)
{
	const char *text = plain_string(value);
	for (int i = 0; text && f->choices[i]; i++) {
		if (strcmp(text, f->choices[i]) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static bool borrow_strings(const json_t *value, const char *const **ret, int *failure)
{
	*ret = NULL;
	size_t n = json_array_size(value);
	if (json_is_null(value) || (json_is_array(value) && n == 0))
		return true;
	if (!json_is_array(value))
		return false;
	const char **list = calloc(n + 1, sizeof *list);
	if (!list) {
		*failure = -ENOMEM;
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		list[i] = plain_string(json_array_get(value, i));
		if (!list[i]) {
			free(list);
			return false;
		}
	}
	*ret = list;
	return true;
}

/* Puts a view of `value` into its place in cfg; what the copy must not keep (lists, JSON text) is allocated. */
static bool borrow(const struct config_field *f, const json_t *value, void *cfg, int *failure)
{
	void *place = at(cfg, f);
	switch (f->kind) {
	case CONFIG_STRING: return (*(const char **)place = plain_string(value)) != NULL;
	case CONFIG_STRING_OR_NULL:
		*(const char **)place = plain_string(value);
		return *(const char **)place || json_is_null(value);
	case CONFIG_STRINGS: return borrow_strings(value, place, failure);
	case CONFIG_PORT:
	case CONFIG_INT: {
		json_int_t n = json_integer_value(value);
		*(int *)place = n < 0 || n > INT_MAX ? -1 : (int)n;
		bool null = f->kind == CONFIG_PORT && json_is_null(value);
		return null || (json_is_integer(value) && (f->kind == CONFIG_INT || n > 0));
	}
	case CONFIG_SECONDS:
	case CONFIG_SECONDS_OR_NULL:
		*(double *)place = json_is_null(value) ? CREX_NO_TIMEOUT : json_number_value(value);
		return (json_is_number(value) && json_number_value(value) > 0) ||
		       (f->kind == CONFIG_SECONDS_OR_NULL && json_is_null(value));
	case CONFIG_BOOL: *(bool *)place = json_is_true(value); return json_is_boolean(value);
	case CONFIG_CHOICE: return borrow_choice(f, value, place);
	case CONFIG_JSON:
		*(char **)place = NULL;
		if (json_is_null(value))
			return true;
		if (!json_is_object(value))
			return false;
		*(char **)place = json_dumps(value, JSON_COMPACT);
		if (!*(char **)place)
			*failure = -ENOMEM;
		return *(char **)place;
	}
	return false;
}

static const struct config_field *find(const struct config_schema *s, const char *name)
{
	for (size_t i = 0; i < s->n_fields; i++)
		if (strcmp(s->fields[i].name, name) == 0)
			return &s->fields[i];
	return NULL;
}

static int borrow_all(const struct config_schema *s, const json_t *obj, void *view, struct crex_error *err)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)obj, key,
			    value) if (strcmp(key, "type") != 0 && !find(s, key)) return fail_unknown(s, key, err);
	for (size_t i = 0; i < s->n_fields; i++) {
		const struct config_field *f = &s->fields[i];
		value = json_object_get(obj, f->name);
		int failure = 0;
		if (!value && f->required)
			return crex_error_set(err, CREX_E_CONFIG, "%s: field '%s' is required", s->type, f->name);
		if (value && !borrow(f, value, view, &failure))
			return failure < 0 ? crex_error_set_errno(err, -failure, NULL) : fail_kind(s, f, err);
	}
	return 0;
}

/* What borrow has allocated, which is where the field came from JSON. */
static void drop_view(const struct config_schema *s, const json_t *obj, const void *defaults, void *view)
{
	for (size_t i = 0; i < s->n_fields; i++) {
		const struct config_field *f = &s->fields[i];
		bool allocated = f->kind == CONFIG_STRINGS || f->kind == CONFIG_JSON;
		if (allocated && json_object_get(obj, f->name) &&
		    *(void **)at(view, f) != *(void *const *)at_const(defaults, f))
			free(*(void **)at(view, f));
	}
}

int config_read(const struct config_schema *schema, const json_t *obj, void *cfg, struct crex_error *err)
{
	cleanup_free void *view = malloc(schema->size);
	if (!view)
		return crex_error_set_errno(err, ENOMEM, NULL);
	memcpy(view, cfg, schema->size);
	int r = borrow_all(schema, obj, view, err);
	cleanup_free void *copy = r == 0 ? malloc(schema->size) : NULL;
	if (r == 0 && !copy)
		r = crex_error_set_errno(err, ENOMEM, NULL);
	if (r == 0)
		r = config_copy(schema, view, copy, err);
	drop_view(schema, obj, cfg, view);
	if (r == 0)
		memcpy(cfg, copy, schema->size);
	return r;
}

/* ---- copying ---- */

static void strings_free(const char *const *list)
{
	for (const char *const *s = list; s && *s; s++)
		free((char *)*s);
	free((void *)list);
}

static const char *const *strings_copy(const char *const *list)
{
	size_t n = 0;
	while (list[n])
		n++;
	const char **copy = calloc(n + 1, sizeof *copy);
	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(list[i]);
		if (!copy[i]) {
			strings_free(copy);
			return NULL;
		}
	}
	return copy;
}

static bool is_sound(const struct config_field *f, const void *cfg)
{
	const void *place = at_const(cfg, f);
	switch (f->kind) {
	case CONFIG_STRING: return *(const char *const *)place && **(const char *const *)place;
	case CONFIG_PORT: return *(const int *)place >= 0 && *(const int *)place <= 65535;
	case CONFIG_INT: return *(const int *)place >= 0;
	case CONFIG_SECONDS: return *(const double *)place > 0 && isfinite(*(const double *)place);
	case CONFIG_SECONDS_OR_NULL: return *(const double *)place != 0 && isfinite(*(const double *)place);
	case CONFIG_CHOICE: {
		int n = 0;
		while (f->choices[n])
			n++;
		return *(const int *)place >= 0 && *(const int *)place < n;
	}
	case CONFIG_STRING_OR_NULL:
	case CONFIG_STRINGS:
	case CONFIG_BOOL:
	case CONFIG_JSON: return true;
	}
	return false;
}

int config_copy(const struct config_schema *schema, const void *src, void *dst, struct crex_error *err)
{
	for (size_t i = 0; i < schema->n_fields; i++)
		if (!is_sound(&schema->fields[i], src))
			return fail_kind(schema, &schema->fields[i], err);
	memcpy(dst, src, schema->size);
	for (size_t i = 0; i < schema->n_fields; i++) {
		const struct config_field *f = &schema->fields[i];
		void **place = at(dst, f);
		bool list = f->kind == CONFIG_STRINGS;
		bool text = f->kind == CONFIG_STRING || f->kind == CONFIG_STRING_OR_NULL || f->kind == CONFIG_JSON;
		if ((!list && !text) || !*place)
			continue;
		const void *copy = list ? (const void *)strings_copy(*place) : strdup(*place);
		if (!copy) {
			/* what follows is not ours yet */
			for (size_t j = i; j < schema->n_fields; j++)
				if (schema->fields[j].kind <= CONFIG_STRINGS || schema->fields[j].kind == CONFIG_JSON)
					*(void **)at(dst, &schema->fields[j]) = NULL;
			config_deinit(schema, dst);
			return crex_error_set_errno(err, ENOMEM, NULL);
		}
		*place = (void *)copy;
	}
	return 0;
}

void config_deinit(const struct config_schema *schema, void *cfg)
{
	for (size_t i = 0; i < schema->n_fields; i++) {
		const struct config_field *f = &schema->fields[i];
		if (f->kind == CONFIG_STRINGS) {
			strings_free(*(const char *const **)at(cfg, f));
			*(const char *const **)at(cfg, f) = NULL;
		} else if (f->kind == CONFIG_STRING || f->kind == CONFIG_STRING_OR_NULL || f->kind == CONFIG_JSON) {
			char **text = at(cfg, f);
			if (f->secret && *text)
				explicit_bzero(*text, strlen(*text));
			free(*text);
			*text = NULL;
		}
	}
}

/* wire/check.c: pydantic's lax mode, as far as the schema of SWE-ReX uses it.
 *
 * Which values pass and how a refusal is worded follow pydantic 2: numbers may come as strings and booleans as numbers,
 * strings are strings only, and a type's name, message and ctx are what its users know from other servers. Findings
 * echo the offending input, as pydantic does, but bounded: a refused 100 MB body must not come back as a reply.
 *
 * Seconds differ from pydantic in meaning, not in form: the request structs say "none" with a negative number, so a
 * negative number of the client becomes 0 (Python's timeouts of the past expire at once), infinity becomes none, and
 * NaN, with which no deadline can be computed, is refused. */
#include "wire/check.h"
#include "wire/lax.h"
#include "wire/schema.h"
#include "wire/wire.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check_block {
	struct check_block *next;
	alignas(max_align_t) char data[];
};

static void *arena_take(struct check *c, size_t count, size_t size)
{
	if (size && count > (SIZE_MAX - sizeof(struct check_block)) / size) {
		c->failure = -ENOMEM;
		return NULL;
	}
	struct check_block *block = malloc(sizeof *block + count * size);
	if (!block) {
		c->failure = -ENOMEM;
		return NULL;
	}
	block->next = c->arena->blocks;
	c->arena->blocks = block;
	return block->data;
}

void check_arena_deinit(struct check_arena *a)
{
	while (a->blocks) {
		struct check_block *next = a->blocks->next;
		free(a->blocks);
		a->blocks = next;
	}
}

static void add(struct check *c, const char *text)
{
	if (c->failure == 0)
		c->failure = buf_append_str(c->detail, text);
}

static void add_string(struct check *c, const char *s, size_t len)
{
	if (c->failure == 0)
		c->failure = wire_encode_string(c->detail, s, len);
}

static void add_short_string(struct check *c, const char *s, size_t len)
{
	if (len <= CHECK_INPUT_STRING_MAX) {
		add_string(c, s, len);
		return;
	}
	char cut[CHECK_INPUT_STRING_MAX + 4];
	size_t n = CHECK_INPUT_STRING_MAX;
	while (n > 0 && (s[n] & 0xC0) == 0x80)
		n--;
	memcpy(cut, s, n);
	memcpy(cut + n, "...", 3);
	add_string(c, cut, n + 3);
}

static void add_input(struct check *c, const json_t *value, size_t limit, int depth)
{
	if (c->failure)
		return;
	if (c->detail->len > limit || depth > 8) {
		add(c, "\"...\"");
		return;
	}
	char scratch[64];
	const char *separator = "";
	switch (json_typeof(value)) {
	case JSON_STRING: add_short_string(c, json_string_value(value), json_string_length(value)); return;
	case JSON_INTEGER:
		snprintf(scratch, sizeof scratch, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		add(c, scratch);
		return;
	case JSON_REAL:
		snprintf(scratch, sizeof scratch, "%.17g", json_real_value(value));
		add(c, scratch);
		return;
	case JSON_TRUE: add(c, "true"); return;
	case JSON_FALSE: add(c, "false"); return;
	case JSON_NULL: add(c, "null"); return;
	case JSON_ARRAY:
		add(c, "[");
		for (size_t i = 0; i < json_array_size(value); i++) {
			add(c, separator);
			separator = ",";
			bool last = c->detail->len > limit;
			add_input(c, json_array_get(value, i), limit, depth + 1);
			if (last)
				break;
		}
		add(c, "]");
		return;
	case JSON_OBJECT: {
		add(c, "{");
		json_t *object = (json_t *)(uintptr_t)value; /* iterating changes nothing, the API just isn't const */
		for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
			add(c, separator);
			separator = ",";
			bool last = c->detail->len > limit;
			add_short_string(c, json_object_iter_key(it), json_object_iter_key_len(it));
			add(c, ":");
			add_input(c, json_object_iter_value(it), limit, depth + 1);
			if (last)
				break;
		}
		add(c, "}");
		return;
	}
	}
}

void check_report(struct check *c, const char *type, const struct check_loc *loc, const char *msg, const char *ctx,
		  const json_t *input)
{
	if (c->n_errors++ >= CHECK_ERRORS_MAX)
		return;
	add(c, c->n_errors == 1 ? "{\"detail\":[{\"type\":" : ",{\"type\":");
	add_string(c, type, strlen(type));
	add(c, ",\"loc\":[\"body\"");
	const char *const parts[] = {loc->tag, loc->field, loc->branch};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (!parts[i])
			continue;
		add(c, ",");
		add_string(c, parts[i], strlen(parts[i]));
	}
	if (loc->key) {
		add(c, ",");
		add_short_string(c, loc->key, loc->key_len);
	}
	if (loc->index >= 0) {
		char number[32];
		snprintf(number, sizeof number, ",%lld", loc->index);
		add(c, number);
	}
	add(c, "],\"msg\":");
	add_string(c, msg, strlen(msg));
	add(c, ",\"input\":");
	if (input)
		add_input(c, input, c->detail->len + CHECK_INPUT_MAX, 0);
	else
		add(c, "null");
	if (ctx) {
		add(c, ",\"ctx\":{");
		add(c, ctx);
		add(c, "}");
	}
	add(c, "}");
}

static void report_at(struct check *c, const char *type, const struct check_loc *loc, const char *msg, const json_t *v)
{
	check_report(c, type, loc, msg, NULL, v);
}

static bool read_str(struct check *c, const struct check_loc *loc, const json_t *v, struct crex_str *ret)
{
	if (!json_is_string(v)) {
		report_at(c, "string_type", loc, "Input should be a valid string", v);
		return false;
	}
	struct crex_str s = {json_string_value(v), json_string_length(v)};
	if (c->body->has_surrogate && memmem(s.ptr, s.len, JSON_SURROGATE_STAND_IN, 3)) {
		report_at(c, "string_unicode", loc,
			  "Input should be a valid string, unable to parse raw data as a unicode string", v);
		return false;
	}
	*ret = s;
	return true;
}

static bool read_str_list(struct check *c, struct check_loc loc, const json_t *v, struct crex_str_list *ret)
{
	if (!json_is_array(v)) {
		report_at(c, "list_type", &loc, "Input should be a valid list", v);
		return false;
	}
	size_t n = json_array_size(v);
	struct crex_str *items = arena_take(c, n, sizeof *items);
	bool good = items;
	for (size_t i = 0; items && i < n; i++) {
		loc.index = (long long)i;
		good = read_str(c, &loc, json_array_get(v, i), &items[i]) && good;
	}
	if (good)
		*ret = (struct crex_str_list){items, n};
	return good;
}

static void read_bool(struct check *c, const struct check_loc *loc, const json_t *v, bool *ret)
{
	switch (lax_bool(v, ret)) {
	case LAX_OK: return;
	case LAX_UNPARSABLE:
		report_at(c, "bool_parsing", loc, "Input should be a valid boolean, unable to interpret input", v);
		return;
	case LAX_TYPE:
	case LAX_FRACTION: report_at(c, "bool_type", loc, "Input should be a valid boolean", v); return;
	}
}

static bool read_number(struct check *c, const struct check_loc *loc, const json_t *v, const char *type,
			const char *parsing, double *ret)
{
	char msg[96];
	const char *noun = type[0] == 'i' ? "integer" : "number";
	double value = 0;
	enum lax_result r = lax_number(v, &value);
	if (r != LAX_OK) {
		bool unparsable = r == LAX_UNPARSABLE;
		snprintf(msg, sizeof msg, "Input should be a valid %s%s%s", noun,
			 unparsable ? ", unable to parse string as a" : "",
			 !unparsable	  ? ""
			 : type[0] == 'i' ? "n integer"
					  : " number");
		report_at(c, unparsable ? parsing : type, loc, msg, v);
		return false;
	}
	if (c->body->has_nan && json_is_real(v) && value <= JSON_NAN_STAND_IN && value > 0)
		value = NAN;
	if (value >= JSON_INFINITY_STAND_IN || value <= -JSON_INFINITY_STAND_IN)
		value = value < 0 ? -INFINITY : INFINITY;
	*ret = value;
	return true;
}

static void read_seconds(struct check *c, const struct check_loc *loc, const json_t *v, double *ret)
{
	double value;
	if (!read_number(c, loc, v, "float_type", "float_parsing", &value))
		return;
	if (isnan(value))
		report_at(c, "finite_number", loc, "Input should be a finite number", NULL);
	else if (isinf(value) && value > 0)
		*ret = CREX_NO_TIMEOUT;
	else
		*ret = value < 0 ? 0.0 : value;
}

static void read_int(struct check *c, const struct check_loc *loc, const json_t *v, int *ret)
{
	double value;
	if (!read_number(c, loc, v, "int_type", "int_parsing", &value))
		return;
	if (!isfinite(value))
		report_at(c, "finite_number", loc, "Input should be a finite number", NULL);
	else if (value != floor(value) && json_is_string(v))
		report_at(c, "int_parsing", loc,
			  "Input should be a valid integer, unable to parse string as an integer", v);
	else if (value != floor(value))
		report_at(c, "int_from_float", loc,
			  "Input should be a valid integer, got a number with a fractional part", v);
	else
		*ret = value >= INT_MAX ? INT_MAX : value <= INT_MIN ? INT_MIN : (int)value;
}

static void read_mode(struct check *c, const struct check_loc *loc, const json_t *v, enum crex_check *ret)
{
	static const enum crex_check modes[] = {CREX_CHECK_SILENT, CREX_CHECK_RAISE, CREX_CHECK_IGNORE};
	for (size_t i = 0; json_is_string(v) && i < sizeof modes / sizeof *modes; i++) {
		const char *name = wire_mode_name(modes[i]);
		if (strcmp(name, json_string_value(v)) == 0 && json_string_length(v) == strlen(name)) {
			*ret = modes[i];
			return;
		}
	}
	check_report(c, "literal_error", loc, "Input should be 'silent', 'raise' or 'ignore'",
		     "\"expected\":\"'silent', 'raise' or 'ignore'\"", v);
}

static void read_command(struct check *c, struct check_loc loc, const json_t *v, struct crex_execute_request *ret)
{
	if (json_is_string(v)) {
		struct crex_str *item = arena_take(c, 1, sizeof *item);
		if (item && read_str(c, &loc, v, item)) {
			ret->command = (struct crex_str_list){item, 1};
			ret->command_is_list = false;
		}
		return;
	}
	struct check_loc as_list = loc;
	as_list.branch = "list[str]";
	bool strings = json_is_array(v);
	for (size_t i = 0; strings && i < json_array_size(v); i++)
		strings = json_is_string(json_array_get(v, i));
	if (!strings) { /* each member of the union has its say, in order */
		loc.branch = "str";
		report_at(c, "string_type", &loc, "Input should be a valid string", v);
	}
	ret->command_is_list = read_str_list(c, as_list, v, &ret->command);
}

static void read_env_item(struct check *c, const struct check_loc *loc, const json_t *v, struct crex_str *ret)
{
	struct crex_str value = {NULL, 0};
	if (!read_str(c, loc, v, &value))
		return;
	const char *problem = NULL;
	if (memchr(loc->key, '=', loc->key_len))
		problem = "Value error, illegal environment variable name";
	else if (memchr(loc->key, '\0', loc->key_len) || memchr(value.ptr, '\0', value.len))
		problem = "Value error, embedded null byte";
	if (problem) {
		check_report(c, "value_error", loc, problem, "\"error\":{}", v);
		return;
	}
	size_t len = loc->key_len + 1 + value.len;
	char *item = arena_take(c, len + 1, 1);
	if (!item)
		return;
	memcpy(item, loc->key, loc->key_len);
	item[loc->key_len] = '=';
	memcpy(item + loc->key_len + 1, value.ptr, value.len);
	item[len] = '\0';
	*ret = (struct crex_str){item, len};
}

static void read_env(struct check *c, struct check_loc loc, const json_t *v, struct crex_execute_request *ret)
{
	if (json_is_null(v)) {
		ret->has_env = false;
		return;
	}
	if (!json_is_object(v)) {
		report_at(c, "dict_type", &loc, "Input should be a valid dictionary", v);
		return;
	}
	json_t *object = (json_t *)(uintptr_t)v; /* iterating changes nothing */
	struct crex_str *items = arena_take(c, json_object_size(v), sizeof *items);
	size_t n = 0;
	for (void *it = json_object_iter(object); items && it; it = json_object_iter_next(object, it)) {
		loc.key = json_object_iter_key(it);
		loc.key_len = json_object_iter_key_len(it);
		items[n] = (struct crex_str){NULL, 0};
		read_env_item(c, &loc, json_object_iter_value(it), &items[n++]);
	}
	ret->has_env = true;
	ret->env = (struct crex_str_list){items, n};
}

static void read_field(struct check *c, const struct check_field *f, const json_t *v, void *dst)
{
	struct check_loc loc = {.tag = c->tag, .field = f->name, .index = -1};
	void *slot = (char *)dst + f->offset;
	switch (f->type) {
	case CHECK_STR_OR_NULL:
		if (json_is_null(v)) {
			*(struct crex_str *)slot = (struct crex_str){NULL, 0};
			return;
		}
		__attribute__((fallthrough));
	case CHECK_STR: read_str(c, &loc, v, slot); return;
	case CHECK_STR_LIST: read_str_list(c, loc, v, slot); return;
	case CHECK_BOOL: read_bool(c, &loc, v, slot); return;
	case CHECK_INT: read_int(c, &loc, v, slot); return;
	case CHECK_SECONDS_OR_NULL:
		if (json_is_null(v)) {
			*(double *)slot = CREX_NO_TIMEOUT;
			return;
		}
		__attribute__((fallthrough));
	case CHECK_SECONDS: read_seconds(c, &loc, v, slot); return;
	case CHECK_MODE: read_mode(c, &loc, v, slot); return;
	case CHECK_COMMAND: read_command(c, loc, v, slot); return;
	case CHECK_ENV: read_env(c, loc, v, slot); return;
	}
}

void check_fields(struct check *c, const json_t *obj, const struct check_field *fields, size_t n_fields, void *dst)
{
	for (size_t i = 0; i < n_fields && c->failure == 0; i++) {
		const json_t *v = json_object_get(obj, fields[i].name);
		if (v) {
			read_field(c, &fields[i], v, dst);
		} else if (fields[i].required) {
			struct check_loc loc = {.tag = c->tag, .field = fields[i].name, .index = -1};
			report_at(c, "missing", &loc, "Field required", obj);
		}
	}
}

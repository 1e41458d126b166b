/* wire/request.c: requests as JSON, by the tables that the server reads them by.
 *
 * Every field is given, so that a server with other defaults understands the same. Numbers are written without the C
 * library's printf of doubles: a program that links us may have set a locale with a decimal comma. */
#include "wire/client.h"
#include "wire/schema.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TRY(expr)                     \
	do {                          \
		int try_r = (expr);   \
		if (try_r < 0)        \
			return try_r; \
	} while (0)

/* Longer than anybody waits, and a number that Python's own timers still take: stands for "none" where the contract
 * knows no null. */
static const double SECONDS_MAX = 1e9;

const char *wire_path(enum wire_request_kind kind)
{
	return wire_schema(kind)->path;
}

static int add_str(struct buf *out, struct crex_str s)
{
	return wire_encode_escaped(out, s.ptr, s.len);
}

static int add_name(struct buf *out, const char *name)
{
	return buf_printf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", name);
}

static int add_list(struct buf *out, const struct crex_str_list *list)
{
	TRY(buf_append_char(out, '['));
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			TRY(buf_append_char(out, ','));
		TRY(add_str(out, list->items[i]));
	}
	return buf_append_char(out, ']');
}

/* As decimal fraction with nanoseconds, without needless zeros. */
static int add_seconds(struct buf *out, double seconds)
{
	double whole = floor(seconds);
	long long nanoseconds = llround((seconds - whole) * 1e9);
	long long number = (long long)whole + nanoseconds / 1000000000;
	char fraction[16];
	size_t len = (size_t)snprintf(fraction, sizeof fraction, "%09lld", nanoseconds % 1000000000);
	while (len > 1 && fraction[len - 1] == '0')
		len--;
	return buf_printf(out, "%lld.%.*s", number, (int)len, fraction);
}

static bool is_none(double seconds)
{
	return !(seconds >= 0) || seconds > SECONDS_MAX;
}

static int add_command(struct buf *out, const struct crex_execute_request *req)
{
	if (req->command_is_list)
		return add_list(out, &req->command);
	return add_str(out, req->command.count ? req->command.items[0] : (struct crex_str){NULL, 0});
}

static int add_env(struct buf *out, const struct crex_execute_request *req)
{
	if (!req->has_env)
		return buf_append_str(out, "null");
	TRY(buf_append_char(out, '{'));
	for (size_t i = 0; i < req->env.count; i++) {
		struct crex_str item = req->env.items[i];
		const char *equals = item.len ? memchr(item.ptr, '=', item.len) : NULL;
		size_t key_len = equals ? (size_t)(equals - item.ptr) : item.len;
		size_t value_at = equals ? key_len + 1 : item.len;
		if (i)
			TRY(buf_append_char(out, ','));
		TRY(wire_encode_escaped(out, item.ptr, key_len));
		TRY(buf_append_char(out, ':'));
		TRY(wire_encode_escaped(out, equals ? equals + 1 : NULL, item.len - value_at));
	}
	return buf_append_char(out, '}');
}

static int add_value(struct buf *out, const struct check_field *f, const void *src)
{
	const void *slot = (const char *)src + f->offset;
	const struct crex_str *text = slot;
	double seconds;
	switch (f->type) {
	case CHECK_STR_OR_NULL:
		if (!text->ptr)
			return buf_append_str(out, "null");
		__attribute__((fallthrough));
	case CHECK_STR: return add_str(out, *text);
	case CHECK_STR_LIST: return add_list(out, slot);
	case CHECK_BOOL: return buf_append_str(out, *(const bool *)slot ? "true" : "false");
	case CHECK_INT: return buf_printf(out, "%d", *(const int *)slot);
	case CHECK_SECONDS_OR_NULL:
		if (is_none(*(const double *)slot))
			return buf_append_str(out, "null");
		__attribute__((fallthrough));
	case CHECK_SECONDS:
		seconds = *(const double *)slot;
		return add_seconds(out, is_none(seconds) ? SECONDS_MAX : seconds);
	case CHECK_MODE: return buf_printf(out, "\"%s\"", wire_mode_name(*(const enum crex_check *)slot));
	case CHECK_COMMAND: return add_command(out, src);
	case CHECK_ENV: return add_env(out, src);
	}
	return 0;
}

static int add_request(struct buf *out, const struct wire_request *req)
{
	const struct wire_schema *schema = wire_schema(req->kind);
	const struct wire_variant *v = &schema->variants[req->is_interrupt ? 1 : 0];
	TRY(buf_append_char(out, '{'));
	if (schema->discriminator) {
		TRY(add_name(out, schema->discriminator));
		TRY(buf_printf(out, "\"%s\"", v->tag));
	}
	for (size_t i = 0; i < v->n_fields; i++) {
		TRY(add_name(out, v->fields[i].name));
		TRY(add_value(out, &v->fields[i], &req->u));
	}
	return buf_append_char(out, '}');
}

int wire_encode_request(struct buf *out, const struct wire_request *req)
{
	size_t start = out->len;
	int r = add_request(out, req);
	if (r < 0 && out->data) {
		out->len = start;
		out->data[start] = '\0';
	}
	return r;
}

/* wire/decode.c: the one function that reads a request's body, by the tables of schema.c.
 *
 * Two departures from SWE-ReX's models: a missing tag is read as "bash", the one that everybody means, and a request of
 * a union with one member is handled like the others.
 *
 * A big body's tree is given back to the system when it goes: it lay in small blocks all over the heap, which free()
 * alone would keep for a long time. */
#include "wire/check.h"
#include "wire/schema.h"
#include "wire/wire.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wire_doc {
	struct json_body body;
	struct check_arena arena;
	size_t size; /* of the body */
};

enum { BIG_BODY = 1 << 20 };

static void fill_defaults(struct wire_request *r)
{
	switch (r->kind) {
	case WIRE_CREATE_SESSION:
		r->u.create_session = (struct crex_create_session_request)CREX_CREATE_SESSION_REQUEST_INIT;
		return;
	case WIRE_RUN_IN_SESSION:
		if (r->is_interrupt)
			r->u.interrupt = (struct crex_bash_interrupt_action)CREX_BASH_INTERRUPT_ACTION_INIT;
		else
			r->u.bash = (struct crex_bash_action)CREX_BASH_ACTION_INIT;
		return;
	case WIRE_CLOSE_SESSION: r->u.close_session = (struct crex_str)CREX_STR("default"); return;
	case WIRE_EXECUTE: r->u.execute = (struct crex_execute_request)CREX_EXECUTE_REQUEST_INIT; return;
	case WIRE_READ_FILE: r->u.read_file = (struct crex_read_file_request)CREX_READ_FILE_REQUEST_INIT; return;
	case WIRE_WRITE_FILE: r->u.write_file = (struct crex_write_file_request)CREX_WRITE_FILE_REQUEST_INIT; return;
	case WIRE_OPEN_STREAM: r->u.open_stream = (struct crex_stream_request)CREX_STREAM_REQUEST_INIT; return;
	}
}

static void report_tag(struct check *c, const struct wire_schema *s, const json_t *tag, const json_t *root)
{
	char name[64], msg[256];
	if (json_is_string(tag)) {
		size_t n = strnlen(json_string_value(tag), 48);
		while (n > 0 && json_string_value(tag)[n] && (json_string_value(tag)[n] & 0xC0) == 0x80)
			n--;
		snprintf(name, sizeof name, "%.*s%s", (int)n, json_string_value(tag),
			 json_string_value(tag)[n] ? "..." : "");
	} else if (json_is_integer(tag)) {
		snprintf(name, sizeof name, "%" JSON_INTEGER_FORMAT, json_integer_value(tag));
	} else {
		static const char *const kinds[] = {
			[JSON_OBJECT] = "{...}", [JSON_ARRAY] = "[...]", [JSON_REAL] = "(float)",
			[JSON_TRUE] = "True",	 [JSON_FALSE] = "False", [JSON_NULL] = "None"};
		snprintf(name, sizeof name, "%s", kinds[json_typeof(tag)]);
	}
	snprintf(msg, sizeof msg, "Input tag '%s' found using '%s' does not match any of the expected tags: %s", name,
		 s->discriminator, s->tags);
	struct buf ctx;
	buf_init(&ctx, 1024);
	int r = buf_printf(&ctx, "\"discriminator\":\"'%s'\",\"tag\":", s->discriminator);
	if (r == 0)
		r = wire_encode_string(&ctx, name, strlen(name));
	if (r == 0)
		r = buf_printf(&ctx, ",\"expected_tags\":\"%s\"", s->tags);
	struct check_loc loc = {.index = -1};
	if (r == 0)
		check_report(c, "union_tag_invalid", &loc, msg, ctx.data, root);
	else
		c->failure = r;
	buf_deinit(&ctx);
}

static const struct wire_variant *find_variant(struct check *c, const struct wire_schema *s, const json_t *root)
{
	const json_t *tag = s->discriminator ? json_object_get(root, s->discriminator) : NULL;
	if (!tag)
		return &s->variants[0];
	for (size_t i = 0; json_is_string(tag) && i < 2 && s->variants[i].tag; i++)
		if (json_string_length(tag) == strlen(s->variants[i].tag) &&
		    memcmp(json_string_value(tag), s->variants[i].tag, json_string_length(tag)) == 0)
			return &s->variants[i];
	report_tag(c, s, tag, root);
	return NULL;
}

static void check_root(struct check *c, enum wire_request_kind kind, struct wire_request *ret)
{
	const json_t *root = c->body->root;
	struct check_loc loc = {.index = -1};
	if (json_is_null(root)) {
		check_report(c, "missing", &loc, "Field required", NULL, NULL);
		return;
	}
	if (!json_is_object(root)) {
		check_report(c, "model_attributes_type", &loc,
			     "Input should be a valid dictionary or object to extract fields from", NULL, root);
		return;
	}
	const struct wire_variant *v = find_variant(c, wire_schema(kind), root);
	if (!v)
		return;
	c->tag = v->tag;
	*ret = (struct wire_request){.kind = kind, .is_interrupt = v->is_interrupt};
	fill_defaults(ret);
	check_fields(c, root, v->fields, v->n_fields, &ret->u);
}

/* The body is no JSON: FastAPI gives the position in the place of a field. */
static int report_broken(struct buf *detail, const struct json_problem *problem)
{
	int r = buf_printf(detail,
			   "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",%zu],"
			   "\"msg\":\"JSON decode error\",\"input\":{},\"ctx\":{\"error\":",
			   problem->position);
	if (r == 0)
		r = wire_encode_string(detail, problem->text, strlen(problem->text));
	return r == 0 ? buf_append_str(detail, "}}]}") : r;
}

static int report_empty(struct buf *detail)
{
	return buf_append_str(detail,
			      "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":\"Field required\","
			      "\"input\":null}]}");
}

void *wire_doc_free(struct wire_doc *doc)
{
	if (doc) {
		json_decref(doc->body.root);
		check_arena_deinit(&doc->arena);
		bool big = doc->size >= BIG_BODY;
		free(doc);
#ifdef __GLIBC__
		if (big)
			malloc_trim(0);
#else
		(void)big;
#endif
	}
	return NULL;
}

int wire_decode(enum wire_request_kind kind, struct crex_str body, struct wire_doc **ret_doc, struct wire_request *ret,
		struct buf *detail)
{
	int r;
	if (body.len == 0) {
		r = report_empty(detail);
		return r < 0 ? r : 422;
	}
	struct wire_doc *doc = calloc(1, sizeof *doc);
	if (!doc)
		return -ENOMEM;
	doc->size = body.len;
	struct json_problem problem;
	r = json_body_parse(body, &doc->body, &problem);
	if (r < 0) {
		wire_doc_free(doc);
		if (r == -EINVAL)
			r = report_broken(detail, &problem);
		return r < 0 ? r : 422;
	}
	struct check check = {.body = &doc->body, .arena = &doc->arena, .detail = detail};
	struct wire_request request;
	check_root(&check, kind, &request);
	if (check.n_errors && check.failure == 0)
		check.failure = buf_append_str(detail, "]}");
	if (check.failure < 0 || check.n_errors) {
		wire_doc_free(doc);
		return check.failure < 0 ? check.failure : 422;
	}
	*ret_doc = doc;
	*ret = request;
	return 0;
}

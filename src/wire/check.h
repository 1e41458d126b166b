/* wire/check.h: checking one request against its schema, with every finding in pydantic's words.
 *
 * A schema is a table of fields; the values go to the places that the offsets name. What fails is reported into the
 * detail document, and the check goes on, so that one reply tells everything. */
#ifndef WIRE_CHECK_H
#define WIRE_CHECK_H

#include "base/buf.h"
#include "wire/json.h"

enum {
	CHECK_ERRORS_MAX = 64,	     /* findings in one reply */
	CHECK_INPUT_MAX = 2048,	     /* bytes of `input` that one finding echoes, roughly */
	CHECK_INPUT_STRING_MAX = 256 /* bytes of one string in it */
};

enum check_type {
	CHECK_STR,
	CHECK_STR_OR_NULL, /* null: ptr NULL */
	CHECK_STR_LIST,
	CHECK_BOOL,
	CHECK_INT,
	CHECK_SECONDS,
	CHECK_SECONDS_OR_NULL, /* null: CREX_NO_TIMEOUT */
	CHECK_MODE,	       /* enum crex_check by its name */
	CHECK_COMMAND,	       /* str or list of str; offset is that of the whole crex_execute_request */
	CHECK_ENV,	       /* null or a dict of str; the same */
};

struct check_field {
	const char *name;
	enum check_type type;
	bool required;
	size_t offset;
};

/* Memory that lives as long as the request. */
struct check_arena {
	struct check_block *blocks;
};
void check_arena_deinit(struct check_arena *a);

struct check {
	const struct json_body *body;
	struct check_arena *arena;
	struct buf *detail;
	const char *tag; /* of the union's member, part of each loc; NULL: none */
	size_t n_errors;
	int failure; /* negative errno: the check can't be finished */
};

/* Where a finding is: ["body", tag, field, branch, key or index]. NULL and -1 leave a part out. */
struct check_loc {
	const char *tag;
	const char *field;
	const char *branch;
	const char *key;
	size_t key_len;
	long long index;
};

/* ctx: what stands between the braces of "ctx", complete JSON; NULL: no ctx. input may be NULL (null). */
void check_report(struct check *c, const char *type, const struct check_loc *loc, const char *msg, const char *ctx,
		  const json_t *input);

/* Reads all fields of obj into the struct at dst, which holds the defaults. */
void check_fields(struct check *c, const json_t *obj, const struct check_field *fields, size_t n_fields, void *dst);

#endif

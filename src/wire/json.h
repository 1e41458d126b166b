/* wire/json.h: a request body as a tree, read as leniently as Python's json.loads reads it. */
#ifndef WIRE_JSON_H
#define WIRE_JSON_H

#include "base/buf.h"
#include <crex/runtime.h>
#include <jansson.h>

/* What the parser can't represent stands in the tree as an ordinary value that nobody sends; the flags say whether it
 * may mean the other thing. */
struct json_body {
	json_t *root; /* owned */
	bool has_nan;
	bool has_surrogate;
};

#define JSON_NAN_STAND_IN 5e-324		      /* NaN, when has_nan */
#define JSON_INFINITY_STAND_IN 1.7976931348623157e308 /* Infinity, always (no client means the number) */
#define JSON_SURROGATE_STAND_IN "\xEF\xB7\x90"	      /* U+FDD0: a lone surrogate, when has_surrogate */

/* A document's values, and the names and brackets around them, which are counted as well. */
enum { JSON_VALUES_MAX = 100000 };

struct json_problem {
	size_t position; /* bytes from the start of the body */
	char text[160];
};

/* 0; -EINVAL with *ret_problem; -ENOMEM. */
int json_body_parse(struct crex_str body, struct json_body *ret, struct json_problem *ret_problem);

#endif

/* wire/pull.h: a JSON text read value by value, without a tree.
 *
 * Replies are flat and may hold one string of hundreds of megabytes: each string is decoded once, into memory of its
 * own. The reader asks for what it expects; the first thing that is otherwise sets `problem`, and everything fails from
 * then on. Pure; any thread. */
#ifndef WIRE_PULL_H
#define WIRE_PULL_H

#include <crex/runtime.h>

enum { PULL_DEPTH_MAX = 128 };

struct pull {
	const char *begin, *at, *end;
	const char *problem; /* static; NULL: all is well */
	bool no_memory;	     /* the problem is ours */
};

void pull_init(struct pull *p, struct crex_str text);

/* The first character of the next value; '\0' at the end or after a problem. */
char pull_peek(struct pull *p);

/* for (bool first = true; pull_next(p, '{', &first);) { pull_key or a value ... }
 * Enters an object ('{') or array ('['), then goes on to each member; false after the last one. */
bool pull_next(struct pull *p, char kind, bool *first);

/* The name before a member's value: an owned string. */
bool pull_key(struct pull *p, char **ret, size_t *ret_len);

/* An owned string, NUL-terminated, WTF-8: lone surrogates stay as three bytes each. */
bool pull_string(struct pull *p, char **ret, size_t *ret_len);
bool pull_bool(struct pull *p, bool *ret);
bool pull_int(struct pull *p, int *ret); /* no fraction, no exponent, in int's range */
bool pull_null(struct pull *p);		 /* takes a null if one is next; no problem otherwise */

/* Any value; ret_text, when not NULL, is its text, borrowed. */
bool pull_skip(struct pull *p, struct crex_str *ret_text);

/* Nothing but white space is left. */
bool pull_end(struct pull *p);

#endif

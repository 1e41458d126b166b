/* deploy/modal/toml.h: a strict reader of the part of TOML that a profile file is written in.
 *
 * Tables ([name], ["any name"]), pairs of a key and a one-line string, a boolean or a number, comments. What TOML has
 * beyond that (arrays, inline tables, dates, dotted keys, strings of several lines) is an error with its line, never a
 * wrong value. */
#ifndef DEPLOY_MODAL_TOML_H
#define DEPLOY_MODAL_TOML_H

#include <crex/error.h>
#include <stdbool.h>

enum toml_kind { TOML_STRING, TOML_BOOL, TOML_NUMBER };

struct toml_pair {
	const char *table; /* "" before the first one */
	const char *key;
	enum toml_kind kind;
	const char *value; /* the string itself; "true", "12" */
};

/* Tells each pair in the file's order; a callback's -1 (err set) ends it. 0, or -1: CONFIG as "path:line: ...", the
 * text itself not quoted, since it may be a secret. */
int toml_read(const char *text, size_t len, const char *path,
	      int (*on_pair)(void *arg, const struct toml_pair *pair, struct crex_error *err), void *arg,
	      struct crex_error *err);

#endif

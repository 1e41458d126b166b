/* runtime/local/expect.h: strings that end a command early, as literal text or as regular expressions. */
#ifndef RUNTIME_LOCAL_EXPECT_H
#define RUNTIME_LOCAL_EXPECT_H

#include <crex/runtime.h>
#include <stdbool.h>

struct expect;

/* Copies and compiles. An empty list gives NULL and 0. -ENOMEM; an invalid expression is kept as literal text only. */
int expect_new(const struct crex_str_list *list, struct expect **ret);
void *expect_free(struct expect *e); /* returns NULL */

struct expect_match {
	size_t start, end;   /* offsets in the text that was given */
	const char *pattern; /* borrowed; for a literal hit the string itself */
};

/* The earliest hit of any string in text; among equals the first in the list, literal before expression. `seen` is how
 * much of the text an earlier call has searched in vain, so that literals need not be looked for twice; an expression's
 * hit may begin at most 4096 bytes before it. */
bool expect_search(const struct expect *e, const char *text, size_t len, size_t seen, struct expect_match *ret);

#endif

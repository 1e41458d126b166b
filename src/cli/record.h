/* cli/record.h: what ps, info and up tell of a sandbox that has a name. */
#ifndef CLI_RECORD_H
#define CLI_RECORD_H

#include "cli/cli.h"
#include "cli/names.h"

/* Without any secret, unless with_token. NULL: no memory. */
json_t *record_describe(const struct sandbox *s, bool with_token);

/* "starting", "running", "gone", "unknown" (nobody can be asked without the right credentials: it may well run, and
 * cost) or "damaged"; *ret_why says why it is that (owned; NULL: not known). Waits at most `seconds`. */
const char *record_status(const struct sandbox *s, double seconds, struct crex_cancel *cancel, char **ret_why);

const char *record_text(const struct sandbox *s, const char *key); /* a string of the record, "" for none */
double record_age(const struct sandbox *s);			   /* seconds */

#endif

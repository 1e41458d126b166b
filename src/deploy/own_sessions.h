/* deploy/own_sessions.h: a runtime that knows which sessions were made through it.
 *
 * A server may have several users; who leaves it ends what is his. */
#ifndef DEPLOY_OWN_SESSIONS_H
#define DEPLOY_OWN_SESSIONS_H

#include <crex/interface.h>
#include <jansson.h>

/* All calls go on to inner_take, which is freed with it, also when there is no memory. sessions: an array of names that
 * were made before, or NULL. NULL on failure. */
struct crex_runtime *own_sessions_new(struct crex_runtime *inner_take, const json_t *sessions, struct crex_error *err);

/* Closes them, as far as the server answers. No call of the runtime may be under way. */
void own_sessions_close(struct crex_runtime *rt, const struct crex_call *call);

/* The names of those that are open, as a new array; NULL: no memory. */
json_t *own_sessions_names(struct crex_runtime *rt);

#endif

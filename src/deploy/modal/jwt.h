/* deploy/modal/jwt.h: how long a token that looks like a JWT is good for. Its signature is not ours to check. */
#ifndef DEPLOY_MODAL_JWT_H
#define DEPLOY_MODAL_JWT_H

#include <crex/runtime.h>
#include <stdbool.h>

/* Seconds from its issue (where it says when that was, else from now) to its end; 0: it doesn't say. */
double jwt_life(struct crex_str token);
/* Whether it can stand in a header line. */
bool jwt_is_plain(struct crex_str token);

#endif

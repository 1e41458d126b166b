/* server/auth.h: who may ask. */
#ifndef SERVER_AUTH_H
#define SERVER_AUTH_H

#include <crex/runtime.h>

enum auth_result { AUTH_OK, AUTH_MISSING, AUTH_WRONG };

/* key.ptr NULL: no such header. An empty token lets everybody in. */
enum auth_result auth_check(const char *token, struct crex_str key);

#endif

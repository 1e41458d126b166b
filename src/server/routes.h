/* server/routes.h: the table of endpoints. docs/openapi.json says the same, and a test compares the two. */
#ifndef SERVER_ROUTES_H
#define SERVER_ROUTES_H

#include <crex/runtime.h>
#include <stdbool.h>
#include <stddef.h>
#include "wire/wire.h"

enum route_kind {
	ROUTE_HELLO,
	ROUTE_IS_ALIVE,
	ROUTE_CALL, /* a JSON request of the wire schema */
	ROUTE_CLOSE,
	ROUTE_UPLOAD,
	ROUTE_STREAM,
};

struct route {
	const char *method;
	const char *path;
	const char *allow; /* header of a 405 */
	enum route_kind kind;
	enum wire_request_kind wire; /* ROUTE_CALL only */
	bool notable;		     /* a success is logged at info, not at debug */
};

extern const struct route routes[];
extern const size_t routes_count;

/* One trailing slash is forgiven. NULL: no such path. The method is the caller's to compare. */
const struct route *route_find(struct crex_str path);

#endif

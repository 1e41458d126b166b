/* server/routes.c: the endpoints, as data.
 *
 * Ten rows: a linear search over them costs less than hashing the path. */
#include "server/routes.h"

#include <string.h>

const struct route routes[] = {
	{"GET", "/", "allow: GET\r\n", ROUTE_HELLO, 0},
	{"GET", "/is_alive", "allow: GET\r\n", ROUTE_IS_ALIVE, 0},
	{"POST", "/create_session", "allow: POST\r\n", ROUTE_CALL, WIRE_CREATE_SESSION},
	{"POST", "/run_in_session", "allow: POST\r\n", ROUTE_CALL, WIRE_RUN_IN_SESSION},
	{"POST", "/close_session", "allow: POST\r\n", ROUTE_CALL, WIRE_CLOSE_SESSION},
	{"POST", "/execute", "allow: POST\r\n", ROUTE_CALL, WIRE_EXECUTE},
	{"POST", "/read_file", "allow: POST\r\n", ROUTE_CALL, WIRE_READ_FILE},
	{"POST", "/write_file", "allow: POST\r\n", ROUTE_CALL, WIRE_WRITE_FILE},
	{"POST", "/upload", "allow: POST\r\n", ROUTE_UPLOAD, 0},
	{"POST", "/close", "allow: POST\r\n", ROUTE_CLOSE, 0},
};
const size_t routes_count = sizeof routes / sizeof routes[0];

const struct route *route_find(struct crex_str path)
{
	if (path.len > 1 && path.ptr[path.len - 1] == '/')
		path.len--;
	for (size_t i = 0; i < routes_count; i++) {
		if (strlen(routes[i].path) == path.len && memcmp(routes[i].path, path.ptr, path.len) == 0)
			return &routes[i];
	}
	return NULL;
}

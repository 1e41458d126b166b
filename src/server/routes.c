/* server/routes.c: the endpoints, as data.
 *
 * Eleven rows: a linear search over them costs less than hashing the path. */
#include "server/routes.h"

#include <string.h>

const struct route routes[] = {
	{"GET", "/", "allow: GET\r\n", ROUTE_HELLO, 0, false},
	{"GET", "/is_alive", "allow: GET\r\n", ROUTE_IS_ALIVE, 0, false},
	{"POST", "/create_session", "allow: POST\r\n", ROUTE_CALL, WIRE_CREATE_SESSION, true},
	{"POST", "/run_in_session", "allow: POST\r\n", ROUTE_CALL, WIRE_RUN_IN_SESSION, false},
	{"POST", "/close_session", "allow: POST\r\n", ROUTE_CALL, WIRE_CLOSE_SESSION, true},
	{"POST", "/execute", "allow: POST\r\n", ROUTE_CALL, WIRE_EXECUTE, false},
	{"POST", "/read_file", "allow: POST\r\n", ROUTE_CALL, WIRE_READ_FILE, false},
	{"POST", "/write_file", "allow: POST\r\n", ROUTE_CALL, WIRE_WRITE_FILE, false},
	{"POST", "/upload", "allow: POST\r\n", ROUTE_UPLOAD, 0, true},
	{"POST", "/close", "allow: POST\r\n", ROUTE_CLOSE, 0, true},
	{"GET", "/stream", "allow: GET\r\n", ROUTE_STREAM, 0, true},
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

/* wire/client.h: the schema from the client's side: requests to JSON, replies from JSON.
 *
 * The field tables are those of wire/decode.c, so that a field is written down once for both directions. Pure; any
 * thread. */
#ifndef WIRE_CLIENT_H
#define WIRE_CLIENT_H

#include "wire/wire.h"

/* Appends the request as one JSON object, every field given. 0, -ENOSPC, -ENOMEM. Text that is no UTF-8 is sent with
 * its stray bytes as \udcNN, as Python's surrogateescape has them. */
int wire_encode_request(struct buf *out, const struct wire_request *req);

/* The path of a request's endpoint, "/run_in_session"; static. */
const char *wire_path(enum wire_request_kind kind);

/* Replies. Each reads one whole body; 0, or -1 with PROTOCOL (what was wrong with it) or MEMORY. Unknown fields are
 * ignored, a missing one has its default; `ret` is only touched by success and is the caller's to clear. */
int wire_read_is_alive(struct crex_str body, struct crex_is_alive *ret, struct crex_error *err);
int wire_read_create_session(struct crex_str body, struct crex_text *ret, struct crex_error *err);
int wire_read_observation(struct crex_str body, struct crex_observation *ret, struct crex_error *err);
int wire_read_execute(struct crex_str body, struct crex_execute_result *ret, struct crex_error *err);
int wire_read_read_file(struct crex_str body, struct crex_text *ret, struct crex_error *err);

/* A reply whose status is not 200 becomes the error that it tells of: 511 the exception with its class (err->class_path
 * when the list doesn't have it), message and extra_info (values that are no strings as JSON text); 401 and 403
 * AUTHENTICATION; 422 VALUE with the findings in one line each; 404 and 405 PROTOCOL ("no SWE-ReX server"); everything
 * else PROTOCOL with the status and the beginning of the body. Always returns -1. */
int wire_read_error(int status, struct crex_str body, struct crex_error *err);

#endif

/* wire/wire.h: the one place of the wire schema: JSON <-> the structs of crex/runtime.h.
 *
 * Decoding is pure: a body goes in, a request or a 422 document comes out. The decoded request borrows
 * its strings from the wire_doc, which the caller frees after use. Unknown fields are ignored; a missing
 * session_type is "bash". Safe to call from any thread. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "base/buf.h"
#include <crex/runtime.h>
#include <crex/stream.h>

struct wire_doc;			   /* owns the parsed body */
void *wire_doc_free(struct wire_doc *doc); /* returns NULL */

enum wire_request_kind {
	WIRE_CREATE_SESSION,
	WIRE_RUN_IN_SESSION, /* either action */
	WIRE_CLOSE_SESSION,
	WIRE_EXECUTE,
	WIRE_READ_FILE,
	WIRE_WRITE_FILE,
	WIRE_OPEN_STREAM, /* the first frame of a stream, no body */
};

struct wire_request {
	enum wire_request_kind kind;
	bool is_interrupt; /* WIRE_RUN_IN_SESSION: which union member */
	union {
		struct crex_create_session_request create_session;
		struct crex_bash_action bash;
		struct crex_bash_interrupt_action interrupt;
		struct crex_str close_session;
		struct crex_execute_request execute;
		struct crex_read_file_request read_file;
		struct crex_write_file_request write_file;
		struct crex_stream_request open_stream;
	} u;
};

/* The failure_reason of an observation whose shell ended. */
#define WIRE_SESSION_ENDED "the shell has ended: the session is closed and its name is free"

/* 0: *ret_doc and *ret are set. 422: `detail` holds the complete JSON reply. -ENOMEM. */
int wire_decode(enum wire_request_kind kind, struct crex_str body, struct wire_doc **ret_doc, struct wire_request *ret,
		struct buf *detail);

/* Encoders append one complete JSON document; 0, -ENOSPC, -ENOMEM. Strings may hold WTF-8 surrogates (written as
 * \udXXX); other invalid bytes are written as \xNN text, so that a reply is always valid JSON. */
int wire_encode_string(struct buf *out, const char *s, size_t len); /* with the quotes */
/* The same, but invalid bytes become \udcNN, as Python's surrogateescape has them. */
int wire_encode_escaped(struct buf *out, const char *s, size_t len);
int wire_encode_error(struct buf *out, const struct crex_error *err, const char *traceback);
int wire_encode_create_session(struct buf *out, const char *output, size_t len);
int wire_encode_observation(struct buf *out, const struct crex_observation *obs);
int wire_encode_close_session(struct buf *out);
int wire_encode_execute(struct buf *out, const struct crex_execute_result *res);
int wire_encode_read_file(struct buf *out, const char *content, size_t len);
int wire_encode_empty(struct buf *out); /* {} */

#endif

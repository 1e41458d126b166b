/* http/parser.h: HTTP/1.x requests out of bytes, pulled event by event; llhttp does the grammar.
 *
 * Pure and incremental: no I/O, no callbacks to the outside; any split of the same bytes gives the same events. Only
 * the headers that this server needs are kept. */
#ifndef HTTP_PARSER_H
#define HTTP_PARSER_H

#include "base/buf.h"
#include <crex/runtime.h>
#include <llhttp.h>
#include <stdbool.h>
#include <stdint.h>

enum http_header {
	HTTP_HEADER_API_KEY,
	HTTP_HEADER_REQUEST_ID,
	HTTP_HEADER_CONTENT_TYPE,
	HTTP_HEADER_EXPECT,
	HTTP_HEADER_TRANSFER_ENCODING,
	HTTP_HEADER_CONNECTION,
	HTTP_HEADER_UPGRADE,
	HTTP_HEADER_COUNT
};

enum http_event {
	HTTP_EVENT_MORE,       /* everything was consumed, the message goes on */
	HTTP_EVENT_HEAD,       /* request line and headers are complete; read them off the parser */
	HTTP_EVENT_BODY,       /* parser->body holds body bytes; they lie in the caller's buffer */
	HTTP_EVENT_MESSAGE,    /* the message is complete; call http_parser_reset before the next one */
	HTTP_EVENT_HEAD_LIMIT, /* the header section is over max_header; final */
	HTTP_EVENT_BAD,	       /* not HTTP; parser->reason says why; final */
};

enum {
	HTTP_PARSER_NAME_MAX = 20,   /* the longest header name that is kept, and one more to see longer ones */
	HTTP_PARSER_METHOD_MAX = 32, /* a longer method is no HTTP */
};

struct http_parser {
	llhttp_t ll;
	struct buf text; /* the target and the kept header values, one after the other */
	size_t max_header;
	size_t head_bytes;
	size_t target_len;
	struct {
		size_t at, len;
		bool present;
	} header[HTTP_HEADER_COUNT];
	struct crex_str body;
	const char *reason;
	enum http_event event; /* set by llhttp's callbacks just before they pause it */
	int current;	       /* header that the present value belongs to, or -1 */
	unsigned name_len;
	char name[HTTP_PARSER_NAME_MAX];
	unsigned method_len;
	char method[HTTP_PARSER_METHOD_MAX];
	bool started; /* a byte of the present message has come */
	bool method_done;
	bool head_done;
};

void http_parser_init(struct http_parser *p, size_t max_header); /* allocates nothing */
void http_parser_deinit(struct http_parser *p);
void http_parser_reset(struct http_parser *p); /* ready for the next message; keeps memory */

/* Consumes up to one event's worth of data: *ret_used bytes. Call again with the rest, of length 0 too, until MORE. */
enum http_event http_parser_feed(struct http_parser *p, const char *data, size_t len, size_t *ret_used);

/* Valid from HEAD on until the next reset. */
const char *http_parser_method(const struct http_parser *p); /* as it was sent, in no list perhaps */
struct crex_str http_parser_header(const struct http_parser *p, enum http_header which); /* ptr NULL: absent */
/* Origin form: without scheme, authority, query and fragment; percent-decoded in place. */
struct crex_str http_parser_path(struct http_parser *p);
bool http_parser_has_length(const struct http_parser *p, uint64_t *ret_length); /* false: chunked */
bool http_parser_keep_alive(const struct http_parser *p);			/* valid at MESSAGE */

#endif

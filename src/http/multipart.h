/* http/multipart.h: multipart/form-data (RFC 7578) out of bytes, incrementally.
 *
 * Pure: no I/O and no allocation; the parts' data is handed out as views of what was fed, in pieces of any size. Any
 * split of the same bytes gives the same parts with the same data (in other pieces). */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include <crex/runtime.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	MULTIPART_BOUNDARY_MAX = 200, /* RFC 2046 allows 70 */
	MULTIPART_LINE_MAX = 2048,    /* one header line of a part */
	MULTIPART_HEADERS_MAX = 64,   /* header lines of a part */
	MULTIPART_PARTS_MAX = 1000,
	MULTIPART_NAME_MAX = 256,
};

struct multipart_sink {
	/* Each returns 0 to go on; anything else ends the parse with MULTIPART_STOPPED. */
	int (*on_part)(void *arg, struct crex_str name, bool is_file);
	int (*on_data)(void *arg, const char *data, size_t len);
	int (*on_part_end)(void *arg);
};

enum multipart_status {
	MULTIPART_MORE,	   /* all consumed, the body goes on */
	MULTIPART_DONE,	   /* the closing boundary was seen; what follows is ignored, as the RFC says */
	MULTIPART_STOPPED, /* a sink callback said so */
	MULTIPART_BAD,	   /* not multipart/form-data as announced; final */
};

enum multipart_state {
	MULTIPART_PREAMBLE,
	MULTIPART_AFTER_DELIMITER, /* delimiter seen: CRLF or -- or padding */
	MULTIPART_AFTER_DASH,
	MULTIPART_DELIMITER_LF,
	MULTIPART_HEADER,
	MULTIPART_DATA,
	MULTIPART_END,
	MULTIPART_FAILED,
};

struct multipart {
	enum multipart_state state;
	char delimiter[MULTIPART_BOUNDARY_MAX + 5]; /* CRLF "--" boundary */
	size_t delimiter_len;
	size_t matched;	  /* the latest bytes are that many first ones of the delimiter */
	size_t imaginary; /* of those, CRLF that never came: a delimiter may stand at the very start */
	bool in_part;
	size_t n_parts, n_headers;
	size_t line_len;
	char line[MULTIPART_LINE_MAX];
	size_t name_len;
	char name[MULTIPART_NAME_MAX];
	bool has_name, is_file;
};

/* False: content_type is not multipart/form-data with a usable boundary. */
bool multipart_init(struct multipart *m, struct crex_str content_type);
enum multipart_status multipart_feed(struct multipart *m, const char *data, size_t len,
				     const struct multipart_sink *sink, void *arg);

#endif

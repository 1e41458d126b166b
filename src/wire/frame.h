/* wire/frame.h: the frames of a stream (crex-stream/1): one byte of type, four of length, most significant first, then
 * the payload.
 *
 * Pure and incremental, for both sides: any split of the same bytes gives the same frames. */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

#define FRAME_PROTOCOL "crex-stream/1"

enum { FRAME_HEADER = 5, FRAME_PAYLOAD_MAX = 64 * 1024 };

enum frame_type {
	/* from the client */
	FRAME_OPEN = 'O',   /* WIRE_OPEN_STREAM as JSON */
	FRAME_INPUT = 'I',  /* bytes for stdin */
	FRAME_END = 'E',    /* of stdin; empty */
	FRAME_RESIZE = 'R', /* two numbers: rows, columns */
	FRAME_SIGNAL = 'S', /* a number */
	/* from the server */
	FRAME_WINDOW = 'W', /* a number: so many more bytes of stdin are welcome; the first says that it runs */
	FRAME_STDOUT = '1', /* bytes */
	FRAME_STDERR = '2',
	FRAME_EXIT = 'X',    /* a number: the exit code; negative: the signal */
	FRAME_FAILURE = 'F', /* the body of a 511 */
};

struct frame {
	char type;
	const char *data; /* borrowed until the next feed */
	size_t len;
};

struct frame_parser {
	struct buf held; /* the beginning of a frame that is not whole yet */
	bool given;	 /* what is held was given out whole */
};

enum frame_result { FRAME_MORE, FRAME_READY, FRAME_TOO_LONG, FRAME_NO_MEMORY };

void frame_parser_init(struct frame_parser *p); /* allocates nothing */
void frame_parser_deinit(struct frame_parser *p);

/* Consumes up to one frame: *ret_used bytes. READY: call again with the rest; MORE: all was consumed. The others are
 * final. */
enum frame_result frame_feed(struct frame_parser *p, const char *data, size_t len, size_t *ret_used, struct frame *ret);

void frame_put_header(char out[FRAME_HEADER], enum frame_type type, size_t len);

/* Payloads of numbers: 32 bits each, most significant byte first. */
void frame_put_number(char out[4], int32_t value);
/* False: the payload is not exactly n numbers. */
bool frame_get_numbers(const struct frame *f, int32_t *ret, size_t n);

#endif

/* deploy/modal/protobuf.h: the part of the protocol buffers encoding that gRPC messages need, by hand.
 *
 * Writing goes into a buffer with a sticky failure, so that a message is put together without a check at each field;
 * the one check is pb_finish. Default values (0, false, "") are left out, as proto3 wants it. Reading is a scan over
 * fields; what has an unknown number is skipped by its reader. */
#ifndef DEPLOY_MODAL_PROTOBUF_H
#define DEPLOY_MODAL_PROTOBUF_H

#include "base/buf.h"
#include <crex/runtime.h>
#include <stdbool.h>
#include <stdint.h>

struct pb_writer {
	struct buf out;
	int failure; /* 0, -ENOSPC, -ENOMEM */
	/* A file's bytes, which belong in front of the byte `file_at` of out and are read when they are sent. */
	int file; /* borrowed */
	size_t file_at, file_len;
};

void pb_init(struct pb_writer *w, size_t max);
void pb_deinit(struct pb_writer *w);
#define cleanup_pb __attribute__((cleanup(pb_deinit)))

void pb_uint(struct pb_writer *w, unsigned field, uint64_t value);
void pb_bool(struct pb_writer *w, unsigned field, bool value);
void pb_float(struct pb_writer *w, unsigned field, float value);
void pb_double(struct pb_writer *w, unsigned field, double value);
void pb_string(struct pb_writer *w, unsigned field, const char *text); /* NULL is "" */
void pb_item(struct pb_writer *w, unsigned field, const char *text);   /* of a repeated field: "" is written too */
void pb_bytes(struct pb_writer *w, unsigned field, const void *data, size_t len);
/* The bytes of an open file, one a message; it must stay open and as long as it is until the message is sent. */
void pb_file(struct pb_writer *w, unsigned field, int fd, size_t len);
void pb_entry(struct pb_writer *w, unsigned field, const char *key, const char *value); /* of a map<string, string> */

/* A message inside: its fields are what is written between the two. */
size_t pb_begin(struct pb_writer *w, unsigned field);
void pb_end(struct pb_writer *w, size_t begun);

static inline size_t pb_length(const struct pb_writer *w)
{
	return w->out.len + w->file_len;
}

/* `len` bytes of the message from `at` on, all there are of both; -EIO when the file lacks them. */
int pb_copy(const struct pb_writer *w, size_t at, char *ret, size_t len);

/* 0, or -1 with MEMORY or LIMIT when a write has failed. */
int pb_finish(const struct pb_writer *w, struct crex_error *err);

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb_field {
	unsigned number;
	enum pb_wire wire;
	uint64_t value;	       /* of a number; negative ones as two's complement */
	struct crex_str bytes; /* of PB_BYTES, borrowed from the message */
};

struct pb_reader {
	const char *at, *end;
	bool broken; /* this is no message */
};

struct pb_reader pb_read(struct crex_str message);
bool pb_next(struct pb_reader *r, struct pb_field *ret); /* false: at the end, or broken */

/* Whether the field is this one with bytes (a string, a message) or with a number. A field of another kind than the
 * reader expects is one that it doesn't know. */
static inline bool pb_is_bytes(const struct pb_field *f, unsigned number)
{
	return f->number == number && f->wire == PB_BYTES;
}

static inline bool pb_is_uint(const struct pb_field *f, unsigned number)
{
	return f->number == number && f->wire == PB_VARINT;
}

#endif

/* runtime/zip.c: PKWARE's format, as far as a stream of files needs it.
 *
 * Nothing is known of an entry when its header leaves, so its sizes and checksum follow it in a descriptor (bit 3); all
 * readers that go by the directory at the end, Python's zipfile and our server among them, are content with that.
 * Memory is one buffer of compressed data and the directory, about 60 bytes and the name for an entry. Zip64 forms are
 * used where a number needs them and nowhere else. Times are not told: servers don't keep them. Deflate runs at its
 * fastest, since the way to a sandbox is mostly short.
 *
 * minizip, which reads archives on the server, can't do this: it goes back to fill in the headers. */
#include "runtime/zip.h"

#include <errno.h>
#include <string.h>

enum {
	VERSION = 20,
	VERSION_ZIP64 = 45,
	MADE_BY_UNIX = 3 << 8,
	FLAG_DESCRIPTOR = 1 << 3,
	FLAG_UTF8 = 1 << 11,
	DEFLATED = 8,
	DATE_1980 = 1 << 5 | 1,
	DOS_DIRECTORY = 0x10,
	OUT_MAX = 4 * ZIP_INPUT_MAX + 1024,
	/* where in a record of the directory what is only known at the end of the entry goes */
	AT_VERSION_NEEDED = 6,
	AT_CRC = 16,
	AT_EXTRA_LEN = 30,
};

static const uint64_t WIDE = 0xFFFFFFFF; /* from here on a number stands in a zip64 field */
static const size_t DIRECTORY_MAX = (size_t)256 << 20;

#define TRY(expr)                     \
	do {                          \
		int try_r = (expr);   \
		if (try_r < 0)        \
			return try_r; \
	} while (0)

static void put(unsigned char *at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static int add(struct buf *b, uint64_t value, size_t bytes)
{
	unsigned char le[8];
	put(le, value, bytes);
	return buf_append(b, le, bytes);
}

int zip_init(struct zip *z)
{
	*z = (struct zip){0};
	buf_init(&z->out, OUT_MAX);
	buf_init(&z->directory, DIRECTORY_MAX);
	if (deflateInit2(&z->deflate, Z_BEST_SPEED, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	z->ready = true;
	return 0;
}

void zip_deinit(struct zip *z)
{
	if (z->ready)
		deflateEnd(&z->deflate);
	z->ready = false;
	buf_deinit(&z->out);
	buf_deinit(&z->directory);
}

/* The fields that a local header and a directory's record have in common, up to the length of the name. */
static int add_common(struct zip *z, struct buf *b, size_t name_len)
{
	TRY(add(b, z->entry.wide ? VERSION_ZIP64 : VERSION, 2));
	TRY(add(b, FLAG_DESCRIPTOR | FLAG_UTF8, 2));
	TRY(add(b, DEFLATED, 2));
	TRY(add(b, 0, 2));
	TRY(add(b, DATE_1980, 2));
	TRY(add(b, 0, 4));
	TRY(add(b, z->entry.wide ? WIDE : 0, 4));
	TRY(add(b, z->entry.wide ? WIDE : 0, 4));
	return add(b, name_len, 2);
}

static int add_local_header(struct zip *z, const char *name, size_t len)
{
	struct buf *b = &z->out;
	TRY(buf_append(b, "PK\3\4", 4));
	TRY(add_common(z, b, len));
	TRY(add(b, z->entry.wide ? 20 : 0, 2));
	TRY(buf_append(b, name, len));
	if (z->entry.wide) {
		TRY(add(b, 1, 2));
		TRY(add(b, 16, 2));
		TRY(add(b, 0, 8));
		TRY(add(b, 0, 8));
	}
	return 0;
}

static int add_record(struct zip *z, const char *name, size_t len, mode_t mode)
{
	struct buf *b = &z->directory;
	z->entry.record = b->len;
	TRY(buf_append(b, "PK\1\2", 4));
	TRY(add(b, MADE_BY_UNIX | VERSION_ZIP64, 2));
	TRY(add_common(z, b, len));
	TRY(add(b, 0, 2)); /* extra field */
	TRY(add(b, 0, 2)); /* comment */
	TRY(add(b, 0, 2)); /* disk */
	TRY(add(b, 0, 2)); /* internal attributes */
	TRY(add(b, (uint64_t)mode << 16 | (S_ISDIR(mode) ? DOS_DIRECTORY : 0), 4));
	TRY(add(b, z->entry.start < WIDE ? z->entry.start : WIDE, 4));
	return buf_append(b, name, len);
}

int zip_begin(struct zip *z, const char *name, mode_t mode, uint64_t size)
{
	size_t len = strlen(name), before = z->out.len;
	if (len > 0xFFFF)
		return -ENOSPC;
	memset(&z->entry, 0, sizeof z->entry);
	z->entry.start = z->written;
	z->entry.wide = size >= WIDE - (WIDE >> 8); /* what can't be compressed grows by less than that */
	deflateReset(&z->deflate);
	TRY(add_local_header(z, name, len));
	TRY(add_record(z, name, len, mode));
	z->written += z->out.len - before;
	z->entries++;
	return 0;
}

/* Lets deflate work until all input is taken, with Z_FINISH until all output is there. */
static int squeeze(struct zip *z, const void *data, size_t len, int flush)
{
	union {
		const void *in;
		Bytef *next; /* zlib reads it only */
	} input = {data};
	z->deflate.next_in = input.next;
	z->deflate.avail_in = (uInt)len;
	int r;
	do {
		TRY(buf_reserve(&z->out, ZIP_INPUT_MAX / 4));
		size_t room = z->out.cap - z->out.len;
		z->deflate.next_out = (Bytef *)z->out.data + z->out.len;
		z->deflate.avail_out = (uInt)room;
		r = deflate(&z->deflate, flush);
		size_t made = room - z->deflate.avail_out;
		z->out.len += made;
		z->written += made;
		z->entry.packed += made;
	} while (z->deflate.avail_out == 0 && r == Z_OK);
	z->out.data[z->out.len] = '\0';
	return r == Z_STREAM_ERROR ? -ENOMEM : 0;
}

int zip_write(struct zip *z, const void *data, size_t len)
{
	z->entry.crc = (uint32_t)crc32(z->entry.crc, data, (uInt)len);
	z->entry.size += len;
	return squeeze(z, data, len, Z_NO_FLUSH);
}

/* The record's numbers, which are known now; those that don't fit go into a zip64 field. */
static int complete_record(struct zip *z)
{
	struct buf *b = &z->directory;
	bool far = z->entry.start >= WIDE;
	if (z->entry.wide || far) {
		size_t before = b->len, fields = (z->entry.wide ? 16u : 0) + (far ? 8u : 0);
		TRY(add(b, 1, 2));
		TRY(add(b, fields, 2));
		if (z->entry.wide) {
			TRY(add(b, z->entry.size, 8));
			TRY(add(b, z->entry.packed, 8));
		}
		if (far)
			TRY(add(b, z->entry.start, 8));
		put((unsigned char *)b->data + z->entry.record + AT_EXTRA_LEN, b->len - before, 2);
	}
	unsigned char *record = (unsigned char *)b->data + z->entry.record;
	if (far)
		put(record + AT_VERSION_NEEDED, VERSION_ZIP64, 2);
	put(record + AT_CRC, z->entry.crc, 4);
	put(record + AT_CRC + 4, z->entry.wide ? WIDE : z->entry.packed, 4);
	put(record + AT_CRC + 8, z->entry.wide ? WIDE : z->entry.size, 4);
	return 0;
}

int zip_end(struct zip *z)
{
	TRY(squeeze(z, NULL, 0, Z_FINISH));
	size_t before = z->out.len, width = z->entry.wide ? 8 : 4;
	TRY(buf_append(&z->out, "PK\7\10", 4));
	TRY(add(&z->out, z->entry.crc, 4));
	TRY(add(&z->out, z->entry.packed, width));
	TRY(add(&z->out, z->entry.size, width));
	z->written += z->out.len - before;
	return complete_record(z);
}

static int add_wide_end(struct zip *z, uint64_t start, uint64_t size)
{
	struct buf *b = &z->directory;
	uint64_t here = start + size;
	TRY(buf_append(b, "PK\6\6", 4));
	TRY(add(b, 44, 8));
	TRY(add(b, MADE_BY_UNIX | VERSION_ZIP64, 2));
	TRY(add(b, VERSION_ZIP64, 2));
	TRY(add(b, 0, 8)); /* disks */
	TRY(add(b, z->entries, 8));
	TRY(add(b, z->entries, 8));
	TRY(add(b, size, 8));
	TRY(add(b, start, 8));
	TRY(buf_append(b, "PK\6\7", 4));
	TRY(add(b, 0, 4));
	TRY(add(b, here, 8));
	return add(b, 1, 4);
}

int zip_finish(struct zip *z)
{
	struct buf *b = &z->directory;
	uint64_t start = z->written, size = b->len;
	bool wide = z->entries >= 0xFFFF || start >= WIDE || size >= WIDE;
	if (wide)
		TRY(add_wide_end(z, start, size));
	TRY(buf_append(b, "PK\5\6", 4));
	TRY(add(b, 0, 4)); /* disks */
	TRY(add(b, wide ? 0xFFFF : z->entries, 2));
	TRY(add(b, wide ? 0xFFFF : z->entries, 2));
	TRY(add(b, wide ? WIDE : size, 4));
	TRY(add(b, wide ? WIDE : start, 4));
	TRY(add(b, 0, 2));
	z->written += b->len;
	/* the directory is read as the next output; it is not copied */
	struct buf read = z->out;
	z->out = *b;
	*b = read;
	return 0;
}

/* runtime/zip.h: a zip archive written as a stream, into a buffer that its reader empties. */
#ifndef RUNTIME_ZIP_H
#define RUNTIME_ZIP_H

#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <zlib.h>

enum { ZIP_INPUT_MAX = 64 * 1024 /* of one zip_write */ };

struct zip {
	struct buf out;	      /* what is to be read next; its reader takes all of it */
	struct buf directory; /* the records for the archive's end */
	uint64_t written;     /* bytes put into out so far */
	uint64_t entries;
	z_stream deflate;
	bool ready; /* deflate holds memory */
	struct {
		size_t record; /* where its record begins in directory */
		uint64_t start, size, packed;
		uint32_t crc;
		bool wide; /* zip64 sizes */
	} entry;
};

int zip_init(struct zip *z); /* all of these: 0, -ENOMEM, -ENOSPC (the directory has become too long) */
void zip_deinit(struct zip *z);

/* Begins an entry: name in UTF-8, directories with a slash at the end; mode with its type. size decides on the form
 * only, at most so many bytes follow. */
int zip_begin(struct zip *z, const char *name, mode_t mode, uint64_t size);
int zip_write(struct zip *z, const void *data, size_t len);
int zip_end(struct zip *z);
int zip_finish(struct zip *z); /* the directory, to be read as the rest was */

#endif

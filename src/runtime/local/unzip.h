/* runtime/local/unzip.h: extracting a zip archive that nobody vouches for into an empty directory.
 *
 * Blocks (worker threads); memory is constant, whatever the archive's size. */
#ifndef LOCAL_UNZIP_H
#define LOCAL_UNZIP_H

#include <crex/error.h>
#include <stdint.h>

struct unzip_limits {
	uint64_t max_bytes;   /* all entries together, expanded; 0: no limit */
	uint64_t max_entries; /* 0: no limit */
};

enum { UNZIP_MAX_DEPTH = 128, UNZIP_MAX_NAME = 4095 };

/* zip_fd is read by pread and stays open. dir_fd: a directory that only we know and that holds no links; what was
 * extracted before a failure stays in it for the caller to remove. 0, or -1 with err: VALUE for what is wrong with the
 * archive, UNICODE for names, LIMIT, or an OSError. */
int unzip_extract(int zip_fd, int dir_fd, const struct unzip_limits *limits, struct crex_error *err);

#endif

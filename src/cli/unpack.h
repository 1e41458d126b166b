/* cli/unpack.h: a tar archive from a sandbox into a directory of ours. */
#ifndef CLI_UNPACK_H
#define CLI_UNPACK_H

#include <crex/error.h>
#include <stddef.h>

struct unpack {
	/* The next bytes of the archive, borrowed until the next call; *ret_len 0: the end. 0 or -1. */
	int (*read)(void *arg, const char **ret, size_t *ret_len, struct crex_error *err);
	void *arg;
	size_t skipped; /* entries that are neither files, directories nor links */
};

/* Nothing is written outside of the directory, whatever the archive says. */
int unpack_tar(struct unpack *u, const char *directory, struct crex_error *err);

#endif

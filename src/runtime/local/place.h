/* runtime/local/place.h: putting a file's new content in its place, atomically where the file system allows it.
 *
 * All calls block (worker threads). Use: place_open, write to fd, place_commit, and place_deinit in any case. */
#ifndef LOCAL_PLACE_H
#define LOCAL_PLACE_H

#include <crex/error.h>
#include <stdbool.h>
#include <sys/stat.h>

struct place {
	const char *shown; /* borrowed: the path for error texts */
	char *path;	   /* the file itself: links at its end are resolved */
	char *tmp;	   /* the temporary file; NULL when it has no name (any more) */
	int fd;		   /* the temporary file, O_RDWR */
	mode_t mode;	   /* what the file gets */
	bool exists;
	bool in_place;	 /* devices, FIFOs, hard links, directories that we may not write to */
	struct stat old; /* if exists */
};
#define PLACE_INIT       \
	{                \
		.fd = -1 \
	}

/* path is borrowed until place_deinit. 0, or -1 with err. Directories are IS_A_DIRECTORY, files that may not be written
 * PERMISSION, as open(path, "w") would say; missing parents are made by place_commit only. */
int place_open(struct place *p, const char *path, struct crex_error *err);

/* What was written to fd becomes the content of the file. 0, or -1 with err; then nothing has changed, save where
 * in_place made a partial write unavoidable. */
int place_commit(struct place *p, struct crex_error *err);

void place_deinit(struct place *p); /* an uncommitted temporary file goes away; leaves p as PLACE_INIT */

/* A nameless temporary file in dir; NULL: in $TMPDIR, /tmp or /var/tmp, whichever works, or in memory when the image
 * has none of them. fd or -errno. */
int place_open_nameless(const char *dir);

#endif

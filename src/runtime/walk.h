/* runtime/walk.h: what is in a directory, with all below it. */
#ifndef RUNTIME_WALK_H
#define RUNTIME_WALK_H

#include <crex/error.h>
#include <stdint.h>
#include <sys/stat.h>

enum { WALK_DEPTH_MAX = 128 /* as deep as the server unpacks */ };

struct walk_entry {
	const char *path; /* below the root, UTF-8; of a directory with a slash at its end */
	const char *name; /* the last part, for dir_fd; a directory's is NULL */
	int dir_fd;	  /* borrowed until the next step */
	struct stat st;	  /* of the entry itself, a link is not followed */
};

struct walk;
/* Takes the descriptor of the root over. NULL: memory ran out. */
struct walk *walk_new(int root_fd, struct crex_error *err);
struct walk *walk_free(struct walk *w);
/* 1 with an entry (directories before what is in them), 0 at the end, -1. Anything but files, directories and links is
 * an error, as is a name that a zip archive can't carry. */
int walk_next(struct walk *w, struct walk_entry *ret, struct crex_error *err);

#endif

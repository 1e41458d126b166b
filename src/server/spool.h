/* server/spool.h: the blocking file work of an upload, for worker threads. */
#ifndef SERVER_SPOOL_H
#define SERVER_SPOOL_H

#include <stddef.h>
#include <stdint.h>

/* An anonymous file in the first of $TMPDIR, /tmp, /var/tmp, / that takes one. fd or negative errno. */
int spool_open(const char *tmpdir);
int spool_write(int fd, const char *data, size_t len); /* all of it; 0 or negative errno */
/* Moves `size` bytes from the spool's start to out's present offset, giving the spool's blocks back on the way, so that
 * the disk never holds everything twice. 0 or negative errno. */
int spool_move(int spool, int out, uint64_t size);

#endif

/* runtime/local/fsio.h: the file calls that files.c, upload.c and unzip.c have in common.
 *
 * All of it blocks and belongs in worker threads. Negative results are -errno. */
#ifndef LOCAL_FSIO_H
#define LOCAL_FSIO_H

#include "base/buf.h"
#include <crex/error.h>
#include <crex/runtime.h>
#include <stdbool.h>
#include <sys/types.h>

/* A client's path as a C string, normalised as Python's pathlib does ("a//./b/" is "a/b", "" is ".", ".." stays);
 * surrogates that stand for undecodable bytes become those bytes. NULL: err is set (VALUE "embedded null byte",
 * UNICODE, MEMORY). Caller frees. */
char *fs_path_dup(struct crex_str path, struct crex_error *err);

/* 0, or -1 with Python's UnicodeEncodeError text when text holds lone surrogates. */
int fs_check_encodable(struct crex_str text, struct crex_error *err);

/* Writes all of it: EINTR and short writes are gone on with; a full pipe or tty is waited for during five seconds at
 * most, then it is -EAGAIN. */
int fs_write_all(int fd, const void *data, size_t len);

/* Appends everything up to end of file. -EFBIG when that is more than buf's cap. */
int fs_read_all(int fd, struct buf *out);

/* Copies from in's offset 0 to its end. */
int fs_copy(int in, int out);

/* "<dir>/.crex-<16 hex digits>.tmp" (dir "" or NULL: without the directory). NULL: no memory. Caller frees. */
char *fs_temp_name(const char *dir);

/* The deepest directory above (never including) path that exists, by Python's mkdir(parents=True) rules: something
 * that is no directory in the way is FILE_EXISTS or NOT_A_DIRECTORY. NULL: err is set. Caller frees. */
char *fs_existing_parent(const char *path, struct crex_error *err);

/* Makes all missing parents of path, 0777 less the umask. *ret_made: length of the shortest prefix of path that was
 * made, 0 for none; fs_unmake_parents takes it to undo (directories that are no longer empty stay). */
int fs_make_parents(const char *path, size_t *ret_made, struct crex_error *err);
void fs_unmake_parents(const char *path, size_t made);

/* Removes name and all below it; follows no link. 0 also when it was not there. */
int fs_remove_tree(int dirfd, const char *name);

#endif

/* filetest.h: what test_files.c and test_unzip.c share: a fresh working directory, small files, archives made by
 * make_zips.py, and faults injected into write, rename and the allocator (linked with --wrap). */
#ifndef FILETEST_H
#define FILETEST_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct faults {
	atomic_int write_errno; /* what write fails with, once `write_after` bytes have gone through; 0: never */
	atomic_long write_after;
	atomic_int write_short; /* bytes that one write takes at most; 0: all */
	atomic_int write_eintr; /* every second write fails with EINTR first */
	atomic_int rename_errno;
	atomic_int fail_alloc; /* the n-th allocation from now on fails; 0: none */
};
extern struct faults faults;
void faults_clear(void);

/* cmocka group setup and teardown: a temporary directory becomes the cwd, the archives are in zips/. */
int filetest_begin(void **state);
int filetest_end(void **state);

void put(const char *path, const char *text); /* 0644 */
void assert_content(const char *path, const char *text);
void assert_mode(const char *path, unsigned mode);
void assert_missing(const char *path);
void assert_empty_dir(const char *path);
void wipe(const char *path);		    /* rm -rf */
int open_zip(const char *name);		    /* zips/<name> */
size_t slurp(const char *path, char **ret); /* caller frees */

#endif

/* server/spool.c: where an upload waits when its target is not known yet.
 *
 * SWE-ReX's client sends the file first and the target path after it. So the bytes must go somewhere before anybody
 * knows where they belong: an unnamed file, which vanishes with its descriptor whatever happens to us. Copying it on
 * is left to copy_file_range: shared extents where the file system has them, a copy within the kernel elsewhere. */
#include "server/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STEP = 16 << 20, BOUNCE = 64 * 1024 };

static int open_in(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	/* old kernels and some network file systems have no O_TMPFILE */
	char name[4096];
	int n = snprintf(name, sizeof name, "%s/.swerex-upload-XXXXXX", dir);
	if (n < 0 || (size_t)n >= sizeof name)
		return -ENAMETOOLONG;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(name);
	return fd;
}

int spool_open(const char *tmpdir)
{
	const char *const dirs[] = {tmpdir, "/tmp", "/var/tmp", "/"};
	int first = 0;
	for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
		if (!dirs[i] || !*dirs[i])
			continue;
		int fd = open_in(dirs[i]);
		if (fd >= 0)
			return fd;
		if (first == 0)
			first = fd;
	}
	return first;
}

int spool_write(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENOSPC;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int bounce(int in, int out, uint64_t at, uint64_t size)
{
	char part[BOUNCE];
	while (size > 0) {
		ssize_t n = pread(in, part, size < sizeof part ? (size_t)size : sizeof part, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		int r = spool_write(out, part, (size_t)n);
		if (r < 0)
			return r;
		at += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}

int spool_move(int spool, int out, uint64_t size)
{
	off_t at = 0;
	while ((uint64_t)at < size) {
		off_t from = at;
		uint64_t left = size - (uint64_t)at;
		ssize_t n = copy_file_range(spool, &at, out, NULL, left < STEP ? (size_t)left : STEP, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO))
			return -errno;
		if (n <= 0) { /* another file system on an old kernel, a seccomp filter, gVisor ... */
			size_t step = left < STEP ? (size_t)left : STEP;
			int r = bounce(spool, out, (uint64_t)from, step);
			if (r < 0)
				return r;
			n = (ssize_t)step;
			at = from + n;
		}
		/* Where it isn't supported the space is simply freed later. */
		(void)fallocate(spool, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, n);
	}
	return 0;
}

/* fuzz_unzip.c: any bytes as an archive. Besides not crashing: what is extracted stays within the limits and the
 * directory, and no link leads out of it. */
#include "base/cleanup.h"
#include "base/inside.h"
#include "runtime/local/fsio.h"
#include "runtime/local/unzip.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct unzip_limits limits = {.max_bytes = 256 * 1024, .max_entries = 32};

static void check_link(int dirfd, const char *name, size_t depth)
{
	char text[4097];
	ssize_t n = readlinkat(dirfd, name, text, sizeof text - 1);
	if (n < 0)
		abort();
	text[n] = '\0';
	if (!link_stays_inside(depth, text))
		abort();
}

/* Bytes of all files below; nothing else than files, directories and links may be there. depth: of what is in it. */
static uint64_t measure(int dirfd, const char *name, size_t depth)
{
	uint64_t sum = 0;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		abort();
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (st.st_mode & 07000))
			abort();
		if (S_ISDIR(st.st_mode))
			sum += measure(fd, e->d_name, depth + 1);
		else if (S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
		else if (S_ISLNK(st.st_mode))
			check_link(fd, e->d_name, depth);
		else
			abort();
	}
	closedir(d);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char root[] = "/tmp/crex-fuzz-XXXXXX";
	static int parent = -1;
	if (parent < 0 && (!mkdtemp(root) || (parent = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0))
		abort();
	if (mkdirat(parent, "out", 0700) < 0)
		abort();
	cleanup_fd int dir = openat(parent, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int zip = memfd_create("zip", MFD_CLOEXEC);
	if (dir < 0 || zip < 0 || fs_write_all(zip, data, size) < 0)
		abort();
	struct crex_error err = CREX_ERROR_INIT;
	int r = unzip_extract(zip, dir, &limits, &err);
	if ((r == 0) != (err.code == CREX_OK) || measure(parent, "out", 0) > limits.max_bytes)
		abort();
	crex_error_clear(&err);
	if (fs_remove_tree(parent, "out") < 0)
		abort();
	return 0;
}

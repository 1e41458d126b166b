/* filetest.c: see filetest.h. The wrapped calls count only when a test has asked for a fault. */
#include "filetest.h"

#include "runtime/local/fsio.h"

#include <sys/types.h>

struct faults faults;

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_renameat(int fromfd, const char *from, int tofd, const char *to);
int __wrap_renameat(int fromfd, const char *from, int tofd, const char *to);
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

void faults_clear(void)
{
	faults.write_errno = 0;
	faults.write_after = 0;
	faults.write_short = 0;
	faults.write_eintr = 0;
	faults.rename_errno = 0;
	faults.fail_alloc = 0;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	if (faults.write_eintr && faults.write_eintr++ & 1) {
		errno = EINTR;
		return -1;
	}
	if (faults.write_errno) {
		if (faults.write_after <= 0) {
			errno = faults.write_errno;
			return -1;
		}
		if ((long)len > faults.write_after)
			len = (size_t)faults.write_after;
		faults.write_after -= (long)len;
	}
	if (faults.write_short && len > (size_t)faults.write_short)
		len = (size_t)faults.write_short;
	return __real_write(fd, data, len);
}

int __wrap_rename(const char *from, const char *to)
{
	if (faults.rename_errno) {
		errno = faults.rename_errno;
		return -1;
	}
	return __real_rename(from, to);
}

int __wrap_renameat(int fromfd, const char *from, int tofd, const char *to)
{
	/* a copy's own rename, within one directory, goes through */
	if (faults.rename_errno && fromfd != tofd) {
		errno = faults.rename_errno;
		return -1;
	}
	return __real_renameat(fromfd, from, tofd, to);
}

static bool alloc_fails(void)
{
	return faults.fail_alloc > 0 && atomic_fetch_sub(&faults.fail_alloc, 1) == 1;
}

void *__wrap_malloc(size_t n)
{
	return alloc_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return alloc_fails() ? NULL : __real_realloc(p, n);
}

/* In memory where there is such a file system: thousands of small trees are made. */
static char root[64];

int filetest_begin(void **state)
{
	(void)state;
	umask(022);
	alarm(300);
	snprintf(root, sizeof root, "%s/crex-filetest-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(root) || chdir(root) < 0 || chmod(".", 0755) < 0 || mkdir("zips", 0755) < 0)
		return -1;
	return system("python3 -W ignore '" ZIP_MAKER "' zips") == 0 ? 0 : -1;
}

int filetest_end(void **state)
{
	(void)state;
	wipe(root);
	return chdir("/");
}

void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

size_t slurp(const char *path, char **ret)
{
	FILE *f = fopen(path, "r");
	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	size_t cap = 32 << 20;
	*ret = calloc(1, cap);
	assert_non_null(*ret);
	size_t n = fread(*ret, 1, cap - 1, f);
	fclose(f);
	return n;
}

void assert_content(const char *path, const char *text)
{
	char *got;
	slurp(path, &got);
	assert_string_equal(got, text);
	free(got);
}

void assert_mode(const char *path, unsigned mode)
{
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

void assert_missing(const char *path)
{
	struct stat st;
	assert_int_equal(lstat(path, &st), -1);
	assert_int_equal(errno, ENOENT);
}

void assert_empty_dir(const char *path)
{
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			fail_msg("%s is left in %s", e->d_name, path);
	}
	closedir(d);
}

void wipe(const char *path)
{
	assert_int_equal(fs_remove_tree(AT_FDCWD, path), 0);
}

int open_zip(const char *name)
{
	char path[256];
	snprintf(path, sizeof path, "zips/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

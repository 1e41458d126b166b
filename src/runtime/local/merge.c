/* runtime/local/merge.c: the last step of an upload that is unzipped into a directory that exists.
 *
 * The tree is walked twice by the same code: first to find what would go wrong, then to rename. What the target does
 * not have is moved as one directory; what both have is descended into, by O_NOFOLLOW, so that a link in the target
 * leads nothing out of it. Renaming replaces a file for its readers at once, and replaces a link, never what it leads
 * to. A part of the target that is a file system of its own (a bind mount) can't be renamed into: directories are made
 * anew there, files copied and renamed. */
#include "runtime/local/merge.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "runtime/local/fsio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct merge {
	bool check_only;
	struct buf path; /* of the directory at hand, relative, for error texts */
	struct crex_error *err;
};

static int merge_dir(struct merge *m, int from, int to);

static int fail(struct merge *m, int errnum, const char *name)
{
	return buf_append_str(&m->path, name) < 0 ? crex_error_set_errno(m->err, errnum, name)
						  : crex_error_set_errno(m->err, errnum, m->path.data);
}

static int descend(struct merge *m, int from, int to, const char *name)
{
	cleanup_fd int from_dir = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int to_dir = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from_dir < 0 || to_dir < 0)
		return fail(m, errno, name);
	size_t len = m->path.len;
	if (buf_printf(&m->path, "%s/", name) < 0)
		return fail(m, ENAMETOOLONG, name);
	int r = merge_dir(m, from_dir, to_dir);
	if (r == 0) {
		m->path.len = len;
		m->path.data[len] = '\0';
	}
	return r;
}

static int copy_file(int from, int to, const char *name)
{
	cleanup_free char *tmp = fs_temp_name(NULL);
	cleanup_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (!tmp)
		return -ENOMEM;
	if (in < 0 || fstat(in, &st) < 0)
		return -errno;
	cleanup_fd int out = openat(to, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return -errno;
	int r = fs_copy(in, out);
	fchmod(out, st.st_mode & 0777);
	if (r == 0 && renameat(to, tmp, to, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(to, tmp, 0);
	return r;
}

static int copy_link(int from, int to, const char *name)
{
	char text[PATH_MAX + 1];
	ssize_t n = readlinkat(from, name, text, PATH_MAX);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (symlinkat(text, to, name) == 0)
		return 0;
	return errno == EEXIST && unlinkat(to, name, 0) == 0 && symlinkat(text, to, name) == 0 ? 0 : -errno;
}

static int place_file(struct merge *m, int from, int to, const char *name, mode_t mode, const struct stat *old)
{
	if (old && S_ISDIR(old->st_mode))
		return fail(m, EISDIR, name);
	if (m->check_only)
		return 0;
	int r = renameat(from, name, to, name) < 0 ? -errno : 0;
	if (r == -EXDEV)
		r = S_ISLNK(mode) ? copy_link(from, to, name) : copy_file(from, to, name);
	return r < 0 ? fail(m, -r, name) : 0;
}

static int place_dir(struct merge *m, int from, int to, const char *name, mode_t mode, const struct stat *old)
{
	if (old && S_ISLNK(old->st_mode)) {
		buf_append_str(&m->path, name);
		return crex_error_set(m->err, CREX_E_VALUE, "zip entry would go through the symbolic link '%s'",
				      m->path.data ? m->path.data : name);
	}
	if (old && !S_ISDIR(old->st_mode))
		return fail(m, ENOTDIR, name);
	if (old)
		return descend(m, from, to, name);
	if (m->check_only || renameat(from, name, to, name) == 0)
		return 0;
	if (errno == EXDEV && mkdirat(to, name, mode & 0777) < 0 && errno != EEXIST)
		return fail(m, errno, name);
	/* EXDEV: just made; else somebody was quicker, and the directory is there now */
	return errno == EXDEV || errno == EEXIST || errno == ENOTEMPTY ? descend(m, from, to, name)
								       : fail(m, errno, name);
}

static int merge_entry(struct merge *m, int from, int to, const char *name)
{
	struct stat st, old;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(m, errno, name);
	bool exists = fstatat(to, name, &old, AT_SYMLINK_NOFOLLOW) == 0;
	if (!exists && errno != ENOENT)
		return fail(m, errno, name);
	return S_ISDIR(st.st_mode) ? place_dir(m, from, to, name, st.st_mode, exists ? &old : NULL)
				   : place_file(m, from, to, name, st.st_mode, exists ? &old : NULL);
}

static int merge_dir(struct merge *m, int from, int to)
{
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return fail(m, errno, ".");
	}
	int r = 0;
	bool asked = false;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (m->check_only && !asked && faccessat(to, ".", W_OK | X_OK, AT_EACCESS) < 0)
			r = fail(m, errno, ".");
		else
			r = merge_entry(m, from, to, e->d_name);
		asked = true;
	}
	closedir(d);
	return r;
}

int merge_into(int from, int to, struct crex_error *err)
{
	struct merge m = {.check_only = true, .err = err};
	buf_init(&m.path, PATH_MAX);
	int r = merge_dir(&m, from, to);
	m.check_only = false;
	buf_clear(&m.path);
	if (r == 0)
		r = merge_dir(&m, from, to);
	buf_deinit(&m.path);
	return r;
}

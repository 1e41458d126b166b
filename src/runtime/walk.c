/* runtime/walk.c: a directory tree, one entry at a time, by descriptors.
 *
 * Every directory is opened below its parent's descriptor and without following links, so that a tree that is moved
 * about meanwhile can't lead out of itself. The open directories are a stack; its depth is bounded by what a server
 * unpacks. */
#include "runtime/walk.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4095 };

struct walk {
	DIR *dirs[WALK_DEPTH_MAX + 1];
	size_t path_len[WALK_DEPTH_MAX + 1]; /* of path, up to and with the directory's slash */
	size_t depth;
	struct buf path;
};

static int push(struct walk *w, int fd)
{
	DIR *dir = w->depth <= WALK_DEPTH_MAX ? fdopendir(fd) : NULL;
	if (!dir) {
		int errnum = w->depth <= WALK_DEPTH_MAX ? errno : ELOOP;
		close(fd);
		errno = errnum;
		return -1;
	}
	w->path_len[w->depth] = w->path.len;
	w->dirs[w->depth++] = dir;
	return 0;
}

struct walk *walk_new(int root_fd, struct crex_error *err)
{
	struct walk *w = calloc(1, sizeof *w);
	if (w) {
		buf_init(&w->path, PATH_LIMIT);
		if (push(w, root_fd) == 0)
			return w;
		walk_free(w);
	} else {
		close(root_fd);
	}
	crex_error_set_errno(err, ENOMEM, NULL);
	return NULL;
}

struct walk *walk_free(struct walk *w)
{
	if (w) {
		while (w->depth > 0)
			closedir(w->dirs[--w->depth]);
		buf_deinit(&w->path);
		free(w);
	}
	return NULL;
}

static bool is_utf8(const char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		int n = utf8_sequence((const unsigned char *)s + i, len - i);
		if (n <= 0)
			return false;
		i += (size_t)n;
	}
	return true;
}

static int set_path(struct walk *w, const char *name, struct crex_error *err)
{
	w->path.len = w->path_len[w->depth - 1];
	if (w->path.data)
		w->path.data[w->path.len] = '\0';
	int r = buf_append_str(&w->path, name);
	if (r < 0)
		return crex_error_set_errno(err, r == -ENOSPC ? ENAMETOOLONG : -r, name);
	if (is_utf8(name, strlen(name)))
		return 0;
	crex_error_set_errno(err, EILSEQ, w->path.data);
	err->code = CREX_E_UNICODE;
	return crex_error_prefix(err, "a name that is no UTF-8 can't travel in an archive: ");
}

static int enter(struct walk *w, int parent, const char *name, struct crex_error *err)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : buf_append_char(&w->path, '/');
	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return crex_error_set_errno(err, r == -ENOSPC ? ENAMETOOLONG : -r, w->path.data);
	}
	return push(w, fd) < 0 ? crex_error_set_errno(err, errno, w->path.data) : 0;
}

int walk_next(struct walk *w, struct walk_entry *ret, struct crex_error *err)
{
	while (w->depth > 0) {
		DIR *dir = w->dirs[w->depth - 1];
		errno = 0;
		const struct dirent *e = readdir(dir);
		if (!e && errno)
			return crex_error_set_errno(err, errno, w->path.data);
		if (!e) {
			closedir(dir);
			w->depth--;
			continue;
		}
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		int fd = dirfd(dir);
		if (set_path(w, e->d_name, err) < 0)
			return -1;
		if (fstatat(fd, e->d_name, &ret->st, AT_SYMLINK_NOFOLLOW) < 0)
			return crex_error_set_errno(err, errno, w->path.data);
		mode_t mode = ret->st.st_mode;
		if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode))
			return crex_error_set(err, CREX_E_VALUE,
					      "%s is no file, directory or link: it can't be uploaded", w->path.data);
		ret->dir_fd = fd;
		ret->name = e->d_name;
		if (S_ISDIR(mode)) {
			ret->name = NULL;
			if (enter(w, fd, e->d_name, err) < 0)
				return -1;
		}
		ret->path = w->path.data;
		return 1;
	}
	return 0;
}

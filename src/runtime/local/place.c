/* runtime/local/place.c: replacing files so that a reader sees the old or the new content, never a part.
 *
 * The content goes to a temporary file next to the target, which is renamed over it. That has to look like
 * open(path, "w") to everybody else, so:
 *  - a symbolic link at the end of the path stays, the file it leads to is replaced (or made);
 *  - mode and owner of an existing file stay; a new file has 0666 less the umask. The umask is learnt from the
 *    temporary file itself, since asking for it changes it for all threads; until the commit the file is 0600;
 *  - a file that we could not open for writing is not replaced, though rename would allow it.
 * What can't be renamed over is written in place, as Python would do: devices and FIFOs, files with several hard
 * links, files in a directory that we can't write to, bind mounts (/etc/hosts in a container), files whose owner we
 * couldn't restore. For these the temporary file has no name and lies in $TMPDIR; the commit copies it.
 *
 * The temporary file lies in the deepest directory that exists already; missing parents are made at the commit only,
 * so that an aborted upload leaves none behind. Nothing is synced: what was acknowledged outlives this process, not
 * the machine. */
#include "runtime/local/place.h"

#include "base/cleanup.h"
#include "runtime/local/fsio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum {
	MAX_LINKS = 40,
	TEMP_TRIES = 16,
	NEW_FILE_FLAGS = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY
};

/* Where the links at the end of path lead; the last one need not exist. NULL with errno. */
static char *resolve_links(const char *path)
{
	cleanup_free char *at = strdup(path);
	cleanup_free char *link = malloc(PATH_MAX);
	for (int i = 0; at && link && i < MAX_LINKS; i++) {
		ssize_t n = readlink(at, link, PATH_MAX - 1);
		if (n < 0)
			return errno == EINVAL || errno == ENOENT ? steal_ptr(at) : NULL;
		link[n] = '\0';
		const char *slash = strrchr(at, '/');
		char *next = NULL;
		int dir = link[0] == '/' || !slash ? 0 : (int)(slash - at) + 1;
		if (asprintf(&next, "%.*s%s", dir, at, link) < 0)
			return NULL;
		free(at);
		at = next;
	}
	errno = at && link ? ELOOP : ENOMEM;
	return NULL;
}

/* Fills path, exists, old and in_place. */
static int find_target(struct place *p, const char *path, struct crex_error *err)
{
	int errnum = stat(path, &p->old) == 0 ? 0 : errno;
	p->exists = errnum == 0;
	if (errnum != 0 && errnum != ENOENT && errnum != ENOTDIR)
		return crex_error_set_errno(err, errnum, p->shown);
	if (p->exists && S_ISDIR(p->old.st_mode))
		return crex_error_set_errno(err, EISDIR, p->shown);
	if (p->exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
		return crex_error_set_errno(err, errno, p->shown);
	p->in_place = p->exists && (!S_ISREG(p->old.st_mode) || p->old.st_nlink > 1);
	p->path = p->in_place || errnum == ENOTDIR ? strdup(path) : resolve_links(path);
	if (!p->path)
		return crex_error_set_errno(err, errno, p->shown);
	struct stat st;
	/* the text of a link in /proc names something else than the link leads to */
	if (p->exists && (stat(p->path, &st) < 0 || st.st_ino != p->old.st_ino || st.st_dev != p->old.st_dev)) {
		free(p->path);
		p->path = strdup(path);
		p->in_place = true;
	}
	return p->path ? 0 : crex_error_set_errno(err, ENOMEM, p->shown);
}

static int open_temp(const char *dir, char **ret_name)
{
	for (int i = 0; i < TEMP_TRIES; i++) {
		cleanup_free char *name = fs_temp_name(dir);
		if (!name)
			return -ENOMEM;
		int fd = open(name, NEW_FILE_FLAGS, 0666);
		if (fd >= 0) {
			*ret_name = steal_ptr(name);
			return fd;
		}
		if (errno != EEXIST && errno != EINTR)
			return -errno;
	}
	return -EEXIST;
}

int place_open_nameless(const char *dir)
{
	const char *dirs[] = {getenv("TMPDIR"), "/tmp", "/var/tmp"};
	int fd = -ENOENT;
	for (size_t i = 0; i < (dir ? 1 : sizeof dirs / sizeof *dirs) && fd < 0; i++) {
		const char *where = dir ? dir : dirs[i];
		cleanup_free char *name = NULL;
		fd = where && *where ? open_temp(where, &name) : -ENOENT;
		if (fd >= 0)
			unlink(name);
	}
	if (fd < 0 && !dir) {
		fd = memfd_create("crex", MFD_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	if (fd >= 0)
		fchmod(fd, 0600);
	return fd;
}

/* Errors that say "no room" or "not now" would meet the in-place write as well, after it has truncated the file. */
static bool worth_in_place(int errnum)
{
	return errnum != ENOSPC && errnum != EDQUOT && errnum != ENOMEM && errnum != EMFILE && errnum != ENFILE &&
	       errnum != EIO;
}

static int open_spool(struct place *p, struct crex_error *err)
{
	p->in_place = true;
	p->fd = place_open_nameless(NULL);
	return p->fd >= 0 ? 0 : crex_error_set_errno(err, -p->fd, p->shown);
}

int place_open(struct place *p, const char *path, struct crex_error *err)
{
	*p = (struct place){.shown = path, .fd = -1};
	if (find_target(p, path, err) < 0)
		return -1;
	if (p->in_place)
		return open_spool(p, err);
	cleanup_free char *dir = fs_existing_parent(p->path, err);
	if (!dir)
		return -1;
	p->fd = open_temp(dir, &p->tmp);
	if (p->fd < 0 && p->exists && worth_in_place(-p->fd))
		return open_spool(p, err);
	struct stat st;
	if (p->fd < 0 || fstat(p->fd, &st) < 0)
		return crex_error_set_errno(err, p->fd < 0 ? -p->fd : errno, p->shown);
	p->mode = p->exists ? p->old.st_mode & 01777 : st.st_mode & 0777;
	if (p->exists && (st.st_uid != p->old.st_uid || st.st_gid != p->old.st_gid) &&
	    fchown(p->fd, p->old.st_uid, p->old.st_gid) < 0)
		p->in_place = true;
	fchmod(p->fd, 0600); /* file systems without modes refuse; they have nothing to keep either */
	return 0;
}

static int commit_in_place(struct place *p, struct crex_error *err)
{
	cleanup_fd int fd = open(p->path, O_WRONLY | O_TRUNC | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	int r = fd < 0 ? -errno : fs_copy(p->fd, fd);
	return r < 0 ? crex_error_set_errno(err, -r, p->shown) : 0;
}

int place_commit(struct place *p, struct crex_error *err)
{
	size_t made = 0;
	if (p->in_place)
		return commit_in_place(p, err);
	if (!p->exists && fs_make_parents(p->path, &made, err) < 0)
		return -1;
	fchmod(p->fd, p->mode);
	if (rename(p->tmp, p->path) == 0) {
		free(steal_ptr(p->tmp));
		return 0;
	}
	int errnum = errno;
	if (p->exists && errnum != EISDIR && worth_in_place(errnum))
		return commit_in_place(p, err);
	fs_unmake_parents(p->path, made);
	return crex_error_set_errno(err, errnum, p->shown);
}

void place_deinit(struct place *p)
{
	if (p->tmp)
		unlink(p->tmp);
	if (p->fd >= 0)
		close(p->fd);
	free(p->tmp);
	free(p->path);
	*p = (struct place)PLACE_INIT;
}

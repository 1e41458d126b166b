/* runtime/local/upload.c: uploads: a stream of the caller's becomes a file, or a directory tree.
 *
 * The three steps (begin, commit, abort) are jobs in worker threads; between begin and its end the upload belongs to
 * the caller, who writes to the fd. A plain upload is a place (place.c): a temporary file that the commit renames.
 *
 * With unzip the archive is spooled to a file without a name, in the target if that exists, else in the deepest
 * directory that does: a file system that the tree will live on anyway, and nothing to clean up even if we are killed.
 * The commit extracts into a staging directory in the same place (mode 0700, hidden name) and only a complete, sound
 * tree is moved: by one rename where the target does not exist yet, else merged into it (merge.c). So a broken or
 * hostile archive leaves nothing, and uploads into neighbouring targets don't meet. The staging directory gets its
 * mode (0777 less the umask) back just before the rename. */
#include "base/cleanup.h"
#include "runtime/local/fsio.h"
#include "runtime/local/internal.h"
#include "runtime/local/merge.h"
#include "runtime/local/place.h"
#include "runtime/local/unzip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_ENTRIES = 1000000 };

struct local_upload {
	uv_work_t work;
	struct local *rt;
	char *path;
	bool unzip;
	struct place place; /* unzip: only fd is used */
	struct crex_error err;
	local_upload_begun_fn begun;
	local_done_fn done; /* NULL while aborting */
	void *arg;
};

static void upload_free(struct local_upload *up)
{
	struct local *rt = up->rt;
	place_deinit(&up->place);
	free(up->path);
	crex_error_clear(&up->err);
	free(up);
	local_release(rt);
}

/* --- unzip ----------------------------------------------------------------------------------------------------- */

/* The directory that spool and staging go to: the target itself, or what exists above it. NULL: err is set. */
static char *work_dir(const char *target, bool *ret_exists, struct crex_error *err)
{
	struct stat st;
	*ret_exists = stat(target, &st) == 0;
	if (*ret_exists && !S_ISDIR(st.st_mode)) {
		crex_error_set_errno(err, ENOTDIR, target);
		return NULL;
	}
	return *ret_exists ? strdup(target) : fs_existing_parent(target, err);
}

static int begin_unzip(struct local_upload *up)
{
	bool exists;
	cleanup_free char *dir = work_dir(up->path, &exists, &up->err);
	if (!dir)
		return -1;
	int fd = place_open_nameless(dir);
	if (fd < 0)
		return crex_error_set_errno(&up->err, -fd, up->path);
	up->place.fd = fd;
	return 0;
}

struct staging {
	char *path;
	int fd;
	mode_t mode;
};

static int staging_open(struct staging *s, const char *dir, const char *target, struct crex_error *err)
{
	struct stat st;
	s->path = fs_temp_name(dir);
	if (!s->path)
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (mkdir(s->path, 0777) < 0) {
		int errnum = errno;
		free(steal_ptr(s->path));
		return crex_error_set_errno(err, errnum, target);
	}
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return crex_error_set_errno(err, errno, target);
	s->mode = st.st_mode & 07777;
	fchmod(s->fd, 0700);
	return 0;
}

static void staging_close(struct staging *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->path)
		fs_remove_tree(AT_FDCWD, s->path);
	free(s->path);
}

static int merge_target(const struct staging *s, const char *target, struct crex_error *err)
{
	cleanup_fd int to = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return to < 0 ? crex_error_set_errno(err, errno, target) : merge_into(s->fd, to, err);
}

static int move_target(struct staging *s, const char *target, struct crex_error *err)
{
	size_t made = 0;
	if (fs_make_parents(target, &made, err) < 0)
		return -1;
	struct stat st;
	/* rename would replace an empty directory, with its mode and owner */
	int r = lstat(target, &st) == 0 ? -EEXIST : fchmod(s->fd, s->mode) == 0 || errno == EPERM ? 0 : -errno;
	if (r == 0 && rename(s->path, target) == 0) {
		free(steal_ptr(s->path));
		return 0;
	}
	if (r == 0)
		r = -errno;
	if (r == -EEXIST || r == -ENOTEMPTY) /* made by somebody else in the meantime */
		return merge_target(s, target, err);
	fs_unmake_parents(target, made);
	return crex_error_set_errno(err, -r, target);
}

static int commit_unzip(struct local_upload *up)
{
	bool exists;
	cleanup_free char *dir = work_dir(up->path, &exists, &up->err);
	if (!dir)
		return -1;
	struct staging s = {.fd = -1};
	const struct unzip_limits limits = {.max_bytes = up->rt->config.max_unzip, .max_entries = MAX_ENTRIES};
	int r = staging_open(&s, dir, up->path, &up->err);
	if (r == 0)
		r = unzip_extract(up->place.fd, s.fd, &limits, &up->err);
	if (r == 0)
		r = exists ? merge_target(&s, up->path, &up->err) : move_target(&s, up->path, &up->err);
	staging_close(&s);
	return r;
}

/* --- workers and the loop's side ------------------------------------------------------------------------------- */

static void begin_worker(uv_work_t *work)
{
	struct local_upload *up = work->data;
	if (up->unzip)
		begin_unzip(up);
	else
		place_open(&up->place, up->path, &up->err);
}

static void begin_finished(uv_work_t *work, int status)
{
	struct local_upload *up = work->data;
	if (status < 0)
		crex_error_set_errno(&up->err, -status, up->path);
	if (up->err.code == CREX_OK) {
		up->begun(up->arg, NULL, up, up->place.fd);
		return;
	}
	up->begun(up->arg, &up->err, NULL, -1);
	upload_free(up);
}

void local_upload_begin(struct local *rt, struct crex_str target_path, bool unzip, local_upload_begun_fn done,
			void *arg)
{
	struct local_upload *up = calloc(1, sizeof *up);
	if (!up) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set_errno(&err, ENOMEM, NULL);
		done(arg, &err, NULL, -1);
		return;
	}
	*up = (struct local_upload){.rt = rt, .unzip = unzip, .place = PLACE_INIT, .begun = done, .arg = arg};
	local_hold(rt);
	up->work.data = up;
	up->path = fs_path_dup(target_path, &up->err);
	if (up->path && rt->closing)
		crex_error_set(&up->err, CREX_E_SWEREX, "the runtime is closing");
	bool sound = up->err.code == CREX_OK; /* once queued, the worker owns the upload */
	int r = sound ? uv_queue_work(rt->loop, &up->work, begin_worker, begin_finished) : 0;
	if (!sound || r < 0)
		begin_finished(&up->work, r);
}

static void commit_worker(uv_work_t *work)
{
	struct local_upload *up = work->data;
	if (up->unzip)
		commit_unzip(up);
	else
		place_commit(&up->place, &up->err);
	place_deinit(&up->place); /* here, since closing a large file that has no name takes its time */
}

static void commit_finished(uv_work_t *work, int status)
{
	struct local_upload *up = work->data;
	if (status < 0)
		crex_error_set_errno(&up->err, -status, up->path);
	up->done(up->arg, up->err.code == CREX_OK ? NULL : &up->err);
	upload_free(up);
}

void local_upload_commit(struct local_upload *up, local_done_fn done, void *arg)
{
	up->done = done;
	up->arg = arg;
	int r = uv_queue_work(up->rt->loop, &up->work, commit_worker, commit_finished);
	if (r < 0)
		commit_finished(&up->work, r);
}

static void abort_worker(uv_work_t *work)
{
	struct local_upload *up = work->data;
	place_deinit(&up->place);
}

static void abort_finished(uv_work_t *work, int status)
{
	(void)status;
	upload_free(work->data);
}

void local_upload_abort(struct local_upload *up)
{
	if (uv_queue_work(up->rt->loop, &up->work, abort_worker, abort_finished) < 0)
		upload_free(up);
}

/* runtime/local/files.c: read_file and write_file.
 *
 * Both are one job in a worker thread: the request is copied into the job, the worker does all that can block, the
 * result is handed over on the loop's thread. A job can't be hung by what a path names: files are opened without
 * waiting and without taking a controlling terminal, FIFOs and sockets are refused for reading, and devices without
 * an end run into max_file.
 *
 * read_file is Python's Path.read_text: decode, then universal newlines. The size that stat reports is a hint only
 * (files of /proc say 0). write_file is Path.write_text with the parents made and the content renamed into place
 * (place.c). */
#include "base/cleanup.h"
#include "runtime/local/fsio.h"
#include "runtime/local/internal.h"
#include "runtime/local/place.h"
#include "text/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct file_job {
	uv_work_t work;
	struct local *rt;
	char *path;
	char *content; /* write_file: what to write; read_file: encoding and error handler */
	size_t content_len;
	struct crex_str encoding; /* views into content */
	struct crex_str errors;
	struct buf text; /* read_file's result */
	struct crex_error err;
	local_text_fn text_done;
	local_done_fn done;
	void *arg;
};

static void job_free(struct file_job *job)
{
	free(job->path);
	free(job->content);
	buf_deinit(&job->text);
	crex_error_clear(&job->err);
	free(job);
}

/* --- workers --------------------------------------------------------------------------------------------------- */

static int open_readable(const char *path, off_t *ret_size, struct crex_error *err)
{
	cleanup_fd int fd = -1;
	do
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return crex_error_set_errno(err, errno, path);
	if (S_ISDIR(st.st_mode))
		return crex_error_set_errno(err, EISDIR, path);
	if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
		return crex_error_set(err, CREX_E_OS, "'%s' is a named pipe or socket, not a file with content", path);
	*ret_size = S_ISREG(st.st_mode) ? st.st_size : 0;
	return steal_fd(&fd);
}

static int fail_too_large(const struct file_job *job, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_LIMIT, "file is larger than the limit of %zu bytes for read_file: '%s'",
			      job->rt->config.max_file, job->path);
}

static int read_text(struct file_job *job, struct crex_error *err)
{
	off_t size = 0;
	cleanup_fd int fd = open_readable(job->path, &size, err);
	if (fd < 0)
		return -1;
	cleanup_buf struct buf raw;
	buf_init(&raw, job->rt->config.max_file);
	int r = 0;
	if (size > 0)
		r = (size_t)size > raw.max ? -EFBIG : buf_reserve(&raw, (size_t)size);
	if (r == 0)
		r = fs_read_all(fd, &raw);
	if (r == -EFBIG)
		return fail_too_large(job, err);
	if (r < 0)
		return crex_error_set_errno(err, -r, job->path);
	buf_init(&job->text, job->rt->config.max_file);
	if (text_decode((struct crex_str){raw.data, raw.len}, job->encoding, job->errors, &job->text, err) < 0)
		return err->code == CREX_E_LIMIT ? fail_too_large(job, err) : -1;
	text_universal_newlines(&job->text);
	return 0;
}

static void read_worker(uv_work_t *work)
{
	struct file_job *job = work->data;
	read_text(job, &job->err);
}

static void write_worker(uv_work_t *work)
{
	struct file_job *job = work->data;
	struct place place;
	if (fs_check_encodable((struct crex_str){job->content, job->content_len}, &job->err) < 0)
		return;
	if (place_open(&place, job->path, &job->err) == 0) {
		int r = fs_write_all(place.fd, job->content, job->content_len);
		if (r < 0)
			crex_error_set_errno(&job->err, -r, job->path);
		else
			place_commit(&place, &job->err);
	}
	place_deinit(&place);
}

/* --- the loop's side ------------------------------------------------------------------------------------------- */

static void job_finished(uv_work_t *work, int status)
{
	struct file_job *job = work->data;
	struct local *rt = job->rt;
	if (status < 0)
		crex_error_set_errno(&job->err, -status, job->path);
	size_t len = 0;
	char *text = NULL;
	if (job->text_done && job->err.code == CREX_OK && !(text = buf_steal(&job->text, &len)))
		crex_error_set_errno(&job->err, ENOMEM, NULL);
	struct crex_error *err = job->err.code == CREX_OK ? NULL : &job->err;
	if (job->text_done)
		job->text_done(job->arg, err, text, len);
	else
		job->done(job->arg, err);
	job_free(job);
	local_release(rt);
}

/* Takes the job whatever happens. */
static void job_start(struct file_job *job, uv_work_cb worker)
{
	local_hold(job->rt);
	job->work.data = job;
	if (job->err.code == CREX_OK && job->rt->closing)
		crex_error_set(&job->err, CREX_E_SWEREX, "the runtime is closing");
	bool sound = job->err.code == CREX_OK; /* once queued, the worker owns the job */
	int r = sound ? uv_queue_work(job->rt->loop, &job->work, worker, job_finished) : 0;
	if (!sound || r < 0)
		job_finished(&job->work, r);
}

static struct file_job *job_new(struct local *rt, struct crex_str path, size_t content_len)
{
	struct file_job *job = calloc(1, sizeof *job);
	if (!job)
		return NULL;
	job->rt = rt;
	job->content = malloc(content_len + 1);
	if (job->content)
		job->path = fs_path_dup(path, &job->err);
	else
		crex_error_set_errno(&job->err, ENOMEM, NULL);
	return job;
}

static struct crex_str store(struct file_job *job, struct crex_str s)
{
	if (!s.ptr)
		return s;
	char *at = job->content + job->content_len;
	if (s.len)
		memcpy(at, s.ptr, s.len);
	job->content_len += s.len;
	return (struct crex_str){at, s.len};
}

void local_read_file(struct local *rt, const struct crex_read_file_request *req, local_text_fn done, void *arg)
{
	struct file_job *job = job_new(rt, req->path, req->encoding.len + req->errors.len);
	if (!job) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set_errno(&err, ENOMEM, NULL);
		done(arg, &err, NULL, 0);
		return;
	}
	job->text_done = done;
	job->arg = arg;
	if (job->content) {
		job->encoding = store(job, req->encoding);
		job->errors = store(job, req->errors);
	}
	job_start(job, read_worker);
}

void local_write_file(struct local *rt, const struct crex_write_file_request *req, local_done_fn done, void *arg)
{
	struct file_job *job = job_new(rt, req->path, req->content.len);
	if (!job) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set_errno(&err, ENOMEM, NULL);
		done(arg, &err);
		return;
	}
	job->done = done;
	job->arg = arg;
	if (job->content)
		store(job, req->content);
	job_start(job, write_worker);
}

/* runtime/remote/upload.c: a file or a directory of this machine as the body of an upload.
 *
 * libcurl asks for the body piece by piece, and each piece is made then: a file is read, a directory is walked and
 * packed into a zip archive. So memory is one buffer, at any size, and nobody waits for an archive to be complete.
 *
 * What can be known beforehand is checked beforehand: every file of the tree is looked at, whether it can be read,
 * before the first byte leaves; that also gives the sum that progress is measured against. What changes while it is
 * read (a file that is shorter or longer than it was, that vanished) stops the transfer in the middle of the body: the
 * server throws away what has no end. Should the connection fail, the upload begins anew; it has no id, since doing it
 * twice comes to the same. */
#include "base/cleanup.h"
#include "runtime/remote/remote.h"
#include "runtime/remote/walk.h"
#include "runtime/remote/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const double PROGRESS_EVERY = 0.05;

struct remote_form {
	const struct crex_upload_request *req;
	char *path; /* of the source */
	int root;   /* the source, open */
	struct stat first;
	unsigned long long total, done;
	double told_at;
	struct crex_error err; /* why the transfer was stopped */

	/* a directory */
	struct walk *walk;
	struct zip zip;
	size_t zip_read; /* bytes of zip.out that are gone */
	int file;	 /* the entry under way, -1: none */
	uint64_t file_left;
	struct stat file_first;
	char *file_path;
	bool finished;
	char chunk[ZIP_INPUT_MAX];
};

static void tell(struct remote_form *f, bool last)
{
	double now = clock_now();
	if (!f->req->progress || (!last && now < f->told_at + PROGRESS_EVERY))
		return;
	f->told_at = now;
	f->req->progress(f->req->progress_arg, f->done, f->total);
}

static int fail_changed(struct remote_form *f, const char *path)
{
	return crex_error_set(&f->err, CREX_E_OS, "%s changed while it was read: nothing was uploaded", path);
}

static bool is_unchanged(int fd, const struct stat *first)
{
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_size == first->st_size && st.st_mtim.tv_sec == first->st_mtim.tv_sec &&
	       st.st_mtim.tv_nsec == first->st_mtim.tv_nsec;
}

static ssize_t read_some(int fd, void *data, size_t len)
{
	ssize_t n;
	do
		n = read(fd, data, len);
	while (n < 0 && errno == EINTR);
	return n;
}

/* --- a file --------------------------------------------------------------------------------------------------- */

/* The last bytes only leave once the file is known to be what it was. */
static ssize_t read_file(struct remote_form *f, char *data, size_t room)
{
	unsigned long long left = f->total - f->done;
	if (left == 0)
		return 0;
	ssize_t n = read_some(f->root, data, left < room ? (size_t)left : room);
	if (n < 0)
		return crex_error_set_errno(&f->err, errno, f->path);
	if (n == 0 || ((unsigned long long)n == left && !is_unchanged(f->root, &f->first)))
		return fail_changed(f, f->path);
	f->done += (unsigned long long)n;
	return n;
}

/* --- a directory ---------------------------------------------------------------------------------------------- */

static int zip_failed(struct remote_form *f, int r)
{
	if (r == -ENOSPC)
		return crex_error_set(&f->err, CREX_E_LIMIT, "%s has more files than one archive can list", f->path);
	return r < 0 ? crex_error_set_errno(&f->err, -r, NULL) : 0;
}

static int prefix_path(struct remote_form *f)
{
	return crex_error_prefix(&f->err, "in %s: ", f->path);
}

static int begin_link(struct remote_form *f, const struct walk_entry *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(e->dir_fd, e->name, target, sizeof target);
	if (n < 0)
		return crex_error_set_errno(&f->err, errno, e->path);
	int r = zip_begin(&f->zip, e->path, e->st.st_mode, (uint64_t)n);
	if (r == 0)
		r = zip_write(&f->zip, target, (size_t)n);
	if (r == 0)
		r = zip_end(&f->zip);
	return zip_failed(f, r);
}

static int begin_directory(struct remote_form *f, const struct walk_entry *e)
{
	int r = zip_begin(&f->zip, e->path, e->st.st_mode, 0);
	return zip_failed(f, r == 0 ? zip_end(&f->zip) : r);
}

static int begin_file(struct remote_form *f, const struct walk_entry *e)
{
	cleanup_fd int fd = openat(e->dir_fd, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &f->file_first) < 0)
		return crex_error_set_errno(&f->err, errno, e->path);
	if (!S_ISREG(f->file_first.st_mode))
		return fail_changed(f, e->path);
	free(f->file_path);
	f->file_path = strdup(e->path);
	if (!f->file_path)
		return crex_error_set_errno(&f->err, ENOMEM, NULL);
	f->file_left = (uint64_t)f->file_first.st_size;
	f->file = steal_fd(&fd);
	return zip_failed(f, zip_begin(&f->zip, e->path, f->file_first.st_mode, f->file_left));
}

static int pack_file(struct remote_form *f)
{
	if (f->file_left > 0) {
		size_t want = f->file_left < sizeof f->chunk ? (size_t)f->file_left : sizeof f->chunk;
		ssize_t n = read_some(f->file, f->chunk, want);
		if (n < 0)
			return crex_error_set_errno(&f->err, errno, f->file_path);
		if (n == 0)
			return fail_changed(f, f->file_path);
		f->file_left -= (uint64_t)n;
		f->done += (unsigned long long)n;
		return zip_failed(f, zip_write(&f->zip, f->chunk, (size_t)n));
	}
	if (!is_unchanged(f->file, &f->file_first))
		return fail_changed(f, f->file_path);
	close(steal_fd(&f->file));
	return zip_failed(f, zip_end(&f->zip));
}

static int pack_next(struct remote_form *f)
{
	struct walk_entry e;
	if (f->file >= 0)
		return pack_file(f);
	int r = walk_next(f->walk, &e, &f->err);
	if (r < 0)
		return -1;
	if (r == 0) {
		f->finished = true;
		return zip_failed(f, zip_finish(&f->zip));
	}
	if (S_ISDIR(e.st.st_mode))
		return begin_directory(f, &e);
	return S_ISLNK(e.st.st_mode) ? begin_link(f, &e) : begin_file(f, &e);
}

static ssize_t read_archive(struct remote_form *f, char *data, size_t room)
{
	while (f->zip_read == f->zip.out.len) {
		if (f->finished)
			return 0;
		buf_clear(&f->zip.out);
		f->zip_read = 0;
		if (pack_next(f) < 0)
			return prefix_path(f);
	}
	size_t n = f->zip.out.len - f->zip_read;
	n = n < room ? n : room;
	memcpy(data, f->zip.out.data + f->zip_read, n);
	f->zip_read += n;
	return (ssize_t)n;
}

/* Every file of the tree can be read, as far as one can tell; the sum of their sizes. */
static int survey(struct remote_form *f)
{
	int fd = openat(f->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return crex_error_set_errno(&f->err, errno, f->path);
	struct walk *w = walk_new(fd, &f->err);
	struct walk_entry e;
	int r = w ? 1 : -1;
	while (r > 0 && (r = walk_next(w, &e, &f->err)) > 0) {
		if (!S_ISREG(e.st.st_mode))
			continue;
		if (faccessat(e.dir_fd, e.name, R_OK, AT_EACCESS) < 0)
			r = crex_error_set_errno(&f->err, errno, e.path);
		f->total += (unsigned long long)e.st.st_size;
	}
	walk_free(w);
	return r < 0 ? prefix_path(f) : 0;
}

/* --- the form ------------------------------------------------------------------------------------------------- */

static void stop(struct remote_form *f)
{
	f->walk = walk_free(f->walk);
	zip_deinit(&f->zip);
	if (f->file >= 0)
		close(steal_fd(&f->file));
}

/* To the beginning of the body. */
static int begin(void *arg, struct crex_error *err)
{
	struct remote_form *f = arg;
	f->done = 0;
	if (!S_ISDIR(f->first.st_mode))
		return lseek(f->root, 0, SEEK_SET) < 0 ? crex_error_set_errno(err, errno, f->path) : 0;
	stop(f);
	f->zip_read = 0;
	f->finished = false;
	int fd = openat(f->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return crex_error_set_errno(err, errno, f->path);
	f->walk = walk_new(fd, err);
	if (!f->walk)
		return -1;
	return zip_init(&f->zip) < 0 ? crex_error_set_errno(err, ENOMEM, NULL) : 0;
}

static size_t on_read(char *data, size_t size, size_t n, void *arg)
{
	struct remote_form *f = arg;
	size_t room = size * n;
	ssize_t got = S_ISDIR(f->first.st_mode) ? read_archive(f, data, room) : read_file(f, data, room);
	if (got < 0)
		return CURL_READFUNC_ABORT;
	if (got > 0)
		tell(f, false);
	return (size_t)got;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	if (offset != 0 || origin != SEEK_SET)
		return CURL_SEEKFUNC_FAIL;
	return begin(arg, &err) < 0 ? CURL_SEEKFUNC_FAIL : CURL_SEEKFUNC_OK;
}

static bool add_part(curl_mime *mime, const char *name, const char *data, size_t len)
{
	curl_mimepart *part = curl_mime_addpart(mime);
	return part && curl_mime_name(part, name) == CURLE_OK && curl_mime_data(part, data, len) == CURLE_OK;
}

curl_mime *remote_form_build(struct remote_form *f, CURL *easy)
{
	bool directory = S_ISDIR(f->first.st_mode);
	struct crex_str target = f->req->target_path;
	const char *unzip = directory ? "true" : "false";
	curl_mime *mime = curl_mime_init(easy);
	curl_mimepart *part;
	if (mime && add_part(mime, "target_path", target.len ? target.ptr : "", target.len) &&
	    add_part(mime, "unzip", unzip, strlen(unzip)) && (part = curl_mime_addpart(mime)) &&
	    curl_mime_name(part, "file") == CURLE_OK &&
	    curl_mime_filename(part, directory ? "file.zip" : "file") == CURLE_OK &&
	    curl_mime_type(part, "application/octet-stream") == CURLE_OK &&
	    curl_mime_data_cb(part, directory ? -1 : (curl_off_t)f->total, on_read, on_seek, NULL, f) == CURLE_OK)
		return mime;
	curl_mime_free(mime);
	return NULL;
}

bool remote_form_failed(struct remote_form *f, struct crex_error *err)
{
	if (f->err.code == CREX_OK)
		return false;
	crex_error_move(err, &f->err);
	return true;
}

static int open_source(struct remote_form *f, struct crex_error *err)
{
	struct crex_str source = f->req->source_path;
	if (source.len && memchr(source.ptr, '\0', source.len))
		return crex_error_set(err, CREX_E_VALUE, "source_path: embedded null byte");
	f->path = strndup(source.len ? source.ptr : "", source.len);
	if (!f->path)
		return crex_error_set_errno(err, ENOMEM, NULL);
	f->root = open(f->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (f->root < 0 || fstat(f->root, &f->first) < 0)
		return crex_error_set_errno(err, errno, f->path);
	if (S_ISDIR(f->first.st_mode)) {
		if (survey(f) == 0)
			return 0;
		crex_error_move(err, &f->err);
		return -1;
	}
	if (!S_ISREG(f->first.st_mode))
		return crex_error_set(err, CREX_E_VALUE, "%s is neither a file nor a directory", f->path);
	f->total = (unsigned long long)f->first.st_size;
	return 0;
}

static int upload(struct remote *rt, struct remote_form *f, const struct crex_call *call, struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	if (open_source(f, err) < 0 || begin(f, err) < 0)
		return -1;
	const struct remote_request req = {.path = "/upload", .post = true, .form = f, .limit = CREX_NO_TIMEOUT};
	cleanup_buf struct buf body = {0};
	if (remote_request(rt, &req, &d, &body, begin, f, err) < 0)
		return -1;
	tell(f, true);
	return 0;
}

int remote_upload(struct crex_runtime *rt, const struct crex_upload_request *req, const struct crex_call *call,
		  struct crex_error *err)
{
	struct remote_form *f = calloc(1, sizeof *f);
	if (!f)
		return crex_error_set_errno(err, ENOMEM, NULL);
	f->req = req;
	f->root = f->file = -1;
	int r = upload((struct remote *)rt, f, call, err);
	stop(f);
	if (f->root >= 0)
		close(f->root);
	crex_error_clear(&f->err);
	free(f->file_path);
	free(f->path);
	free(f);
	return r;
}

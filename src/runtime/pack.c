/* runtime/pack.c: what an upload is made of, piece by piece: a file is read, a directory is walked and packed.
 *
 * Each piece is made when it is asked for, so memory is one buffer at any size and nobody waits for an archive to be
 * complete.
 *
 * What can be known beforehand is checked beforehand: every file of the tree is looked at, whether it can be read,
 * before the first byte leaves; that also gives the sum that progress is measured against. What changes while it is
 * read (a file that is shorter or longer than it was, that vanished) is an error in the middle of the stream: whoever
 * takes it throws away what has no end. */
#include "runtime/pack.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/inside.h"
#include "runtime/walk.h"
#include "runtime/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double PROGRESS_EVERY = 0.05;

struct pack {
	const struct crex_upload_request *req;
	char *path; /* of the source */
	int root;   /* the source, open */
	struct stat first;
	unsigned long long total, done;
	double told_at;
	struct crex_error err;

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

static void tell(struct pack *p, bool last)
{
	double now = clock_now();
	if (!p->req->progress || (!last && now < p->told_at + PROGRESS_EVERY))
		return;
	p->told_at = now;
	p->req->progress(p->req->progress_arg, p->done, p->total);
}

static int fail_changed(struct pack *p, const char *path)
{
	return crex_error_set(&p->err, CREX_E_OS, "%s changed while it was read: nothing was uploaded", path);
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
static ssize_t read_file(struct pack *p, char *data, size_t room)
{
	unsigned long long left = p->total - p->done;
	if (left == 0)
		return 0;
	ssize_t n = read_some(p->root, data, left < room ? (size_t)left : room);
	if (n < 0)
		return crex_error_set_errno(&p->err, errno, p->path);
	if (n == 0 || ((unsigned long long)n == left && !is_unchanged(p->root, &p->first)))
		return fail_changed(p, p->path);
	p->done += (unsigned long long)n;
	return n;
}

/* --- a directory ---------------------------------------------------------------------------------------------- */

static int zip_failed(struct pack *p, int r)
{
	if (r == -ENOSPC)
		return crex_error_set(&p->err, CREX_E_LIMIT, "%s has more files than one archive can list", p->path);
	return r < 0 ? crex_error_set_errno(&p->err, -r, NULL) : 0;
}

static int prefix_path(struct pack *p)
{
	return crex_error_prefix(&p->err, "in %s: ", p->path);
}

/* 1: text is that of a link that stays inside the source. 0: it leads out, to a file: there the text would mean
 * something else, or nothing, so that the file itself goes, as upstream's archives have it. */
static int look_at_link(struct pack *p, const struct walk_entry *e, char text[static PATH_MAX + 1],
			struct stat *ret_file)
{
	size_t depth = 0;
	for (const char *at = e->path; *at; at++)
		depth += *at == '/';
	ssize_t n = readlinkat(e->dir_fd, e->name, text, PATH_MAX);
	if (n < 0)
		return crex_error_set_errno(&p->err, errno, e->path);
	text[n] = '\0';
	if (link_stays_inside(depth, text))
		return 1;
	if (fstatat(e->dir_fd, e->name, ret_file, 0) == 0 && S_ISREG(ret_file->st_mode))
		return 0;
	return crex_error_set(&p->err, CREX_E_VALUE,
			      "the link %s leads out of the directory, to %s, which is no file: put a copy in its "
			      "place, or leave it out",
			      e->path, text);
}

static int begin_file(struct pack *p, const struct walk_entry *e, int nofollow);

static int begin_link(struct pack *p, const struct walk_entry *e)
{
	char target[PATH_MAX + 1];
	struct stat file;
	int inside = look_at_link(p, e, target, &file);
	if (inside <= 0)
		return inside < 0 ? -1 : begin_file(p, e, 0);
	size_t n = strlen(target);
	int r = zip_begin(&p->zip, e->path, e->st.st_mode, n);
	if (r == 0)
		r = zip_write(&p->zip, target, n);
	if (r == 0)
		r = zip_end(&p->zip);
	return zip_failed(p, r);
}

static int begin_directory(struct pack *p, const struct walk_entry *e)
{
	int r = zip_begin(&p->zip, e->path, e->st.st_mode, 0);
	return zip_failed(p, r == 0 ? zip_end(&p->zip) : r);
}

/* nofollow: O_NOFOLLOW, or 0 for a link to a file elsewhere. */
static int begin_file(struct pack *p, const struct walk_entry *e, int nofollow)
{
	cleanup_fd int fd = openat(e->dir_fd, e->name, O_RDONLY | nofollow | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &p->file_first) < 0)
		return crex_error_set_errno(&p->err, errno, e->path);
	if (!S_ISREG(p->file_first.st_mode))
		return fail_changed(p, e->path);
	free(p->file_path);
	p->file_path = strdup(e->path);
	if (!p->file_path)
		return crex_error_set_errno(&p->err, ENOMEM, NULL);
	p->file_left = (uint64_t)p->file_first.st_size;
	p->file = steal_fd(&fd);
	return zip_failed(p, zip_begin(&p->zip, e->path, p->file_first.st_mode, p->file_left));
}

static int pack_file(struct pack *p)
{
	if (p->file_left > 0) {
		size_t want = p->file_left < sizeof p->chunk ? (size_t)p->file_left : sizeof p->chunk;
		ssize_t n = read_some(p->file, p->chunk, want);
		if (n < 0)
			return crex_error_set_errno(&p->err, errno, p->file_path);
		if (n == 0)
			return fail_changed(p, p->file_path);
		p->file_left -= (uint64_t)n;
		p->done += (unsigned long long)n;
		return zip_failed(p, zip_write(&p->zip, p->chunk, (size_t)n));
	}
	if (!is_unchanged(p->file, &p->file_first))
		return fail_changed(p, p->file_path);
	close(steal_fd(&p->file));
	return zip_failed(p, zip_end(&p->zip));
}

static int pack_next(struct pack *p)
{
	struct walk_entry e;
	if (p->file >= 0)
		return pack_file(p);
	int r = walk_next(p->walk, &e, &p->err);
	if (r < 0)
		return -1;
	if (r == 0) {
		p->finished = true;
		return zip_failed(p, zip_finish(&p->zip));
	}
	if (S_ISDIR(e.st.st_mode))
		return begin_directory(p, &e);
	return S_ISLNK(e.st.st_mode) ? begin_link(p, &e) : begin_file(p, &e, O_NOFOLLOW);
}

static ssize_t read_archive(struct pack *p, char *data, size_t room)
{
	while (p->zip_read == p->zip.out.len) {
		if (p->finished)
			return 0;
		buf_clear(&p->zip.out);
		p->zip_read = 0;
		if (pack_next(p) < 0)
			return prefix_path(p);
	}
	size_t n = p->zip.out.len - p->zip_read;
	n = n < room ? n : room;
	memcpy(data, p->zip.out.data + p->zip_read, n);
	p->zip_read += n;
	return (ssize_t)n;
}

/* Every file of the tree can be read, as far as one can tell; the sum of their sizes. */
static int survey(struct pack *p)
{
	int fd = openat(p->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return crex_error_set_errno(&p->err, errno, p->path);
	struct walk *w = walk_new(fd, &p->err);
	struct walk_entry e;
	int r = w ? 1 : -1;
	while (r > 0 && (r = walk_next(w, &e, &p->err)) > 0) {
		char target[PATH_MAX + 1];
		int inside = S_ISLNK(e.st.st_mode) ? look_at_link(p, &e, target, &e.st) : 1;
		if (inside < 0)
			r = -1;
		if (inside < 0 || !S_ISREG(e.st.st_mode))
			continue;
		if (faccessat(e.dir_fd, e.name, R_OK, AT_EACCESS) < 0)
			r = crex_error_set_errno(&p->err, errno, e.path);
		p->total += (unsigned long long)e.st.st_size;
	}
	walk_free(w);
	return r < 0 ? prefix_path(p) : 0;
}

/* --- the stream ----------------------------------------------------------------------------------------------- */

bool pack_is_archive(const struct pack *p)
{
	return S_ISDIR(p->first.st_mode);
}

unsigned long long pack_size(const struct pack *p)
{
	return p->total;
}

static void stop(struct pack *p)
{
	p->walk = walk_free(p->walk);
	zip_deinit(&p->zip);
	if (p->file >= 0)
		close(steal_fd(&p->file));
}

int pack_rewind(struct pack *p, struct crex_error *err)
{
	crex_error_clear(&p->err);
	p->done = 0;
	if (!pack_is_archive(p))
		return lseek(p->root, 0, SEEK_SET) < 0 ? crex_error_set_errno(err, errno, p->path) : 0;
	stop(p);
	p->zip_read = 0;
	p->finished = false;
	int fd = openat(p->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return crex_error_set_errno(err, errno, p->path);
	p->walk = walk_new(fd, err);
	if (!p->walk)
		return -1;
	return zip_init(&p->zip) < 0 ? crex_error_set_errno(err, ENOMEM, NULL) : 0;
}

ssize_t pack_read(struct pack *p, char *data, size_t room, struct crex_error *err)
{
	ssize_t n = pack_is_archive(p) ? read_archive(p, data, room) : read_file(p, data, room);
	if (n < 0)
		crex_error_move(err, &p->err);
	else if (n > 0)
		tell(p, false);
	return n;
}

void pack_arrived(struct pack *p)
{
	tell(p, true);
}

static int open_source(struct pack *p, struct crex_error *err)
{
	struct crex_str source = p->req->source_path;
	if (source.len && memchr(source.ptr, '\0', source.len))
		return crex_error_set(err, CREX_E_VALUE, "source_path: embedded null byte");
	p->path = strndup(source.len ? source.ptr : "", source.len);
	if (!p->path)
		return crex_error_set_errno(err, ENOMEM, NULL);
	p->root = open(p->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (p->root < 0 || fstat(p->root, &p->first) < 0)
		return crex_error_set_errno(err, errno, p->path);
	if (pack_is_archive(p)) {
		if (survey(p) == 0)
			return 0;
		crex_error_move(err, &p->err);
		return -1;
	}
	if (!S_ISREG(p->first.st_mode))
		return crex_error_set(err, CREX_E_VALUE, "%s is neither a file nor a directory", p->path);
	p->total = (unsigned long long)p->first.st_size;
	return 0;
}

struct pack *pack_open(const struct crex_upload_request *req, struct crex_error *err)
{
	struct pack *p = calloc(1, sizeof *p);
	if (!p) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	p->req = req;
	p->root = p->file = -1;
	return open_source(p, err) < 0 || pack_rewind(p, err) < 0 ? pack_free(p) : p;
}

struct pack *pack_free(struct pack *p)
{
	if (!p)
		return NULL;
	stop(p);
	if (p->root >= 0)
		close(p->root);
	crex_error_clear(&p->err);
	free(p->file_path);
	free(p->path);
	free(p);
	return NULL;
}

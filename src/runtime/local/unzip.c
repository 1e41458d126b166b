/* runtime/local/unzip.c: a zip archive becomes a directory tree.
 *
 * minizip reads the format (zip64, stored, deflate) through our pread callbacks; what is ours is everything that a
 * hostile archive could use:
 *  - names are taken as Python's zipfile takes them (UTF-8 by flag, else cp437; "", "." components vanish; a backslash
 *    is an ordinary character), but what Python strips in silence is an error here: absolute names, "..", NUL;
 *  - entries are opened component by component without following links. A symbolic link in the archive is first a
 *    regular file that holds the link's text, as with zipfile.extractall; when all entries are there, those whose text
 *    can't lead out of the tree become links (a second look at the directory). The others stay text;
 *  - permission bits are kept, less setuid, setgid, sticky and the umask; the owner can always read and write (and
 *    enter directories). Without Unix attributes a file is made as any new file;
 *  - what counts is what is really written: sizes that the directory claims are compared after the fact, the sum is
 *    held against max_bytes while writing, the CRC must hold;
 *  - of two entries with one name the last wins.
 * The last parent directory is kept open, since archives list files directory by directory. */
#include "runtime/local/unzip.h"

#include "base/cleanup.h"
#include "base/inside.h"
#include "runtime/local/fsio.h"
#include "text/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unzip.h>

enum {
	FLAG_ENCRYPTED = 1 << 0,
	FLAG_PATCH = 1 << 5,
	FLAG_STRONG_ENCRYPTION = 1 << 6,
	FLAG_UTF8 = 1 << 11,
	HOST_UNIX = 3,
	METHOD_STORED = 0,
	METHOD_DEFLATED = 8,
	CHUNK = 64 * 1024,
	RAW_NAME_MAX = 65535,
};

/* --- minizip's view of the archive: a file descriptor, a position, an error flag --------------------------------- */

struct source {
	int fd;
	uint64_t at, size;
	int errnum;
	bool short_read; /* minizip takes bytes that are not there for zeros, unless the stream has an error */
};

static voidpf source_open(voidpf opaque, const void *name, int mode)
{
	(void)name;
	(void)mode;
	return opaque;
}

static uLong source_read(voidpf opaque, voidpf stream, void *data, uLong len)
{
	(void)opaque;
	struct source *s = stream;
	uLong got = 0;
	while (got < len) {
		ssize_t n = pread(s->fd, (char *)data + got, len - got, (off_t)(s->at + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			s->errnum = errno;
		s->short_read |= n == 0;
		if (n <= 0)
			break;
		got += (uLong)n;
	}
	s->at += got;
	return got;
}

static uLong source_write(voidpf opaque, voidpf stream, const void *data, uLong len)
{
	(void)opaque;
	(void)stream;
	(void)data;
	(void)len;
	return 0;
}

static ZPOS64_T source_tell(voidpf opaque, voidpf stream)
{
	(void)opaque;
	return ((struct source *)stream)->at;
}

static long source_seek(voidpf opaque, voidpf stream, ZPOS64_T offset, int origin)
{
	(void)opaque;
	struct source *s = stream;
	uint64_t base = origin == ZLIB_FILEFUNC_SEEK_CUR ? s->at : origin == ZLIB_FILEFUNC_SEEK_END ? s->size : 0;
	if (offset > s->size || base + offset > s->size) /* no archive has anything behind its end */
		return -1;
	s->at = base + offset;
	return 0;
}

static int source_close(voidpf opaque, voidpf stream)
{
	(void)opaque;
	(void)stream;
	return 0;
}

static int source_error(voidpf opaque, voidpf stream)
{
	(void)opaque;
	const struct source *s = stream;
	return s->errnum || s->short_read;
}

/* --- the extraction -------------------------------------------------------------------------------------------- */

struct job {
	unzFile zip;
	struct source source;
	int root; /* borrowed */
	const struct unzip_limits *limits;
	struct crex_error *err;
	char *raw;	     /* RAW_NAME_MAX + 1 */
	char *chunk;	     /* CHUNK */
	uint64_t written;    /* of all entries */
	int dir;	     /* the directory opened last, -1: none */
	struct buf dir_name; /* its name */
	bool has_links;
};

struct entry {
	struct buf name; /* decoded, normalised, no slash at either end; empty: the root itself */
	mode_t mode;	 /* 0: none given */
	bool is_dir, is_link;
	uint64_t size;
};

static int fail(struct job *job, const char *what)
{
	if (job->source.errnum)
		return crex_error_set_errno(job->err, job->source.errnum, NULL);
	return crex_error_set(job->err, CREX_E_VALUE, "%s", what);
}

static int fail_entry(struct job *job, const char *what, const char *name, const char *more)
{
	if (job->source.errnum)
		return crex_error_set_errno(job->err, job->source.errnum, NULL);
	return crex_error_set(job->err, CREX_E_VALUE, "%s '%s'%s", what, name, more);
}

/* The name as the archive means it, in UTF-8. */
static int decode_name(struct job *job, const unz_file_info64 *info, struct buf *out)
{
	struct crex_str raw = {job->raw, info->size_filename}, encoding = CREX_STR("cp437"), utf8 = CREX_STR("utf-8");
	if (memchr(raw.ptr, '\0', raw.len))
		return fail_entry(job, "zip entry has a NUL byte in its name:", job->raw, "");
	struct crex_str errors = {NULL, 0};
	if (text_decode(raw, info->flag & FLAG_UTF8 ? utf8 : encoding, errors, out, job->err) < 0) {
		if (job->err->code == CREX_E_LIMIT)
			return fail(job, "zip entry has too long a name");
		return -1;
	}
	return 0;
}

/* Brings entry->name from "a//./b/" to "a/b", in place. */
static int normalise_name(struct job *job, struct buf *name)
{
	size_t out = 0, depth = 0;
	if (name->len == 0)
		return fail(job, "zip entry without a name");
	if (name->data[0] == '/')
		return fail_entry(job, "zip entry", name->data, " has an absolute path");
	for (const char *p = name->data; *p;) {
		size_t len = strcspn(p, "/");
		const char *next = p + len + (p[len] == '/');
		if (len == 2 && memcmp(p, "..", 2) == 0)
			return fail_entry(job, "zip entry", name->data, " would leave the target directory");
		if (len > 0 && !(len == 1 && *p == '.')) {
			if (++depth > UNZIP_MAX_DEPTH)
				return fail(job, "zip entry lies too many directories deep");
			if (out > 0)
				name->data[out++] = '/';
			memmove(name->data + out, p, len);
			out += len;
		}
		p = next;
	}
	name->len = out;
	name->data[out] = '\0';
	return 0;
}

/* Reads the directory's record of the current entry and refuses what can't be extracted. */
static int read_entry(struct job *job, struct entry *entry)
{
	unz_file_info64 info;
	if (unzGetCurrentFileInfo64(job->zip, &info, job->raw, RAW_NAME_MAX + 1, NULL, 0, NULL, 0) != UNZ_OK)
		return fail(job, "Bad magic number for central directory");
	if (decode_name(job, &info, &entry->name) < 0)
		return -1;
	const char *data = entry->name.data;
	entry->is_dir = entry->name.len > 0 && data[entry->name.len - 1] == '/';
	if (normalise_name(job, &entry->name) < 0)
		return -1;
	entry->size = info.uncompressed_size;
	mode_t mode = info.version >> 8 == HOST_UNIX ? (mode_t)(info.external_fa >> 16) : 0;
	entry->mode = mode & 0777;
	entry->is_link = S_ISLNK(mode);
	job->has_links |= entry->is_link;
	if (info.flag & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION))
		return fail_entry(job, "File", data, " is encrypted, password required for extraction");
	if (info.flag & FLAG_PATCH)
		return fail_entry(job, "compressed patched data is not supported: zip entry", data, "");
	if (info.compression_method != METHOD_STORED && info.compression_method != METHOD_DEFLATED)
		return fail_entry(job, "That compression method is not supported: zip entry", data, "");
	return 0;
}

static int keep_dir(struct job *job, int fd, const char *name, size_t len)
{
	if (job->dir >= 0)
		close(job->dir);
	job->dir = fd;
	buf_clear(&job->dir_name);
	return buf_append(&job->dir_name, name, len) < 0 ? crex_error_set_errno(job->err, ENOMEM, NULL) : 0;
}

/* Makes the directory name (len bytes of it) with all above it; job->dir is it then. mode counts for the last one. */
static int enter_dir(struct job *job, const char *name, size_t len, mode_t mode)
{
	if (job->dir >= 0 && job->dir_name.len == len && memcmp(job->dir_name.data, name, len) == 0 && !mode)
		return 0;
	int fd = openat(job->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t at = 0; fd >= 0 && at < len;) {
		char part[UNZIP_MAX_NAME + 1];
		size_t n = strcspn(name + at, "/");
		bool last = at + n >= len;
		memcpy(part, name + at, n);
		part[n] = '\0';
		int r = mkdirat(fd, part, last && mode ? mode | 0700 : 0777);
		bool made = r == 0;
		int next = made || errno == EEXIST ? openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
						   : -1;
		int errnum = errno;
		struct stat st;
		/* a directory that came into being for its files gets its own mode when its entry follows; the umask
		 * is what mkdir has left out */
		if (next >= 0 && !made && last && mode && fstat(next, &st) == 0)
			fchmod(next, (mode & (st.st_mode | ~0077u)) | 0700);
		close(fd);
		fd = next;
		errno = errnum;
		at += n + 1;
	}
	if (fd < 0)
		return crex_error_set_errno(job->err, errno, name);
	return keep_dir(job, fd, name, len);
}

static int create_file(struct job *job, const char *name, const char *base, mode_t mode)
{
	for (int i = 0; i < 2; i++) {
		int fd = openat(job->dir, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				mode ? mode | 0600 : 0666);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST || unlinkat(job->dir, base, 0) < 0)
			break;
	}
	return crex_error_set_errno(job->err, errno, name);
}

static int write_content(struct job *job, const struct entry *entry, int fd)
{
	for (uint64_t size = 0;;) {
		int n = unzReadCurrentFile(job->zip, job->chunk, CHUNK);
		if (n < 0)
			return fail_entry(job, "corrupt compressed data in zip entry", entry->name.data, "");
		if (n == 0 && size != entry->size)
			return fail_entry(job, "zip entry", entry->name.data, " is shorter than its size says");
		if (n == 0)
			return 0;
		size += (uint64_t)n;
		job->written += (uint64_t)n;
		if (job->limits->max_bytes && job->written > job->limits->max_bytes)
			return crex_error_set(job->err, CREX_E_LIMIT,
					      "archive expands to more than the limit of %llu bytes",
					      (unsigned long long)job->limits->max_bytes);
		int r = fs_write_all(fd, job->chunk, (size_t)n);
		if (r < 0)
			return crex_error_set_errno(job->err, -r, entry->name.data);
	}
}

static int extract_file(struct job *job, const struct entry *entry)
{
	const char *name = entry->name.data, *slash = strrchr(name, '/');
	if (enter_dir(job, name, slash ? (size_t)(slash - name) : 0, 0) < 0)
		return -1;
	cleanup_fd int fd = create_file(job, name, slash ? slash + 1 : name, entry->mode);
	if (fd < 0)
		return -1;
	int r = unzOpenCurrentFile(job->zip);
	if (r != UNZ_OK)
		return r == UNZ_INTERNALERROR
			       ? crex_error_set_errno(job->err, ENOMEM, NULL)
			       : fail_entry(job, "Bad magic number for file header: zip entry", name, "");
	r = write_content(job, entry, fd);
	if (unzCloseCurrentFile(job->zip) == UNZ_CRCERROR && r == 0)
		return fail_entry(job, "Bad CRC-32 for file", name, "");
	return r;
}

static int extract_entry(struct job *job)
{
	struct entry entry = {0};
	buf_init(&entry.name, UNZIP_MAX_NAME);
	int r = read_entry(job, &entry);
	if (r == 0 && entry.is_dir)
		r = entry.name.len ? enter_dir(job, entry.name.data, entry.name.len, entry.mode) : 0;
	else if (r == 0)
		r = entry.name.len ? extract_file(job, &entry) : fail(job, "zip entry without a name");
	buf_deinit(&entry.name);
	return r;
}

/* What an earlier entry of the same name has made a link of already is let be. */
static int replace_by_link(struct job *job, const char *name)
{
	const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
	size_t depth = 0;
	for (const char *p = name; *p; p++)
		depth += *p == '/';
	if (enter_dir(job, name, slash ? (size_t)(slash - name) : 0, 0) < 0)
		return -1;
	char text[PATH_MAX + 1];
	cleanup_fd int fd = openat(job->dir, base, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
	if (n <= 0 || n >= PATH_MAX || memchr(text, '\0', (size_t)n))
		return 0;
	text[n] = '\0';
	if (!link_stays_inside(depth, text))
		return 0;
	return unlinkat(job->dir, base, 0) < 0 || symlinkat(text, job->dir, base) < 0
		       ? crex_error_set_errno(job->err, errno, name)
		       : 0;
}

static int link_entry(struct job *job)
{
	struct entry entry = {0};
	buf_init(&entry.name, UNZIP_MAX_NAME);
	int r = read_entry(job, &entry);
	if (r == 0 && entry.is_link && !entry.is_dir)
		r = replace_by_link(job, entry.name.data);
	buf_deinit(&entry.name);
	return r;
}

static int each_entry(struct job *job, int (*act)(struct job *job))
{
	unz_global_info64 info;
	if (unzGetGlobalInfo64(job->zip, &info) != UNZ_OK)
		return fail(job, "File is not a zip file");
	if (job->limits->max_entries && info.number_entry > job->limits->max_entries)
		return crex_error_set(job->err, CREX_E_LIMIT, "archive has more than the limit of %llu entries",
				      (unsigned long long)job->limits->max_entries);
	if (info.number_entry == 0)
		return 0;
	int r = unzGoToFirstFile(job->zip);
	for (uint64_t i = 1; r == UNZ_OK; i++) {
		if (act(job) < 0)
			return -1;
		r = unzGoToNextFile(job->zip);
		/* minizip takes a count of 65535 for "see zip64", and sees the end as a broken record then */
		if (r != UNZ_OK && i >= info.number_entry && !job->source.errnum)
			return 0;
		if (r == UNZ_OK && job->limits->max_entries && i >= job->limits->max_entries)
			return crex_error_set(job->err, CREX_E_LIMIT, "archive has more than the limit of %llu entries",
					      (unsigned long long)job->limits->max_entries);
	}
	return fail(job, "Bad magic number for central directory");
}

/* minizip takes a directory at offset 0, which an archive without entries has, for none. */
static bool is_empty_archive(const struct source *s)
{
	static const char none[20] = {'P', 'K', 5, 6};
	char end[22];
	return s->size >= sizeof end && pread(s->fd, end, sizeof end, 0) == (ssize_t)sizeof end &&
	       memcmp(end, none, sizeof none) == 0 &&
	       s->size == sizeof end + ((size_t)(unsigned char)end[21] << 8 | (unsigned char)end[20]);
}

int unzip_extract(int zip_fd, int dir_fd, const struct unzip_limits *limits, struct crex_error *err)
{
	struct stat st;
	if (fstat(zip_fd, &st) < 0)
		return crex_error_set_errno(err, errno, NULL);
	struct job job = {.root = dir_fd,
			  .limits = limits,
			  .err = err,
			  .dir = -1,
			  .source = {.fd = zip_fd, .size = (uint64_t)st.st_size}};
	if (is_empty_archive(&job.source))
		return 0;
	cleanup_free char *raw = malloc(RAW_NAME_MAX + 1), *chunk = malloc(CHUNK);
	if (!raw || !chunk)
		return crex_error_set_errno(err, ENOMEM, NULL);
	job.raw = raw;
	job.chunk = chunk;
	buf_init(&job.dir_name, UNZIP_MAX_NAME);
	zlib_filefunc64_def funcs = {source_open, source_read,	source_write, source_tell,
				     source_seek, source_close, source_error, &job.source};
	job.zip = unzOpen2_64("", &funcs);
	int r = job.zip ? each_entry(&job, extract_entry) : fail(&job, "File is not a zip file");
	if (r == 0 && job.has_links)
		r = each_entry(&job, link_entry);
	if (job.zip)
		unzClose(job.zip);
	if (job.dir >= 0)
		close(job.dir);
	buf_deinit(&job.dir_name);
	return r;
}

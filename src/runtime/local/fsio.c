/* runtime/local/fsio.c: paths as Python sees them, and file calls that survive EINTR, short writes and full pipes.
 *
 * Upstream hands every path through pathlib, so its normalisation is part of the contract (a trailing slash never
 * matters, an empty path is the current directory), and so is the way in which its mkdir(parents=True) fails.
 *
 * Parents that a failed write has made are taken away again: a request that failed leaves nothing. For that,
 * fs_make_parents tells which part of the path is its own work. */
#include "runtime/local/fsio.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { WAIT_SLICE_MS = 100, WAIT_SLICES = 50, COPY_CHUNK = 64 * 1024, READ_CHUNK = 64 * 1024 };

/* --- text ------------------------------------------------------------------------------------------------------ */

/* The code point of the 3-byte form at p, if it is a surrogate (WTF-8), else 0. */
static unsigned surrogate_at(const unsigned char *p, size_t left)
{
	if (left < 3 || p[0] != 0xed || p[1] < 0xa0 || (p[2] & 0xc0) != 0x80)
		return 0;
	return 0xd000u | (unsigned)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
}

static int encode_error(const unsigned char *s, size_t len, size_t at, size_t characters, struct crex_error *err)
{
	size_t run = 1;
	while (surrogate_at(s + at + 3 * run, len - at - 3 * run))
		run++;
	if (run > 1)
		return crex_error_set(
			err, CREX_E_UNICODE,
			"'utf-8' codec can't encode characters in position %zu-%zu: surrogates not allowed", characters,
			characters + run - 1);
	return crex_error_set(err, CREX_E_UNICODE,
			      "'utf-8' codec can't encode character '\\u%04x' in position %zu: surrogates not allowed",
			      surrogate_at(s + at, len - at), characters);
}

int fs_check_encodable(struct crex_str text, struct crex_error *err)
{
	const unsigned char *s = (const unsigned char *)text.ptr;
	size_t characters = 0, counted = 0;
	for (size_t i = 0; i < text.len; i++) {
		const unsigned char *next = memchr(s + i, 0xed, text.len - i);
		if (!next)
			return 0;
		i = (size_t)(next - s);
		if (!surrogate_at(next, text.len - i))
			continue;
		for (; counted < i; counted++)
			characters += (s[counted] & 0xc0) != 0x80;
		return encode_error(s, text.len, i, characters, err);
	}
	return 0;
}

/* os.fsencode, in place: U+DC80..U+DCFF stand for the bytes 80..FF; other surrogates have no encoding. */
static int fs_encode(char *s, size_t *len, struct crex_error *err)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t out = 0, characters = 0;
	for (size_t i = 0; i < *len;) {
		unsigned cp = surrogate_at(u + i, *len - i);
		if (cp && (cp < 0xdc80 || cp > 0xdcff))
			return encode_error(u, *len, i, characters, err);
		characters += (u[i] & 0xc0) != 0x80;
		s[out++] = cp ? (char)(cp & 0xff) : s[i];
		i += cp ? 3 : 1;
	}
	*len = out;
	s[out] = '\0';
	return 0;
}

char *fs_path_dup(struct crex_str path, struct crex_error *err)
{
	if (path.len && memchr(path.ptr, '\0', path.len)) {
		crex_error_set(err, CREX_E_VALUE, "embedded null byte");
		return NULL;
	}
	cleanup_free char *in = malloc(path.len + 1);
	cleanup_free char *out = malloc(path.len + 2);
	if (!in || !out) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	size_t len = path.len, n = 0;
	if (len)
		memcpy(in, path.ptr, len);
	in[len] = '\0';
	if (fs_encode(in, &len, err) < 0)
		return NULL;
	size_t root = strspn(in, "/");
	root = root == 2 ? 2 : root > 0; /* POSIX leaves the meaning of exactly two slashes open: pathlib keeps them */
	memset(out, '/', root);
	n = root;
	for (const char *p = in + strspn(in, "/"); *p; p += strspn(p, "/")) {
		size_t part = strcspn(p, "/");
		if (part != 1 || *p != '.') {
			if (n > root)
				out[n++] = '/';
			memcpy(out + n, p, part);
			n += part;
		}
		p += part;
	}
	if (n == 0)
		out[n++] = '.';
	out[n] = '\0';
	return steal_ptr(out);
}

/* --- bytes ----------------------------------------------------------------------------------------------------- */

int fs_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	int slices = WAIT_SLICES;
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && slices-- > 0) {
			struct pollfd pfd = {.fd = fd, .events = POLLOUT};
			poll(&pfd, 1, WAIT_SLICE_MS);
			continue;
		}
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int fs_read_all(int fd, struct buf *out)
{
	for (;;) {
		size_t room = out->cap - out->len;
		if (!out->data || room == 0) {
			size_t left = out->max - out->len;
			int r = buf_reserve(out, left < READ_CHUNK ? left : READ_CHUNK);
			if (r < 0)
				return r;
			room = out->cap - out->len;
		}
		char probe;
		ssize_t n = room ? read(fd, out->data + out->len, room) : read(fd, &probe, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (!room)
			return -EFBIG;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
}

int fs_copy(int in, int out)
{
	cleanup_free char *chunk = malloc(COPY_CHUNK);
	if (!chunk)
		return -ENOMEM;
	for (off_t at = 0;;) {
		ssize_t n = pread(in, chunk, COPY_CHUNK, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		int r = fs_write_all(out, chunk, (size_t)n);
		if (r < 0)
			return r;
		at += n;
	}
}

/* --- names and directories ------------------------------------------------------------------------------------- */

char *fs_temp_name(const char *dir)
{
	uint64_t random = 0;
	if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
		random = (uint64_t)(uintptr_t)&random ^ (uint64_t)getpid() << 32; /* early boot: O_EXCL finds clashes */
	char *name = NULL;
	const char *slash = dir && *dir && dir[strlen(dir) - 1] != '/' ? "/" : "";
	int n = asprintf(&name, "%s%s.crex-%016llx.tmp", dir ? dir : "", slash, (unsigned long long)random);
	return n < 0 ? NULL : name;
}

/* Length of path's parent; 0 when path has no directory part. */
static size_t parent_len(const char *path, size_t len)
{
	while (len > 0 && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	return len;
}

char *fs_existing_parent(const char *path, struct crex_error *err)
{
	cleanup_free char *dir = strdup(path);
	if (!dir) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	size_t parent = parent_len(path, strlen(path));
	for (size_t len = parent; len > 0; len = parent_len(dir, len)) {
		struct stat st;
		dir[len] = '\0';
		int errnum = stat(dir, &st) == 0 ? 0 : errno;
		if (errnum == 0 && S_ISDIR(st.st_mode))
			return steal_ptr(dir);
		if (errnum == ENOENT || errnum == ENOTDIR)
			continue;
		memcpy(dir, path, parent); /* what Python's mkdir was called with */
		dir[parent] = '\0';
		crex_error_set_errno(err, errnum ? errnum : len == parent ? EEXIST : ENOTDIR, dir);
		return NULL;
	}
	return strdup(".");
}

int fs_make_parents(const char *path, size_t *ret_made, struct crex_error *err)
{
	*ret_made = 0;
	cleanup_free char *dir = strdup(path);
	if (!dir)
		return crex_error_set_errno(err, ENOMEM, NULL);
	size_t end = parent_len(path, strlen(path)), len = end;
	for (; len > 0; len = parent_len(dir, len)) {
		struct stat st;
		dir[len] = '\0';
		if (stat(dir, &st) == 0 || len == parent_len(dir, len))
			break;
	}
	while (len < end) {
		dir[len] = path[len];
		len += strspn(path + len, "/");
		len += strcspn(path + len, "/");
		dir[len] = '\0';
		struct stat st;
		if (mkdir(dir, 0777) == 0) {
			if (!*ret_made)
				*ret_made = len;
		} else if (errno != EEXIST || stat(dir, &st) < 0 || !S_ISDIR(st.st_mode)) {
			int errnum = errno == ENOENT ? EEXIST : errno;
			fs_unmake_parents(path, *ret_made);
			*ret_made = 0;
			return crex_error_set_errno(err, errnum, dir);
		}
	}
	return 0;
}

void fs_unmake_parents(const char *path, size_t made)
{
	cleanup_free char *dir = made ? strdup(path) : NULL;
	if (!dir)
		return;
	for (size_t len = parent_len(path, strlen(path)); len >= made; len = parent_len(dir, len)) {
		dir[len] = '\0';
		if (rmdir(dir) < 0)
			return;
	}
}

int fs_remove_tree(int dirfd, const char *name)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fs_remove_tree(fd, e->d_name);
	}
	closedir(d);
	if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

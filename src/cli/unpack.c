/* cli/unpack.c: unpacking what a stranger has packed.
 *
 * The sandbox is where untrusted code runs, so its archive is an attack until shown otherwise: absolute names, "..", a
 * link that a later entry goes through. libarchive refuses these when it is told to; it does so for names below the
 * working directory, hence the change of it. Owners, set-id bits and devices aren't taken over. */
#include "cli/unpack.h"

#include "base/cleanup.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

struct context {
	struct unpack *u;
	struct crex_error *err;
};

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct context *c = arg;
	const char *data = NULL;
	size_t len = 0;
	if (c->u->read(c->u->arg, &data, &len, c->err) < 0) {
		archive_set_error(a, EIO, "%s", "cut off");
		return ARCHIVE_FATAL;
	}
	*ret = data;
	return (la_ssize_t)len;
}

static int fail(struct context *c, struct archive *a, const char *name)
{
	if (c->err->code != CREX_OK)
		return -1; /* the reader's own */
	const char *text = archive_error_string(a);
	return crex_error_set(c->err, CREX_E_OS, "%s%s%s", name ? name : "", name ? ": " : "",
			      text ? text : "unreadable");
}

static bool is_wanted(struct archive_entry *entry)
{
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
	case AE_IFDIR:
	case AE_IFLNK: return true;
	default: return archive_entry_hardlink(entry) != NULL;
	}
}

static int copy_data(struct context *c, struct archive *in, struct archive *out, const char *name)
{
	const void *data;
	size_t len;
	la_int64_t offset;
	int r;
	while ((r = archive_read_data_block(in, &data, &len, &offset)) == ARCHIVE_OK)
		if (archive_write_data_block(out, data, len, offset) < ARCHIVE_OK)
			return fail(c, out, name);
	return r == ARCHIVE_EOF ? 0 : fail(c, in, name);
}

static int unpack_all(struct context *c, struct archive *in, struct archive *out)
{
	struct archive_entry *entry;
	if (archive_read_open(in, c, NULL, on_read, NULL) != ARCHIVE_OK)
		return fail(c, in, NULL);
	for (;;) {
		int r = archive_read_next_header(in, &entry);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r < ARCHIVE_WARN)
			return fail(c, in, NULL);
		const char *name = archive_entry_pathname(entry);
		if (!is_wanted(entry)) {
			c->u->skipped++;
			continue;
		}
		/* nobody's set-id program; and a directory of ours must stay ours to write in */
		archive_entry_set_perm(entry, archive_entry_perm(entry) & 0777);
		if (archive_write_header(out, entry) < ARCHIVE_OK)
			return fail(c, out, name);
		if (archive_entry_size(entry) > 0 && copy_data(c, in, out, name) < 0)
			return -1;
		if (archive_write_finish_entry(out) < ARCHIVE_OK)
			return fail(c, out, name);
	}
}

int unpack_tar(struct unpack *u, const char *directory, struct crex_error *err)
{
	struct context c = {u, err};
	cleanup_fd int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (back < 0 || chdir(directory) < 0)
		return crex_error_set_errno(err, errno, directory);
	struct archive *in = archive_read_new(), *out = archive_write_disk_new();
	int r = -1;
	if (!in || !out) {
		crex_error_set_errno(err, ENOMEM, NULL);
	} else {
		archive_read_support_format_tar(in);
		archive_write_disk_set_options(out, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
							    ARCHIVE_EXTRACT_SECURE_NODOTDOT |
							    ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
		r = unpack_all(&c, in, out);
		if (archive_write_close(out) < ARCHIVE_OK && r == 0)
			r = fail(&c, out, NULL);
	}
	archive_read_free(in);
	archive_write_free(out);
	if (fchdir(back) < 0 && r == 0)
		r = crex_error_set_errno(err, errno, "the working directory");
	return r;
}

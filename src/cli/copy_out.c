/* cli/copy_out.c: a download. A script in the sandbox says in one line what there is, and its bytes follow: a file's
 * own, or a directory as tar.
 *
 * What arrives gets its name when it is whole: it is written beside and renamed. Only into a directory that is there
 * already the parts go one by one. */
#include "cli/copy.h"

#include "base/cleanup.h"
#include "cli/joined.h"
#include "cli/source.h"
#include "cli/unpack.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* $1 is the path. The line: "d KIBIBYTES", "f BYTES MODE", "- why not". */
static const char script[] =
	"if [ -d \"$1\" ]; then\n"
	"	command -v tar >/dev/null 2>&1 || { echo '- the sandbox has no tar, which directories need'; exit; }\n"
	"	set -- \"$1\" $(du -sk -- \"$1\" 2>/dev/null)\n"
	"	echo \"d ${2:-0}\"\n"
	"	exec tar -cf - -C \"$1\" .\n"
	"elif [ -f \"$1\" ]; then\n"
	"	set -- \"$1\" $(stat -L -c '%s %a' -- \"$1\" 2>/dev/null)\n"
	"	if ! [ -r \"$1\" ]; then echo '- permission denied'; exit; fi\n"
	"	echo \"f ${2:-0} ${3:-644}\"\n"
	"	exec cat -- \"$1\"\n"
	"elif [ -e \"$1\" ]; then echo '- neither a file nor a directory'\n"
	"else echo '- no such file or directory in the sandbox'\n"
	"fi";

struct download {
	struct cli *cli;
	struct source source;
	const char *name; /* for the progress */
	unsigned long long done, total;
};

static int read_piece(void *arg, const char **ret, size_t *ret_len, struct crex_error *err)
{
	struct download *d = arg;
	int r = source_read(&d->source, ret, ret_len, err);
	if (r == 0)
		d->done += *ret_len;
	show_progress(d->cli, d->name, d->done, d->done > d->total ? 0 : d->total, true);
	return r;
}

/* Whether the script ended well, once everything is read. */
static int check_end(struct download *d, struct crex_error *err)
{
	const struct source *s = &d->source;
	if (s->exit_code == 0)
		return 0;
	return crex_error_set(err, CREX_E_OS, "the sandbox could not read all of it (exit code %d)%s%s", s->exit_code,
			      s->errors.len > 0 ? "\n" : "", s->errors.data ? s->errors.data : "");
}

static int write_pieces(struct download *d, int fd, const char *path, struct crex_error *err)
{
	for (;;) {
		const char *data;
		size_t len;
		if (read_piece(d, &data, &len, err) < 0)
			return -1;
		if (len == 0)
			return check_end(d, err);
		if (write_all(fd, data, len) < 0)
			return crex_error_set_errno(err, errno, path);
	}
}

static int receive_file(struct download *d, const char *to, unsigned mode, struct crex_error *err)
{
	struct stat st;
	cleanup_free char *beside = NULL;
	if (strcmp(to, "-") == 0)
		return write_pieces(d, STDOUT_FILENO, "standard output", err);
	if (stat(to, &st) == 0 && !S_ISREG(st.st_mode)) { /* /dev/null, a named pipe */
		cleanup_fd int fd = open(to, O_WRONLY | O_CLOEXEC);
		return fd < 0 ? crex_error_set_errno(err, errno, to) : write_pieces(d, fd, to, err);
	}
	if (asprintf(&beside, "%s.crex-XXXXXX", to) < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	cleanup_fd int fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return crex_error_set_errno(err, errno, to);
	mode_t mask = umask(0);
	umask(mask);
	int r = write_pieces(d, fd, to, err);
	if (r == 0 && (fchmod(fd, (mode_t)mode & 0777 & ~mask) < 0 || rename(beside, to) < 0))
		r = crex_error_set_errno(err, errno, to);
	if (r < 0)
		unlink(beside);
	return r;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static int receive_directory(struct download *d, const char *to, struct crex_error *err)
{
	struct unpack unpack = {.read = read_piece, .arg = d};
	struct stat st;
	cleanup_free char *beside = NULL;
	bool exists = stat(to, &st) == 0;
	if (exists && !S_ISDIR(st.st_mode))
		return crex_error_set_errno(err, ENOTDIR, to);
	if (!exists && asprintf(&beside, "%s.crex-XXXXXX", to) < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (beside && !mkdtemp(beside))
		return crex_error_set_errno(err, errno, to);
	int r = unpack_tar(&unpack, beside ? beside : to, err);
	const char *rest;
	for (size_t len = 1; r == 0 && len > 0;) /* what follows the archive's end, and the script's exit code */
		r = read_piece(d, &rest, &len, err);
	if (r == 0)
		r = check_end(d, err);
	mode_t mask = umask(0);
	umask(mask);
	if (r == 0 && beside && (chmod(beside, 0777 & ~mask) < 0 || rename(beside, to) < 0))
		r = crex_error_set_errno(err, errno, to);
	if (r < 0 && beside)
		nftw(beside, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (r == 0 && unpack.skipped > 0)
		note(d->cli, "crex: %zu of it left out: neither files, directories nor links", unpack.skipped);
	return r;
}

static int receive(struct download *d, const char *from, const char *to, struct crex_error *err)
{
	char line[256];
	unsigned long long size = 0;
	unsigned mode = 0644;
	cleanup_free char *inside = NULL;
	char name[256];
	struct stat st;
	if (source_read_line(&d->source, line, sizeof line, err) < 0)
		return -1;
	if (line[0] == '-')
		return crex_error_set(err, CREX_E_FILE_NOT_FOUND, "%s", line[1] ? line + 2 : "");
	bool directory = line[0] == 'd';
	if ((directory ? sscanf(line, "d %llu", &size) : sscanf(line, "f %llu %o", &size, &mode)) < 1)
		return crex_error_set(err, CREX_E_PROTOCOL, "the sandbox's answer is not understood");
	d->total = directory ? size * 1024 : size;
	last_part(from, name, sizeof name);
	bool into = strcmp(to, "-") != 0 && *name && stat(to, &st) == 0 && S_ISDIR(st.st_mode);
	size_t len = strlen(to);
	if (!into && !directory && len > 0 && to[len - 1] == '/')
		return crex_error_set_errno(err, ENOENT, to);
	if (directory && strcmp(to, "-") == 0)
		return crex_error_set(err, CREX_E_VALUE, "a directory can't go to standard output: say where to");
	while (len > 1 && to[len - 1] == '/')
		len--;
	if (asprintf(&inside, "%.*s%s%s", (int)len, to, into ? "/" : "", into ? name : "") < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	return directory ? receive_directory(d, inside, err) : receive_file(d, inside, mode, err);
}

int copy_out(struct cli *cli, struct crex_runtime *rt, const char *from, const char *to)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	char name[256];
	struct download d = {.cli = cli};
	const struct crex_call call = {CREX_NO_TIMEOUT, cli->cancel};
	if (!*from)
		from = ".";
	d.name = *last_part(from, name, sizeof name) ? name : from;
	int r = source_open(&d.source, rt, script, from, &call, &err);
	if (r == 0)
		r = receive(&d, from, to, &err);
	source_close(&d.source);
	clear_line(cli);
	return r < 0 ? fail_error(cli, from, &err) : 0;
}

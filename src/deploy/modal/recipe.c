/* deploy/modal/recipe.c: a registry's name or a Dockerfile as what Modal is sent.
 *
 * Modal is sent the Dockerfile's lines as they are; it parses them itself. We only look for what they copy, since these
 * files must go along: so lines are joined as Docker joins them (backslash at the end, comments in between left out),
 * here-documents are stepped over, and of COPY and ADD the sources are read. They go inline, a name and bytes each:
 * without their modes, which is why COPY --chmod is worth writing. That is meant for small contexts, and bounded; a
 * directory with a .dockerignore is refused, because what should be left out would be sent. */
#include "deploy/modal/recipe.h"

#include "base/cleanup.h"
#include "runtime/walk.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { DOCKERFILE_MAX = 1 << 20, FILES_MAX = 1000, BYTES_MAX = 16 << 20, WORDS_MAX = 256 };

/* ---- growing ---- */

static int add_line(struct recipe *r, const char *line, size_t len, struct crex_error *err)
{
	char **more = realloc(r->lines, (r->n_lines + 1) * sizeof *more);
	if (more)
		r->lines = more;
	if (!more || !(more[r->n_lines] = strndup(line, len)))
		return crex_error_set_errno(err, ENOMEM, NULL);
	r->n_lines++;
	return 0;
}

static bool has_file(const struct recipe *r, const char *name)
{
	for (size_t i = 0; i < r->n_files; i++)
		if (strcmp(r->files[i].name, name) == 0)
			return true;
	return false;
}

static int read_all(int fd, const char *path, size_t max, struct buf *ret, struct crex_error *err)
{
	buf_init(ret, max);
	for (;;) {
		int r = buf_reserve(ret, 65536);
		if (r == -ENOSPC)
			r = buf_reserve(ret, max - ret->len ? max - ret->len : 1);
		if (r == -ENOSPC)
			return crex_error_set(err, CREX_E_CONFIG, "%s: more than %zu bytes are too many to send along",
					      path, max);
		if (r < 0)
			return crex_error_set_errno(err, -r, NULL);
		size_t room = ret->cap - ret->len - 1 < max - ret->len ? ret->cap - ret->len - 1 : max - ret->len;
		ssize_t n = read(fd, ret->data + ret->len, room);
		if (n < 0 && errno != EINTR)
			return crex_error_set_errno(err, errno, path);
		if (n == 0)
			return 0;
		ret->len += n > 0 ? (size_t)n : 0;
		ret->data[ret->len] = '\0';
	}
}

/* fd is taken over. */
static int add_file(struct recipe *r, int fd, const char *name, const char *path, struct crex_error *err)
{
	cleanup_fd int mine = fd;
	struct recipe_file file = {.name = NULL};
	if (has_file(r, name))
		return 0;
	if (r->n_files == FILES_MAX)
		return crex_error_set(err, CREX_E_CONFIG, "%s: more than %d files are too many to send along", path,
				      FILES_MAX);
	struct recipe_file *more = realloc(r->files, (r->n_files + 1) * sizeof *more);
	if (more)
		r->files = more;
	if (!more || !(file.name = strdup(name)))
		return crex_error_set_errno(err, ENOMEM, NULL);
	int result = read_all(mine, path, BYTES_MAX - r->bytes, &file.data, err);
	r->bytes += file.data.len;
	r->files[r->n_files++] = file; /* freed with the rest after a failure */
	return result;
}

/* ---- what a COPY names ---- */

static int add_tree(struct recipe *r, int fd, const char *name, const char *path, struct crex_error *err)
{
	struct walk_entry e;
	int more;
	if (faccessat(fd, ".dockerignore", F_OK, 0) == 0) {
		close(fd);
		return crex_error_set(err, CREX_E_CONFIG,
				      "%s: it has a .dockerignore, which is not read here: copy its files by name",
				      path);
	}
	struct walk *w = walk_new(fd, err);
	if (!w)
		return -1;
	while ((more = walk_next(w, &e, err)) > 0) {
		char below[PATH_MAX];
		bool dot = strcmp(name, ".") == 0;
		if (snprintf(below, sizeof below, "%s%s%s", dot ? "" : name, dot ? "" : "/", e.path) >=
		    (int)sizeof below) {
			more = crex_error_set_errno(err, ENAMETOOLONG, path);
			break;
		}
		if (S_ISDIR(e.st.st_mode))
			continue;
		int file = S_ISREG(e.st.st_mode) ? openat(e.dir_fd, e.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
		if (!S_ISREG(e.st.st_mode))
			more = crex_error_set(err, CREX_E_CONFIG, "%s: links can't be sent along", below);
		else if (file < 0)
			more = crex_error_set_errno(err, errno, below);
		else
			more = add_file(r, file, below, below, err);
		if (more < 0)
			break;
	}
	walk_free(w);
	return more;
}

static int add_path(struct recipe *r, const char *directory, const char *path, struct crex_error *err)
{
	struct stat st;
	const char *name = path + strlen(directory) + 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		crex_error_set_errno(err, errno, path);
		cleanup_close_fd(&fd);
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		return add_tree(r, fd, *name ? name : ".", path, err);
	if (S_ISREG(st.st_mode))
		return add_file(r, fd, name, path, err);
	close(fd);
	return crex_error_set(err, CREX_E_CONFIG, "%s is neither a file nor a directory", path);
}

static bool goes_up(const char *path)
{
	for (size_t len; *path; path += len + (path[len] == '/')) {
		len = strcspn(path, "/");
		if (len == 2 && memcmp(path, "..", 2) == 0)
			return true;
	}
	return false;
}

static int add_source(struct recipe *r, const char *directory, const char *source, struct crex_error *err)
{
	char pattern[PATH_MAX];
	glob_t found;
	if (strncmp(source, "http://", 7) == 0 || strncmp(source, "https://", 8) == 0 ||
	    strncmp(source, "git@", 4) == 0)
		return 0; /* Modal fetches it */
	if (strchr(source, '$'))
		return crex_error_set(err, CREX_E_CONFIG,
				      "the Dockerfile copies '%s': variables in names of files are not read here",
				      source);
	if (goes_up(source))
		return crex_error_set(err, CREX_E_CONFIG, "the Dockerfile copies '%s' from outside of its directory",
				      source);
	while (*source == '/' || (source[0] == '.' && source[1] == '/'))
		source++;
	size_t len = strlen(source);
	while (len && source[len - 1] == '/')
		len--;
	bool all = len == 0 || (len == 1 && *source == '.');
	if (all) {
		snprintf(pattern, sizeof pattern, "%s/", directory);
		return add_path(r, directory, pattern, err);
	}
	/* the source is a pattern, the directory is not */
	size_t n = 0;
	for (const char *c = directory; *c && n < sizeof pattern - 3; c++) {
		if (strchr("*?[\\", *c))
			pattern[n++] = '\\';
		pattern[n++] = *c;
	}
	if (snprintf(pattern + n, sizeof pattern - n, "/%.*s", (int)len, source) >= (int)(sizeof pattern - n))
		return crex_error_set_errno(err, ENAMETOOLONG, directory);
	int result = glob(pattern, GLOB_NOSORT, NULL, &found);
	if (result == GLOB_NOMATCH)
		return crex_error_set(err, CREX_E_CONFIG, "the Dockerfile copies '%s', which is not in %s", source,
				      directory);
	if (result != 0)
		return crex_error_set(err, CREX_E_CONFIG, "%s can't be read", directory);
	for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
		result = add_path(r, directory, found.gl_pathv[i], err);
	globfree(&found);
	return result;
}

/* All but the last word are sources. */
static int add_sources(struct recipe *r, const char *directory, char *text, struct crex_error *err)
{
	const char *words[WORDS_MAX];
	size_t n = 0;
	int result = 0;
	json_t *list = *text == '[' ? json_loads(text, 0, NULL) : NULL;
	for (size_t i = 0; i < json_array_size(list) && n < WORDS_MAX; i++)
		words[n++] = json_string_value(json_array_get(list, i));
	char *state = NULL;
	for (char *word = list ? NULL : strtok_r(text, " \t", &state); word && n < WORDS_MAX;
	     word = strtok_r(NULL, " \t", &state))
		words[n++] = word;
	if (n < 2 || n == WORDS_MAX)
		result = crex_error_set(err, CREX_E_CONFIG, "the Dockerfile has a COPY that can't be read");
	for (size_t i = 0; result == 0 && i + 1 < n; i++)
		result = words[i] ? add_source(r, directory, words[i], err)
				  : crex_error_set(err, CREX_E_CONFIG, "the Dockerfile has a COPY that can't be read");
	json_decref(list);
	return result;
}

/* ---- instructions ---- */

struct dockerfile {
	struct recipe *r;
	const char *directory;
	struct buf instruction; /* joined so far */
	char here[64];		/* the word that ends the here-document under way; "": none */
	bool strip_tabs;
	bool begun, has_from;
};

static char *skip_blanks(char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/* "<<EOF", "<<-'EOF'". One a line is looked for, the first. */
static void find_here_document(struct dockerfile *d, const char *text)
{
	const char *at = strstr(text, "<<");
	size_t n = 0;
	if (!at)
		return;
	at += 2;
	d->strip_tabs = *at == '-';
	at += d->strip_tabs;
	at += *at == '"' || *at == '\'';
	while ((isalnum((unsigned char)at[n]) || at[n] == '_') && n < sizeof d->here - 1)
		n++;
	if (n && !isdigit((unsigned char)*at)) {
		memcpy(d->here, at, n);
		d->here[n] = '\0';
	}
}

static int on_instruction(struct dockerfile *d, char *text, struct crex_error *err)
{
	size_t len = strcspn(text, " \t");
	char *rest = text[len] ? text + len + 1 : text + len;
	bool copies = len == 4 && strncasecmp(text, "COPY", 4) == 0,
	     adds = len == 3 && strncasecmp(text, "ADD", 3) == 0;
	bool runs = len == 3 && strncasecmp(text, "RUN", 3) == 0;
	bool is_from = len == 4 && strncasecmp(text, "FROM", 4) == 0;
	if (!d->begun && !is_from && !(len == 3 && strncasecmp(text, "ARG", 3) == 0))
		return crex_error_set(err, CREX_E_CONFIG, "the Dockerfile must begin with FROM");
	d->begun = true;
	d->has_from |= is_from;
	if (copies || adds || runs)
		find_here_document(d, rest);
	if ((!copies && !adds) || *d->here)
		return 0;
	for (rest = skip_blanks(rest); strncmp(rest, "--", 2) == 0; rest = skip_blanks(rest)) {
		if (strncmp(rest, "--from=", 7) == 0)
			return 0; /* from another stage or image */
		rest += strcspn(rest, " \t");
	}
	return add_sources(d->r, d->directory, rest, err);
}

static bool ends_here_document(const struct dockerfile *d, const char *line, size_t len)
{
	for (; d->strip_tabs && len && *line == '\t'; line++)
		len--;
	return len == strlen(d->here) && memcmp(line, d->here, len) == 0;
}

static int on_line(struct dockerfile *d, const char *line, size_t len, struct crex_error *err)
{
	size_t blanks = 0;
	while (blanks < len && (line[blanks] == ' ' || line[blanks] == '\t'))
		blanks++;
	bool in_document = *d->here, skipped = blanks == len || line[blanks] == '#';
	if (!in_document && skipped && d->r->n_lines == 0)
		return 0; /* Modal wants FROM as the first line */
	if (add_line(d->r, line, len, err) < 0)
		return -1;
	if (in_document) {
		if (ends_here_document(d, line, len))
			d->here[0] = '\0';
		return 0;
	}
	if (skipped)
		return 0;
	size_t end = len;
	while (end && (line[end - 1] == ' ' || line[end - 1] == '\t'))
		end--;
	bool goes_on = end && line[end - 1] == '\\';
	size_t from = d->instruction.len ? 0 : blanks;
	size_t until = goes_on ? end - 1 : end;
	if (buf_append(&d->instruction, line + from, until > from ? until - from : 0) < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (goes_on)
		return 0;
	int r = d->instruction.len ? on_instruction(d, d->instruction.data, err) : 0;
	buf_clear(&d->instruction);
	return r;
}

int recipe_parse(const char *text, size_t len, const char *directory, struct recipe *ret, struct crex_error *err)
{
	struct recipe r = {.is_dockerfile = true};
	struct dockerfile d = {.r = &r, .directory = directory};
	int result = memchr(text, '\0', len) ? crex_error_set(err, CREX_E_CONFIG, "this is no Dockerfile") : 0;
	buf_init(&d.instruction, DOCKERFILE_MAX);
	for (const char *end = text + len; result == 0 && text < end;) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t n = newline ? (size_t)(newline - text) : (size_t)(end - text);
		result = on_line(&d, text, n && text[n - 1] == '\r' ? n - 1 : n, err);
		text += n + (newline != NULL);
	}
	if (result == 0 && d.instruction.len)
		result = on_instruction(&d, d.instruction.data, err);
	if (result == 0 && !d.has_from)
		result = crex_error_set(err, CREX_E_CONFIG, "the Dockerfile has no FROM");
	buf_deinit(&d.instruction);
	if (result < 0)
		recipe_deinit(&r);
	else
		*ret = r;
	return result;
}

/* ---- both kinds ---- */

/* ACCOUNT.dkr.ecr.REGION.amazonaws.com/name */
static void look_for_ecr(struct recipe *r, const char *image)
{
	static const char middle[] = ".dkr.ecr.";
	const char *at = strstr(image, middle), *slash = strchr(image, '/');
	if (!at || !slash || at > slash)
		return;
	at += sizeof middle - 1;
	size_t len = strcspn(at, ".");
	r->is_ecr = strncmp(at + len, ".amazonaws.com", 14) == 0 && len < sizeof r->region;
	if (r->is_ecr)
		memcpy(r->region, at, len);
}

static int load_name(const char *image, struct recipe *ret, struct crex_error *err)
{
	struct recipe r = {.lines = NULL};
	char line[1024];
	if (*image == '/' || *image == '.')
		return crex_error_set(err, CREX_E_CONFIG, "there is no such file");
	for (const char *c = image; *c; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7F || *c == '$' || *image == '-')
			return crex_error_set(err, CREX_E_CONFIG, "this is not the name of an image");
	int len = snprintf(line, sizeof line, "FROM %s", image);
	if (len >= (int)sizeof line)
		return crex_error_set(err, CREX_E_CONFIG, "this is not the name of an image");
	look_for_ecr(&r, image);
	int result = add_line(&r, line, (size_t)len, err);
	if (result < 0)
		recipe_deinit(&r);
	else
		*ret = r;
	return result;
}

static int load_dockerfile(const char *path, struct recipe *ret, struct crex_error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	cleanup_buf struct buf text = {.data = NULL};
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX];
	if (fd < 0)
		return crex_error_set_errno(err, errno, path);
	snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	if (read_all(fd, path, DOCKERFILE_MAX, &text, err) < 0)
		return -1;
	return recipe_parse(text.data ? text.data : "", text.len, directory, ret, err);
}

int recipe_load(const char *image, struct recipe *ret, struct crex_error *err)
{
	struct stat st;
	bool is_file = stat(image, &st) == 0 && S_ISREG(st.st_mode);
	int r = is_file ? load_dockerfile(image, ret, err) : load_name(image, ret, err);
	return r < 0 ? crex_error_prefix(err, "modal: field 'image' (%s): ", image) : 0;
}

void recipe_deinit(struct recipe *r)
{
	for (size_t i = 0; i < r->n_lines; i++)
		free(r->lines[i]);
	for (size_t i = 0; i < r->n_files; i++) {
		free(r->files[i].name);
		buf_deinit(&r->files[i].data);
	}
	free(r->lines);
	free(r->files);
	*r = (struct recipe){0};
}

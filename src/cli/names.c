/* cli/names.c: the files behind `crex ps`.
 *
 * A record is written to a file beside and renamed, so that a reader sees the old one or the new one. Starting and
 * stopping a name is guarded by flock on NAME.lock: the kernel lets it go when its holder dies, however it dies, which
 * also tells a sandbox that is starting from one whose `crex up` was killed on the way. The lock's file is removed by
 * the one who has it; so after getting a lock one looks whether the file is still the one at that path.
 *
 * Until the state of a started sandbox is there, the record has a plan: by it the sandbox of an `up` that was killed is
 * found, or found not to have come to be. */
#include "cli/names.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/nearest.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { RECORD_MAX = 1 << 20 };

int names_check(const char *name, struct crex_error *err)
{
	size_t len = strlen(name);
	bool ok = len > 0 && len <= NAME_LENGTH_MAX && isalnum((unsigned char)name[0]);
	for (size_t i = 0; i < len && ok; i++)
		ok = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
	return ok ? 0
		  : crex_error_set(err, CREX_E_VALUE,
				   "'%s' is no name: up to %d letters, digits and . _ - , a letter or digit first",
				   name, NAME_LENGTH_MAX);
}

void sandbox_deinit(struct sandbox *s)
{
	free(s->name);
	free(s->damage);
	json_decref(s->record);
	*s = (struct sandbox){0};
}

/* ---- where they are ---- */

static int make_directory(const char *path, bool ours, struct crex_error *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return crex_error_set_errno(err, errno, path);
	struct stat st;
	if (ours && (stat(path, &st) < 0 || ((st.st_mode & 077) && chmod(path, 0700) < 0)))
		return crex_error_set_errno(err, errno, path);
	return 0;
}

static int make_parents(char *path, struct crex_error *err)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int r = make_directory(path, false, err);
		*slash = '/';
		if (r < 0)
			return -1;
	}
	return 0;
}

char *state_path(const char *name, struct crex_error *err)
{
	const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	cleanup_free char *dir = NULL;
	char *path = NULL;
	int n;
	if (base && base[0] == '/')
		n = asprintf(&dir, "%s/crex", base);
	else if (home && home[0] == '/')
		n = asprintf(&dir, "%s/.local/state/crex", home);
	else
		return crex_error_set(err, CREX_E_CONFIG,
				      "there is no place for crex's state: set HOME or XDG_STATE_HOME"),
		       NULL;
	if (n < 0) {
		dir = NULL;
		crex_error_set_errno(err, ENOMEM, NULL);
	} else if (make_parents(dir, err) == 0 && make_directory(dir, true, err) == 0 &&
		   asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		crex_error_set_errno(err, ENOMEM, NULL);
	}
	return path;
}

static char *directory(struct crex_error *err)
{
	char *path = state_path("sandboxes", err);
	if (path && make_directory(path, true, err) < 0) {
		free(path);
		return NULL;
	}
	return path;
}

static char *file_of(const char *name, const char *suffix, struct crex_error *err)
{
	char *path = NULL;
	cleanup_free char *dir = directory(err);
	if (dir && asprintf(&path, "%s/%s%s", dir, name, suffix) < 0) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	return path;
}

/* ---- the lock ---- */

int names_lock(const char *name, struct crex_error *err)
{
	cleanup_free char *path = file_of(name, ".lock", err);
	while (path) {
		cleanup_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		struct stat mine, there;
		if (fd < 0)
			return crex_error_set_errno(err, errno, path);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return crex_error_set(err, CREX_E_SWEREX,
					      "another crex is starting or stopping '%s' right now: try again later",
					      name);
		if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino)
			return steal_fd(&fd);
	}
	return -1;
}

void names_unlock(const char *name, int fd)
{
	if (fd < 0)
		return;
	cleanup_free char *path = file_of(name, ".lock", NULL);
	if (path)
		unlink(path);
	close(fd);
}

static bool is_locked(const char *name)
{
	cleanup_free char *path = file_of(name, ".lock", NULL);
	cleanup_fd int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

/* ---- the records ---- */

static int hint_unknown(const char *name, struct crex_error *err)
{
	struct sandbox *list = NULL;
	size_t n = 0;
	if (names_list(&list, &n, err) < 0)
		return -1;
	struct nearest nearest = nearest_begin(name);
	for (size_t i = 0; i < n; i++)
		nearest_offer(&nearest, list[i].name);
	if (nearest.found)
		crex_error_set(err, CREX_E_FILE_NOT_FOUND, "no sandbox '%s': did you mean '%s'?", name, nearest.found);
	else
		crex_error_set(err, CREX_E_FILE_NOT_FOUND, "no sandbox '%s': `crex ps` lists them, `crex up` makes one",
			       name);
	names_list_free(list, n);
	return -1;
}

static int load(const char *name, const char *path, struct sandbox *ret, struct crex_error *err)
{
	json_error_t problem;
	struct sandbox s = {.is_starting = is_locked(name)};
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return crex_error_set_errno(err, errno, path);
	s.record = json_loadfd(fd, JSON_REJECT_DUPLICATES, &problem);
	if (!json_is_object(s.record)) {
		json_decref(s.record);
		return crex_error_set(err, CREX_E_VALUE, "%s is damaged (%s): `crex down -f %s` forgets it", path,
				      problem.text, name);
	}
	s.name = strdup(name);
	if (!s.name) {
		sandbox_deinit(&s);
		return crex_error_set_errno(err, ENOMEM, NULL);
	}
	*ret = s;
	return 0;
}

int names_load(const char *name, struct sandbox *ret, struct crex_error *err)
{
	if (names_check(name, err) < 0)
		return -1;
	cleanup_free char *path = file_of(name, ".json", err);
	if (!path)
		return -1;
	struct stat st;
	if (lstat(path, &st) < 0)
		return hint_unknown(name, err);
	return load(name, path, ret, err);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sandbox *)a)->name, ((const struct sandbox *)b)->name);
}

void names_list_free(struct sandbox *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sandbox_deinit(&list[i]);
	free(list);
}

static int add(struct sandbox **list, size_t *n, const char *dir, const char *file, struct crex_error *err)
{
	size_t len = strlen(file);
	cleanup_free char *name = len > 5 && strcmp(file + len - 5, ".json") == 0 ? strndup(file, len - 5) : NULL;
	cleanup_free char *path = NULL;
	if (!name || names_check(name, NULL) < 0)
		return 0;
	struct sandbox *more = realloc(*list, (*n + 1) * sizeof *more);
	if (!more || asprintf(&path, "%s/%s", dir, file) < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	*list = more;
	cleanup_error struct crex_error failure = CREX_ERROR_INIT;
	if (load(name, path, &more[*n], &failure) == 0) {
		++*n;
		return 0;
	}
	if (failure.code == CREX_E_FILE_NOT_FOUND) /* gone meanwhile */
		return 0;
	/* one that can't be read hides no other */
	more[*n] = (struct sandbox){.name = strdup(name), .damage = strdup(failure.message ? failure.message : "")};
	if (!more[*n].name || !more[*n].damage) {
		sandbox_deinit(&more[*n]);
		return crex_error_set_errno(err, ENOMEM, NULL);
	}
	++*n;
	return 0;
}

int names_list(struct sandbox **ret, size_t *ret_n, struct crex_error *err)
{
	cleanup_free char *dir = directory(err);
	DIR *open_dir = dir ? opendir(dir) : NULL;
	if (!open_dir)
		return dir ? crex_error_set_errno(err, errno, dir) : -1;
	struct sandbox *list = NULL;
	size_t n = 0;
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(open_dir));)
		r = add(&list, &n, dir, e->d_name, err);
	closedir(open_dir);
	if (r < 0) {
		names_list_free(list, n);
		return -1;
	}
	if (n > 0)
		qsort(list, n, sizeof *list, by_name);
	*ret = list;
	*ret_n = n;
	return 0;
}

int names_save(const char *name, const json_t *record, struct crex_error *err)
{
	cleanup_free char *path = file_of(name, ".json", err);
	cleanup_free char *beside = path ? file_of(name, ".new", err) : NULL;
	cleanup_free char *text = json_dumps(record, JSON_INDENT(1));
	if (!path || !beside)
		return -1;
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (strlen(text) > RECORD_MAX)
		return crex_error_set(err, CREX_E_LIMIT, "the record of '%s' is too large", name);
	unlink(beside); /* of one that was killed: we have the lock */
	cleanup_fd int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t len = strlen(text), at = 0;
	while (fd >= 0 && at < len) {
		ssize_t n = write(fd, text + at, len - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		at += (size_t)n;
	}
	if (fd < 0 || at < len || fsync(fd) < 0 || rename(beside, path) < 0) {
		crex_error_set_errno(err, errno, path);
		unlink(beside);
		return -1;
	}
	return 0;
}

int names_remove(const char *name, struct crex_error *err)
{
	cleanup_free char *path = file_of(name, ".json", err);
	if (path && unlink(path) < 0 && errno != ENOENT)
		return crex_error_set_errno(err, errno, path);
	return path ? 0 : -1;
}

/* ---- back to a deployment ---- */

static struct crex_deployment *resume(const json_t *state, struct crex_error *err)
{
	cleanup_free char *text = json_dumps(state, JSON_COMPACT);
	if (!text) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	return crex_deployment_resume(text, strlen(text), err);
}

struct crex_deployment *sandbox_resume(const struct sandbox *s, struct crex_error *err)
{
	const json_t *state = json_object_get(s->record, "state");
	if (!json_is_object(state)) {
		if (s->is_starting)
			crex_error_set(err, CREX_E_DEPLOYMENT_NOT_STARTED,
				       "'%s' is still starting: `crex ps` says when it runs", s->name);
		else
			crex_error_set(err, CREX_E_DEPLOYMENT_NOT_STARTED,
				       "the start of '%s' was cut off: `crex down %s` and `crex gc` clean up", s->name,
				       s->name);
		return NULL;
	}
	return resume(state, err);
}

int sandbox_stop(const struct sandbox *s, const struct crex_call *call, struct crex_error *err)
{
	const json_t *state = json_object_get(s->record, "state");
	if (!json_is_object(state))
		state = json_object_get(s->record, "plan");
	if (!json_is_object(state))
		return 0;
	struct crex_deployment *d = resume(state, err);
	int r = d ? crex_deployment_stop(d, call, err) : -1;
	crex_deployment_free(d);
	return r;
}

void sandbox_release(struct crex_deployment *d)
{
	struct crex_text state = CREX_TEXT_INIT;
	if (d && crex_deployment_detach(d, &state, NULL) == 0)
		crex_text_clear(&state);
	crex_deployment_free(d);
}

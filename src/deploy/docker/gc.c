/* deploy/docker/gc.c: what is left of programs that are gone, and whether an engine is there at all.
 *
 * Every container bears labels: crex=1, and crex.owner, the program that it belongs to. Both engines are looked at, as
 * far as they are installed. A container without an owner was made to outlive its program, or to be kept; only `all`
 * takes those. */
#include "deploy/docker/docker.h"

#include "base/cleanup.h"
#include "deploy/server_binary.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

static const char *const runtimes[] = {"docker", "podman"};
enum { N_RUNTIMES = sizeof runtimes / sizeof *runtimes, LIST_BYTES = 4 << 20, BATCH = 64, BUSY_TRIES = 10 };
#define BUSY_PAUSE 0.2

struct sweep {
	const char *runtime;
	bool all;
	void (*report)(void *arg, const char *what);
	void *report_arg;
	const struct deadline *deadline;
	size_t removed;
};

static int ask(const struct words *command, const struct deadline *deadline, struct process *ret,
	       struct crex_error *err)
{
	const struct process_spec spec = {.argv = command->items, .max_output = LIST_BYTES};
	if (command->failed)
		return crex_error_set_errno(err, ENOMEM, NULL);
	return process_run(ret, &spec, deadline, err);
}

/* One line of `inspect`: id, name, owner, with tabs between. */
static int sweep_one(struct sweep *s, char *line, struct crex_error *err)
{
	char *rest = line, *id = strsep(&rest, "\t"), *name = strsep(&rest, "\t"), *owner = strsep(&rest, "\t");
	if (!owner || (!s->all && !owner_is_gone(owner)))
		return 0;
	name += *name == '/';
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, s->runtime);
	words_add(&command, "rm");
	words_add(&command, "-fv");
	if (engine_is_podman(s->runtime)) {
		words_add(&command, "-t");
		words_add(&command, "0");
	}
	words_add(&command, id);
	/* a container that was killed in its very beginning keeps its mounts for a moment */
	for (int tries = 1;; tries++) {
		if (ask(&command, s->deadline, &p, err) < 0)
			return -1;
		if (process_exit_code(&p) == 0 || tries == BUSY_TRIES || !engine_said(&p, "resource busy"))
			break;
		process_deinit(&p);
		if (deadline_pause(s->deadline, BUSY_PAUSE, err) < 0)
			return -1;
	}
	if (process_exit_code(&p) != 0 && !engine_said(&p, "no such container") &&
	    !engine_said(&p, "no container with") && !engine_said(&p, "already in progress"))
		return engine_failure(s->runtime, &p, CREX_E_SWEREX, "rm", err);
	cleanup_free char *what = NULL;
	if (asprintf(&what, "%s container %s", s->runtime, name) < 0)
		what = NULL;
	if (s->report && what)
		s->report(s->report_arg, what);
	s->removed++;
	return 0;
}

/* ids: the next line is at *ids; at most BATCH of them, which is a command line of 4 KiB. */
static int sweep_batch(struct sweep *s, char **ids, struct crex_error *err)
{
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, s->runtime);
	words_add(&command, "container");
	words_add(&command, "inspect");
	words_add(&command, "--format");
	words_add(&command, "{{.Id}}\t{{.Name}}\t{{index .Config.Labels \"crex.owner\"}}");
	size_t n = 0;
	for (char *id; n < BATCH && (id = strsep(ids, "\n"));) {
		if (!*id)
			continue;
		words_add(&command, id);
		n++;
	}
	if (n == 0)
		return 0;
	/* a failure is that of one that has gone in the meantime; the others are told all the same */
	if (ask(&command, s->deadline, &p, err) < 0)
		return -1;
	for (char *rest = p.output[PROCESS_STDOUT].data, *line; (line = strsep(&rest, "\n"));)
		if (sweep_one(s, line, err) < 0)
			return -1;
	return 0;
}

static int sweep(struct sweep *s, struct crex_error *err)
{
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, s->runtime);
	words_add(&command, "ps");
	words_add(&command, "-aq");
	words_add(&command, "--no-trunc");
	words_add(&command, "--filter=label=crex=1");
	if (ask(&command, s->deadline, &p, err) < 0)
		return -1;
	if (process_exit_code(&p) != 0)
		return engine_failure(s->runtime, &p, CREX_E_SWEREX, "ps", err);
	for (char *ids = p.output[PROCESS_STDOUT].data; ids;)
		if (sweep_batch(s, &ids, err) < 0)
			return -1;
	return 0;
}

/* Whether trying the next engine makes sense after this failure: one that isn't there has left nothing. */
static bool is_about_the_engine(const struct crex_error *err)
{
	return err->code == CREX_E_FILE_NOT_FOUND || err->code == CREX_E_CONNECTION || err->code == CREX_E_PERMISSION;
}

int docker_gc(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
	      size_t *ret_removed, struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	cleanup_error struct crex_error first = CREX_ERROR_INIT;
	bool reached = false;
	for (size_t i = 0; i < N_RUNTIMES; i++) {
		cleanup_error struct crex_error failure = CREX_ERROR_INIT;
		struct sweep s = {runtimes[i], all, report, report_arg, &deadline, 0};
		int r = sweep(&s, &failure);
		*ret_removed += s.removed;
		reached |= r == 0;
		if (r == 0)
			continue;
		if (!is_about_the_engine(&failure)) {
			crex_error_clear(err);
			crex_error_move(err, &failure);
			return -1;
		}
		if (first.code == CREX_OK || first.code == CREX_E_FILE_NOT_FOUND)
			crex_error_move(&first, &failure);
	}
	if (reached)
		return 0;
	crex_error_clear(err);
	crex_error_move(err, &first);
	return -1;
}

/* ---- doctor ---- */

static int version(const char *runtime, const struct deadline *deadline, struct buf *ret, struct crex_error *err)
{
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, runtime);
	words_add(&command, "version");
	words_add(&command, "--format");
	words_add(&command, engine_is_podman(runtime) ? "{{.Client.Version}} ({{.Client.OsArch}})"
						      : "{{.Server.Version}} ({{.Server.Os}}/{{.Server.Arch}})");
	if (engine_ask(&command, deadline, &p, err) < 0)
		return -1;
	const char *says = process_output(&p, PROCESS_STDOUT);
	buf_printf(ret, "%s%s %.*s", ret->len ? ", " : "", runtime, (int)strcspn(says, "\n"), says);
	return 0;
}

static int server(struct buf *ret, struct crex_error *err)
{
	struct utsname machine;
	const char *architecture = uname(&machine) == 0 ? server_binary_architecture(machine.machine) : NULL;
	if (!architecture)
		return crex_error_set(err, CREX_E_UNSUPPORTED, "there is no server for this machine's architecture");
	cleanup_free char *path = server_binary_find(NULL, architecture, err);
	if (path)
		buf_printf(ret, "; server %s", path);
	return path ? 0 : -1;
}

int docker_check(const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	cleanup_buf struct buf says;
	cleanup_buf struct buf problems;
	buf_init(&says, 16384);
	buf_init(&problems, 16384);
	enum crex_error_code code = CREX_OK;
	for (size_t i = 0; i < N_RUNTIMES; i++) {
		cleanup_error struct crex_error failure = CREX_ERROR_INIT;
		if (version(runtimes[i], &deadline, &says, &failure) == 0)
			continue;
		buf_printf(&problems, "%s%s", problems.len ? "; " : "", failure.message ? failure.message : "");
		if (code == CREX_OK || code == CREX_E_FILE_NOT_FOUND)
			code = failure.code;
	}
	if (!says.len)
		return crex_error_set(err, code, "%s", problems.data ? problems.data : "");
	if (server(&says, err) < 0)
		return -1;
	char *text = buf_steal(&says, &ret->len);
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	ret->data = text;
	return 0;
}

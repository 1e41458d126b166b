/* tests/contract/rig.c: opening a runtime of each kind, and the few verbs that cases are written in.
 *
 * Waiting is always for a condition with a deadline. The server of the remote kind is one process a case: whatever a
 * case does to it is over with it. */
#include "rig.h"

#include "base/cleanup.h"
#include <dirent.h>
#include <time.h>

enum { PATIENCE_SECONDS = 20 };

struct crex_runtime *contract_runtime(struct contract *c)
{
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_runtime *rt = NULL;
	if (c->kind == KIND_REMOTE)
		rt = rig_runtime(c->server.port);
	else if (c->kind == KIND_LOCAL)
		rt = crex_local_runtime_new(NULL, &err);
	else
		rt = crex_dummy_runtime_new(&err);
	if (!rt)
		fail_msg("no runtime: %s", err.message);
	return rt;
}

const char *contract_path(struct contract *c, const char *name)
{
	static _Thread_local char paths[16][200];
	static _Thread_local unsigned next;
	char *path = paths[next++ % 16];
	snprintf(path, sizeof paths[0], "%s/%s", c->home, name);
	return path;
}

void canned(struct contract *c, const char *output, size_t len, int exit_code)
{
	if (c->kind != KIND_DUMMY)
		return;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	cleanup_free char *copy = malloc(len + 1);
	memcpy(copy, output, len);
	obs.output = copy;
	obs.output_len = len;
	obs.has_exit_code = true;
	obs.exit_code = exit_code;
	OK(c, crex_dummy_runtime_push(c->rt, &obs, &c->err));
}

void canned_error(struct contract *c, enum crex_error_code code, const char *message, const char *const *extras)
{
	if (c->kind != KIND_DUMMY)
		return;
	struct crex_error reply = CREX_ERROR_INIT;
	crex_error_set(&reply, code, "%s", message);
	for (; extras && *extras; extras += 2)
		crex_error_add(&reply, extras[0], extras[1], strlen(extras[1]));
	OK(c, crex_dummy_runtime_push_error(c->rt, &reply, &c->err));
	crex_error_clear(&reply);
}

void create(struct contract *c, const char *session)
{
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	req.session = crex_str_of(session);
	req.startup_timeout = PATIENCE_SECONDS;
	OK(c, crex_runtime_create_session(c->rt, &req, NULL, NULL, &c->err));
}

struct crex_bash_action action_of(const char *command)
{
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	action.session = crex_str_of("s");
	action.command = crex_str_of(command);
	action.timeout = PATIENCE_SECONDS;
	action.check = CREX_CHECK_SILENT;
	return action;
}

int run_action(struct contract *c, const struct crex_bash_action *action)
{
	crex_observation_clear(&c->obs);
	c->obs = (struct crex_observation)CREX_OBSERVATION_INIT;
	return crex_runtime_run_in_session(c->rt, action, NULL, &c->obs, &c->err);
}

int run(struct contract *c, const char *session, const char *command, enum crex_check check)
{
	struct crex_bash_action action = action_of(command);
	action.session = crex_str_of(session);
	action.check = check;
	return run_action(c, &action);
}

void expect_run(struct contract *c, const char *command, const char *output, int exit_code)
{
	canned(c, output, strlen(output), exit_code);
	OK(c, run(c, "s", command, CREX_CHECK_SILENT));
	if (strcmp(c->obs.output, output) != 0 || c->obs.exit_code != exit_code || !c->obs.has_exit_code)
		fail_msg("%s\n  got \"%s\" and %d\n  want \"%s\" and %d", command, c->obs.output, c->obs.exit_code,
			 output, exit_code);
}

char *shell(struct contract *c, const char *script)
{
	struct crex_execute_request req = rig_shell(script);
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	req.check = true;
	OK(c, crex_runtime_execute(c->rt, &req, NULL, &res, &c->err));
	char *out = steal_ptr(res.out);
	crex_execute_result_clear(&res);
	return out;
}

void fails_with(const struct contract *c, int r, enum crex_error_code code, const char *file, int line)
{
	if (r == 0)
		fail_msg("%s:%d: succeeded, %s was expected", file, line, crex_error_name(code));
	if (r != -1 || c->err.code != code || !c->err.message)
		fail_msg("%s:%d: %s was expected, got %d with %s: %s", file, line, crex_error_name(code), r,
			 crex_error_name(c->err.code), c->err.message ? c->err.message : "(nothing)");
}

void succeeds(const struct contract *c, int r, const char *file, int line)
{
	if (r != 0)
		fail_msg("%s:%d: %s: %s", file, line, crex_error_name(c->err.code), c->err.message);
}

/* ---- the outside ---- */

const char *marked(const struct contract *c, const char *command)
{
	static _Thread_local char texts[16][500];
	static _Thread_local unsigned next;
	char *text = texts[next++ % 16], *end = text;
	for (const char *at; (at = strstr(command, "MARK")); command = at + 4)
		end += sprintf(end, "%.*s%s", (int)(at - command), command, c->mark);
	strcpy(end, command);
	return text;
}

size_t marked_processes(const struct contract *c)
{
	size_t n = 0;
	DIR *proc = opendir("/proc");
	assert_non_null(proc);
	for (struct dirent *e; (e = readdir(proc));) {
		char path[300], line[4096];
		snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
		FILE *f = *e->d_name >= '1' && *e->d_name <= '9' ? fopen(path, "re") : NULL;
		if (!f)
			continue;
		size_t len = fread(line, 1, sizeof line, f);
		n += len > 0 && memmem(line, len, c->mark, strlen(c->mark)) != NULL;
		fclose(f);
	}
	closedir(proc);
	return n;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

void wait_for_marked(const struct contract *c, size_t wanted)
{
	double end = rig_now() + PATIENCE_SECONDS;
	while (marked_processes(c) != wanted) {
		if (rig_now() > end)
			fail_msg("%zu processes, %zu were expected", marked_processes(c), wanted);
		nap();
	}
}

void wait_for_file(const char *path)
{
	double end = rig_now() + PATIENCE_SECONDS;
	while (access(path, F_OK) < 0) {
		if (rig_now() > end)
			fail_msg("%s did not come", path);
		nap();
	}
}

size_t open_fds(void)
{
	size_t n = 0;
	DIR *fds = opendir("/proc/self/fd");
	while (fds && readdir(fds))
		n++;
	closedir(fds);
	return n;
}

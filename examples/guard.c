/* guard: a runtime of one's own (crex/interface.h). It stands before another runtime, counts the commands that pass and
 * refuses those that contain a forbidden word; whoever is given it can't tell it from any other runtime.
 *   guard [CONFIG]       CONFIG as for hello */
#include <crex/crex.h>
#include <crex/interface.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the runtime ---- */

struct guard {
	struct crex_runtime base;   /* first, so that the one is the other */
	struct crex_runtime *inner; /* borrowed */
	const char *forbidden;
	atomic_int passed; /* slots run on several threads at a time */
};

static struct crex_runtime *inner(struct crex_runtime *rt)
{
	return ((struct guard *)rt)->inner;
}

static int judge(struct guard *g, struct crex_str command, struct crex_error *err)
{
	size_t len = strlen(g->forbidden);
	for (size_t i = 0; i + len <= command.len; i++)
		if (memcmp(command.ptr + i, g->forbidden, len) == 0)
			return crex_error_set(err, CREX_E_PERMISSION, "a command with '%s' is not allowed here",
					      g->forbidden);
	atomic_fetch_add(&g->passed, 1);
	return 0;
}

static int run_in_session(struct crex_runtime *rt, const struct crex_bash_action *action, const struct crex_call *call,
			  struct crex_observation *ret, struct crex_error *err)
{
	return judge((struct guard *)rt, action->command, err) < 0
		       ? -1
		       : crex_runtime_run_in_session(inner(rt), action, call, ret, err);
}

static int execute(struct crex_runtime *rt, const struct crex_execute_request *req, const struct crex_call *call,
		   struct crex_execute_result *ret, struct crex_error *err)
{
	for (size_t i = 0; i < req->command.count; i++)
		if (judge((struct guard *)rt, req->command.items[i], err) < 0)
			return -1;
	return crex_runtime_execute(inner(rt), req, call, ret, err);
}

static int is_alive(struct crex_runtime *rt, const struct crex_call *call, struct crex_is_alive *ret,
		    struct crex_error *err)
{
	return crex_runtime_is_alive(inner(rt), call, ret, err);
}

static int create_session(struct crex_runtime *rt, const struct crex_create_session_request *req,
			  const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	return crex_runtime_create_session(inner(rt), req, call, ret, err);
}

static int interrupt(struct crex_runtime *rt, const struct crex_bash_interrupt_action *action,
		     const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	return crex_runtime_interrupt(inner(rt), action, call, ret, err);
}

static int close_session(struct crex_runtime *rt, struct crex_str session, const struct crex_call *call,
			 struct crex_error *err)
{
	return crex_runtime_close_session(inner(rt), session, call, err);
}

static int read_file(struct crex_runtime *rt, const struct crex_read_file_request *req, const struct crex_call *call,
		     struct crex_text *ret, struct crex_error *err)
{
	return crex_runtime_read_file(inner(rt), req, call, ret, err);
}

static int write_file(struct crex_runtime *rt, const struct crex_write_file_request *req, const struct crex_call *call,
		      struct crex_error *err)
{
	return crex_runtime_write_file(inner(rt), req, call, err);
}

static int upload(struct crex_runtime *rt, const struct crex_upload_request *req, const struct crex_call *call,
		  struct crex_error *err)
{
	return crex_runtime_upload(inner(rt), req, call, err);
}

static int close_sessions(struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err)
{
	return crex_runtime_close(inner(rt), call, err);
}

static void free_guard(struct crex_runtime *rt)
{
	free(rt);
}

static const struct crex_runtime_ops guard_ops = {
	.type = "guard",
	.is_alive = is_alive,
	.create_session = create_session,
	.run_in_session = run_in_session,
	.interrupt = interrupt,
	.close_session = close_session,
	.execute = execute,
	.read_file = read_file,
	.write_file = write_file,
	.upload = upload,
	.close = close_sessions,
	.open_stream = NULL, /* no streams, so nothing gets past the guard: UNSUPPORTED */
	.free = free_guard,
};

static struct crex_runtime *guard_new(struct crex_runtime *before, const char *forbidden, struct crex_error *err)
{
	struct guard *g = calloc(1, sizeof *g);
	if (!g) {
		crex_error_set(err, CREX_E_MEMORY, "no memory for a guard");
		return NULL;
	}
	g->base.ops = &guard_ops;
	g->inner = before;
	g->forbidden = forbidden;
	return &g->base;
}

/* ---- a program that is given one ---- */

static int use(struct crex_runtime *rt, struct crex_error *err)
{
	static const char *const commands[] = {"echo good morning", "sudo reboot", "echo good night"};
	struct crex_create_session_request session = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_error refused = CREX_ERROR_INIT;
	session.startup_timeout = 10;
	if (crex_runtime_create_session(rt, &session, NULL, NULL, err) < 0)
		return -1;
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		struct crex_bash_action action = CREX_BASH_ACTION_INIT;
		struct crex_observation seen = CREX_OBSERVATION_INIT;
		action.command = crex_str_of(commands[i]);
		if (crex_runtime_run_in_session(rt, &action, NULL, &seen, &refused) < 0)
			printf("%s\n", refused.message);
		else
			printf("%s", seen.output);
		crex_observation_clear(&seen);
	}
	crex_error_clear(&refused);
	return 0;
}

int main(int argc, char **argv)
{
	const char *config = argc > 1 ? argv[1] : "{\"type\": \"local\"}";
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_deployment *d = crex_deployment_from_json(config, strlen(config), &err);
	struct crex_runtime *guard = NULL;
	if (d && crex_deployment_start(d, NULL, &err) == 0)
		guard = guard_new(crex_deployment_runtime(d, &err), "sudo", &err);
	int r = guard ? use(guard, &err) : -1;
	if (guard)
		printf("%d commands passed\n", atomic_load(&((struct guard *)guard)->passed));
	if (r < 0)
		fprintf(stderr, "guard: %s\n", err.message);
	crex_runtime_free(guard); /* before what it stands in front of */
	crex_deployment_free(d);
	crex_error_clear(&err);
	return r < 0;
}

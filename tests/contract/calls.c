/* tests/contract/calls.c: the caller's patience, many callers, executions.
 *
 * How soon a call gives up is measured as the best of some tries: the machine may be busy, the library must not be. */
#include "rig.h"

#include "base/cleanup.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

enum { THREADS = 20, TRIES = 8 };
static const double SOON = 0.1;
/* for a request to begin where it is going; given up earlier it may never have left */
static const double LONG_ENOUGH = 0.5;

/* ---- every call of the interface, once ---- */

struct asking {
	struct contract *c;
	const char *path;    /* a file that is there */
	const char *command; /* for run_in_session and execute */
};

static int ask_is_alive(const struct asking *a, const struct crex_call *call)
{
	return crex_runtime_is_alive(a->c->rt, call, NULL, &a->c->err);
}

static int ask_create(const struct asking *a, const struct crex_call *call)
{
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	req.session = crex_str_of("another");
	return crex_runtime_create_session(a->c->rt, &req, call, NULL, &a->c->err);
}

static int ask_run(const struct asking *a, const struct crex_call *call)
{
	const struct crex_bash_action action = action_of(a->command);
	return crex_runtime_run_in_session(a->c->rt, &action, call, NULL, &a->c->err);
}

static int ask_interrupt(const struct asking *a, const struct crex_call *call)
{
	struct crex_bash_interrupt_action action = CREX_BASH_INTERRUPT_ACTION_INIT;
	action.session = crex_str_of("s");
	return crex_runtime_interrupt(a->c->rt, &action, call, NULL, &a->c->err);
}

static int ask_close_session(const struct asking *a, const struct crex_call *call)
{
	return crex_runtime_close_session(a->c->rt, crex_str_of("s"), call, &a->c->err);
}

static int ask_execute(const struct asking *a, const struct crex_call *call)
{
	struct crex_execute_request req = rig_shell(a->command);
	req.timeout = 2; /* the end of those that nobody waits for */
	return crex_runtime_execute(a->c->rt, &req, call, NULL, &a->c->err);
}

static int ask_read(const struct asking *a, const struct crex_call *call)
{
	const struct crex_read_file_request req = {crex_str_of(a->path), {NULL, 0}, {NULL, 0}};
	return crex_runtime_read_file(a->c->rt, &req, call, NULL, &a->c->err);
}

static int ask_write(const struct asking *a, const struct crex_call *call)
{
	const struct crex_write_file_request req = {crex_str_of(a->path), CREX_STR("written")};
	return crex_runtime_write_file(a->c->rt, &req, call, &a->c->err);
}

static int ask_upload(const struct asking *a, const struct crex_call *call)
{
	const struct crex_upload_request req = {crex_str_of("/etc/passwd"), crex_str_of(a->path), NULL, NULL};
	return crex_runtime_upload(a->c->rt, &req, call, &a->c->err);
}

static int ask_close(const struct asking *a, const struct crex_call *call)
{
	return crex_runtime_close(a->c->rt, call, &a->c->err);
}

static const struct {
	const char *name;
	int (*ask)(const struct asking *a, const struct crex_call *call);
} calls[] = {
	{"is_alive", ask_is_alive},   {"create_session", ask_create}, {"run_in_session", ask_run},
	{"interrupt", ask_interrupt}, {"execute", ask_execute},	      {"read_file", ask_read},
	{"write_file", ask_write},    {"upload", ask_upload},	      {"close_session", ask_close_session},
	{"close", ask_close},
};
enum { N_CALLS = sizeof calls / sizeof *calls };

static const char *make_file(struct contract *c)
{
	const char *path = contract_path(c, "file");
	const struct crex_write_file_request req = {crex_str_of(path), CREX_STR("as it was")};
	OK(c, crex_runtime_write_file(c->rt, &req, NULL, &c->err));
	return path;
}

static void file_is_as_it_was(struct contract *c, const char *path)
{
	const struct crex_read_file_request req = {crex_str_of(path), {NULL, 0}, {NULL, 0}};
	struct crex_text got = CREX_TEXT_INIT;
	OK(c, crex_runtime_read_file(c->rt, &req, NULL, &got, &c->err));
	assert_string_equal(got.data, "as it was");
	crex_text_clear(&got);
}

/* A call whose time is over, or that was called off before, begins nothing. */
static void test_over_before(struct contract *c)
{
	const struct asking a = {c, make_file(c), "echo x >/tmp/crex-contract-never"};
	struct crex_cancel *cancel = crex_cancel_new(&c->err);
	assert_non_null(cancel);
	assert_false(crex_cancel_is_triggered(cancel));
	crex_cancel_trigger(cancel);
	assert_true(crex_cancel_is_triggered(cancel));
	const struct crex_call over = {0, NULL}, off = {CREX_NO_TIMEOUT, cancel}, both = {0, cancel};
	create(c, "s");
	for (size_t i = 0; i < N_CALLS; i++) {
		FAILS(c, calls[i].ask(&a, &over), CREX_E_DEADLINE);
		FAILS(c, calls[i].ask(&a, &off), CREX_E_CANCELLED);
		FAILS(c, calls[i].ask(&a, &both), CREX_E_CANCELLED);
	}
	crex_cancel_free(cancel);
	file_is_as_it_was(c, a.path);
	assert_int_equal(access("/tmp/crex-contract-never", F_OK), -1);
	expect_run(c, "echo on", "on\n", 0);
}

static void server_signal(const struct contract *c, const char *name)
{
	free(rig_run("kill -%s %d $(pgrep -P %d)", name, c->server.pid, c->server.pid));
}

/* The server has stopped answering: every call gives up in time, and the server's later life goes on. */
static void test_deaf_server(struct contract *c)
{
	const struct asking a = {c, make_file(c), "true"};
	create(c, "s");
	server_signal(c, "STOP");
	for (size_t i = 0; i < N_CALLS; i++) {
		double best = 9;
		for (int try = 0; try < TRIES && best > SOON; try++) {
			const struct crex_call call = {0.05, NULL};
			double begin = rig_now();
			int r = calls[i].ask(&a, &call);
			best = rig_now() - begin - 0.05 < best ? rig_now() - begin - 0.05 : best;
			/* no answer is an answer to is_alive */
			if (i > 0 && (r != -1 || c->err.code != CREX_E_DEADLINE))
				fail_msg("%s: %d, %s", calls[i].name, r, c->err.message);
		}
		if (best > SOON)
			fail_msg("%s gave up %g s late", calls[i].name, best);
	}
	server_signal(c, "CONT");
	OK(c, crex_runtime_is_alive(c->rt, &(struct crex_call){20, NULL}, NULL, &c->err));
}

struct trigger {
	struct crex_cancel *cancel;
	double at;
};

static void *trigger_later(void *arg)
{
	struct trigger *t = arg;
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	t->at = rig_now();
	crex_cancel_trigger(t->cancel);
	return NULL;
}

/* How late the call was, given a deadline of 50 ms or a cancel after it. */
static double lateness(struct contract *c, int (*ask)(const struct asking *a, const struct crex_call *call),
		       const char *command, bool by_cancel)
{
	const struct asking a = {c, NULL, command};
	struct trigger t = {.cancel = by_cancel ? crex_cancel_new(NULL) : NULL};
	const struct crex_call call = {by_cancel ? CREX_NO_TIMEOUT : 0.05, t.cancel};
	pthread_t thread;
	if (by_cancel)
		assert_int_equal(pthread_create(&thread, NULL, trigger_later, &t), 0);
	else
		t.at = rig_now() + 0.05;
	FAILS(c, ask(&a, &call), by_cancel ? CREX_E_CANCELLED : CREX_E_DEADLINE);
	double end = rig_now();
	if (by_cancel)
		pthread_join(thread, NULL);
	crex_cancel_free(t.cancel);
	return end - t.at;
}

static void gives_up_soon(struct contract *c, int (*ask)(const struct asking *a, const struct crex_call *call),
			  const char *command)
{
	for (int by_cancel = 0; by_cancel < 2; by_cancel++) {
		double best = 9;
		for (int i = 0; i < TRIES && best > SOON; i++) {
			double late = lateness(c, ask, command, by_cancel);
			best = late < best ? late : best;
		}
		if (best > SOON)
			fail_msg("%s: given up %g s late", by_cancel ? "cancel" : "deadline", best);
	}
}

static void test_giving_up(struct contract *c)
{
	create(c, "s");
	gives_up_soon(c, ask_execute, marked(c, "sleep MARK"));
	assert_true(marked_processes(c) > 0);
	gives_up_soon(c, ask_run, marked(c, "sleep MARK; echo $$ >/dev/null"));
	assert_true(marked_processes(c) > 0);
	OK(c, crex_runtime_close(c->rt, NULL, &c->err));
	wait_for_marked(c, 0);
	/* a start that nobody waits for any more */
	free(rig_run("echo 'sleep %s' >%s/.bashrc", c->mark, c->home));
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	const struct crex_call call = {0.05, NULL};
	const struct crex_str file = crex_str_of(contract_path(c, ".bashrc"));
	req.session = crex_str_of("slow");
	req.startup_source = (struct crex_str_list){&file, 1};
	req.startup_timeout = 1;
	FAILS(c, crex_runtime_create_session(c->rt, &req, &call, NULL, &c->err), CREX_E_DEADLINE);
	wait_for_marked(c, 0);
}

/* Whoever gives up leaves the command running and the session usable. */
static void test_command_goes_on(struct contract *c)
{
	char command[500];
	const char *fifo = contract_path(c, "fifo"), *done = contract_path(c, "done");
	create(c, "s");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	snprintf(command, sizeof command, ">%s.on; read x <%s; echo $x >%s; echo late", fifo, fifo, done);
	const struct asking a = {c, NULL, command};
	const struct crex_call call = {LONG_ENOUGH, NULL};
	FAILS(c, ask_run(&a, &call), CREX_E_DEADLINE);
	wait_for_file(contract_path(c, "fifo.on"));
	int fd = open(fifo, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, "word\n", 5), 5);
	close(fd);
	snprintf(command, sizeof command, "cat %s", done);
	expect_run(c, command, "word\n", 0); /* and not "late": that was the other's answer */
}

/* Requests to one session run in their order; other sessions and executions don't wait. */
static void test_nobody_waits(struct contract *c)
{
	char command[500];
	const char *fifo = contract_path(c, "fifo"), *fifo2 = contract_path(c, "fifo2");
	assert_int_equal(mkfifo(fifo, 0600) + mkfifo(fifo2, 0600), 0);
	create(c, "s");
	create(c, "t");
	snprintf(command, sizeof command, ">%s.on; read x <%s; echo $x", fifo, fifo);
	const struct asking a = {c, NULL, command};
	const struct crex_call call = {LONG_ENOUGH, NULL};
	FAILS(c, ask_run(&a, &call), CREX_E_DEADLINE);
	wait_for_file(contract_path(c, "fifo.on"));
	snprintf(command, sizeof command, ">%s.on; read x <%s; echo $x", fifo2, fifo2);
	const struct crex_execute_request exec = rig_shell(command);
	FAILS(c, crex_runtime_execute(c->rt, &exec, &call, NULL, &c->err), CREX_E_DEADLINE);
	wait_for_file(contract_path(c, "fifo2.on"));
	free(shell(c, "true"));
	OK(c, run(c, "t", "echo meanwhile", CREX_CHECK_RAISE));
	assert_string_equal(c->obs.output, "meanwhile\n");
	snprintf(command, sizeof command, "echo word >%s; echo word >%s", fifo, fifo2);
	free(shell(c, command));
	expect_run(c, "echo on", "on\n", 0);
}

struct caller {
	pthread_t thread;
	struct contract *c;
	int number, failures;
	bool shared;
};

static void *call_much(void *arg)
{
	struct caller *me = arg;
	struct crex_runtime *rt = me->c->rt;
	bool dummy = me->c->kind == KIND_DUMMY;
	char name[32], path[200], command[200], want[32];
	snprintf(name, sizeof name, me->shared ? "s" : "s%d", me->number);
	snprintf(path, sizeof path, "%s/f%d", me->c->home, me->number);
	snprintf(command, sizeof command, "echo %d; echo %d >>%s/all", me->number, me->number, me->c->home);
	snprintf(want, sizeof want, "%d\n", me->number);
	struct crex_create_session_request create = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_bash_action action = action_of(command);
	create.session = action.session = crex_str_of(name);
	create.startup_timeout = 30;
	if (!me->shared)
		me->failures += crex_runtime_create_session(rt, &create, NULL, NULL, NULL) != 0;
	for (int i = 0; i < 10; i++) {
		struct crex_observation obs = CREX_OBSERVATION_INIT;
		struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
		struct crex_text text = CREX_TEXT_INIT;
		const struct crex_execute_request exec = rig_shell(command);
		const struct crex_write_file_request put = {crex_str_of(path), crex_str_of(want)};
		const struct crex_read_file_request get = {crex_str_of(path), {NULL, 0}, {NULL, 0}};
		me->failures += crex_runtime_run_in_session(rt, &action, NULL, &obs, NULL) != 0;
		me->failures += !dummy && strcmp(obs.output ? obs.output : "", want) != 0;
		me->failures += crex_runtime_execute(rt, &exec, NULL, &res, NULL) != 0;
		me->failures += !dummy && strcmp(res.out ? res.out : "", want) != 0;
		me->failures += crex_runtime_write_file(rt, &put, NULL, NULL) != 0;
		me->failures += crex_runtime_read_file(rt, &get, NULL, &text, NULL) != 0;
		me->failures += strcmp(text.data ? text.data : "", want) != 0;
		/* some give up at once, at all stages of a call */
		const struct crex_call hasty = {0.0001 * (i % 4), NULL};
		crex_runtime_run_in_session(rt, &action, &hasty, NULL, NULL);
		crex_runtime_execute(rt, &exec, &hasty, NULL, NULL);
		crex_runtime_write_file(rt, &put, &hasty, NULL);
		crex_observation_clear(&obs);
		crex_execute_result_clear(&res);
		crex_text_clear(&text);
	}
	if (!me->shared)
		me->failures += crex_runtime_close_session(rt, action.session, NULL, NULL) != 0;
	return NULL;
}

static void many_callers(struct contract *c, bool shared)
{
	struct caller callers[THREADS];
	size_t fds = open_fds();
	for (int i = 0; i < THREADS; i++) {
		callers[i] = (struct caller){.c = c, .number = i, .shared = shared};
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call_much, &callers[i]), 0);
	}
	int failures = 0;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(callers[i].thread, NULL);
		failures += callers[i].failures;
	}
	assert_int_equal(failures, 0);
	OK(c, crex_runtime_close(c->rt, NULL, &c->err));
	assert_true(open_fds() < fds + 200); /* a remote runtime keeps some connections */
}

static void test_twenty_threads(struct contract *c)
{
	many_callers(c, false);
}

static void test_twenty_threads_one_session(struct contract *c)
{
	create(c, "s");
	many_callers(c, true);
}

/* ---- executions ---- */

static int execute(struct contract *c, struct crex_execute_request req, struct crex_execute_result *ret)
{
	return crex_runtime_execute(c->rt, &req, NULL, ret, &c->err);
}

static void test_execute(struct contract *c)
{
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	OK(c, execute(c, rig_shell("printf 'a\\0b\\377'; echo e >&2; exit 3"), &res));
	assert_int_equal(res.exit_code, 3);
	assert_int_equal(res.out_len, 7);
	assert_memory_equal(res.out, "a\0b\\xff", 7);
	assert_string_equal(res.err, "e\n");
	crex_execute_result_clear(&res);
	OK(c, execute(c, rig_shell("kill -9 $$"), &res));
	assert_int_equal(res.exit_code, -9);
	crex_execute_result_clear(&res);
	struct crex_execute_request req = CREX_EXECUTE_REQUEST_INIT;
	const struct crex_str argv[] = {CREX_STR("sh"), CREX_STR("-c"), CREX_STR("echo $0 \"$1\" $V; pwd"),
					CREX_STR("zero"), CREX_STR("o n e")};
	const struct crex_str env[] = {CREX_STR("V=value")};
	req.command = (struct crex_str_list){argv, 5};
	req.command_is_list = req.has_env = true;
	req.env = (struct crex_str_list){env, 1};
	req.cwd = crex_str_of("/");
	req.check = true;
	OK(c, execute(c, req, &res));
	assert_string_equal(res.out, "zero o n e value\n/\n");
	crex_execute_result_clear(&res);
}

static void test_execute_errors(struct contract *c)
{
	struct crex_execute_result res;
	memset(&res, 0x5a, sizeof res);
	const struct crex_execute_result before = res;
	struct crex_execute_request req = rig_shell("echo words; exit 4");
	req.check = true;
	FAILS(c, execute(c, req, &res), CREX_E_NON_ZERO_EXIT_CODE);
	assert_non_null(strstr(c->err.message, "words"));
	req = rig_shell(marked(c, "echo x; setsid sleep MARK & sleep MARK"));
	req.timeout = 0.3;
	FAILS(c, execute(c, req, &res), CREX_E_COMMAND_TIMEOUT);
	wait_for_marked(c, 0);
	const struct crex_str none = CREX_STR("/no/such/program"), dir = CREX_STR("/tmp");
	req = (struct crex_execute_request)CREX_EXECUTE_REQUEST_INIT;
	req.command = (struct crex_str_list){&none, 1};
	FAILS(c, execute(c, req, &res), CREX_E_FILE_NOT_FOUND);
	req.command.items = &dir;
	FAILS(c, execute(c, req, &res), CREX_E_PERMISSION);
	req = rig_shell("true");
	req.cwd = crex_str_of("/etc/passwd");
	FAILS(c, execute(c, req, &res), CREX_E_NOT_A_DIRECTORY);
	assert_memory_equal(&res, &before, sizeof res);
}

const struct contract_case call_cases[] = {
	{"over before it begins", test_over_before, ANY},
	{"deaf server", test_deaf_server, REMOTE_ONLY},
	{"giving up, by deadline and by cancel", test_giving_up, REAL},
	{"a command goes on", test_command_goes_on, REAL},
	{"nobody waits", test_nobody_waits, REAL},
	{"twenty threads", test_twenty_threads, ANY},
	{"twenty threads in one session", test_twenty_threads_one_session, ANY},
	{"execute", test_execute, REAL},
	{"execute errors", test_execute_errors, REAL},
	{0},
};

/* tests/unit/test_host.c: the local runtime as a guest: a program's own children and signal handlers stay its own, and
 * whatever the program does with them, every call is answered.
 *
 * Where the program takes a child's status away the kernel has to tell it behind the scenes (Linux 6.15); before that
 * the answer is NO_EXIT_CODE, and a session that ends has no exit code. Both are right, nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <crex/crex.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMMANDS = 30, RUNTIMES = 6 };

static int run_shell(struct crex_runtime *rt, const char *script, struct crex_execute_result *res,
		     struct crex_error *err)
{
	const struct crex_str item = crex_str_of(script);
	struct crex_execute_request req = CREX_EXECUTE_REQUEST_INIT;
	req.command = (struct crex_str_list){&item, 1};
	req.shell = true;
	return crex_runtime_execute(rt, &req, NULL, res, err);
}

/* Answers "out\n" and 3, or that the code is lost when it may be. */
static bool executes(struct crex_runtime *rt, bool may_lose)
{
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	int r = run_shell(rt, "echo out; exit 3", &res, &err);
	bool good = r == 0 ? res.exit_code == 3 && strcmp(res.out, "out\n") == 0
			   : may_lose && err.code == CREX_E_NO_EXIT_CODE;
	if (!good)
		print_error("%d, code %d, %s\n", r, res.exit_code, err.message ? err.message : "");
	crex_execute_result_clear(&res);
	crex_error_clear(&err);
	return good;
}

static bool streams(struct crex_runtime *rt, bool may_lose)
{
	const struct crex_str script = CREX_STR("exit 3");
	struct crex_stream_request req = CREX_STREAM_REQUEST_INIT;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_stream_event event = {.exit_code = -1};
	struct crex_stream *s = NULL;
	req.command = (struct crex_str_list){&script, 1};
	req.shell = true;
	int r = crex_runtime_open_stream(rt, &req, NULL, &s, &err);
	r = r == 0 ? crex_stream_read(s, &event, NULL, &err) : r;
	bool good = r == 0 ? event.kind == CREX_STREAM_EXIT && event.exit_code == 3
			   : may_lose && err.code == CREX_E_NO_EXIT_CODE;
	crex_stream_free(s);
	crex_error_clear(&err);
	return good;
}

static bool runs_session(struct crex_runtime *rt, const char *name, bool may_lose)
{
	struct crex_create_session_request create = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	create.session = action.session = crex_str_of(name);
	create.startup_timeout = 30;
	action.check = CREX_CHECK_SILENT;
	action.command = crex_str_of("(exit 5)");
	bool good = crex_runtime_create_session(rt, &create, NULL, NULL, NULL) == 0 &&
		    crex_runtime_run_in_session(rt, &action, NULL, &obs, NULL) == 0 && obs.exit_code == 5;
	crex_observation_clear(&obs);
	obs = (struct crex_observation)CREX_OBSERVATION_INIT;
	action.command = crex_str_of("exit 3");
	good = good && crex_runtime_run_in_session(rt, &action, NULL, &obs, NULL) == 0 && obs.session_ended &&
	       (obs.has_exit_code ? obs.exit_code == 3 : may_lose);
	crex_observation_clear(&obs);
	return good;
}

static void use(struct crex_runtime *rt, bool may_lose)
{
	for (int i = 0; i < COMMANDS; i++)
		assert_true(executes(rt, may_lose));
	for (int i = 0; i < COMMANDS; i++)
		assert_true(streams(rt, may_lose));
	assert_true(runs_session(rt, "s", may_lose));
}

static atomic_int heard;

static void on_sigchld(int signum)
{
	(void)signum;
	heard++;
}

static void test_own_handler(void **state)
{
	(void)state;
	struct sigaction mine = {.sa_handler = on_sigchld, .sa_flags = SA_RESTART}, now;
	sigaction(SIGCHLD, &mine, NULL);
	struct crex_runtime *rt = crex_local_runtime_new(NULL, NULL);
	use(rt, false);
	sigaction(SIGCHLD, NULL, &now);
	assert_ptr_equal(now.sa_handler, on_sigchld);
	heard = 0;
	pid_t pid = fork();
	if (pid == 0)
		_exit(7);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_true(heard > 0);
	crex_runtime_free(rt);
	sigaction(SIGCHLD, NULL, &now);
	assert_ptr_equal(now.sa_handler, on_sigchld);
	signal(SIGCHLD, SIG_DFL);
}

static void test_no_signal_is_touched(void **state)
{
	(void)state;
	struct sigaction before[65], now;
	for (int i = 1; i < 65; i++)
		sigaction(i, NULL, &before[i]);
	struct crex_runtime *rt = crex_local_runtime_new(NULL, NULL);
	use(rt, false);
	for (int i = 1; i < 65; i++)
		if (sigaction(i, NULL, &now) == 0) /* two are glibc's own */
			assert_ptr_equal(now.sa_handler, before[i].sa_handler);
	crex_runtime_free(rt);
}

static void test_signal_ignored(void **state)
{
	(void)state;
	signal(SIGCHLD, SIG_IGN);
	struct crex_runtime *rt = crex_local_runtime_new(NULL, NULL);
	use(rt, true);
	crex_runtime_free(rt);
	signal(SIGCHLD, SIG_DFL);
}

static atomic_bool waiting;

static void *wait_for_all(void *arg)
{
	(void)arg;
	while (waiting)
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	return NULL;
}

static void test_program_waits_for_all(void **state)
{
	(void)state;
	pthread_t thread;
	waiting = true;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_all, NULL), 0);
	struct crex_runtime *rt = crex_local_runtime_new(NULL, NULL);
	use(rt, true);
	crex_runtime_free(rt);
	waiting = false;
	pthread_join(thread, NULL);
}

static void *fork_much(void *arg)
{
	int *failures = arg;
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(i);
		int status = 0;
		if (waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != i)
			++*failures;
	}
	return NULL;
}

static void test_program_forks(void **state)
{
	(void)state;
	pthread_t thread;
	int failures = 0;
	struct crex_runtime *rt = crex_local_runtime_new(NULL, NULL);
	assert_int_equal(pthread_create(&thread, NULL, fork_much, &failures), 0);
	use(rt, false);
	pthread_join(thread, NULL);
	assert_int_equal(failures, 0);
	crex_runtime_free(rt);
}

struct guest {
	pthread_t thread;
	int failures;
};

static void *live(void *arg)
{
	struct guest *g = arg;
	for (int round = 0; round < 3; round++) {
		struct crex_runtime *rt = crex_local_runtime_new(NULL, NULL);
		for (int i = 0; i < 5; i++)
			g->failures += !executes(rt, false);
		g->failures += !runs_session(rt, "a", false);
		struct crex_create_session_request create = CREX_CREATE_SESSION_REQUEST_INIT;
		create.startup_timeout = 30;
		g->failures += crex_runtime_create_session(rt, &create, NULL, NULL, NULL) != 0;
		struct crex_bash_action action = CREX_BASH_ACTION_INIT;
		action.command = crex_str_of("setsid sleep 100 & sleep 100");
		const struct crex_call hasty = {0.02, NULL};
		g->failures += crex_runtime_run_in_session(rt, &action, &hasty, NULL, NULL) == 0;
		crex_runtime_free(rt); /* which ends its own processes and nobody else's */
	}
	return NULL;
}

static void test_many_runtimes(void **state)
{
	(void)state;
	struct guest guests[RUNTIMES] = {0};
	for (size_t i = 0; i < RUNTIMES; i++)
		assert_int_equal(pthread_create(&guests[i].thread, NULL, live, &guests[i]), 0);
	for (size_t i = 0; i < RUNTIMES; i++) {
		pthread_join(guests[i].thread, NULL);
		assert_int_equal(guests[i].failures, 0);
	}
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
}

/* What has left everything behind that could tell whose it is; its pid is the last line that was printed. */
#define DAEMON "(setsid env -i sleep 1000 </dev/null >/dev/null 2>&1 & echo $!)"

static pid_t daemon_of_execution(struct crex_runtime *rt)
{
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	assert_int_equal(run_shell(rt, DAEMON, &res, NULL), 0);
	pid_t pid = (pid_t)strtol(res.out, NULL, 10);
	crex_execute_result_clear(&res);
	return pid;
}

static pid_t daemon_of_stream(struct crex_runtime *rt)
{
	const struct crex_str script = CREX_STR(DAEMON);
	struct crex_stream_request req = CREX_STREAM_REQUEST_INIT;
	struct crex_stream_event event;
	struct crex_stream *s;
	char text[32] = "";
	req.command = (struct crex_str_list){&script, 1};
	req.shell = true;
	assert_int_equal(crex_runtime_open_stream(rt, &req, NULL, &s, NULL), 0);
	while (crex_stream_read(s, &event, NULL, NULL) == 0 && event.kind != CREX_STREAM_EXIT)
		strncat(text, event.data, event.len < 16 ? event.len : 16);
	crex_stream_free(s);
	return (pid_t)strtol(text, NULL, 10);
}

/* The session is gone before its daemon can be. */
static pid_t daemon_of_session(struct crex_runtime *rt)
{
	struct crex_create_session_request create = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	create.startup_timeout = 30;
	assert_int_equal(crex_runtime_create_session(rt, &create, NULL, NULL, NULL), 0);
	action.command = crex_str_of(DAEMON "; exit 0");
	assert_int_equal(crex_runtime_run_in_session(rt, &action, NULL, &obs, NULL), 0);
	assert_true(obs.session_ended);
	pid_t pid = (pid_t)strtol(obs.output, NULL, 10);
	crex_observation_clear(&obs);
	return pid;
}

static bool lives(pid_t pid)
{
	char path[32], state = 'X';
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	if (file)
		fclose(file);
	return state != 'X' && state != 'Z';
}

static void test_daemons_end_with_their_runtime(void **state)
{
	(void)state;
	pid_t (*const leave[])(struct crex_runtime *) = {daemon_of_execution, daemon_of_stream, daemon_of_session};
	for (size_t i = 0; i < sizeof leave / sizeof *leave; i++) {
		struct crex_runtime *rt = crex_local_runtime_new(NULL, NULL);
		pid_t pid = leave[i](rt);
		assert_true(pid > 1);
		assert_int_equal(run_shell(rt, "true", NULL, NULL), 0);
		assert_true(lives(pid) || leave[i] == daemon_of_session);
		crex_runtime_free(rt);
		assert_false(lives(pid));
	}
}

static void test_daemons_of_others_live(void **state)
{
	(void)state;
	struct crex_runtime *ends = crex_local_runtime_new(NULL, NULL), *stays = crex_local_runtime_new(NULL, NULL);
	pid_t first = daemon_of_execution(ends), second = daemon_of_execution(stays), child = fork();
	if (child == 0) {
		execlp("sleep", "sleep", "1000", NULL);
		_exit(127);
	}
	crex_runtime_free(ends);
	assert_false(lives(first));
	assert_true(lives(second));
	assert_true(lives(child));
	assert_true(executes(stays, false));
	crex_runtime_free(stays);
	assert_false(lives(second));
	assert_true(lives(child));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static int setup(void **state)
{
	static char home[] = "/tmp/crex-host-XXXXXX"; /* the tester's own may have startup files */
	*state = home;
	return mkdtemp(home) ? setenv("HOME", home, 1) : -1;
}

static int teardown(void **state)
{
	return rmdir(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_signal_is_touched),
		cmocka_unit_test(test_own_handler),
		cmocka_unit_test(test_signal_ignored),
		cmocka_unit_test(test_program_waits_for_all),
		cmocka_unit_test(test_program_forks),
		cmocka_unit_test(test_many_runtimes),
		cmocka_unit_test(test_daemons_end_with_their_runtime),
		cmocka_unit_test(test_daemons_of_others_live),
	};
	return cmocka_run_group_tests_name("host", tests, setup, teardown);
}

/* tests/unit/test_exec.c: execute as subprocess.run, on real processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proc/spawn.h"
#include "proc/tree.h"
#include "proctest.h"
#include "runtime/local/local.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct answer {
	bool done;
	struct crex_error err;
	struct crex_execute_result res;
	double at;
};

static struct fixture {
	uv_loop_t loop;
	uv_timer_t guard; /* keeps the loop turning */
	struct local *rt;
	bool closed;
	bool over; /* answers that come after a failed case find their places gone */
} f;

static void on_guard(uv_timer_t *timer)
{
	(void)timer;
}

static int setup(void **state)
{
	(void)state;
	faults_reset();
	uv_loop_init(&f.loop);
	uv_timer_init(&f.loop, &f.guard);
	uv_timer_start(&f.guard, on_guard, 5, 5);
	struct local_config config = {.envp = environ,
				      .adopt_orphans = true,
				      .max_sessions = 4,
				      .max_output = 1 << 20,
				      .max_file = 1 << 20,
				      .max_queue = 4};
	f.rt = local_new(&f.loop, &config);
	f.closed = f.over = false;
	return f.rt ? 0 : -1;
}

static void on_closed(void *arg)
{
	(void)arg;
	f.closed = true;
}

static int teardown(void **state)
{
	(void)state;
	faults_reset();
	f.over = true;
	proc_tree_kill_all();
	if (f.rt)
		local_shutdown(f.rt, on_closed, NULL);
	double end = now_seconds() + 20;
	while (!f.closed && now_seconds() < end)
		uv_run(&f.loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&f.guard, NULL);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	return f.closed && uv_loop_close(&f.loop) == 0 ? 0 : -1;
}

static void on_done(void *arg, struct crex_error *err, struct crex_execute_result *res)
{
	struct answer *a = arg;
	if (f.over)
		return;
	assert_false(a->done);
	assert_true((err == NULL) != (res == NULL));
	a->done = true;
	a->at = now_seconds();
	if (err)
		crex_error_move(&a->err, err);
	if (res) {
		a->res = *res;
		*res = (struct crex_execute_result)CREX_EXECUTE_RESULT_INIT;
	}
}

static void answer_clear(struct answer *a)
{
	crex_error_clear(&a->err);
	crex_execute_result_clear(&a->res);
	*a = (struct answer){0};
}

static void wait_for(struct answer *a)
{
	double end = now_seconds() + 20;
	while (!a->done && now_seconds() < end)
		uv_run(&f.loop, UV_RUN_ONCE);
	assert_true(a->done);
}

static struct crex_str str(const char *s)
{
	return (struct crex_str){s, strlen(s)};
}

enum { ITEMS_MAX = 8 };

struct request {
	struct crex_str items[ITEMS_MAX], env[ITEMS_MAX];
	struct crex_execute_request req;
};

static void request_list(struct request *r, const char *const *items)
{
	*r = (struct request){.req = CREX_EXECUTE_REQUEST_INIT};
	r->req.command_is_list = true;
	r->req.command.items = r->items;
	for (; *items; items++)
		r->items[r->req.command.count++] = str(*items);
}
#define LIST(r, ...) request_list((r), (const char *const[]){__VA_ARGS__, NULL})

static void request_shell(struct request *r, const char *script)
{
	LIST(r, script);
	r->req.command_is_list = false;
	r->req.shell = true;
}

static void request_env(struct request *r, const char *const *items)
{
	r->req.has_env = true;
	r->req.env = (struct crex_str_list){r->env, 0};
	for (; *items; items++)
		r->env[r->req.env.count++] = str(*items);
}
#define ENV(r, ...) request_env((r), (const char *const[]){__VA_ARGS__, NULL})

static void run(struct request *r, struct answer *a)
{
	*a = (struct answer){0};
	local_execute(f.rt, &r->req, on_done, a);
	wait_for(a);
}

static void expect_result(struct request *r, int code, const char *out, const char *err)
{
	struct answer a;
	run(r, &a);
	if (a.err.code)
		fail_msg("unexpected error: %s", a.err.message);
	assert_string_equal(a.res.out, out);
	assert_string_equal(a.res.err, err);
	assert_int_equal(a.res.exit_code, code);
	assert_int_equal(a.res.out_len, strlen(out));
	answer_clear(&a);
}

static void expect_error(struct request *r, enum crex_error_code code, const char *message)
{
	struct answer a;
	run(r, &a);
	assert_string_equal(crex_error_name(a.err.code), crex_error_name(code));
	assert_string_equal(a.err.message, message);
	answer_clear(&a);
}

static void streams_and_code(void **state)
{
	(void)state;
	struct request r;
	request_shell(&r, "echo out; echo err >&2; exit 3");
	expect_result(&r, 3, "out\n", "err\n");
	r.req.merge_output_streams = true;
	expect_result(&r, 3, "out\nerr\n", "");
	LIST(&r, "echo", "a  b", "", "c");
	expect_result(&r, 0, "a  b  c\n", "");
	request_shell(&r, "printf 'a\\r\\n\\033[31mb\\000c' | tr -d '\\000'");
	expect_result(&r, 0, "a\r\n\033[31mbc", "");
	LIST(&r, "echo $0 $1", "zero", "one");
	r.req.shell = true;
	expect_result(&r, 0, "zero one\n", "");
	request_shell(&r, "kill -9 $$");
	expect_result(&r, -9, "", "");
	LIST(&r, "cat");
	expect_result(&r, 0, "", "");
}

static void nul_in_output(void **state)
{
	(void)state;
	struct request r;
	struct answer a;
	request_shell(&r, "printf 'a\\000b\\377\\303'");
	run(&r, &a);
	assert_int_equal(a.res.out_len, 11);
	assert_memory_equal(a.res.out, "a\0b\\xff\\xc3", 11);
	answer_clear(&a);
}

static void environment(void **state)
{
	(void)state;
	struct request r;
	LIST(&r, "/usr/bin/env");
	ENV(&r, "A=1", "B=x y");
	expect_result(&r, 0, "A=1\nB=x y\n", "");
	/* without PATH the search is that of os.defpath */
	LIST(&r, "env");
	ENV(&r, "A=1");
	expect_result(&r, 0, "A=1\n", "");
	LIST(&r, "env");
	ENV(&r, "PATH=/nonexistent");
	expect_error(&r, CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: 'env'");
	LIST(&r, "env");
	r.req.has_env = true;
	expect_result(&r, 0, "", "");
}

static void start_errors(void **state)
{
	(void)state;
	struct request r;
	char dir[] = "/tmp/crex-exec-XXXXXX";
	assert_non_null(mkdtemp(dir));
	char path[64], text[200];
	LIST(&r, "echo hi");
	r.req.command_is_list = false;
	expect_error(&r, CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: 'echo hi'");
	LIST(&r, "/bin/true");
	r.req.cwd = str("/no/such");
	expect_error(&r, CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: '/no/such'");
	r.req.cwd = str("/etc/passwd");
	expect_error(&r, CREX_E_NOT_A_DIRECTORY, "[Errno 20] Not a directory: '/etc/passwd'");
	r.req.cwd = str("/tmp");
	LIST(&r, "/etc/passwd/x");
	expect_error(&r, CREX_E_NOT_A_DIRECTORY, "[Errno 20] Not a directory: '/etc/passwd/x'");
	LIST(&r, "/etc");
	expect_error(&r, CREX_E_PERMISSION, "[Errno 13] Permission denied: '/etc'");
	LIST(&r, "");
	r.req.command_is_list = false;
	ENV(&r, "PATH=/bin");
	expect_error(&r, CREX_E_PERMISSION, "[Errno 13] Permission denied: ''");
	snprintf(path, sizeof path, "%s/noexec", dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
	assert_int_equal(write(fd, "echo hi\n", 8), 8);
	close(fd);
	LIST(&r, path);
	snprintf(text, sizeof text, "[Errno 8] Exec format error: '%s'", path);
	expect_error(&r, CREX_E_OS, text);
	unlink(path);
	rmdir(dir);
	*&r = (struct request){.req = CREX_EXECUTE_REQUEST_INIT};
	r.req.command_is_list = true;
	expect_error(&r, CREX_E_LOOKUP, "list index out of range");
	LIST(&r, "true", "x");
	r.items[1] = (struct crex_str){"a\0b", 3};
	expect_error(&r, CREX_E_VALUE, "embedded null byte");
}

static void check_message(void **state)
{
	(void)state;
	struct request r;
	request_shell(&r, "echo o; echo e >&2; exit 7");
	r.req.check = true;
	expect_error(&r, CREX_E_NON_ZERO_EXIT_CODE,
		     "Command 'echo o; echo e >&2; exit 7' failed with exit code 7. Stdout:\n'o\\n'\nStderr:\n'e\\n'");
	LIST(&r, "sh", "-c", "exit 1");
	r.req.check = true;
	r.req.error_msg = str("Oops");
	expect_error(&r, CREX_E_NON_ZERO_EXIT_CODE,
		     "Oops: Command ['sh', '-c', 'exit 1'] failed with exit code 1. Stdout:\n''\nStderr:\n''");
	LIST(&r, "true");
	r.req.check = true;
	expect_result(&r, 0, "", "");
}

static void child_is_clean(void **state)
{
	(void)state;
	struct request r;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	int leak = open("/etc/passwd", O_RDONLY); /* not CLOEXEC: as a host program's */
	LIST(&r, "sh", "-c",
	     "while read -r l; do case $l in SigBlk*|SigIgn*) echo \"$l\";; esac; done < /proc/$$/status; "
	     "ls /proc/self/fd | tr '\\n' ' '");
	expect_result(&r, 0, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0 1 2 3 ", "");
	close(leak);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
}

static void output_is_bounded(void **state)
{
	(void)state;
	struct request r;
	struct answer a;
	request_shell(&r, "echo first; head -c 20000000 /dev/zero | tr '\\0' x; echo last");
	run(&r, &a);
	assert_int_equal(a.err.code, CREX_OK);
	assert_true(a.res.truncated);
	assert_true(a.res.out_len < (1 << 20) + 200);
	assert_memory_equal(a.res.out, "first\n", 6);
	assert_string_equal(a.res.out + a.res.out_len - 5, "last\n");
	answer_clear(&a);
}

static bool one_lives(void *text)
{
	return count_processes(text) == 1;
}

static void background_holds_reply(void **state)
{
	(void)state;
	struct request r;
	struct answer a;
	double start = now_seconds();
	request_shell(&r, "(sleep 0.3; echo late) & echo now");
	run(&r, &a);
	assert_string_equal(a.res.out, "now\nlate\n");
	assert_true(a.at - start >= 0.29);
	answer_clear(&a);
	/* one that holds no pipe is a daemon that lives on */
	request_shell(&r, "setsid sleep 1.531 >/dev/null 2>&1 &");
	start = now_seconds();
	run(&r, &a);
	assert_true(a.at - start < 1.2);
	assert_true(wait_until(one_lives, (void *)(uintptr_t) "sleep 1.531", 1));
	answer_clear(&a);
}

static bool none_left(void *text)
{
	return count_processes(text) == 0;
}

static void expect_timeout(const char *script, const char *marker, const char *out)
{
	struct request r;
	struct answer a;
	request_shell(&r, script);
	r.req.timeout = 0.4;
	double start = now_seconds();
	run(&r, &a);
	assert_string_equal(crex_error_name(a.err.code), "COMMAND_TIMEOUT");
	const char *message = "Timeout (0.4s) exceeded while running command";
	assert_memory_equal(a.err.message, message, strlen(message));
	assert_true(a.at - start < 1.4);
	assert_int_equal(a.err.n_extra, 2);
	assert_string_equal(a.err.extra[0].value, out);
	assert_true(wait_until(none_left, (void *)(uintptr_t)marker, 0.5));
	answer_clear(&a);
}

static void timeout_kills_tree(void **state)
{
	(void)state;
	expect_timeout("echo part; exec sleep 991.1", "991.1", "part\n");
	expect_timeout("setsid sleep 991.2 & (setsid sleep 991.2 &); trap '' TERM INT HUP; sleep 991.2", "991.2", "");
	expect_timeout("(setsid sh -c '(setsid sleep 991.3 >/dev/null 2>&1 </dev/null &) ; sleep 991.3' &) ; sleep "
		       "991.3; true",
		       "991.3", "");
}

/* Until nothing is left of earlier commands, and the clock of /proc (10 ms) has moved on from their time. */
static bool alone(void *arg)
{
	double *since = arg;
	siginfo_t info;
	uv_run(&f.loop, UV_RUN_NOWAIT);
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
		*since = now_seconds();
	return now_seconds() - *since > 0.025;
}

static void timeout_after_root_has_ended(void **state)
{
	(void)state;
	double since = now_seconds();
	assert_true(wait_until(alone, &since, 10));
	struct request other;
	struct answer b = {0};
	LIST(&other, "sleep", "992.5");
	local_execute(f.rt, &other.req, on_done, &b);
	/* out of the session, with the pipe and with nothing; then in the session */
	expect_timeout("(setsid sleep 992.2 & setsid sh -c 'sleep 992.2; true' >/dev/null 2>&1 & ) ; sleep 0.1",
		       "992.2", "");
	expect_timeout("sleep 992.1 & setsid sleep 992.1 & echo x", "992.1", "x\n");
	assert_int_equal(count_processes("992.5"), 1);
	assert_false(b.done);
	local_shutdown(f.rt, on_closed, NULL);
	f.rt = NULL;
	assert_true(b.done);
	assert_string_equal(crex_error_name(b.err.code), "SWEREX");
	answer_clear(&b);
	double end = now_seconds() + 5;
	while (!f.closed && now_seconds() < end)
		uv_run(&f.loop, UV_RUN_ONCE);
	assert_true(f.closed);
	assert_int_equal(count_processes("992.5"), 0);
}

static void timeout_text(void **state)
{
	(void)state;
	struct request r;
	LIST(&r, "sleep", "30");
	r.req.timeout = 1;
	expect_error(&r, CREX_E_COMMAND_TIMEOUT, "Timeout (1.0s) exceeded while running command");
	r.req.timeout = 0;
	expect_error(&r, CREX_E_COMMAND_TIMEOUT, "Timeout (0.0s) exceeded while running command");
}

static void many_at_once(void **state)
{
	(void)state;
	enum { N = 500 };
	struct rlimit lim;
	getrlimit(RLIMIT_NOFILE, &lim);
	struct rlimit raised = {lim.rlim_max < 4096 ? lim.rlim_max : 4096, lim.rlim_max};
	setrlimit(RLIMIT_NOFILE, &raised);
	struct answer *all = calloc(N, sizeof *all);
	size_t before = count_fds();
	struct request r;
	request_shell(&r, "sleep 0.5; echo done");
	for (size_t i = 0; i < N; i++)
		local_execute(f.rt, &r.req, on_done, &all[i]);
	for (size_t i = 0; i < N; i++) {
		wait_for(&all[i]);
		assert_int_equal(all[i].err.code, CREX_OK);
		assert_string_equal(all[i].res.out, "done\n");
		answer_clear(&all[i]);
	}
	free(all);
	for (int i = 0; i < 3; i++)
		uv_run(&f.loop, UV_RUN_ONCE);
	assert_int_equal(count_fds(), before);
	setrlimit(RLIMIT_NOFILE, &lim);
}

static void faults_are_typed(void **state)
{
	(void)state;
	struct request r;
	LIST(&r, "true");
	expect_result(&r, 0, "", "");
	size_t before = count_fds();
	for (long at = 0; at < 3; at++) {
		fault_pipe2 = (struct fault){EMFILE, at, 1, 0};
		expect_error(&r, CREX_E_OS, "[Errno 24] Too many open files");
	}
	faults_reset();
	fault_clone = (struct fault){EAGAIN, 0, 1, 0};
	expect_error(&r, CREX_E_OS, "[Errno 11] Resource temporarily unavailable");
	fault_clone = (struct fault){ENOMEM, 0, 1, 0};
	expect_error(&r, CREX_E_MEMORY, "[Errno 12] Cannot allocate memory");
	expect_result(&r, 0, "", "");
	assert_int_equal(count_fds(), before);
}

static void interrupted_and_short_reads(void **state)
{
	(void)state;
	struct request r;
	request_shell(&r, "seq 1 20; echo e >&2");
	short_reads = true;
	fault_read = (struct fault){EINTR, 5, 3, 0};
	expect_result(&r, 0, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n", "e\n");
}

/* Each allocation in turn fails: an answer comes in any case, and nothing stays behind. */
static void failing_memory(void **state)
{
	(void)state;
	struct request r;
	request_shell(&r, "echo hello; echo err >&2; exit 2");
	r.req.check = true;
	expect_error(&r, CREX_E_NON_ZERO_EXIT_CODE,
		     "Command 'echo hello; echo err >&2; exit 2' failed with exit code 2. "
		     "Stdout:\n'hello\\n'\nStderr:\n'err\\n'");
	size_t before = count_fds();
	bool hit_all = false;
	for (long at = 0; at < 100 && !hit_all; at++) {
		fault_memory = (struct fault){ENOMEM, at, 1, 0};
		struct answer a;
		run(&r, &a);
		hit_all = fault_memory.calls <= at;
		faults_reset();
		assert_true(a.err.code == CREX_E_MEMORY || a.err.code == CREX_E_NON_ZERO_EXIT_CODE);
		answer_clear(&a);
		uv_run(&f.loop, UV_RUN_ONCE);
		uv_run(&f.loop, UV_RUN_ONCE);
	}
	assert_true(hit_all);
	uv_run(&f.loop, UV_RUN_ONCE);
	assert_int_equal(count_fds(), before);
}

int main(void)
{
	proc_spawn_remember_defaults();
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(streams_and_code),	  CASE(nul_in_output),
		CASE(environment),	  CASE(start_errors),
		CASE(check_message),	  CASE(child_is_clean),
		CASE(output_is_bounded),  CASE(background_holds_reply),
		CASE(timeout_kills_tree), CASE(timeout_after_root_has_ended),
		CASE(timeout_text),	  CASE(many_at_once),
		CASE(faults_are_typed),	  CASE(interrupted_and_short_reads),
		CASE(failing_memory),
	};
	return cmocka_run_group_tests_name("exec", tests, NULL, NULL);
}

/* tests/unit/test_tree.c: killing trees, those of ended roots too, and never a process of another tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proc/origin.h"
#include "proc/reaper.h"
#include "proc/roots.h"
#include "proc/scan.h"
#include "proc/spawn.h"
#include "proc/tree.h"
#include "proctest.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static uv_loop_t loop;
static uv_timer_t guard;
static struct proc_reaper *reaper;

static void on_guard(uv_timer_t *timer)
{
	(void)timer;
}

static int setup(void **state)
{
	(void)state;
	faults_reset();
	uv_loop_init(&loop);
	uv_timer_init(&loop, &guard);
	uv_timer_start(&guard, on_guard, 2, 2);
	reaper = proc_reaper_new(&loop, true);
	return reaper ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	faults_reset();
	int killed = proc_tree_kill_all();
	proc_reaper_free(reaper);
	uv_close((uv_handle_t *)&guard, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	int status;
	while (proc_roots_wait(-1, &status) > 0)
		;
	return killed < 0 ? -1 : uv_loop_close(&loop);
}

static pid_t start_on(const char *script, int out)
{
	char *argv[4] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script, NULL};
	struct proc_spec spec = {.file = "/bin/sh",
				 .argv = argv,
				 .envp = environ,
				 .fd0 = 0,
				 .fd1 = out,
				 .fd2 = 2,
				 .extra_fd = -1,
				 .subreaper = true};
	pid_t pid;
	enum proc_stage stage;
	assert_int_equal(proc_spawn(&spec, &pid, &stage), 0);
	return pid;
}

static pid_t start(const char *script)
{
	return start_on(script, 1);
}

struct count {
	const char *text;
	size_t wanted;
};

static bool counts(void *arg)
{
	const struct count *c = arg;
	uv_run(&loop, UV_RUN_NOWAIT);
	return count_processes(c->text) == c->wanted;
}

static void wait_count(const char *text, size_t wanted)
{
	struct count c = {text, wanted};
	if (!wait_until(counts, &c, 10))
		fail_msg("%zu processes of '%s', not %zu", count_processes(text), text, wanted);
}

static bool has_ended(void *arg)
{
	uv_run(&loop, UV_RUN_NOWAIT);
	return proc_roots_state(*(pid_t *)arg) == PROC_ROOT_ENDED;
}

static void stat_texts(void **state)
{
	(void)state;
	const char *text = "42 (a) (b\n) S 7) S 1 2 3 34816 42 4194304 100 0 0 0 1 2 3 4 20 0 5 0 777 1000 1 "
			   "18446744073709551615 1\n";
	size_t len = strlen(text);
	struct proc_stat s;
	assert_true(proc_stat_parse(text, len, &s));
	assert_int_equal(s.pid, 42);
	assert_int_equal(s.state, 'S');
	assert_int_equal(s.ppid, 1);
	assert_int_equal(s.pgrp, 2);
	assert_int_equal(s.sid, 3);
	assert_int_equal(s.threads, 5);
	assert_int_equal(s.start, 7770000000);
	size_t enough = (size_t)(strstr(text, "777 ") - text) + 4;
	for (size_t n = 0; n <= len; n++) {
		char *copy = malloc(n ? n : 1); /* exact size: a read beyond it is seen by the sanitizer */
		memcpy(copy, text, n);
		assert_int_equal(proc_stat_parse(copy, n, &s), n >= enough);
		free(copy);
	}
	assert_false(proc_stat_parse("x", 1, &s));
	assert_false(proc_stat_parse("1 sh S 1 2 3", 12, &s));
}

static void scan_sees_us(void **state)
{
	(void)state;
	struct proc_scan scan = {0};
	assert_int_equal(proc_scan_read(&scan, NULL), 0);
	struct proc_stat *s = proc_scan_find(&scan, getpid());
	assert_non_null(s);
	assert_int_equal(s->ppid, getppid());
	assert_int_equal(s->sid, getsid(0));
	assert_true(proc_stat_is_alive(s));
	assert_null(proc_scan_find(&scan, 0x7ffffff0));
	proc_scan_deinit(&scan);
}

static void thread_main(void *arg)
{
	*(pid_t *)arg = start("sleep 892.1 & wait");
	while (count_processes("sleep 892.2") == 0)
		usleep(1000); /* PDEATHSIG: the children end with the thread that has borne them */
}

/* What is below, whichever thread has borne it, and nothing beside it. */
static void scan_below(void **state)
{
	(void)state;
	if (!proc_scan_lists_children())
		skip();
	struct proc_scan scan = {0};
	const pid_t self = getpid(), nobody = 0x7ffffff0;
	pid_t other = start("exec sleep 892.9"), in_thread = 0;
	pid_t root = start("setsid sleep 892.8 & sh -c 'sleep 892.8; true' & wait");
	uv_thread_t thread;
	assert_int_equal(uv_thread_create(&thread, thread_main, &in_thread), 0);
	wait_count("sleep 892.8", 2);
	wait_count("sleep 892.1", 1);
	assert_int_equal(proc_scan_read_below(&scan, &root, 1, 16), 0);
	assert_int_equal(scan.n, 5);
	assert_false(scan.unresolved);
	assert_non_null(proc_scan_find(&scan, getpid()));
	assert_non_null(proc_scan_find(&scan, root));
	assert_null(proc_scan_find(&scan, other));
	assert_int_equal(proc_scan_read_below(&scan, (pid_t[]){root, other}, 2, 16), 0);
	assert_int_equal(scan.n, 6);
	assert_non_null(proc_scan_find(&scan, other));
	assert_int_equal(proc_scan_read_below(&scan, NULL, 0, 16), 0);
	assert_int_equal(scan.n, 1);
	assert_int_equal(proc_scan_read_below(&scan, &root, 1, 5), 0);
	assert_int_equal(proc_scan_read_below(&scan, &root, 1, 4), -E2BIG);
	assert_int_equal(proc_scan_read_below(&scan, &nobody, 1, 4), 0);
	assert_int_equal(scan.n, 1);
	assert_int_equal(proc_scan_read_below(&scan, &self, 1, 64), 0);
	assert_non_null(proc_scan_find(&scan, in_thread));
	assert_non_null(proc_scan_find(&scan, other));
	start("exec sleep 892.2");
	uv_thread_join(&thread);
	proc_scan_deinit(&scan);
}

/* More than a look below one root takes in. */
static void large_tree(void **state)
{
	(void)state;
	pid_t other = start("exec sleep 893.9");
	pid_t root =
		start("i=0; while [ $i -lt 150 ]; do sleep 893.1 & (setsid sleep 893.1 &) ; i=$((i+1)); done; wait");
	wait_count("sleep 893.1", 300);
	assert_true(proc_tree_kill(root, false) >= 301);
	wait_count("893.1", 0);
	wait_count("sleep 893.9", 1);
	assert_int_equal(proc_tree_kill(other, false), 1);
}

static void living_root(void **state)
{
	(void)state;
	pid_t other = start("exec sleep 881.9");
	pid_t root = start("trap '' TERM INT HUP; sleep 881.1 & setsid sleep 881.1 & (setsid sleep 881.1 &) ; "
			   "setsid sh -c '(setsid sleep 881.1 &); sleep 881.1; true' & wait; sleep 9");
	wait_count("sleep 881.1", 5);
	double begin = now_seconds();
	assert_true(proc_tree_kill(root, false) >= 7);
	assert_true(now_seconds() - begin < 2);
	wait_count("881.1", 0);
	assert_true(wait_until(has_ended, &root, 5));
	wait_count("sleep 881.9", 1);
	assert_int_equal(proc_tree_kill(root, false), 0);
	assert_int_equal(proc_tree_kill(other, false), 1);
}

static void kept_root_goes_on(void **state)
{
	(void)state;
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t root = start_on("setsid sleep 882.1 & sleep 882.1; echo on; exec sleep 882.2", fds[1]);
	close(fds[1]);
	wait_count("sleep 882.1", 2);
	assert_int_equal(proc_tree_kill(root, true), 2);
	wait_count("882.1", 0);
	char text[8];
	while (read(fds[0], text, 3) == 3 && memcmp(text, "on\n", 3) != 0)
		;
	wait_count("sleep 882.2", 1);
	assert_int_equal(proc_tree_kill(root, false), 1);
	close(fds[0]);
}

static void session_of_an_ended_root(void **state)
{
	(void)state;
	pid_t root = start("sleep 883.1 & (sleep 883.1 & ) ; exit 0");
	wait_count("sleep 883.1", 2);
	assert_true(wait_until(has_ended, &root, 5));
	assert_int_equal(proc_tree_kill(root, false), 2);
	wait_count("883.1", 0);
}

/* However far they have gone, and whoever else has left daemons before, after and meanwhile. */
static void orphans_bear_their_origin(void **state)
{
	(void)state;
	pid_t first = start("setsid sleep 894.1 & exit 0");
	wait_count("sleep 894.1", 1);
	assert_true(wait_until(has_ended, &first, 5));
	pid_t second =
		start("setsid sh -c '(setsid env -i sleep 894.2 &)' & setsid sh -c 'sleep 894.2; true' & exit 0");
	wait_count("sleep 894.2", 2);
	pid_t third = start("setsid sleep 894.3 & exit 0");
	wait_count("sleep 894.3", 1);
	pid_t fourth = start("prlimit --pid $$ --locks=unlimited; setsid sleep 894.4 & exit 0");
	wait_count("sleep 894.4", 1);
	assert_true(wait_until(has_ended, &second, 5));
	assert_true(wait_until(has_ended, &third, 5));
	assert_true(wait_until(has_ended, &fourth, 5));
	assert_int_equal(proc_tree_kill(second, false), 3);
	wait_count("894.2", 0);
	assert_int_equal(
		count_processes("sleep 894.1") + count_processes("sleep 894.3") + count_processes("sleep 894.4"), 3);
}

/* A daemon that hands itself on to a child and ends, again and again: what a scan has listed may be dead when looked
 * at, and its child is nowhere in it. */
static void orphans_that_run_away(void **state)
{
	(void)state;
	static const char run[] = "setsid sh -c 'f() { if [ $1 -gt 0 ]; then f $(($1 - 1)) & else sleep 896.1; fi; }; "
				  "f 300; exit 0' & exit 0";
	for (int i = 0; i < 5; i++) {
		int fds[2];
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		pid_t root = start_on(run, fds[1]);
		close(fds[1]);
		assert_true(wait_until(has_ended, &root, 5));
		assert_true(proc_tree_kill(root, false) >= 0);
		struct pollfd end = {.fd = fds[0]};
		assert_int_equal(poll(&end, 1, 5000), 1); /* all of them hold the other side */
		close(fds[0]);
	}
}

/* As where the limit that tells a process's origin can't be set. */
static void no_marks(void)
{
	fault_setrlimit = (struct fault){EPERM, 0, 1L << 40, 0};
	assert_false(proc_origin_usable());
}

/* The daemon of an earlier tree lives on: only what is certain is taken. */
static void orphans_of_others_live(void **state)
{
	(void)state;
	no_marks();
	pid_t first = start("setsid sleep 884.1 & exit 0");
	wait_count("sleep 884.1", 1);
	assert_true(wait_until(has_ended, &first, 5));
	pid_t second = start("sleep 884.2 & setsid sleep 884.3 & exit 0");
	wait_count("sleep 884.2", 1);
	wait_count("sleep 884.3", 1);
	assert_true(wait_until(has_ended, &second, 5));
	assert_int_equal(proc_tree_kill(second, false), 1);
	wait_count("sleep 884.1", 1);
	wait_count("884.2", 0);
}

static void sole_origin_is_certain(void **state)
{
	(void)state;
	no_marks();
	int status;
	while (proc_roots_wait(-1, &status) > 0)
		;
	pid_t living = start("exec sleep 885.9");
	pid_t root = start("setsid sleep 885.1 & (setsid sh -c 'sleep 885.1; true' &) ; sleep 0.05; exit 0");
	wait_count("sleep 885.1", 2);
	assert_true(wait_until(has_ended, &root, 5));
	assert_true(proc_tree_kill(root, false) >= 3);
	wait_count("885.1", 0);
	wait_count("sleep 885.9", 1);
	assert_int_equal(proc_roots_state(living), PROC_ROOT_ALIVE);
}

static void files_are_certain(void **state)
{
	(void)state;
	no_marks();
	pid_t first = start("setsid sleep 886.1 & exit 0");
	wait_count("sleep 886.1", 1);
	assert_true(wait_until(has_ended, &first, 5));
	int fds[2];
	struct stat st;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fstat(fds[0], &st), 0);
	pid_t root = start_on("setsid sh -c 'sleep 886.2 >/dev/null; true' & exit 0", fds[1]);
	close(fds[1]);
	wait_count("sleep 886.2", 1);
	assert_true(wait_until(has_ended, &root, 5));
	assert_int_equal(proc_tree_kill(root, false), 0);
	struct proc_tree_mark mark = {st.st_dev, st.st_ino};
	assert_int_equal(proc_tree_kill_marked(root, false, &mark, 1), 2);
	wait_count("886.2", 0);
	wait_count("sleep 886.1", 1);
	close(fds[0]);
}

/* As another user with a limit of its own: it must not fill the machine. */
static void fork_bomb(void **state)
{
	(void)state;
	if (geteuid() != 0 || system("command -v setpriv >/dev/null") != 0)
		skip();
	pid_t root = start("exec setpriv --reuid=54321 --clear-groups bash -c "
			   "'ulimit -u 400; b() { b | b & }; b; wait; sleep 887.1' 2>/dev/null");
	struct count c = {"ulimit -u 400", 200};
	double end = now_seconds() + 5;
	while (count_processes(c.text) < 100 && now_seconds() < end)
		usleep(1000);
	assert_true(proc_tree_kill(root, false) > 50);
	wait_count("887.1", 0);
}

/* Kernels without CONFIG_PROC_CHILDREN: every look is at all processes. */
static void without_lists_of_children(void **state)
{
	fault_access = (struct fault){ENOENT, 0, 1L << 40, 0};
	assert_false(proc_scan_lists_children());
	living_root(state);
	kept_root_goes_on(state);
	orphans_bear_their_origin(state);
	assert_true(fault_access.calls > 3);
}

static void on_killed(void *arg, int result)
{
	*(int *)arg = result;
}

static void asynchronous(void **state)
{
	(void)state;
	pid_t root = start("sleep 888.1 & wait");
	wait_count("sleep 888.1", 1);
	int result = -1000;
	assert_int_equal(proc_tree_kill_async(&loop, root, false, on_killed, &result), 0);
	double end = now_seconds() + 10;
	while (result == -1000 && now_seconds() < end)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(result >= 1);
	wait_count("888.1", 0);
	struct proc_tree_mark marks[PROC_TREE_MARKS_MAX + 1] = {{0}};
	assert_int_equal(
		proc_tree_kill_marked_async(&loop, root, false, marks, PROC_TREE_MARKS_MAX + 1, on_killed, &result),
		-EINVAL);
}

static void everything(void **state)
{
	(void)state;
	start("setsid sleep 889.1 & exit 0");
	start("sleep 889.1 & setsid sleep 889.1 & wait");
	wait_count("sleep 889.1", 3);
	assert_true(proc_tree_kill_all() >= 3);
	wait_count("889.1", 0);
	assert_int_equal(proc_tree_kill_all(), 0);
}

static void foreign_pids_are_refused(void **state)
{
	(void)state;
	assert_int_equal(proc_tree_kill(0, false), -EINVAL);
	assert_int_equal(proc_tree_kill(1, false), -EINVAL);
	assert_int_equal(proc_tree_kill(getpid(), false), -EINVAL);
	/* a process that we have not started, in a session of its own */
	fflush(NULL);
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t root = start_on("setsid sleep 890.1 & echo $!; wait", fds[1]);
	close(fds[1]);
	char text[16] = "";
	assert_true(read(fds[0], text, sizeof text - 1) > 0);
	close(fds[0]);
	wait_count("sleep 890.1", 1);
	proc_tree_kill((pid_t)atoi(text), false);
	wait_count("sleep 890.1", 1);
	proc_tree_kill(root, false);
}

/* Shortage of descriptors and memory passes; without /proc the session's group is what can be reached. */
static void faults(void **state)
{
	(void)state;
	pid_t root = start("setsid sleep 891.1 & sleep 891.1");
	wait_count("sleep 891.1", 2);
	fault_open = (struct fault){EMFILE, 3, 5, 0};
	fault_memory = (struct fault){ENOMEM, 1, 2, 0};
	assert_true(proc_tree_kill(root, false) >= 3);
	faults_reset();
	wait_count("891.1", 0);
	root = start("exec sleep 891.2");
	fault_open = (struct fault){EMFILE, 0, 1L << 40, 0};
	assert_int_equal(proc_tree_kill(root, false), -EMFILE);
	faults_reset();
	assert_true(wait_until(has_ended, &root, 5));
	fault_memory = (struct fault){ENOMEM, 0, 1, 0};
	assert_int_equal(proc_tree_kill_async(&loop, root, false, on_killed, NULL), -ENOMEM);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(stat_texts),
		CASE(scan_sees_us),
		CASE(sole_origin_is_certain),
		CASE(living_root),
		CASE(kept_root_goes_on),
		CASE(session_of_an_ended_root),
		CASE(orphans_bear_their_origin),
		CASE(orphans_that_run_away),
		CASE(orphans_of_others_live),
		CASE(files_are_certain),
		CASE(scan_below),
		CASE(large_tree),
		CASE(without_lists_of_children),
		CASE(asynchronous),
		CASE(everything),
		CASE(foreign_pids_are_refused),
		CASE(faults),
		CASE(fork_bomb),
	};
	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}

/* tests/unit/test_reaper.c: each watched end is told once, whichever comes first, the end or the watch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proc/reaper.h"
#include "proc/spawn.h"
#include "proctest.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static uv_loop_t loop;
static uv_timer_t guard;

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
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	uv_close((uv_handle_t *)&guard, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static pid_t start(const char *script)
{
	char *argv[4] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script, NULL};
	struct proc_spec spec = {
		.file = "/bin/sh", .argv = argv, .envp = environ, .fd0 = 0, .fd1 = 1, .fd2 = 2, .extra_fd = -1};
	pid_t pid;
	enum proc_stage stage;
	assert_int_equal(proc_spawn(&spec, &pid, &stage), 0);
	return pid;
}

struct told {
	struct proc_reaper *reaper;
	int times;
	int status;
	struct told *unwatch;
	pid_t pid;
};

static void on_end(void *arg, pid_t pid, int status)
{
	struct told *t = arg;
	assert_int_equal(pid, t->pid);
	t->times++;
	t->status = status;
	if (t->unwatch)
		proc_reaper_unwatch(t->reaper, t->unwatch->pid);
}

static void turn_until(const int *value, int wanted)
{
	double end = now_seconds() + 10;
	while (*value != wanted && now_seconds() < end)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(*value, wanted);
}

static void turns(int n)
{
	while (n-- > 0)
		uv_run(&loop, UV_RUN_ONCE);
}

static bool is_zombie(void *arg)
{
	siginfo_t info = {0};
	return waitid(P_PID, (id_t) * (pid_t *)arg, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

static void tells_ends(bool adopt)
{
	struct proc_reaper *r = proc_reaper_new(&loop, adopt);
	struct told a = {.reaper = r}, b = {.reaper = r}, c = {.reaper = r};
	a.pid = start("exit 5");
	assert_int_equal(proc_reaper_watch(r, a.pid, on_end, &a), 0);
	b.pid = start("kill -9 $$");
	assert_true(wait_until(is_zombie, &b.pid, 5)); /* has ended before the watch */
	assert_int_equal(proc_reaper_watch(r, b.pid, on_end, &b), 0);
	assert_int_equal(b.times, 0); /* never from inside */
	turn_until(&a.times, 1);
	turn_until(&b.times, 1);
	assert_int_equal(WEXITSTATUS(a.status), 5);
	assert_int_equal(WTERMSIG(b.status), 9);
	/* the handler of one takes the other's watch away */
	struct told d = {.reaper = r, .unwatch = &c};
	c.unwatch = &d;
	c.pid = start("exit 0");
	d.pid = start("exit 0");
	assert_true(wait_until(is_zombie, &c.pid, 5));
	assert_true(wait_until(is_zombie, &d.pid, 5));
	proc_reaper_watch(r, c.pid, on_end, &c);
	proc_reaper_watch(r, d.pid, on_end, &d);
	turns(10);
	assert_int_equal(c.times + d.times, 1);
	proc_reaper_free(r);
	turns(3);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void tells_adopting(void **state)
{
	(void)state;
	tells_ends(true);
}

static void tells_watched_only(void **state)
{
	(void)state;
	tells_ends(false);
}

static void reaped_before_the_watch(void **state)
{
	(void)state;
	struct proc_reaper *r = proc_reaper_new(&loop, true);
	struct told t = {.reaper = r};
	t.pid = start("exit 9");
	double end = now_seconds() + 5;
	while (kill(t.pid, 0) == 0 && now_seconds() < end) /* until the reaper itself has taken it */
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(proc_reaper_watch(r, t.pid, on_end, &t), 0);
	turn_until(&t.times, 1);
	assert_int_equal(WEXITSTATUS(t.status), 9);
	proc_reaper_free(r);
	turns(3);
}

static void host_children_are_left(void **state)
{
	(void)state;
	struct proc_reaper *r = proc_reaper_new(&loop, false);
	struct told t = {.reaper = r};
	pid_t host = start("exit 4");
	assert_true(wait_until(is_zombie, &host, 5));
	t.pid = start("exit 0");
	proc_reaper_watch(r, t.pid, on_end, &t);
	turn_until(&t.times, 1);
	int status;
	assert_int_equal(waitpid(host, &status, WNOHANG), host);
	assert_int_equal(WEXITSTATUS(status), 4);
	proc_reaper_free(r);
	turns(3);
}

static void bursts(void **state)
{
	(void)state;
	enum { N = 200 };
	struct proc_reaper *r = proc_reaper_new(&loop, true);
	struct told all[N];
	for (int i = 0; i < N; i++) {
		char script[32];
		snprintf(script, sizeof script, "exit %d", i);
		all[i] = (struct told){.reaper = r, .pid = start(script)};
		assert_int_equal(proc_reaper_watch(r, all[i].pid, on_end, &all[i]), 0);
	}
	for (int i = 0; i < N; i++) {
		turn_until(&all[i].times, 1);
		assert_int_equal(WEXITSTATUS(all[i].status), i);
	}
	proc_reaper_free(r);
	turns(3);
}

static void orphans_are_reaped(void **state)
{
	(void)state;
	struct proc_reaper *r = proc_reaper_new(&loop, true);
	struct told t = {.reaper = r};
	t.pid = start("setsid sh -c 'sleep 0.1' & exit 0");
	proc_reaper_watch(r, t.pid, on_end, &t);
	turn_until(&t.times, 1);
	double end = now_seconds() + 5;
	while (waitpid(-1, NULL, WNOHANG | __WALL) != -1 && now_seconds() < end)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(errno, ECHILD);
	proc_reaper_free(r);
	turns(3);
}

static void no_memory(void **state)
{
	(void)state;
	fault_memory = (struct fault){ENOMEM, 0, 1, 0};
	assert_null(proc_reaper_new(&loop, true));
	faults_reset();
	struct proc_reaper *r = proc_reaper_new(&loop, true);
	pid_t pid = start("exit 0");
	fault_memory = (struct fault){ENOMEM, 0, 1, 0};
	assert_int_equal(proc_reaper_watch(r, pid, on_end, NULL), -ENOMEM);
	faults_reset();
	turns(5);
	proc_reaper_free(r);
	proc_reaper_free(NULL);
	turns(3);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(tells_watched_only),
		CASE(host_children_are_left),
		CASE(tells_adopting),
		CASE(reaped_before_the_watch),
		CASE(bursts),
		CASE(orphans_are_reaped),
		CASE(no_memory),
	};
	return cmocka_run_group_tests_name("reaper", tests, NULL, NULL);
}

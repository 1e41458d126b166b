/* tests/unit/test_guardian.c: a server that is killed leaves nothing behind; status and signals pass through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proc/spawn.h"
#include "proctest.h"
#include "server/guardian.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static pid_t guardian_of_server; /* as the server saw it before anybody knew of it */

/* What the fork below becomes: a guardian with a server that tells its pid, then does `act`. */
static _Noreturn void serve(int out, void (*act)(void))
{
	proc_spawn_remember_defaults();
	if (guardian_enter(true) < 0)
		_exit(99);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	guardian_of_server = getppid();
	pid_t pid = getpid();
	if (write(out, &pid, sizeof pid) != (ssize_t)sizeof pid)
		_exit(98);
	close(out);
	act();
	_exit(97);
}

static pid_t launch(void (*act)(void), pid_t *ret_server)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(NULL);
	pid_t guardian = fork();
	assert_true(guardian >= 0);
	if (guardian == 0)
		serve(fds[1], act);
	close(fds[1]);
	assert_int_equal(read(fds[0], ret_server, sizeof *ret_server), sizeof *ret_server);
	close(fds[0]);
	return guardian;
}

static void spawn_script(const char *script)
{
	char *argv[4] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script, NULL};
	struct proc_spec spec = {.file = "/bin/sh",
				 .argv = argv,
				 .envp = environ,
				 .fd0 = 0,
				 .fd1 = 1,
				 .fd2 = 2,
				 .extra_fd = -1,
				 .subreaper = true};
	pid_t pid;
	enum proc_stage stage;
	if (proc_spawn(&spec, &pid, &stage) < 0)
		_exit(96);
}

static void act_with_tree(void)
{
	spawn_script("setsid sleep 771.1 & (setsid sleep 771.1 >/dev/null 2>&1 </dev/null &) ; sleep 771.1 & wait");
	spawn_script("setsid sh -c '(setsid sleep 771.1 &) ; trap \"\" TERM HUP INT; sleep 771.1; true' & exit 0");
	for (;;)
		pause();
}

static void act_wait_for_term(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	int sig;
	sigwait(&set, &sig);
	_exit(sig == SIGTERM && getppid() == guardian_of_server ? 7 : sig == SIGTERM ? 0 : 8);
}

static void act_exit_5(void)
{
	_exit(5);
}

static int wait_exit(pid_t pid)
{
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool tree_is_up(void *arg)
{
	(void)arg;
	return count_processes("sleep 771.1") == 5;
}

static void killed_server_leaves_nothing(void **state)
{
	(void)state;
	pid_t server, guardian = launch(act_with_tree, &server);
	assert_true(wait_until(tree_is_up, NULL, 10));
	kill(server, SIGKILL);
	assert_int_equal(wait_exit(guardian), 128 + SIGKILL);
	assert_int_equal(count_processes("771.1"), 0);
}

static void status_is_the_servers(void **state)
{
	(void)state;
	pid_t server;
	pid_t guardian = launch(act_exit_5, &server);
	assert_int_equal(wait_exit(guardian), 5);
}

static void signals_are_handed_on(void **state)
{
	(void)state;
	pid_t server, guardian = launch(act_wait_for_term, &server);
	kill(guardian, SIGTERM);
	assert_int_equal(wait_exit(guardian), 7);
	guardian = launch(act_wait_for_term, &server);
	kill(guardian, SIGINT);
	assert_int_equal(wait_exit(guardian), 8);
}

static void killed_guardian_ends_the_server(void **state)
{
	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t server, guardian = launch(act_wait_for_term, &server);
	kill(guardian, SIGKILL);
	assert_int_equal(waitpid(guardian, NULL, 0), guardian);
	assert_int_equal(wait_exit(server), 0); /* which came to us */
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void act_exit_by_term(void)
{
	spawn_script("setsid sleep 771.2 & (setsid sleep 771.2 >/dev/null 2>&1 </dev/null &) ; exit 0");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	int sig;
	sigwait(&set, &sig);
	exit(0);
}

static bool orphans_are_up(void *arg)
{
	(void)arg;
	return count_processes("sleep 771.2") == 2;
}

static void server_without_guardian_sweeps(void **state)
{
	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t server, guardian = launch(act_exit_by_term, &server);
	assert_true(wait_until(orphans_are_up, NULL, 10));
	kill(guardian, SIGKILL);
	assert_int_equal(waitpid(guardian, NULL, 0), guardian);
	assert_int_equal(wait_exit(server), 0);
	assert_int_equal(count_processes("771.2"), 0);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

struct pid_one {
	int out;
	pid_t self; /* as the server sees itself */
};

/* kill -9 -1 in a child must leave the server alive; what ends it is then the signal that it is sent. */
static int pid_one(void *arg)
{
	const struct pid_one *p = arg;
	if (guardian_enter(true) < 0)
		_exit(99);
	pid_t child = fork();
	if (child == 0) {
		kill(-1, SIGKILL);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	pid_t self = getpid();
	if (write(p->out, &self, sizeof self) != (ssize_t)sizeof self)
		_exit(98);
	for (;;)
		pause();
}

static void process_one_is_the_server(void **state)
{
	(void)state;
	static char stack[256 * 1024] __attribute__((aligned(16)));
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	struct pid_one p = {.out = fds[1]};
	fflush(NULL);
	pid_t one = clone(pid_one, stack + sizeof stack, CLONE_NEWPID | SIGCHLD, &p);
	close(fds[1]);
	if (one < 0) {
		close(fds[0]);
		skip();
	}
	assert_int_equal(read(fds[0], &p.self, sizeof p.self), sizeof p.self);
	close(fds[0]);
	assert_int_equal(p.self, 1);
	kill(one, SIGHUP); /* which the kernel keeps from a PID 1 without a handler */
	assert_int_equal(wait_exit(one), 128 + SIGHUP);
}

static void left_out(void **state)
{
	(void)state;
	pid_t before = getpid();
	assert_int_equal(guardian_enter(false), 0);
	assert_int_equal(getpid(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(left_out),
		cmocka_unit_test(status_is_the_servers),
		cmocka_unit_test(signals_are_handed_on),
		cmocka_unit_test(killed_guardian_ends_the_server),
		cmocka_unit_test(killed_server_leaves_nothing),
		cmocka_unit_test(server_without_guardian_sweeps),
		cmocka_unit_test(process_one_is_the_server),
	};
	return cmocka_run_group_tests_name("guardian", tests, NULL, NULL);
}

/* tests/unit/test_spawn.c: what a child is born with, and how a failed birth is reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proc/pty.h"
#include "proc/roots.h"
#include "proc/spawn.h"
#include "proctest.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct proc_spec sh(char **argv, const char *script)
{
	argv[0] = (char *)(uintptr_t) "sh";
	argv[1] = (char *)(uintptr_t) "-c";
	argv[2] = (char *)(uintptr_t)script;
	argv[3] = NULL;
	return (struct proc_spec){.file = "/bin/sh",
				  .argv = argv,
				  .envp = environ,
				  .fd0 = 0,
				  .fd1 = 1,
				  .fd2 = 2,
				  .extra_fd = -1,
				  .next_fd = -1};
}

/* Runs it with stdout on a pipe; the output ends with the status. */
static void capture(struct proc_spec *spec, char *text, size_t size)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	spec->fd1 = fds[1];
	pid_t pid;
	enum proc_stage stage = PROC_STAGE_NONE;
	int r = proc_spawn(spec, &pid, &stage);
	close(fds[1]);
	assert_int_equal(r, 0);
	size_t len = 0;
	ssize_t n;
	while (len < size - 1 && (n = read(fds[0], text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fds[0]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void session_and_parent(void **state)
{
	(void)state;
	char *argv[4], text[256];
	struct proc_spec spec =
		sh(argv, "read -r p n s pp g sid r < /proc/$$/stat; [ $p = $sid ] && [ $p = $g ] && echo $pp");
	capture(&spec, text, sizeof text);
	assert_int_equal(atoi(text), getpid());
}

static void signals_are_default(void **state)
{
	(void)state;
	char *argv[4], text[256];
	sigset_t all, before;
	sigfillset(&all);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_SETMASK, &all, &before);
	sigprocmask(SIG_SETMASK, NULL, &all); /* but for KILL and STOP */
	struct proc_spec spec =
		sh(argv, "while read -r l; do case $l in SigBlk*|SigIgn*) echo \"$l\";; esac; done < /proc/$$/status");
	capture(&spec, text, sizeof text);
	sigset_t now;
	sigprocmask(SIG_SETMASK, &before, &now);
	assert_memory_equal(&now, &all, 8); /* ours is as it was */
	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	assert_string_equal(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void limits_are_as_found(void **state)
{
	(void)state;
	char *argv[4], text[64], want[64];
	struct rlimit found, changed;
	getrlimit(RLIMIT_NOFILE, &found);
	changed = found;
	changed.rlim_cur = found.rlim_cur / 2;
	setrlimit(RLIMIT_NOFILE, &changed);
	struct proc_spec spec = sh(argv, "ulimit -n");
	capture(&spec, text, sizeof text);
	setrlimit(RLIMIT_NOFILE, &found);
	snprintf(want, sizeof want, "%llu\n", (unsigned long long)found.rlim_cur);
	assert_string_equal(text, want);
}

/* The mark is a soft limit alone, and one that nothing can reach. */
static void origin_is_the_limit_of_locks(void **state)
{
	(void)state;
	char *argv[4], text[2][256], *second;
	struct rlimit found;
	getrlimit(RLIMIT_LOCKS, &found);
	struct proc_spec spec =
		sh(argv,
		   "while read -r a b c d e f; do case $c in locks) echo $d $e;; esac; done </proc/self/limits; "
		   "exec env -i sed -n 's/Max file locks *\\([0-9]*\\) *\\([^ ]*\\) .*/\\1 \\2/p' /proc/self/limits");
	for (size_t i = 0; i < 2; i++) {
		capture(&spec, text[i], sizeof text[i]);
		assert_true(strtoull(text[i], &second, 10) > UINT64_C(1) << 62);
		if (found.rlim_max == RLIM_INFINITY)
			assert_int_equal(strncmp(second, " unlimited\n", 11), 0);
		second = strchr(text[i], '\n') + 1;
		size_t half = (size_t)(second - text[i]);
		assert_true(half > 1 && strlen(second) == half && memcmp(text[i], second, half) == 0);
	}
	assert_string_not_equal(text[0], text[1]);
}

/* In a process of its own, since 0..4 become memory files there whose content is their number. The child's 0 1 2 and 4
 * must then be what `from` says. */
static int play_arrangement(const int from[4])
{
	int result = fcntl(memfd_create("result", MFD_CLOEXEC), F_DUPFD_CLOEXEC, 40);
	int numbered[5];
	for (int i = 0; i < 5; i++) {
		char name = (char)('0' + i);
		int fd = memfd_create("numbered", MFD_CLOEXEC);
		if (write(fd, &name, 1) != 1)
			return 9;
		numbered[i] = fcntl(fd, F_DUPFD_CLOEXEC, 20);
	}
	for (int i = 0; i < 5; i++)
		dup3(numbered[i], i, O_CLOEXEC);
	char script[200];
	snprintf(script, sizeof script, "f=/proc/$$/fd; (cat $f/0 $f/1 $f/2 $f/4 > /proc/%d/fd/%d; :); :", getpid(),
		 result);
	char *argv[4];
	struct proc_spec spec = sh(argv, script);
	spec.fd0 = from[0];
	spec.fd1 = from[1];
	spec.fd2 = from[2];
	spec.extra_fd = from[3];
	spec.extra_target = 4;
	pid_t pid;
	enum proc_stage stage;
	int status;
	if (proc_spawn(&spec, &pid, &stage) < 0 || waitpid(pid, &status, 0) < 0)
		return 8;
	char got[4];
	if (pread(result, got, 4, 0) != 4)
		return 7;
	for (int i = 0; i < 4; i++)
		if (got[i] != '0' + from[i])
			return 6;
	return 0;
}

static void overlapping_fds(void **state)
{
	(void)state;
	fflush(NULL);
	/* A step coprime to 5 has all values in all places, in a seventh of the time. */
	for (int code = 0; code < 5 * 5 * 5 * 5; code += 7) {
		const int from[4] = {code % 5, code / 5 % 5, code / 25 % 5, code / 125 % 5};
		pid_t player = fork();
		assert_true(player >= 0);
		if (player == 0)
			_exit(play_arrangement(from));
		int status;
		assert_int_equal(waitpid(player, &status, 0), player);
		if (status)
			fail_msg("sources %d %d %d %d: status %x", from[0], from[1], from[2], from[3],
				 (unsigned)status);
	}
}

static void nothing_else_is_open(void **state)
{
	(void)state;
	char *argv[4], text[256];
	int leak = fcntl(0, F_DUPFD, 30), high = fcntl(0, F_DUPFD, 900), extra = open("/proc/self/status", O_RDONLY);
	struct proc_spec spec = sh(argv, "for i in /proc/$$/fd/*; do printf '%s ' ${i##*/}; done");
	capture(&spec, text, sizeof text);
	/* what dash opens for itself has a number above the standard ones as well: 10 up */
	assert_null(strstr(text, "30 "));
	assert_null(strstr(text, "900 "));
	assert_memory_equal(text, "0 1 2 ", 6);
	spec = sh(argv, "head -c 5 <&9");
	spec.extra_fd = extra;
	spec.extra_target = 9;
	capture(&spec, text, sizeof text);
	assert_string_equal(text, "Name:");
	close(leak);
	close(high);
	close(extra);
}

static void failed(struct proc_spec *spec, int errnum, enum proc_stage stage)
{
	pid_t pid = -7;
	enum proc_stage got = PROC_STAGE_NONE;
	assert_int_equal(proc_spawn(spec, &pid, &got), -errnum);
	assert_int_equal(got, stage);
	assert_int_equal(pid, -7);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie stays */
	assert_int_equal(errno, ECHILD);
}

static void failures(void **state)
{
	(void)state;
	char *argv[4];
	struct proc_spec spec = sh(argv, "true");
	spec.file = "/no/such";
	failed(&spec, ENOENT, PROC_STAGE_EXEC);
	spec.file = "/etc/passwd";
	failed(&spec, EACCES, PROC_STAGE_EXEC);
	spec.file = "no-such-program";
	failed(&spec, ENOENT, PROC_STAGE_EXEC);
	spec.search_path = "/etc:/no/such";
	spec.file = "passwd"; /* not executable in the one, not found in the other: the first error is told */
	failed(&spec, EACCES, PROC_STAGE_EXEC);
	spec.search_path = "/bin:/etc/passwd";
	spec.file = "nope";
	failed(&spec, ENOTDIR, PROC_STAGE_EXEC); /* as in Python: the last of the harmless ones */
	spec = sh(argv, "true");
	spec.cwd = "/no/such";
	failed(&spec, ENOENT, PROC_STAGE_CHDIR);
	spec.cwd = NULL;
	spec.fd1 = 9999;
	failed(&spec, EBADF, PROC_STAGE_SETUP);
	spec.fd1 = 1;
	fault_clone = (struct fault){EAGAIN, 0, 1, 0};
	failed(&spec, EAGAIN, PROC_STAGE_FORK);
	fault_clone = (struct fault){ENOMEM, 0, 1, 0};
	failed(&spec, ENOMEM, PROC_STAGE_FORK);
	faults_reset();
}

static void search(void **state)
{
	(void)state;
	char *argv[4], text[64];
	struct proc_spec spec = sh(argv, "echo found");
	spec.file = "sh";
	spec.search_path = NULL;
	capture(&spec, text, sizeof text);
	assert_string_equal(text, "found\n");
	spec.search_path = "/etc/passwd:/no/such::/bin/";
	capture(&spec, text, sizeof text);
	assert_string_equal(text, "found\n");
	spec.search_path = ""; /* the working directory */
	spec.cwd = "/bin";
	capture(&spec, text, sizeof text);
	assert_string_equal(text, "found\n");
}

static void *spawn_many(void *arg)
{
	size_t *wrong = arg;
	char *argv[4];
	for (int i = 0; i < 50; i++) {
		char script[32];
		snprintf(script, sizeof script, "exit %d", i);
		struct proc_spec spec = sh(argv, script);
		bool bad = i % 5 == 4;
		if (bad)
			spec.file = "/no/such";
		pid_t pid;
		enum proc_stage stage;
		int status, r = proc_spawn(&spec, &pid, &stage);
		if (bad ? r != -ENOENT : (r != 0 || waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != i))
			++*wrong;
	}
	return NULL;
}

static void threads_spawn_at_once(void **state)
{
	(void)state;
	pthread_t threads[8];
	size_t wrong[8] = {0};
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, spawn_many, &wrong[i]), 0);
	for (size_t i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(wrong[i], 0);
	}
}

static void dies_with_the_parent(void **state)
{
	(void)state;
	fflush(NULL);
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t parent = fork();
	if (parent == 0) {
		char *argv[4];
		struct proc_spec spec = sh(argv, "echo up; exec sleep 60");
		spec.fd1 = fds[1];
		pid_t pid;
		enum proc_stage stage;
		proc_spawn(&spec, &pid, &stage);
		close(fds[1]);
		pause();
		_exit(0);
	}
	close(fds[1]);
	char up[8];
	assert_int_equal(read(fds[0], up, 3), 3);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(fds[0], up, 1), 0); /* the pipe's last writer has gone */
	close(fds[0]);
}

static void controlling_terminal(void **state)
{
	(void)state;
	int master, slave;
	assert_int_equal(proc_pty_open(33, 77, &master, &slave), 0);
	assert_true(fcntl(master, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(slave, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(master, F_GETFL) & O_NONBLOCK);
	char *argv[4], text[256];
	struct proc_spec spec = sh(argv, "stty size; stty -a | grep -c -- ' -echo '; : > /dev/tty && echo ctty");
	spec.fd0 = slave;
	spec.controlling_tty = true;
	capture(&spec, text, sizeof text);
	assert_string_equal(text, "33 77\n1\nctty\n");
	struct termios t;
	tcgetattr(slave, &t);
	cfmakeraw(&t);
	tcsetattr(slave, TCSANOW, &t);
	assert_int_equal(proc_pty_reset(master), 1);
	assert_int_equal(proc_pty_reset(master), 0); /* nothing is left to do */
	tcgetattr(slave, &t);
	assert_true((t.c_lflag & (ICANON | ISIG)) == (ICANON | ISIG) && !(t.c_lflag & ECHO) && (t.c_oflag & ONLCR));
	close(master);
	close(slave);
	assert_int_equal(proc_pty_reset(-1), -EBADF);
}

int main(void)
{
	proc_spawn_remember_defaults();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(session_and_parent),
		cmocka_unit_test(signals_are_default),
		cmocka_unit_test(limits_are_as_found),
		cmocka_unit_test(origin_is_the_limit_of_locks),
		cmocka_unit_test(overlapping_fds),
		cmocka_unit_test(nothing_else_is_open),
		cmocka_unit_test(failures),
		cmocka_unit_test(search),
		cmocka_unit_test(threads_spawn_at_once),
		cmocka_unit_test(dies_with_the_parent),
		cmocka_unit_test(controlling_terminal),
	};
	return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}

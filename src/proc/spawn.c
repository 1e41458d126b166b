/* proc/spawn.c: one child, at the price of clone and execve alone.
 *
 * The child runs on a small stack of its own in our memory (CLONE_VM) while the calling thread sleeps (CLONE_VFORK),
 * as in glibc's posix_spawn, which can't do the half of what is needed here (controlling tty, subreaper, PDEATHSIG,
 * rlimits). Since memory is shared the child may neither allocate, lock nor return; all strings are made before, and
 * every signal is blocked until its handlers are reset, or a handler of ours would run in the child on our data.
 *
 * A failed start comes back as two variables in that shared memory. Emulators (qemu-user) run the clone as a fork: a
 * probe at the first spawn finds that out, and then a close-on-exec pipe carries the report instead.
 *
 * What the child gets back from before the server's time (nice value, rlimits) is process-wide state by nature and
 * recorded once. The child is registered in proc/roots.h before it exists, and marked as origin.c says. */
#include "proc/spawn.h"

#include "base/cleanup.h"
#include "proc/origin.h"
#include "proc/roots.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* glibc's sigset_t is larger than the kernel's, and sigfillset leaves glibc's own two signals out. */
typedef uint64_t kernel_sigset[_NSIG / 64];

enum { STACK_SIZE = 64 * 1024, SIGNAL_MAX = 64, CLOSE_LOOP_MAX = 65536 };

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NO_ASAN __attribute__((no_sanitize("address")))
#elif __has_feature(thread_sanitizer)
/* its clone() takes every clone for a fork, whose memory is not shared */
#define NO_ASAN __attribute__((no_sanitize("thread")))
#define clone __clone
#endif
#endif
#ifndef NO_ASAN
#define NO_ASAN __attribute__((no_sanitize_address))
#endif

static struct {
	bool known;
	int nice;
	struct rlimit limits[RLIM_NLIMITS];
} defaults;

static struct {
	pthread_once_t once;
	bool memory_is_shared;
} probe = {.once = PTHREAD_ONCE_INIT};

struct report {
	enum proc_stage stage;
	int errnum;
};

struct call {
	const struct proc_spec *spec;
	pid_t parent;
	struct rlimit origin;
	pid_t child; /* written by the child itself, read by killers in other threads */
	int pipe_fd; /* >= 0: memory is not shared, the report goes through this */
	struct report report;
};

void proc_spawn_remember_defaults(void)
{
	errno = 0;
	int nice_value = getpriority(PRIO_PROCESS, 0);
	defaults.nice = errno ? 0 : nice_value;
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (getrlimit((__rlimit_resource_t)i, &defaults.limits[i]) < 0)
			defaults.limits[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	defaults.known = true;
}

NO_ASAN static _Noreturn void fail(struct call *c, enum proc_stage stage)
{
	c->report.errnum = errno;
	c->report.stage = stage;
	if (c->pipe_fd >= 0)
		(void)!write(c->pipe_fd, &c->report, sizeof c->report);
	for (;;)
		_exit(127);
}

struct kernel_dirent {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

/* Without close_range: what /proc lists, or all numbers up to the limit. Every fd of ours is CLOEXEC anyway, this
 * is for those that were inherited or made by a host program. */
NO_ASAN static void close_listed(int first, int keep, int keep_last)
{
	_Alignas(struct kernel_dirent) char entries[4096];
	int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		struct rlimit nofile = {.rlim_cur = CLOSE_LOOP_MAX};
		getrlimit(RLIMIT_NOFILE, &nofile);
		for (int fd = first; fd < CLOSE_LOOP_MAX && (rlim_t)fd < nofile.rlim_cur; fd++)
			if (fd < keep || fd > keep_last)
				close(fd);
		return;
	}
	long n;
	while ((n = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0) {
		for (long at = 0; at < n;) {
			const struct kernel_dirent *e = (const struct kernel_dirent *)(const void *)(entries + at);
			int fd = 0;
			const char *p = e->name;
			for (; *p >= '0' && *p <= '9'; p++)
				fd = fd * 10 + (*p - '0');
			if (!*p && p != e->name && fd >= first && (fd < keep || fd > keep_last) && fd != dir)
				close(fd);
			at += e->reclen;
		}
	}
	close(dir);
}

NO_ASAN static int close_span(unsigned first, unsigned last)
{
#ifdef SYS_close_range
	return first > last ? 0 : (int)syscall(SYS_close_range, first, last, 0);
#else
	errno = ENOSYS;
	return -1;
#endif
}

NO_ASAN static void close_others(int keep, int keep_last)
{
	int r;
	if (keep < 3)
		r = close_span(3, ~0U);
	else
		r = close_span(3, (unsigned)keep - 1) | close_span((unsigned)keep_last + 1, ~0U);
	if (r < 0)
		close_listed(3, keep, keep_last);
}

/* A source that lies where another target will be is first moved out of the way. */
NO_ASAN static bool place_fds(const struct proc_spec *s)
{
	int from[5] = {s->fd0, s->fd1, s->fd2, s->extra_fd, s->next_fd};
	const int to[5] = {0, 1, 2, s->extra_target, s->extra_target + 1};
	int n = s->extra_fd < 0 ? 3 : s->next_fd < 0 ? 4 : 5;
	int clear_of = n > 3 ? to[n - 1] + 1 : 3;
	for (int i = 0; i < n; i++) {
		bool in_the_way = from[i] <= 2 || (n > 3 && from[i] >= to[3] && from[i] <= to[n - 1]);
		if (from[i] == to[i] || !in_the_way)
			continue;
		from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, clear_of);
		if (from[i] < 0)
			return false;
	}
	for (int i = 0; i < n; i++) {
		if (from[i] != to[i]) {
			if (dup2(from[i], to[i]) < 0)
				return false;
		} else if (fcntl(to[i], F_SETFD, 0) < 0) {
			return false;
		}
	}
	return true;
}

/* Best effort: a limit that can't be raised again was lowered by somebody who could. */
NO_ASAN static void restore_defaults(void)
{
	if (!defaults.known)
		return;
	setpriority(PRIO_PROCESS, 0, defaults.nice);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		setrlimit((__rlimit_resource_t)i, &defaults.limits[i]);
}

/* The kernel's own layout differs by architecture; zeroed it means SIG_DFL everywhere. */
NO_ASAN static void reset_signals(void)
{
	uint64_t action[8];
	for (size_t i = 0; i < 8; i++)
		action[i] = 0;
	for (int sig = 1; sig <= SIGNAL_MAX; sig++)
		syscall(SYS_rt_sigaction, sig, action, NULL, sizeof(kernel_sigset));
}

/* As CPython's child_exec: the first error other than ENOENT and ENOTDIR wins, the search goes on regardless. */
NO_ASAN static void exec_search(const struct proc_spec *s)
{
	const char *dirs = s->search_path ? s->search_path : "/bin:/usr/bin";
	char path[PATH_MAX];
	size_t file_len = strlen(s->file);
	int first_error = 0;
	for (;;) {
		size_t len = strcspn(dirs, ":");
		if (len + 1 + file_len < sizeof path) {
			memcpy(path, dirs, len);
			size_t at = len;
			if (len && path[len - 1] != '/')
				path[at++] = '/';
			memcpy(path + at, s->file, file_len + 1);
			execve(path, s->argv, s->envp);
		} else {
			errno = ENAMETOOLONG;
		}
		if (errno != ENOENT && errno != ENOTDIR && !first_error)
			first_error = errno;
		if (!dirs[len])
			break;
		dirs += len + 1;
	}
	if (first_error)
		errno = first_error;
}

NO_ASAN static int child_main(void *arg)
{
	struct call *c = arg;
	const struct proc_spec *s = c->spec;
	pid_t self = (pid_t)syscall(SYS_getpid);
	__atomic_store_n(&c->child, self, __ATOMIC_RELEASE);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != c->parent)
		_exit(127); /* ended before the prctl: nobody is there to report to */
	reset_signals();
	if (setsid() < 0)
		fail(c, PROC_STAGE_SETUP);
	if (s->subreaper)
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (!place_fds(s))
		fail(c, PROC_STAGE_SETUP);
	if (c->pipe_fd < 0) /* else CLOEXEC must do: the report's pipe is among them */
		close_others(s->extra_fd >= 0 ? s->extra_target : -1, s->extra_target + (s->next_fd >= 0));
	if (s->controlling_tty && ioctl(0, TIOCSCTTY, 0) < 0)
		fail(c, PROC_STAGE_SETUP);
	if (s->cwd && chdir(s->cwd) < 0)
		fail(c, PROC_STAGE_CHDIR);
	restore_defaults();
	setrlimit(PROC_ORIGIN_RESOURCE, &c->origin);
	kernel_sigset none = {0};
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, sizeof none);
	if (strchr(s->file, '/'))
		execve(s->file, s->argv, s->envp);
	else
		exec_search(s);
	fail(c, PROC_STAGE_EXEC);
}

NO_ASAN static int probe_child(void *arg)
{
	*(volatile int *)arg = 1;
	return 0;
}

/* With CLONE_PIDFD in flags *ret_pidfd is set; it stays as it is where the kernel (or an emulator) knows of no pidfds.
 */
static pid_t clone_on_stack(int (*fn)(void *arg), void *arg, int flags, int *ret_pidfd)
{
	void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
	pid_t pid = clone(fn, (char *)stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | flags, arg, ret_pidfd);
	if (pid < 0 && errno == EINVAL && flags & CLONE_PIDFD)
		pid = clone(fn, (char *)stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | (flags & ~CLONE_PIDFD), arg, NULL);
	int saved = errno;
	munmap(stack, STACK_SIZE);
	return pid < 0 ? -saved : pid;
}

static void run_probe(void)
{
	volatile int mark = 0;
	kernel_sigset all, before;
	memset(all, 0xff, sizeof all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, all, before, sizeof all);
	int64_t id = proc_roots_begin(NULL, 0);
	pid_t pid = id < 0 ? -ENOMEM : clone_on_stack(probe_child, (void *)(uintptr_t)&mark, SIGCHLD, NULL);
	/* When nothing can be cloned now the pipe is the answer that is right in any case. */
	probe.memory_is_shared = mark != 0;
	if (pid > 0) {
		proc_roots_started(id, pid, -1);
		proc_roots_reap_failed(id, pid);
	} else if (id > 0) {
		proc_roots_cancel(id);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, NULL, sizeof before);
}

/* Blocks until the exec (end of file) or a report. */
static void read_report(int fd, struct report *report)
{
	struct report got;
	ssize_t n;
	do
		n = read(fd, &got, sizeof got);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof got)
		*report = got;
}

int proc_spawn(const struct proc_spec *spec, pid_t *ret_pid, enum proc_stage *ret_stage)
{
	pthread_once(&probe.once, run_probe);
	struct call call = {.spec = spec, .parent = getpid(), .pipe_fd = -1};
	cleanup_fd int report_read = -1;
	cleanup_fd int report_write = -1;
	if (!probe.memory_is_shared) {
		int fds[2];
		if (pipe2(fds, O_CLOEXEC) < 0) {
			*ret_stage = PROC_STAGE_FORK;
			return -errno;
		}
		report_read = fds[0];
		report_write = fcntl(fds[1], F_DUPFD_CLOEXEC, spec->extra_target > 2 ? spec->extra_target + 1 : 3);
		close(fds[1]);
		if (report_write < 0) {
			*ret_stage = PROC_STAGE_FORK;
			return -errno;
		}
		call.pipe_fd = report_write;
	}
	int64_t id = proc_roots_begin(probe.memory_is_shared ? &call.child : NULL, spec->group);
	if (id < 0) {
		*ret_stage = PROC_STAGE_FORK;
		return (int)id;
	}
	call.origin = proc_origin_limit(proc_origin_mark(spec->group, id));
	kernel_sigset all, before;
	memset(all, 0xff, sizeof all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, all, before, sizeof all);
	int pidfd = -1;
	/* a reaper that must not wait for all children waits by this */
	int flags = SIGCHLD | (proc_roots_adopting() ? 0 : CLONE_PIDFD);
	pid_t pid = clone_on_stack(child_main, &call, flags, &pidfd);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, NULL, sizeof before);
	if (pid < 0) {
		proc_roots_cancel(id);
		*ret_stage = PROC_STAGE_FORK;
		return pid;
	}
	proc_roots_started(id, pid, pidfd);
	if (report_read >= 0) {
		close(steal_fd(&report_write));
		read_report(report_read, &call.report);
	}
	if (call.report.stage != PROC_STAGE_NONE) {
		proc_roots_reap_failed(id, pid);
		*ret_stage = call.report.stage;
		return -call.report.errnum;
	}
	*ret_pid = pid;
	return 0;
}

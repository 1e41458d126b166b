/* tests/unit/proctest.c: helpers for tests of processes.
 *
 * Faults are injected at link time (-Wl,--wrap): each wrapper either fails with the wanted errno or passes the call on.
 * They count calls in every thread, hence the atomics; the sanitizers' own allocator is below the wrappers. */
#include "proctest.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

struct fault fault_clone, fault_pipe2, fault_memory, fault_read, fault_open, fault_access, fault_setrlimit;
bool short_reads;

double now_seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

bool wait_until(bool (*condition)(void *arg), void *arg, double seconds)
{
	double end = now_seconds() + seconds;
	while (!condition(arg)) {
		if (now_seconds() > end)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	return true;
}

/* Zombies have an empty command line; arguments are told apart by NULs, which become blanks but for the last. */
size_t count_processes(const char *text)
{
	size_t found = 0;
	DIR *dir = opendir("/proc");
	struct dirent *e;
	while (dir && (e = readdir(dir)) != NULL) {
		char path[300], line[4096];
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
		if (fd >= 0)
			close(fd);
		for (ssize_t i = 0; i + 1 < n; i++)
			if (line[i] == '\0')
				line[i] = ' ';
		if (n > 0) {
			line[n] = '\0';
			bool whole = strncmp(text, "sleep ", 6) == 0;
			found += whole ? strcmp(line, text) == 0 : strstr(line, text) != NULL;
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

size_t count_fds(void)
{
	size_t n = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

void faults_reset(void)
{
	fault_clone = fault_pipe2 = fault_memory = fault_read = fault_open = fault_access = fault_setrlimit =
		(struct fault){0};
	short_reads = false;
}

static bool hit(struct fault *f)
{
	if (!f->errnum)
		return false;
	long call = __atomic_fetch_add(&f->calls, 1, __ATOMIC_RELAXED);
	if (call < f->fail_after || call >= f->fail_after + f->times)
		return false;
	errno = f->errnum;
	return true;
}

int __real_clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);
int __wrap_clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);
int __wrap_clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...)
{
	int *pidfd = NULL;
	if (flags & CLONE_PIDFD) {
		va_list more;
		va_start(more, arg);
		pidfd = va_arg(more, int *);
		va_end(more);
	}
	return hit(&fault_clone) ? -1 : __real_clone(fn, stack, flags, arg, pidfd);
}

int __real_pipe2(int fds[2], int flags);
int __wrap_pipe2(int fds[2], int flags);
int __wrap_pipe2(int fds[2], int flags)
{
	return hit(&fault_pipe2) ? -1 : __real_pipe2(fds, flags);
}

ssize_t __real_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len)
{
	if (hit(&fault_read))
		return -1;
	return __real_read(fd, data, short_reads && len > 1 ? 1 : len);
}

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
	return hit(&fault_access) ? -1 : __real_access(path, mode);
}

/* The sanitizers' own start calls these, before what their checks need is there. */
#define BEFORE_SANITIZERS __attribute__((no_sanitize("address"))) __attribute__((no_sanitize("undefined")))

int __real_setrlimit(int resource, const struct rlimit *limit);
int __wrap_setrlimit(int resource, const struct rlimit *limit);
BEFORE_SANITIZERS int __wrap_setrlimit(int resource, const struct rlimit *limit)
{
	return fault_setrlimit.errnum && hit(&fault_setrlimit) ? -1 : __real_setrlimit(resource, limit);
}

int __real_setrlimit64(int resource, const struct rlimit *limit);
int __wrap_setrlimit64(int resource, const struct rlimit *limit);
BEFORE_SANITIZERS int __wrap_setrlimit64(int resource, const struct rlimit *limit)
{
	return fault_setrlimit.errnum && hit(&fault_setrlimit) ? -1 : __real_setrlimit64(resource, limit);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	return hit(&fault_open) ? -1 : __real_openat(dir, path, flags);
}

int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...)
{
	return hit(&fault_open) ? -1 : __real_openat64(dir, path, flags);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return hit(&fault_memory) ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return hit(&fault_memory) ? NULL : __real_calloc(n, size);
}

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
	return hit(&fault_memory) ? NULL : __real_realloc(p, size);
}

/* proc/origin.c: a mark that every descendant of a root bears.
 *
 * When a root has ended, its daemons are children of ours like those of every other tree: session, group and terminal
 * may be gone, the environment cleared, all descriptors closed. What no program touches is its limit of file locks:
 * Linux has not enforced that one since 2.4.25, yet it is inherited by fork and exec, and /proc/<pid>/limits shows it
 * of every user's processes. So a root gets a soft limit of its own, larger than any number of locks could be: a random
 * group, that of the engine which started it or else this process's own, and the root's id. In an environment variable
 * it would be seen by everybody who looks, and lost with `env -i`. 34 random bits: two groups of one machine are never
 * the same, so none needs to be registered anywhere or given back. An id comes again after 2^28 roots.
 *
 * A process that has changed its limit is nobody's. Where the limit can't be set at all (a hard limit below it, a
 * kernel in user space that has none) nothing is known of anybody, and the rules of tree.c decide in doubt. */
#include "proc/origin.h"

#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define ABOVE_ALL (UINT64_C(1) << 62)
#define ID_MASK ((UINT64_C(1) << 28) - 1)
#define GROUP_MASK ((UINT64_C(1) << 62) - 1 - ID_MASK)
#define HIGHEST (ABOVE_ALL | GROUP_MASK | ID_MASK)

static struct {
	pthread_once_t once;
	uint64_t group;
} own = {.once = PTHREAD_ONCE_INIT};

uint64_t proc_origin_new_group(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	/* should there be no such call */
	uint64_t random = (uint64_t)getpid() << 28 ^ (uint64_t)now.tv_sec << 44 ^ (uint64_t)now.tv_nsec << 28;
	(void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
	return ABOVE_ALL | (random & GROUP_MASK);
}

static void make_own(void)
{
	own.group = proc_origin_new_group();
}

static bool usable(struct rlimit *limit)
{
	return getrlimit(PROC_ORIGIN_RESOURCE, limit) == 0 && limit->rlim_max >= HIGHEST &&
	       setrlimit(PROC_ORIGIN_RESOURCE, limit) == 0;
}

bool proc_origin_usable(void)
{
	struct rlimit limit;
	return usable(&limit) && access("/proc/self/limits", R_OK) == 0;
}

uint64_t proc_origin_mark(uint64_t group, int64_t id)
{
	pthread_once(&own.once, make_own);
	return (group ? group : own.group) | ((uint64_t)id & ID_MASK);
}

uint64_t proc_origin_group(uint64_t mark)
{
	return mark & ~ID_MASK;
}

struct rlimit proc_origin_limit(uint64_t mark)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	if (usable(&limit))
		limit.rlim_cur = mark;
	return limit;
}

uint64_t proc_origin_read(pid_t pid)
{
	char path[32], text[2048];
	snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	while (fd >= 0 && len < sizeof text - 1) {
		ssize_t n = read(fd, text + len, sizeof text - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	static const char row[] = "\nMax file locks";
	const char *at = strstr(text, row);
	if (!at)
		return 0;
	uint64_t value = strtoull(at + sizeof row - 1, NULL, 10); /* "unlimited" gives 0 */
	return value < ABOVE_ALL || value > HIGHEST ? 0 : value;
}

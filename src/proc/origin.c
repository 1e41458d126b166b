/* proc/origin.c: a mark that every descendant of a root bears.
 *
 * When a root has ended, its daemons are children of ours like those of every other tree: session, group and terminal
 * may be gone, the environment cleared, all descriptors closed. What no program touches is its limit of file locks:
 * Linux has not enforced that one since 2.4.25, yet it is inherited by fork and exec, and /proc/<pid>/limits shows it
 * of every user's processes. So a root gets a soft limit of its own, larger than any number of locks could be: a tag of
 * this process and the root's id. In an environment variable it would be seen by everybody who looks, and lost with
 * `env -i`.
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
#include <unistd.h>

#define ABOVE_ALL (UINT64_C(1) << 62)
#define ID_MASK UINT64_C(0xffffffff)
#define TAG_MASK (~ID_MASK)

static struct {
	pthread_once_t once;
	uint64_t tag;
} origin = {.once = PTHREAD_ONCE_INIT};

static void make_tag(void)
{
	uint32_t random = (uint32_t)getpid(); /* should there be no such call */
	(void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
	origin.tag = ABOVE_ALL | (uint64_t)(random >> 2) << 32;
}

static bool usable(struct rlimit *limit)
{
	pthread_once(&origin.once, make_tag);
	return getrlimit(PROC_ORIGIN_RESOURCE, limit) == 0 && limit->rlim_max >= (origin.tag | ID_MASK) &&
	       setrlimit(PROC_ORIGIN_RESOURCE, limit) == 0;
}

bool proc_origin_usable(void)
{
	struct rlimit limit;
	return usable(&limit) && access("/proc/self/limits", R_OK) == 0;
}

struct rlimit proc_origin_limit(int64_t id)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	if (usable(&limit))
		limit.rlim_cur = origin.tag | ((uint64_t)id & ID_MASK);
	return limit;
}

int64_t proc_origin_read(pid_t pid)
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
	pthread_once(&origin.once, make_tag);
	uint64_t value = strtoull(at + sizeof row - 1, NULL, 10); /* "unlimited" gives 0 */
	if (value < ABOVE_ALL)
		return 0;
	return (value & TAG_MASK) == origin.tag ? (int64_t)(value & ID_MASK) : -1;
}

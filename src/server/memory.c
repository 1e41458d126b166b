/* server/memory.c: the memory limit of a container, as the kernel tells it from inside.
 *
 * A container that sees its own cgroup as the root finds the limit at the top of the mount; one that sees the host's
 * hierarchy finds its path in /proc/self/cgroup. Both places are read, of version 2 and of version 1, and every group
 * above counts, because the least of them is what strikes. What can't be read is no limit. */
#include "server/memory.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

static const char *const files[] = {"memory.max", "memory.limit_in_bytes"};
static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/memory"};

static uint64_t read_number(const char *path)
{
	char text[64];
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	unsigned long long value;
	if (n <= 0)
		return UINT64_MAX;
	text[n] = '\0';
	return sscanf(text, "%llu", &value) == 1 && value > 0 ? value : UINT64_MAX; /* "max" is none */
}

static uint64_t limit_of(const char *group, uint64_t least)
{
	for (int i = 0; i < 2; i++) {
		char path[PATH_MAX];
		if (snprintf(path, sizeof path, "%s%s/%s", mounts[i], group, files[i]) >= (int)sizeof path)
			continue;
		uint64_t limit = read_number(path);
		least = limit < least ? limit : least;
	}
	return least;
}

/* "0::/a/b", or "9:memory:/a/b": the group and all above it. */
static uint64_t limit_of_line(char *line, uint64_t least)
{
	char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!group)
		return least;
	*group++ = '\0';
	group[strcspn(group, "\n")] = '\0';
	if (controllers[1] != '\0' && !strstr(controllers, "memory"))
		return least;
	for (char *slash; (slash = strrchr(group, '/')); *slash = '\0')
		least = limit_of(group, least);
	return least;
}

uint64_t memory_limit(void)
{
	struct sysinfo info;
	uint64_t least = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : UINT64_MAX;
	least = limit_of("", least);
	char text[8192];
	cleanup_fd int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	text[n > 0 ? n : 0] = '\0';
	char *rest;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		least = limit_of_line(line, least);
	return least;
}

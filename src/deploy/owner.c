/* deploy/owner.c: which program a sandbox belongs to, as a label that can be judged later.
 *
 * A pid alone is used again: with the time of its start, the boot, and the pid namespace that counts it, it names one
 * process for ever. Only when all of these are this machine's can the process be said to be gone; a sandbox of a
 * program on another machine, or in a container, is never judged, with one exception: this machine has been booted
 * since. */
#include "deploy/owner.h"

#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct owner {
	char host[65], boot[40], space[24], start[24];
	int pid;
};

static bool read_small(const char *path, char *ret, size_t size)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);
	ret[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The 22nd word of /proc/PID/stat; the second may hold anything and ends with the last ')'. ret_ended: a zombie, which
 * stays until its parent looks (pid 1 of many a container never does); with other threads the process still runs. */
static bool read_start(int pid, char *ret, size_t size, bool *ret_ended)
{
	char path[64], stat[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (!read_small(path, stat, sizeof stat))
		return false;
	char *at = strrchr(stat, ')');
	bool zombie = at && (strncmp(at, ") Z", 3) == 0 || strncmp(at, ") X", 3) == 0);
	*ret_ended = false;
	for (int word = 2; at && word < 22; word++) {
		at = strchr(at + 1, ' ');
		if (at && word + 1 == 20)
			*ret_ended = zombie && strtol(at, NULL, 10) <= 1;
	}
	if (!at)
		return false;
	at++;
	at[strcspn(at, " \n")] = '\0';
	snprintf(ret, size, "%s", at);
	return true;
}

static void read_here(struct owner *o)
{
	*o = (struct owner){.pid = 0};
	if (gethostname(o->host, sizeof o->host - 1) < 0)
		o->host[0] = '\0';
	read_small("/proc/sys/kernel/random/boot_id", o->boot, sizeof o->boot);
	o->boot[strcspn(o->boot, "\n")] = '\0';
	ssize_t n = readlink("/proc/self/ns/pid", o->space, sizeof o->space - 1);
	o->space[n > 0 ? n : 0] = '\0';
}

char *owner_of_this_process(void)
{
	struct owner o;
	char *label;
	bool ended;
	read_here(&o);
	if (!read_start(getpid(), o.start, sizeof o.start, &ended))
		o.start[0] = '\0';
	return asprintf(&label, "%s/%s/%s/%d/%s", o.host, o.boot, o.space, getpid(), o.start) < 0 ? NULL : label;
}

bool owner_is_gone(const char *owner)
{
	struct owner o = {.pid = 0}, here;
	if (sscanf(owner, "%64[^/]/%39[^/]/%23[^/]/%d/%23[^/]", o.host, o.boot, o.space, &o.pid, o.start) != 5)
		return false;
	read_here(&here);
	if (strcmp(o.host, here.host) != 0)
		return false;
	if (strcmp(o.boot, here.boot) != 0)
		return true;
	if (strcmp(o.space, here.space) != 0 || o.pid <= 0)
		return false;
	bool ended;
	if (read_start(o.pid, here.start, sizeof here.start, &ended))
		return ended || strcmp(o.start, here.start) != 0;
	return kill(o.pid, 0) < 0 && errno == ESRCH; /* /proc may hide other users' processes */
}

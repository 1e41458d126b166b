/* proc/origin.h: which root a process descends from, however far it has gone from it. Internal to src/proc. */
#ifndef PROC_ORIGIN_H
#define PROC_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* The resource whose soft limit says it. */
#define PROC_ORIGIN_RESOURCE RLIMIT_LOCKS

/* The limit that the root of this id (roots.h) is to have. What it is now, where it can't be used for this. */
struct rlimit proc_origin_limit(int64_t id);

/* Whether roots get such a limit: then a process without one is of no root. */
bool proc_origin_usable(void);

/* The id of the root that this process descends from; 0: not known. -1: that of another process than this one. */
int64_t proc_origin_read(pid_t pid);

#endif

/* proc/origin.h: which root a process descends from, however far it has gone from it. Beside src/proc only an engine
 * uses it, for a group of its own. */
#ifndef PROC_ORIGIN_H
#define PROC_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* The resource whose soft limit says it. */
#define PROC_ORIGIN_RESOURCE RLIMIT_LOCKS

/* A group of roots that can be told from all others of this machine; never 0. */
uint64_t proc_origin_new_group(void);

/* What all processes that descend from this root (roots.h) bear. group 0: this process's own. */
uint64_t proc_origin_mark(uint64_t group, int64_t id);
uint64_t proc_origin_group(uint64_t mark);

/* The limit that the root of this mark is to have. What it is now, where it can't be used for this. */
struct rlimit proc_origin_limit(uint64_t mark);

/* Whether roots get such a limit: then a process without one is of no root. */
bool proc_origin_usable(void);

/* The mark that this process bears; 0: none is known. */
uint64_t proc_origin_read(pid_t pid);

#endif

/* proc/orphans.h: which children of this process an ended root may have left to it. Internal to src/proc. */
#ifndef PROC_ORPHANS_H
#define PROC_ORPHANS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_orphans {
	pid_t *items; /* owned */
	size_t n, cap;
};

/* Replaces the content by all children that are no roots and bear no other root's mark (origin.h) than this one, as of
 * one moment in the call. 0 or a negative errno; -EAGAIN: there was no such moment. Only where orphans come to us and
 * proc_scan_lists_children(). */
int proc_orphans_list(struct proc_orphans *orphans, uint64_t mark);
int proc_orphans_add(struct proc_orphans *orphans, pid_t pid); /* at the end; 0 or -ENOMEM */
void proc_orphans_deinit(struct proc_orphans *orphans);

#endif

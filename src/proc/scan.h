/* proc/scan.h: one look at all processes. Internal to src/proc and its tests. */
#ifndef PROC_SCAN_H
#define PROC_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum proc_relation { PROC_RELATION_UNKNOWN, PROC_RELATION_OWN, PROC_RELATION_OTHER };

struct proc_stat {
	pid_t pid, ppid, pgrp, sid;
	int threads;
	char state;	/* as in /proc/<pid>/stat: R S D T t Z X ... */
	uint64_t start; /* ns since boot, rounded down to a tick of 10 ms */
	/* for tree.c */
	bool member, killed, carried;
	enum proc_relation relation;	    /* to the tree's root, by the marks that it bears */
	uint32_t first_child, next_sibling; /* indexes + 1; 0: none */
};

struct proc_scan {
	struct proc_stat *items; /* owned; ascending by pid */
	size_t n, cap;
	bool unresolved; /* some parent ended while we looked: its children were not found below anything */
	/* Told of each process in the moment in which it is found; NULL: nobody. */
	void (*found)(void *arg, struct proc_stat *s);
	void *found_arg;
};

/* Parses the text of /proc/<pid>/stat. False when it is cut short or none. */
bool proc_stat_parse(const char *text, size_t len, struct proc_stat *ret);

/* Replaces the content (memory is used again). 0 or a negative errno; -ENOSYS when /proc does not show this process.
 * stopped: an earlier scan whose living members are known to be stopped, or NULL: these are not read again but carried
 * over, which makes a scan of a large stopped tree some ten times faster, faster than its remnants can breed. */
int proc_scan_read(struct proc_scan *scan, const struct proc_scan *stopped);
/* The same for this process, the tops and what is below them, at a cost in proportion to that alone. -E2BIG: more than
 * max processes. Only where proc_scan_lists_children(). */
int proc_scan_read_below(struct proc_scan *scan, const pid_t *tops, size_t n_tops, size_t max);
/* Tells the children of this process, whichever thread has borne or adopted them, those included that have ended.
 * Complete as of its begin unless one was reaped meanwhile. Stops at each's first negative result and returns it. */
int proc_scan_list_own(int (*each)(void *arg, pid_t child), void *arg);
bool proc_scan_lists_children(void);
void proc_scan_deinit(struct proc_scan *scan);
struct proc_stat *proc_scan_find(const struct proc_scan *scan, pid_t pid);

static inline bool proc_stat_is_alive(const struct proc_stat *s)
{
	/* A process whose first thread has ended alone looks like a zombie and runs on. */
	return (s->state != 'Z' && s->state != 'X' && s->state != 'x') || s->threads > 1;
}

#endif

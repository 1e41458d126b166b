/* proc/orphans.c: the children that nobody has started here.
 *
 * When a root has ended, all that is left of its tree is below children of ours: the kernel gives orphans to their
 * nearest subreaper, and between the root and us there was none. So the list of our own children says what a look at
 * every process of the machine would, for a hundredth of its price, which counts when hundreds of roots end at once.
 *
 * The kernel's list leaves out others when somebody in it is reaped while it is read. All our reaping is counted
 * (roots.h), so a list that was read while the count stood still is complete as of its begin, and its pids mean whom
 * they meant then; else it is read again. (A thread of ours that ends would hand its children to another; those that
 * start children live as long as the process, see spawn.h.)
 *
 * Those who kill make their lists one after the other: together they would take all processors from the loop. */
#include "proc/orphans.h"

#include "proc/origin.h"
#include "proc/roots.h"
#include "proc/scan.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { TRIES = 50, PAUSE_NS = 1000000 };

int proc_orphans_add(struct proc_orphans *o, pid_t child)
{
	if (o->n == o->cap) {
		size_t cap = o->cap ? o->cap * 2 : 64;
		pid_t *grown = realloc(o->items, cap * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		o->items = grown;
		o->cap = cap;
	}
	o->items[o->n++] = child;
	return 0;
}

static int add(void *arg, pid_t child)
{
	return proc_orphans_add(arg, child);
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

/* A root that does not fit, or that has not written its pid yet, is told by its mark below, or stays in doubt. */
static int drop_roots(struct proc_orphans *o)
{
	if (o->n == 0)
		return 0;
	pid_t *roots = malloc(o->n * sizeof *roots);
	if (!roots)
		return -ENOMEM;
	proc_roots_lock();
	size_t n_roots = proc_roots_pids(roots, o->n);
	proc_roots_unlock();
	qsort(o->items, o->n, sizeof *o->items, by_pid);
	qsort(roots, n_roots, sizeof *roots, by_pid);
	size_t kept = 0;
	for (size_t i = 0, r = 0; i < o->n; i++) {
		while (r < n_roots && roots[r] < o->items[i])
			r++;
		if (r == n_roots || roots[r] != o->items[i])
			o->items[kept++] = o->items[i];
	}
	o->n = kept;
	free(roots);
	return 0;
}

static void drop_others(struct proc_orphans *o, uint64_t mark)
{
	size_t kept = 0;
	for (size_t i = 0; i < o->n; i++) {
		uint64_t found = proc_origin_read(o->items[i]);
		if (found == 0 || found == mark)
			o->items[kept++] = o->items[i];
	}
	o->n = kept;
}

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static uint64_t reaped(void)
{
	proc_roots_lock();
	uint64_t n = proc_roots_reaped();
	proc_roots_unlock();
	return n;
}

/* 1: the list is complete as of its begin. */
static int try_list(struct proc_orphans *o, uint64_t mark)
{
	uint64_t before = reaped();
	o->n = 0;
	int r = proc_scan_list_own(add, o);
	if (r == 0)
		r = drop_roots(o);
	if (r < 0)
		return r;
	drop_others(o, mark);
	return reaped() == before;
}

int proc_orphans_list(struct proc_orphans *o, uint64_t mark)
{
	for (int i = 0; i < TRIES; i++) {
		pthread_mutex_lock(&turn);
		int r = try_list(o, mark);
		pthread_mutex_unlock(&turn);
		if (r != 0)
			return r < 0 ? r : 0;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
	return -EAGAIN;
}

void proc_orphans_deinit(struct proc_orphans *o)
{
	free(o->items);
	*o = (struct proc_orphans){0};
}

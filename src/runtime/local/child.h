/* runtime/local/child.h: what everything that runs one program for a request has in common. */
#ifndef RUNTIME_LOCAL_CHILD_H
#define RUNTIME_LOCAL_CHILD_H

#include "proc/tree.h"
#include "runtime/local/internal.h"

/* A pipe, CLOEXEC on both ends. 0 or a negative errno. */
int child_pipe(int *ret_read, int *ret_write);

/* Kills the child's whole tree; its orphans are also known by the pipes in fds (-1: none), at most PROC_TREE_MARKS_MAX
 * of them. done is called exactly once, possibly before this returns. */
void child_kill(struct local *rt, pid_t pid, bool exited, const int *fds, size_t n_fds, proc_tree_done_fn done,
		void *arg);

/* NO_EXIT_CODE, for a status that is PROC_STATUS_UNKNOWN. what: "command" */
void child_lost_error(const char *what, struct crex_error *err);

#endif

/* proc/reaper.h: who learns that a child has ended.
 *
 * One reaper a loop. Watched children are reported once, with their wait status. In adopt_orphans mode
 * (the server) it also waits for children that nobody watches (orphans that the kernel handed to us as
 * subreaper or PID 1); a host program that links the library must not use that mode, since the
 * program's own children are none of our business. There no signal is touched (Linux 5.3 and later). */
#ifndef PROC_REAPER_H
#define PROC_REAPER_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

struct proc_reaper;

/* status is as from waitpid, or PROC_STATUS_UNKNOWN (proc/roots.h) in a host program that has taken it away. Called on
 * the loop's thread. */
typedef void (*proc_exit_fn)(void *arg, pid_t pid, int status);

struct proc_reaper *proc_reaper_new(uv_loop_t *loop, bool adopt_orphans); /* NULL: no memory */
void proc_reaper_free(struct proc_reaper *r); /* closes its handles; run the loop once afterwards */

/* Reports the end of pid; it may already have ended (and even have been reaped by us between spawn in a
 * worker thread and this call: the status of unwatched children is kept for a while for that). 0 or -ENOMEM. */
int proc_reaper_watch(struct proc_reaper *r, pid_t pid, proc_exit_fn fn, void *arg);
void proc_reaper_unwatch(struct proc_reaper *r, pid_t pid);

#endif

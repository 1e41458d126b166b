/* proc/roots.h: which direct children of this process are roots of trees, and when the ended ones lived.
 *
 * Internal to src/proc (and its tests). Whoever wants to signal a pid must know that it still means the process that
 * he thinks of. Pids of direct children are freed by wait() alone, so all waiting goes through proc_roots_wait(),
 * and whoever holds the lock may signal a registered root or an orphan that it has just seen without any doubt.
 * The table is the process's and not an object's because children are the process's: waitpid(-1) knows no
 * objects either. */
#ifndef PROC_ROOTS_H
#define PROC_ROOTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* In the place of a wait status that is lost: neither WIFEXITED nor WIFSIGNALED. */
#define PROC_STATUS_UNKNOWN (-1)

/* A root is registered before it is cloned: a killer in another thread must never take a newborn root for an orphan.
 * `early` is where the child itself writes its pid as its first act (it shares our memory), alive until started or
 * cancel; may be NULL. group: as in struct proc_spec. Returns an id > 0 or -ENOMEM. */
int64_t proc_roots_begin(const pid_t *early, uint64_t group);
/* pidfd: of the child, CLOEXEC, the table's from here on; -1: none. */
void proc_roots_started(int64_t id, pid_t pid, int pidfd);
/* The pidfd of a living root, now the caller's; -1: none. */
int proc_roots_take_pidfd(pid_t pid);
void proc_roots_cancel(int64_t id); /* nothing was cloned */
/* The child of this begin has failed to exec and is ending: waits for it (some microseconds) and forgets it. */
void proc_roots_reap_failed(int64_t id, pid_t pid);

/* waitpid(which, status, WNOHANG), keeping the table true. Returns its result or a negative errno. */
pid_t proc_roots_wait(pid_t which, int *ret_status);

/* The same for the child behind a pidfd that has become readable: pid, or -ECHILD when somebody else in this process
 * has waited for it (or it ignores SIGCHLD); *ret_status is what the kernel still tells of it then (Linux 6.15), else
 * PROC_STATUS_UNKNOWN. 0: it has not ended. */
pid_t proc_roots_wait_pidfd(int pidfd, pid_t pid, int *ret_status);
/* Nobody will ever wait for this root: somebody else has. */
void proc_roots_lost(pid_t pid);

/* From now on orphans come to us and direct children that nobody registered are such orphans. */
void proc_roots_set_adopting(void);

/* For tree.c: all below needs the lock. */
void proc_roots_lock(void);
void proc_roots_unlock(void);

enum proc_root_state { PROC_ROOT_UNKNOWN, PROC_ROOT_ALIVE, PROC_ROOT_ENDED };
enum proc_root_state proc_roots_state(pid_t root);
/* The mark of the root (origin.h) and its start, rounded down as in struct proc_stat. False: unknown. */
bool proc_roots_identity(pid_t root, uint64_t *ret_mark, uint64_t *ret_start);
/* Is pid (a direct child, alive or zombie) a root, or possibly a newborn one? start: its start in ns since boot. */
bool proc_roots_is_root(pid_t pid, uint64_t start);
/* How many children have been reaped so far: as long as it stays the same no child has left the kernel's lists. */
uint64_t proc_roots_reaped(void);
/* The registered roots, alive or zombies, at most max of them. Returns how many were written. */
size_t proc_roots_pids(pid_t *ret, size_t max);
bool proc_roots_adopting(void);
/* Could an orphan of ours that started at `start` have come from no other root than `root`? True only when that is
 * certain. (From an orphan of other origin that is still there it may have come all the same: the caller sees those.)
 * unreaped(arg, pid): whether a registered root has ended already (a zombie). */
bool proc_roots_claims(pid_t root, uint64_t start, bool (*unreaped)(void *arg, pid_t pid), void *arg);

uint64_t proc_roots_now(void); /* ns since boot, suspended time included, as /proc/<pid>/stat counts */

#endif

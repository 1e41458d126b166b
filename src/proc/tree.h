/* proc/tree.h: killing a whole process tree, setsid and double forks included.
 *
 * Roots are started as subreapers of their own tree, so that while the root lives every descendant,
 * however detached, is found below it in /proc. The killer stops the root (a stopped process still
 * adopts), kills everything below until a scan finds nothing alive, then kills the root. When the root
 * has already ended, its orphans have come to us: they are found as children of this process that
 * nobody watches, by session and process group, and through their own descendants. Roots are those that proc_spawn
 * has started (proc/roots.h). */
#ifndef PROC_TREE_H
#define PROC_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

/* Synchronous; takes from 1 ms to some 100 ms; call it in a worker thread. root: pid of the tree's root,
 * which was started with setsid (so its pid is also a session id and a process group id).
 * keep_root: kill only what is below it (used by the interrupt's last step; the root is continued again).
 * Returns the number of processes that were killed, or a negative errno when /proc can't be read (then the
 * session's process groups are killed, which is all that can be done without it). */
int proc_tree_kill(pid_t root, bool keep_root);

/* The same in a worker thread; done is called on the loop's thread, exactly once. 0 or negative errno. */
typedef void (*proc_tree_done_fn)(void *arg, int result);
int proc_tree_kill_async(uv_loop_t *loop, pid_t root, bool keep_root, proc_tree_done_fn done, void *arg);

/* A file that only this tree was given, e.g. the pipe of its output. Orphans of a root that has ended are found by it
 * even when they have left the session, where origin.h knows nothing. */
struct proc_tree_mark {
	dev_t dev;
	ino_t ino;
};
enum { PROC_TREE_MARKS_MAX = 2 };
int proc_tree_kill_marked(pid_t root, bool keep_root, const struct proc_tree_mark *marks, size_t n_marks);
int proc_tree_kill_marked_async(uv_loop_t *loop, pid_t root, bool keep_root, const struct proc_tree_mark *marks,
				size_t n_marks, proc_tree_done_fn done, void *arg); /* marks are copied */

/* Kills every descendant of this process (server's end). Synchronous. */
int proc_tree_kill_all(void);

/* Kills whatever descends from roots of this group (struct proc_spec) and all below that, wherever it has gone: orphans
 * that have come to another process too. proc_origin_new_group() makes groups; since: proc_roots_now() of a moment
 * before the group's first root. Nothing is found where origin.h can't mark processes. Synchronous. */
int proc_tree_kill_group(uint64_t group, uint64_t since);

#endif

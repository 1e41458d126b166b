/* proc/spawn.h: starting one child, with the errno of a failed start brought back.
 *
 * The child is made by clone(CLONE_VM|CLONE_VFORK): no page tables are copied and an execve failure is
 * simply a variable that the child has written. Everything is prepared before; the child only makes
 * raw, async-signal-safe calls. The call blocks until the exec has happened, so callers with an event
 * loop run it in a worker thread that lives as long as the process (PDEATHSIG follows the thread). */
#ifndef PROC_SPAWN_H
#define PROC_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_spec {
	const char *file;	 /* with a '/': that path; else searched in search_path */
	const char *search_path; /* colon-separated; NULL: "/bin:/usr/bin" */
	char *const *argv;	 /* NULL-terminated */
	char *const *envp;	 /* NULL-terminated */
	const char *cwd;	 /* NULL: inherited */
	int fd0, fd1, fd2;	 /* become 0, 1, 2 of the child; must be >= 0 */
	int extra_fd;		 /* becomes extra_target in the child, inheritable; -1: none */
	int extra_target;	 /* 3 or more */
	int next_fd;		 /* becomes extra_target + 1; -1: none; only beside extra_fd */
	bool controlling_tty;	 /* fd0 is a pty slave and becomes the controlling terminal */
	bool subreaper;		 /* the child adopts the orphans of its own tree */
	uint64_t group; /* who may end all that descends from it (proc_tree_kill_group); 0: nobody in particular */
};

enum proc_stage { PROC_STAGE_NONE, PROC_STAGE_FORK, PROC_STAGE_CHDIR, PROC_STAGE_EXEC, PROC_STAGE_SETUP };

/* Starts the child: own session (setsid), default signal dispositions (SIGPIPE and SIGXFSZ included),
 * empty mask, nice value and rlimits as the server found them, PDEATHSIG=SIGKILL, no other fd open.
 * Search is that of Python's os.execvpe: each directory in order; EACCES is remembered; ENOENT and
 * ENOTDIR go on to the next.
 * Returns 0 and *ret_pid, or a negative errno and *ret_stage (which step failed). */
int proc_spawn(const struct proc_spec *spec, pid_t *ret_pid, enum proc_stage *ret_stage);

/* Call once at program start, before any thread: records nice, rlimits and the signal mask that children
 * get back. */
void proc_spawn_remember_defaults(void);

#endif

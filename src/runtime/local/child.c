/* runtime/local/child.c: pipes for a child, and the end of its tree.
 *
 * A tree is told from others by the files that only it was given: a pipe's inode is the same on both ends. */
#include "runtime/local/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

int child_pipe(int *ret_read, int *ret_write)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

void child_kill(struct local *rt, pid_t pid, bool exited, const int *fds, size_t n_fds, proc_tree_done_fn done,
		void *arg)
{
	struct proc_tree_mark marks[PROC_TREE_MARKS_MAX];
	size_t n_marks = 0;
	for (size_t i = 0; i < n_fds; i++) {
		struct stat st;
		if (fds[i] >= 0 && fstat(fds[i], &st) == 0)
			marks[n_marks++] = (struct proc_tree_mark){st.st_dev, st.st_ino};
	}
	if (proc_tree_kill_marked_async(rt->loop, pid, false, marks, n_marks, done, arg) == 0)
		return;
	/* No memory for the job: the session's main group is what can be reached without. */
	if (!exited)
		kill(-pid, SIGKILL);
	done(arg, 0);
}

void child_lost_error(const char *what, struct crex_error *err)
{
	crex_error_set(
		err, CREX_E_NO_EXIT_CODE,
		"the %s has ended, but its exit code is lost: this program waits for children that are not its own, "
		"or ignores SIGCHLD",
		what);
}

#include "proc/tree.h"

#include <errno.h>
#include <signal.h>

int proc_tree_kill(pid_t root, bool keep_root)
{
	(void)keep_root;
	return kill(-root, SIGKILL) < 0 ? -errno : 1;
}

int proc_tree_kill_all(void)
{
	return 0;
}

int proc_tree_kill_async(uv_loop_t *loop, pid_t root, bool keep_root, proc_tree_done_fn done, void *arg)
{
	(void)loop;
	done(arg, proc_tree_kill(root, keep_root));
	return 0;
}

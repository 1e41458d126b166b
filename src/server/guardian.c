/* server/guardian.c: nothing of the sandbox's processes outlives the server.
 *
 * A server that is killed by SIGKILL can clean up nothing, and PDEATHSIG reaches only its direct children. So another
 * process waits above it: being a subreaper (or PID 1) it inherits whatever the server leaves, daemons with sessions of
 * their own included, and kills it.
 *
 * It has no handlers: all its signals stay blocked and are fetched one by one. (That also makes them arrive at PID 1,
 * to which the kernel delivers no signal that is unblocked and unhandled.) A signal from the terminal has gone to the
 * whole foreground group, so to the server as well, and is not handed on a second time. */
#include "server/guardian.h"

#include "proc/tree.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAST_SWEEPS = 3 };

static const int handed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

/* True once the server itself has been reaped. */
static bool reap(pid_t server, int *ret_status)
{
	bool ended = false;
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return ended;
		if (pid == server) {
			*ret_status = status;
			ended = true;
		}
	}
}

static _Noreturn void guard(pid_t server, const sigset_t *signals)
{
	int status = 0;
	prctl(PR_SET_NAME, "swerex-guardian");
	while (!reap(server, &status)) {
		siginfo_t info;
		int sig = sigwaitinfo(signals, &info);
		if (sig > 0 && sig != SIGCHLD && info.si_code != SI_KERNEL)
			kill(server, sig);
	}
	/* Again, should the machine have been too busy for the first sweep's limit. */
	int killed = 1;
	for (int i = 0; i < LAST_SWEEPS && killed > 0; i++) {
		killed = proc_tree_kill_all();
		reap(server, &status);
	}
	if (killed < 0 && getpid() == 1)
		kill(-1, SIGKILL); /* no /proc here, but all that lives in this pid namespace is ours */
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

int guardian_enter(bool enabled)
{
	if (!enabled)
		return 0;
	sigset_t signals, before;
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++)
		sigaddset(&signals, handed_on[i]);
	sigprocmask(SIG_BLOCK, &signals, &before);
	/* Inherited as ignored it would have the kernel reap our children without a word. */
	struct sigaction by_default = {.sa_handler = SIG_DFL};
	sigaction(SIGCHLD, &by_default, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t guardian = getpid();
	pid_t server = fork();
	if (server > 0)
		guard(server, &signals);
	int failed = server < 0 ? -errno : 0;
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != guardian)
			raise(SIGTERM); /* it was killed before we asked to be told */
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return failed;
}

/* server/guardian.c: nothing of the sandbox's processes outlives the server.
 *
 * A server that is killed by SIGKILL can clean up nothing, and PDEATHSIG reaches only its direct children. So another
 * process waits above it: being a subreaper it inherits whatever the server leaves, daemons with sessions of their own
 * included, and kills it.
 *
 * It has no handlers: all its signals stay blocked and are fetched one by one. A signal from the terminal has gone to
 * the whole foreground group, so to the server as well, and is not handed on a second time.
 *
 * PID 1 needs none and must have none: the kernel ends a pid namespace with its PID 1 anyway, and `kill -9 -1`, which
 * spares only PID 1 and its sender, would take the server from under a guardian. There the server is PID 1 itself.
 *
 * A server without a guardian sweeps at its own exit, which SIGKILL leaves it no time for: then the kernel ends the
 * roots of its trees alone (PDEATHSIG), and daemons live on. A guardian can be killed too. The server then gets
 * SIGTERM, ends in order, and sweeps at its own exit. */
#include "server/guardian.h"

#include "proc/tree.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
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

/* False: /proc could not be read. Again, should the machine have been too busy for the first sweep's limit. */
static bool sweep_all(void)
{
	int killed = 1;
	for (int i = 0; i < LAST_SWEEPS && killed > 0; i++)
		killed = proc_tree_kill_all();
	return killed >= 0;
}

static void sweep_at_exit(void)
{
	(void)sweep_all();
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
	(void)sweep_all();
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static void end_as_by_default(int sig)
{
	_exit(128 + sig);
}

/* PID 1 is sent no signal that it doesn't handle. Those that the server handles later replace these handlers. */
static void be_process_one(void)
{
	struct sigaction action = {.sa_handler = end_as_by_default};
	for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++)
		sigaction(handed_on[i], &action, NULL);
}

int guardian_enter(bool enabled)
{
	if (getpid() == 1) {
		be_process_one();
		return 0;
	}
	if (!enabled) {
		(void)atexit(sweep_at_exit);
		return 0;
	}
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
		(void)atexit(sweep_at_exit);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != guardian)
			raise(SIGTERM); /* it was killed before we asked to be told */
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return failed;
}

/* bench/pty.h: a bash on a pty, as bare as it gets: for the floors that concern shells. */
#ifndef BENCH_PTY_H
#define BENCH_PTY_H

#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PROMPT "BENCHPROMPT> "

static inline pid_t pty_bash(int *ret_master, char *const *argv)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		die("pty");
	const char *name = ptsname(master);
	pid_t pid = vfork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		setsid();
		int slave = open(name, O_RDWR);
		ioctl(slave, TIOCSCTTY, 0);
		struct termios t;
		tcgetattr(slave, &t);
		t.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(slave, TCSANOW, &t);
		dup2(slave, 0);
		dup2(slave, 1);
		dup2(slave, 2);
		if (slave > 2)
			close(slave);
		execvp(argv[0], argv);
		_exit(127);
	}
	*ret_master = master;
	return pid;
}

/* Reads until the output ends with the prompt; returns the bytes read. */
static inline size_t read_to_prompt(int master)
{
	static char data[1 << 16];
	char tail[sizeof PROMPT] = "";
	size_t total = 0, kept = 0;
	for (;;) {
		ssize_t n = read(master, data, sizeof data);
		if (n <= 0)
			die("the shell ended");
		total += (size_t)n;
		size_t want = sizeof PROMPT - 1, have = (size_t)n < want ? (size_t)n : want;
		if (kept + have > want) {
			memmove(tail, tail + kept + have - want, want - have);
			kept = want - have;
		}
		memcpy(tail + kept, data + (size_t)n - have, have);
		kept += have;
		if (kept == want && memcmp(tail, PROMPT, want) == 0)
			return total;
	}
}

static inline void end_shell(pid_t pid, int master)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(master);
}

#endif

/* bench/floor_pty.c [COUNT]: the round trip of `echo hi` through a bash on a pty.
 *
 * The command is typed, bash runs it and prompts again; line editing is off. This is what a session's command
 * costs when nothing is known of its exit code and nothing separates its output from anything else. */
#include "pty.h"

int main(int argc, char **argv)
{
	size_t n = count_argument(argc, argv, 1, 2000);
	setenv("PS1", PROMPT, 1);
	int master;
	pid_t pid = pty_bash(&master, (char *const[]){"bash", "--norc", "--noprofile", "--noediting", "-i", NULL});
	read_to_prompt(master);
	double *us = calloc(n, sizeof *us);
	for (size_t i = 0; us && i < n; i++) {
		double began = now_us();
		if (write(master, "echo hi\n", 8) != 8)
			die("write");
		read_to_prompt(master);
		us[i] = now_us() - began;
	}
	end_shell(pid, master);
	if (us)
		print_samples(us, n);
	free(us);
	return 0;
}

/* bench/floor_bash.c [COUNT]: from fork to the first prompt of an interactive bash, with the user's startup files.
 *
 * HOME must hold a .bashrc that sets PS1 to PROMPT: the same file that the measured server's sessions read. */
#include "pty.h"

int main(int argc, char **argv)
{
	size_t n = count_argument(argc, argv, 1, 200);
	double *us = calloc(n, sizeof *us);
	for (size_t i = 0; us && i < n; i++) {
		int master;
		double began = now_us();
		pid_t pid = pty_bash(&master, (char *const[]){"bash", "-i", NULL});
		read_to_prompt(master);
		us[i] = now_us() - began;
		end_shell(pid, master);
	}
	if (us)
		print_samples(us, n);
	free(us);
	return 0;
}

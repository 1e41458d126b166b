/* bench/floor_bulk.c FILE [COUNT]: `cat FILE` through a bash on a pty, read and thrown away. */
#include "pty.h"

int main(int argc, char **argv)
{
	if (argc < 2)
		die("usage: floor_bulk FILE [COUNT]");
	size_t n = count_argument(argc, argv, 2, 3), total = 0;
	char command[4200];
	int len = snprintf(command, sizeof command, "cat '%s'\n", argv[1]);
	setenv("PS1", PROMPT, 1);
	int master;
	pid_t pid = pty_bash(&master, (char *const[]){"bash", "--norc", "--noprofile", "--noediting", "-i", NULL});
	read_to_prompt(master);
	double *us = calloc(n, sizeof *us);
	for (size_t i = 0; us && i < n; i++) {
		double began = now_us();
		if (write(master, command, (size_t)len) != len)
			die("write");
		total = read_to_prompt(master);
		us[i] = now_us() - began;
	}
	end_shell(pid, master);
	if (us) {
		printf("bytes=%zu ", total);
		print_samples(us, n);
	}
	free(us);
	return 0;
}

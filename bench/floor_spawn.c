/* bench/floor_spawn.c [COUNT]: posix_spawn of `true` and the wait for it. */
#include "bench.h"

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
	size_t n = count_argument(argc, argv, 1, 1000);
	double *us = calloc(n, sizeof *us);
	for (size_t i = 0; us && i < n; i++) {
		double began = now_us();
		pid_t pid;
		int status;
		errno = posix_spawnp(&pid, "true", NULL, NULL, (char *const[]){"true", NULL}, environ);
		if (errno)
			die("posix_spawn");
		if (waitpid(pid, &status, 0) != pid || status != 0)
			die("true failed");
		us[i] = now_us() - began;
	}
	if (us)
		print_samples(us, n);
	free(us);
	return 0;
}

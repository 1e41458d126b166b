/* tests/unit/proctest.h: what the tests of processes share: waiting with a deadline, and faults in system calls. */
#ifndef TESTS_UNIT_PROCTEST_H
#define TESTS_UNIT_PROCTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Polls until the condition holds; false after `seconds`. */
bool wait_until(bool (*condition)(void *arg), void *arg, double seconds);

double now_seconds(void);

/* Living processes (zombies are not) whose command line holds `text`, or is it when it begins with "sleep ". */
size_t count_processes(const char *text);

size_t count_fds(void);

/* Faults of the wrapped calls. Zeroed: none. `fail_after` counts calls that still succeed, then `times` fail. */
struct fault {
	int errnum; /* 0: off */
	long fail_after;
	long times;
	long calls;
};
extern struct fault fault_clone, fault_pipe2, fault_memory, fault_read, fault_open, fault_access, fault_setrlimit;
extern bool short_reads; /* read() gives one byte at a time */

void faults_reset(void);

#endif

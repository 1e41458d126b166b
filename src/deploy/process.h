/* deploy/process.h: running a helper program (docker, kubectl, ...): its lines as they come, a deadline, a cancel.
 *
 * No shell: argv is what the program gets. It has a session of its own without a terminal, so it can't stop to ask for
 * a password, and it ends with the thread that started it. Whatever it writes is bounded. */
#ifndef DEPLOY_PROCESS_H
#define DEPLOY_PROCESS_H

#include "base/buf.h"
#include "base/deadline.h"
#include <stdbool.h>
#include <sys/types.h>

enum process_stream { PROCESS_STDOUT, PROCESS_STDERR };

struct process_spec {
	const char *const *argv; /* argv[0] with a '/': that path; else searched in PATH */
	const char *const *env;	 /* "NAME=value" lines beside (and before) this program's own; NULL: none */
	int stdin_fd;		 /* borrowed; 0 or less: /dev/null */
	size_t max_output;	 /* kept of each stream, the newest bytes; 0: 64 KiB */
	/* Told each line without its end; a longer one than 4 KiB is cut. True: process_wait returns. NULL: nobody is.
	 */
	bool (*on_line)(void *arg, enum process_stream stream, const char *line);
	void *arg;
};

struct process {
	pid_t pid;  /* 0: none was started */
	bool ended; /* has been waited for */
	int status; /* as from waitpid; -1: somebody else has taken it */
	int pidfd;  /* -1: this kernel has none */
	int fds[2]; /* -1: at its end */
	struct buf output[2], line[2];
	bool truncated[2];
	bool (*on_line)(void *arg, enum process_stream stream, const char *line);
	void *arg;
};

/* FILE_NOT_FOUND when there is no such program, PERMISSION, ... ; p needs no deinit then. */
int process_start(struct process *p, const struct process_spec *spec, struct crex_error *err);

enum process_event { PROCESS_ENDED, PROCESS_TOLD };
/* Takes in what it writes until it has ended or on_line says true. A process_event, or -1 (CANCELLED, DEADLINE, ...);
 * the program goes on then. */
int process_wait(struct process *p, const struct deadline *deadline, struct crex_error *err);

/* Kills its process group and waits for it. Fine in every state. */
void process_kill(struct process *p);
void process_deinit(struct process *p); /* kills it when it still runs; fine on a zeroed one */

/* The exit code; 128 + N: ended by signal N. */
int process_exit_code(const struct process *p);
const char *process_output(const struct process *p, enum process_stream stream); /* never NULL */

/* start and wait until the end; on failure it has been killed. p needs a deinit after success alone. */
int process_run(struct process *p, const struct process_spec *spec, const struct deadline *deadline,
		struct crex_error *err);

#define cleanup_process __attribute__((cleanup(process_deinit)))

#endif

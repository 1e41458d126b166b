/* runtime/local/exec_command.h: a request's command as execve wants it, and its texts as Python words them. */
#ifndef RUNTIME_LOCAL_EXEC_COMMAND_H
#define RUNTIME_LOCAL_EXEC_COMMAND_H

#include "base/buf.h"
#include <crex/runtime.h>

struct exec_command {
	void *block; /* owned: all that the pointers below point to, but for a borrowed envp */
	char **argv; /* argv[0] is also the program that is searched */
	char *const *envp;
	const char *search_path; /* NULL: the default */
	const char *cwd;	 /* NULL: inherited */
	const char *error_msg;
	size_t error_msg_len;
	char **shown; /* the items of the request within argv */
	size_t n_shown;
	bool is_list;
	bool check;
	bool merge;
	double timeout;
};

/* Copies what is needed of req; envp (used unless the request has its own) is borrowed. 0, or -1 with err. */
int exec_command_init(struct exec_command *c, const struct crex_execute_request *req, char *const *envp,
		      struct crex_error *err);
void exec_command_deinit(struct exec_command *c);

/* The error of a start that failed in `stage` (an enum proc_stage). Returns -1. */
int exec_command_spawn_error(const struct exec_command *c, int stage, int errnum, struct crex_error *err);

/* Both take the streams as text for people. Return -1. */
int exec_command_timeout_error(const struct exec_command *c, struct crex_str out, struct crex_str errs,
			       struct crex_error *err);
int exec_command_check_error(const struct exec_command *c, int code, struct crex_str out, struct crex_str errs,
			     struct crex_error *err);

#endif

/* cli/joined.h: a command in a sandbox with its streams joined to ours. */
#ifndef CLI_JOINED_H
#define CLI_JOINED_H

#include "cli/cli.h"

struct joined_options {
	struct option_list env;
	const char *workdir;
	bool interactive, tty;
	double timeout;
};
extern const struct option_row joined_rows[5];
#define JOINED_GROUP(offset) OPTION_GROUP("The command", joined_rows, offset)

/* What of a terminal was asked for can be had. 0 or an exit code; before anything is started. */
int joined_check(struct cli *cli, const struct joined_options *options);

/* Runs it to its end; argv is NULL-terminated; empty with a tty: a shell. Returns the exit code for this program.
 * Without streams in the runtime, the output comes when the command has ended. */
int joined_run(struct cli *cli, struct crex_runtime *rt, const struct joined_options *options, char *const *argv,
	       size_t n_argv);

/* The same of a shell that was asked for: line by line on a session where there are no streams. */
int joined_shell(struct cli *cli, struct crex_runtime *rt, const struct joined_options *options, const char *name);

/* Views on n strings; caller frees; NULL: no memory. */
struct crex_str *views_of(const char *const *strings, size_t n);

/* The exit code for an error of starting or running a command, which has been told. */
int joined_failed(struct cli *cli, const struct crex_error *err, char *const *argv, size_t n_argv);

/* Writes all of it to a descriptor. 0, or -1 with errno. */
int write_all(int fd, const char *data, size_t len);

#endif

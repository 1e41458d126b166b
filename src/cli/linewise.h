/* cli/linewise.h: a shell without a terminal behind it: a line is typed, a command runs in a session, its output comes.
 */
#ifndef CLI_LINEWISE_H
#define CLI_LINEWISE_H

#include "cli/cli.h"

/* For servers that have no streams. name stands in the prompt. Returns the exit code for this program: the last
 * command's, or that of `exit`. */
int linewise_shell(struct cli *cli, struct crex_runtime *rt, const char *name, const char *workdir,
		   const char *const *env, size_t n_env);

#endif

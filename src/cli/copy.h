/* cli/copy.h: files and directories into a sandbox and out of it. */
#ifndef CLI_COPY_H
#define CLI_COPY_H

#include "cli/cli.h"

/* As cp -r does it: into `to` when that is a directory, or is named with a '/' at its end; else it becomes `to`. 0 or
 * an exit code. */
int copy_in(struct cli *cli, struct crex_runtime *rt, const char *from, const char *to);
int copy_out(struct cli *cli, struct crex_runtime *rt, const char *from, const char *to); /* to "-": stdout */

/* The last part of a path, "" for one that has none of its own (".", "..", "/"); borrowed from a buffer of the
 * caller's. */
const char *last_part(const char *path, char *part, size_t size);

#endif

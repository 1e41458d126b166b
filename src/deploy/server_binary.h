/* deploy/server_binary.h: which swerex-remote is brought into a sandbox. */
#ifndef DEPLOY_SERVER_BINARY_H
#define DEPLOY_SERVER_BINARY_H

#include <crex/error.h>

/* As `uname -m` calls them; from what images call theirs ("amd64", "arm64"). NULL: no server is built for it. */
const char *server_binary_architecture(const char *image_architecture);

/* The absolute path of a static server for the architecture ("x86_64", "aarch64"); caller frees. `path`, when not NULL,
 * is the one that the user has named. Else, the first that is there of swerex-remote-ARCH (or swerex-remote, where it
 * is of that architecture): in $CREX_SERVER_DIR; beside the running program and in ../libexec/crex from there; where
 * the library was installed; in dist/ of the tree that a development build was made from.
 * NULL with FILE_NOT_FOUND (saying where it was looked for) or CONFIG (not static, or of another architecture). */
char *server_binary_find(const char *path, const char *architecture, struct crex_error *err);

#endif

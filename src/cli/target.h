/* cli/target.h: where a command is to run: from options (or a sandbox's name) to a deployment. */
#ifndef CLI_TARGET_H
#define CLI_TARGET_H

#include "cli/cli.h"
#include "cli/names.h"

struct target_options {
	const char *image, *deployment, *remote, *token_file, *ca_file;
	bool local;
	const char *engine, *pull, *platform;
	struct option_list docker_args;
	double start_timeout;
};
extern const struct option_row target_rows[11];
#define TARGET_GROUP(offset) OPTION_GROUP("Where", target_rows, offset)

struct target {
	struct crex_deployment *d;
	struct crex_runtime *rt; /* of d once it is started */
	char *summary;		 /* owned: "debian:12", "http://host:8000" */
	bool is_named;		 /* outlives the command */
};

/* The options name exactly one place: a deployment that isn't started yet. outlives: it is to live on after the
 * command, ttl seconds (0: until it is taken down). 0, or an exit code: it has been told. */
int target_make(struct cli *cli, const struct target_options *options, bool outlives, double ttl, struct target *ret);
bool target_is_given(const struct target_options *options);

/* Starts it, its steps shown. 0 or an exit code. */
int target_start(struct cli *cli, struct target *t, double timeout);

/* A started one, by name. 0 or an exit code. */
int target_open(struct cli *cli, const char *name, struct target *ret);

/* Takes it down, or lets go of it when it has a name. Returns `code`, or EXIT_CREX when code is 0 and that failed. */
int target_end(struct cli *cli, struct target *t, int code);

#endif

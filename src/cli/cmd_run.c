/* cli/cmd_run.c: crex run: a sandbox for one command, gone with it. */
#include "cli/copy.h"
#include "cli/joined.h"
#include "cli/target.h"
#include <string.h>

struct run_options {
	struct common_options common;
	struct target_options target;
	struct joined_options process;
	struct option_list uploads;
};

static const struct option_row upload_rows[] = {
	{"upload", 0, OPTION_LIST, "SRC:DST", "first copy SRC from here to DST in the sandbox", 0, "<file>"},
};

static const struct option_group groups[] = {
	TARGET_GROUP(offsetof(struct run_options, target)), JOINED_GROUP(offsetof(struct run_options, process)),
	OPTION_GROUP("Files", upload_rows, offsetof(struct run_options, uploads)), COMMON_GROUP, OPTION_GROUPS_END};

/* At the last colon, since DST is the sandbox's plain path and SRC may be anything. */
static int upload(struct cli *cli, struct crex_runtime *rt, const char *pair)
{
	char *from = strdup(pair), *colon = from ? strrchr(from, ':') : NULL;
	if (!colon) {
		free(from);
		return fail(cli, "--upload %s: SRC:DST is expected", pair);
	}
	*colon = '\0';
	int r = copy_in(cli, rt, from, colon + 1);
	free(from);
	return r;
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	const struct run_options *o = options;
	struct target target = {0};
	if (operands->n_command == 0 && !o->process.tty)
		return fail(cli, "run what? crex run ... -- CMD; for a shell: crex shell");
	for (size_t i = 0; i < o->uploads.n; i++)
		if (!strchr(o->uploads.items[i], ':'))
			return fail(cli, "--upload %s: SRC:DST is expected", o->uploads.items[i]);
	int code = joined_check(cli, &o->process);
	if (code == 0)
		code = target_make(cli, &o->target, false, 0, &target);
	if (code != 0)
		return code;
	code = target_start(cli, &target, o->target.start_timeout);
	for (size_t i = 0; i < o->uploads.n && code == 0; i++)
		code = upload(cli, target.rt, o->uploads.items[i]);
	if (code == 0)
		code = joined_run(cli, target.rt, &o->process, operands->command, operands->n_command);
	return target_end(cli, &target, code);
}

const struct command command_run = {
	.name = "run",
	.summary = "run one command in a new sandbox, which goes with it",
	.usage = "--image IMAGE | --deployment FILE | --remote URL | --local [OPTION...] [--] CMD [ARG...]",
	.about = "The command's output comes as it is written; crex ends with its exit code. Ctrl-C is handed on to "
		 "it,\n"
		 "then the sandbox is taken down.",
	.examples = "crex run --image python:3.12 -- python3 -c 'print(6 * 7)'\n"
		    "crex run --image debian:12 -it -- bash\n"
		    "crex run --image node:22 --upload ./app:/app -w /app -- npm test\n"
		    "tar c . | crex run --image debian:12 -i -- sh -c 'tar x -C /srv && ls /srv'",
	.groups = groups,
	.options_size = sizeof(struct run_options),
	.has_command = true,
	.run = run,
};

/* cli/cmd_shell.c: crex shell: a terminal in a sandbox, one that is there or one for the occasion. */
#include "cli/joined.h"
#include "cli/target.h"

struct shell_options {
	struct common_options common;
	struct target_options target;
	struct option_list env;
	const char *workdir;
};

static const struct option_row shell_rows[] = {
	{"env", 'e', OPTION_LIST, "K=V", "set a variable; K alone: as it is here", offsetof(struct shell_options, env),
	 NULL},
	{"workdir", 'w', OPTION_STRING, "DIR", "begin in this directory", offsetof(struct shell_options, workdir),
	 NULL},
};

static const struct option_group groups[] = {TARGET_GROUP(offsetof(struct shell_options, target)),
					     OPTION_GROUP("The shell", shell_rows, 0), COMMON_GROUP, OPTION_GROUPS_END};

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	const struct shell_options *o = options;
	const struct joined_options process = {.env = o->env, .workdir = o->workdir};
	const char *name = operands->n > 0 ? operands->items[0] : NULL;
	struct target target = {0};
	if (name && target_is_given(&o->target))
		return fail(cli, "'%s' is a running sandbox's name: leave the name or --image and its like out", name);
	int code = joined_check(cli, &process);
	if (code == 0)
		code = name ? target_open(cli, name, &target) : target_make(cli, &o->target, false, 0, &target);
	if (code != 0)
		return code;
	if (!name)
		code = target_start(cli, &target, o->target.start_timeout);
	if (code == 0)
		code = joined_shell(cli, target.rt, &process, name ? name : target.summary);
	return target_end(cli, &target, code);
}

const struct command command_shell = {
	.name = "shell",
	.summary = "a terminal in a sandbox",
	.usage = "NAME [OPTION...]\n--image IMAGE | --deployment FILE | --remote URL | --local [OPTION...]",
	.about =
		"NAME is a sandbox that `crex up` has started; a new one goes when the shell ends. A line that begins\n"
		"with ~. leaves at once, as in ssh. From a pipe, bash reads its script: crex shell NAME <script.",
	.examples = "crex shell web\n"
		    "crex shell --image debian:12\n"
		    "SWEREX_AUTH_TOKEN=... crex shell --remote http://build.example:8000 -w /srv",
	.groups = groups,
	.options_size = sizeof(struct shell_options),
	.max_operands = 1,
	.has_names = true,
	.run = run,
};

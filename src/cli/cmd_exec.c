/* cli/cmd_exec.c: crex exec: a command in a sandbox that is there. */
#include "cli/joined.h"
#include "cli/target.h"

struct exec_options {
	struct common_options common;
	struct joined_options process;
};

static const struct option_group groups[] = {JOINED_GROUP(offsetof(struct exec_options, process)), COMMON_GROUP,
					     OPTION_GROUPS_END};

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	const struct exec_options *o = options;
	struct target target = {0};
	if (operands->n == 0)
		return fail(cli, "exec where? crex exec NAME -- CMD; `crex ps` lists the names");
	if (operands->n_command == 0 && !o->process.tty)
		return fail(cli, "exec what? crex exec %s -- CMD; for a shell: crex shell %s", operands->items[0],
			    operands->items[0]);
	int code = joined_check(cli, &o->process);
	if (code == 0)
		code = target_open(cli, operands->items[0], &target);
	if (code != 0)
		return code;
	code = joined_run(cli, target.rt, &o->process, operands->command, operands->n_command);
	return target_end(cli, &target, code);
}

const struct command command_exec = {
	.name = "exec",
	.summary = "run a command in a sandbox that is up",
	.usage = "[OPTION...] NAME [--] CMD [ARG...]",
	.about = "The command's output comes as it is written; crex ends with its exit code.",
	.examples = "crex exec web -- ls -la /srv\n"
		    "crex exec -it web -- bash\n"
		    "crex exec web -i -- sh -c 'cat >/tmp/data' <data",
	.groups = groups,
	.options_size = sizeof(struct exec_options),
	.max_operands = 1,
	.has_command = true,
	.has_names = true,
	.run = run,
};

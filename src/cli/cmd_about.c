/* cli/cmd_about.c: the commands that only tell of crex itself: version, help, completion. */
#include "base/nearest.h"
#include "cli/cli.h"
#include <stdio.h>
#include <string.h>

#include "completions_data.h"

#define SWEREX_VERSION "1.4.0"

/* ---- version ---- */

static const struct option_group version_groups[] = {COMMON_GROUP, JSON_GROUP, OPTION_GROUPS_END};

static int run_version(struct cli *cli, void *options, const struct operands *operands)
{
	(void)options, (void)operands;
	if (cli->out.json)
		return print_json(cli, json_pack("{s:s, s:s}", "version", crex_version(), "swerex", SWEREX_VERSION));
	printf("crex %s, compatible with SWE-ReX %s\n", crex_version(), SWEREX_VERSION);
	return finish_stdout(cli);
}

const struct command command_version = {
	.name = "version",
	.summary = "print crex's version and SWE-ReX's that it is compatible with",
	.usage = "[--json]",
	.about = "",
	.examples = "crex version --json",
	.groups = version_groups,
	.options_size = sizeof(struct common_options),
	.run = run_version,
};

/* ---- help ---- */

static const struct option_group plain_groups[] = {COMMON_GROUP, OPTION_GROUPS_END};

static int run_help(struct cli *cli, void *options, const struct operands *operands)
{
	(void)options;
	const struct command *command = operands->n > 0 ? command_find(operands->items[0]) : NULL;
	if (operands->n > 0 && !command) {
		struct nearest nearest = nearest_begin(operands->items[0]);
		for (const struct command *const *c = all_commands; *c; c++)
			nearest_offer(&nearest, (*c)->name);
		return nearest.found
			       ? fail(cli, "no command '%s': did you mean '%s'?", operands->items[0], nearest.found)
			       : fail(cli, "no command '%s': `crex help` lists them", operands->items[0]);
	}
	if (command)
		print_command_help(command);
	else
		print_overview();
	return finish_stdout(cli);
}

const struct command command_help = {
	.name = "help",
	.summary = "what crex can do, or how to use one command",
	.usage = "[COMMAND]",
	.about = "",
	.examples = "crex help\ncrex help run",
	.groups = plain_groups,
	.options_size = sizeof(struct common_options),
	.max_operands = 1,
	.run = run_help,
};

/* ---- completion ---- */

static int run_completion(struct cli *cli, void *options, const struct operands *operands)
{
	(void)options;
	static const struct {
		const char *shell, *script;
	} scripts[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
	if (operands->n == 0)
		return fail(cli, "for which shell? crex completion bash, zsh or fish");
	for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
		if (strcmp(scripts[i].shell, operands->items[0]) == 0) {
			fputs(scripts[i].script, stdout);
			return finish_stdout(cli);
		}
	return fail(cli, "no completion for '%s': there is bash, zsh and fish", operands->items[0]);
}

const struct command command_completion = {
	.name = "completion",
	.summary = "print the completion script for bash, zsh or fish",
	.usage = "bash | zsh | fish",
	.about = "An installed crex has them in place; this is for one that isn't.",
	.examples = "source <(crex completion bash)\n"
		    "crex completion zsh >~/.zfunc/_crex\n"
		    "crex completion fish >~/.config/fish/completions/crex.fish",
	.groups = plain_groups,
	.options_size = sizeof(struct common_options),
	.max_operands = 1,
	.run = run_completion,
};

/* cli/cmd_info.c: crex info: where a sandbox is and how to reach it; its token only for those who say so. */
#include "base/cleanup.h"
#include "cli/record.h"
#include <stdio.h>

struct info_options {
	struct common_options common;
	bool show_token;
};

static const struct option_row info_rows[] = {
	{"show-token", 0, OPTION_FLAG, NULL, "its token too: who has it can do anything there",
	 offsetof(struct info_options, show_token), NULL},
};

static const struct option_group groups[] = {OPTION_GROUP("The sandbox", info_rows, 0), COMMON_GROUP, JSON_GROUP,
					     OPTION_GROUPS_END};

static void show(struct cli *cli, const json_t *object)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)object, key, value)
	{
		char number[32];
		snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		if (json_is_object(value)) {
			show(cli, value);
		} else if (!json_is_null(value)) {
			print_colored(cli, COLOR_BOLD, key, 22);
			print_colored(cli, COLOR_NONE, json_is_string(value) ? json_string_value(value) : number, 0);
			putchar('\n');
		}
	}
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	const struct info_options *o = options;
	cleanup_sandbox struct sandbox s = {0};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_free char *why = NULL;
	if (operands->n == 0)
		return fail(cli, "info on what? crex info NAME; `crex ps` lists the names");
	if (names_load(operands->items[0], &s, &err) < 0)
		return fail_error(cli, NULL, &err);
	json_t *described = record_describe(&s, o->show_token);
	json_object_set_new(described, "status", json_string(record_status(&s, 3, cli->cancel, &why)));
	json_object_set_new(described, "message", json_string(why ? why : ""));
	if (cli->out.json)
		return print_json(cli, described);
	show(cli, described);
	json_decref(described);
	return finish_stdout(cli);
}

const struct command command_info = {
	.name = "info",
	.summary = "what is known of a sandbox",
	.usage = "NAME [OPTION...]",
	.about = "Type, address and status, for people and, with --json, for programs that connect themselves.",
	.examples = "crex info web\ncrex info web --json --show-token",
	.groups = groups,
	.options_size = sizeof(struct info_options),
	.max_operands = 1,
	.has_names = true,
	.run = run,
};

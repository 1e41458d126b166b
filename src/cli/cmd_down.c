/* cli/cmd_down.c: crex down: takes sandboxes down, all that are named at the same time. */
#include "base/cleanup.h"
#include "cli/names.h"
#include "cli/parallel.h"
#include "cli/cli.h"
#include <stdio.h>
#include <string.h>

#define STOP_SECONDS 60.0

struct down_options {
	struct common_options common;
	bool all, force;
};

static const struct option_row down_rows[] = {
	{"all", 'a', OPTION_FLAG, NULL, "all of them", offsetof(struct down_options, all), NULL},
	{"force", 'f', OPTION_FLAG, NULL, "forget those too that can't be reached any more, or whose record is damaged",
	 offsetof(struct down_options, force), NULL},
};

static const struct option_group groups[] = {OPTION_GROUP("Which", down_rows, 0), COMMON_GROUP, OPTION_GROUPS_END};

struct work {
	struct cli *cli;
	const char *const *names;
	int *codes;
	bool force;
};

/* Under the lock. 0 or an exit code. */
static int take_down(struct cli *cli, const char *name, bool force)
{
	cleanup_sandbox struct sandbox s = {0};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	const struct crex_call call = {STOP_SECONDS, cli->cancel};
	bool is_loaded = names_load(name, &s, &err) == 0;
	if (!is_loaded && (!force || err.code == CREX_E_FILE_NOT_FOUND))
		return fail_error(cli, NULL, &err);
	if (is_loaded && sandbox_stop(&s, &call, &err) < 0 && (!force || err.code == CREX_E_CANCELLED))
		return fail_error(cli, name, &err);
	crex_error_clear(&err);
	return names_remove(name, &err) < 0 ? fail_error(cli, name, &err) : 0;
}

static void one(void *arg, size_t i)
{
	const struct work *w = arg;
	const char *name = w->names[i];
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	int lock = names_check(name, &err) == 0 ? names_lock(name, &err) : -1;
	w->codes[i] = lock < 0 ? fail_error(w->cli, NULL, &err) : take_down(w->cli, name, w->force);
	names_unlock(name, lock);
}

static int down(struct cli *cli, const char *const *names, size_t n, bool force)
{
	cleanup_free int *codes = calloc(n + 1, sizeof *codes);
	if (!codes)
		return fail(cli, "out of memory");
	struct work work = {cli, names, codes, force};
	char text[64];
	snprintf(text, sizeof text, "Taking down %zu sandbox%s", n, n == 1 ? "" : "es");
	show_step(cli, text);
	parallel(n, one, &work);
	clear_line(cli);
	int code = 0;
	for (size_t i = 0; i < n; i++) {
		if (codes[i] == 0 && !cli->out.quiet)
			puts(names[i]);
		code = codes[i] ? codes[i] : code;
	}
	int r = finish_stdout(cli);
	return code ? code : r;
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	const struct down_options *o = options;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct sandbox *list = NULL;
	size_t n = 0;
	if (!o->all && operands->n == 0)
		return fail(cli, "down what? crex down NAME..., or --all");
	if (!o->all)
		return down(cli, (const char *const *)operands->items, operands->n, o->force);
	if (operands->n > 0)
		return fail(cli, "names or --all, not both");
	if (names_list(&list, &n, &err) < 0)
		return fail_error(cli, NULL, &err);
	cleanup_free const char **names = calloc(n + 1, sizeof *names);
	for (size_t i = 0; i < n && names; i++)
		names[i] = list[i].name;
	int code = names ? down(cli, names, n, o->force) : fail(cli, "out of memory");
	names_list_free(list, n);
	return code;
}

const struct command command_down = {
	.name = "down",
	.summary = "take sandboxes down, with all that is in them",
	.usage = "NAME... [OPTION...]\n--all [OPTION...]",
	.about =
		"Prints the names of those that are down. A server that got a name by `up --remote` runs on: only its\n"
		"name is forgotten.",
	.examples = "crex down web\ncrex down --all",
	.groups = groups,
	.options_size = sizeof(struct down_options),
	.max_operands = -1,
	.has_names = true,
	.run = run,
};

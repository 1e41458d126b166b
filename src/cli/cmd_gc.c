/* cli/cmd_gc.c: crex gc: removes what programs have left behind that are gone, on every kind of deployment. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/names.h"
#include <stdio.h>
#include <string.h>

#define STOP_SECONDS 60.0

struct gc_options {
	struct common_options common;
	bool all;
};

static const struct option_row gc_rows[] = {
	{"all", 'a', OPTION_FLAG, NULL, "all of crex's, whoever uses it: on this machine, and in the clouds' accounts",
	 offsetof(struct gc_options, all), NULL},
};

static const struct option_group groups[] = {OPTION_GROUP("Which", gc_rows, 0), COMMON_GROUP, JSON_GROUP,
					     OPTION_GROUPS_END};

struct sweep {
	struct cli *cli;
	json_t *removed; /* strings */
};

static void on_removed(void *arg, const char *what)
{
	struct sweep *s = arg;
	json_array_append_new(s->removed, json_string(what));
	if (s->cli->out.json)
		return;
	clear_line(s->cli);
	printf("%s\n", what);
	fflush(stdout);
}

/* A start that was cut off has left a record without a state, and maybe a sandbox. Under the record's lock. */
static int sweep_record(struct sweep *s, const char *name, struct crex_error *err)
{
	cleanup_sandbox struct sandbox now = {0};
	const struct crex_call call = {STOP_SECONDS, s->cli->cancel};
	char what[128];
	if (names_load(name, &now, NULL) < 0 || json_is_object(json_object_get(now.record, "state")))
		return 0; /* meanwhile it is gone, or up */
	if (sandbox_stop(&now, &call, err) < 0 || names_remove(name, err) < 0)
		return -1;
	snprintf(what, sizeof what, "name %s", name);
	on_removed(s, what);
	return 0;
}

static int sweep_records(struct sweep *s)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct sandbox *list = NULL;
	size_t n = 0;
	int code = 0;
	if (names_list(&list, &n, &err) < 0)
		return fail_error(s->cli, NULL, &err);
	for (size_t i = 0; i < n; i++) {
		if (list[i].damage || json_is_object(json_object_get(list[i].record, "state")))
			continue;
		int lock = names_lock(list[i].name, NULL);
		if (lock < 0)
			continue;
		if (sweep_record(s, list[i].name, &err) < 0)
			code = fail_error(s->cli, list[i].name, &err);
		crex_error_clear(&err);
		names_unlock(list[i].name, lock);
	}
	names_list_free(list, n);
	return code;
}

/* An engine that isn't here has left nothing here; nor has a cloud that nothing is set up for. */
static bool is_absence(const struct crex_error *err)
{
	return err->code == CREX_E_UNSUPPORTED || err->code == CREX_E_FILE_NOT_FOUND || err->code == CREX_E_CONFIG;
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	(void)operands;
	const struct gc_options *o = options;
	struct sweep s = {cli, json_array()};
	const struct crex_call call = {CREX_NO_TIMEOUT, cli->cancel};
	int code = 0;
	for (const char *const *type = crex_deployment_types(); *type; type++) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		char text[64];
		snprintf(text, sizeof text, "Looking at %s", *type);
		show_step(cli, text);
		if (crex_deployment_gc(*type, o->all, on_removed, &s, &call, NULL, &err) == 0)
			continue;
		if (is_absence(&err) && cli->out.verbose)
			note(cli, "> %s", err.message);
		else if (!is_absence(&err))
			code = fail_error(cli, NULL, &err);
	}
	clear_line(cli);
	int r = sweep_records(&s);
	code = code ? code : r;
	if (cli->out.json) {
		r = print_json(cli, json_pack("{s:o}", "removed", s.removed));
		return code ? code : r;
	}
	if (code == 0 && json_array_size(s.removed) == 0)
		note(cli, "nothing was left behind");
	json_decref(s.removed);
	r = finish_stdout(cli);
	return code ? code : r;
}

const struct command command_gc = {
	.name = "gc",
	.summary = "remove what killed programs have left behind",
	.usage = "[OPTION...]",
	.about = "Containers and cloud sandboxes of programs that are gone. Those of living programs and those with a "
		 "name\n"
		 "(crex up) stay, unless --all is given.",
	.examples = "crex gc\ncrex gc --all --json",
	.groups = groups,
	.options_size = sizeof(struct gc_options),
	.run = run,
};

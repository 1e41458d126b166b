/* cli/cmd_ps.c: crex ps: all sandboxes with a name, each asked at the same time whether it is alive. */
#include "base/cleanup.h"
#include "cli/parallel.h"
#include "cli/record.h"
#include <stdio.h>
#include <string.h>

#define ANSWER_SECONDS 3.0

static const struct option_group groups[] = {COMMON_GROUP, JSON_GROUP, OPTION_GROUPS_END};

struct question {
	struct cli *cli;
	struct sandbox *list;
	const char **status;
	char **why;
};

static void ask(void *arg, size_t i)
{
	struct question *q = arg;
	q->status[i] = record_status(&q->list[i], ANSWER_SECONDS, q->cli->cancel, &q->why[i]);
}

static int show_json(struct cli *cli, const struct question *q, size_t n)
{
	json_t *all = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *one = record_describe(&q->list[i], false);
		json_object_set_new(one, "status", json_string(q->status[i]));
		json_object_set_new(one, "message", json_string(q->why[i] ? q->why[i] : ""));
		json_array_append_new(all, one);
	}
	return print_json(cli, all);
}

static int show_table(struct cli *cli, const struct question *q, size_t n)
{
	static const char *const titles[] = {"NAME", "TYPE", "STATUS", "AGE", "WHERE"};
	enum { COLUMNS = sizeof titles / sizeof *titles };
	struct cell *cells = calloc(n + 1, COLUMNS * sizeof *cells);
	if (!cells)
		return fail(cli, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const char *status = q->status[i];
		char age[64];
		if (q->list[i].damage)
			*age = '\0';
		else
			human_age(age, sizeof age, record_age(&q->list[i]));
		struct cell *row = &cells[i * COLUMNS];
		row[0].text = strdup(q->list[i].name);
		row[1].text = strdup(record_text(&q->list[i], "type"));
		row[2].text = strdup(status);
		row[2].color = *status == 'r' ? COLOR_GREEN : *status == 's' ? COLOR_YELLOW : COLOR_RED;
		row[3].text = strdup(age);
		row[4].text = strdup(record_text(&q->list[i], "target"));
	}
	print_table(cli, titles, COLUMNS, cells, n);
	free(cells);
	for (size_t i = 0; i < n && cli->out.verbose; i++)
		if (q->why[i])
			note(cli, "> %s: %s", q->list[i].name, q->why[i]);
	return finish_stdout(cli);
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	(void)options, (void)operands;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct question q = {.cli = cli};
	size_t n = 0;
	if (names_list(&q.list, &n, &err) < 0)
		return fail_error(cli, NULL, &err);
	int code = 0;
	if (cli->out.quiet && !cli->out.json) {
		for (size_t i = 0; i < n; i++)
			puts(q.list[i].name);
		code = finish_stdout(cli);
	} else {
		q.status = calloc(n + 1, sizeof *q.status);
		q.why = calloc(n + 1, sizeof *q.why);
		if (q.status && q.why) {
			parallel(n, ask, &q);
			code = cli->out.json ? show_json(cli, &q, n) : show_table(cli, &q, n);
		} else {
			code = fail(cli, "out of memory");
		}
		for (size_t i = 0; i < n && q.why; i++)
			free(q.why[i]);
	}
	free(q.status);
	free(q.why);
	names_list_free(q.list, n);
	return code;
}

const struct command command_ps = {
	.name = "ps",
	.summary = "list the sandboxes that are up",
	.usage = "[OPTION...]",
	.about = "STATUS is starting, running, gone (it doesn't answer: -v says why), unknown (it can't be asked\n"
		 "without the right keys, and may well run), or damaged (its record can't be read: crex down -f\n"
		 "forgets it). -q prints the names alone, without asking anybody.",
	.examples = "crex ps\ncrex ps --json | jq -r '.[] | select(.status == \"gone\").name'",
	.groups = groups,
	.options_size = sizeof(struct common_options),
	.run = run,
};

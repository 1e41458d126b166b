/* cli/options.c: reading a command line by a command's table.
 *
 * Options and operands may be mixed, as people type them: `crex down web -v`. Where a command line for the sandbox
 * follows (run, exec, shell), it begins behind `--`, or at the first word that is neither an option nor an operand
 * that the command takes itself; from there on nothing is ours: `crex exec web ls -la`, `crex exec web -it -- bash`.
 * Letters may be bundled (-it) and carry their value (-eA=B), long names take it behind '=' or as the next word.
 * Operands are moved to the front of argv, so that nothing is allocated for them. */
#include "cli/options.h"

#include "base/buf.h"
#include "base/nearest.h"
#include "cli/cli.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct option_row common_rows[3] = {
	{"help", 'h', OPTION_FLAG, NULL, "this text", offsetof(struct common_options, help), NULL},
	{"verbose", 'v', OPTION_FLAG, NULL, "show the steps", offsetof(struct common_options, verbose), NULL},
	{"quiet", 'q', OPTION_FLAG, NULL, "show results and errors alone", offsetof(struct common_options, quiet),
	 NULL},
};
const struct option_row json_rows[1] = {
	{"json", 0, OPTION_FLAG, NULL, "print JSON, for programs", offsetof(struct common_options, json), NULL},
};

static char *problem(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *problem(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return n < 0 ? strdup("out of memory") : text;
}

struct found {
	const struct option_row *row;
	char *slot;
};

static struct found find(const struct option_group *groups, void *options, const char *name, size_t len, char letter)
{
	for (const struct option_group *g = groups; g->rows; g++) {
		for (size_t i = 0; i < g->n_rows; i++) {
			const struct option_row *row = &g->rows[i];
			bool hit = letter ? row->letter == letter
					  : strncmp(row->name, name, len) == 0 && row->name[len] == '\0';
			if (hit)
				return (struct found){row, (char *)options + g->offset + row->offset};
		}
	}
	return (struct found){NULL, NULL};
}

static char *unknown_name(const struct command *command, const char *arg)
{
	int len = (int)strcspn(arg, "="); /* what follows may be a secret */
	char *name = strndup(arg + 2, (size_t)len - 2);
	if (!name)
		return problem("out of memory");
	struct nearest nearest = nearest_begin(name);
	for (const struct option_group *g = command->groups; g->rows; g++)
		for (size_t i = 0; i < g->n_rows; i++)
			nearest_offer(&nearest, g->rows[i].name);
	char *text = nearest.found ? problem("no option %.*s: did you mean --%s?", len, arg, nearest.found)
				   : problem("no option %.*s: see `crex %s --help`", len, arg, command->name);
	free(name);
	return text;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);
	for (const char *at = choices; len > 0 && *at; at += strcspn(at, " "), at += *at == ' ')
		if (strncmp(at, value, len) == 0 && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

static char *set(const struct found *f, const char *value)
{
	void *slot = f->slot;
	char *end;
	switch (f->row->kind) {
	case OPTION_FLAG: *(bool *)slot = true; return NULL;
	case OPTION_STRING:
		if (f->row->choices && *f->row->choices != '<' && !is_choice(f->row->choices, value))
			return problem("--%s %s: one of these is expected: %s", f->row->name, value, f->row->choices);
		*(const char **)slot = value;
		return NULL;
	case OPTION_LIST: {
		struct option_list *list = slot;
		const char **more = realloc(list->items, (list->n + 2) * sizeof *more);
		if (!more)
			return problem("out of memory");
		list->items = more;
		list->items[list->n++] = value;
		list->items[list->n] = NULL;
		return NULL;
	}
	case OPTION_SECONDS: {
		double seconds = strtod(value, &end);
		if (end == value || *end || !isfinite(seconds) || seconds <= 0 || seconds > 1e9)
			return problem("--%s %s: a number of seconds is expected", f->row->name, value);
		*(double *)slot = seconds;
		return NULL;
	}
	case OPTION_COUNT: {
		errno = 0;
		long n = strtol(value, &end, 10);
		if (end == value || *end || errno || n <= 0 || n > INT_MAX)
			return problem("--%s %s: a number above 0 is expected", f->row->name, value);
		*(int *)slot = (int)n;
		return NULL;
	}
	}
	return NULL;
}

/* One long option; *i is moved on when the value is a word of its own. */
static char *parse_long(const struct command *command, int argc, char **argv, int *i, void *options)
{
	const char *arg = argv[*i];
	size_t len = strcspn(arg + 2, "=");
	struct found f = find(command->groups, options, arg + 2, len, 0);
	const char *value = arg[2 + len] == '=' ? arg + 2 + len + 1 : NULL;
	if (!f.row)
		return unknown_name(command, arg);
	if (!f.row->arg && value)
		return problem("--%s takes no value", f.row->name);
	if (f.row->arg && !value) {
		if (*i + 1 >= argc)
			return problem("--%s: %s is missing", f.row->name, f.row->arg);
		value = argv[++*i];
	}
	return set(&f, value);
}

static char *parse_letters(const struct command *command, int argc, char **argv, int *i, void *options)
{
	for (const char *at = argv[*i] + 1; *at; at++) {
		struct found f = find(command->groups, options, NULL, 0, *at);
		if (!f.row)
			return problem("no option -%c: see `crex %s --help`", *at, command->name);
		const char *value = NULL;
		if (f.row->arg && at[1]) {
			value = at + 1;
		} else if (f.row->arg) {
			if (*i + 1 >= argc)
				return problem("-%c: %s is missing", *at, f.row->arg);
			value = argv[++*i];
		}
		char *wrong = set(&f, value);
		if (wrong || value)
			return wrong;
	}
	return NULL;
}

char *options_parse(const struct command *command, int argc, char **argv, void *options, struct operands *ret)
{
	int n = 0, i = 0;
	char *wrong = NULL;
	size_t max = command->max_operands < 0 ? SIZE_MAX : (size_t)command->max_operands;
	for (; i < argc && !wrong; i++) {
		const char *arg = argv[i];
		if (strcmp(arg, "--") == 0) {
			i++;
			break;
		}
		if (strncmp(arg, "--", 2) == 0)
			wrong = parse_long(command, argc, argv, &i, options);
		else if (arg[0] == '-' && arg[1])
			wrong = parse_letters(command, argc, argv, &i, options);
		else if (command->has_command && (size_t)n == max)
			break;
		else
			argv[n++] = argv[i];
	}
	if (!wrong && !command->has_command)
		while (i < argc)
			argv[n++] = argv[i++];
	*ret = (struct operands){argv, (size_t)n, argv + i, (size_t)(argc - i)};
	/* help is for those who don't know yet what is expected */
	if (!wrong && !((const struct common_options *)options)->help && (size_t)n > max)
		return problem("'%s' is one word too many: see `crex %s --help`", argv[max], command->name);
	return wrong;
}

void options_deinit(const struct command *command, void *options)
{
	for (const struct option_group *g = command->groups; g && g->rows; g++)
		for (size_t i = 0; i < g->n_rows; i++)
			if (g->rows[i].kind == OPTION_LIST) {
				struct option_list *list = (void *)((char *)options + g->offset + g->rows[i].offset);
				free(list->items);
			}
}

void options_print(const struct option_group *groups)
{
	for (const struct option_group *g = groups; g->rows; g++) {
		printf("\n%s:\n", g->title);
		for (size_t i = 0; i < g->n_rows; i++) {
			const struct option_row *row = &g->rows[i];
			char letter[8] = "    ", left[64];
			if (row->letter)
				snprintf(letter, sizeof letter, "-%c, ", row->letter);
			snprintf(left, sizeof left, "%s--%s%s%s", letter, row->name, row->arg ? " " : "",
				 row->arg ? row->arg : "");
			printf("  %-26s %s", left, row->help);
			if (row->choices && *row->choices != '<')
				printf(": %s", row->choices);
			putchar('\n');
		}
	}
}

/* cli/complete.c: what the shells' completion scripts ask: `crex __complete WORD...`, the last word being typed.
 *
 * The answer is one candidate a line, with a tab and a word about it where there is one; a line ":files" says that
 * paths are wanted as well. All knowledge is in the tables, so that the scripts never grow old. Nothing is asked of any
 * sandbox: a completion must be there at once. */
#include "cli/cli.h"
#include "cli/names.h"
#include <stdio.h>
#include <string.h>

struct completion {
	const struct command *command;	/* NULL: not typed yet */
	const struct option_row *wants; /* the option whose value is being typed */
	size_t n_operands;		/* before the word that is being typed */
	bool passed;			/* the rest is another program's */
	const char *word;
};

static void offer(const struct completion *c, const char *prefix, const char *text, size_t len, const char *about)
{
	size_t typed = strlen(c->word), before = strlen(prefix);
	char whole[300];
	if (before + len >= sizeof whole)
		return;
	memcpy(whole, prefix, before);
	memcpy(whole + before, text, len);
	whole[before + len] = '\0';
	if (strncmp(whole, c->word, typed) == 0)
		printf("%s%s%s\n", whole, about ? "\t" : "", about ? about : "");
}

static void offer_choices(const struct completion *c, const char *choices)
{
	for (const char *at = choices; *at;) {
		size_t len = strcspn(at, " ");
		offer(c, "", at, len, NULL);
		at += len + (at[len] == ' ');
	}
}

static void offer_options(const struct completion *c)
{
	for (const struct option_group *g = c->command->groups; g->rows; g++)
		for (size_t i = 0; i < g->n_rows; i++)
			offer(c, "--", g->rows[i].name, strlen(g->rows[i].name), g->rows[i].help);
}

static void offer_commands(const struct completion *c)
{
	for (const struct command *const *command = all_commands; *command; command++)
		offer(c, "", (*command)->name, strlen((*command)->name), (*command)->summary);
}

static void offer_names(const struct completion *c, const char *suffix)
{
	struct sandbox *list = NULL;
	size_t n = 0;
	if (names_list(&list, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		char name[NAME_LENGTH_MAX + 2];
		int len = snprintf(name, sizeof name, "%s%s", list[i].name, suffix);
		const char *target = json_string_value(json_object_get(list[i].record, "target"));
		offer(c, "", name, (size_t)len, target);
	}
	names_list_free(list, n);
}

static const struct option_row *find_row(const struct command *command, const char *word)
{
	for (const struct option_group *g = command->groups; g->rows; g++)
		for (size_t i = 0; i < g->n_rows; i++) {
			const struct option_row *row = &g->rows[i];
			bool is_long = strncmp(word, "--", 2) == 0 && strcmp(word + 2, row->name) == 0;
			bool is_letter = word[0] == '-' && row->letter && word[strlen(word) - 1] == row->letter;
			if (row->arg && (is_long || (is_letter && word[1] != '-')))
				return row;
		}
	return NULL;
}

/* Where in the command line the last word stands. */
static struct completion look(int n, char *const *words)
{
	struct completion c = {.word = words[n - 1]};
	for (int i = 0; i < n - 1; i++) {
		const char *word = words[i];
		if (c.passed)
			continue;
		if (!c.command) {
			c.command = *word == '-' ? NULL : command_find(word);
			c.passed = *word != '-' && (!c.command || c.command->passes_on);
		} else if (c.wants) {
			c.wants = NULL;
		} else if (strcmp(word, "--") == 0) {
			c.passed = true;
		} else if (*word == '-' && word[1]) {
			c.wants = find_row(c.command, word);
		} else if (c.command->has_command && (int)c.n_operands == c.command->max_operands) {
			c.passed = true;
		} else {
			c.n_operands++;
		}
	}
	return c;
}

int complete(int n, char *const *words)
{
	if (n < 1)
		return 0;
	struct completion c = look(n, words);
	const struct command *command = c.command;
	if (c.passed)
		puts(":files");
	else if (!command)
		offer_commands(&c);
	else if (c.wants && c.wants->choices && *c.wants->choices != '<')
		offer_choices(&c, c.wants->choices);
	else if (c.wants && strcmp(c.wants->name, "engine") == 0)
		offer_choices(&c, "docker podman");
	else if (c.wants && c.wants->choices)
		puts(":files");
	else if (c.wants)
		return 0;
	else if (*c.word == '-')
		offer_options(&c);
	else if (command == &command_help)
		offer_commands(&c);
	else if (command == &command_completion)
		offer_choices(&c, "bash zsh fish");
	else if (command->has_names && (command->max_operands < 0 || (int)c.n_operands < command->max_operands))
		offer_names(&c, command->has_files ? ":" : "");
	if (command && command->has_files && !c.passed && !c.wants && *c.word != '-')
		puts(":files");
	if (command && command->has_command && !c.passed && !c.wants && *c.word != '-' &&
	    (int)c.n_operands == command->max_operands)
		puts(":files");
	return 0;
}

/* cli/main.c: crex, the command: the table of commands, help, and the way to one of them.
 *
 * Everything that a command needs is in one struct on main's stack; the only other state is the signal handlers'
 * (signals.c). crex uses the library as any other program would: by include/crex alone. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/nearest.h"
#include "cli/cli.h"
#include "cli/signals.h"
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct command *const all_commands[] = {
	&command_run,	  &command_shell, &command_up,	       &command_ps, &command_exec,  &command_cp,
	&command_logs,	  &command_info,  &command_down,       &command_gc, &command_serve, &command_doctor,
	&command_version, &command_help,  &command_completion, NULL,
};

const struct command *command_find(const char *name)
{
	for (const struct command *const *c = all_commands; *c; c++)
		if (strcmp((*c)->name, name) == 0)
			return *c;
	return NULL;
}

void print_overview(void)
{
	static const struct {
		const char *title;
		const struct command *commands[8];
	} parts[] = {
		{"For the moment", {&command_run, &command_shell}},
		{"Sandboxes with a name",
		 {&command_up, &command_ps, &command_exec, &command_cp, &command_logs, &command_info, &command_down}},
		{"This machine", {&command_serve, &command_doctor, &command_gc}},
		{"About crex", {&command_help, &command_version, &command_completion}},
	};
	puts("Usage: crex COMMAND [OPTION...]\n"
	     "Runs commands in sandboxes: containers, clouds, servers.");
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		printf("\n%s:\n", parts[i].title);
		for (const struct command *const *c = parts[i].commands; *c; c++)
			printf("  %-12s %s\n", (*c)->name, (*c)->summary);
	}
	puts("\nTo begin with:\n"
	     "  crex doctor                                       what works on this machine\n"
	     "  crex run --image debian:12 -- cat /etc/os-release\n"
	     "  crex up web --image python:3.12 && crex shell web\n"
	     "\n`crex COMMAND --help` has the options and examples; crex(1) has all of it.");
}

static void print_lines(const char *text, const char *first, const char *rest)
{
	for (bool begin = true; *text; begin = false) {
		size_t len = strcspn(text, "\n");
		printf("%s%.*s\n", begin ? first : rest, (int)len, text);
		text += len + (text[len] == '\n');
	}
}

void print_command_help(const struct command *command)
{
	char first[64], rest[64];
	snprintf(first, sizeof first, "Usage: crex %s ", command->name);
	snprintf(rest, sizeof rest, "       crex %s ", command->name);
	print_lines(command->usage, first, rest);
	printf("\n%c%s.\n",
	       command->summary[0] >= 'a' && command->summary[0] <= 'z' ? command->summary[0] - 32
									: command->summary[0],
	       command->summary + 1);
	print_lines(command->about, "", "");
	if (!command->passes_on)
		options_print(command->groups);
	if (*command->examples) {
		printf("\nExamples:\n");
		print_lines(command->examples, "  ", "  ");
	}
}

static int unknown_command(struct cli *cli, const char *name)
{
	static const struct {
		const char *other, *ours;
	} elsewhere[] = {{"start", "up"},     {"create", "up"},	  {"stop", "down"},    {"rm", "down"},
			 {"kill", "down"},    {"ls", "ps"},	  {"list", "ps"},      {"ssh", "shell"},
			 {"attach", "shell"}, {"prune", "gc"},	  {"inspect", "info"}, {"describe", "info"},
			 {"get", "ps"},	      {"delete", "down"}, {"copy", "cp"},      {"log", "logs"},
			 {"server", "serve"}};
	for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
		if (strcmp(elsewhere[i].other, name) == 0)
			return fail(cli, "no command '%s': did you mean '%s'?", name, elsewhere[i].ours);
	struct nearest nearest = nearest_begin(name);
	for (const struct command *const *c = all_commands; *c; c++)
		nearest_offer(&nearest, (*c)->name);
	return nearest.found ? fail(cli, "no command '%s': did you mean '%s'?", name, nearest.found)
			     : fail(cli, "no command '%s': `crex help` lists them", name);
}

static int run_command(struct cli *cli, const struct command *command, int argc, char **argv)
{
	cleanup_free struct common_options *options = calloc(1, command->options_size);
	struct operands operands = {argv, (size_t)argc, NULL, 0};
	if (!options)
		return fail(cli, "out of memory");
	cli->command = command->name;
	bool help = command->passes_on && argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
	cleanup_free char *wrong = command->passes_on ? NULL : options_parse(command, argc, argv, options, &operands);
	int code;
	if (wrong) {
		code = fail(cli, "%s", wrong);
	} else if (options->help || help) {
		print_command_help(command);
		code = finish_stdout(cli);
	} else {
		output_set(&cli->out, options->json, options->verbose, options->quiet);
		code = command->run(cli, options, &operands);
	}
	options_deinit(command, options);
	return code;
}

/* Options before the command: -v, -q, --help, --version. */
static int dispatch(struct cli *cli, int argc, char **argv)
{
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "--verbose") == 0) {
			output_set(&cli->out, false, true, false);
		} else if (strcmp(argv[i], "-q") == 0 || strcmp(argv[i], "--quiet") == 0) {
			output_set(&cli->out, false, false, true);
		} else if (strcmp(argv[i], "--version") == 0) {
			return run_command(cli, &command_version, 0, argv + argc);
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_overview();
			return finish_stdout(cli);
		} else {
			return fail(cli, "no option %.*s before the command: see `crex --help`",
				    (int)strcspn(argv[i], "="), argv[i]);
		}
	}
	if (i == argc) {
		print_overview();
		finish_stdout(cli);
		return EXIT_CREX;
	}
	if (strcmp(argv[i], "__complete") == 0)
		return complete(argc - i - 1, argv + i + 1);
	const struct command *command = command_find(argv[i]);
	return command ? run_command(cli, command, argc - i - 1, argv + i + 1) : unknown_command(cli, argv[i]);
}

int main(int argc, char **argv)
{
	struct cli cli = {0};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	setlocale(LC_CTYPE, "");
	output_init(&cli.out);
	cli.cancel = crex_cancel_new(&err);
	int code;
	if (cli.cancel) {
		signals_install(cli.cancel);
		code = dispatch(&cli, argc, argv);
	} else {
		code = fail_error(&cli, NULL, &err);
	}
	if (signals_seen() == SIGINT && isatty(STDERR_FILENO))
		fputc('\n', stderr); /* behind the ^C */
	/* not freed: a signal may still come, and the process ends here */
	output_deinit(&cli.out);
	return code;
}

/* cli/cli.h: what all commands of crex share: the program's state, the table of commands, the exit codes. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/options.h"
#include "cli/output.h"
#include <crex/crex.h>

/* Beside these, run, exec and shell end as the remote command did; 128 + N where signal N ended it. */
enum {
	EXIT_TIMEOUT = 124,	   /* --timeout was over, as timeout(1) says it */
	EXIT_CREX = 125,	   /* crex itself failed, as docker says it */
	EXIT_NOT_EXECUTABLE = 126, /* the command can't be run */
	EXIT_NOT_FOUND = 127,	   /* there is no such command */
	EXIT_SIGNAL = 128,
};

struct cli {
	struct output out;
	struct crex_cancel *cancel; /* triggered by the first Ctrl-C; see signals.h */
	const char *command;	    /* the name of the one that runs, for messages */
	const char *sandbox;	    /* the name of the one that it uses; NULL: none */
	bool takes_token;	    /* --token-file would be heard: the sandbox is a server that the options name */
};

struct command {
	const char *name;
	const char *summary;
	const char *usage; /* what follows the name; lines after the first are further forms */
	const char *about;
	const char *examples; /* lines of "crex ..." and "# ..." */
	const struct option_group *groups;
	size_t options_size;
	int max_operands; /* -1: any number */
	bool has_command; /* what follows the operands is a command line for the sandbox */
	bool has_names;	  /* operands are names of sandboxes, for the completion */
	bool has_files;	  /* ... or local files */
	bool passes_on;	  /* all arguments are another program's */
	int (*run)(struct cli *cli, void *options, const struct operands *operands);
};

extern const struct command command_run, command_shell, command_up, command_ps, command_exec, command_cp, command_logs,
	command_info, command_down, command_gc, command_serve, command_doctor, command_version, command_help,
	command_completion;

/* The table, in the order of the help; a row without a name ends it. */
extern const struct command *const all_commands[];

const struct command *command_find(const char *name);
void print_overview(void);
void print_command_help(const struct command *command);

/* Candidates for the last of the words (`crex` left out), one a line, for the completion scripts. */
int complete(int n, char *const *words);

/* What the end of a call by Ctrl-C, SIGTERM or SIGHUP means for the exit code. */
int exit_code_of_signal(void);

#endif

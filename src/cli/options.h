/* cli/options.h: command lines by table: one row an option, from which parsing, help and completion are made. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct command;

enum option_kind {
	OPTION_FLAG,	/* bool */
	OPTION_STRING,	/* const char *, borrowed from argv; NULL: not given */
	OPTION_LIST,	/* struct option_list, may be given any number of times */
	OPTION_SECONDS, /* double > 0; 0: not given */
	OPTION_COUNT,	/* int > 0; 0: not given */
};

struct option_list {
	const char **items; /* owned; the strings are argv's; NULL-terminated when not NULL */
	size_t n;
};

struct option_row {
	const char *name; /* without the dashes */
	char letter;	  /* 0: none */
	enum option_kind kind;
	const char *arg; /* what the help calls the value; NULL: a flag */
	const char *help;
	size_t offset;	     /* in the group's struct */
	const char *choices; /* "a b c": one of these; "<file>": a path, for the completion; NULL: any */
};

struct option_group {
	const char *title;
	const struct option_row *rows;
	size_t n_rows;
	size_t offset; /* of the group's struct in the command's options */
};
#define OPTION_GROUP(title, rows, offset)                                \
	{                                                                \
		(title), (rows), sizeof(rows) / sizeof *(rows), (offset) \
	}
#define OPTION_GROUPS_END     \
	{                     \
		NULL, 0, 0, 0 \
	}

/* First member of every command's options. */
struct common_options {
	bool help;
	bool verbose;
	bool quiet;
	bool json;
};
extern const struct option_row common_rows[3], json_rows[1];
#define COMMON_GROUP OPTION_GROUP("Common options", common_rows, 0)
#define JSON_GROUP OPTION_GROUP("Output", json_rows, 0)

struct operands {
	char *const *items; /* borrowed */
	size_t n;
	char *const *command; /* the sandbox's command line, NULL-terminated */
	size_t n_command;
};

/* Reads argv[0..argc-1] (the command's name left out) into options, which is zeroed and of command->options_size.
 * NULL, or a line on what is wrong with it, owned by the caller. */
char *options_parse(const struct command *command, int argc, char **argv, void *options, struct operands *ret);
void options_deinit(const struct command *command, void *options);

/* The groups' rows as the help shows them, on stdout. */
void options_print(const struct option_group *groups);

#endif

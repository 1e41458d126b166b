/* cli/output.h: what people and programs get to see.
 *
 * Results go to stdout, everything else to stderr. A terminal gets colours (unless NO_COLOR is set) and, while
 * something takes long, one line that is rewritten in place and gone when it is done. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <crex/error.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct cli;

enum color { COLOR_NONE, COLOR_RED, COLOR_GREEN, COLOR_YELLOW, COLOR_DIM, COLOR_BOLD };

struct output {
	bool json, verbose, quiet;
	bool color_out, color_err;
	bool live;	      /* the rewritten line may be used */
	bool line_shown;      /* there is one now */
	double line_at;	      /* when it was last rewritten */
	double begun;	      /* of the step that it tells of */
	char *step;	      /* owned; the step that it tells of */
	pthread_mutex_t lock; /* hooks come from threads of the library */
};

void output_init(struct output *out);
void output_set(struct output *out, bool json, bool verbose, bool quiet); /* after the options are known */
void output_deinit(struct output *out);

/* "crex: WHAT" on stderr; returns EXIT_CREX. Further lines of the text are shown below, indented. */
int fail(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same from an error, with what to do about it. what (NULL: nothing) goes before it: "up web". The exit code is the
 * signal's when the error is that the user has called it off. */
int fail_error(struct cli *cli, const char *what, const struct crex_error *err);
/* A remark on stderr, unless quiet. */
void note(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What is being done now: a line with -v, else the rewritten one. */
void show_step(struct cli *cli, const char *text);
/* How far it has come; bytes when `bytes`, total 0: not known. Rewritten line only. */
void show_progress(struct cli *cli, const char *what, unsigned long long done, unsigned long long total, bool bytes);
void clear_line(struct cli *cli); /* before anything else is written to the terminal */

/* Prints (indented on a terminal) and frees the value. 0, or EXIT_CREX when stdout can't be written. */
int print_json(struct cli *cli, json_t *value_take);
/* Flushes stdout and tells of what couldn't be written. 0 or EXIT_CREX. */
int finish_stdout(struct cli *cli);

/* A text in a colour on stdout, where colours are wanted; width 0: as long as it is, else padded. */
void print_colored(const struct cli *cli, enum color color, const char *text, size_t width);

struct cell {
	char *text; /* owned */
	enum color color;
};
/* Rows of n_columns cells under their titles; the last column isn't padded. Frees the texts. */
void print_table(struct cli *cli, const char *const *titles, size_t n_columns, struct cell *cells, size_t n_rows);

void human_size(char *text, size_t size, unsigned long long bytes); /* "1.4 MB" */
void human_age(char *text, size_t size, double seconds);	    /* "5 minutes" */

#endif

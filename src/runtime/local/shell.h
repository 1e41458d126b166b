/* runtime/local/shell.h: every piece of shell text that we hand to bash, and the report that it writes back.
 *
 * Pure text in, text out. docs/session.md explains the protocol. Works with bash 4.1 and later; the bootstrap has a
 * branch for 3.2. */
#ifndef RUNTIME_LOCAL_SHELL_H
#define RUNTIME_LOCAL_SHELL_H

#include "base/buf.h"
#include <crex/runtime.h>
#include <stdbool.h>

/* Where bash inherits the pipe for reports and the memfd. The bootstrap moves them to 56 and 58, next to the sink (57)
 * and the terminal (59), all close-on-exec there: no child inherits them. */
enum { SHELL_FD_REPORT_IN = 8, SHELL_FD_TEXT_IN = 9 };

/* What has to be put back before the user's next command, so that it finds the shell as the last one left it. */
struct shell_state {
	int status;	       /* $?, which the report does not hold: E told it */
	bool has_jobs;	       /* the shell knows of jobs, running or ended */
	char flags[8];	       /* those of "xveTa" that are on */
	struct buf xtrace_fd;  /* $BASH_XTRACEFD, digits or empty */
	struct buf trap_debug; /* "trap -- '...' DEBUG\n" or empty */
	struct buf trap_err;
};

void shell_state_init(struct shell_state *st);
void shell_state_deinit(struct shell_state *st);

/* All appenders: 0, -ENOSPC or -ENOMEM. Nonces are strings of decimal digits. */

/* The startup file: moves the descriptors, sources ~/.bashrc and the given files, ends with a report. */
int shell_append_bootstrap(struct buf *out, const char *session_nonce, const char *nonce,
			   const struct crex_str_list *startup_source);

/* The line that is typed on the terminal for a text of the two appenders below, newline included. */
const char *shell_typed_line(const struct buf *text);

/* The text that stands in the memfd for one command, terminating NUL included. */
int shell_append_command(struct buf *out, const struct shell_state *st, struct crex_str command, const char *nonce);

/* The same after a command was given up in the middle: only reports and cleans up. */
int shell_append_recovery(struct buf *out, const char *session_nonce, const char *nonce);

/* Typed when a function of the user's has taken the place of `builtin` itself. */
const char *shell_unhijack_line(void);

/* Reads the report of a command out of what came through the pipe: all but st->status and st->has_jobs. */
void shell_parse_report(const char *data, size_t len, const char *session_nonce, struct shell_state *st);

/* Only blanks, newlines and comments: nothing for bash to do. */
bool shell_is_blank(struct crex_str command);

#endif

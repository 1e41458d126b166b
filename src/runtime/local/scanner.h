/* runtime/local/scanner.h: finding our own reports in the raw output of a session's terminal.
 *
 * Four reports may stand in the stream, each between two FS bytes (0x1C) and behind a random number:
 *   FS 'E' <nonce of this command>:<status> FS    the command has ended
 *   FS 'N' <nonce of the session> FS              its state is in the pipe, and no prompt will show
 *   FS 'S' <nonce of the session>:<status>:[1] FS the command was given up; "1": before its first word ran
 *   FS 'P' <nonce of the session>:<status>:<number>:<jobs> FS  the shell is at its prompt; the number grows with each
 * line read Everything else, FS bytes included, is the user's text. Pure and incremental. */
#ifndef RUNTIME_LOCAL_SCANNER_H
#define RUNTIME_LOCAL_SCANNER_H

#include <stdbool.h>
#include <stddef.h>

enum { NONCE_LEN = 20, SCAN_REPORT_MAX = 64 };

enum scan_kind { SCAN_NONE, SCAN_TEXT, SCAN_END, SCAN_PROMPTLESS, SCAN_ABORT, SCAN_PROMPT };

struct scan_event {
	enum scan_kind kind;
	const char *text; /* borrowed, valid until the next call; a report's own bytes likewise */
	size_t len;
	int status;	   /* the number behind the nonce */
	int prompt_number; /* SCAN_PROMPT */
	int jobs;	   /* SCAN_PROMPT */
	bool not_started;  /* SCAN_ABORT */
};

struct scanner {
	char session_nonce[NONCE_LEN + 1]; /* decimal digits */
	char command_nonce[NONCE_LEN + 1];
	char held[SCAN_REPORT_MAX]; /* the beginning of what may become a report */
	size_t n_held;
	char text[SCAN_REPORT_MAX]; /* what was held and has been decided */
};

/* Looks at data, returns how many bytes were consumed and fills *ret with at most one event (SCAN_NONE: all of data
 * is held back or data was empty). Call again with the rest until everything is consumed and the event is SCAN_NONE. */
size_t scanner_feed(struct scanner *s, const char *data, size_t len, struct scan_event *ret);

/* The stream has ended: what was held is text. */
void scanner_finish(struct scanner *s, struct scan_event *ret);

#endif

/* cli/terminal.h: the user's own terminal: raw while a remote one is shown in it, its size, and the way out. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

/* Raw mode on stdin; what was before comes back by terminal_restore, which is fine in any state. */
struct terminal {
	struct termios before;
	bool raw;
};
int terminal_raw(struct terminal *t); /* 0 or -1 with errno */
void terminal_restore(struct terminal *t);

void terminal_size(int *ret_rows, int *ret_columns); /* of stdin, stdout or stderr; 24 x 80 when there is none */

/* "~." at the beginning of a line leaves, as in ssh; "~~" is one "~". */
enum escape_state { ESCAPE_LINE_BEGIN, ESCAPE_TILDE, ESCAPE_TEXT };

/* Takes `len` typed bytes into out (room for 2 * len): what is to be sent on. True: leave; what was typed before it is
 * in out. */
bool escape_filter(enum escape_state *state, const char *typed, size_t len, char *out, size_t *ret_len);

#define cleanup_terminal __attribute__((cleanup(terminal_restore)))

#endif

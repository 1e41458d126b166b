/* cli/signals.h: Ctrl-C, SIGTERM and SIGHUP call off what is under way; the window's new size is told. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <crex/call.h>
#include <termios.h>

/* From now on the first of these signals triggers cancel; one more after that ends the program at once. SIGPIPE is
 * ignored. */
void signals_install(struct crex_cancel *cancel);

/* Another cancel for a while (NULL: the first one again): the first signal is forgotten. */
void signals_retarget(struct crex_cancel *cancel);

int signals_seen(void); /* the last of them; 0: none yet */

/* What a second Ctrl-C must restore: the terminal's settings; NULL: nothing any more. */
void signals_keep_terminal(const struct termios *settings);
/* ... and must say: what may be left; static, NULL: nothing. */
void signals_may_leave(const char *what);

/* Becomes readable when the terminal's size has changed (an eventfd: read it); -1 when there is none. */
int signals_watch_size(void);

#endif

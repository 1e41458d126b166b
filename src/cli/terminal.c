/* cli/terminal.c: raw mode and ssh's escape.
 *
 * In raw mode every key goes to the sandbox, Ctrl-C too; so there must be one way out that needs no answer from there:
 * a line that begins with "~.", which ssh users have in their fingers. */
#include "cli/terminal.h"

#include "cli/signals.h"
#include <sys/ioctl.h>
#include <unistd.h>

int terminal_raw(struct terminal *t)
{
	t->raw = false;
	if (tcgetattr(STDIN_FILENO, &t->before) < 0)
		return -1;
	struct termios raw = t->before;
	cfmakeraw(&raw);
	signals_keep_terminal(&t->before);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return -1;
	t->raw = true;
	return 0;
}

void terminal_restore(struct terminal *t)
{
	if (t->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before);
	signals_keep_terminal(NULL);
	t->raw = false;
}

void terminal_size(int *ret_rows, int *ret_columns)
{
	*ret_rows = 24;
	*ret_columns = 80;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		struct winsize size;
		if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
			*ret_rows = size.ws_row;
			*ret_columns = size.ws_col;
			return;
		}
	}
}

bool escape_filter(enum escape_state *state, const char *typed, size_t len, char *out, size_t *ret_len)
{
	size_t n = 0;
	bool leave = false;
	for (size_t i = 0; i < len && !leave; i++) {
		char c = typed[i];
		if (*state == ESCAPE_TILDE && c == '.') {
			leave = true;
			break;
		}
		if (*state == ESCAPE_LINE_BEGIN && c == '~') {
			*state = ESCAPE_TILDE;
			continue;
		}
		if (*state == ESCAPE_TILDE && c != '~')
			out[n++] = '~';
		out[n++] = c;
		*state = c == '\r' || c == '\n' ? ESCAPE_LINE_BEGIN : ESCAPE_TEXT;
	}
	*ret_len = n;
	return leave;
}

/* cli/signals.c: from a signal handler to the library's cancel.
 *
 * A handler can't be given anything, so this file has the program's only state beside main's: what to trigger, and what
 * a second Ctrl-C still has to do before it leaves. All that handlers touch is a descriptor, a flag or a pointer that
 * was set before; crex_cancel_trigger, write and tcsetattr are async-signal-safe. */
#include "cli/signals.h"

#include "cli/cli.h"
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
	struct crex_cancel *first;
	struct crex_cancel *volatile cancel;
	volatile sig_atomic_t seen, calls;
	volatile sig_atomic_t ended_by; /* what triggered the first cancel, for good */
	const struct termios *volatile terminal;
	const char *volatile may_leave;
	int size_event;
} state = {.size_event = -1};

static void say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));
	(void)n;
}

static void on_end(int signum)
{
	int saved = errno;
	state.seen = signum;
	if (state.cancel == state.first)
		state.ended_by = signum;
	if (state.calls++ == 0) {
		crex_cancel_trigger(state.cancel);
		errno = saved;
		return;
	}
	if (state.terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, (const struct termios *)state.terminal);
	if (state.may_leave) {
		say("\ncrex: left at once: ");
		say(state.may_leave);
		say("\n");
	}
	_exit(EXIT_SIGNAL + signum);
}

static void on_size(int signum)
{
	(void)signum;
	int saved = errno;
	uint64_t one = 1;
	ssize_t n = write(state.size_event, &one, sizeof one);
	(void)n;
	errno = saved;
}

void signals_install(struct crex_cancel *cancel)
{
	struct sigaction end = {.sa_handler = on_end, .sa_flags = SA_RESTART};
	static const int signums[] = {SIGINT, SIGTERM, SIGHUP};
	state.first = state.cancel = cancel;
	for (size_t i = 0; i < sizeof signums / sizeof *signums; i++) {
		struct sigaction before;
		sigaction(signums[i], NULL, &before);
		if (before.sa_handler != SIG_IGN) /* nohup */
			sigaction(signums[i], &end, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
}

void signals_retarget(struct crex_cancel *cancel)
{
	state.cancel = cancel ? cancel : state.first;
	state.calls = 0;
	state.seen = 0;
}

int signals_seen(void)
{
	return state.seen ? state.seen : state.ended_by;
}

int exit_code_of_signal(void)
{
	return EXIT_SIGNAL + (signals_seen() ? signals_seen() : SIGINT);
}

void signals_keep_terminal(const struct termios *settings)
{
	state.terminal = settings;
}

void signals_may_leave(const char *what)
{
	state.may_leave = what;
}

int signals_watch_size(void)
{
	if (state.size_event < 0) {
		state.size_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		struct sigaction size = {.sa_handler = on_size, .sa_flags = SA_RESTART};
		if (state.size_event >= 0)
			sigaction(SIGWINCH, &size, NULL);
	}
	return state.size_event;
}

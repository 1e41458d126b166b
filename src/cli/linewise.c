/* cli/linewise.c: what `crex shell` is on a server of upstream's: a prompt of ours on a session of theirs.
 *
 * Variables, directories and functions stay, since it is one bash all the time; programs that draw on the terminal
 * don't work, and that is said at the beginning. Ctrl-C while a command runs interrupts that command and nothing else:
 * for its time the signal has a cancel of its own. */
#include "cli/linewise.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/deadline.h"
#include "cli/joined.h"
#include "cli/signals.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1 << 20 };

struct shell {
	struct cli *cli;
	struct crex_runtime *rt;
	char session[32];
	int last; /* exit code */
	bool ended;
};

/* export and cd, quoted for the shell. */
static int prepare(struct shell *s, const char *workdir, const char *const *env, size_t n_env, struct buf *line)
{
	int r = 0;
	for (size_t i = 0; i <= n_env && r == 0; i++) {
		const char *text = i < n_env ? env[i] : workdir;
		if (!text)
			break;
		r = buf_append_str(line, i < n_env ? "export '" : "cd -- '");
		for (; *text && r == 0; text++)
			r = *text == '\'' ? buf_append_str(line, "'\\''") : buf_append_char(line, *text);
		if (r == 0)
			r = buf_append_str(line, "'\n");
	}
	(void)s;
	return r;
}

static void show(const char *text, size_t len)
{
	if (len > 0 && write_all(STDOUT_FILENO, text, len) == 0 && text[len - 1] != '\n')
		write_all(STDOUT_FILENO, "\n", 1);
}

static int stop_command(struct shell *s)
{
	struct crex_bash_interrupt_action action = CREX_BASH_INTERRUPT_ACTION_INIT;
	struct crex_observation seen = CREX_OBSERVATION_INIT;
	const struct crex_call call = {10, NULL};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	action.session = crex_str_of(s->session);
	signals_retarget(NULL);
	if (isatty(STDIN_FILENO))
		fputc('\n', stderr); /* behind the ^C */
	if (crex_runtime_interrupt(s->rt, &action, &call, &seen, &err) < 0)
		return fail_error(s->cli, "the command can't be interrupted", &err);
	show(seen.output, seen.output_len);
	crex_observation_clear(&seen);
	s->last = EXIT_SIGNAL + SIGINT;
	return 0;
}

/* 0, or an exit code: the session is of no more use. */
static int run_line(struct shell *s, const char *line, size_t len)
{
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	struct crex_observation seen = CREX_OBSERVATION_INIT;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct crex_cancel *cancel = cancel_below(s->cli->cancel, &err);
	if (!cancel)
		return fail_error(s->cli, NULL, &err);
	const struct crex_call call = {CREX_NO_TIMEOUT, cancel};
	action.session = crex_str_of(s->session);
	action.command = (struct crex_str){line, len};
	action.check = CREX_CHECK_SILENT;
	signals_retarget(cancel);
	int r = crex_runtime_run_in_session(s->rt, &action, &call, &seen, &err);
	int signum = signals_seen();
	signals_retarget(NULL);
	crex_cancel_free(cancel);
	if (r == 0) {
		show(seen.output, seen.output_len);
		s->last = seen.has_exit_code ? seen.exit_code : 0;
		s->ended = seen.session_ended;
		crex_observation_clear(&seen);
		return 0;
	}
	if (err.code == CREX_E_CANCELLED)
		return signum == SIGINT && !crex_cancel_is_triggered(s->cli->cancel) ? stop_command(s)
										     : EXIT_SIGNAL + signum;
	if (err.code == CREX_E_BASH_INCORRECT_SYNTAX) {
		const char *words = crex_error_extra(&err, "bash_stderr");
		words = words && *words ? words : err.message;
		fprintf(stderr, "%s%s", words, words[strlen(words) - 1] == '\n' ? "" : "\n");
		s->last = 2;
		return 0;
	}
	return fail_error(s->cli, NULL, &err);
}

/* Waits for input or a signal, for which the wait has a cancel of its own: Ctrl-C at the prompt gives a new one. 1:
 * there is input; 0: Ctrl-C on a terminal; else the exit code, negative. */
static int wait_for_input(struct shell *s)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct crex_cancel *cancel = cancel_below(s->cli->cancel, &err);
	if (!cancel)
		return -fail_error(s->cli, NULL, &err);
	const struct deadline deadline = {CREX_NO_TIMEOUT, cancel};
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	signals_retarget(cancel);
	int r = deadline_poll(&deadline, &input, 1, &err), signum = signals_seen();
	signals_retarget(NULL);
	crex_cancel_free(cancel);
	if (r >= 0)
		return 1;
	return signum == SIGINT && isatty(STDIN_FILENO) && !crex_cancel_is_triggered(s->cli->cancel)
		       ? 0
		       : -(EXIT_SIGNAL + (signum ? signum : SIGTERM));
}

/* One line into `line`, what follows stays in `typed`. 1, 0 at the end of the input, or the exit code, negative. */
static int read_line(struct shell *s, const char *prompt, struct buf *typed, struct buf *line)
{
	char part[4096];
	for (;;) {
		char *end = typed->len > 0 ? memchr(typed->data, '\n', typed->len) : NULL;
		buf_clear(line);
		if (end) {
			size_t len = (size_t)(end - typed->data);
			int r = buf_append(line, typed->data, len);
			buf_consume(typed, len + 1);
			return r < 0 ? -fail(s->cli, "out of memory") : 1;
		}
		int r = wait_for_input(s);
		if (r < 0)
			return r;
		if (r == 0) {
			buf_clear(typed);
			fprintf(stderr, "\n%s$ ", prompt);
			continue;
		}
		ssize_t n = read(STDIN_FILENO, part, sizeof part);
		if (n <= 0) { /* a last line without a newline is one too */
			size_t len = typed->len;
			if (len > 0 && buf_append(line, typed->data, len) < 0)
				return -fail(s->cli, "out of memory");
			buf_clear(typed);
			return len > 0;
		}
		if (buf_append(typed, part, (size_t)n) < 0)
			return -fail(s->cli, "a line is too long");
	}
}

static int loop(struct shell *s, const char *name)
{
	cleanup_buf struct buf typed, line;
	int r = 0;
	bool terminal = isatty(STDIN_FILENO);
	buf_init(&typed, LINE_MAX_BYTES);
	buf_init(&line, LINE_MAX_BYTES);
	while (r == 0 && !s->ended) {
		if (terminal)
			fprintf(stderr, "%s$ ", name);
		int got = read_line(s, name, &typed, &line);
		if (got < 0)
			return -got;
		if (got == 0)
			break;
		if (line.len > 0)
			r = run_line(s, line.data, line.len);
	}
	if (terminal && !s->ended && r == 0)
		fputc('\n', stderr);
	return r ? r : s->last;
}

int linewise_shell(struct cli *cli, struct crex_runtime *rt, const char *name, const char *workdir,
		   const char *const *env, size_t n_env)
{
	struct shell s = {.cli = cli, .rt = rt};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_buf struct buf first;
	buf_init(&first, 1 << 20);
	snprintf(s.session, sizeof s.session, "crex-shell-%d", (int)getpid());
	struct crex_create_session_request create = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_text greeting = CREX_TEXT_INIT;
	create.session = crex_str_of(s.session);
	create.startup_timeout = 10;
	const struct crex_call call = {CREX_NO_TIMEOUT, cli->cancel};
	if (prepare(&s, workdir, env, n_env, &first) < 0)
		return fail(cli, "out of memory");
	if (crex_runtime_create_session(rt, &create, &call, &greeting, &err) < 0)
		return fail_error(cli, NULL, &err);
	if (isatty(STDIN_FILENO))
		note(cli, "This server has no terminals: commands run line by line, Ctrl-D ends it.");
	show(greeting.data, greeting.len);
	crex_text_clear(&greeting);
	int code = first.len > 0 ? run_line(&s, first.data, first.len - 1) : 0;
	if (code == 0)
		code = loop(&s, name);
	if (!s.ended)
		crex_runtime_close_session(rt, crex_str_of(s.session), &(const struct crex_call){10, NULL}, NULL);
	return code;
}

/* cli/joined.c: joining two ends of a stream, as `docker exec` and ssh do.
 *
 * Two threads, since either side may block for as long as it likes: this one takes what comes and writes it out, the
 * other one takes what is typed (and the window's size) and sends it. With one thread a program that prints more than
 * the pipes hold before it reads on would stand still for ever.
 *
 * Ctrl-C without a terminal in the sandbox is handed on first: a test runner prints its summary then. Who doesn't end
 * within a moment is killed with its tree, by freeing the stream. In a raw terminal Ctrl-C is a key like any other. */
#include "cli/joined.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "cli/linewise.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(struct joined_options, member)
#define GRACE_SECONDS 2.0 /* for an end of the program's own after Ctrl-C */
enum { CHUNK = 16384 };

const struct option_row joined_rows[5] = {
	{"env", 'e', OPTION_LIST, "K=V", "set a variable; K alone: as it is here", AT(env), NULL},
	{"workdir", 'w', OPTION_STRING, "DIR", "run it in this directory", AT(workdir), NULL},
	{"interactive", 'i', OPTION_FLAG, NULL, "hand standard input on", AT(interactive), NULL},
	{"tty", 't', OPTION_FLAG, NULL, "give it a terminal", AT(tty), NULL},
	{"timeout", 0, OPTION_SECONDS, "S", "end it after so long (exit code 124)", AT(timeout), NULL},
};

int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};
			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return -1;
		} else if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* An exit code: what failed is our side, not the command. */
static int not_written(struct cli *cli, const char *which)
{
	return errno == EPIPE ? EXIT_SIGNAL + SIGPIPE : fail(cli, "standard %s can't be written: %m", which);
}

struct crex_str *views_of(const char *const *strings, size_t n)
{
	struct crex_str *views = calloc(n + 1, sizeof *views);
	for (size_t i = 0; views && i < n; i++)
		views[i] = crex_str_of(strings[i]);
	return views;
}

int joined_check(struct cli *cli, const struct joined_options *o)
{
	if (o->tty && o->interactive && !isatty(STDIN_FILENO))
		return fail(cli, "-t: standard input is not a terminal: leave -t out");
	for (size_t i = 0; i < o->env.n; i++)
		if (*o->env.items[i] == '=' || !*o->env.items[i])
			return fail(cli, "-e %s: the variable has no name", o->env.items[i]);
	return 0;
}

/* Python's text names the file: it may also be the working directory that isn't there. */
static bool is_about(const struct crex_error *err, const char *name)
{
	size_t len = strlen(name), at = err->message_len;
	return at > len + 1 && strncmp(err->message + at - len - 1, name, len) == 0;
}

int joined_failed(struct cli *cli, const struct crex_error *err, char *const *argv, size_t n_argv)
{
	const char *name = n_argv > 0 ? argv[0] : "shell";
	bool words = n_argv == 1 && strpbrk(name, " |&;<>$");
	switch ((int)err->code) {
	case CREX_E_FILE_NOT_FOUND:
		fail(cli, "%s: %s%s", name, is_about(err, name) ? "there is no such program there" : err->message,
		     words ? ": for a line of shell say: sh -c '...'" : "");
		return EXIT_NOT_FOUND;
	case CREX_E_PERMISSION:
	case CREX_E_NOT_A_DIRECTORY:
	case CREX_E_IS_A_DIRECTORY:
	case CREX_E_OS: fail(cli, "%s: %s", name, err->message); return EXIT_NOT_EXECUTABLE;
	case CREX_E_COMMAND_TIMEOUT:
	case CREX_E_DEADLINE: fail(cli, "%s: the time of --timeout is over: it was ended", name); return EXIT_TIMEOUT;
	default: return fail_error(cli, name, err);
	}
}

/* ---- the environment ---- */

static void free_strings(char ***list)
{
	for (char **at = *list; at && *at; at++)
		free(*at);
	free(*list);
}

static bool has_variable(char *const *list, size_t n, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < n; i++)
		if (strncmp(list[i], name, len) == 0 && list[i][len] == '=')
			return true;
	return false;
}

/* "K=V" for each -e, and the terminal's kind for a terminal. NULL: no memory. */
static char **environment(const struct joined_options *o, size_t *ret_n)
{
	char **list = calloc(o->env.n + 2, sizeof *list);
	const char *term = getenv("TERM");
	size_t n = 0;
	bool failed = !list;
	for (size_t i = 0; i < o->env.n && !failed; i++) {
		const char *item = o->env.items[i], *value = strchr(item, '=') ? item : getenv(item);
		if (!value)
			continue; /* not set here: nothing to hand on, as docker has it */
		failed = value == item ? !(list[n] = strdup(item)) : asprintf(&list[n], "%s=%s", item, value) < 0;
		n += !failed;
	}
	if (o->tty && !failed && !has_variable(list, n, "TERM")) {
		failed = asprintf(&list[n], "TERM=%s", term && *term ? term : "xterm") < 0;
		n += !failed;
	}
	if (failed) {
		if (list)
			list[n] = NULL;
		free_strings(&list);
		return NULL;
	}
	*ret_n = n;
	return list;
}

/* ---- the two threads ---- */

struct pump {
	struct cli *cli;
	struct crex_stream *stream;
	struct crex_cancel *stop;  /* ends the sender */
	struct crex_cancel *leave; /* ends the receiver: Ctrl-C, or "~." */
	bool input, tty, raw;
	bool left; /* by "~."; written before leave is triggered */
	int size_fd;
	pthread_t sender;
	bool sending;
};

/* One piece of stdin; false: there will be no more. */
static bool send_piece(struct pump *p, enum escape_state *escape)
{
	char typed[CHUNK], out[2 * CHUNK];
	const struct crex_call call = {CREX_NO_TIMEOUT, p->stop};
	ssize_t n = read(STDIN_FILENO, typed, sizeof typed);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		crex_stream_close_stdin(p->stream, &call, NULL);
		return false;
	}
	size_t len = (size_t)n;
	bool leave = false;
	if (p->raw)
		leave = escape_filter(escape, typed, len, out, &len);
	if (crex_stream_write(p->stream, p->raw ? out : typed, len, &call, NULL) < 0 && !leave)
		return false; /* the receiver gets to know why */
	if (leave) {
		p->left = true;
		crex_cancel_trigger(p->leave);
	}
	return !leave;
}

static void *send_input(void *arg)
{
	struct pump *p = arg;
	const struct crex_call call = {CREX_NO_TIMEOUT, p->stop};
	enum escape_state escape = ESCAPE_LINE_BEGIN;
	bool input = p->input;
	if (!input && !p->tty)
		crex_stream_close_stdin(p->stream, &call, NULL);
	while (input || p->size_fd >= 0) {
		struct pollfd fds[] = {{.fd = crex_cancel_fd(p->stop), .events = POLLIN},
				       {.fd = input ? STDIN_FILENO : -1, .events = POLLIN},
				       {.fd = p->size_fd, .events = POLLIN}};
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			break;
		if (fds[1].revents)
			input = send_piece(p, &escape);
		uint64_t n;
		if (fds[2].revents && read(p->size_fd, &n, sizeof n) > 0) {
			int rows, columns;
			terminal_size(&rows, &columns);
			crex_stream_resize(p->stream, rows, columns, &call, NULL);
		}
	}
	return NULL;
}

static int start_sender(struct pump *p)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&p->sender, NULL, send_input, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	p->sending = r == 0;
	return r;
}

static void stop_sender(struct pump *p)
{
	if (!p->sending)
		return;
	crex_cancel_trigger(p->stop);
	pthread_join(p->sender, NULL);
	p->sending = false;
}

/* Takes events until the end. The exit code, or -1: err says why not. Output that nobody wants any more ends it too. */
static int receive(struct pump *p, const struct crex_call *call, struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	for (;;) {
		struct crex_stream_event event;
		const struct crex_call rest = deadline_rest(&deadline);
		if (crex_stream_read(p->stream, &event, &rest, err) < 0)
			return -1;
		if (event.kind == CREX_STREAM_EXIT)
			return event.exit_code < 0 ? EXIT_SIGNAL - event.exit_code : event.exit_code;
		int fd = event.kind == CREX_STREAM_STDERR ? STDERR_FILENO : STDOUT_FILENO;
		if (write_all(fd, event.data, event.len) < 0)
			return not_written(p->cli, event.kind == CREX_STREAM_STDERR ? "error" : "output");
	}
}

/* After the first Ctrl-C: the program gets it too, and a moment to end by itself. */
static int interrupt(struct pump *p)
{
	int code = exit_code_of_signal(), signum = signals_seen() ? signals_seen() : SIGINT;
	const struct crex_call grace = {GRACE_SECONDS, NULL};
	stop_sender(p);
	if (crex_stream_signal(p->stream, signum, &grace, NULL) == 0)
		receive(p, &grace, NULL);
	return code;
}

static int pump(struct pump *p, const struct joined_options *o, struct crex_error *err)
{
	struct terminal terminal cleanup_terminal = {0};
	if (p->tty && p->input) {
		if (terminal_raw(&terminal) < 0)
			return crex_error_set_errno(err, errno, "the terminal");
		p->raw = true;
	}
	int r = start_sender(p);
	if (r != 0)
		return crex_error_set_errno(err, r, NULL);
	const struct crex_call call = {o->timeout > 0 ? o->timeout : CREX_NO_TIMEOUT, p->leave};
	int code = receive(p, &call, err);
	if (code < 0 && err->code == CREX_E_CANCELLED && !p->left)
		code = interrupt(p);
	stop_sender(p);
	terminal_restore(&terminal);
	if (code < 0 && p->left) {
		note(p->cli, "%sleft: the command was ended", p->raw ? "\n" : "");
		return 0;
	}
	return code;
}

/* ---- with streams, and without ---- */

static int run_streamed(struct cli *cli, struct crex_runtime *rt, const struct joined_options *o,
			const struct crex_stream_request *request, struct crex_error *err)
{
	struct pump p = {.cli = cli, .tty = o->tty, .input = o->interactive, .size_fd = -1};
	const struct crex_call call = {o->timeout > 0 ? o->timeout : CREX_NO_TIMEOUT, cli->cancel};
	if (crex_runtime_open_stream(rt, request, &call, &p.stream, err) < 0)
		return -1;
	if (o->tty && isatty(STDIN_FILENO))
		p.size_fd = signals_watch_size();
	int code = -1;
	p.stop = crex_cancel_new(err);
	p.leave = p.stop ? cancel_below(cli->cancel, err) : NULL;
	if (p.leave)
		code = pump(&p, o, err);
	crex_stream_free(p.stream);
	crex_cancel_free(p.leave);
	crex_cancel_free(p.stop);
	return code;
}

static int run_whole(struct cli *cli, struct crex_runtime *rt, const struct joined_options *o, char *const *env,
		     size_t n_env, char *const *argv, size_t n_argv, struct crex_error *err)
{
	if (o->interactive)
		return crex_error_set(err, CREX_E_UNSUPPORTED, "this server hands no input on: leave -i out");
	cleanup_free struct crex_str *words = calloc(n_argv + n_env + 2, sizeof *words);
	size_t n = 0;
	if (!words)
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (n_env > 0) /* the request's own env would replace all of it */
		words[n++] = crex_str_of("env");
	for (size_t i = 0; i < n_env; i++)
		words[n++] = crex_str_of(env[i]);
	for (size_t i = 0; i < n_argv; i++)
		words[n++] = crex_str_of(argv[i]);
	struct crex_execute_request request = CREX_EXECUTE_REQUEST_INIT;
	request.command = (struct crex_str_list){words, n};
	request.command_is_list = true;
	request.cwd = crex_str_of(o->workdir);
	request.timeout = o->timeout > 0 ? o->timeout : CREX_NO_TIMEOUT;
	struct crex_execute_result result = CREX_EXECUTE_RESULT_INIT;
	const struct crex_call call = {CREX_NO_TIMEOUT, cli->cancel};
	if (crex_runtime_execute(rt, &request, &call, &result, err) < 0)
		return -1;
	int code = result.exit_code < 0 ? EXIT_SIGNAL - result.exit_code : result.exit_code;
	if (write_all(STDOUT_FILENO, result.out, result.out_len) < 0)
		code = not_written(cli, "output");
	else if (write_all(STDERR_FILENO, result.err, result.err_len) == 0 && result.truncated)
		note(cli, "crex: the output was too long for this server: its middle is missing");
	crex_execute_result_clear(&result);
	return code;
}

int joined_run(struct cli *cli, struct crex_runtime *rt, const struct joined_options *o, char *const *argv,
	       size_t n_argv)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	size_t n_env = 0;
	char **env __attribute__((cleanup(free_strings))) = environment(o, &n_env);
	cleanup_free struct crex_str *words = views_of((const char *const *)argv, n_argv);
	cleanup_free struct crex_str *variables = env ? views_of((const char *const *)env, n_env) : NULL;
	if (!words || !variables)
		return fail(cli, "out of memory");
	struct crex_stream_request request = CREX_STREAM_REQUEST_INIT;
	request.command = (struct crex_str_list){words, n_argv};
	request.env = (struct crex_str_list){variables, n_env};
	request.cwd = crex_str_of(o->workdir);
	request.tty = o->tty;
	if (o->tty)
		terminal_size(&request.rows, &request.columns);
	int code = run_streamed(cli, rt, o, &request, &err);
	if (code < 0 && err.code == CREX_E_UNSUPPORTED && n_argv > 0) {
		crex_error_clear(&err);
		if (cli->out.verbose)
			note(cli, "> This server has no streams: the output comes at the end");
		code = run_whole(cli, rt, o, env, n_env, argv, n_argv, &err);
	}
	return code >= 0 ? code : joined_failed(cli, &err, argv, n_argv);
}

int joined_shell(struct cli *cli, struct crex_runtime *rt, const struct joined_options *options, const char *name)
{
	static const char *const script_reader[] = {"bash", NULL};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct joined_options o = *options;
	bool terminal = isatty(STDIN_FILENO);
	o.interactive = true;
	o.tty = terminal;
	size_t n_env = 0;
	char **env __attribute__((cleanup(free_strings))) = environment(&o, &n_env);
	cleanup_free struct crex_str *words = views_of(script_reader, terminal ? 0 : 1);
	cleanup_free struct crex_str *variables = env ? views_of((const char *const *)env, n_env) : NULL;
	if (!words || !variables)
		return fail(cli, "out of memory");
	struct crex_stream_request request = CREX_STREAM_REQUEST_INIT;
	request.command = (struct crex_str_list){words, terminal ? 0 : 1};
	request.env = (struct crex_str_list){variables, n_env};
	request.cwd = crex_str_of(o.workdir);
	request.tty = o.tty;
	terminal_size(&request.rows, &request.columns);
	int code = run_streamed(cli, rt, &o, &request, &err);
	if (code < 0 && err.code == CREX_E_UNSUPPORTED)
		return linewise_shell(cli, rt, name, o.workdir, (const char *const *)env, n_env);
	return code >= 0 ? code : joined_failed(cli, &err, NULL, 0);
}

/* cli/output.c: one voice for all commands.
 *
 * An error is one line: who, what went wrong, what to do next. Words of an engine or a server that came along with it
 * (a container's last lines) stand below, indented, since cutting them off would hide the only thing that helps.
 *
 * The rewritten line belongs to whoever shows it, under the lock: hooks call from threads of the library while the main
 * thread may write the command's output. So everything that writes to stderr takes the line away first, and it is
 * only there on a terminal that understands it; a log file or a pipe gets nothing of it. */
#include "cli/output.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINE_INTERVAL 0.08 /* seconds between two pictures of the line */

static const char *const codes[] = {
	[COLOR_NONE] = "",	     [COLOR_RED] = "\033[31m", [COLOR_GREEN] = "\033[32m",
	[COLOR_YELLOW] = "\033[33m", [COLOR_DIM] = "\033[2m",  [COLOR_BOLD] = "\033[1m",
};

void output_init(struct output *out)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	bool plain = (no_color && *no_color) || !term || strcmp(term, "dumb") == 0;
	*out = (struct output){.color_out = isatty(STDOUT_FILENO) && !plain,
			       .color_err = isatty(STDERR_FILENO) && !plain,
			       .live = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0};
	pthread_mutex_init(&out->lock, NULL);
}

void output_set(struct output *out, bool json, bool verbose, bool quiet)
{
	out->json |= json;
	out->verbose |= verbose;
	out->quiet |= quiet;
	if (out->quiet)
		out->live = false;
}

void output_deinit(struct output *out)
{
	pthread_mutex_destroy(&out->lock);
	free(out->step);
}

/* ---- lines on stderr ---- */

static void clear_locked(struct output *out)
{
	if (out->line_shown)
		fputs("\r\033[K", stderr);
	out->line_shown = false;
}

void clear_line(struct cli *cli)
{
	pthread_mutex_lock(&cli->out.lock);
	clear_locked(&cli->out);
	free(cli->out.step);
	cli->out.step = NULL;
	fflush(stderr);
	pthread_mutex_unlock(&cli->out.lock);
}

/* Text from elsewhere goes to a terminal: control characters don't. */
static void put_clean(FILE *to, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		putc(c < 0x20 || c == 0x7f ? (c == '\t' ? '\t' : '?') : c, to);
	}
}

/* "[Errno 2] " is for Python's clients. */
static const char *skip_number(const char *text, size_t left)
{
	static const char begin[] = "[Errno ";
	if (left < sizeof begin || strncmp(text, begin, sizeof begin - 1) != 0)
		return text;
	const char *end = memchr(text, ']', left);
	return end && end[1] == ' ' ? end + 2 : text;
}

/* A line, and its bytes that are no text replaced. */
static void put_line_of_error(const char *text, size_t len)
{
	for (const char *end = text + len; text < end;) {
		const char *next = skip_number(text, (size_t)(end - text));
		if (next == text)
			put_clean(stderr, next++, 1);
		text = next;
	}
	putc('\n', stderr);
}

static void put_error(struct cli *cli, const char *text)
{
	struct output *out = &cli->out;
	pthread_mutex_lock(&out->lock);
	clear_locked(out);
	fprintf(stderr, "%screx:%s ", out->color_err ? codes[COLOR_RED] : "", out->color_err ? "\033[0m" : "");
	for (bool first = true; *text; first = false) {
		size_t len = strcspn(text, "\n");
		if (len > 0) {
			fputs(first ? "" : "  ", stderr);
			put_line_of_error(text, len);
		}
		text += len + (text[len] == '\n');
	}
	fflush(stderr);
	pthread_mutex_unlock(&out->lock);
}

int fail(struct cli *cli, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		text = NULL;
	put_error(cli, text ? text : "out of memory");
	return EXIT_CREX;
}

/* What the library can't know: how the person at the command line gets on. */
static const char *advice(const struct cli *cli, enum crex_error_code code)
{
	switch ((int)code) {
	case CREX_E_AUTHENTICATION: /* a cloud's refusal is about its own key, and says so itself */
		return !cli->takes_token ? NULL : "give its token by --token-file FILE or in SWEREX_AUTH_TOKEN";
	case CREX_E_CONNECTION: return cli->sandbox ? "is it still up? `crex ps` says" : NULL;
	case CREX_E_MEMORY: return "free some memory";
	default: return NULL;
	}
}

int fail_error(struct cli *cli, const char *what, const struct crex_error *err)
{
	if (err->code == CREX_E_CANCELLED) {
		clear_line(cli);
		return exit_code_of_signal();
	}
	cleanup_buf struct buf text;
	buf_init(&text, 1 << 20);
	const char *message = err->message && *err->message ? err->message : crex_error_name(err->code);
	const char *next = advice(cli, err->code);
	const char *left = crex_error_extra(err, "left_behind");
	size_t line = strcspn(message, "\n"), first = line;
	while (first > 0 && strchr(":. ", message[first - 1]) && message[line] != '\0')
		first--; /* "...:" and then the engine's words */
	buf_printf(&text, "%s%s%.*s%s%s", what ? what : "", what ? ": " : "", (int)first, message, next ? ": " : "",
		   next ? next : "");
	buf_append_str(&text, message + line);
	if (left)
		buf_printf(&text, "\nsomething may be left behind (%s): `crex gc` removes it", left);
	put_error(cli, text.data ? text.data : message);
	return EXIT_CREX;
}

void note(struct cli *cli, const char *fmt, ...)
{
	if (cli->out.quiet)
		return;
	va_list ap;
	va_start(ap, fmt);
	pthread_mutex_lock(&cli->out.lock);
	clear_locked(&cli->out);
	if (cli->out.color_err)
		fputs(codes[COLOR_DIM], stderr);
	vfprintf(stderr, fmt, ap);
	fputs(cli->out.color_err ? "\033[0m\n" : "\n", stderr);
	fflush(stderr);
	pthread_mutex_unlock(&cli->out.lock);
	va_end(ap);
}

/* ---- the rewritten line ---- */

static size_t columns(void)
{
	struct winsize size;
	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 80;
}

/* As many characters as the line has room for; wide ones count once, hence the reserve that callers keep. */
static void put_line(struct output *out, const char *text, size_t room)
{
	size_t len = strlen(text), at = 0, shown = 0;
	while (at < len && shown < room && (unsigned char)text[at] >= 0x20) {
		int n = utf8_sequence((const unsigned char *)text + at, len - at);
		at += n > 0 ? (size_t)n : 1;
		shown++;
	}
	fprintf(stderr, "\r%s%.*s\033[K%s", out->color_err ? codes[COLOR_DIM] : "", (int)at, text,
		out->color_err ? "\033[0m" : "");
	fflush(stderr);
	out->line_shown = true;
	out->line_at = clock_now();
}

void show_step(struct cli *cli, const char *text)
{
	struct output *out = &cli->out;
	pthread_mutex_lock(&out->lock);
	clear_locked(out);
	if (out->verbose) {
		fputs("> ", stderr);
		put_clean(stderr, text, strlen(text));
		putc('\n', stderr);
		fflush(stderr);
	} else if (out->live) {
		put_line(out, text, columns() - 2);
	}
	free(out->step);
	out->step = strdup(text);
	out->begun = clock_now();
	pthread_mutex_unlock(&out->lock);
}

void show_progress(struct cli *cli, const char *what, unsigned long long done, unsigned long long total, bool bytes)
{
	struct output *out = &cli->out;
	if (!out->live)
		return;
	pthread_mutex_lock(&out->lock);
	double now = clock_now();
	bool end = total > 0 && done >= total;
	if (out->line_shown && now - out->line_at < LINE_INTERVAL && !end) {
		pthread_mutex_unlock(&out->lock);
		return;
	}
	enum { BAR = 20 };
	char bar[BAR + 3] = "", amount[64], text[256], all[32];
	size_t room = columns() - 2;
	if (total > 0) {
		size_t full = (size_t)((double)BAR * (double)(end ? total : done) / (double)total);
		bar[0] = '[';
		memset(bar + 1, '.', BAR);
		memset(bar + 1, '#', full);
		memcpy(bar + 1 + BAR, "]", 2);
	}
	if (bytes) {
		human_size(amount, sizeof amount, done);
		human_size(all, sizeof all, total);
		if (total > 0)
			snprintf(amount + strlen(amount), sizeof amount - strlen(amount), " of %s", all);
	} else if (total > 0) {
		snprintf(amount, sizeof amount, "%llu of %llu", done, total);
	} else {
		snprintf(amount, sizeof amount, "%llu", done);
	}
	int used = (int)(strlen(bar) + strlen(amount) + 2);
	int left = (int)room > used ? (int)room - used : 0;
	snprintf(text, sizeof text, "%.*s %s%s%s", left, what, bar, *bar ? " " : "", amount);
	put_line(out, text, room);
	pthread_mutex_unlock(&out->lock);
}

/* ---- results on stdout ---- */

int finish_stdout(struct cli *cli)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return fail(cli, "standard output can't be written: %m");
	return 0;
}

int print_json(struct cli *cli, json_t *value_take)
{
	clear_line(cli);
	size_t flags = isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;
	int r = value_take ? json_dumpf(value_take, stdout, flags | JSON_ENCODE_ANY) : -1;
	json_decref(value_take);
	if (r < 0)
		return fail(cli, "the JSON can't be made: not enough memory");
	putchar('\n');
	return finish_stdout(cli);
}

void print_colored(const struct cli *cli, enum color color, const char *text, size_t width)
{
	bool on = cli->out.color_out && color != COLOR_NONE;
	if (on)
		fputs(codes[color], stdout);
	put_clean(stdout, text, strlen(text));
	if (on)
		fputs("\033[0m", stdout);
	for (size_t n = strlen(text); n < width; n++)
		putchar(' ');
}

void print_table(struct cli *cli, const char *const *titles, size_t n_columns, struct cell *cells, size_t n_rows)
{
	clear_line(cli);
	for (size_t row = 0; row <= n_rows; row++) {
		for (size_t c = 0; c < n_columns; c++) {
			size_t width = strlen(titles[c]);
			for (size_t r = 0; r < n_rows; r++) {
				const char *text = cells[r * n_columns + c].text;
				width = text && strlen(text) > width ? strlen(text) : width;
			}
			const struct cell *cell = row ? &cells[(row - 1) * n_columns + c] : NULL;
			const char *text = cell ? cell->text : titles[c];
			print_colored(cli, cell ? cell->color : COLOR_BOLD, text ? text : "",
				      c + 1 < n_columns ? width + 3 : 0);
		}
		putchar('\n');
	}
	for (size_t i = 0; i < n_columns * n_rows; i++)
		free(cells[i].text);
}

void human_size(char *text, size_t size, unsigned long long bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double n = (double)bytes;
	size_t unit = 0;
	for (; n >= 999.5; n /= 1000)
		unit++;
	snprintf(text, size, unit > 0 && n < 9.95 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

void human_age(char *text, size_t size, double seconds)
{
	static const struct {
		double seconds;
		const char *name;
	} units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
	if (seconds < 1)
		seconds = 0;
	size_t i = 0;
	while (i + 1 < sizeof units / sizeof *units && seconds < 2 * units[i].seconds)
		i++;
	long n = (long)(seconds / units[i].seconds);
	snprintf(text, size, "%ld %s%s", n, units[i].name, n == 1 ? "" : "s");
}

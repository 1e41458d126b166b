/* base/log.c: one line, one write, never a wait.
 *
 * stderr of a server is often a pipe that its starter never reads. A blocking write to it would stop the loop and
 * with it every session, so a line is written only when poll says that there is room: a pipe that is writable takes
 * PIPE_BUF (4096) bytes without blocking, and no line is longer than that. Lines that find no room are dropped: the
 * server's work is worth more than its log.
 *
 * Times are UTC, computed here: the C library's gmtime would look for the image's time zone files. Control bytes,
 * which a client can put into a path or a request id, are escaped in both formats, so nobody can forge a line. */
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, MESSAGE_MAX = 2048 };

static const struct {
	const char *name;
	int level;
	const char *color;
} levels[] = {
	{"TRACE", LOG_LEVEL_TRACE, "\033[2m"},
	{"DEBUG", LOG_LEVEL_DEBUG, "\033[36m"},
	{"INFO", LOG_LEVEL_INFO, "\033[32m"},
	{"WARNING", LOG_LEVEL_WARNING, "\033[33m"},
	{"ERROR", LOG_LEVEL_ERROR, "\033[31m"},
	{"CRITICAL", LOG_LEVEL_CRITICAL, "\033[1;31m"},
	{"WARN", LOG_LEVEL_WARNING, "\033[33m"},
	{"FATAL", LOG_LEVEL_CRITICAL, "\033[1;31m"},
	{"NOTSET", 0, ""},
};
enum { N_NAMED = 6, N_LEVELS = sizeof levels / sizeof levels[0] }; /* the rest are aliases for parsing */

int log_level_parse(const char *text, int *ret_level)
{
	for (size_t i = 0; i < N_LEVELS; i++) {
		if (strcasecmp(text, levels[i].name) == 0) {
			*ret_level = levels[i].level;
			return 0;
		}
	}
	char *end = NULL;
	errno = 0;
	long value = isdigit((unsigned char)text[0]) ? strtol(text, &end, 10) : -1;
	if (value < 0 || value > 1000 || !end || *end != '\0' || errno != 0)
		return -EINVAL;
	*ret_level = (int)value;
	return 0;
}

struct line {
	size_t len;
	char text[LINE_MAX_BYTES];
};

/* Leaves room for what closes a line. */
enum { LINE_TAIL = 16 };

static void put(struct line *l, const char *s, size_t len)
{
	size_t room = sizeof l->text - LINE_TAIL - l->len;
	if (len > room)
		len = room;
	memcpy(l->text + l->len, s, len);
	l->len += len;
}

static void put_str(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

static bool is_plain(unsigned char c, bool json)
{
	return c >= 0x20 && c != 0x7f && !(json && (c == '"' || c == '\\' || c >= 0x80));
}

static void put_escaped(struct line *l, const char *s, bool json)
{
	while (*s) {
		size_t plain = 0;
		while (s[plain] && is_plain((unsigned char)s[plain], json))
			plain++;
		put(l, s, plain);
		s += plain;
		if (!*s)
			return;
		unsigned char c = (unsigned char)*s++;
		char text[8];
		if (json && (c == '"' || c == '\\'))
			snprintf(text, sizeof text, "\\%c", c);
		else
			snprintf(text, sizeof text, json ? "\\u%04x" : "\\x%02x",
				 c); /* bytes of unknown encoding stay countable */
		size_t n = strlen(text);
		if (l->len + n > sizeof l->text - LINE_TAIL)
			return;
		put(l, text, n);
	}
}

/* Days since 1970-01-01 to a date of the Gregorian calendar, in 400-year eras that begin in March. */
static void date_of_days(int64_t days, int *y, int *m, int *d)
{
	int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = (int)(yoe + era * 400 + (*m <= 2));
}

static void put_time(struct line *l)
{
	struct timespec now = {0, 0};
	clock_gettime(CLOCK_REALTIME, &now);
	int y, m, d, s = (int)(now.tv_sec % 86400);
	date_of_days(now.tv_sec / 86400, &y, &m, &d);
	char text[80];
	snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", y, m, d, s / 3600, s / 60 % 60, s % 60,
		 (int)(now.tv_nsec / 1000000));
	put_str(l, text);
}

static size_t nearest_level(int level)
{
	size_t best = 0;
	for (size_t i = 0; i < N_NAMED; i++) {
		if (levels[i].level <= level)
			best = i;
	}
	return best;
}

static void put_text_line(struct line *l, const struct log *log, size_t level, const char *component, const char *id,
			  const char *message)
{
	put_time(l);
	put_str(l, " ");
	put_str(l, log->color ? levels[level].color : "");
	char name[16];
	snprintf(name, sizeof name, "%-8s", levels[level].name);
	put_str(l, name);
	put_str(l, log->color ? "\033[0m " : " ");
	put_escaped(l, component, false);
	if (id) {
		put_str(l, " [");
		put_escaped(l, id, false);
		put_str(l, "]");
	}
	put_str(l, ": ");
	put_escaped(l, message, false);
}

static void put_json_line(struct line *l, size_t level, const char *component, const char *id, const char *message)
{
	put_str(l, "{\"time\":\"");
	put_time(l);
	put_str(l, "\",\"level\":\"");
	put_str(l, levels[level].name);
	put_str(l, "\",\"component\":\"");
	put_escaped(l, component, true);
	if (id) {
		put_str(l, "\",\"request_id\":\"");
		put_escaped(l, id, true);
	}
	put_str(l, "\",\"message\":\"");
	put_escaped(l, message, true);
	memcpy(l->text + l->len, "\"}", 2); /* into the tail that is kept free */
	l->len += 2;
}

void log_write(const struct log *log, int level, const char *component, const char *request_id, const char *fmt, ...)
{
	if (!log_enabled(log, level))
		return;
	int saved_errno = errno;
	char message[MESSAGE_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	struct line l;
	l.len = 0;
	if (log->format == LOG_FORMAT_JSON)
		put_json_line(&l, nearest_level(level), component, request_id, message);
	else
		put_text_line(&l, log, nearest_level(level), component, request_id, message);
	l.text[l.len++] = '\n';
	struct pollfd p = {.fd = log->fd, .events = POLLOUT};
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT)) {
		ssize_t n = write(log->fd, l.text, l.len);
		(void)n; /* a log that can't be written has nobody to complain to */
	}
	errno = saved_errno;
}

/* base/log.h: leveled logging to one fd, as text for people or JSON lines for machines.
 *
 * The library never logs by itself; programs make a `struct log` and hand it down. A NULL log is silent. Lines
 * carry a time, a level, a component and, where there is one, a request id. Writing never blocks the caller for
 * longer than one write(2) of a short line. Tokens never reach this module; command contents only at debug. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_LEVEL_TRACE = 5,
	LOG_LEVEL_DEBUG = 10,
	LOG_LEVEL_INFO = 20,
	LOG_LEVEL_WARNING = 30,
	LOG_LEVEL_ERROR = 40,
	LOG_LEVEL_CRITICAL = 50
};
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log {
	int fd;
	int level; /* lines below it are dropped */
	enum log_format format;
	bool color;
};

/* Names (any case; WARN too) and numbers, as Python's logging and SWE_REX_LOG_STREAM_LEVEL take them. 0 or -EINVAL. */
int log_level_parse(const char *text, int *ret_level);

void log_write(const struct log *log, int level, const char *component, const char *request_id, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static inline bool log_enabled(const struct log *log, int level)
{
	return log && level >= log->level;
}

#define log_at(log, level, component, request_id, ...)                                     \
	do {                                                                               \
		if (log_enabled((log), (level)))                                           \
			log_write((log), (level), (component), (request_id), __VA_ARGS__); \
	} while (0)

#endif

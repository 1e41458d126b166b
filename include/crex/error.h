/* crex/error.h: errors that a caller owns and that travel over the wire unchanged.
 *
 * Ownership: the caller provides a `struct crex_error`, initialised with CREX_ERROR_INIT; a failing function fills it,
 * crex_error_clear() frees what it holds. It may go to the next function uncleared.
 * What to do about one: look at `code` (crex_error_is() for kinds), show `message`, which is made for people and says
 * what to do next. Details for programs are in `extra`: "output", "bash_stdout", ...; crex/runtime.h names them.
 * What each code means: docs/library.md.
 * Threads: an error object belongs to one thread at a time; there is no shared state.
 * The class paths come from SWE-ReX 1.4.0 (swerex/exceptions.py) and Python's builtins: the Python client imports the
 * class and calls it with the message alone. */
#ifndef CREX_ERROR_H
#define CREX_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CREX_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define CREX_API __attribute__((visibility("default")))
#else
#define CREX_PRINTF(fmt, args)
#define CREX_API
#endif

enum crex_error_code {
	CREX_OK = 0,
#define CREX_ERROR(name, class_path, status) CREX_E_##name,
#include <crex/errors.def>
#undef CREX_ERROR
	CREX_ERROR_COUNT
};

enum { CREX_ERROR_EXTRA_MAX = 4 }; /* details that one error holds */

struct crex_error_detail {
	char *key;   /* owned */
	char *value; /* owned, may hold any bytes, NUL-terminated for convenience */
	size_t len;
};

struct crex_error {
	enum crex_error_code code;
	char *message; /* owned, UTF-8, NUL-terminated; NULL only while code is CREX_OK or memory ran out */
	size_t message_len;
	char *class_path; /* owned; only for a class that a server sent and the list does not have, else NULL */
	struct crex_error_detail extra[CREX_ERROR_EXTRA_MAX];
	size_t n_extra;
};

#define CREX_ERROR_INIT                                      \
	{                                                    \
		CREX_OK, NULL, 0, NULL, {{NULL, NULL, 0}}, 0 \
	}

/* Sets code and message; what was held before is freed. Always returns -1, so that a function can
 * `return crex_error_set(err, ...)`. err may be NULL. */
CREX_API int crex_error_set(struct crex_error *err, enum crex_error_code code, const char *fmt, ...) CREX_PRINTF(3, 4);

/* The same with a message that may hold any bytes; copies it. Returns -1. */
CREX_API int crex_error_set_bytes(struct crex_error *err, enum crex_error_code code, const char *msg, size_t len);

/* Maps an errno value to the Python exception that os.* would raise, with Python's text:
 * "[Errno 2] No such file or directory: 'x'". path may be NULL. Returns -1. */
CREX_API int crex_error_set_errno(struct crex_error *err, int errnum, const char *path);

/* Adds one extra_info entry (key and value are copied). Entries beyond CREX_ERROR_EXTRA_MAX are dropped. */
CREX_API void crex_error_add(struct crex_error *err, const char *key, const char *value, size_t len);

/* The value of an extra_info entry, NULL when there is none. Borrowed. */
CREX_API const char *crex_error_extra(const struct crex_error *err, const char *key);

/* Puts text before the message ("while starting the container: ..."); code and extras stay. Returns -1. */
CREX_API int crex_error_prefix(struct crex_error *err, const char *fmt, ...) CREX_PRINTF(2, 3);

/* Moves src into dst (dst's old content is freed) and leaves src empty. dst may be NULL: src is cleared then. */
CREX_API void crex_error_move(struct crex_error *dst, struct crex_error *src);

/* Frees what it holds; it is as after CREX_ERROR_INIT then. */
CREX_API void crex_error_clear(struct crex_error *err);

/* The Python class, "swerex.exceptions.CommandTimeoutError"; static. */
CREX_API const char *crex_error_class_path(enum crex_error_code code);
/* The first row of the list with this class path; CREX_E_SWEREX when none has it. */
CREX_API enum crex_error_code crex_error_code_of(const char *class_path);
/* Whether `code` is `of` or, as in SWE-ReX's own hierarchy, a kind of it: DOCKER_PULL is a DEPLOYMENT_STARTUP. */
CREX_API bool crex_error_is(enum crex_error_code code, enum crex_error_code of);
/* The code without its CREX_E_, "COMMAND_TIMEOUT"; static. */
CREX_API const char *crex_error_name(enum crex_error_code code);
/* What a server answers it with. */
CREX_API int crex_error_http_status(enum crex_error_code code);

#ifdef __cplusplus
}
#endif
#endif

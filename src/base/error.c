/* base/error.c: filling, moving and naming errors.
 *
 * The list itself is include/crex/errors.def; here are the tables made of it and the one place that
 * knows how Python words an errno. An error whose message can't be allocated keeps its code: the class
 * is worth more to the client than the text. */
#include <crex/error.h>

#include "base/buf.h"
#include "base/pyrepr.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	const char *class_path;
	int status;
} errors[CREX_ERROR_COUNT] = {
	[CREX_OK] = {"OK", "", 200},
#define CREX_ERROR(name, class_path, status) [CREX_E_##name] = {#name, class_path, status},
#include <crex/errors.def>
#undef CREX_ERROR
};

static void drop(struct crex_error *err)
{
	free(err->message);
	free(err->class_path);
	for (size_t i = 0; i < err->n_extra; i++) {
		free(err->extra[i].key);
		free(err->extra[i].value);
	}
	*err = (struct crex_error)CREX_ERROR_INIT;
}

void crex_error_clear(struct crex_error *err)
{
	if (err)
		drop(err);
}

int crex_error_set(struct crex_error *err, enum crex_error_code code, const char *fmt, ...)
{
	if (!err)
		return -1;
	char *msg = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&msg, fmt, ap);
	va_end(ap);
	drop(err);
	err->code = code;
	err->message = n < 0 ? NULL : msg;
	err->message_len = n < 0 ? 0 : (size_t)n;
	return -1;
}

int crex_error_set_bytes(struct crex_error *err, enum crex_error_code code, const char *msg, size_t len)
{
	if (!err)
		return -1;
	char *copy = malloc(len + 1);
	if (copy) {
		if (len)
			memcpy(copy, msg, len);
		copy[len] = '\0';
	}
	drop(err);
	err->code = code;
	err->message = copy;
	err->message_len = copy ? len : 0;
	return -1;
}

static enum crex_error_code code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOENT: return CREX_E_FILE_NOT_FOUND;
	case EEXIST: return CREX_E_FILE_EXISTS;
	case EISDIR: return CREX_E_IS_A_DIRECTORY;
	case ENOTDIR: return CREX_E_NOT_A_DIRECTORY;
	case EACCES:
	case EPERM: return CREX_E_PERMISSION;
	case ENOMEM: return CREX_E_MEMORY;
	default: return CREX_E_OS;
	}
}

int crex_error_set_errno(struct crex_error *err, int errnum, const char *path)
{
	/* strerror_r of glibc loads message catalogues only after setlocale, which we never call. */
	char scratch[128];
	const char *text = strerror_r(errnum, scratch, sizeof scratch);
	if (!path)
		return crex_error_set(err, code_of_errno(errnum), "[Errno %d] %s", errnum, text);
	size_t len = strlen(path);
	struct buf shown cleanup_buf;
	buf_init(&shown, 6 * len + 2);
	if (pyrepr_str(&shown, path, len) < 0)
		return crex_error_set(err, code_of_errno(errnum), "[Errno %d] %s", errnum, text);
	return crex_error_set(err, code_of_errno(errnum), "[Errno %d] %s: %s", errnum, text, shown.data);
}

void crex_error_add(struct crex_error *err, const char *key, const char *value, size_t len)
{
	if (!err || err->n_extra == CREX_ERROR_EXTRA_MAX)
		return;
	char *key_copy = strdup(key), *copy = malloc(len + 1);
	if (!key_copy || !copy) {
		free(key_copy);
		free(copy);
		return;
	}
	if (len)
		memcpy(copy, value, len);
	copy[len] = '\0';
	err->extra[err->n_extra++] = (struct crex_error_detail){key_copy, copy, len};
}

const char *crex_error_extra(const struct crex_error *err, const char *key)
{
	for (size_t i = 0; i < err->n_extra; i++)
		if (strcmp(err->extra[i].key, key) == 0)
			return err->extra[i].value;
	return NULL;
}

int crex_error_prefix(struct crex_error *err, const char *fmt, ...)
{
	if (!err)
		return -1;
	char *head = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&head, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -1;
	char *joined = realloc(head, (size_t)n + err->message_len + 1);
	if (!joined) {
		free(head);
		return -1;
	}
	if (err->message)
		memcpy(joined + n, err->message, err->message_len);
	joined[(size_t)n + err->message_len] = '\0';
	free(err->message);
	err->message = joined;
	err->message_len += (size_t)n;
	return -1;
}

void crex_error_move(struct crex_error *dst, struct crex_error *src)
{
	if (dst == src)
		return;
	if (!dst) {
		drop(src);
		return;
	}
	drop(dst);
	*dst = *src;
	*src = (struct crex_error)CREX_ERROR_INIT;
}

const char *crex_error_class_path(enum crex_error_code code)
{
	return (unsigned)code < CREX_ERROR_COUNT ? errors[code].class_path : errors[CREX_E_SWEREX].class_path;
}

enum crex_error_code crex_error_code_of(const char *class_path)
{
	for (int code = CREX_OK + 1; code < CREX_ERROR_COUNT; code++)
		if (strcmp(errors[code].class_path, class_path) == 0)
			return (enum crex_error_code)code;
	return CREX_E_SWEREX;
}

bool crex_error_is(enum crex_error_code code, enum crex_error_code of)
{
	return code == of || (code == CREX_E_DOCKER_PULL && of == CREX_E_DEPLOYMENT_STARTUP);
}

const char *crex_error_name(enum crex_error_code code)
{
	return (unsigned)code < CREX_ERROR_COUNT ? errors[code].name : "UNKNOWN";
}

int crex_error_http_status(enum crex_error_code code)
{
	return (unsigned)code < CREX_ERROR_COUNT ? errors[code].status : 511;
}

/* wire/reply.c: replies from JSON to the structs that a runtime hands out, and refusals to errors.
 *
 * A reply is an object whose known fields go where a table says; what we don't know is skipped, what is missing keeps
 * its default. An object without any known field comes from some other server and is refused: a command must not seem
 * to have succeeded because a stranger answered 200.
 *
 * A class that only the host side raises (a deadline, a lost connection) is taken for an unknown one when a server
 * names it: what happened there has not happened to the caller's own call. */
#include "base/cleanup.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "wire/client.h"
#include "wire/pull.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum { SHOWN_MAX = 200, FINDINGS_MAX = 16 };

enum field_type {
	FIELD_TEXT,   /* owned string; its length at len_offset */
	FIELD_STRING, /* owned string without a length: ends at a NUL in it */
	FIELD_BOOL,
	FIELD_INT,     /* null leaves the default */
	FIELD_CODE,    /* int or null of an observation */
	FIELD_REASON,  /* one of the static texts */
	FIELD_IGNORED, /* known, and of no use */
};

struct field {
	const char *name;
	enum field_type type;
	size_t offset, len_offset;
};

#define AT(type, member) offsetof(struct type, member)

static const struct field is_alive_fields[] = {
	{"is_alive", FIELD_BOOL, AT(crex_is_alive, is_alive), 0},
	{"message", FIELD_STRING, AT(crex_is_alive, message), 0},
};

static const struct field create_session_fields[] = {
	{"output", FIELD_TEXT, AT(crex_text, data), AT(crex_text, len)},
	{"session_type", FIELD_IGNORED, 0, 0},
};

static const struct field observation_fields[] = {
	{"output", FIELD_TEXT, AT(crex_observation, output), AT(crex_observation, output_len)},
	{"exit_code", FIELD_CODE, 0, 0},
	{"failure_reason", FIELD_REASON, AT(crex_observation, failure_reason), 0},
	{"expect_string", FIELD_STRING, AT(crex_observation, expect_string), 0},
	{"truncated", FIELD_BOOL, AT(crex_observation, truncated), 0},
	{"session_ended", FIELD_BOOL, AT(crex_observation, session_ended), 0},
	{"session_type", FIELD_IGNORED, 0, 0},
};

static const struct field execute_fields[] = {
	{"stdout", FIELD_TEXT, AT(crex_execute_result, out), AT(crex_execute_result, out_len)},
	{"stderr", FIELD_TEXT, AT(crex_execute_result, err), AT(crex_execute_result, err_len)},
	{"exit_code", FIELD_INT, AT(crex_execute_result, exit_code), 0},
	{"truncated", FIELD_BOOL, AT(crex_execute_result, truncated), 0},
};

static const struct field read_file_fields[] = {
	{"content", FIELD_TEXT, AT(crex_text, data), AT(crex_text, len)},
};

/* The reasons are static texts, so those of servers are mapped to ours. */
static bool read_reason(struct pull *p, const char **ret)
{
	char *text = NULL;
	size_t len;
	if (!pull_string(p, &text, &len))
		return false;
	*ret = len == 0				       ? ""
	       : strcmp(text, WIRE_SESSION_ENDED) == 0 ? WIRE_SESSION_ENDED
						       : "the command failed for a reason of the server's own";
	free(text);
	return true;
}

static bool read_field(struct pull *p, const struct field *f, void *dst)
{
	void *slot = (char *)dst + f->offset;
	size_t len;
	char *text;
	switch (f->type) {
	case FIELD_TEXT:
	case FIELD_STRING:
		if (pull_null(p))
			return true;
		if (!pull_string(p, &text, &len))
			return false;
		free(*(char **)slot);
		*(char **)slot = text;
		if (f->type == FIELD_TEXT)
			*(size_t *)(void *)((char *)dst + f->len_offset) = len;
		return true;
	case FIELD_BOOL: return pull_bool(p, slot);
	case FIELD_INT: return pull_null(p) || pull_int(p, slot);
	case FIELD_CODE: {
		struct crex_observation *obs = dst;
		obs->has_exit_code = !pull_null(p);
		if (!obs->has_exit_code)
			obs->exit_code = 0;
		return !obs->has_exit_code || pull_int(p, &obs->exit_code);
	}
	case FIELD_REASON: return pull_null(p) || read_reason(p, slot);
	case FIELD_IGNORED: return pull_skip(p, NULL);
	}
	return false;
}

static bool read_object(struct pull *p, const struct field *fields, size_t n_fields, void *dst)
{
	bool known = false;
	for (bool first = true; pull_next(p, '{', &first);) {
		cleanup_free char *key = NULL;
		size_t len, i = 0;
		if (!pull_key(p, &key, &len))
			return false;
		while (i < n_fields && (strlen(fields[i].name) != len || memcmp(fields[i].name, key, len) != 0))
			i++;
		known |= i < n_fields;
		if (!(i < n_fields ? read_field(p, &fields[i], dst) : pull_skip(p, NULL)))
			return false;
	}
	if (!pull_end(p))
		return false;
	if (!known)
		p->problem = "it has none of the fields";
	return known;
}

/* The beginning of a body in one line of printable text. */
static void show(struct crex_str body, char shown[SHOWN_MAX + 4])
{
	size_t out = 0;
	for (size_t i = 0; i < body.len;) {
		const unsigned char *s = (const unsigned char *)body.ptr + i;
		int n = utf8_sequence(s, body.len - i);
		size_t len = n > 0 ? (size_t)n : 1;
		if (out + len > SHOWN_MAX) {
			memcpy(shown + out, "...", 3);
			out += 3;
			break;
		}
		if (n > 1)
			memcpy(shown + out, s, len);
		else
			shown[out] = n == 1 && *s >= 0x20 && *s < 0x7F ? (char)*s : n == 1 && *s <= ' ' ? ' ' : '?';
		out += len;
		i += len;
	}
	shown[out] = '\0';
}

static int refuse(const struct pull *p, struct crex_str body, struct crex_error *err)
{
	if (p->no_memory)
		return crex_error_set_errno(err, ENOMEM, NULL);
	char shown[SHOWN_MAX + 4];
	show(body, shown);
	return crex_error_set(err, CREX_E_PROTOCOL, "the reply is none of a SWE-ReX server: %s (byte %zu): %s",
			      p->problem, (size_t)(p->at - p->begin), shown);
}

#define FIELDS(table) (table), sizeof(table) / sizeof *(table)

int wire_read_is_alive(struct crex_str body, struct crex_is_alive *ret, struct crex_error *err)
{
	struct pull p;
	pull_init(&p, body);
	struct crex_is_alive reply = CREX_IS_ALIVE_INIT;
	if (!read_object(&p, FIELDS(is_alive_fields), &reply)) {
		crex_is_alive_clear(&reply);
		return refuse(&p, body, err);
	}
	*ret = reply;
	return 0;
}

static int read_text(struct crex_str body, const struct field *fields, size_t n_fields, struct crex_text *ret,
		     struct crex_error *err)
{
	struct pull p;
	pull_init(&p, body);
	struct crex_text reply = CREX_TEXT_INIT;
	bool good = read_object(&p, fields, n_fields, &reply);
	if (good && !reply.data && !(reply.data = calloc(1, 1)))
		p.no_memory = true;
	if (!good || p.no_memory) {
		crex_text_clear(&reply);
		return refuse(&p, body, err);
	}
	*ret = reply;
	return 0;
}

int wire_read_create_session(struct crex_str body, struct crex_text *ret, struct crex_error *err)
{
	return read_text(body, FIELDS(create_session_fields), ret, err);
}

int wire_read_read_file(struct crex_str body, struct crex_text *ret, struct crex_error *err)
{
	return read_text(body, FIELDS(read_file_fields), ret, err);
}

int wire_read_observation(struct crex_str body, struct crex_observation *ret, struct crex_error *err)
{
	struct pull p;
	pull_init(&p, body);
	struct crex_observation reply = CREX_OBSERVATION_INIT;
	if (!read_object(&p, FIELDS(observation_fields), &reply)) {
		crex_observation_clear(&reply);
		return refuse(&p, body, err);
	}
	*ret = reply;
	return 0;
}

int wire_read_execute(struct crex_str body, struct crex_execute_result *ret, struct crex_error *err)
{
	struct pull p;
	pull_init(&p, body);
	struct crex_execute_result reply = CREX_EXECUTE_RESULT_INIT;
	if (!read_object(&p, FIELDS(execute_fields), &reply)) {
		crex_execute_result_clear(&reply);
		return refuse(&p, body, err);
	}
	*ret = reply;
	return 0;
}

/* --- errors ---------------------------------------------------------------------------------------------------- */

static bool is(const char *key, size_t len, const char *name)
{
	return strlen(name) == len && memcmp(key, name, len) == 0;
}

/* The class goes into err, whose message is set already. */
static bool read_class(struct pull *p, struct crex_error *err)
{
	char *path = NULL;
	size_t len;
	if (!pull_string(p, &path, &len))
		return false;
	err->code = strlen(path) == len ? crex_error_code_of(path) : CREX_E_SWEREX;
	bool host_only = err->code >= CREX_E_CONNECTION;
	if (host_only)
		err->code = CREX_E_SWEREX;
	free(err->class_path);
	err->class_path = NULL;
	if (len > 0 &&
	    (host_only || (err->code == CREX_E_SWEREX && strcmp(path, crex_error_class_path(err->code)) != 0)))
		err->class_path = steal_ptr(path);
	free(path);
	return true;
}

static bool read_extras(struct pull *p, struct crex_error *err)
{
	if (pull_null(p))
		return true;
	for (bool first = true; pull_next(p, '{', &first);) {
		cleanup_free char *key = NULL, *value = NULL;
		size_t len;
		if (!pull_key(p, &key, &len))
			return false;
		if (pull_peek(p) == '"') {
			if (!pull_string(p, &value, &len))
				return false;
			crex_error_add(err, key, value, len);
		} else {
			struct crex_str text;
			if (!pull_skip(p, &text))
				return false;
			crex_error_add(err, key, text.ptr, text.len);
		}
	}
	return !p->problem;
}

static bool read_message(struct pull *p, struct crex_error *err)
{
	size_t len;
	char *text = NULL;
	if (!pull_string(p, &text, &len))
		return false;
	free(err->message);
	err->message = text;
	err->message_len = len;
	return true;
}

static bool read_exception(struct pull *p, struct crex_error *err)
{
	for (bool first = true; pull_next(p, '{', &first);) {
		cleanup_free char *key = NULL;
		size_t len;
		if (!pull_key(p, &key, &len))
			return false;
		bool good = is(key, len, "message")	 ? read_message(p, err)
			    : is(key, len, "class_path") ? read_class(p, err)
			    : is(key, len, "extra_info") ? read_extras(p, err)
							 : pull_skip(p, NULL);
		if (!good)
			return false;
	}
	return !p->problem;
}

/* Walks to the value of one field of the outermost object and stops there. */
static bool find(struct pull *p, const char *name)
{
	for (bool first = true; pull_next(p, '{', &first);) {
		cleanup_free char *key = NULL;
		size_t len;
		if (!pull_key(p, &key, &len))
			return false;
		if (is(key, len, name))
			return true;
		if (!pull_skip(p, NULL))
			return false;
	}
	return false;
}

/* Whether the rest of the outermost object is sound too: a body that was cut is no error of the server's. */
static bool ends_well(struct pull *p)
{
	for (bool first = false; pull_next(p, '{', &first);) {
		char *key;
		size_t len;
		if (!pull_key(p, &key, &len))
			return false;
		free(key);
		if (!pull_skip(p, NULL))
			return false;
	}
	return pull_end(p);
}

/* body/command -> "command: Field required"; one line a finding. */
static bool read_finding(struct pull *p, struct buf *out)
{
	cleanup_buf struct buf where, what;
	buf_init(&where, 4096);
	buf_init(&what, 4096);
	for (bool first = true; pull_next(p, '{', &first);) {
		cleanup_free char *key = NULL, *text = NULL;
		size_t len;
		if (!pull_key(p, &key, &len))
			return false;
		if (is(key, len, "msg") && pull_peek(p) == '"') {
			if (!pull_string(p, &text, &len))
				return false;
			buf_clear(&what);
			buf_append(&what, text, len); /* too long a text is left out */
		} else if (is(key, len, "loc") && pull_peek(p) == '[') {
			for (bool none = true; pull_next(p, '[', &none);) {
				struct crex_str part;
				if (!pull_skip(p, &part))
					return false;
				if (part.len >= 2 && part.ptr[0] == '"')
					part = (struct crex_str){part.ptr + 1, part.len - 2};
				if (!is(part.ptr, part.len, "body") &&
				    buf_printf(&where, "%s", where.len ? "." : "") == 0)
					buf_append(&where, part.ptr, part.len);
			}
		} else if (!pull_skip(p, NULL)) {
			return false;
		}
	}
	buf_printf(out, "%s%s%s%s", out->len ? "\n" : "", where.len ? where.data : "", where.len ? ": " : "",
		   what.len ? what.data : "refused");
	return !p->problem;
}

/* FastAPI's {"detail": ...}: a string, or findings. false: the body has no such thing. */
static bool read_detail(struct crex_str body, struct buf *out)
{
	struct pull p;
	pull_init(&p, body);
	if (!find(&p, "detail"))
		return false;
	if (pull_peek(&p) == '"') {
		cleanup_free char *text = NULL;
		size_t len;
		return pull_string(&p, &text, &len) && buf_append(out, text, len) == 0;
	}
	size_t n = 0;
	for (bool first = true; pull_next(&p, '[', &first);)
		if (n++ < FINDINGS_MAX ? pull_peek(&p) != '{' || !read_finding(&p, out) : !pull_skip(&p, NULL))
			return false;
	return !p.problem && out->len > 0;
}

static int read_swerexception(struct crex_str body, struct crex_error *err)
{
	struct pull p;
	pull_init(&p, body);
	cleanup_error struct crex_error found = CREX_ERROR_INIT;
	crex_error_set(&found, CREX_E_SWEREX, "%s", "");
	if (!find(&p, "swerexception") || !read_exception(&p, &found) || !ends_well(&p)) {
		if (!p.problem)
			p.problem = "it has no swerexception";
		return refuse(&p, body, err);
	}
	crex_error_move(err, &found);
	return -1;
}

int wire_read_error(int status, struct crex_str body, struct crex_error *err)
{
	if (status == 511)
		return read_swerexception(body, err);
	cleanup_buf struct buf detail;
	buf_init(&detail, 1 << 16);
	char shown[SHOWN_MAX + 4];
	bool has_detail = read_detail(body, &detail);
	show(has_detail ? (struct crex_str){detail.data, detail.len} : body, shown);
	switch (status) {
	case 401: return crex_error_set(err, CREX_E_AUTHENTICATION, "the server refuses the token (401): %s", shown);
	case 403:
		return crex_error_set(err, CREX_E_AUTHENTICATION, "the server wants another token, or any (403): %s",
				      shown);
	case 404:
	case 405:
		return crex_error_set(err, CREX_E_PROTOCOL,
				      "no SWE-ReX server answers there, or one of another version (status %d): %s",
				      status, shown);
	case 413:
		return crex_error_set(err, CREX_E_LIMIT,
				      "the server takes no request that long (413): %s (its --max-body says how long; "
				      "uploads have no such limit)",
				      shown);
	case 422:
		if (has_detail)
			return crex_error_set_bytes(err, CREX_E_VALUE, detail.data, detail.len);
		__attribute__((fallthrough));
	default: return crex_error_set(err, CREX_E_PROTOCOL, "the server answered with status %d: %s", status, shown);
	}
}

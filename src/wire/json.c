/* wire/json.c: jansson reads the body; what only Python accepts is rewritten first.
 *
 * The clients are Python programs. Their json.dumps writes NaN and Infinity (a timeout of float("inf")), integers of
 * any size and lone surrogates as \udcXX; jansson refuses all of these, rightly. Such bodies are rare, so nothing is
 * spent on them until the parser has failed: then one pass over the bytes replaces the literals by stand-ins that
 * jansson takes (json.h lists them) and the result is parsed again. A body that the pass leaves as it was is simply
 * broken.
 *
 * Memory: a string in the tree costs about its length in the body, but an empty object of two bytes costs two hundred.
 * So the tree is bounded by its number of values, which is counted before anything is built. Each value but the first
 * follows one of four characters; a body with fewer bytes than the bound is not looked at. */
#include "wire/json.h"
#include "base/cleanup.h"
#include "wire/json_memory.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct rewrite {
	const char *at;
	const char *end;
	struct buf out;
	bool changed;
	bool has_nan;
	bool has_surrogate;
};

static int hex4(const char *p, const char *end)
{
	int value = 0;
	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int c = p[i] | 0x20;
		int digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

/* The code unit of a \uXXXX at p, or -1. */
static int escaped_unit(const char *p, const char *end)
{
	return end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2, end) : -1;
}

static int rewrite_string(struct rewrite *w)
{
	const char *start = w->at, *p = start + 1;
	while (p < w->end && *p != '"') {
		if (*p != '\\') {
			p++;
			continue;
		}
		int unit = escaped_unit(p, w->end);
		if (unit < 0xD800 || unit > 0xDFFF) {
			p += w->end - p >= 2 ? 2 : 1;
			continue;
		}
		int next = unit < 0xDC00 ? escaped_unit(p + 6, w->end) : -1;
		if (next >= 0xDC00 && next <= 0xDFFF) {
			p += 12;
			continue;
		}
		int r = buf_append(&w->out, start, (size_t)(p - start));
		if (r == 0)
			r = buf_append_str(&w->out, JSON_SURROGATE_STAND_IN);
		if (r < 0)
			return r;
		w->changed = w->has_surrogate = true;
		p += 6;
		start = p;
	}
	if (p < w->end)
		p++;
	w->at = p;
	return buf_append(&w->out, start, (size_t)(p - start));
}

static int rewrite_number(struct rewrite *w)
{
	const char *start = w->at, *p = start + (*start == '-');
	bool integer = p < w->end && *p != '0';
	for (; p < w->end && (*p == '+' || *p == '-' || *p == '.' || (*p | 0x20) == 'e' || (*p >= '0' && *p <= '9'));
	     p++)
		integer = integer && *p >= '0' && *p <= '9';
	w->at = p;
	size_t len = (size_t)(p - start);
	char scratch[400];
	if ((integer && len < 19) || (!integer && len >= sizeof scratch))
		return buf_append(&w->out, start, len);
	double value = *start == '-' ? -INFINITY : INFINITY; /* so many digits can't be a double */
	if (len < sizeof scratch) {
		memcpy(scratch, start, len);
		scratch[len] = '\0';
		errno = 0;
		if (integer && (strtoll(scratch, NULL, 10), errno == 0))
			return buf_append(&w->out, start, len);
		char *rest;
		value = strtod(scratch, &rest);
		if (*rest || (!integer && isfinite(value)))
			return buf_append(&w->out, start, len);
	}
	w->changed = true;
	if (!isfinite(value))
		value = value < 0 ? -JSON_INFINITY_STAND_IN : JSON_INFINITY_STAND_IN;
	return buf_printf(&w->out, "%.17g", value);
}

static bool take_word(struct rewrite *w, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(w->end - w->at) < n || memcmp(w->at, word, n) != 0)
		return false;
	w->at += n;
	w->changed = true;
	return true;
}

static int rewrite(struct rewrite *w)
{
	int r = 0;
	if (take_word(w, "\xEF\xBB\xBF") && w->at == w->end)
		return 0;
	while (r == 0 && w->at < w->end) {
		if (*w->at == '"') {
			r = rewrite_string(w);
		} else if (take_word(w, "NaN")) {
			w->has_nan = true;
			r = buf_append_str(&w->out, "5e-324");
		} else if (take_word(w, "Infinity")) {
			r = buf_printf(&w->out, "%.17g", JSON_INFINITY_STAND_IN);
		} else if (take_word(w, "-Infinity")) {
			r = buf_printf(&w->out, "%.17g", -JSON_INFINITY_STAND_IN);
		} else if (*w->at == '-' || (*w->at >= '0' && *w->at <= '9')) {
			r = rewrite_number(w);
		} else {
			r = buf_append_char(&w->out, *w->at++);
		}
	}
	return r;
}

static int load(const char *text, size_t len, json_t **ret_root, struct json_problem *ret_problem)
{
	json_error_t e;
	json_t *root = json_memory_load(len ? text : "", len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
	if (root) {
		*ret_root = root;
		return 0;
	}
	if (json_error_code(&e) == json_error_out_of_memory)
		return -ENOMEM;
	ret_problem->position = e.position > 0 ? (size_t)e.position : 0;
	snprintf(ret_problem->text, sizeof ret_problem->text, "%s", e.text);
	return -EINVAL;
}

/* The end of the string that begins after a quote at p. Quotes by memchr: most big bodies are one long string. */
static const char *skip_string(const char *p, const char *end)
{
	const char *begin = ++p;
	while (p < end) {
		const char *quote = memchr(p, '"', (size_t)(end - p));
		if (!quote)
			return end;
		const char *escape = quote;
		while (escape > begin && escape[-1] == '\\')
			escape--;
		p = quote + 1;
		if ((quote - escape) % 2 == 0)
			return p;
		begin = p; /* what lies before is done with, so that no byte is looked at twice */
	}
	return end;
}

static bool has_too_many_values(struct crex_str body, struct json_problem *ret_problem)
{
	if (body.len <= JSON_VALUES_MAX)
		return false;
	size_t n = 0;
	for (const char *p = body.ptr, *end = p + body.len; p < end;) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if ((*p == ',' || *p == ':' || *p == '[' || *p == '{') && ++n > JSON_VALUES_MAX) {
			ret_problem->position = (size_t)(p - body.ptr);
			snprintf(ret_problem->text, sizeof ret_problem->text,
				 "too many values: one document may have %d at most", JSON_VALUES_MAX);
			return true;
		}
		p++;
	}
	return false;
}

int json_body_parse(struct crex_str body, struct json_body *ret, struct json_problem *ret_problem)
{
	if (has_too_many_values(body, ret_problem))
		return -EINVAL;
	json_t *root;
	int r = load(body.ptr, body.len, &root, ret_problem);
	if (r == -EINVAL && body.len) {
		struct rewrite w = {.at = body.ptr, .end = body.ptr + body.len};
		buf_init(&w.out, SIZE_MAX / 2);
		int failed = rewrite(&w);
		if (failed == 0 && w.changed)
			r = load(w.out.data, w.out.len, &root, ret_problem);
		buf_deinit(&w.out);
		if (failed < 0)
			return failed;
		if (r == 0) {
			*ret = (struct json_body){root, w.has_nan, w.has_surrogate};
			return 0;
		}
	}
	if (r == 0)
		*ret = (struct json_body){.root = root};
	return r;
}

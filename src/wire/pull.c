/* wire/pull.c: JSON, strictly by RFC 8259, plus what Python's json.dumps writes beyond it (lone surrogates as \udXXX).
 *
 * A string's end is found by memchr first, which bounds the memory that it needs: no escape is shorter than what it
 * stands for. Then it is copied eight plain characters at a time. Bytes that are no UTF-8 and bare control characters
 * are refused, as Python refuses them; a surrogate written as an escape comes out as the three bytes that the rest of
 * the library has for it. */
#include "wire/pull.h"

#include "base/utf8.h"

#include <limits.h>
#include <stdlib.h>

void pull_init(struct pull *p, struct crex_str text)
{
	static const char nothing[] = "";
	if (text.len)
		*p = (struct pull){.begin = text.ptr, .at = text.ptr, .end = text.ptr + text.len};
	else
		*p = (struct pull){.begin = nothing, .at = nothing, .end = nothing, .problem = "it is empty"};
}

static bool fail(struct pull *p, const char *problem)
{
	if (!p->problem)
		p->problem = problem;
	return false;
}

char pull_peek(struct pull *p)
{
	if (p->problem)
		return '\0';
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
		p->at++;
	return p->at < p->end ? *p->at : '\0';
}

static bool take(struct pull *p, char c)
{
	if (pull_peek(p) != c || p->at == p->end)
		return false;
	p->at++;
	return true;
}

bool pull_next(struct pull *p, char kind, bool *first)
{
	char close = kind == '{' ? '}' : ']';
	if (*first) {
		*first = false;
		if (!take(p, kind))
			return fail(p, kind == '{' ? "an object was expected" : "a list was expected");
		return !take(p, close) && (pull_peek(p) || fail(p, "it ends too early"));
	}
	if (take(p, close))
		return false;
	return take(p, ',') || fail(p, p->at == p->end ? "it ends too early" : "a comma or an end was expected");
}

static int hex_digit(char c)
{
	int lower = c | 0x20;
	return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The unit of "\uXXXX" at s, or -1. */
static int unit_at(const char *s, const char *end)
{
	if (end - s < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	int unit = 0;
	for (int i = 2; i < 6; i++) {
		int digit = hex_digit(s[i]);
		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

static char *put(char *out, unsigned code)
{
	if (code < 0x80) {
		*out++ = (char)code;
		return out;
	}
	int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
	static const unsigned lead[] = {0, 0xC0, 0xE0, 0xF0};
	*out++ = (char)(lead[more] | code >> (6 * more));
	while (more-- > 0)
		*out++ = (char)(0x80 | (code >> (6 * more) & 0x3F));
	return out;
}

/* One escape at s; where the text goes on, NULL when it is none. */
static const char *unescape(const char *s, const char *end, char **out)
{
	static const char plain[128] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
					['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
	int unit = unit_at(s, end);
	if (unit >= 0xD800 && unit < 0xDC00) {
		int low = unit_at(s + 6, end);
		if (low >= 0xDC00 && low < 0xE000) {
			*out = put(*out, 0x10000u + (((unsigned)unit & 0x3FF) << 10) + ((unsigned)low & 0x3FF));
			return s + 12;
		}
	}
	if (unit >= 0) {
		*out = put(*out, (unsigned)unit);
		return s + 6;
	}
	unsigned char c = end - s >= 2 ? (unsigned char)s[1] : 0;
	if (c >= 128 || !plain[c])
		return NULL;
	*(*out)++ = plain[c];
	return s + 2;
}

static inline bool eight_plain(const char *s)
{
	uint64_t w = swar_load(s);
	return !((w | ((w - SWAR_ONES * 0x20) & ~w) | swar_equal(w, '\\')) & SWAR_HIGH);
}

/* The string's inside; the end of what was written to out, NULL after a problem. */
static char *decode(struct pull *p, const char *s, const char *end, char *out)
{
	while (s < end) {
		while (end - s >= 8 && eight_plain(s)) {
			memcpy(out, s, 8);
			out += 8;
			s += 8;
		}
		if (s == end)
			break;
		unsigned char c = (unsigned char)*s;
		int n = 1;
		if (c == '\\') {
			const char *next = unescape(s, end, &out);
			if (!next) {
				fail(p, "a string has an unknown escape");
				return NULL;
			}
			s = next;
			continue;
		}
		if (c < 0x20) {
			fail(p, "a string has a bare control character");
			return NULL;
		}
		if (c >= 0x80 && (n = utf8_sequence((const unsigned char *)s, (size_t)(end - s))) <= 0) {
			fail(p, "a string is no UTF-8");
			return NULL;
		}
		memcpy(out, s, (size_t)n);
		out += n;
		s += n;
	}
	return out;
}

/* The closing quote of the string whose inside begins at s; NULL: there is none. No byte is looked at twice. */
static const char *closing_quote(const char *s, const char *end)
{
	for (const char *from = s; s < end;) {
		const char *quote = memchr(s, '"', (size_t)(end - s));
		if (!quote)
			return NULL;
		const char *escape = quote;
		while (escape > from && escape[-1] == '\\')
			escape--;
		if ((quote - escape) % 2 == 0)
			return quote;
		s = from = quote + 1;
	}
	return NULL;
}

bool pull_string(struct pull *p, char **ret, size_t *ret_len)
{
	if (!take(p, '"'))
		return fail(p, p->at == p->end ? "it ends too early" : "a string was expected");
	const char *quote = closing_quote(p->at, p->end);
	if (!quote)
		return fail(p, "it ends too early");
	size_t room = (size_t)(quote - p->at);
	char *text = malloc(room + 1);
	if (!text) {
		p->no_memory = true;
		return fail(p, "memory ran out");
	}
	char *end = decode(p, p->at, quote, text);
	if (!end) {
		free(text);
		return false;
	}
	*end = '\0';
	size_t len = (size_t)(end - text);
	char *fitting = room - len > room / 4 ? realloc(text, len + 1) : NULL;
	p->at = quote + 1;
	*ret = fitting ? fitting : text;
	*ret_len = len;
	return true;
}

bool pull_key(struct pull *p, char **ret, size_t *ret_len)
{
	if (!pull_string(p, ret, ret_len))
		return false;
	if (take(p, ':'))
		return true;
	free(*ret);
	*ret = NULL;
	return fail(p, "a colon was expected");
}

static bool take_word(struct pull *p, const char *word)
{
	size_t n = strlen(word);
	pull_peek(p);
	if (p->problem || (size_t)(p->end - p->at) < n || memcmp(p->at, word, n) != 0)
		return false;
	p->at += n;
	return true;
}

bool pull_bool(struct pull *p, bool *ret)
{
	if (take_word(p, "true"))
		*ret = true;
	else if (take_word(p, "false"))
		*ret = false;
	else
		return fail(p, "true or false was expected");
	return true;
}

bool pull_null(struct pull *p)
{
	return take_word(p, "null");
}

static size_t digits(struct pull *p)
{
	const char *from = p->at;
	while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
		p->at++;
	return (size_t)(p->at - from);
}

static bool skip_number(struct pull *p)
{
	if (p->at < p->end && *p->at == '-')
		p->at++;
	bool zero = p->at < p->end && *p->at == '0';
	size_t n = digits(p);
	bool good = n > 0 && !(zero && n > 1);
	if (good && p->at < p->end && *p->at == '.') {
		p->at++;
		good = digits(p) > 0;
	}
	if (good && p->at < p->end && (*p->at | 0x20) == 'e') {
		p->at++;
		if (p->at < p->end && (*p->at == '+' || *p->at == '-'))
			p->at++;
		good = digits(p) > 0;
	}
	return good || fail(p, "a value was expected");
}

bool pull_int(struct pull *p, int *ret)
{
	pull_peek(p);
	const char *from = p->at;
	if (p->problem || !skip_number(p))
		return fail(p, "a number was expected");
	long long value = 0;
	for (const char *s = from + (*from == '-'); s < p->at; s++) {
		if (*s < '0' || *s > '9')
			return fail(p, "a whole number was expected");
		value = value * 10 + (*s - '0');
		if (value > (long long)INT_MAX + 1)
			return fail(p, "a number is out of range");
	}
	value = *from == '-' ? -value : value;
	if (value > INT_MAX)
		return fail(p, "a number is out of range");
	*ret = (int)value;
	return true;
}

static bool skip_string(struct pull *p)
{
	char *text;
	size_t len;
	if (!pull_string(p, &text, &len))
		return false;
	free(text);
	return true;
}

static bool skip_value(struct pull *p, int depth);

static bool skip_members(struct pull *p, char kind, int depth)
{
	char *key;
	size_t len;
	for (bool first = true; pull_next(p, kind, &first);) {
		if (kind == '{') {
			if (!pull_key(p, &key, &len))
				return false;
			free(key);
		}
		if (!skip_value(p, depth + 1))
			return false;
	}
	return !p->problem;
}

static bool skip_value(struct pull *p, int depth)
{
	if (depth > PULL_DEPTH_MAX)
		return fail(p, "it is nested too deep");
	char c = pull_peek(p);
	switch (c) {
	case '"': return skip_string(p);
	case '{':
	case '[': return skip_members(p, c, depth);
	case '\0': return fail(p, "it ends too early");
	case 't':
	case 'f': {
		bool value;
		return pull_bool(p, &value);
	}
	case 'n': return pull_null(p) || fail(p, "a value was expected");
	case 'N': return take_word(p, "NaN") || fail(p, "a value was expected");
	case 'I': return take_word(p, "Infinity") || fail(p, "a value was expected");
	default: return take_word(p, "-Infinity") || skip_number(p);
	}
}

bool pull_skip(struct pull *p, struct crex_str *ret_text)
{
	pull_peek(p);
	const char *from = p->at;
	if (!skip_value(p, 0))
		return false;
	if (ret_text)
		*ret_text = (struct crex_str){from, (size_t)(p->at - from)};
	return true;
}

bool pull_end(struct pull *p)
{
	pull_peek(p);
	return !p->problem && (p->at == p->end || fail(p, "something follows its end"));
}

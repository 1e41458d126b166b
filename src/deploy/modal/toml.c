/* deploy/modal/toml.c: one line at a time; the names and values of a line are in buffers of a fixed size.
 *
 * Profile files are written by Modal's own command (plain pairs), but people edit them. So all that one may reasonably
 * find is read as TOML reads it (quoted keys, escapes, literal strings, comments behind values), and the rest is
 * refused by name. A name that is given twice is refused too, as TOML wants it: of two tokens none is the right one. */
#include "deploy/modal/toml.h"

#include "base/utf8.h"
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 4096, NAMES_MAX = 1 << 16 };

struct toml {
	const char *at, *end; /* of the rest of the line */
	const char *path;
	unsigned line;
	char table[WORD_MAX], key[WORD_MAX], value[WORD_MAX];
	char *seen; /* "table\0key\0..." of all so far, owned */
	size_t seen_len;
};

static int fail(const struct toml *t, const char *what, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "%s:%u: %s", t->path, t->line, what);
}

static void skip_blanks(struct toml *t)
{
	while (t->at < t->end && (*t->at == ' ' || *t->at == '\t'))
		t->at++;
}

static bool looking_at(const struct toml *t, char c)
{
	return t->at < t->end && *t->at == c;
}

static int end_of_line(struct toml *t, struct crex_error *err)
{
	skip_blanks(t);
	return t->at == t->end || *t->at == '#' ? 0 : fail(t, "there is more on the line than was expected", err);
}

/* ---- words ---- */

static int put(struct toml *t, char *word, size_t *n, const char *bytes, size_t len, struct crex_error *err)
{
	if (*n + len >= WORD_MAX)
		return fail(t, "this is too long", err);
	memcpy(word + *n, bytes, len);
	*n += len;
	word[*n] = '\0';
	return 0;
}

static int put_code_point(struct toml *t, char *word, size_t *n, unsigned digits, struct crex_error *err)
{
	uint32_t c = 0;
	for (unsigned i = 0; i < digits; i++, t->at++) {
		if (t->at == t->end || !isxdigit((unsigned char)*t->at))
			return fail(t, "\\u wants four hexadecimal digits, \\U eight", err);
		char digit[2] = {*t->at, '\0'};
		c = c << 4 | (uint32_t)strtoul(digit, NULL, 16);
	}
	if (c == 0 || (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF)
		return fail(t, "there is no such character", err);
	char utf8[4];
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
	for (size_t i = len; i-- > 1; c >>= 6)
		utf8[i] = (char)(0x80 | (c & 0x3F));
	utf8[0] = (char)(first[len] | c);
	return put(t, word, n, utf8, len, err);
}

static int put_escape(struct toml *t, char *word, size_t *n, struct crex_error *err)
{
	static const char names[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";
	char c = t->at < t->end ? *t->at++ : '\0';
	const char *found = c ? strchr(names, c) : NULL;
	if (found)
		return put(t, word, n, &values[found - names], 1, err);
	if (c == 'u' || c == 'U')
		return put_code_point(t, word, n, c == 'u' ? 4 : 8, err);
	return fail(t, "there is no such escape", err);
}

/* From the quote on; literal strings ('...') know no escapes. */
static int take_string(struct toml *t, char *word, struct crex_error *err)
{
	char quote = *t->at++;
	size_t n = 0;
	word[0] = '\0';
	if (t->end - t->at >= 2 && t->at[0] == quote && t->at[1] == quote)
		return fail(t, "strings of several lines are not read here", err);
	for (;;) {
		if (t->at == t->end)
			return fail(t, "the string has no end", err);
		char c = *t->at++;
		if (c == quote)
			return 0;
		if (((unsigned char)c < ' ' && c != '\t') || c == 0x7F)
			return fail(t, "there is a control character in a string", err);
		int r = quote == '"' && c == '\\' ? put_escape(t, word, &n, err) : put(t, word, &n, &c, 1, err);
		if (r < 0)
			return -1;
	}
}

static int take_name(struct toml *t, char *word, struct crex_error *err)
{
	size_t n = 0;
	skip_blanks(t);
	if (looking_at(t, '"') || looking_at(t, '\'')) {
		if (take_string(t, word, err) < 0)
			return -1;
	} else {
		word[0] = '\0';
		for (; t->at < t->end && (isalnum((unsigned char)*t->at) || *t->at == '_' || *t->at == '-'); t->at++)
			if (put(t, word, &n, t->at, 1, err) < 0)
				return -1;
		if (n == 0)
			return fail(t, "a name is missing", err);
	}
	skip_blanks(t);
	return looking_at(t, '.') ? fail(t, "names of several parts are not read here", err) : 0;
}

static bool is_number(const char *word)
{
	char *end;
	if (strspn(word, "+-0123456789_.eE") != strlen(word) || !*word)
		return false;
	char plain[64];
	size_t n = 0;
	for (; *word && n < sizeof plain - 1; word++)
		if (*word != '_')
			plain[n++] = *word;
	plain[n] = '\0';
	strtod(plain, &end);
	return !*word && n > 0 && *end == '\0';
}

static int take_value(struct toml *t, enum toml_kind *ret_kind, struct crex_error *err)
{
	size_t n = 0;
	skip_blanks(t);
	*ret_kind = TOML_STRING;
	if (looking_at(t, '"') || looking_at(t, '\''))
		return take_string(t, t->value, err);
	t->value[0] = '\0';
	for (; t->at < t->end && !strchr(" \t#,", *t->at); t->at++)
		if (put(t, t->value, &n, t->at, 1, err) < 0)
			return -1;
	*ret_kind = strcmp(t->value, "true") == 0 || strcmp(t->value, "false") == 0 ? TOML_BOOL : TOML_NUMBER;
	if (*ret_kind == TOML_NUMBER && !is_number(t->value))
		return fail(t, "the value must be a string in quotes, true, false or a number", err);
	return 0;
}

/* ---- lines ---- */

/* Remembers a table (key "") or a pair; it must be new. */
static int be_first(struct toml *t, const char *key, struct crex_error *err)
{
	size_t table_len = strlen(t->table) + 1, key_len = strlen(key) + 1;
	for (const char *s = t->seen, *end = s ? s + t->seen_len : NULL; s < end;) {
		const char *other = s + strlen(s) + 1;
		if (strcmp(s, t->table) == 0 && strcmp(other, key) == 0)
			return fail(t, *key ? "this name was given already" : "this table was there already", err);
		s = other + strlen(other) + 1;
	}
	if (t->seen_len + table_len + key_len > NAMES_MAX)
		return fail(t, "the file is too long", err);
	char *more = realloc(t->seen, t->seen_len + table_len + key_len);
	if (!more)
		return crex_error_set_errno(err, ENOMEM, NULL);
	memcpy(more + t->seen_len, t->table, table_len);
	memcpy(more + t->seen_len + table_len, key, key_len);
	t->seen = more;
	t->seen_len += table_len + key_len;
	return 0;
}

static int read_table(struct toml *t, struct crex_error *err)
{
	t->at++;
	if (looking_at(t, '['))
		return fail(t, "arrays of tables are not read here", err);
	if (take_name(t, t->table, err) < 0)
		return -1;
	if (!looking_at(t, ']'))
		return fail(t, "']' is missing", err);
	t->at++;
	return end_of_line(t, err) < 0 ? -1 : be_first(t, "", err);
}

static int read_line(struct toml *t, int (*on_pair)(void *, const struct toml_pair *, struct crex_error *), void *arg,
		     struct crex_error *err)
{
	enum toml_kind kind;
	skip_blanks(t);
	if (t->at == t->end || *t->at == '#')
		return 0;
	if (*t->at == '[')
		return read_table(t, err);
	if (take_name(t, t->key, err) < 0)
		return -1;
	if (!looking_at(t, '='))
		return fail(t, "'=' is missing", err);
	t->at++;
	if (take_value(t, &kind, err) < 0 || end_of_line(t, err) < 0 || be_first(t, t->key, err) < 0)
		return -1;
	const struct toml_pair pair = {t->table, t->key, kind, t->value};
	return on_pair(arg, &pair, err);
}

static bool is_text(const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		int n = utf8_sequence((const unsigned char *)text + i, len - i);
		if (n <= 0 || text[i] == '\0')
			return false;
		i += (size_t)n;
	}
	return true;
}

int toml_read(const char *text, size_t len, const char *path,
	      int (*on_pair)(void *arg, const struct toml_pair *pair, struct crex_error *err), void *arg,
	      struct crex_error *err)
{
	struct toml *t = calloc(1, sizeof *t);
	if (!t)
		return crex_error_set_errno(err, ENOMEM, NULL);
	t->path = path;
	int r = is_text(text, len) ? 0 : crex_error_set(err, CREX_E_CONFIG, "%s: this is no UTF-8 text", path);
	for (const char *end = text + len; r == 0 && text < end;) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		t->at = text;
		t->end = newline ? newline : end;
		text = newline ? newline + 1 : end;
		if (t->end > t->at && t->end[-1] == '\r')
			t->end--;
		t->line++;
		r = read_line(t, on_pair, arg, err);
	}
	free(t->seen);
	explicit_bzero(t, sizeof *t);
	free(t);
	return r;
}

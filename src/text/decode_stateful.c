/* text/decode_stateful.c: HZ and the ISO-2022 family, where escape sequences switch the charset.
 *
 * The rules are those of CPython's _codecs_iso2022.c, odd corners included, since the files that a user has are those
 * that its Python reads: an unknown escape passes through up to its final letter, a newline ends a shift, an error does
 * not reset the state. iso2022_jp_2, _3, _2004 are unknown encodings here. */
#include "text/decoder.h"

#define ILLEGAL "illegal multibyte sequence"
#define INCOMPLETE "incomplete multibyte sequence"
enum { ESC = 0x1B, SI = 0x0F, SO = 0x0E, WIDE = 0x80, ESCAPE_MAX = 16 };

struct state {
	unsigned char g[2];
	bool shifted;
	bool passing; /* an escape of others goes through as it is */
	bool wide;    /* HZ's only state */
};

static int step_hz(struct decoder *d, struct state *s, const struct table *pairs)
{
	unsigned c = d->at[0], left2 = decoder_left(d) >= 2, next = left2 ? d->at[1] : 0;
	if (c != '~' && (c & 0x80))
		return decoder_bad(d, 1, ILLEGAL);
	if (c != '~' && !s->wide) {
		d->at++;
		return decoder_put(d, c);
	}
	if (!left2)
		return decoder_bad(d, 1, INCOMPLETE);
	if (c == '~') {
		bool known = s->wide ? next == '}' : next == '~' || next == '{' || next == '\n';
		if (!known)
			return decoder_bad(d, 1, ILLEGAL);
		d->at += 2;
		if (next == '~')
			return decoder_put(d, '~');
		if (next != '\n')
			s->wide = next == '{';
		return 0;
	}
	unsigned unit = next & 0x80 ? 0 : table_unit(pairs, c | 0x80, next | 0x80);
	if (!unit_is_character(unit))
		return decoder_bad(d, 1, ILLEGAL);
	d->at += 2;
	return decoder_put_unit(d, pairs, unit);
}

static bool designates(enum charset_kind kind, unsigned char set)
{
	if (kind == CHARSET_ISO2022_KR)
		return set == ('C' | WIDE);
	if (set == ('B' | WIDE) || set == ('@' | WIDE) || set == 'J')
		return true;
	if (kind == CHARSET_ISO2022_JP_1)
		return set == ('D' | WIDE);
	return kind == CHARSET_ISO2022_JP_EXT && (set == ('D' | WIDE) || set == 'I');
}

static bool ends_escape(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || c == '@';
}

static int step_escape(struct decoder *d, struct state *s, enum charset_kind kind)
{
	const unsigned char *p = d->at;
	size_t left = decoder_left(d), len = 0;
	bool extended = kind != CHARSET_ISO2022_KR;
	for (size_t i = 1; i < ESCAPE_MAX; i++) {
		if (i >= left)
			return decoder_bad(d, left, INCOMPLETE);
		if (ends_escape(p[i])) {
			len = i + 1;
			break;
		}
		if (extended && i + 1 < left && p[i] == '&' && p[i + 1] == '@')
			i += 2;
	}
	unsigned char set;
	size_t g = 0;
	if (len == 3 && p[1] == '$') {
		set = p[2] | WIDE;
	} else if (len == 3 && (p[1] == '(' || p[1] == ')')) {
		set = p[2];
		g = p[1] == ')';
	} else if (len == 4 && p[1] == '$' && (p[2] == '(' || p[2] == ')')) {
		set = p[3] | WIDE;
		g = p[2] == ')';
	} else if (len == 6 && extended && p[3] == ESC && p[4] == '$' && p[5] == 'B') {
		set = 'B' | WIDE;
	} else {
		return decoder_bad(d, len ? len : 1, ILLEGAL);
	}
	if (set != 'B' && !designates(kind, set))
		return decoder_bad(d, len, ILLEGAL);
	s->g[g] = set;
	d->at += len;
	return 0;
}

static int step_character(struct decoder *d, const struct state *s, const struct table *pairs,
			  const struct table *third)
{
	unsigned char set = s->g[s->shifted];
	unsigned c = d->at[0];
	if (set == 'J' || set == 'I') {
		unsigned kana = c >= 0x21 && c <= 0x5F ? 0xFF40 + c : 0;
		unsigned code = set == 'I' ? kana : c == 0x5C ? 0xA5 : c == 0x7E ? 0x203E : c;
		if (code == 0)
			return decoder_bad(d, 1, ILLEGAL);
		d->at++;
		return decoder_put(d, code);
	}
	if (decoder_left(d) < 2)
		return decoder_bad(d, 1, INCOMPLETE);
	const struct table *t = set == ('D' | WIDE) ? third : pairs;
	unsigned trail = d->at[1];
	unsigned unit = trail & 0x80 ? 0 : table_unit(t, c | 0x80, trail | 0x80);
	if (!unit_is_character(unit))
		return decoder_bad(d, 2, ILLEGAL);
	d->at += 2;
	return decoder_put_unit(d, t, unit);
}

static int step_2022(struct decoder *d, struct state *s, enum charset_kind kind, const struct table *pairs,
		     const struct table *third)
{
	unsigned char c = d->at[0];
	bool shifts = kind == CHARSET_ISO2022_KR;
	if (s->passing) {
		d->at++;
		s->passing = !ends_escape(c);
		return decoder_put(d, c);
	}
	if (c == ESC) {
		if (decoder_left(d) < 2)
			return decoder_bad(d, 1, INCOMPLETE);
		unsigned char next = d->at[1];
		if (next == '(' || next == ')' || next == '$' || next == '.' || next == '&')
			return step_escape(d, s, kind);
		s->passing = true;
	} else if (shifts && (c == SI || c == SO)) {
		s->shifted = c == SO;
		d->at++;
		return 0;
	} else if (c == '\n') {
		s->shifted = false;
	} else if (c >= 0x80) {
		return decoder_bad(d, 1, ILLEGAL);
	} else if (c >= 0x20 && s->g[s->shifted] != 'B') {
		return step_character(d, s, pairs, third);
	}
	d->at++;
	return decoder_put(d, c);
}

int decode_stateful(struct decoder *d, const struct text_charset *cs)
{
	struct table pairs = {NULL, NULL, 0}, third = {NULL, NULL, 0};
	struct state state = {.g = {'B', 'B'}};
	int r = table_load_pairs(&pairs, cs->pairs);
	if (r == 0)
		r = table_load_pairs(&third, cs->third);
	if (r < 0)
		r = decoder_fail(d, r);
	while (r == 0 && d->at < d->end)
		r = cs->kind == CHARSET_HZ ? step_hz(d, &state, &pairs)
					   : step_2022(d, &state, (enum charset_kind)cs->kind, &pairs, &third);
	table_deinit(&pairs);
	table_deinit(&third);
	return r;
}

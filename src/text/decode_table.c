/* text/decode_table.c: the charsets that are tables: all single-byte ones, and those of one, two (or more) bytes.
 *
 * A table is inflated for one call and freed with it: reading such a file is rare, a millisecond is nothing to it, and
 * no state stays behind. A table with a base is the base's with a difference laid over it. One loop serves them all;
 * beyond pairs there are only JIS X 0212's (0x8F and a pair), gb18030's four bytes and the eight of euc_kr. How many
 * bytes an error covers, and when the end of the data is "incomplete" instead, is CPython's (Modules/cjkcodecs). */
#include "text/decoder.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define ILLEGAL "illegal multibyte sequence"
#define INCOMPLETE "incomplete multibyte sequence"

static int inflate_into(unsigned char *dst, size_t size, uint32_t at, uint32_t packed)
{
	uLongf got = size;
	int r = uncompress(dst, &got, text_charset_blob + at, packed);
	return r == Z_OK && got == size ? 0 : -ENOMEM; /* the data is ours, so only memory can be missing */
}

void table_deinit(struct table *t)
{
	free(t->units);
	free(t->extras);
	*t = (struct table){NULL, NULL, 0};
}

int table_load_first(struct table *t, int index)
{
	unsigned char *raw = malloc(text_firsts.raw_size);
	t->units = malloc(256 * sizeof *t->units);
	int r = raw && t->units ? inflate_into(raw, text_firsts.raw_size, text_firsts.at, text_firsts.size) : -ENOMEM;
	for (unsigned i = 0; r == 0 && i < 256; i++) {
		const unsigned char *p = raw + index * 512 + i;
		t->units[i] = (uint16_t)((p[0] | p[256] << 8) ^ (int)i);
	}
	free(raw);
	return r;
}

/* Shift_JIS numbers the rows and columns of JIS X 0208 in its own way; the entry of the EUC table, or 0. */
static uint16_t euc_entry(const uint16_t *euc, unsigned lead, unsigned trail)
{
	if (lead < 0x81 || (lead >= 0xA0 && lead < 0xE0) || trail < 0x40 || trail == 0x7F || trail > 0xFC)
		return 0;
	unsigned row = (lead - (lead < 0xA0 ? 0x81 : 0xC1)) * 2 + (trail >= 0x9F);
	unsigned column = trail >= 0x9F ? trail - 0x9F : trail - 0x40 - (trail > 0x7F);
	return row >= 94 ? 0 : euc[(0x21 + row) * PAIR_TRAILS + 0x81 + column];
}

static int shuffle(struct table *t)
{
	uint16_t *euc = t->units;
	t->units = malloc(PAIR_COUNT * sizeof *t->units);
	for (unsigned i = 0; t->units && i < PAIR_COUNT; i++)
		t->units[i] = euc_entry(euc, i / PAIR_TRAILS + 0x80, i % PAIR_TRAILS + 0x20);
	free(euc);
	return t->units ? 0 : -ENOMEM;
}

static int lay_over(struct table *t, const struct text_pairs *p)
{
	size_t size = 2 * PAIR_COUNT + 8u * p->n_extras;
	unsigned char *raw = malloc(size);
	int r = raw ? inflate_into(raw, size, p->at, p->size) : -ENOMEM;
	for (size_t i = 0; r == 0 && i < PAIR_COUNT; i++) {
		unsigned unit = raw[i] | (unsigned)raw[PAIR_COUNT + i] << 8;
		if (unit)
			t->units[i] = unit == UNIT_ILLEGAL ? 0 : (uint16_t)unit;
	}
	if (r == 0 && p->n_extras) {
		void *extras = realloc(t->extras, (t->n_extras + p->n_extras) * sizeof *t->extras);
		r = extras ? 0 : -ENOMEM;
		t->extras = extras ? extras : t->extras;
	}
	for (size_t i = 0; r == 0 && i < 2u * p->n_extras; i++) {
		const unsigned char *q = raw + 2 * PAIR_COUNT + 4 * i;
		t->extras[t->n_extras + i / 2][i % 2] = q[0] | (uint32_t)q[1] << 8 | (uint32_t)q[2] << 16;
	}
	if (r == 0)
		t->n_extras += p->n_extras;
	free(raw);
	return r;
}

int table_load_pairs(struct table *t, int index)
{
	if (index < 0)
		return 0;
	const struct text_pairs *p = &text_pairs[index];
	int r = 0;
	if (p->base >= 0)
		r = table_load_pairs(t, p->base);
	else if (!(t->units = calloc(PAIR_COUNT, sizeof *t->units)))
		r = -ENOMEM;
	if (r == 0 && p->from_euc)
		r = shuffle(t);
	return r == 0 ? lay_over(t, p) : r;
}

int decoder_put_unit(struct decoder *d, const struct table *t, unsigned unit)
{
	if (unit < 0xD800 || unit > 0xDFFF)
		return decoder_put(d, unit);
	const uint32_t *extra = t->extras[unit - 0xD800];
	TEXT_TRY(decoder_put(d, extra[0]));
	return extra[1] ? decoder_put(d, extra[1]) : 0;
}

static int bad_pair(struct decoder *d, unsigned unit)
{
	return decoder_bad(d, unit == UNIT_ILLEGAL_PAIR ? 2 : 1, ILLEGAL);
}

static int incomplete(struct decoder *d)
{
	return decoder_bad(d, decoder_left(d), INCOMPLETE);
}

static int four_bytes(struct decoder *d)
{
	const unsigned char *p = d->at;
	if (decoder_left(d) < 4)
		return incomplete(d);
	if (p[0] < 0x81 || p[0] > 0xFE || p[2] < 0x81 || p[2] > 0xFE || p[3] < 0x30 || p[3] > 0x39)
		return decoder_bad(d, 1, ILLEGAL);
	uint32_t number = (((p[0] - 0x81u) * 10 + (p[1] - 0x30u)) * 126 + (p[2] - 0x81u)) * 10 + (p[3] - 0x30u);
	const uint32_t supplementary = 15 * 12600;
	uint32_t code = 0;
	if (number < 39420) {
		size_t i = text_gb18030_range_count - 1;
		while (text_gb18030_ranges[i].number > number)
			i--;
		code = text_gb18030_ranges[i].first + (number - text_gb18030_ranges[i].number);
	} else if (number >= supplementary) {
		code = 0x10000 + number - supplementary;
	}
	if (code == 0 || code > 0x10FFFF)
		return decoder_bad(d, 1, ILLEGAL);
	d->at += 4;
	return decoder_put(d, code);
}

static int eight_bytes(struct decoder *d)
{
	const unsigned char *p = d->at;
	unsigned part[3];
	if (decoder_left(d) < 8)
		return incomplete(d);
	for (size_t i = 0; i < 3; i++) {
		unsigned byte = p[3 + 2 * i];
		part[i] =
			p[2 + 2 * i] == 0xA4 && byte >= 0xA1 && byte <= 0xFE ? text_euc_kr_jamo[i][byte - 0xA1] : 0xFF;
	}
	if (part[0] == 0xFF || part[1] == 0xFF || part[2] == 0xFF)
		return decoder_bad(d, 1, ILLEGAL);
	d->at += 8;
	return decoder_put(d, 0xAC00 + part[0] * 588 + part[1] * 28 + part[2]);
}

static int three_bytes(struct decoder *d, const struct table *third)
{
	if (decoder_left(d) < 3)
		return incomplete(d);
	unsigned unit = table_unit(third, d->at[1], d->at[2]);
	if (!unit_is_character(unit))
		return bad_pair(d, unit);
	d->at += 3;
	return decoder_put_unit(d, third, unit);
}

static int two_bytes(struct decoder *d, const struct text_charset *cs, const struct table *pairs)
{
	if (decoder_left(d) < 2)
		return incomplete(d);
	unsigned lead = d->at[0], trail = d->at[1];
	if (cs->kind == CHARSET_GB18030 && trail >= 0x30 && trail <= 0x39)
		return four_bytes(d);
	if (cs->kind == CHARSET_EUC_KR && lead == 0xA4 && trail == 0xD4)
		return eight_bytes(d);
	unsigned unit = table_unit(pairs, lead, trail);
	if (!unit_is_character(unit))
		return bad_pair(d, unit);
	d->at += 2;
	return decoder_put_unit(d, pairs, unit);
}

static int decode_by(struct decoder *d, const struct text_charset *cs, const struct table *first,
		     const struct table *pairs, const struct table *third)
{
	const char *reason = cs->pairs < 0 ? "character maps to <undefined>" : ILLEGAL;
	while (d->at < d->end) {
		unsigned unit = first->units[*d->at];
		if (unit == UNIT_LEAD) {
			TEXT_TRY(two_bytes(d, cs, pairs));
		} else if (unit == UNIT_LEAD3) {
			TEXT_TRY(three_bytes(d, third));
		} else if (unit == UNIT_ILLEGAL) {
			TEXT_TRY(decoder_bad(d, 1, reason));
		} else {
			d->at++;
			TEXT_TRY(decoder_put(d, unit));
		}
	}
	return 0;
}

int decode_table(struct decoder *d, const struct text_charset *cs)
{
	struct table first = {NULL, NULL, 0}, pairs = {NULL, NULL, 0}, third = {NULL, NULL, 0};
	int r = table_load_first(&first, cs->first);
	if (r == 0)
		r = table_load_pairs(&pairs, cs->pairs);
	if (r == 0)
		r = table_load_pairs(&third, cs->third);
	r = r < 0 ? decoder_fail(d, r) : decode_by(d, cs, &first, &pairs, &third);
	table_deinit(&first);
	table_deinit(&pairs);
	table_deinit(&third);
	return r;
}

/* text/decode_utf.c: UTF-8, UTF-16 and UTF-32 with Python's idea of where an error begins and ends.
 *
 * UTF-8 is what nearly every file is in, so clean runs are found first and copied at once. In the wide forms a byte
 * order mark decides in "utf-16" and "utf-32" only, and is counted in the positions of errors. */
#include "text/decoder.h"
#include "base/utf8.h"

#include <string.h>

int decode_utf8(struct decoder *d)
{
	d->surrogate_bytes = 3;
	const unsigned char *p = d->at;
	while (p < d->end) {
		if (d->end - p >= 8 && !(swar_load(p) & SWAR_HIGH)) {
			p += 8;
			continue;
		}
		int n = utf8_sequence(p, (size_t)(d->end - p));
		if (n > 0) {
			p += n;
			continue;
		}
		TEXT_TRY(decoder_copy_to(d, p));
		bool start = *p >= 0xC2 && *p <= 0xF4;
		if (n == 0)
			TEXT_TRY(decoder_bad(d, decoder_left(d), "unexpected end of data"));
		else
			TEXT_TRY(
				decoder_bad(d, (size_t)-n, start ? "invalid continuation byte" : "invalid start byte"));
		p = d->at;
	}
	return decoder_copy_to(d, p);
}

static uint32_t read_unit(const struct decoder *d, const unsigned char *p, size_t size)
{
	uint32_t unit = 0;
	for (size_t i = 0; i < size; i++)
		unit = unit << 8 | p[d->big_endian ? i : size - 1 - i];
	return unit;
}

int decode_utf16(struct decoder *d, enum charset_kind kind)
{
	d->big_endian = kind == CHARSET_UTF_16_BE;
	d->surrogate_bytes = 2;
	if (kind == CHARSET_UTF_16 && decoder_left(d) >= 2) {
		uint32_t mark = read_unit(d, d->at, 2);
		d->big_endian = mark == 0xFFFE;
		d->at += mark == 0xFFFE || mark == 0xFEFF ? 2 : 0;
	}
	d->shown = d->big_endian ? "utf-16-be" : "utf-16-le";
	while (d->at < d->end) {
		size_t left = decoder_left(d);
		if (left < 2) {
			TEXT_TRY(decoder_bad(d, left, "truncated data"));
			continue;
		}
		uint32_t unit = read_unit(d, d->at, 2);
		if (unit < 0xD800 || unit > 0xDFFF) {
			d->at += 2;
			TEXT_TRY(decoder_put(d, unit));
			continue;
		}
		if (unit >= 0xDC00) {
			TEXT_TRY(decoder_bad(d, 2, "illegal encoding"));
			continue;
		}
		if (left < 4) {
			TEXT_TRY(decoder_bad(d, left, "unexpected end of data"));
			continue;
		}
		uint32_t low = read_unit(d, d->at + 2, 2);
		if (low < 0xDC00 || low > 0xDFFF) {
			TEXT_TRY(decoder_bad(d, 2, "illegal UTF-16 surrogate"));
			continue;
		}
		d->at += 4;
		TEXT_TRY(decoder_put(d, 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)));
	}
	return 0;
}

int decode_utf32(struct decoder *d, enum charset_kind kind)
{
	d->big_endian = kind == CHARSET_UTF_32_BE;
	d->surrogate_bytes = 4;
	if (kind == CHARSET_UTF_32 && decoder_left(d) >= 4) {
		uint32_t mark = read_unit(d, d->at, 4);
		d->big_endian = mark == 0xFFFE0000;
		d->at += mark == 0xFFFE0000 || mark == 0xFEFF ? 4 : 0;
	}
	d->shown = d->big_endian ? "utf-32-be" : "utf-32-le";
	while (d->at < d->end) {
		size_t left = decoder_left(d);
		uint32_t code = left < 4 ? 0 : read_unit(d, d->at, 4);
		if (left < 4) {
			TEXT_TRY(decoder_bad(d, left, "truncated data"));
		} else if (code >= 0xD800 && code <= 0xDFFF) {
			TEXT_TRY(decoder_bad(d, 4, "code point in surrogate code point range(0xd800, 0xe000)"));
		} else if (code > 0x10FFFF) {
			TEXT_TRY(decoder_bad(d, 4, "code point not in range(0x110000)"));
		} else {
			d->at += 4;
			TEXT_TRY(decoder_put(d, code));
		}
	}
	return 0;
}

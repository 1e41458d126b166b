/* base/pyrepr.c: repr() for the two types that appear in error texts.
 *
 * Agents show these texts to a model, so they should read as upstream's do. Bytes that are no UTF-8 (names of files may
 * hold any) are shown as Python shows them after its surrogateescape: \udcff. Not covered: Python also escapes
 * unassigned and invisible code points above U+00AD, which would need its Unicode tables; those stay as they are. */
#include "base/pyrepr.h"

#include "base/utf8.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The second byte of U+0080 to U+00A0 and U+00AD, which equals the code point. */
static bool is_invisible_latin1(unsigned char c)
{
	return (c >= 0x80 && c <= 0xA0) || c == 0xAD;
}

int pyrepr_str(struct buf *out, const char *s, size_t len)
{
	bool has_single = len && memchr(s, '\'', len), has_double = len && memchr(s, '"', len);
	char quote = has_single && !has_double ? '"' : '\'';
	int r = buf_append_char(out, quote);
	for (size_t i = 0, n; r == 0 && i < len; i += n) {
		const unsigned char *at = (const unsigned char *)s + i;
		unsigned char c = *at;
		int sequence = utf8_sequence(at, len - i);
		n = sequence > 0 ? (size_t)sequence : 1;
		if (sequence <= 0)
			r = buf_printf(out, "\\udc%02x", c);
		else if (c == (unsigned char)quote || c == '\\')
			r = buf_printf(out, "\\%c", c);
		else if (c == '\n')
			r = buf_append_str(out, "\\n");
		else if (c == '\r')
			r = buf_append_str(out, "\\r");
		else if (c == '\t')
			r = buf_append_str(out, "\\t");
		else if (c < 0x20 || c == 0x7F)
			r = buf_printf(out, "\\x%02x", c);
		else if (c == 0xC2 && is_invisible_latin1(at[1]))
			r = buf_printf(out, "\\x%02x", at[1]);
		else
			r = buf_append(out, at, n);
	}
	return r < 0 ? r : buf_append_char(out, quote);
}

int pyrepr_float(struct buf *out, double value)
{
	char text[32];
	const bool exponent = fabs(value) >= 1e16; /* where %g with many digits would still write none */
	if (isnan(value))
		return buf_append_str(out, "nan");
	if (isinf(value))
		return buf_append_str(out, value < 0 ? "-inf" : "inf");
	/* the fewest digits that read back as the same value, as Python prints them (which, with 16 digits, would once
	 * in a while take others than the nearest) */
	for (int digits = 1; digits <= 17; digits++) {
		if (exponent)
			snprintf(text, sizeof text, "%.*e", digits - 1, value);
		else
			snprintf(text, sizeof text, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	if (!exponent && fabs(value) >= 1e-4 && strchr(text, 'e'))
		snprintf(text, sizeof text, "%.0f", value);
	int r = buf_append_str(out, text);
	if (r == 0 && !strpbrk(text, ".e"))
		r = buf_append_str(out, ".0");
	return r;
}

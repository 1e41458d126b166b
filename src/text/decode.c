/* text/decode.c: see text/decode.h. */
#include "text/decode.h"
#include "text/utf8.h"

int text_append_escaped_utf8(struct buf *out, const char *src, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)src;
	size_t done = 0, at = 0;
	while (at < len) {
		if (len - at >= 8 && !(swar_load(s + at) & SWAR_HIGH)) {
			at += 8;
			continue;
		}
		int n = utf8_sequence(s + at, len - at);
		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		int r = buf_append(out, src + done, at - done);
		if (r == 0)
			r = buf_append(out, (char[4]){'\\', 'x', digits[s[at] >> 4], digits[s[at] & 15]}, 4);
		if (r < 0)
			return r;
		done = ++at;
	}
	return buf_append(out, src + done, len - done);
}

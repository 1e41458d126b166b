/* base/utf8.h: what one UTF-8 sequence is, by the strict definition (no surrogates, no overlong forms). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Looks at the sequence that starts at s (n >= 1 bytes are there). Its length 1..4 when it is complete and valid; 0
 * when the n bytes are a proper prefix of a valid one; -k when it is invalid, where the first k bytes (1..3) are the
 * longest prefix that could have become valid (what Python reports and replaces as one). */
static inline int utf8_sequence(const unsigned char *s, size_t n)
{
	unsigned c = s[0];
	if (c < 0x80)
		return 1;
	if (c < 0xC2 || c > 0xF4)
		return -1;
	int len = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
	if (n < 2)
		return 0;
	unsigned low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
	unsigned high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
	if (s[1] < low || s[1] > high)
		return -1;
	for (int i = 2; i < len; i++) {
		if ((size_t)i >= n)
			return 0;
		if ((s[i] & 0xC0) != 0x80)
			return -i;
	}
	return len;
}

/* Eight bytes with the first one in the lowest place, whatever the machine's order. */
static inline uint64_t swar_load(const void *p)
{
	uint64_t w;
	memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

#define SWAR_ONES 0x0101010101010101u
#define SWAR_HIGH 0x8080808080808080u

/* The top bit of each byte that equals c. Bytes above the lowest hit may be marked wrongly, the lowest never is. */
static inline uint64_t swar_equal(uint64_t w, unsigned char c)
{
	uint64_t x = w ^ (SWAR_ONES * c);
	return (x - SWAR_ONES) & ~x & SWAR_HIGH;
}

#endif

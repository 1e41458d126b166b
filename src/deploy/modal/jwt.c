/* deploy/modal/jwt.c: the middle part of a JWT is JSON in base64 without padding; `iat` and `exp` in it are seconds.
 *
 * Where both are there, their difference counts and not the time of day here, which may be wrong. */
#include "deploy/modal/jwt.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

enum { CLAIMS_MAX = 16384 };

static int value_of(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* -1: not of this alphabet, or too long. */
static ssize_t decode(const char *text, size_t len, char *ret, size_t room)
{
	unsigned bits = 0, n_bits = 0;
	size_t n = 0;
	while (len && text[len - 1] == '=')
		len--;
	for (size_t i = 0; i < len; i++) {
		int value = value_of(text[i]);
		if (value < 0 || n == room)
			return -1;
		bits = (bits << 6 | (unsigned)value) & 0xFFFF;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			ret[n++] = (char)(bits >> n_bits);
		}
	}
	return (ssize_t)n;
}

double jwt_life(struct crex_str token)
{
	char claims[CLAIMS_MAX];
	const char *end = token.ptr + token.len, *first = token.len ? memchr(token.ptr, '.', token.len) : NULL;
	const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
	ssize_t len = second ? decode(first + 1, (size_t)(second - first - 1), claims, sizeof claims) : -1;
	json_t *root = len > 0 ? json_loadb(claims, (size_t)len, 0, NULL) : NULL;
	const json_t *exp = json_object_get(root, "exp"), *iat = json_object_get(root, "iat");
	double life = 0;
	if (json_is_number(exp))
		life = json_number_value(exp) - (json_is_number(iat) ? json_number_value(iat) : (double)time(NULL));
	json_decref(root);
	return life > 0 ? life : 0;
}

bool jwt_is_plain(struct crex_str token)
{
	for (size_t i = 0; i < token.len; i++)
		if ((unsigned char)token.ptr[i] <= ' ' || (unsigned char)token.ptr[i] >= 0x7F)
			return false;
	return token.len > 0 && token.len <= CLAIMS_MAX;
}

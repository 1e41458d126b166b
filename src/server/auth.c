/* server/auth.c: the comparison of tokens, in a time that depends on the given key's length alone.
 *
 * Every byte of the key is compared with some byte of the token and the differences are collected; nothing ends
 * early, so that timing says nothing of how much was right. */
#include "server/auth.h"

#include <string.h>

enum auth_result auth_check(const char *token, struct crex_str key)
{
	size_t token_len = strlen(token);
	if (token_len == 0)
		return AUTH_OK;
	if (!key.ptr)
		return AUTH_MISSING;
	volatile unsigned char difference = token_len != key.len;
	for (size_t i = 0, k = 0; i < key.len; i++) {
		difference = (unsigned char)(difference | ((unsigned char)key.ptr[i] ^ (unsigned char)token[k]));
		k = k + 1 == token_len ? 0 : k + 1;
	}
	return difference ? AUTH_WRONG : AUTH_OK;
}

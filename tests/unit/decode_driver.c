/* tests/unit/decode_driver.c: text_decode() for test_decode_python.py, over two pipes.
 *
 * A request is encoding NUL handler NUL, four bytes of length (lowest first), the data. The answer is one byte (0:
 * good, 1: an error, whose message follows), the length in the same form, the text. Ends with its input. */
#include "text/decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t read_word(char *word, size_t room)
{
	size_t n = 0;
	for (int c; (c = getchar()) > 0 && n < room;)
		word[n++] = (char)c;
	return n;
}

static void answer(int failed, const char *text, size_t len)
{
	putchar(failed);
	for (int i = 0; i < 4; i++)
		putchar((int)(len >> 8 * i & 0xFF));
	if (len)
		fwrite(text, 1, len, stdout);
	fflush(stdout);
}

int main(void)
{
	char encoding[100], handler[100];
	for (;;) {
		struct crex_str e = {encoding, read_word(encoding, sizeof encoding)};
		struct crex_str h = {handler, read_word(handler, sizeof handler)};
		size_t len = 0;
		for (int i = 0; i < 4; i++) {
			int c = getchar();
			if (c < 0)
				return 0;
			len |= (size_t)c << 8 * i;
		}
		char *data = malloc(len + 1); /* one more, so that there is something for no bytes at all */
		if (!data || fread(data, 1, len, stdin) != len)
			return 1;
		struct buf out;
		struct crex_error err = CREX_ERROR_INIT;
		buf_init(&out, 1 << 24);
		if (text_decode((struct crex_str){data, len}, e, h, &out, &err) < 0)
			answer(1, err.message, err.message_len);
		else
			answer(0, out.data, out.len);
		crex_error_clear(&err);
		buf_deinit(&out);
		free(data);
	}
}

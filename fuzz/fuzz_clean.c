/* fuzz/fuzz_clean.c: terminal cleaning: the text does not depend on where the input was cut, and is valid UTF-8.
 *
 * The first byte gives the length of the pieces; the same input fed whole is the reference. */
#include "text/clean.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const char *data, size_t size, size_t piece, struct buf *out)
{
	struct text_clean c;
	text_clean_init(&c);
	for (size_t at = 0; at < size; at += piece)
		if (text_clean_feed(&c, data + at, size - at < piece ? size - at : piece, out) < 0)
			abort();
	if (text_clean_finish(&c, out) < 0)
		abort();
	text_clean_deinit(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct buf whole, cut;
	buf_init(&whole, 1 << 24);
	buf_init(&cut, 1 << 24);
	run((const char *)data + 1, size - 1, size, &whole);
	run((const char *)data + 1, size - 1, 1u + data[0] % 32, &cut);
	if (whole.len != cut.len || (whole.len && memcmp(whole.data, cut.data, whole.len) != 0))
		abort();
	for (size_t at = 0; at < whole.len;) {
		int n = utf8_sequence((const unsigned char *)whole.data + at, whole.len - at);
		if (n <= 0)
			abort();
		at += (size_t)n;
	}
	buf_deinit(&whole);
	buf_deinit(&cut);
	return 0;
}

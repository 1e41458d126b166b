/* fuzz/fuzz_decode.c: decoding: the first byte chooses a charset of the tables by name, the second a handler. */
#include "text/charsets.h"
#include "text/decode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const handlers[] = {"strict",	  "ignore",	   "replace", "backslashreplace",
					       "surrogateescape", "surrogatepass", "bogus"};
	if (size < 2)
		return 0;
	const char *name = text_charset_names;
	for (unsigned i = 0; i < data[0] * 2u && name[strlen(name) + 2]; i++)
		name += strlen(name) + 2;
	const char *handler = handlers[data[1] % (sizeof handlers / sizeof *handlers)];
	struct buf out;
	struct crex_error err = CREX_ERROR_INIT;
	buf_init(&out, 8 * size);
	int r = text_decode((struct crex_str){(const char *)data + 2, size - 2}, (struct crex_str){name, strlen(name)},
			    (struct crex_str){handler, strlen(handler)}, &out, &err);
	if ((r < 0) != (err.code != CREX_OK) || out.len > out.max)
		abort();
	text_universal_newlines(&out);
	if (out.len && memchr(out.data, '\r', out.len))
		abort();
	crex_error_clear(&err);
	buf_deinit(&out);
	return 0;
}

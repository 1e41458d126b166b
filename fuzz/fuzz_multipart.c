/* fuzz/fuzz_multipart.c: the form parser: any bytes, and the same result for whole input and for a split one.
 *
 * Input: one byte that says where to cut, then the content type up to a newline, then the body. */
#include "base/buf.h"
#include "http/multipart.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_part(void *arg, struct crex_str name, bool is_file)
{
	return buf_append_char(arg, is_file ? 'F' : 'P') < 0 || buf_append(arg, name.ptr, name.len) < 0;
}

static int on_data(void *arg, const char *data, size_t len)
{
	return buf_append(arg, data, len) < 0;
}

static int on_end(void *arg)
{
	return buf_append_char(arg, 'E') < 0;
}

static enum multipart_status run(struct crex_str type, const char *body, size_t len, size_t step, struct buf *out)
{
	static const struct multipart_sink sink = {on_part, on_data, on_end};
	struct multipart m;
	buf_init(out, 1 << 20);
	if (!multipart_init(&m, type))
		return MULTIPART_BAD;
	enum multipart_status status = MULTIPART_MORE;
	for (size_t at = 0; at < len && (status == MULTIPART_MORE || status == MULTIPART_DONE); at += step)
		status = multipart_feed(&m, body + at, step < len - at ? step : len - at, &sink, out);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t step = (size_t)data[0] % 40 + 1;
	const char *text = (const char *)data + 1;
	const char *newline = memchr(text, '\n', size - 1);
	struct crex_str type = {text, newline ? (size_t)(newline - text) : 0};
	const char *body = newline ? newline + 1 : text;
	size_t len = size - 1 - (size_t)(body - text);
	struct buf whole, split;
	enum multipart_status a = run(type, body, len, len + 1, &whole), b = run(type, body, len, step, &split);
	if (a != b || (a != MULTIPART_BAD &&
		       (whole.len != split.len || (whole.len && memcmp(whole.data, split.data, whole.len) != 0))))
		abort();
	buf_deinit(&whole);
	buf_deinit(&split);
	return 0;
}

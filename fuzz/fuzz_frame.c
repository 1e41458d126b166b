/* fuzz/fuzz_frame.c: frames of a stream: any bytes, and the same frames for whole input and for a split one.
 *
 * Input: one byte that says where to cut, then the frames. */
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum frame_result run(const char *data, size_t len, size_t step, struct buf *out)
{
	struct frame_parser p;
	frame_parser_init(&p);
	buf_init(out, 1 << 24);
	enum frame_result r = FRAME_MORE;
	for (size_t at = 0; at < len && r == FRAME_MORE; at += step) {
		char *piece = malloc(step); /* of its own, so that reading beyond it is seen */
		size_t n = step < len - at ? step : len - at, used = 0;
		memcpy(piece, data + at, n);
		const char *rest = piece;
		struct frame f;
		while ((r = frame_feed(&p, rest, n, &used, &f)) == FRAME_READY) {
			int32_t numbers[2];
			char head[FRAME_HEADER];
			frame_put_header(head, (enum frame_type)f.type, f.len);
			frame_get_numbers(&f, numbers, 2);
			if (buf_append(out, head, sizeof head) < 0 || (f.len && buf_append(out, f.data, f.len) < 0))
				abort();
			rest += used;
			n -= used;
		}
		if (r == FRAME_MORE && used != n)
			abort();
		free(piece);
	}
	frame_parser_deinit(&p);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const char *frames = (const char *)data + 1;
	struct buf whole, split;
	enum frame_result a = run(frames, size - 1, size - 1, &whole);
	enum frame_result b = run(frames, size - 1, (size_t)data[0] % 40 + 1, &split);
	if (a != b || whole.len != split.len || (whole.len && memcmp(whole.data, split.data, whole.len) != 0) ||
	    (whole.len && memcmp(whole.data, frames, whole.len) != 0))
		abort();
	buf_deinit(&whole);
	buf_deinit(&split);
	return 0;
}

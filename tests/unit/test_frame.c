/* tests/unit/test_frame.c: frames of a stream: the same for any split of the same bytes. */
#include "wire/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Feeds `len` bytes in pieces that end at `cut` and at the end; what comes out is written as it came in. */
static enum frame_result feed_cut(const char *data, size_t len, size_t cut, struct buf *out)
{
	struct frame_parser p;
	frame_parser_init(&p);
	enum frame_result r = FRAME_MORE;
	const size_t ends[2] = {cut, len};
	size_t at = 0;
	for (size_t i = 0; i < 2 && r == FRAME_MORE; i++) {
		size_t n = ends[i] - at, used;
		char *piece = malloc(n ? n : 1), *rest = piece;
		memcpy(piece, data + at, n);
		at += n;
		struct frame f;
		while ((r = frame_feed(&p, rest, n, &used, &f)) == FRAME_READY) {
			char head[FRAME_HEADER];
			frame_put_header(head, (enum frame_type)f.type, f.len);
			assert_int_equal(buf_append(out, head, sizeof head), 0);
			assert_int_equal(f.len ? buf_append(out, f.data, f.len) : 0, 0);
			rest += used;
			n -= used;
		}
		if (r == FRAME_MORE)
			assert_int_equal(used, n);
		free(piece);
	}
	frame_parser_deinit(&p);
	return r;
}

static void test_every_split(void **state)
{
	static const char text[] = "O\0\0\0\x02{}I\0\0\0\x05hello1\0\0\0\0X\0\0\0\x04\xff\xff\xff\xf7"
				   "E\0\0\0\0";
	(void)state;
	for (size_t cut = 0; cut < sizeof text; cut++) {
		struct buf out;
		buf_init(&out, 1024);
		assert_int_equal(feed_cut(text, sizeof text - 1, cut, &out), FRAME_MORE);
		assert_int_equal(out.len, sizeof text - 1);
		assert_memory_equal(out.data, text, out.len);
		buf_deinit(&out);
	}
}

static void test_every_prefix(void **state)
{
	static const char text[] = "I\0\0\0\x05hello";
	(void)state;
	for (size_t len = 0; len < sizeof text - 1; len++) {
		struct buf out;
		buf_init(&out, 1024);
		assert_int_equal(feed_cut(text, len, len / 2, &out), FRAME_MORE);
		assert_int_equal(out.len, 0);
		buf_deinit(&out);
	}
}

static void test_longest(void **state)
{
	(void)state;
	size_t size = FRAME_HEADER + FRAME_PAYLOAD_MAX;
	char *text = calloc(2, size);
	frame_put_header(text, FRAME_INPUT, FRAME_PAYLOAD_MAX);
	frame_put_header(text + size, FRAME_STDOUT, FRAME_PAYLOAD_MAX);
	const size_t cuts[] = {0, 3, 5, 6, 70000, size - 1, size, size + 3, size + 60, 2 * size};
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		assert_int_equal(feed_cut(text, 2 * size, cuts[i], &out), FRAME_MORE);
		assert_int_equal(out.len, 2 * size);
		assert_memory_equal(out.data, text, out.len);
		buf_deinit(&out);
	}
	frame_put_header(text, FRAME_INPUT, FRAME_PAYLOAD_MAX + 1);
	for (size_t cut = 0; cut < 8; cut++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		assert_int_equal(feed_cut(text, 2 * size, cut, &out), FRAME_TOO_LONG);
		buf_deinit(&out);
	}
	free(text);
}

static void test_numbers(void **state)
{
	static const int32_t values[] = {0, 1, -1, 255, 256, -9, 65536, INT32_MAX, INT32_MIN};
	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		char data[8];
		frame_put_number(data, values[i]);
		frame_put_number(data + 4, 7);
		int32_t got[2] = {0};
		struct frame f = {FRAME_RESIZE, data, 8};
		assert_true(frame_get_numbers(&f, got, 2));
		assert_int_equal(got[0], values[i]);
		assert_int_equal(got[1], 7);
		assert_false(frame_get_numbers(&f, got, 1));
		f.len = 3;
		assert_false(frame_get_numbers(&f, got, 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

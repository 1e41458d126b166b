/* tests/unit/test_clean.c: the cleaned text of terminal output, for every way to cut the input.
 *
 * Each row is fed whole, byte by byte, and cut at every pair of places; a random corpus built of the awkward pieces is
 * treated the same way, its whole-fed result being the reference. */
#include "text/clean.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct row {
	const char *in;
	size_t in_len;
	const char *out;
	size_t out_len;
};
#define ROW(in, out)                                     \
	{                                                \
		in, sizeof(in) - 1, out, sizeof(out) - 1 \
	}

static const struct row rows[] = {
	ROW("", ""),
	ROW("plain text\n", "plain text\n"),
	ROW("a\r\nb\r\n", "a\nb\n"),
	ROW("a\rb", "a\rb"),
	ROW("a\r", "a\r"),
	ROW("\r\r\n", "\r\n"),
	ROW("\r\n\r\n", "\n\n"),
	ROW("\n\r", "\n\r"),
	ROW("\r\x1b[K\n", "\n"),
	ROW("\r\x1b[K\x1b[0m\n", "\n"),
	ROW("\r\x1b[Kx", "\rx"),
	ROW("\r\x1b\n", "\r\x1b\n"),
	ROW("\x1b[31mred\x1b[0m", "red"),
	ROW("\x1b[?2004h$ \x1b[?2004l", "$ "),
	ROW("\x1b[1;2 qx", "x"),
	ROW("\x1b]0;title\x07x", "x"),
	ROW("\x1b]0;title\x1b\\x", "x"),
	ROW("\x1b]0;t\xc3\xa4\xff\x07x", "x"),
	ROW("\x1bPdcs\x1b\\\x1b_apc\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\x", "x"),
	ROW("\x1b(B\x1b)0\x1b#8\x1b=\x1b>\x1b"
	    "7\x1b"
	    "8\x1b"
	    "Mx",
	    "x"),
	ROW("\x1b[31\nline", "\x1b[31\nline"),
	ROW("\x1b[31\x1b[32mx", "\x1b[31x"),
	ROW("\x1b\x1b[mx", "\x1bx"),
	ROW("\x1b]0;never ended\nline\n", "\x1b]0;never ended\nline\n"),
	ROW("\x1b]0;never ended\r\nline\n", "\x1b]0;never ended\nline\n"),
	ROW("\x1b]0;never\x1b[0mx", "\x1b]0;neverx"),
	ROW("\x1b]0;\xc3\xa4\xff\nx", "\x1b]0;\xc3\xa4\\xff\nx"),
	ROW("\x1b]0;\xc3\x1b[mx", "\x1b]0;\\xc3x"),
	ROW("\x1b]a\tb\x07x", "x"),
	ROW("\x1b", "\x1b"),
	ROW("\x1b[", "\x1b["),
	ROW("\r\x1b[3", "\r\x1b[3"),
	ROW("\x1b]x\x1b", "\x1b]x\x1b"),
	ROW("\x1b\xff", "\x1b\\xff"),
	ROW("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
	ROW("\xff\xfe", "\\xff\\xfe"),
	ROW("\xe2\x82", "\\xe2\\x82"),
	ROW("\xe2\x82"
	    "A",
	    "\\xe2\\x82"
	    "A"),
	ROW("\xe2\x82\x1b[mA", "\\xe2\\x82"
			       "A"),
	ROW("\xe2\x82\xe2\x82\xac", "\\xe2\\x82\xe2\x82\xac"),
	ROW("\xed\xa0\x80", "\\xed\\xa0\\x80"),
	ROW("\xc0\xaf", "\\xc0\\xaf"),
	ROW("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"),
	ROW("\x9b"
	    "31m",
	    "\\x9b31m"),
	ROW("a\0b\x07\x08\x7f\t", "a\0b\x07\x08\x7f\t"),
	ROW("\xe2\r\n", "\\xe2\n"),
};

static void feed(struct text_clean *c, const char *data, size_t len, struct buf *out)
{
	char *copy = malloc(len ? len : 1); /* so that a sanitizer sees a read beyond the piece */
	memcpy(copy, data, len);
	assert_int_equal(text_clean_feed(c, copy, len, out), 0);
	free(copy);
}

static void check(struct text_clean *c, struct buf *out, const char *want, size_t len)
{
	assert_int_equal(text_clean_finish(c, out), 0);
	assert_int_equal(out->len, len);
	if (len)
		assert_memory_equal(out->data, want, len);
	buf_clear(out);
}

static void check_all_cuts(const char *in, size_t len, const char *want, size_t want_len)
{
	struct text_clean c;
	struct buf out;
	text_clean_init(&c);
	buf_init(&out, 1 << 20);
	for (size_t i = 0; i <= len; i++) {
		for (size_t j = i; j <= len; j++) {
			feed(&c, in, i, &out);
			feed(&c, in + i, j - i, &out);
			feed(&c, in + j, len - j, &out);
			check(&c, &out, want, want_len);
		}
	}
	for (size_t i = 0; i < len; i++)
		feed(&c, in + i, 1, &out);
	check(&c, &out, want, want_len);
	text_clean_deinit(&c);
	buf_deinit(&out);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_all_cuts(rows[i].in, rows[i].in_len, rows[i].out, rows[i].out_len);
}

static void test_random_cuts(void **state)
{
	(void)state;
	static const char *const pieces[] = {
		"\r",	"\n", "\x1b", "[",	"]",	"0;",	"m",
		"\x07", "\\", "\xe2", "\x82",	"\xac", "\xff", "plain text of some length",
		"(B",	"\t", "P",    "\x1b[1m"};
	unsigned seed = 12345;
	for (int round = 0; round < 60; round++) {
		char in[14 * 32];
		size_t len = 0;
		for (int n = 0; n < 14; n++) {
			seed = seed * 1103515245u + 12345u;
			const char *piece = pieces[(seed >> 16) % (sizeof pieces / sizeof *pieces)];
			memcpy(in + len, piece, strlen(piece));
			len += strlen(piece);
		}
		struct text_clean c;
		struct buf whole;
		text_clean_init(&c);
		buf_init(&whole, 1 << 20);
		feed(&c, in, len, &whole);
		assert_int_equal(text_clean_finish(&c, &whole), 0);
		check_all_cuts(in, len, whole.data, whole.len);
		buf_deinit(&whole);
	}
}

static void test_long_string_is_shown(void **state)
{
	(void)state;
	static const size_t lens[] = {TEXT_CLEAN_HELD_MAX - 3, TEXT_CLEAN_HELD_MAX - 2, TEXT_CLEAN_HELD_MAX - 1,
				      TEXT_CLEAN_HELD_MAX,     TEXT_CLEAN_HELD_MAX + 1, 3 * TEXT_CLEAN_HELD_MAX};
	for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
		size_t len = lens[i] + 4;
		char *in = malloc(len);
		memset(in, 'x', len);
		memcpy(in, "\x1b]", 2);
		in[len - 2] = '\x07';
		in[len - 1] = '!';
		/* The BEL is the byte number len - 1: it still belongs to the sequence when that is within the limit.
		 */
		bool gone = len - 1 <= TEXT_CLEAN_HELD_MAX;
		static const size_t steps[] = {1, 7, 4096, 1 << 20};
		for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
			struct text_clean c;
			struct buf out;
			text_clean_init(&c);
			buf_init(&out, 1 << 20);
			for (size_t at = 0; at < len; at += steps[s])
				feed(&c, in + at, len - at < steps[s] ? len - at : steps[s], &out);
			check(&c, &out, gone ? "!" : in, gone ? 1 : len);
			buf_deinit(&out);
		}
		free(in);
	}
}

static void test_cap(void **state)
{
	(void)state;
	struct text_clean c;
	struct buf out;
	for (size_t max = 0; max < 12; max++) {
		text_clean_init(&c);
		buf_init(&out, max);
		assert_int_equal(text_clean_feed(&c, "hello\xff\xe2\x82\xac", 9, &out), -ENOSPC);
		assert_true(out.len <= max);
		assert_memory_equal(out.len ? out.data : "", "hello\\xff", out.len);
		text_clean_deinit(&c);
		buf_deinit(&out);
	}
	text_clean_init(&c);
	buf_init(&out, 12);
	assert_int_equal(text_clean_feed(&c, "hello\xff\xe2\x82\xac", 9, &out), 0);
	assert_int_equal(out.len, 12);
	text_clean_deinit(&c);
	buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_random_cuts),
		cmocka_unit_test(test_long_string_is_shown),
		cmocka_unit_test(test_cap),
	};
	return cmocka_run_group_tests_name("clean", tests, NULL, NULL);
}

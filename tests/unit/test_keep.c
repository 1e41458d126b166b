/* test_keep.c: the head and the tail of output, the note between them, and the bound on memory. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *steal(struct keep *k, size_t *len, bool *cut)
{
	char *text = keep_steal(k, len, cut);
	assert_non_null(text);
	assert_int_equal(text[*len], '\0');
	assert_true(keep_is_empty(k));
	return text;
}

/* Splits a cut text at its note: returns the number in it, and where the head ends and the tail begins. */
static size_t note_of(const char *text, const char **head_end, const char **tail)
{
	*head_end = strstr(text, "\n[... ");
	assert_non_null(*head_end);
	size_t n = 0;
	assert_int_equal(sscanf(*head_end, "\n[... %zu bytes of output cut here ...]", &n), 1);
	*tail = strstr(*head_end, "...]\n");
	assert_non_null(*tail);
	*tail += 5;
	return n;
}

static void test_small(void **state)
{
	(void)state;
	struct keep k;
	size_t len;
	bool cut = true;
	keep_init(&k, 4096);
	assert_true(keep_is_empty(&k));
	char *text = steal(&k, &len, &cut);
	assert_int_equal(len, 0);
	assert_false(cut);
	free(text);
	assert_int_equal(keep_append(&k, "ab\0", 3), 0);
	assert_int_equal(keep_append(&k, "", 0), 0);
	assert_int_equal(keep_append(&k, "cd", 2), 0);
	assert_false(keep_is_empty(&k));
	text = steal(&k, &len, &cut);
	assert_int_equal(len, 5);
	assert_memory_equal(text, "ab\0cd", 5);
	assert_false(cut);
	free(text);
	keep_deinit(&k);
}

static void test_exactly_full(void **state)
{
	(void)state;
	char data[4096];
	memset(data, 'x', sizeof data);
	struct keep k;
	size_t len;
	bool cut;
	keep_init(&k, sizeof data);
	assert_int_equal(keep_append(&k, data, sizeof data), 0);
	char *text = steal(&k, &len, &cut);
	assert_int_equal(len, sizeof data);
	assert_false(cut);
	free(text);
	assert_int_equal(keep_append(&k, data, sizeof data), 0);
	assert_int_equal(keep_append(&k, "y", 1), 0);
	text = steal(&k, &len, &cut);
	assert_true(cut);
	assert_int_equal(text[len - 1], 'y');
	free(text);
	/* emptied: the next text is whole again */
	assert_int_equal(keep_append(&k, "z", 1), 0);
	text = steal(&k, &len, &cut);
	assert_string_equal(text, "z");
	assert_false(cut);
	free(text);
	keep_deinit(&k);
}

/* Any text, in pieces of any size: head and tail are the input's, the note's number is what is missing, and memory
 * stays within the limit. */
static void check_cut(size_t max, size_t total, size_t piece)
{
	char *in = malloc(total);
	assert_non_null(in);
	for (size_t i = 0; i < total; i++)
		in[i] = (char)('!' + i * 7919 % 90);
	struct keep k;
	keep_init(&k, max);
	for (size_t at = 0; at < total; at += piece) {
		size_t n = total - at < piece ? total - at : piece;
		assert_int_equal(keep_append(&k, in + at, n), 0);
		assert_true(k.buf.len <= max);
		assert_true(k.buf.cap <= max + 128);
	}
	size_t len;
	bool cut;
	char *text = steal(&k, &len, &cut);
	if (total <= max) {
		assert_false(cut);
		assert_int_equal(len, total);
		assert_memory_equal(text, in, total);
	} else {
		const char *head_end, *tail;
		size_t missing = note_of(text, &head_end, &tail);
		size_t head_len = (size_t)(head_end - text), tail_len = len - (size_t)(tail - text);
		assert_true(cut);
		assert_int_equal(head_len, max / 2);
		assert_true(tail_len >= max / 4);
		assert_int_equal(head_len + missing + tail_len, total);
		assert_memory_equal(text, in, head_len);
		assert_memory_equal(tail, in + total - tail_len, tail_len);
	}
	free(text);
	keep_deinit(&k);
	free(in);
}

static void test_cut(void **state)
{
	(void)state;
	static const size_t totals[] = {1, 1023, 1024, 1025, 1279, 1280, 1281, 1536, 2047, 2048, 2049, 5000, 100000};
	static const size_t pieces[] = {1, 2, 3, 255, 256, 257, 512, 1023, 1024, 1025, 100000};
	for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++)
		for (size_t j = 0; j < sizeof pieces / sizeof pieces[0]; j++)
			check_cut(1024, totals[i], pieces[j]);
	check_cut(1025, 9999, 7); /* an odd limit */
	check_cut(1 << 20, 20 << 20, 65536);
}

static void test_many_small_appends(void **state)
{
	(void)state;
	struct keep k;
	keep_init(&k, 1 << 20);
	for (int i = 0; i < 8 << 20; i++)
		if (keep_append(&k, "ab", 2) < 0)
			fail();
	assert_true(k.buf.cap <= (1 << 20) + 128);
	size_t len;
	bool cut;
	char *text = steal(&k, &len, &cut);
	assert_true(cut);
	const char *head_end, *tail;
	size_t missing = note_of(text, &head_end, &tail);
	assert_int_equal(head_end - text, 1 << 19);
	assert_int_equal((size_t)(head_end - text) + missing + len - (size_t)(tail - text), 16 << 20);
	free(text);
	keep_deinit(&k);
}

static void test_limit_has_a_minimum(void **state)
{
	(void)state;
	struct keep k;
	keep_init(&k, 0);
	assert_int_equal(k.max, 1024);
	char data[3000] = {0};
	assert_int_equal(keep_append(&k, data, sizeof data), 0);
	assert_true(k.buf.len <= 1024);
	keep_deinit(&k);
	assert_int_equal(k.cut, 0);
}

static bool is_utf8(const unsigned char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = s[i] < 0x80 ? 1 : s[i] >= 0xF0 ? 4 : s[i] >= 0xE0 ? 3 : s[i] >= 0xC2 ? 2 : 0;
		if (n == 0 || i + n > len)
			return false;
		for (size_t j = 1; j < n; j++)
			if ((s[i + j] & 0xC0) != 0x80)
				return false;
		i += n;
	}
	return true;
}

/* Characters of each length, at each offset to both sides of the cut. */
static void test_characters_stay_whole(void **state)
{
	(void)state;
	static const char *const chars[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
	for (size_t c = 0; c < 3; c++) {
		for (size_t before = 0; before < 5; before++) {
			for (size_t after = 0; after < 5; after++) {
				struct keep k;
				size_t len, total = before, n = strlen(chars[c]);
				bool cut;
				keep_init(&k, 1024);
				assert_int_equal(keep_append(&k, "aaaaa", before), 0);
				for (int i = 0; i < 2000; i++, total += n)
					assert_int_equal(keep_append(&k, chars[c], n), 0);
				assert_int_equal(keep_append(&k, "bbbbb", after), 0);
				total += after;
				char *text = steal(&k, &len, &cut);
				assert_true(cut);
				assert_true(is_utf8((const unsigned char *)text, len));
				const char *head_end, *tail;
				size_t missing = note_of(text, &head_end, &tail);
				assert_int_equal((size_t)(head_end - text) + missing + len - (size_t)(tail - text),
						 total);
				/* a character that is whole before the cut stays */
				assert_int_equal(head_end - text, before + (512 - before) / n * n);
				free(text);
				keep_deinit(&k);
			}
		}
	}
}

static void test_drop_tail(void **state)
{
	(void)state;
	struct keep k;
	size_t len;
	bool cut;
	keep_init(&k, 1024);
	keep_drop_tail(&k, 5); /* nothing there */
	assert_int_equal(keep_append(&k, "hello world", 11), 0);
	keep_drop_tail(&k, 0);
	keep_drop_tail(&k, 6);
	char *text = steal(&k, &len, &cut);
	assert_string_equal(text, "hello");
	assert_int_equal(len, 5);
	free(text);
	assert_int_equal(keep_append(&k, "abc", 3), 0);
	keep_drop_tail(&k, 100);
	assert_true(keep_is_empty(&k));
	/* after a cut */
	char big[2000];
	memset(big, 'x', sizeof big);
	assert_int_equal(keep_append(&k, big, sizeof big), 0);
	assert_int_equal(keep_append(&k, ">>> ", 4), 0);
	keep_drop_tail(&k, 4);
	text = steal(&k, &len, &cut);
	assert_true(cut);
	assert_int_equal(text[len - 1], 'x');
	free(text);
	keep_deinit(&k);
}

/* The tail is dropped until it ends within the head: the cut is still told. */
static void test_drop_into_the_head(void **state)
{
	(void)state;
	struct keep k;
	size_t len;
	bool cut;
	char big[3000];
	memset(big, 'x', sizeof big);
	keep_init(&k, 1024);
	assert_int_equal(keep_append(&k, big, sizeof big), 0);
	keep_drop_tail(&k, 900);
	char *text = steal(&k, &len, &cut);
	assert_true(cut);
	assert_true(len <= 512);
	free(text);
	keep_deinit(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_exactly_full),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_many_small_appends),
		cmocka_unit_test(test_limit_has_a_minimum),
		cmocka_unit_test(test_characters_stay_whole),
		cmocka_unit_test(test_drop_tail),
		cmocka_unit_test(test_drop_into_the_head),
	};
	return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}

/* tests/unit/test_decode.c: what the comparison with Python (test_decode_python.py) can't show: names and caps given by
 * pointer, newlines, and the escaping of what is not UTF-8. A few vectors stand here too, for machines without Python.
 */
#include "text/decode.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct crex_str none = {NULL, 0};

static struct crex_str str(const char *s)
{
	return (struct crex_str){s, strlen(s)};
}

static void test_vectors(void **state)
{
	(void)state;
	static const struct {
		const char *in, *encoding, *errors, *out;
		enum crex_error_code code;
	} rows[] = {
		{"\xc3\xa4", "UTF8", "strict", "\xc3\xa4", CREX_OK},
		{"\xff", "utf-8", "strict", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
		 CREX_E_UNICODE},
		{"a\xe2\x82", "utf-8", "strict",
		 "'utf-8' codec can't decode bytes in position 1-2: unexpected end of data", CREX_E_UNICODE},
		{"a\xe2\x82z", "utf-8", "replace", "a\xef\xbf\xbdz", CREX_OK},
		{"a\xff\xfe", "utf-8", "backslashreplace", "a\\xff\\xfe", CREX_OK},
		{"a\xff", "utf-8", "surrogateescape", "a\xed\xb3\xbf", CREX_OK},
		{"a\xff", "utf-8", "ignore", "a", CREX_OK},
		{"a\xff", "utf-8", "bogus", "unknown error handler name 'bogus'", CREX_E_LOOKUP},
		{"a", "utf-8", "bogus", "a", CREX_OK},
		{"a", "no-such", "strict", "unknown encoding: no-such", CREX_E_LOOKUP},
		{"\xe4\x80", "latin_1", "strict", "\xc3\xa4\xc2\x80", CREX_OK},
		{"\x81", "cp1252", "strict",
		 "'charmap' codec can't decode byte 0x81 in position 0: character maps to <undefined>", CREX_E_UNICODE},
		{"\x81", "gb18030", "strict",
		 "'gb18030' codec can't decode byte 0x81 in position 0: incomplete multibyte sequence", CREX_E_UNICODE},
		{"\x82\xa0\x83\x41", "Shift-JIS", "strict", "\xe3\x81\x82\xe3\x82\xa2", CREX_OK},
		{"\xe9", "ascii", "strict",
		 "'ascii' codec can't decode byte 0xe9 in position 0: ordinal not in range(128)", CREX_E_UNICODE},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf out;
		struct crex_error err = CREX_ERROR_INIT;
		buf_init(&out, 1000);
		int r = text_decode(str(rows[i].in), str(rows[i].encoding), str(rows[i].errors), &out, &err);
		assert_int_equal(r, rows[i].code ? -1 : 0);
		assert_int_equal(err.code, rows[i].code);
		assert_string_equal(rows[i].code ? err.message : out.data, rows[i].out);
		crex_error_clear(&err);
		buf_deinit(&out);
	}
}

static void test_defaults_and_odd_names(void **state)
{
	(void)state;
	struct buf out;
	struct crex_error err = CREX_ERROR_INIT;
	buf_init(&out, 1000);
	assert_int_equal(text_decode(none, none, none, &out, &err), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(text_decode(str("\xc3\xa4"), none, none, &out, &err), 0);
	assert_string_equal(out.data, "\xc3\xa4");
	assert_int_equal(text_decode(str("a"), (struct crex_str){"utf-8\0x", 7}, none, &out, &err), -1);
	assert_int_equal(err.code, CREX_E_VALUE);
	char longer[5000];
	memset(longer, 'u', sizeof longer);
	assert_int_equal(text_decode(str("a"), (struct crex_str){longer, sizeof longer}, none, &out, &err), -1);
	assert_int_equal(err.code, CREX_E_LOOKUP);
	assert_int_equal(text_decode(str("a"), str(""), none, &out, &err), -1);
	crex_error_clear(&err);
	buf_deinit(&out);
}

static void test_cap(void **state)
{
	(void)state;
	static const char *const encodings[] = {"utf-8", "latin-1", "gbk", "utf-16-le"};
	for (size_t e = 0; e < 4; e++) {
		struct buf out;
		struct crex_error err = CREX_ERROR_INIT;
		buf_init(&out, 1000);
		assert_int_equal(
			text_decode(str("abc\xb0\xa1 def!"), str(encodings[e]), str("backslashreplace"), &out, &err),
			0);
		size_t need = out.len;
		buf_deinit(&out);
		for (size_t max = 0; max <= need; max++) {
			buf_init(&out, max);
			int r = text_decode(str("abc\xb0\xa1 def!"), str(encodings[e]), str("backslashreplace"), &out,
					    &err);
			assert_int_equal(r, max < need ? -1 : 0);
			assert_int_equal(err.code, max < need ? CREX_E_LIMIT : CREX_OK);
			crex_error_clear(&err);
			buf_deinit(&out);
		}
	}
}

static void test_newlines(void **state)
{
	(void)state;
	static const char *const rows[][2] = {{"", ""},
					      {"a\nb", "a\nb"},
					      {"a\r\nb\r\n", "a\nb\n"},
					      {"a\rb\r", "a\nb\n"},
					      {"\r\r\n\n\r", "\n\n\n\n"},
					      {"\r", "\n"},
					      {"x\r\n", "x\n"}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b;
		buf_init(&b, 100);
		buf_append_str(&b, rows[i][0]);
		text_universal_newlines(&b);
		assert_int_equal(b.len, strlen(rows[i][1]));
		assert_string_equal(b.data, rows[i][1]);
		buf_deinit(&b);
	}
}

static void test_escaped_utf8(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1000);
	assert_int_equal(text_append_escaped_utf8(&out, "plain text, \xc3\xa4\xff long\xe2\x82 enough\xed\xa0\x80", 33),
			 0);
	assert_string_equal(out.data, "plain text, \xc3\xa4\\xff long\\xe2\\x82 enough\\xed\\xa0\\x80");
	assert_int_equal(text_append_escaped_utf8(&out, NULL, 0), 0);
	buf_deinit(&out);
	buf_init(&out, 3);
	assert_int_equal(text_append_escaped_utf8(&out, "\xff", 1), -ENOSPC);
	buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),	     cmocka_unit_test(test_defaults_and_odd_names),
		cmocka_unit_test(test_cap),	     cmocka_unit_test(test_newlines),
		cmocka_unit_test(test_escaped_utf8),
	};
	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}

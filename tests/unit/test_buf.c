/* tests/unit/test_buf.c: the growable buffer keeps its cap, its NUL and its content. */
#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_append_and_nul(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 1000);
	assert_null(b.data);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(buf_append(&b, "ab", 2), 0);
		assert_int_equal(b.len, 2 * (size_t)i + 2);
		assert_int_equal(b.data[b.len], '\0');
	}
	assert_int_equal(buf_append_char(&b, 'x'), -ENOSPC);
	assert_int_equal(b.len, 1000);
	assert_true(b.cap <= b.max);
	buf_deinit(&b);
	assert_null(b.data);
	assert_int_equal(b.max, 1000);
}

static void test_cap_is_exact(void **state)
{
	(void)state;
	for (size_t max = 0; max < 200; max++) {
		struct buf b;
		buf_init(&b, max);
		char data[200] = {0};
		assert_int_equal(buf_append(&b, data, max + 1), -ENOSPC);
		assert_int_equal(b.len, 0);
		assert_int_equal(buf_append(&b, data, max), 0);
		assert_int_equal(b.len, max);
		assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOSPC);
		buf_deinit(&b);
	}
}

static void test_printf(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 10);
	assert_int_equal(buf_printf(&b, "%d-%s", 12, "abc"), 0);
	assert_string_equal(b.data, "12-abc");
	assert_int_equal(buf_printf(&b, "%s", "12345"), -ENOSPC);
	assert_string_equal(b.data, "12-abc");
	assert_int_equal(buf_printf(&b, "%s", "1234"), 0);
	assert_string_equal(b.data, "12-abc1234");
	buf_deinit(&b);
}

static void test_consume_clear_steal(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 100);
	assert_int_equal(buf_append_str(&b, "hello world"), 0);
	buf_consume(&b, 6);
	assert_string_equal(b.data, "world");
	buf_consume(&b, 99);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
	assert_int_equal(buf_append_str(&b, "x"), 0);
	buf_clear(&b);
	assert_string_equal(b.data, "");
	assert_int_equal(buf_append_str(&b, "yz"), 0);
	size_t len = 9;
	char *s = buf_steal(&b, &len);
	assert_string_equal(s, "yz");
	assert_int_equal(len, 2);
	assert_null(b.data);
	assert_int_equal(b.max, 100);
	free(s);
	s = buf_steal(&b, &len);
	assert_string_equal(s, "");
	assert_int_equal(len, 0);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_and_nul),
		cmocka_unit_test(test_cap_is_exact),
		cmocka_unit_test(test_printf),
		cmocka_unit_test(test_consume_clear_steal),
	};
	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}

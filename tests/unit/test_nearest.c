/* Hints for mistyped names: which one is meant, and when none is. */
#include "base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const char *find(const char *name)
{
	static const char *const names[] = {"run", "shell", "up", "down", "exec", "image", "startup_timeout"};
	struct nearest n = nearest_begin(name);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		nearest_offer(&n, names[i]);
	return n.found;
}

static void test_one_slip(void **state)
{
	(void)state;
	assert_string_equal(find("rnu"), "run"); /* swapped */
	assert_string_equal(find("imag"), "image");
	assert_string_equal(find("imagee"), "image");
	assert_string_equal(find("shall"), "shell");
	assert_string_equal(find("startup-timeuot"), "startup_timeout");
}

static void test_the_nearest_of_several(void **state)
{
	(void)state;
	assert_string_equal(find("dowm"), "down");
	assert_string_equal(find("exce"), "exec");
}

static void test_no_hint(void **state)
{
	(void)state;
	char long_name[100];
	memset(long_name, 'x', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	assert_null(find(""));
	assert_null(find("xyzzy"));
	assert_null(find(long_name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_slip),
		cmocka_unit_test(test_the_nearest_of_several),
		cmocka_unit_test(test_no_hint),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

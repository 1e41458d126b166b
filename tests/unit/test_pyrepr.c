/* test_pyrepr.c: our repr() against Python's own, on vectors that Python makes when the test runs, and a few by hand.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/pyrepr.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_repr(const char *text, size_t len, const char *want)
{
	struct buf out cleanup_buf;
	buf_init(&out, 1 << 20);
	assert_int_equal(pyrepr_str(&out, text, len), 0);
	assert_string_equal(out.data, want);
}

static void assert_float(double value, const char *want)
{
	struct buf out cleanup_buf;
	buf_init(&out, 64);
	assert_int_equal(pyrepr_float(&out, value), 0);
	assert_string_equal(out.data, want);
}

static void test_strings(void **state)
{
	(void)state;
	assert_repr("", 0, "''");
	assert_repr("ls -la", 6, "'ls -la'");
	assert_repr("it's", 4, "\"it's\"");
	assert_repr("say \"hi\"", 8, "'say \"hi\"'");
	assert_repr("'\"", 2, "'\\'\"'");
	assert_repr("a\\b\n\t\r", 6, "'a\\\\b\\n\\t\\r'");
	assert_repr("\0\x1b\x7f", 3, "'\\x00\\x1b\\x7f'");
	assert_repr("\xC3\xA9\xE2\x82\xAC", 5, "'\xC3\xA9\xE2\x82\xAC'");
	assert_repr("\xC2\x80\xC2\x9F\xC2\xA0\xC2\xA1\xC2\xAD", 10, "'\\x80\\x9f\\xa0\xC2\xA1\\xad'");
	assert_repr("\xC2", 1, "'\\udcc2'"); /* not UTF-8 */
	assert_repr("\xFF\xE2\x82", 3, "'\\udcff\\udce2\\udc82'");
	assert_repr("\xED\xA0\x80", 3, "'\\udced\\udca0\\udc80'");
	assert_repr("a\xF0\x9F\x98\x80\xF0\x9F\x98.", 9, "'a\xF0\x9F\x98\x80\\udcf0\\udc9f\\udc98.'");
}

static void test_floats(void **state)
{
	(void)state;
	assert_float(5, "5.0");
	assert_float(0.2, "0.2");
	assert_float(0.1 + 0.2, "0.30000000000000004");
	assert_float(-0.0, "-0.0");
	assert_float(1e15, "1000000000000000.0");
	assert_float(1e16, "1e+16");
	assert_float(12345678901234568.0, "1.2345678901234568e+16");
	assert_float(0.0001, "0.0001");
	assert_float(0.00001, "1e-05");
	assert_float(1e300, "1e+300");
	assert_float(5e-324, "5e-324");
	assert_float(INFINITY, "inf");
	assert_float(-INFINITY, "-inf");
	assert_float((double)NAN, "nan");
}

static void test_full_buffer(void **state)
{
	(void)state;
	for (size_t max = 0; max < 6; max++) {
		struct buf out cleanup_buf;
		buf_init(&out, max);
		assert_int_equal(pyrepr_str(&out, "a\nb", 3), -ENOSPC);
		assert_true(out.len <= max);
	}
	struct buf out cleanup_buf;
	buf_init(&out, 2);
	assert_int_equal(pyrepr_float(&out, 5), -ENOSPC);
}

static size_t unhex(const char *hex, char *out)
{
	size_t n = 0;
	for (unsigned byte; hex[2 * n] > ' ' && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
		out[n] = (char)byte;
	out[n] = '\0';
	return n;
}

/* "s <hex of the text> <hex of its repr>" and "f <hex of the float's bits> <hex of its repr>" */
static void test_against_python(void **state)
{
	(void)state;
	static const char script[] =
		"import random, struct\n"
		"r = random.Random(7)\n"
		"x = lambda s: s.encode().hex()\n"
		"pool = [chr(c) for c in range(0xAE)] + list('\\'\\'\\'\\\"\\\"\\\"\\\\\\\\\\n\\n') + ['\\u00e9', "
		"'\\u20ac', '\\U0001f600']\n"
		"for n in range(3000):\n"
		"    s = ''.join(r.choice(pool) for _ in range(1 + n % 12))\n"
		"    print('s', x(s), x(repr(s)))\n"
		"for n in range(3000):\n"
		"    b = bytes(r.choice(b'a\\x80\\xbf\\xc2\\xc3\\xe0\\xa0\\xed\\xf0\\x9f\\xf4\\x90\\xff') for _ in "
		"range(1 + n % 6))\n"
		"    s = b.decode('utf-8', 'surrogateescape')\n"
		"    if all(ord(c) < 0xAE or 0xDC80 <= ord(c) <= 0xDCFF or c.isprintable() for c in s): print('s', "
		"b.hex(), x(repr(s)))\n"
		"vs = [10.0 ** e for e in range(-300, 300)] + [i / 10 for i in range(5000)] + [i / 1000 for i in "
		"range(5000)]\n"
		"for n in range(4000):\n"
		"    vs.append(float('%.*g' % (r.randint(1, 15), r.uniform(-1, 1) * 10 ** r.randint(-20, 30))))\n"
		"for v in vs:\n"
		"    if v == v: print('f', struct.pack('>d', v).hex(), x(repr(v)))\n";
	char command[4096];
	snprintf(command, sizeof command, "%s -c \"$CREX_VECTORS\"", PYTHON);
	setenv("CREX_VECTORS", script, 1);
	FILE *f = popen(command, "re");
	assert_non_null(f);
	static char line[4096], from[2048], want[2048];
	size_t n = 0;
	for (; fgets(line, sizeof line, f); n++) {
		char *a = line + 2, *b = strchr(a, ' ') + 1;
		size_t len = unhex(a, from);
		unhex(b, want);
		if (line[0] == 's') {
			assert_repr(from, len, want);
		} else {
			double value;
			uint64_t bits = strtoull(a, NULL, 16);
			memcpy(&value, &bits, sizeof value);
			assert_float(value, want);
		}
	}
	assert_int_equal(pclose(f), 0);
	assert_true(n > 17000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_floats),
		cmocka_unit_test(test_full_buffer),
		cmocka_unit_test(test_against_python),
	};
	return cmocka_run_group_tests_name("pyrepr", tests, NULL, NULL);
}

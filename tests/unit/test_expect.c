/* test_expect.c: expect strings as literal text and as regular expressions. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "runtime/local/expect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct expect *make(size_t n, const char *const *strings)
{
	struct crex_str items[8];
	assert_true(n <= 8);
	for (size_t i = 0; i < n; i++)
		items[i] = (struct crex_str){strings[i], strlen(strings[i])};
	struct crex_str_list list = {items, n};
	struct expect *e = NULL;
	assert_int_equal(expect_new(&list, &e), 0);
	assert_non_null(e);
	return e;
}

/* One string against one text: where it hits, or -1. */
static long hit(const char *pattern, const char *text, size_t *ret_end)
{
	struct expect *e = make(1, &pattern);
	struct expect_match m = {0, 0, NULL};
	bool found = expect_search(e, text, strlen(text), 0, &m);
	if (found)
		assert_string_equal(m.pattern, pattern);
	if (ret_end)
		*ret_end = m.end;
	expect_free(e);
	return found ? (long)m.start : -1;
}

static void assert_hit(const char *pattern, const char *text, long start, size_t end)
{
	size_t got_end;
	long got = hit(pattern, text, &got_end);
	if (got != start || (start >= 0 && got_end != end))
		fail_msg("\"%s\" in \"%s\": got %ld..%zu, want %ld..%zu", pattern, text, got, got_end, start, end);
}

static void test_empty_list(void **state)
{
	(void)state;
	struct crex_str_list none = {NULL, 0};
	struct expect *e = (struct expect *)&none;
	assert_int_equal(expect_new(&none, &e), 0);
	assert_null(e);
	assert_null(expect_free(NULL));
}

static void test_literal(void **state)
{
	(void)state;
	assert_hit("(gdb) ", "Reading symbols...\n(gdb) ", 19, 25);
	assert_hit("(gdb) ", "gdb ", 0, 4); /* as an expression: upstream's meaning stays */
	assert_hit(">>> ", "Python 3.11.2\n>>> ", 14, 18);
	assert_hit("ipdb> ", "ipdb>", -1, 0);
	assert_hit("a.c", "abc a.c", 0, 3);
	assert_hit("[y/N]: ", "proceed [y/N]: ", 8, 15);
	assert_hit("$ ", "user@host:~$ ", 11, 13);
	assert_hit("***", "a *** b", 2, 5);
	assert_hit("(", "f(x)", 1, 2);
	assert_hit("\\", "C:\\", 2, 3);
}

static void test_empty_string_never_hits(void **state)
{
	(void)state;
	assert_hit("", "anything", -1, 0);
	assert_hit("x*", "aaa", -1, 0); /* nor does an empty match */
	assert_hit(">", "", -1, 0);
}

static void test_regex(void **state)
{
	(void)state;
	assert_hit("[0-9]+ rows", "got 12 rows", 4, 11);
	assert_hit("\\d+\\s", "abc 42 ", 4, 7);
	assert_hit("\\w+@", "  me@host", 2, 5);
	assert_hit("begin.*end", "begin\nmiddle\nend", 0, 16); /* a dot matches a newline */
	assert_hit("a.c", "a\nc", 0, 3);
	assert_hit("a.*?b", "xaabab", 1, 4);
	assert_hit("(?i)password: ?", "Password:", 0, 9);
	assert_hit("yes|no", "say no or yes", 4, 6);
	assert_hit("login: $", "login: ", 0, 7);
	assert_hit("(login|user): ", "user: ", 0, 6);
	assert_hit("\\(Pdb\\) ", "(Pdb) ", 0, 6);
}

static void test_invalid_regex(void **state)
{
	(void)state;
	static const char *const bad[] = {"(", ")(", "[abc", "a{2,1}", "*a(", "(?P<n>", "\\"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char text[64];
		assert_int_equal(hit(bad[i], "nothing of the kind", NULL), -1);
		snprintf(text, sizeof text, "12%s34", bad[i]);
		assert_hit(bad[i], text, 2, 2 + strlen(bad[i])); /* as text it is found all the same */
	}
}

/* Expressions that would take the matcher long are text only; so none can stall the loop. */
static void test_costly_regex(void **state)
{
	(void)state;
	static const char *const costly[] = {
		"(a*)*\\1b",
		"(a)\\1",
		"(a{255}){255}",
		"((a{255}){255}){255}",
		"(a?){200}b",
		"(a{1,20}){1,20}b",
		"a{1000000}",
		"a{99999999999999999999}",
		"((((((((((((((((((((a)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*b",
		"(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)("
		"a*)b",
		"a{#9}",
	};
	static char text[131073];
	memset(text, 'a', sizeof text - 1);
	for (size_t i = 0; i < sizeof costly / sizeof costly[0]; i++) {
		char own[256];
		assert_int_equal(hit(costly[i], text, NULL), -1);
		snprintf(own, sizeof own, "..%s", costly[i]);
		assert_hit(costly[i], own, 2, strlen(own));
	}
	/* a long one that is plain is none of them */
	static char plain[600], hay[700];
	memset(plain, 'x', 500);
	strcpy(plain + 500, "[0-9]+$");
	memset(hay, 'x', 600);
	strcpy(hay + 600, "77");
	assert_hit(plain, hay, 100, 602);
	assert_hit("[[:alpha:](){}*]+[]x{9999}]y{2}", "..ab(]yy", 2, 8);
	assert_hit("a{0,2}b{3,}", "aabbbb", 0, 6);
}

static void test_earliest(void **state)
{
	(void)state;
	static const char *const strings[] = {">>> ", "(gdb) ", "[0-9]+", "gdb"};
	struct expect *e = make(4, strings);
	struct expect_match m;
	assert_true(expect_search(e, "(gdb) >>> ", 10, 0, &m));
	assert_int_equal(m.start, 0);
	assert_string_equal(m.pattern, "(gdb) ");
	assert_true(expect_search(e, ">>> (gdb) ", 10, 0, &m));
	assert_string_equal(m.pattern, ">>> ");
	assert_true(expect_search(e, "a 77 >>> ", 9, 0, &m));
	assert_string_equal(m.pattern, "[0-9]+");
	assert_int_equal(m.start, 2);
	assert_int_equal(m.end, 4);
	/* at one place: the first of the list, literal before expression */
	assert_true(expect_search(e, "gdb ", 4, 0, &m));
	assert_string_equal(m.pattern, "(gdb) ");
	expect_free(e);
	static const char *const same[] = {"ab", "abc", "a"};
	e = make(3, same);
	assert_true(expect_search(e, "xabc", 4, 0, &m));
	assert_string_equal(m.pattern, "ab");
	expect_free(e);
}

/* Text that grows by every possible step: found as soon as it is whole, never before. */
static void test_growing_text(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *text;
		size_t whole; /* length at which the pattern is first there */
	} cases[] = {
		{"(gdb) ", "x(gdb(gdb) y", 11}, {">>> ", ">> >>>> ", 8},  {"aab", "aaaaab", 6},
		{"a.c", "xxa\nc", 5},		{"[0-9]!", "000000!", 7},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i].text);
		for (size_t step = 1; step <= len; step++) {
			struct expect *e = make(1, &cases[i].pattern);
			struct expect_match m;
			size_t seen = 0, n = 0;
			bool found = false;
			while (!found && n < len) {
				n = n + step < len ? n + step : len;
				found = expect_search(e, cases[i].text, n, seen, &m);
				assert_int_equal(found, n >= cases[i].whole);
				seen = n;
			}
			assert_true(found);
			assert_int_equal(m.end, cases[i].whole);
			expect_free(e);
		}
	}
}

static void test_bytes(void **state)
{
	(void)state;
	struct crex_str items[] = {{"a\0b", 3}, {"one\r\ntwo", 8}, {"\r", 1}};
	struct crex_str_list list = {items, 3};
	struct expect *e;
	struct expect_match m;
	assert_int_equal(expect_new(&list, &e), 0);
	assert_true(expect_search(e, "xa\0b", 4, 0, &m));
	assert_int_equal(m.start, 1);
	assert_int_equal(m.end, 4);
	/* cleaned output has LF where the terminal had CRLF, so has the string */
	assert_true(expect_search(e, "one\ntwo", 7, 0, &m));
	assert_int_equal(m.end, 7);
	assert_true(expect_search(e, "\r", 1, 0, &m));
	assert_false(expect_search(e, "a", 1, 0, &m));
	assert_false(expect_search(e, "", 0, 0, &m));
	assert_false(expect_search(e, "ab", 2, 2, &m));
	expect_free(e);
	assert_hit("\xE2\x80\xBA ", "fish\xE2\x80\xBA ", 4, 8);
	assert_hit("h.+ \xE2\x80\xBA", "fish \xE2\x80\xBA \xE2\x80\xBA", 3, 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_list),
		cmocka_unit_test(test_literal),
		cmocka_unit_test(test_empty_string_never_hits),
		cmocka_unit_test(test_regex),
		cmocka_unit_test(test_invalid_regex),
		cmocka_unit_test(test_costly_regex),
		cmocka_unit_test(test_earliest),
		cmocka_unit_test(test_growing_text),
		cmocka_unit_test(test_bytes),
	};
	return cmocka_run_group_tests_name("expect", tests, NULL, NULL);
}

/* tests/unit/test_error.c: errors keep what they are given, name their class, and word an errno as Python does. */
#include <crex/error.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_set_add_move_clear(void **state)
{
	(void)state;
	struct crex_error a = CREX_ERROR_INIT, b = CREX_ERROR_INIT;
	assert_int_equal(crex_error_set(&a, CREX_E_COMMAND_TIMEOUT, "timeout after %d seconds", 3), -1);
	assert_string_equal(a.message, "timeout after 3 seconds");
	assert_int_equal(a.message_len, strlen(a.message));
	for (int i = 0; i < CREX_ERROR_EXTRA_MAX + 2; i++)
		crex_error_add(&a, "key", "v\0w", 3);
	assert_int_equal(a.n_extra, CREX_ERROR_EXTRA_MAX);
	assert_memory_equal(a.extra[0].value, "v\0w", 4);
	crex_error_set(&b, CREX_E_OS, "old");
	crex_error_move(&b, &a);
	assert_int_equal(a.code, CREX_OK);
	assert_null(a.message);
	assert_int_equal(b.code, CREX_E_COMMAND_TIMEOUT);
	assert_int_equal(b.n_extra, CREX_ERROR_EXTRA_MAX);
	crex_error_move(&b, &b);
	assert_int_equal(b.code, CREX_E_COMMAND_TIMEOUT);
	crex_error_set(&b, CREX_E_VALUE, "was: %s", b.message); /* its own message may be an argument */
	assert_string_equal(b.message, "was: timeout after 3 seconds");
	assert_int_equal(b.n_extra, 0);
	crex_error_set_bytes(&b, CREX_E_VALUE, "a\0b", 3);
	assert_int_equal(b.message_len, 3);
	assert_memory_equal(b.message, "a\0b", 4);
	crex_error_clear(&b);
	crex_error_clear(&b);
	crex_error_clear(NULL);
	assert_int_equal(crex_error_set(NULL, CREX_E_OS, "nobody listens"), -1);
}

static void test_errno(void **state)
{
	(void)state;
	static const struct {
		int errnum;
		const char *path;
		enum crex_error_code code;
		const char *text;
	} rows[] = {
		{ENOENT, "x", CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: 'x'"},
		{ENOENT, "it's", CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: \"it's\""},
		{ENOENT, "", CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: ''"},
		{ENOENT, "a\nb\t\x01\x7f", CREX_E_FILE_NOT_FOUND,
		 "[Errno 2] No such file or directory: 'a\\nb\\t\\x01\\x7f'"},
		{ENOENT, "it's \"x\"", CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: 'it\\'s \"x\"'"},
		{ENOENT, "a\\b", CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: 'a\\\\b'"},
		{ENOENT, "\xff\xc3\xa9\xc3", CREX_E_FILE_NOT_FOUND,
		 "[Errno 2] No such file or directory: '\\udcff\xc3\xa9\\udcc3'"},
		{EACCES, "/root", CREX_E_PERMISSION, "[Errno 13] Permission denied: '/root'"},
		{EPERM, NULL, CREX_E_PERMISSION, "[Errno 1] Operation not permitted"},
		{EISDIR, "/", CREX_E_IS_A_DIRECTORY, "[Errno 21] Is a directory: '/'"},
		{ENOTDIR, "a", CREX_E_NOT_A_DIRECTORY, "[Errno 20] Not a directory: 'a'"},
		{EEXIST, "a", CREX_E_FILE_EXISTS, "[Errno 17] File exists: 'a'"},
		{ENOSPC, "a", CREX_E_OS, "[Errno 28] No space left on device: 'a'"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct crex_error e = CREX_ERROR_INIT;
		assert_int_equal(crex_error_set_errno(&e, rows[i].errnum, rows[i].path), -1);
		assert_int_equal(e.code, rows[i].code);
		assert_string_equal(e.message, rows[i].text);
		crex_error_clear(&e);
	}
}

static void test_table(void **state)
{
	(void)state;
	for (int i = 1; i < CREX_ERROR_COUNT; i++) {
		const char *path = crex_error_class_path((enum crex_error_code)i);
		/* what a server sends its clients can import; CANCELLED is met by the host side only */
		assert_true(i == CREX_E_CANCELLED || strncmp(path, "swerex.exceptions.", 18) == 0 ||
			    strncmp(path, "builtins.", 9) == 0);
		assert_int_equal(crex_error_http_status((enum crex_error_code)i), 511);
		assert_true(strlen(crex_error_name((enum crex_error_code)i)) > 1);
	}
	assert_string_equal(crex_error_class_path(CREX_E_LOOKUP), "builtins.LookupError");
	assert_string_equal(crex_error_name(CREX_E_COMMAND_TIMEOUT), "COMMAND_TIMEOUT");
	assert_string_equal(crex_error_class_path((enum crex_error_code)999), "swerex.exceptions.SwerexException");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_add_move_clear),
		cmocka_unit_test(test_errno),
		cmocka_unit_test(test_table),
	};
	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}

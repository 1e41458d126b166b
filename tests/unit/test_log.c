/* tests/unit/test_log.c: levels, both formats, escaping, and that a full pipe never blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

static void test_levels(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int level;
	} good[] = {{"debug", 10}, {"INFO", 20},     {"Warn", 30}, {"WARNING", 30},
		    {"error", 40}, {"CRITICAL", 50}, {"15", 15},   {"0", 0}};
	int level;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(log_level_parse(good[i].text, &level), 0);
		assert_int_equal(level, good[i].level);
	}
	static const char *const bad[] = {"", "loud", "-1", "1x", "99999999999"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_true(log_level_parse(bad[i], &level) < 0);
}

static size_t logged(enum log_format format, const char *id, const char *message, char *out, size_t size)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	struct log log = {.fd = fds[1], .level = LOG_LEVEL_INFO, .format = format};
	log_at(&log, LOG_LEVEL_DEBUG, "test", NULL, "never");
	log_at(&log, LOG_LEVEL_WARNING, "test", id, "%s", message);
	ssize_t n = read(fds[0], out, size - 1);
	assert_true(n > 0);
	out[n] = '\0';
	close(fds[0]);
	close(fds[1]);
	return (size_t)n;
}

static void test_text(void **state)
{
	(void)state;
	char line[8192];
	logged(LOG_FORMAT_TEXT, "id\n1", "two\nlines\033[31m", line, sizeof line);
	assert_string_equal(line + 24, " WARNING  test [id\\x0a1]: two\\x0alines\\x1b[31m\n");
	assert_int_equal(line[23], 'Z');
	char longer[8000];
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	size_t n = logged(LOG_FORMAT_TEXT, NULL, longer, line, sizeof line);
	assert_true(n <= 4096);
	assert_int_equal(line[n - 1], '\n');
}

static void test_json(void **state)
{
	(void)state;
	char line[8192], longer[8000];
	memset(longer, '\001', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	const char *messages[] = {"plain", "\"quoted\" \\ and\nmore\t\377", longer};
	for (size_t i = 0; i < 3; i++) {
		size_t n = logged(LOG_FORMAT_JSON, "r\"1", messages[i], line, sizeof line);
		assert_true(n <= 4096);
		json_t *doc = json_loads(line, 0, NULL);
		assert_non_null(doc);
		assert_string_equal(json_string_value(json_object_get(doc, "level")), "WARNING");
		assert_string_equal(json_string_value(json_object_get(doc, "request_id")), "r\"1");
		if (i == 0)
			assert_string_equal(json_string_value(json_object_get(doc, "message")), "plain");
		json_decref(doc);
	}
}

static void test_full_pipe_does_not_block(void **state)
{
	(void)state;
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	struct log log = {.fd = fds[1], .level = 0};
	alarm(20); /* a blocking write would hang here */
	for (int i = 0; i < 5000; i++)
		log_at(&log, LOG_LEVEL_INFO, "test", NULL, "a line that nobody reads, number %d", i);
	alarm(0);
	log_at(NULL, LOG_LEVEL_ERROR, "test", NULL, "silent");
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_text),
					   cmocka_unit_test(test_json),
					   cmocka_unit_test(test_full_pipe_does_not_block)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/unit/test_config.c: configs by table: every kind of field, every kind of mistake, memory running out at each
 * allocation (linked with --wrap). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deploy/config.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sample {
	const char *name, *nick, *secret, *extra;
	const char *const *list;
	int port, count, choice;
	double seconds, wait;
	bool flag;
};

static const char *const choices[] = {"red", "green", NULL};
static const char *const default_list[] = {"a", "b", NULL};
static const struct sample defaults = {"name", NULL, NULL, NULL, default_list, 0, 3, 0, 1.5, CREX_NO_TIMEOUT, true};

#define FIELD(member, kind) #member, kind, offsetof(struct sample, member)
static const struct config_field fields[] = {
	{FIELD(name, CONFIG_STRING), true, false, NULL},
	{FIELD(nick, CONFIG_STRING_OR_NULL), false, false, NULL},
	{FIELD(secret, CONFIG_STRING_OR_NULL), false, true, NULL},
	{FIELD(extra, CONFIG_JSON), false, false, NULL},
	{FIELD(list, CONFIG_STRINGS), false, false, NULL},
	{FIELD(port, CONFIG_PORT), false, false, NULL},
	{FIELD(count, CONFIG_INT), false, false, NULL},
	{FIELD(choice, CONFIG_CHOICE), false, false, choices},
	{FIELD(seconds, CONFIG_SECONDS), false, false, NULL},
	{FIELD(wait, CONFIG_SECONDS_OR_NULL), false, false, NULL},
	{FIELD(flag, CONFIG_BOOL), false, false, NULL},
};
static const struct config_schema schema = {"sample", fields, sizeof fields / sizeof *fields, sizeof(struct sample)};

/* ---- allocations that fail ---- */

static int fail_at; /* the n-th from now on; 0: none */

static bool fails(void)
{
	return fail_at > 0 && --fail_at == 0;
}

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

char *__real_json_dumps(const json_t *json, size_t flags);
char *__wrap_json_dumps(const json_t *json, size_t flags);
char *__wrap_json_dumps(const json_t *json, size_t flags)
{
	return fails() ? NULL : __real_json_dumps(json, flags);
}

static int read_text(const char *text, struct sample *cfg, struct crex_error *err)
{
	json_error_t problem;
	json_t *obj = json_loads(text, JSON_ALLOW_NUL, &problem);
	if (!obj)
		fail_msg("%s: %s", text, problem.text);
	int r = config_read(&schema, obj, cfg, err);
	json_decref(obj); /* what was read holds nothing of it */
	return r;
}

static const char full[] =
	"{\"type\":\"sample\",\"name\":\"n\",\"nick\":\"k\",\"secret\":\"s\",\"extra\":{\"a\":[1, 2]},"
	"\"list\":[\"x\",\"\",\"z\"],\"port\":65535,\"count\":0,\"choice\":\"green\",\"seconds\":0.25,"
	"\"wait\":3,\"flag\":false}";

static void test_all_kinds(void **state)
{
	(void)state;
	struct sample cfg;
	memcpy(&cfg, &defaults, sizeof cfg);
	assert_int_equal(read_text(full, &cfg, NULL), 0);
	assert_string_equal(cfg.name, "n");
	assert_string_equal(cfg.nick, "k");
	assert_string_equal(cfg.secret, "s");
	assert_string_equal(cfg.extra, "{\"a\":[1,2]}");
	assert_string_equal(cfg.list[0], "x");
	assert_string_equal(cfg.list[1], "");
	assert_string_equal(cfg.list[2], "z");
	assert_null(cfg.list[3]);
	assert_true(cfg.port == 65535 && cfg.count == 0 && cfg.choice == 1 && !cfg.flag);
	assert_true(cfg.seconds == 0.25 && cfg.wait == 3);
	config_deinit(&schema, &cfg);
	assert_true(!cfg.name && !cfg.list && !cfg.extra);
	config_deinit(&schema, &cfg);
}

static void test_defaults_and_nulls(void **state)
{
	(void)state;
	struct sample cfg;
	memcpy(&cfg, &defaults, sizeof cfg);
	assert_int_equal(read_text("{\"name\":\"n\"}", &cfg, NULL), 0);
	assert_string_equal(cfg.list[1], "b");
	assert_ptr_not_equal(cfg.list, default_list);
	assert_true(cfg.count == 3 && cfg.flag && cfg.wait < 0 && cfg.port == 0);
	config_deinit(&schema, &cfg);
	cfg = defaults;
	cfg.wait = 5;
	cfg.nick = "default";
	assert_int_equal(
		read_text("{\"name\":\"n\",\"nick\":null,\"list\":null,\"extra\":null,\"port\":null,\"wait\":null}",
			  &cfg, NULL),
		0);
	assert_true(!cfg.nick && !cfg.list && !cfg.extra && cfg.port == 0 && cfg.wait < 0);
	config_deinit(&schema, &cfg);
	cfg = defaults;
	assert_int_equal(read_text("{\"name\":\"n\",\"list\":[]}", &cfg, NULL), 0);
	assert_null(cfg.list);
	config_deinit(&schema, &cfg);
}

static void test_mistakes(void **state)
{
	(void)state;
	static const struct {
		const char *json, *says;
	} rows[] = {
		{"{}", "sample: field 'name' is required"},
		{"{\"name\":\"\"}", "sample: field 'name' must be a string that is not empty"},
		{"{\"name\":null}", "'name'"},
		{"{\"name\":\"a\\u0000b\"}", "'name'"},
		{"{\"name\":\"n\",\"nik\":1}", "unknown field 'nik', did you mean 'nick'?"},
		{"{\"name\":\"n\",\"quite_something_else\":1}", "unknown field 'quite_something_else'"},
		{"{\"name\":\"n\",\"\":1}", "unknown field ''"},
		{"{\"name\":\"n\",\"nick\":1}", "'nick' must be a string or null"},
		{"{\"name\":\"n\",\"nick\":\"a\\u0000\"}", "'nick'"},
		{"{\"name\":\"n\",\"extra\":[]}", "'extra' must be an object or null"},
		{"{\"name\":\"n\",\"extra\":{\"a\":1},\"flag\":7}", "'flag' must be true or false"},
		{"{\"name\":\"n\",\"list\":\"x\"}", "'list' must be a list of strings"},
		{"{\"name\":\"n\",\"list\":[\"x\",null]}", "'list'"},
		{"{\"name\":\"n\",\"list\":[\"a\\u0000\"]}", "'list'"},
		{"{\"name\":\"n\",\"list\":[\"x\"],\"flag\":null}", "'flag'"},
		{"{\"name\":\"n\",\"port\":0}", "'port' must be a port from 1 to 65535, or null"},
		{"{\"name\":\"n\",\"port\":65536}", "'port'"},
		{"{\"name\":\"n\",\"port\":1.0}", "'port'"},
		{"{\"name\":\"n\",\"port\":true}", "'port'"},
		{"{\"name\":\"n\",\"count\":-1}", "'count' must be a whole number, 0 or more"},
		{"{\"name\":\"n\",\"count\":2147483648}", "'count'"},
		{"{\"name\":\"n\",\"count\":null}", "'count'"},
		{"{\"name\":\"n\",\"choice\":\"blue\"}", "'choice' must be one of \"red\", \"green\""},
		{"{\"name\":\"n\",\"choice\":0}", "'choice'"},
		{"{\"name\":\"n\",\"seconds\":0}", "'seconds' must be a number of seconds above 0"},
		{"{\"name\":\"n\",\"seconds\":null}", "'seconds'"},
		{"{\"name\":\"n\",\"wait\":-1}", "'wait' must be a number of seconds above 0, or null"},
		{"{\"name\":\"n\",\"wait\":0}", "'wait'"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct crex_error err = CREX_ERROR_INIT;
		struct sample cfg;
		memcpy(&cfg, &defaults, sizeof cfg);
		int r = read_text(rows[i].json, &cfg, &err);
		if (r != -1 || err.code != CREX_E_CONFIG || !strstr(err.message, rows[i].says))
			fail_msg("%s: %s", rows[i].json, err.message ? err.message : "accepted");
		assert_memory_equal(&cfg, &defaults, sizeof cfg);
		crex_error_clear(&err);
	}
}

/* A struct that a program has filled is held to the same. */
static void test_values_of_structs(void **state)
{
	(void)state;
	struct sample dst, good = defaults;
	assert_int_equal(config_copy(&schema, &good, &dst, NULL), 0);
	config_deinit(&schema, &dst);
	struct sample bad[9];
	for (size_t i = 0; i < 9; i++)
		bad[i] = good;
	bad[0].name = NULL;
	bad[1].name = "";
	bad[2].port = -1;
	bad[3].port = 65536;
	bad[4].count = -1;
	bad[5].choice = 2;
	bad[6].choice = -1;
	bad[7].seconds = NAN;
	bad[8].wait = INFINITY;
	for (size_t i = 0; i < 9; i++) {
		struct crex_error err = CREX_ERROR_INIT;
		assert_int_equal(config_copy(&schema, &bad[i], &dst, &err), -1);
		assert_int_equal(err.code, CREX_E_CONFIG);
		crex_error_clear(&err);
	}
}

static void test_long_names(void **state)
{
	(void)state;
	char json[300];
	struct crex_error err = CREX_ERROR_INIT;
	struct sample cfg;
	memcpy(&cfg, &defaults, sizeof cfg);
	snprintf(json, sizeof json, "{\"name\":\"n\",\"%0200d\":1}", 0);
	assert_int_equal(read_text(json, &cfg, &err), -1);
	assert_int_equal(err.code, CREX_E_CONFIG);
	assert_null(strstr(err.message, "did you mean"));
	crex_error_clear(&err);
}

static void test_no_memory(void **state)
{
	(void)state;
	json_t *obj = json_loads(full, 0, NULL);
	for (int n = 1;; n++) {
		struct crex_error err = CREX_ERROR_INIT;
		struct sample cfg;
		memcpy(&cfg, &defaults, sizeof cfg);
		fail_at = n;
		int r = config_read(&schema, obj, &cfg, &err);
		bool reached = fail_at == 0;
		fail_at = 0;
		if (r == 0) {
			config_deinit(&schema, &cfg);
			crex_error_clear(&err);
			if (reached)
				fail_msg("allocation %d failed unnoticed", n);
			assert_true(n > 8);
			break;
		}
		assert_int_equal(err.code, CREX_E_MEMORY);
		assert_memory_equal(&cfg, &defaults, sizeof cfg);
		crex_error_clear(&err);
	}
	json_decref(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kinds),  cmocka_unit_test(test_defaults_and_nulls),
		cmocka_unit_test(test_mistakes),   cmocka_unit_test(test_values_of_structs),
		cmocka_unit_test(test_long_names), cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}

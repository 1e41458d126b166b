/* tests/unit/test_options.c: the command line, the token's ways in and out; and that the manual page and the OpenAPI
 * document say what the tables say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/options.h"
#include "server/routes.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *no_env(const char *name)
{
	(void)name;
	return NULL;
}

static char *some_env(const char *name)
{
	static char token[] = "from-env", level[] = "ERROR", host_timeout[] = "2.5";
	if (strcmp(name, "SWEREX_HOST_TIMEOUT") == 0)
		return host_timeout;
	if (strcmp(name, "SWEREX_AUTH_TOKEN") == 0)
		return token;
	return strcmp(name, "SWE_REX_LOG_STREAM_LEVEL") == 0 ? level : NULL;
}

static enum options_result parse_within(uint64_t memory, struct options *opt, char *(*env)(const char *),
					const char *const *args)
{
	char *argv[16] = {(char *)"swerex-remote"};
	int argc = 1;
	for (; args[argc - 1]; argc++)
		argv[argc] = (char *)args[argc - 1];
	struct buf error;
	buf_init(&error, 4096);
	enum options_result r = options_parse(opt, argc, argv, env, memory, &error);
	assert_int_equal(r == OPTIONS_BAD, error.len > 0);
	if (error.len > 0)
		assert_null(strchr(error.data, '\n'));
	buf_deinit(&error);
	return r;
}

static enum options_result parse(struct options *opt, char *(*env)(const char *), const char *const *args)
{
	return parse_within(UINT64_MAX, opt, env, args);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Defaults shrink with the sandbox; what is given does not. */
static void test_memory(void **state)
{
	(void)state;
	struct options o;
	assert_int_equal(parse_within(240 << 20, &o, no_env, ARGS("--auth-token", "T")), OPTIONS_RUN);
	assert_int_equal(o.max_output, 10 << 20);
	assert_int_equal(o.max_file, 10 << 20);
	assert_int_equal(o.max_body, 15 << 20);
	assert_int_equal(o.max_backlog, 60 << 20);
	assert_int_equal(o.idempotency_bytes, 15 << 20);
	options_deinit(&o);
	assert_int_equal(parse_within(240 << 20, &o, no_env, ARGS("--auth-token", "T", "--max-output", "64M")),
			 OPTIONS_RUN);
	assert_int_equal(o.max_output, 64 << 20);
	options_deinit(&o);
	assert_int_equal(parse_within(1, &o, no_env, ARGS("--auth-token", "T")), OPTIONS_RUN);
	assert_int_equal(o.max_output, 65536);
	options_deinit(&o);
}

static void test_good(void **state)
{
	(void)state;
	struct options o;
	assert_int_equal(parse(&o, no_env, ARGS("--auth-token", "T")), OPTIONS_RUN);
	assert_string_equal(o.token, "T");
	assert_string_equal(o.host, "0.0.0.0");
	assert_int_equal(o.port, 8000);
	assert_int_equal(o.idle_timeout_ms, 120000);
	assert_int_equal(o.host_timeout_ms, 0);
	assert_int_equal(o.header_timeout_ms, 20000);
	assert_int_equal(o.min_rate, 512);
	assert_int_equal(o.level, LOG_LEVEL_INFO);
	options_deinit(&o);
	assert_int_equal(parse(&o, some_env,
			       ARGS("--auth-token=", "--port=0", "--host", "::1", "--max-body", "3k", "--idle-timeout",
				    "1.5", "--log-format=json", "--no-guardian")),
			 OPTIONS_RUN);
	assert_string_equal(o.token, "");
	assert_int_equal(o.port, 0);
	assert_int_equal(o.max_body, 3072);
	assert_int_equal(o.idle_timeout_ms, 1500);
	assert_int_equal(o.format, LOG_FORMAT_JSON);
	assert_int_equal(o.level, LOG_LEVEL_ERROR);
	assert_true(o.no_guardian);
	options_deinit(&o);
	assert_int_equal(parse(&o, some_env, ARGS("--port", "1")), OPTIONS_RUN);
	assert_string_equal(o.token, "from-env");
	assert_int_equal(o.host_timeout_ms, 2500);
	options_deinit(&o);
	assert_int_equal(parse(&o, some_env, ARGS("--host-timeout", "0")), OPTIONS_RUN);
	assert_int_equal(o.host_timeout_ms, 0);
	options_deinit(&o);
	assert_int_equal(parse(&o, no_env, ARGS("--version")), OPTIONS_VERSION);
	options_deinit(&o);
	assert_int_equal(parse(&o, no_env, ARGS("-v")), OPTIONS_VERSION);
	options_deinit(&o);
	assert_int_equal(parse(&o, no_env, ARGS("--help")), OPTIONS_HELP);
	options_deinit(&o);
}

static void test_bad(void **state)
{
	(void)state;
	static const char *const bad[][5] = {
		{"--port", "1"}, /* no token */
		{"--auth-token"},
		{"--auth-token", "T", "--port", "65536"},
		{"--auth-token", "T", "--port", "x"},
		{"--auth-token", "T", "--port", "-1"},
		{"--auth-token", "T", "--max-body", "1T"},
		{"--auth-token", "T", "--max-body", "99999999999999999999"},
		{"--auth-token", "T", "--max-body", "1"},
		{"--auth-token", "T", "--idle-timeout", "nan"},
		{"--auth-token", "T", "--unknown"},
		{"--auth-token", "T", "stray"},
		{"--auth-token", "T", "--version"},
		{"--version", "--auth-token", "T"},
		{"--auth-token", "T", "--no-guardian=1"},
		{"--auth-token", "T", "--log-level", "loud"},
		{"--auth-token", "T", "--log-format", "xml"},
		{"--auth-token-file", "/nowhere/at/all"},
		{"--auth-token-file", "/dev/null"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct options o;
		if (parse(&o, no_env, bad[i]) != OPTIONS_BAD)
			fail_msg("row %zu was taken", i);
		options_deinit(&o);
	}
}

static void test_token_file(void **state)
{
	(void)state;
	char name[] = "/tmp/test-options-XXXXXX";
	int fd = mkstemp(name);
	assert_int_equal(write(fd, "from-file\r\n\n", 12), 12);
	close(fd);
	struct options o;
	assert_int_equal(parse(&o, some_env, ARGS("--auth-token-file", name)), OPTIONS_RUN);
	assert_string_equal(o.token, "from-file");
	options_deinit(&o);
	assert_int_equal(parse(&o, some_env, ARGS("--auth-token-file", name, "--auth-token", "T")), OPTIONS_RUN);
	assert_string_equal(o.token, "T");
	options_deinit(&o);
	unlink(name);
}

static void test_scrub(void **state)
{
	(void)state;
	char a[] = "secret", b[] = "--auth-token=secret", e[] = "SWEREX_AUTH_TOKEN=secret", other[] = "HOME=/secret";
	char *argv[] = {(char *)"x", (char *)"--auth-token", a, b, NULL}, *envp[] = {other, e, NULL};
	options_scrub(4, argv, envp);
	assert_string_equal(a, "******");
	assert_string_equal(b, "--auth-token=******");
	assert_string_equal(e, "SWEREX_AUTH_TOKEN=");
	assert_string_equal(other, "HOME=/secret");
}

static char *read_source(const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", SOURCE_ROOT, name);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	char *text = calloc(1, 1 << 20);
	assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
	fclose(f);
	return text;
}

static void test_manual_names_every_option(void **state)
{
	(void)state;
	char *page = read_source("man/swerex-remote.1");
	for (size_t i = 0; options_name(i); i++) {
		char wanted[64] = ".BR \\-\\-";
		if (strcmp(options_name(i), "--print-routes") == 0)
			continue;
		char *at = wanted + strlen(wanted);
		for (const char *c = options_name(i) + 2; *c; c++) {
			if (*c == '-')
				*at++ = '\\';
			*at++ = *c;
		}
		if (!strstr(page, wanted + 4))
			fail_msg("%s is not in the manual page", options_name(i));
	}
	free(page);
}

static void test_openapi_is_the_routes(void **state)
{
	(void)state;
	char *text = read_source("docs/openapi.json");
	json_t *doc = json_loads(text, 0, NULL), *paths = json_object_get(doc, "paths");
	free(text);
	assert_non_null(paths);
	assert_int_equal(json_object_size(paths), routes_count);
	for (size_t i = 0; i < routes_count; i++) {
		json_t *path = json_object_get(paths, routes[i].path);
		if (!path)
			fail_msg("%s is not in openapi.json", routes[i].path);
		assert_int_equal(json_object_size(path), 1);
		assert_non_null(json_object_get(path, strcmp(routes[i].method, "GET") == 0 ? "get" : "post"));
	}
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_token_file),
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_manual_names_every_option),
		cmocka_unit_test(test_openapi_is_the_routes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

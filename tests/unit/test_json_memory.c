/* tests/unit/test_json_memory.c: a parse that runs out of memory, at each of its allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/json_memory.h"
#include <stdlib.h>
#include <string.h>

static long calls, fail_at = -1, live;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	if (calls++ == fail_at)
		return NULL;
	void *p = __real_malloc(size);
	live += p != NULL;
	return p;
}

void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p)
{
	live -= p != NULL;
	__real_free(p);
}

/* A long string in several of the steps in which a token's buffer grows, and every kind of value. */
static char *document(void)
{
	enum { LONG = 300000 };
	static const char head[] = "{\"command\":\"",
			  tail[] = "\\u00e9\",\"list\":[1,-2.5e3,true,false,null,\"s\",{\"a\":{\"a\":[]}}]}";
	char *text = malloc(sizeof head + LONG + sizeof tail);
	memcpy(text, head, sizeof head - 1);
	memset(text + sizeof head - 1, 'x', LONG);
	memcpy(text + sizeof head - 1 + LONG, tail, sizeof tail);
	return text;
}

static void each_allocation(void **state)
{
	(void)state;
	char *text = document();
	size_t len = strlen(text);
	long before = live, n = 0;
	json_t *root = NULL;
	for (; !root && n < 10000; n++) {
		json_error_t error;
		calls = 0;
		fail_at = n;
		root = json_memory_load(text, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
		fail_at = -1;
		if (!root) {
			assert_int_equal(json_error_code(&error), json_error_out_of_memory);
			assert_int_equal(live, before);
		}
	}
	assert_true(n > 20);
	assert_int_equal(json_string_length(json_object_get(root, "command")), 300002);
	assert_int_equal(json_array_size(json_object_get(root, "list")), 7);
	json_decref(root);
	assert_int_equal(live, before);
	free(text);
}

/* Values outlive their parse, and are freed during and after others. */
static void documents_beside_each_other(void **state)
{
	(void)state;
	json_error_t error;
	long before = live;
	json_t *a = json_memory_load("{\"k\":[1,2]}", 11, 0, &error), *b = json_memory_load("[3]", 3, 0, &error);
	assert_non_null(a);
	assert_non_null(b);
	json_decref(a);
	assert_null(json_memory_load("[4,", 3, 0, &error));
	assert_int_equal(json_error_code(&error), json_error_premature_end_of_input);
	fail_at = calls + 2;
	assert_null(json_memory_load("[5,6]", 5, 0, &error));
	fail_at = calls;
	assert_null(json_string("outside of a parse it is told as ever"));
	fail_at = -1;
	assert_int_equal(json_integer_value(json_array_get(b, 0)), 3);
	json_decref(b);
	assert_int_equal(live, before);
}

int main(void)
{
	json_memory_install();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation),
		cmocka_unit_test(documents_beside_each_other),
	};
	return cmocka_run_group_tests_name("json_memory", tests, NULL, NULL);
}

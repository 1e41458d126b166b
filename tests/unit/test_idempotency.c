/* tests/unit/test_idempotency.c: the store of replies: joining, repeating, and its three bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/auth.h"
#include "server/idempotency.h"
#include "server/routes.h"

#include <stdio.h>
#include <string.h>

static struct idem_key key_of(int route, const char *id, const char *body)
{
	return (struct idem_key){&routes[route], {id, strlen(id)}, {body, strlen(body)}};
}

static enum idem_outcome begin(struct idem *s, const char *id, const char *body, uint64_t now, struct idem_entry **e,
			       struct http_content **c)
{
	struct idem_key key = key_of(2, id, body);
	int status = 0;
	return idem_begin(s, &key, now, e, c, &status);
}

static void finish(struct idem *s, struct idem_entry *e, const char *text, uint64_t now)
{
	struct http_content *c = http_content_new(1 << 20);
	assert_int_equal(buf_append_str(&c->body, text), 0);
	idem_finish(s, e, 200, c, now);
	http_content_unref(c);
}

static void test_new_pending_stored(void **state)
{
	(void)state;
	struct idem *s = idem_new(&(struct idem_config){10, 1 << 20, 1000});
	struct idem_entry *e, *again;
	struct http_content *c = NULL;
	assert_int_equal(begin(s, "a", "x", 0, &e, &c), IDEM_NEW);
	assert_int_equal(begin(s, "a", "x", 1, &again, &c), IDEM_PENDING);
	assert_ptr_equal(e, again);
	assert_int_equal(begin(s, "a", "y", 1, &again, &c), IDEM_NEW); /* another body: another request */
	finish(s, again, "other", 1);
	finish(s, e, "reply", 2);
	assert_int_equal(begin(s, "a", "x", 3, &e, &c), IDEM_STORED);
	assert_string_equal(c->body.data, "reply");
	struct idem_key elsewhere = key_of(3, "a", "x");
	int status;
	assert_int_equal(idem_begin(s, &elsewhere, 3, &e, &c, &status), IDEM_NEW);
	assert_null(idem_free(s)); /* with a pending one */
	assert_null(idem_free(NULL));
}

static void test_count_is_bounded(void **state)
{
	(void)state;
	struct idem *s = idem_new(&(struct idem_config){100, 1 << 20, 1000});
	struct idem_entry *e;
	struct http_content *c;
	char id[16];
	for (int i = 0; i < 5000; i++) {
		snprintf(id, sizeof id, "%d", i);
		assert_int_equal(begin(s, id, "", 0, &e, &c), IDEM_NEW);
		finish(s, e, id, 0);
		assert_int_equal(begin(s, "0", "", 0, &e, &c), IDEM_STORED); /* what is used stays */
		assert_true(idem_count(s) <= 100);
	}
	assert_int_equal(begin(s, "4999", "", 0, &e, &c), IDEM_STORED);
	assert_string_equal(c->body.data, "4999");
	assert_int_equal(begin(s, "4800", "", 0, &e, &c), IDEM_NEW);
	idem_free(s);
}

static void test_relief(void **state)
{
	(void)state;
	struct idem *s = idem_new(&(struct idem_config){100, 1 << 20, 1000});
	struct idem_entry *e;
	struct http_content *c = NULL;
	char big[6000];
	memset(big, 'x', sizeof big);
	big[sizeof big - 1] = '\0';
	for (const char *id = "abcdef"; *id; id++) {
		char name[2] = {*id, '\0'};
		assert_int_equal(begin(s, name, "", 0, &e, &c), IDEM_NEW);
		finish(s, e, *id % 2 ? big : "small", 0);
	}
	assert_true(idem_bytes(s) > 3 * sizeof big);
	for (int i = 0; i < 2; i++) {
		idem_relieve(s);
		assert_int_equal(idem_count(s), 6);
		assert_true(idem_bytes(s) < sizeof big);
		assert_int_equal(begin(s, "a", "", 0, &e, &c), IDEM_STORED);
		assert_non_null(strstr(c->body.data, "has run already"));
		assert_int_equal(begin(s, "b", "", 0, &e, &c), IDEM_STORED);
		assert_string_equal(c->body.data, "small");
	}
	idem_free(s);
}

static void test_bytes_and_age(void **state)
{
	(void)state;
	struct idem *s = idem_new(&(struct idem_config){100, 4096, 1000});
	struct idem_entry *e;
	struct http_content *c = NULL;
	char big[6000];
	memset(big, 'x', sizeof big);
	big[sizeof big - 1] = '\0';
	assert_int_equal(begin(s, "big", "", 0, &e, &c), IDEM_NEW);
	finish(s, e, big, 0);
	assert_int_equal(begin(s, "big", "", 0, &e, &c), IDEM_STORED); /* never run twice */
	assert_non_null(strstr(c->body.data, "has run already"));
	for (int i = 0; i < 50; i++) {
		char id[16];
		snprintf(id, sizeof id, "%d", i);
		assert_int_equal(begin(s, id, "", 0, &e, &c), IDEM_NEW);
		finish(s, e, "0123456789", 0);
		assert_true(idem_bytes(s) <= 4096);
	}
	assert_int_equal(begin(s, "49", "", 900, &e, &c), IDEM_STORED);
	assert_int_equal(begin(s, "48", "", 1001, &e, &c), IDEM_NEW);
	assert_int_equal(begin(s, "49", "", 1001, &e, &c), IDEM_STORED); /* its age counts from 900 */
	idem_free(s);
}

static void test_tokens(void **state)
{
	(void)state;
	assert_int_equal(auth_check("", (struct crex_str){NULL, 0}), AUTH_OK);
	assert_int_equal(auth_check("t", (struct crex_str){NULL, 0}), AUTH_MISSING);
	assert_int_equal(auth_check("tt", (struct crex_str){"tt", 2}), AUTH_OK);
	assert_int_equal(auth_check("tt", (struct crex_str){"tttt", 4}), AUTH_WRONG);
	assert_int_equal(auth_check("tt", (struct crex_str){"t", 1}), AUTH_WRONG);
	assert_int_equal(auth_check("tt", (struct crex_str){"", 0}), AUTH_WRONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_pending_stored),
		cmocka_unit_test(test_count_is_bounded),
		cmocka_unit_test(test_relief),
		cmocka_unit_test(test_bytes_and_age),
		cmocka_unit_test(test_tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

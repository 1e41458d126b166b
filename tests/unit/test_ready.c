/* tests/unit/test_ready.c: waiting for a server, and telling it that its host is there, with a runtime that answers as
 * it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deploy/heartbeat.h"
#include "deploy/ready.h"
#include <crex/interface.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct fake {
	struct crex_runtime base;
	atomic_int asked;
	int alive_from;		    /* the question that is answered with yes; 0: never */
	enum crex_error_code fails; /* every question fails so; CREX_OK: none does */
	bool deaf;		    /* no answer before the question's own end */
	atomic_int signals_open;    /* the asking thread takes signals */
};

static int fake_is_alive(struct crex_runtime *rt, const struct crex_call *call, struct crex_is_alive *ret,
			 struct crex_error *err)
{
	struct fake *f = (struct fake *)rt;
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	f->signals_open += !sigismember(&mask, SIGTERM);
	int n = ++f->asked;
	struct deadline d;
	deadline_begin(&d, call);
	if (f->deaf)
		return deadline_poll(&d, NULL, 0, err);
	if (f->fails)
		return crex_error_set(err, f->fails, "as told");
	ret->is_alive = f->alive_from && n >= f->alive_from;
	ret->message = strdup(ret->is_alive ? "" : "still asleep");
	return 0;
}

static const struct crex_runtime_ops fake_ops = {.type = "fake", .is_alive = fake_is_alive};

static struct deadline within(double seconds)
{
	struct deadline d;
	deadline_begin(&d, &(struct crex_call){seconds, NULL});
	return d;
}

static void test_ready_in_time(void **state)
{
	(void)state;
	struct fake f = {.base.ops = &fake_ops, .alive_from = 4};
	struct crex_error err = CREX_ERROR_INIT;
	const struct deadline d = within(20);
	assert_int_equal(wait_until_ready(&f.base, &d, NULL, NULL, &err), 0);
	assert_int_equal(f.asked, 4);
	assert_int_equal(err.code, CREX_OK);
}

static void test_never_ready(void **state)
{
	(void)state;
	struct fake f = {.base.ops = &fake_ops};
	struct crex_error err = CREX_ERROR_INIT;
	const struct deadline d = within(0.2);
	assert_int_equal(wait_until_ready(&f.base, &d, NULL, NULL, &err), -1);
	assert_int_equal(err.code, CREX_E_DEPLOYMENT_STARTUP);
	assert_non_null(strstr(err.message, "still asleep"));
	assert_true(f.asked > 3);
	crex_error_clear(&err);
}

static void test_deaf(void **state)
{
	(void)state;
	struct fake f = {.base.ops = &fake_ops, .deaf = true};
	struct crex_error err = CREX_ERROR_INIT;
	const struct deadline d = within(0.1);
	assert_int_equal(wait_until_ready(&f.base, &d, NULL, NULL, &err), -1);
	assert_int_equal(err.code, CREX_E_DEPLOYMENT_STARTUP);
	crex_error_clear(&err);
}

static void test_hopeless(void **state)
{
	(void)state;
	struct fake f = {.base.ops = &fake_ops, .fails = CREX_E_AUTHENTICATION};
	struct crex_error err = CREX_ERROR_INIT;
	const struct deadline d = within(20);
	assert_int_equal(wait_until_ready(&f.base, &d, NULL, NULL, &err), -1);
	assert_int_equal(err.code, CREX_E_AUTHENTICATION);
	assert_int_equal(f.asked, 1);
	crex_error_clear(&err);
}

static void test_called_off(void **state)
{
	(void)state;
	struct fake f = {.base.ops = &fake_ops};
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_cancel *cancel = crex_cancel_new(NULL);
	struct deadline d = within(20);
	d.cancel = cancel;
	crex_cancel_trigger(cancel);
	assert_int_equal(wait_until_ready(&f.base, &d, NULL, NULL, &err), -1);
	assert_int_equal(err.code, CREX_E_CANCELLED);
	crex_cancel_free(cancel);
	crex_error_clear(&err);
}

static int has_died(void *arg, struct crex_error *err)
{
	int *left = arg;
	return --*left == 0 ? crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "it has died") : 0;
}

static void test_sandbox_dies(void **state)
{
	(void)state;
	struct fake f = {.base.ops = &fake_ops};
	struct crex_error err = CREX_ERROR_INIT;
	const struct deadline d = within(20);
	int left = 3;
	assert_int_equal(wait_until_ready(&f.base, &d, has_died, &left, &err), -1);
	assert_string_equal(err.message, "it has died");
	assert_int_equal(f.asked, 3);
	crex_error_clear(&err);
}

static void wait_for(const atomic_int *n, int wanted)
{
	struct deadline d = within(20);
	while (*n < wanted)
		assert_int_equal(deadline_pause(&d, 0.002, NULL), 0);
}

static void test_heartbeat(void **state)
{
	(void)state;
	struct fake f = {.base.ops = &fake_ops, .fails = CREX_E_CONNECTION};
	struct heartbeat *h = heartbeat_start(&f.base, 0.01, NULL);
	assert_non_null(h);
	wait_for(&f.asked, 3); /* whatever is answered */
	assert_null(heartbeat_stop(h));
	int asked = f.asked;
	struct deadline d = within(CREX_NO_TIMEOUT);
	deadline_pause(&d, 0.05, NULL);
	assert_int_equal(f.asked, asked);
	assert_int_equal(f.signals_open, 0); /* they are the program's */
	assert_null(heartbeat_stop(NULL));
}

/* The stop doesn't wait for the next beat, nor for a question that nobody answers. */
static void test_heartbeat_stops_at_once(void **state)
{
	(void)state;
	struct fake f = {.base.ops = &fake_ops}, deaf = {.base.ops = &fake_ops, .deaf = true};
	double begin = clock_now();
	heartbeat_stop(heartbeat_start(&f.base, 60, NULL));
	assert_true(f.asked <= 1);
	struct heartbeat *h = heartbeat_start(&deaf.base, 0.01, NULL);
	wait_for(&deaf.asked, 1);
	heartbeat_stop(h);
	assert_true(clock_now() - begin < 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ready_in_time), cmocka_unit_test(test_never_ready),
		cmocka_unit_test(test_deaf),	      cmocka_unit_test(test_hopeless),
		cmocka_unit_test(test_called_off),    cmocka_unit_test(test_sandbox_dies),
		cmocka_unit_test(test_heartbeat),     cmocka_unit_test(test_heartbeat_stops_at_once),
	};
	return cmocka_run_group_tests_name("ready", tests, NULL, NULL);
}

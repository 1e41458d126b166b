/* tests/unit/test_deadline.c: waiting with an end, and being called off: from threads, signal handlers, parents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/deadline.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

static struct crex_cancel *_Atomic handler_cancel;
static atomic_int handler_runs;

static void on_signal(int signum)
{
	(void)signum;
	int before = errno;
	struct crex_cancel *cancel = handler_cancel;
	errno = 4711;
	if (cancel && ++handler_runs == 5)
		crex_cancel_trigger(cancel);
	if (errno != 4711)
		abort();
	errno = before;
}

/* A signal every 5 ms: each poll is interrupted, the fifth handler calls off. */
static void rain_signals(bool on)
{
	struct sigaction act = {.sa_handler = on ? on_signal : SIG_DFL}; /* no SA_RESTART */
	const struct itimerval often = {{0, on ? 5000 : 0}, {0, on ? 5000 : 0}};
	if (!on)
		setitimer(ITIMER_REAL, &often, NULL);
	sigaction(SIGALRM, &act, NULL);
	if (on)
		setitimer(ITIMER_REAL, &often, NULL);
}

static void test_cancel_in_signal_handler(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_cancel *cancel = crex_cancel_new(&err);
	struct deadline d;
	deadline_begin(&d, &(struct crex_call){30, cancel});
	handler_runs = 0;
	handler_cancel = cancel;
	rain_signals(true);
	int r = deadline_poll(&d, NULL, 0, &err);
	rain_signals(false);
	handler_cancel = NULL;
	assert_int_equal(r, -1);
	assert_int_equal(err.code, CREX_E_CANCELLED);
	assert_true(handler_runs >= 5);
	crex_cancel_trigger(cancel); /* stays what it is */
	assert_true(crex_cancel_is_triggered(cancel));
	crex_cancel_free(cancel);
	crex_error_clear(&err);
}

static void test_interrupted_waits_go_on(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct deadline d;
	double begin = clock_now();
	deadline_begin(&d, &(struct crex_call){0.1, NULL});
	rain_signals(true);
	int r = deadline_poll(&d, NULL, 0, &err);
	rain_signals(false);
	assert_int_equal(r, -1);
	assert_int_equal(err.code, CREX_E_DEADLINE);
	assert_true(clock_now() - begin >= 0.1);
	crex_error_clear(&err);
}

static void test_limits(void **state)
{
	(void)state;
	struct deadline d;
	deadline_begin(&d, NULL);
	assert_true(deadline_left(&d) == CREX_NO_TIMEOUT);
	assert_true(deadline_rest(&d).timeout == CREX_NO_TIMEOUT);
	assert_int_equal(deadline_check(&d, NULL), 0);
	deadline_limit(&d, -1);
	deadline_limit(&d, NAN);
	deadline_limit(&d, INFINITY);
	assert_true(deadline_left(&d) == CREX_NO_TIMEOUT);
	deadline_limit(&d, 1e9);
	assert_true(deadline_left(&d) > 9e8);
	deadline_limit(&d, 50);
	deadline_limit(&d, 100); /* never longer than it was */
	assert_true(deadline_left(&d) <= 50 && deadline_left(&d) > 40);
	assert_true(deadline_rest(&d).timeout <= 50);
	deadline_limit(&d, 0);
	assert_true(deadline_left(&d) == 0);
	assert_int_equal(deadline_check(&d, NULL), -1);
}

static void test_poll(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_cancel *cancel = crex_cancel_new(NULL);
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	struct pollfd p[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = -1}};
	struct deadline d;
	deadline_begin(&d, &(struct crex_call){0, cancel});
	assert_int_equal(deadline_poll(&d, p, 2, &err), -1);
	assert_int_equal(err.code, CREX_E_DEADLINE);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(deadline_poll(&d, p, 2, &err), 1); /* what is there already is taken, even too late */
	assert_int_equal(p[0].revents, POLLIN);
	crex_cancel_trigger(cancel);
	assert_int_equal(deadline_poll(&d, p, 2, &err), -1);
	assert_int_equal(err.code, CREX_E_CANCELLED);
	assert_int_equal(deadline_check(&d, NULL), -1);
	close(fds[0]);
	close(fds[1]);
	crex_cancel_free(cancel);
	crex_error_clear(&err);
}

static void test_below(void **state)
{
	(void)state;
	struct crex_cancel *parent = crex_cancel_new(NULL);
	struct crex_cancel *child = cancel_below(parent, NULL), *other = cancel_below(parent, NULL);
	struct crex_cancel *grandchild = cancel_below(child, NULL), *orphan = cancel_below(NULL, NULL);
	crex_cancel_trigger(child);
	assert_true(crex_cancel_is_triggered(child) && crex_cancel_is_triggered(grandchild));
	assert_false(crex_cancel_is_triggered(parent) || crex_cancel_is_triggered(other));
	struct pollfd p = {.fd = crex_cancel_fd(other), .events = POLLIN};
	assert_int_equal(poll(&p, 1, 0), 0);
	crex_cancel_trigger(parent);
	assert_true(crex_cancel_is_triggered(other));
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_false(crex_cancel_is_triggered(orphan));
	struct crex_cancel *late = cancel_below(parent, NULL);
	assert_true(crex_cancel_is_triggered(late));
	crex_cancel_free(late);
	crex_cancel_free(orphan);
	crex_cancel_free(grandchild);
	crex_cancel_free(other);
	crex_cancel_free(child);
	crex_cancel_free(parent);
	assert_null(crex_cancel_free(NULL));
}

static void *wait_for_cancel(void *arg)
{
	struct deadline d;
	struct crex_error err = CREX_ERROR_INIT;
	deadline_begin(&d, &(struct crex_call){30, arg});
	int r = deadline_pause(&d, 20, &err);
	bool good = r == -1 && err.code == CREX_E_CANCELLED;
	crex_error_clear(&err);
	return good ? arg : NULL;
}

static void test_one_cancel_for_many(void **state)
{
	(void)state;
	enum { N = 10 };
	struct crex_cancel *cancel = crex_cancel_new(NULL);
	pthread_t threads[N];
	for (int i = 0; i < N; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_cancel, cancel), 0);
	double begin = clock_now();
	crex_cancel_trigger(cancel);
	for (int i = 0; i < N; i++) {
		void *good;
		pthread_join(threads[i], &good);
		assert_ptr_equal(good, cancel);
	}
	assert_true(clock_now() - begin < 10);
	crex_cancel_free(cancel);
}

static void test_pause(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct deadline d;
	double begin = clock_now();
	deadline_begin(&d, NULL);
	assert_int_equal(deadline_pause(&d, 0.05, &err), 0);
	assert_true(clock_now() - begin >= 0.05);
	assert_int_equal(err.code, CREX_OK);
	deadline_begin(&d, &(struct crex_call){0.02, NULL});
	assert_int_equal(deadline_pause(&d, 20, &err), -1);
	assert_int_equal(err.code, CREX_E_DEADLINE);
	crex_error_clear(&err);
}

static void test_no_descriptors(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_cancel *parent = crex_cancel_new(NULL);
	struct rlimit before, none;
	getrlimit(RLIMIT_NOFILE, &before);
	int next = dup(0);
	close(next);
	for (rlim_t room = 0; room < 2; room++) { /* none, or one of the two that a child needs */
		none = (struct rlimit){(rlim_t)next + room, before.rlim_max};
		setrlimit(RLIMIT_NOFILE, &none);
		struct crex_cancel *child = cancel_below(parent, &err);
		setrlimit(RLIMIT_NOFILE, &before);
		assert_null(child);
		assert_int_equal(err.code, CREX_E_OS);
	}
	int again = dup(0);
	assert_int_equal(again, next); /* nothing was left open */
	close(again);
	crex_cancel_free(parent);
	crex_error_clear(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancel_in_signal_handler),
		cmocka_unit_test(test_interrupted_waits_go_on),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_poll),
		cmocka_unit_test(test_below),
		cmocka_unit_test(test_one_cancel_for_many),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_no_descriptors),
	};
	return cmocka_run_group_tests_name("deadline", tests, NULL, NULL);
}

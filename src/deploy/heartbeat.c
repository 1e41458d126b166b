/* deploy/heartbeat.c: one small thread a sandbox, asleep nearly always.
 *
 * A thread and not a timer of the caller's, because the caller has no loop and may think for as long as it likes. What
 * the sandbox answers doesn't matter: the asking is the message. */
#include "deploy/heartbeat.h"

#include "base/deadline.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { STACK_SIZE = 256 << 10 }; /* libcurl and TLS need some */

struct heartbeat {
	pthread_t thread;
	struct crex_runtime *rt;
	double seconds;
	struct crex_cancel *cancel;
};

static void *beat(void *arg)
{
	struct heartbeat *h = arg;
	struct deadline until_stopped = {.at = CREX_NO_TIMEOUT, .cancel = h->cancel};
	while (deadline_pause(&until_stopped, h->seconds, NULL) == 0) {
		const struct crex_call call = {.timeout = h->seconds, .cancel = h->cancel};
		struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
		if (crex_runtime_is_alive(h->rt, &call, &alive, NULL) == 0)
			crex_is_alive_clear(&alive);
	}
	return NULL;
}

/* The program's signals are not for this thread. */
static int start_thread(struct heartbeat *h)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);
	if (r != 0)
		return r;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&h->thread, &attr, beat, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

struct heartbeat *heartbeat_start(struct crex_runtime *rt, double seconds, struct crex_error *err)
{
	struct heartbeat *h = calloc(1, sizeof *h);
	if (!h) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	*h = (struct heartbeat){.rt = rt, .seconds = seconds, .cancel = crex_cancel_new(err)};
	int r = h->cancel ? start_thread(h) : 0;
	if (h->cancel && r == 0)
		return h;
	if (r != 0)
		crex_error_set_errno(err, r, NULL);
	crex_cancel_free(h->cancel);
	free(h);
	return NULL;
}

struct heartbeat *heartbeat_stop(struct heartbeat *h)
{
	if (!h)
		return NULL;
	crex_cancel_trigger(h->cancel);
	pthread_join(h->thread, NULL);
	crex_cancel_free(h->cancel);
	free(h);
	return NULL;
}

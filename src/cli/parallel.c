/* cli/parallel.c: a few threads that take the next number until there is none.
 *
 * A thread that can't be started is no failure: the caller works along, so that with none at all it is a plain loop. */
#include "cli/parallel.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { WORKERS_MAX = 31 };

struct job {
	void (*one)(void *arg, size_t i);
	void *arg;
	size_t n;
	atomic_size_t next;
};

static void *work(void *arg)
{
	struct job *job = arg;
	for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->n;)
		job->one(job->arg, i);
	return NULL;
}

void parallel(size_t n, void (*one)(void *arg, size_t i), void *arg)
{
	struct job job = {.one = one, .arg = arg, .n = n};
	pthread_t threads[WORKERS_MAX];
	size_t started = 0;
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (started + 1 < n && started < WORKERS_MAX && pthread_create(&threads[started], NULL, work, &job) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	work(&job);
	while (started > 0)
		pthread_join(threads[--started], NULL);
}

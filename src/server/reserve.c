/* server/reserve.c: two places where libuv knows no way but abort().
 *
 * Its pool of workers is started at the first use, all threads at once, and one that can't be created is the end of the
 * process. A sandbox may limit address space or the number of processes, and the first use may come while a fork bomb
 * holds all of them. So the pool is started before the server listens, with as many threads as a trial has shown to be
 * possible, and of scarce address space they take a quarter: the trial's stacks are that much larger. The size of the
 * true ones is set by way of the limit that libuv takes it from.
 *
 * Its table of watched descriptors grows by realloc, unchecked. libuv's allocator therefore has a block of address
 * space in hand, which costs no memory until it is needed, gives it up when an allocation fails, tries again, and takes
 * a new one when that is possible. All that libuv asks for in between is small. */
#include "server/reserve.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { WORKER_STACK = 1024 * 1024, TRIAL_STACK = 4 * WORKER_STACK, WORKERS_MAX = 128, RESERVE_SIZE = 2 * 1024 * 1024 };

/* libuv's allocator has no argument to hang this on. */
static struct {
	pthread_mutex_t mutex;
	void *block; /* NULL: given up */
} reserve = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void refill(void)
{
	void *block =
		mmap(NULL, RESERVE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	reserve.block = block == MAP_FAILED ? NULL : block;
}

static void *take(void *old, size_t size)
{
	pthread_mutex_lock(&reserve.mutex);
	if (!reserve.block)
		refill();
	void *p = realloc(old, size);
	if (!p && reserve.block) {
		munmap(reserve.block, RESERVE_SIZE);
		reserve.block = NULL;
		p = realloc(old, size);
	}
	pthread_mutex_unlock(&reserve.mutex);
	return p;
}

static void *take_new(size_t size)
{
	return take(NULL, size);
}

static void *take_cleared(size_t n, size_t size)
{
	size_t all;
	if (__builtin_mul_overflow(n, size, &all))
		return NULL;
	void *p = take(NULL, all);
	return p ? __builtin_memset(p, 0, all) : NULL;
}

void reserve_memory(void)
{
	refill();
	uv_replace_allocator(take_new, take, take_cleared, free);
}

static void *trial(void *arg)
{
	sem_t *over = arg;
	while (sem_wait(over) < 0)
		;
	return NULL;
}

static unsigned possible_threads(unsigned wanted, size_t stack)
{
	pthread_t threads[WORKERS_MAX];
	pthread_attr_t attr;
	sem_t over;
	unsigned n = 0;
	sem_init(&over, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack);
	while (n < wanted && n < WORKERS_MAX && pthread_create(&threads[n], &attr, trial, &over) == 0)
		n++;
	for (unsigned i = 0; i < n; i++)
		sem_post(&over);
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pthread_attr_destroy(&attr);
	sem_destroy(&over);
	return n;
}

static void nothing(uv_work_t *work)
{
	(void)work;
}

static void nothing_done(uv_work_t *work, int status)
{
	(void)work;
	(void)status;
}

int reserve_workers(uv_loop_t *loop, unsigned wanted)
{
	unsigned n = possible_threads(wanted, TRIAL_STACK);
	if (n == 0)
		n = possible_threads(1, WORKER_STACK);
	if (n == 0)
		return -EAGAIN;
	char text[16];
	snprintf(text, sizeof text, "%u", n);
	if (setenv("UV_THREADPOOL_SIZE", text, 1) < 0)
		return -errno;
	struct rlimit stack, small;
	getrlimit(RLIMIT_STACK, &stack);
	small = stack;
	small.rlim_cur = WORKER_STACK;
	if (stack.rlim_cur > WORKER_STACK)
		setrlimit(RLIMIT_STACK, &small);
	uv_work_t work;
	int r = uv_queue_work(loop, &work, nothing, nothing_done);
	setrlimit(RLIMIT_STACK, &stack);
	if (r < 0)
		return r;
	uv_run(loop, UV_RUN_DEFAULT);
	return (int)n;
}

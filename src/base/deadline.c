/* base/deadline.c: waiting with an end, and being called off.
 *
 * A cancel is an eventfd that stays readable once it was written to: poll(2) then sees it beside whatever else is
 * waited for, in any number of threads at a time, and writing it is async-signal-safe. Nobody ever reads it, so that no
 * waiter takes the news from another. */
#include "base/deadline.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct crex_cancel {
	int event; /* written by the trigger */
	int fd;	   /* what is polled: event itself, or the epoll that has event and the parent's */
};

static struct crex_cancel *fail(struct crex_cancel *c, struct crex_error *err)
{
	crex_error_set_errno(err, errno, NULL);
	return crex_cancel_free(c);
}

struct crex_cancel *cancel_below(struct crex_cancel *parent, struct crex_error *err)
{
	struct crex_cancel *c = malloc(sizeof *c);
	if (!c)
		return fail(NULL, err);
	c->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->fd = parent && c->event >= 0 ? epoll_create1(EPOLL_CLOEXEC) : c->event;
	if (c->fd < 0)
		return fail(c, err);
	struct epoll_event in = {.events = EPOLLIN};
	if (parent && (epoll_ctl(c->fd, EPOLL_CTL_ADD, c->event, &in) < 0 ||
		       epoll_ctl(c->fd, EPOLL_CTL_ADD, parent->fd, &in) < 0))
		return fail(c, err);
	return c;
}

struct crex_cancel *crex_cancel_new(struct crex_error *err)
{
	return cancel_below(NULL, err);
}

void crex_cancel_trigger(struct crex_cancel *cancel)
{
	int saved = errno;
	uint64_t one = 1;
	while (write(cancel->event, &one, sizeof one) < 0 && errno == EINTR)
		;
	errno = saved;
}

bool crex_cancel_is_triggered(const struct crex_cancel *cancel)
{
	struct pollfd p = {.fd = cancel->fd, .events = POLLIN};
	return poll(&p, 1, 0) > 0;
}

int crex_cancel_fd(const struct crex_cancel *cancel)
{
	return cancel->fd;
}

struct crex_cancel *crex_cancel_free(struct crex_cancel *cancel)
{
	if (!cancel)
		return NULL;
	if (cancel->fd >= 0 && cancel->fd != cancel->event)
		close(cancel->fd);
	if (cancel->event >= 0)
		close(cancel->event);
	free(cancel);
	return NULL;
}

double clock_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void deadline_begin(struct deadline *d, const struct crex_call *call)
{
	*d = (struct deadline){.at = CREX_NO_TIMEOUT};
	if (!call)
		return;
	d->cancel = call->cancel;
	deadline_limit(d, call->timeout);
}

void deadline_limit(struct deadline *d, double seconds)
{
	if (!(seconds >= 0) || isinf(seconds))
		return;
	double at = clock_now() + seconds;
	if (d->at < 0 || at < d->at)
		d->at = at;
}

double deadline_left(const struct deadline *d)
{
	if (d->at < 0)
		return CREX_NO_TIMEOUT;
	double left = d->at - clock_now();
	return left > 0 ? left : 0;
}

struct crex_call deadline_rest(const struct deadline *d)
{
	return (struct crex_call){.timeout = deadline_left(d), .cancel = d->cancel};
}

static int fail_cancelled(struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CANCELLED, "the call was called off");
}

static int fail_over(struct crex_error *err)
{
	return crex_error_set(err, CREX_E_DEADLINE, "the time given for the call is over");
}

int deadline_check(const struct deadline *d, struct crex_error *err)
{
	if (d->cancel && crex_cancel_is_triggered(d->cancel))
		return fail_cancelled(err);
	return d->at >= 0 && clock_now() >= d->at ? fail_over(err) : 0;
}

/* Rounded up, or the last millisecond would be spent spinning. */
static int milliseconds(double seconds)
{
	if (seconds < 0)
		return -1;
	double ms = ceil(seconds * 1000);
	return ms > 60000 ? 60000 : (int)ms;
}

int deadline_poll(const struct deadline *d, struct pollfd *fds, size_t n, struct crex_error *err)
{
	struct pollfd all[DEADLINE_POLL_MAX + 1];
	if (n)
		memcpy(all, fds, n * sizeof *fds);
	all[n] = (struct pollfd){.fd = d->cancel ? d->cancel->fd : -1, .events = POLLIN};
	for (;;) {
		double left = deadline_left(d);
		int ready = poll(all, n + 1, milliseconds(left));
		if (ready < 0 && errno != EINTR && errno != EAGAIN)
			return crex_error_set_errno(err, errno, NULL);
		if (ready > 0 && all[n].revents)
			return fail_cancelled(err);
		if (ready > 0) {
			memcpy(fds, all, n * sizeof *fds);
			return ready;
		}
		if (d->at >= 0 && clock_now() >= d->at)
			return fail_over(err);
	}
}

int deadline_pause(const struct deadline *d, double seconds, struct crex_error *err)
{
	struct deadline pause = *d;
	deadline_limit(&pause, seconds);
	struct crex_error over = CREX_ERROR_INIT;
	deadline_poll(&pause, NULL, 0, &over);
	crex_error_clear(&over); /* the end of the pause or of the call: which of them, the call itself knows */
	return deadline_check(d, err);
}

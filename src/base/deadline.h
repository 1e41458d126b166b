/* base/deadline.h: the patience of a caller, as the steps of one call share it.
 *
 * A `struct crex_call` says how long from now; a deadline says until when, so that a call of many steps can pass on
 * what is left. No allocation; any thread. */
#ifndef BASE_DEADLINE_H
#define BASE_DEADLINE_H

#include <crex/call.h>
#include <poll.h>
#include <stddef.h>

struct deadline {
	double at;		    /* clock_now() time; negative: never */
	struct crex_cancel *cancel; /* borrowed, may be NULL */
};

double clock_now(void); /* CLOCK_MONOTONIC, seconds */

void deadline_begin(struct deadline *d, const struct crex_call *call); /* call may be NULL */
void deadline_limit(struct deadline *d, double seconds);  /* from now on at most so long; negative: as it is */
double deadline_left(const struct deadline *d);		  /* seconds, 0 when it is over; CREX_NO_TIMEOUT: no end */
struct crex_call deadline_rest(const struct deadline *d); /* for a call that is made on behalf of this one */

/* 0, or -1 with CANCELLED or DEADLINE. */
int deadline_check(const struct deadline *d, struct crex_error *err);

enum { DEADLINE_POLL_MAX = 15 };
/* poll(2) on at most DEADLINE_POLL_MAX descriptors: the number that are ready, or -1 with CANCELLED, DEADLINE or what
 * poll failed with. EINTR is waited through. */
int deadline_poll(const struct deadline *d, struct pollfd *fds, size_t n, struct crex_error *err);

/* Waits `seconds`, as a back-off between tries does. 0, or -1 as deadline_check. */
int deadline_pause(const struct deadline *d, double seconds, struct crex_error *err);

/* A cancel of its own that is triggered with `parent` too; parent may be NULL and must live longer. Freed like any. */
struct crex_cancel *cancel_below(struct crex_cancel *parent, struct crex_error *err);

#endif

/* deploy/ready.h: waiting for a server that is being started. */
#ifndef DEPLOY_READY_H
#define DEPLOY_READY_H

#include "base/deadline.h"
#include <crex/runtime.h>

/* Asks until the runtime answers: at first every 5 ms, then ever more seldom up to every 250 ms. `check`, when not
 * NULL, is asked in between whether waiting still makes sense: -1 (with err set) ends it at once, so that a sandbox
 * that has died is told of now and not when the time is over. Errors: DEPLOYMENT_STARTUP (time over; with what the last
 * answer was), CANCELLED, AUTHENTICATION, check's own. */
int wait_until_ready(struct crex_runtime *rt, const struct deadline *deadline,
		     int (*check)(void *arg, struct crex_error *err), void *arg, struct crex_error *err);

#endif

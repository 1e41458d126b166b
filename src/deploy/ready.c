/* deploy/ready.c: polling is_alive, the only thing that tells that a server can be used, wherever it runs.
 *
 * A server starts in milliseconds in a container and in minutes in a cloud: the pause between two questions grows with
 * the time waited, so that neither is asked too seldom nor too often. */
#include "deploy/ready.h"

#include "base/cleanup.h"
#include <stdbool.h>

#define PAUSE_FIRST 0.005
#define PAUSE_MAX 0.25
#define ANSWER_SECONDS 2.0 /* for one answer: a server that just wakes up may be slow */

static int over(const struct crex_is_alive *last, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the runtime did not answer in time%s%s",
			      last->message && *last->message ? ": " : "", last->message ? last->message : "");
}

int wait_until_ready(struct crex_runtime *rt, const struct deadline *deadline,
		     int (*check)(void *arg, struct crex_error *err), void *arg, struct crex_error *err)
{
	struct crex_is_alive last __attribute__((cleanup(crex_is_alive_clear))) = CREX_IS_ALIVE_INIT;
	for (double pause = PAUSE_FIRST;; pause = pause * 1.5 < PAUSE_MAX ? pause * 1.5 : PAUSE_MAX) {
		struct deadline answer = *deadline;
		deadline_limit(&answer, ANSWER_SECONDS);
		const struct crex_call call = deadline_rest(&answer);
		struct crex_is_alive now = CREX_IS_ALIVE_INIT;
		int r = crex_runtime_is_alive(rt, &call, &now, err);
		if (r == 0) {
			crex_is_alive_clear(&last);
			last = now;
			if (last.is_alive)
				return 0;
		} else if (err->code != CREX_E_DEADLINE) {
			return -1;
		}
		crex_error_clear(err);
		if (check && check(arg, err) < 0)
			return -1;
		if (deadline_pause(deadline, pause, err) < 0)
			return err->code == CREX_E_DEADLINE ? over(&last, err) : -1;
	}
}

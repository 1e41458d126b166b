/* crex/call.h: how long a caller waits, and who may call it off.
 *
 * Every call of the library that may wait takes a `const struct crex_call *`. NULL means: for as long as it takes. When
 * the time is over the call fails with CREX_E_DEADLINE, when it is called off with CREX_E_CANCELLED; both at once,
 * whatever it waits for. The struct is borrowed for the call and never changed: one may serve many calls, each of which
 * then has the whole time.
 * This is the caller's patience, not the command's: a command's own timeout is a field of its request. When that is
 * over the error is CREX_E_COMMAND_TIMEOUT and brings what the command has printed so far. When the patience is over
 * there is nothing to bring, and the command runs on, as it does when its client hangs up. */
#ifndef CREX_CALL_H
#define CREX_CALL_H

#include <crex/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CREX_NO_TIMEOUT (-1.0)

/* One cancel may serve any number of calls at a time; once triggered it stays so. */
struct crex_cancel;
/* NULL when no descriptor (it has one) or no memory is left. */
CREX_API struct crex_cancel *crex_cancel_new(struct crex_error *err);
/* Any number of times, from any thread and from signal handlers. */
CREX_API void crex_cancel_trigger(struct crex_cancel *cancel);
/* 1 or 0. */
CREX_API bool crex_cancel_is_triggered(const struct crex_cancel *cancel);
/* Readable from the trigger on, for a poll of one's own. Borrowed: neither read nor close it. */
CREX_API int crex_cancel_fd(const struct crex_cancel *cancel);
/* After the last call that has it. NULL is fine; returns NULL. */
CREX_API struct crex_cancel *crex_cancel_free(struct crex_cancel *cancel);

struct crex_call {
	double timeout; /* seconds from the beginning of the call; negative: none; 0: nothing is waited for */
	struct crex_cancel *cancel; /* borrowed; NULL: nobody calls it off */
};
#define CREX_CALL_INIT                \
	{                             \
		CREX_NO_TIMEOUT, NULL \
	}

#ifdef __cplusplus
}
#endif
#endif

/* crex/call.h: how long a caller waits, and who may call it off.
 *
 * Every call of the library that may wait takes a `const struct crex_call *`. NULL means: for as long as it takes. When
 * the time is over the call fails with CREX_E_DEADLINE, when it is called off with CREX_E_CANCELLED; both at once,
 * whatever it waits for. This is the caller's patience, not the command's: a command's own timeout is a field of its
 * request. */
#ifndef CREX_CALL_H
#define CREX_CALL_H

#include <crex/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CREX_NO_TIMEOUT (-1.0)

/* One cancel may serve any number of calls at a time; once triggered it stays so. */
struct crex_cancel;
CREX_API struct crex_cancel *crex_cancel_new(struct crex_error *err); /* NULL: no descriptor or no memory left */
CREX_API void crex_cancel_trigger(struct crex_cancel *cancel);	      /* from any thread and from signal handlers */
CREX_API int crex_cancel_is_triggered(const struct crex_cancel *cancel);
CREX_API int
crex_cancel_fd(const struct crex_cancel *cancel); /* readable from the trigger on; borrowed: poll it, read nothing */
CREX_API struct crex_cancel *
crex_cancel_free(struct crex_cancel *cancel); /* after the last call that has it; returns NULL */

struct crex_call {
	double timeout;		    /* seconds from the beginning of the call; negative: none */
	struct crex_cancel *cancel; /* borrowed; NULL: nobody calls it off */
};
#define CREX_CALL_INIT             \
	{                          \
		CREX_NO_TIMEOUT, 0 \
	}

#ifdef __cplusplus
}
#endif
#endif

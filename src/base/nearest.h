/* base/nearest.h: what somebody may have meant who typed a name that there is not. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

struct nearest {
	const char *name;  /* as it was typed; borrowed */
	const char *found; /* the best so far, borrowed; NULL: none is near enough */
	size_t distance;
};

struct nearest nearest_begin(const char *name);
void nearest_offer(struct nearest *n, const char *candidate);

#endif

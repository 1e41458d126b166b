/* base/cleanup.h: scope-bound ownership, so that early returns need no goto ladder. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <crex/error.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd); /* never retried: after EINTR Linux has closed it already */
}

#define cleanup_free __attribute__((cleanup(cleanup_free_ptr)))
#define cleanup_fd __attribute__((cleanup(cleanup_close_fd)))
#define cleanup_error __attribute__((cleanup(crex_error_clear)))

static inline void *steal_ptr_impl(void *slot)
{
	void **p = slot, *value = *p;
	*p = NULL;
	return value;
}
#define steal_ptr(p) ((__typeof__(p))steal_ptr_impl(&(p)))

static inline int steal_fd(int *fd)
{
	int value = *fd;
	*fd = -1;
	return value;
}

#endif

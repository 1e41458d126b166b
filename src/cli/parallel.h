/* cli/parallel.h: the same for many things at a time. */
#ifndef CLI_PARALLEL_H
#define CLI_PARALLEL_H

#include <stddef.h>

/* Calls one(arg, i) for each i below n, on several threads; returns when all are done. */
void parallel(size_t n, void (*one)(void *arg, size_t i), void *arg);

#endif

/* server/memory.h: how much memory this sandbox may use. */
#ifndef SERVER_MEMORY_H
#define SERVER_MEMORY_H

#include <stdint.h>

/* Bytes: the least of the machine's and of the limits of the cgroups that this process is in. UINT64_MAX: not known. */
uint64_t memory_limit(void);

#endif

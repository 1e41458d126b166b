/* base/random.h: what nobody can guess, and what no two have alike. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>

enum { RANDOM_UUID_SIZE = 37 };

/* Secrets: 0, or -errno, and nothing may be used then. */
int random_fill(void *ret, size_t len);
int random_hex(char *ret, size_t bytes); /* 2 * bytes digits and a NUL */

void random_uuid(char ret[RANDOM_UUID_SIZE]); /* version 4; always a new one, though without the kernel no secret */

/* Between a half of it and the whole, for pauses that many clients are not to end at once. */
double random_jitter(double seconds);

#endif

/* base/random.c: the kernel's random numbers in the shapes that we need.
 *
 * getrandom can fail where a sandbox forbids it. A secret must not be made then; an id only has to differ from all
 * others, for which the clock will do. */
#include "base/random.h"

#include "base/deadline.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

int random_fill(void *ret, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = getrandom((char *)ret + got, len - got, 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		got += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int random_hex(char *ret, size_t bytes)
{
	unsigned char *raw =
		(unsigned char *)ret + bytes; /* its second half: each digit is written behind what was read */
	int r = random_fill(raw, bytes);
	for (size_t i = 0; r == 0 && i < bytes; i++) {
		unsigned char b = raw[i];
		ret[2 * i] = "0123456789abcdef"[b >> 4];
		ret[2 * i + 1] = "0123456789abcdef"[b & 15];
	}
	ret[r == 0 ? 2 * bytes : 0] = '\0';
	return r;
}

static void fill_somehow(void *ret, size_t len)
{
	if (random_fill(ret, len) == 0)
		return;
	double now = clock_now();
	for (size_t i = 0; i < len; i++)
		((unsigned char *)ret)[i] = ((const unsigned char *)&now)[i % sizeof now];
}

void random_uuid(char ret[RANDOM_UUID_SIZE])
{
	unsigned char b[16];
	fill_somehow(b, sizeof b);
	b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
	for (size_t i = 0, n = 0; i < sizeof b; i++)
		n += (size_t)snprintf(ret + n, RANDOM_UUID_SIZE - n, "%s%02x",
				      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
}

double random_jitter(double seconds)
{
	uint16_t r;
	fill_somehow(&r, sizeof r);
	return seconds * (0.5 + r / 131072.0);
}

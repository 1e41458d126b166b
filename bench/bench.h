/* bench/bench.h: what the floor programs and the load client share: a clock, an order of samples, dying.
 *
 * These programs are deliberately bare: no layer of the project is linked, so that what they measure is the floor
 * that the project is compared with. Each prints one line of key=value pairs for script/bench. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define die(...)                                             \
	do {                                                 \
		fprintf(stderr, __VA_ARGS__);                \
		fprintf(stderr, " (%s)\n", strerror(errno)); \
		exit(1);                                     \
	} while (0)

static inline double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static inline int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static inline void print_samples(double *us, size_t n)
{
	qsort(us, n, sizeof *us, compare_doubles);
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += us[i];
	printf("n=%zu median_us=%.1f mean_us=%.1f p90_us=%.1f p99_us=%.1f max_us=%.1f\n", n, us[n / 2], sum / (double)n,
	       us[n * 9 / 10], us[n * 99 / 100], us[n - 1]);
}

static inline size_t count_argument(int argc, char **argv, int i, size_t otherwise)
{
	size_t n = argc > i ? strtoul(argv[i], NULL, 10) : otherwise;
	return n > 0 ? n : 1;
}

#endif

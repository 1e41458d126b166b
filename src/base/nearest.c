/* base/nearest.c: hints for mistyped names: the candidate that takes the fewest edits.
 *
 * More than half of the letters wrong is no hint any more. Names longer than 48 letters get none: the table of one row
 * lies on the stack. */
#include "base/nearest.h"

#include <string.h>

enum { NAME_MAX_LEN = 48 };

/* Edits that turn a into b, the swap of neighbours apart. */
static size_t distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), row[NAME_MAX_LEN + 1];
	if (n > NAME_MAX_LEN || m > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			best = row[j] + 1 < best ? row[j] + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
		}
	}
	return row[m];
}

struct nearest nearest_begin(const char *name)
{
	return (struct nearest){.name = name, .distance = strlen(name) / 2 + 1};
}

void nearest_offer(struct nearest *n, const char *candidate)
{
	size_t d = distance(n->name, candidate);
	if (d < n->distance) {
		n->distance = d;
		n->found = candidate;
	}
}

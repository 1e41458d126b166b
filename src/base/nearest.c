/* base/nearest.c: hints for mistyped names: the candidate that takes the fewest edits.
 *
 * More than half of the letters wrong is no hint any more. Names longer than 48 letters get none: the table
 * lies on the stack. */
#include "base/nearest.h"

#include <stdint.h>
#include <string.h>

enum { NAME_MAX_LEN = 48 };

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edits that turn a into b: a letter more, less or another, or two neighbours swapped, which is how fingers err. */
static size_t distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), rows[3][NAME_MAX_LEN + 1];
	if (n > NAME_MAX_LEN || m > NAME_MAX_LEN)
		return SIZE_MAX;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			row[j] = least(above[j - 1] + (a[i - 1] != b[j - 1]), least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[n % 3][m];
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

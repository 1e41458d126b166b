/* deploy/fargate/wait.c: pauses between looks at AWS, and names that tell what is behind them. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include "base/random.h"
#include <inttypes.h>
#include <stdio.h>

struct fargate_pause fargate_pause_begin(double first, double max, double patience)
{
	struct fargate_pause p = {.next = first, .max = max, .until = {.at = CREX_NO_TIMEOUT}};
	deadline_limit(&p.until, patience);
	return p;
}

int fargate_pause_take(struct fargate_pause *p, const struct deadline *d, struct crex_error *err)
{
	cleanup_error struct crex_error over = CREX_ERROR_INIT;
	if (deadline_left(&p->until) == 0)
		return 0;
	if (deadline_pause(d, random_jitter(p->next), &over) < 0) {
		if (err->code != CREX_OK)
			crex_error_prefix(&over, "after \"%s\": ", err->message ? err->message : "");
		crex_error_move(err, &over);
		return -1;
	}
	p->next = p->next * 1.5 < p->max ? p->next * 1.5 : p->max;
	crex_error_clear(err);
	return 1;
}

/* FNV-1a, 64 bits: told apart are configs of one user, not forgeries. */
void fargate_name(char *ret, size_t size, const char *prefix, const char *content)
{
	uint64_t hash = 14695981039346656037u;
	for (; *content; content++)
		hash = (hash ^ (unsigned char)*content) * 1099511628211u;
	snprintf(ret, size, "%s-%016" PRIx64, prefix, hash);
}

/* base/keep.h: output of unknown size, of which the first and the last half of a limit are kept. */
#ifndef BASE_KEEP_H
#define BASE_KEEP_H

#include "base/buf.h"
#include <stdbool.h>

struct keep {
	struct buf buf; /* first half, then the newest bytes */
	size_t max;	/* bytes kept at most */
	size_t cut;	/* bytes dropped from the middle so far */
};

void keep_init(struct keep *k, size_t max); /* allocates nothing; max is at least 1024 */
void keep_deinit(struct keep *k);

/* 0 or -ENOMEM (nothing of data is kept then). */
int keep_append(struct keep *k, const char *data, size_t len);

/* Drops the newest n bytes (n at most what was appended since the last cut can be undone exactly). */
void keep_drop_tail(struct keep *k, size_t n);

/* Takes the text out, with a line that states the cut where bytes are missing (UTF-8 characters are not split);
 * k is empty afterwards. Caller frees; NULL when memory ran out. */
char *keep_steal(struct keep *k, size_t *ret_len, bool *ret_truncated);

static inline bool keep_is_empty(const struct keep *k)
{
	return k->buf.len == 0;
}

#endif

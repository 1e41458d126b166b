/* server/idempotency.h: replies kept under their X-Request-ID, so that a repeated request runs once.
 *
 * The store knows nothing of HTTP or of time: replies are counted references, the clock is an argument. Loop thread
 * only. An entry is pending from its first request until idem_finish; pending ones are never dropped. */
#ifndef SERVER_IDEMPOTENCY_H
#define SERVER_IDEMPOTENCY_H

#include "http/http.h"
#include <crex/runtime.h>
#include <stdint.h>

struct idem;
struct idem_entry;

struct idem_config {
	size_t max_count; /* stored replies; 0: none is stored, only concurrent repeats are joined */
	size_t max_bytes; /* of the stored replies and ids */
	uint64_t max_age_ms;
};

struct idem_key {
	const void *route;  /* identity of method and path */
	struct crex_str id; /* X-Request-ID */
	struct crex_str body;
};

enum idem_outcome {
	IDEM_NEW,     /* *ret_entry is pending now: run the request, then idem_finish */
	IDEM_PENDING, /* the same request runs: chain onto idem_waiters(*ret_entry) */
	IDEM_STORED,  /* *ret_content (borrowed) and *ret_status are the reply */
	IDEM_NO_MEMORY,
};

struct idem *idem_new(const struct idem_config *config);
void *idem_free(struct idem *s); /* returns NULL; NULL is fine */

enum idem_outcome idem_begin(struct idem *s, const struct idem_key *key, uint64_t now_ms, struct idem_entry **ret_entry,
			     struct http_content **ret_content, int *ret_status);
/* The chain of exchanges that wait (linked by http_next). */
struct http_exchange **idem_waiters(struct idem_entry *e);
/* Stores the reply (takes an own reference). The waiters must have been taken off before. content NULL: there was no
 * memory for a reply; a repeat will be told that the request has run. */
void idem_finish(struct idem *s, struct idem_entry *e, int status, struct http_content *content, uint64_t now_ms);

/* Memory is short: large replies go, in favour of the short one for what has run and can't be told again. */
void idem_relieve(struct idem *s);

size_t idem_count(const struct idem *s); /* stored ones */
size_t idem_bytes(const struct idem *s);

#endif

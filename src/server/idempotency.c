/* server/idempotency.c: a hash table of entries and a list of the finished ones in order of their last use.
 *
 * Lookup, insertion and dropping are O(1): chained buckets that double with the number of entries, and a doubly
 * linked list whose head is the first to go, whether for count, bytes or age (using an entry moves it to the tail and
 * renews its time, so the list is sorted by age too). Nothing needs a timer: what is too old is dropped whenever the
 * store is touched.
 *
 * The key is route, id and body, the body as a 128-bit keyed hash. A repeat by a client or a proxy is the same bytes;
 * the same id with other bytes is another request, and it runs. (Upstream would answer it with the stored reply of a
 * command that was never this one.)
 *
 * A reply that alone is over max_bytes can't be kept. Its entry stays, with a short reply in its place that says that
 * the request has run: a second run would be worse than a lost output. So it is with all larger ones when memory is
 * short: they must not be what keeps the server from its work. */
#include "server/idempotency.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { BUCKETS_MIN = 64 };

struct idem_entry {
	struct idem_entry *next_in_bucket;
	struct idem_entry *older, *newer; /* finished ones only */
	struct http_exchange *waiters;
	struct http_content *content;
	const void *route;
	uint64_t hash[2];
	uint64_t used_ms;
	size_t bytes;
	int status;
	bool finished;
	size_t id_len;
	char id[];
};

struct idem {
	struct idem_config config;
	struct idem_entry **buckets;
	size_t n_buckets; /* a power of two */
	size_t n_entries; /* pending ones too */
	size_t n_stored;
	size_t bytes;
	struct idem_entry *oldest, *newest;
	uint64_t seed[2];
};

/* A multiply-and-fold hash over 8-byte words: accidental collisions are all it guards against (who can send requests
 * can run commands anyway), but it must go over a 64 MB body in some milliseconds. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t word_at(const char *p, size_t len)
{
	uint64_t w = 0;
	memcpy(&w, p, len < 8 ? len : 8);
	return w;
}

static void hash_bytes(uint64_t h[2], struct crex_str s)
{
	const uint64_t k0 = UINT64_C(0xa0761d6478bd642f), k1 = UINT64_C(0xe7037ed1a0b428db);
	for (size_t i = 0; i < s.len; i += 8) {
		uint64_t w = word_at(s.ptr + i, s.len - i);
		h[0] = fold(h[0] ^ w, k0);
		h[1] = fold(h[1] + w, k1) ^ w;
	}
	h[0] = fold(h[0] ^ s.len, k1);
	h[1] = fold(h[1] + s.len, k0);
}

struct idem *idem_new(const struct idem_config *config)
{
	struct idem *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->config = *config;
	s->n_buckets = BUCKETS_MIN;
	s->buckets = calloc(s->n_buckets, sizeof *s->buckets);
	if (!s->buckets)
		return idem_free(s);
	/* Before the kernel's pool is ready the seed stays zero, which only makes the hash guessable. */
	if (getrandom(s->seed, sizeof s->seed, GRND_NONBLOCK) < 0)
		memset(s->seed, 0, sizeof s->seed);
	return s;
}

void *idem_free(struct idem *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; s->buckets && i < s->n_buckets; i++) {
		struct idem_entry *next;
		for (struct idem_entry *e = s->buckets[i]; e; e = next) {
			next = e->next_in_bucket;
			http_content_unref(e->content);
			free(e);
		}
	}
	free(s->buckets);
	free(s);
	return NULL;
}

static struct idem_entry **slot_of(struct idem *s, const struct idem_entry *e)
{
	struct idem_entry **slot = &s->buckets[e->hash[0] & (s->n_buckets - 1)];
	while (*slot && *slot != e)
		slot = &(*slot)->next_in_bucket;
	return slot;
}

static void list_remove(struct idem *s, struct idem_entry *e)
{
	*(e->older ? &e->older->newer : &s->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &s->newest) = e->older;
	e->older = e->newer = NULL;
}

static void list_append(struct idem *s, struct idem_entry *e)
{
	e->older = s->newest;
	e->newer = NULL;
	*(s->newest ? &s->newest->newer : &s->oldest) = e;
	s->newest = e;
}

static void drop(struct idem *s, struct idem_entry *e)
{
	struct idem_entry **slot = slot_of(s, e);
	*slot = e->next_in_bucket;
	if (e->finished) {
		list_remove(s, e);
		s->n_stored--;
		s->bytes -= e->bytes;
	}
	s->n_entries--;
	http_content_unref(e->content);
	free(e);
}

static void drop_surplus(struct idem *s, uint64_t now_ms)
{
	while (s->oldest && (s->n_stored > s->config.max_count || s->bytes > s->config.max_bytes ||
			     now_ms - s->oldest->used_ms > s->config.max_age_ms))
		drop(s, s->oldest);
}

/* Failing to grow only makes the chains longer. */
static void grow(struct idem *s)
{
	size_t n = s->n_buckets * 2;
	struct idem_entry **wider = calloc(n, sizeof *wider);
	if (!wider)
		return;
	for (size_t i = 0; i < s->n_buckets; i++) {
		struct idem_entry *next;
		for (struct idem_entry *e = s->buckets[i]; e; e = next) {
			next = e->next_in_bucket;
			e->next_in_bucket = wider[e->hash[0] & (n - 1)];
			wider[e->hash[0] & (n - 1)] = e;
		}
	}
	free(s->buckets);
	s->buckets = wider;
	s->n_buckets = n;
}

static struct idem_entry *add(struct idem *s, const struct idem_key *key, const uint64_t hash[2])
{
	struct idem_entry *e = calloc(1, sizeof *e + key->id.len);
	if (!e)
		return NULL;
	if (s->n_entries >= s->n_buckets)
		grow(s);
	e->route = key->route;
	e->hash[0] = hash[0];
	e->hash[1] = hash[1];
	e->id_len = key->id.len;
	if (key->id.len)
		memcpy(e->id, key->id.ptr, key->id.len);
	struct idem_entry **bucket = &s->buckets[hash[0] & (s->n_buckets - 1)];
	e->next_in_bucket = *bucket;
	*bucket = e;
	s->n_entries++;
	return e;
}

enum idem_outcome idem_begin(struct idem *s, const struct idem_key *key, uint64_t now_ms, struct idem_entry **ret_entry,
			     struct http_content **ret_content, int *ret_status)
{
	drop_surplus(s, now_ms);
	uint64_t hash[2] = {s->seed[0], s->seed[1] ^ (uint64_t)(uintptr_t)key->route};
	hash_bytes(hash, key->id);
	hash_bytes(hash, key->body);
	struct idem_entry *e = s->buckets[hash[0] & (s->n_buckets - 1)];
	while (e && !(e->hash[0] == hash[0] && e->hash[1] == hash[1] && e->route == key->route &&
		      e->id_len == key->id.len && memcmp(e->id, key->id.ptr, e->id_len) == 0))
		e = e->next_in_bucket;
	if (!e) {
		e = add(s, key, hash);
		if (!e)
			return IDEM_NO_MEMORY;
		*ret_entry = e;
		return IDEM_NEW;
	}
	if (!e->finished) {
		*ret_entry = e;
		return IDEM_PENDING;
	}
	e->used_ms = now_ms;
	list_remove(s, e);
	list_append(s, e);
	*ret_content = e->content;
	*ret_status = e->status;
	return IDEM_STORED;
}

struct http_exchange **idem_waiters(struct idem_entry *e)
{
	return &e->waiters;
}

static struct http_content *has_run(void)
{
	static const char text[] =
		"{\"swerexception\":{\"message\":\"this request has run already; its reply could not "
		"be kept\",\"class_path\":\"swerex.exceptions.SwerexException\","
		"\"traceback\":\"\",\"extra_info\":{}}}";
	struct http_content *c = http_content_new(sizeof text);
	if (c && buf_append(&c->body, text, sizeof text - 1) < 0)
		return http_content_unref(c);
	return c;
}

void idem_finish(struct idem *s, struct idem_entry *e, int status, struct http_content *content, uint64_t now_ms)
{
	size_t overhead = sizeof *e + sizeof *content + e->id_len;
	bool fits = content && content->body.cap < s->config.max_bytes &&
		    content->body.cap + overhead <= s->config.max_bytes;
	e->content = fits ? http_content_ref(content) : has_run();
	if (!e->content) {
		drop(s, e);
		return;
	}
	e->status = fits ? status : 511;
	e->bytes = overhead + e->content->body.cap;
	e->used_ms = now_ms;
	e->finished = true;
	list_append(s, e);
	s->n_stored++;
	s->bytes += e->bytes;
	drop_surplus(s, now_ms);
}

void idem_relieve(struct idem *s)
{
	enum { WORTH_IT = 2048 };
	struct http_content *instead = NULL;
	struct idem_entry *next;
	for (struct idem_entry *e = s->oldest; e; e = next) {
		next = e->newer;
		if (e->content->body.cap < WORTH_IT)
			continue;
		s->bytes -= e->content->body.cap;
		e->bytes -= e->content->body.cap;
		e->content = http_content_unref(e->content);
		if (!instead)
			instead = has_run();
		if (!instead) {
			drop(s, e);
			continue;
		}
		e->content = http_content_ref(instead);
		e->status = 511;
	}
	http_content_unref(instead);
}

size_t idem_count(const struct idem *s)
{
	return s->n_stored;
}

size_t idem_bytes(const struct idem *s)
{
	return s->bytes;
}

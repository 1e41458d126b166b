/* net/channel.c: handles of libcurl with their open connections, kept for the next request.
 *
 * In libcurl a connection belongs to the multi handle that made it, and a handle serves one thread at a time. So each
 * request takes a pair of multi and easy from a pool and gives it back after: requests of many threads never wait for
 * one another, and one that follows another finds an open connection. The pool is a stack: what was used last is warm,
 * and what lies below ages until libcurl closes its connection on the next use.
 *
 * libcurl's global state is prepared once in the process, by the first channel, and never torn down: the program may
 * use libcurl as well. */
#include "net/transfer.h"

#include <stdlib.h>

static void prepare_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT); /* a failure shows when the first handle is made */
}

struct net_channel *net_channel_free(struct net_channel *c)
{
	if (c) {
		if (c->easy && c->multi)
			curl_multi_remove_handle(c->multi, c->easy);
		if (c->easy)
			curl_easy_cleanup(c->easy);
		if (c->multi)
			curl_multi_cleanup(c->multi);
		free(c);
	}
	return NULL;
}

struct net_channel *net_channel_new(struct crex_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, prepare_curl);
	struct net_channel *c = calloc(1, sizeof *c);
	if (c) {
		c->multi = curl_multi_init();
		c->easy = curl_easy_init();
	}
	if (c && c->multi && c->easy)
		return c;
	crex_error_set(err, CREX_E_MEMORY, "no memory, or no descriptor, is left for a connection");
	return net_channel_free(c);
}

void net_pool_init(struct net_pool *pool)
{
	*pool = (struct net_pool){0};
	pthread_mutex_init(&pool->lock, NULL);
}

void net_pool_deinit(struct net_pool *pool)
{
	while (pool->idle) {
		struct net_channel *c = pool->idle;
		pool->idle = c->next;
		net_channel_free(c);
	}
	pthread_mutex_destroy(&pool->lock);
}

struct net_channel *net_pool_take(struct net_pool *pool, struct crex_error *err)
{
	pthread_mutex_lock(&pool->lock);
	struct net_channel *c = pool->idle;
	if (c) {
		pool->idle = c->next;
		pool->n_idle--;
	}
	pthread_mutex_unlock(&pool->lock);
	return c ? c : net_channel_new(err);
}

void net_pool_give(struct net_pool *pool, struct net_channel *c)
{
	pthread_mutex_lock(&pool->lock);
	bool keep = pool->n_idle < NET_IDLE_MAX;
	if (keep) {
		c->next = pool->idle;
		pool->idle = c;
		pool->n_idle++;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!keep)
		net_channel_free(c);
}

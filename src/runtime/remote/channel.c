/* runtime/remote/channel.c: handles of libcurl with their open connections, kept for the next call.
 *
 * In libcurl a connection belongs to the multi handle that made it, and a handle serves one thread at a time. So each
 * call takes a pair of multi and easy from a list and gives it back after: calls of many threads never wait for one
 * another, and one that follows another finds an open connection. The list is a stack: what was used last is warm, and
 * what lies below ages until libcurl closes its connection on the next use.
 *
 * libcurl's global state is prepared once in the process, by the first runtime, and never torn down: the program may
 * use libcurl as well. */
#include "runtime/remote/remote.h"

#include <stdlib.h>

static struct remote_channel *channel_free(struct remote_channel *c)
{
	if (c) {
		if (c->easy)
			curl_easy_cleanup(c->easy);
		if (c->multi)
			curl_multi_cleanup(c->multi);
		free(c);
	}
	return NULL;
}

static struct remote_channel *channel_new(struct crex_error *err)
{
	struct remote_channel *c = calloc(1, sizeof *c);
	if (c) {
		c->multi = curl_multi_init();
		c->easy = curl_easy_init();
	}
	if (c && c->multi && c->easy)
		return c;
	crex_error_set(err, CREX_E_MEMORY, "no memory, or no descriptor, is left for a connection");
	return channel_free(c);
}

struct remote_channel *remote_channel_take(struct remote *rt, struct crex_error *err)
{
	pthread_mutex_lock(&rt->lock);
	struct remote_channel *c = rt->idle;
	if (c) {
		rt->idle = c->next;
		rt->n_idle--;
	}
	pthread_mutex_unlock(&rt->lock);
	return c ? c : channel_new(err);
}

void remote_channel_give(struct remote *rt, struct remote_channel *c)
{
	pthread_mutex_lock(&rt->lock);
	bool keep = rt->n_idle < REMOTE_IDLE_MAX;
	if (keep) {
		c->next = rt->idle;
		rt->idle = c;
		rt->n_idle++;
	}
	pthread_mutex_unlock(&rt->lock);
	if (!keep)
		channel_free(c);
}

void remote_channels_free(struct remote *rt)
{
	while (rt->idle) {
		struct remote_channel *c = rt->idle;
		rt->idle = c->next;
		channel_free(c);
	}
	rt->n_idle = 0;
}

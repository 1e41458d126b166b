/* net/transfer.h: requests by libcurl that end when their caller wants them to.
 *
 * Whoever speaks HTTP on the host's side (the remote runtime, the clouds) says in CURLOPT_* what a request is; here is
 * what all of them need: handles with open connections, patience, a bounded reply, and what a failure means. */
#ifndef NET_TRANSFER_H
#define NET_TRANSFER_H

#include "base/buf.h"
#include "base/deadline.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

/* A handle for one request at a time, with its open connection. */
struct net_channel {
	CURLM *multi;
	CURL *easy;
	bool prepared; /* its user's: easy has what all of that user's requests have in common */
	struct net_channel *next;
};

struct net_channel *net_channel_new(struct crex_error *err); /* NULL with MEMORY */
struct net_channel *net_channel_free(struct net_channel *c); /* in any state; NULL is fine; returns NULL */

enum { NET_IDLE_MAX = 32 }; /* channels that a pool keeps for later */

/* Channels of one user for its many threads. */
struct net_pool {
	pthread_mutex_t lock;
	struct net_channel *idle;
	size_t n_idle;
};

void net_pool_init(struct net_pool *pool);
void net_pool_deinit(struct net_pool *pool); /* all channels have been given back */
struct net_channel *net_pool_take(struct net_pool *pool, struct crex_error *err);
void net_pool_give(struct net_pool *pool, struct net_channel *c);

/* What every request wants of its handle: HTTP/1.1 (say another version after this), no signals, no redirects,
 * keepalive, ten seconds for connecting; what net_perform needs. For new handles, and after curl_easy_reset. */
void net_prepare(CURL *easy);
void net_trust(CURL *easy, const char *ca_file); /* instead of the system's store; NULL: that one */

/* One transfer. Set the first group; the second is told by net_perform. */
struct net_transfer {
	const char *peer;  /* for messages: "https://name:8000" */
	bool tls;	   /* https */
	double limit;	   /* seconds that the peer may take; negative: as long as it likes */
	double look_up;	   /* seconds between two looks at libcurl although nothing has come; 0: a minute. With HTTP/2
			    * libcurl 7.88 may have read what it only hands out when it is called again */
	struct buf *reply; /* gets the body, up to its cap; NULL with on_body */
	/* Told pieces of the body; other than 0 ends the transfer (CURLE_WRITE_ERROR). */
	int (*on_body)(void *arg, const char *data, size_t len);
	/* Told each line of heads and trailers, with its line end. NULL: nobody. */
	void (*on_header)(void *arg, const char *line, size_t len);
	void *arg;

	CURLcode code;
	int status; /* with CURLE_OK; 0: none has come */
	long os_errno;
	char told[CURL_ERROR_SIZE]; /* libcurl's words, maybe "" */

	struct {
		CURL *easy;
		bool head_ended, interim, connect_only;
		int write_error;
	} inner;
};

/* Carries out what `c->easy` is set to. 0: it has ended, and t->code tells how (net_explain says it in words); -1: it
 * was ended: CANCELLED, DEADLINE, CONNECTION (the limit is over), LIMIT (the reply's cap), MEMORY. */
int net_perform(struct net_channel *c, struct net_transfer *t, const struct deadline *d, struct crex_error *err);

/* Connects, as c->easy is set to, for curl_easy_send and curl_easy_recv: the channel belongs to that connection then
 * and goes with it (net_channel_free). Results as of net_perform. */
int net_connect(struct net_channel *c, struct net_transfer *t, const struct deadline *d, struct crex_error *err);

/* Around calls of libcurl that may write to a TLS connection, other than those above: no SIGPIPE comes of them. */
struct net_quiet {
	bool on;
	sigset_t before;
};
void net_quiet_begin(struct net_quiet *q, bool wanted);
void net_quiet_end(struct net_quiet *q);

/* Turns a t->code other than CURLE_OK into err; whether a repeat may help. trust: what names a further CA, for the
 * message on a certificate ("ca_file"). */
bool net_explain(const struct net_transfer *t, const char *trust, struct crex_error *err);

#endif

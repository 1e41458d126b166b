/* deploy/modal/exchange.h: one gRPC request over HTTP/2, once: sent, its messages handed out, its end told. */
#ifndef DEPLOY_MODAL_EXCHANGE_H
#define DEPLOY_MODAL_EXCHANGE_H

#include "deploy/modal/client.h"

enum { EXCHANGE_LINES = 3 };

struct exchange {
	struct modal_client *client;
	const char *url;		   /* NULL: the profile's */
	const char *path;		   /* "/service/Method" */
	const char *lines[EXCHANGE_LINES]; /* further header lines; NULL: none */
	bool with_token;		   /* the client's short-lived one goes along */
	bool is_foreign;		   /* not the control plane: who we are is not told */
	const struct pb_writer *request;
	double seconds;	     /* for all of it */
	bool ends_with_time; /* that time is then its end, not a failure */
	/* 0; 1: enough; negative: failed, with err set where the caller has it, else -errno */
	int (*on_message)(void *arg, struct crex_str message);
	void *arg;
};

enum exchange_end {
	EXCHANGE_ANSWERED, /* the outcome has a status */
	EXCHANGE_ENOUGH,   /* on_message, or the time, has ended it */
	EXCHANGE_BROKEN,   /* no status: a repeat may help; err is set */
	EXCHANGE_FAILED,   /* cancelled, the deadline over, TLS not trusted ...; err is set */
};

enum exchange_end exchange_run(const struct exchange *e, const struct deadline *deadline, struct grpc_outcome *ret,
			       struct crex_error *err);

#endif

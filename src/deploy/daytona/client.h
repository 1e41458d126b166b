/* deploy/daytona/client.h: calls of Daytona: of its API, and of the toolbox that each sandbox has. */
#ifndef DEPLOY_DAYTONA_CLIENT_H
#define DEPLOY_DAYTONA_CLIENT_H

#include "deploy/daytona/account.h"
#include "net/transfer.h"
#include "deploy/json.h"

/* For one thread at a time. */
struct daytona_client {
	const struct daytona_account *account; /* borrowed */
	struct net_channel *channel;
};

int daytona_client_init(struct daytona_client *c, const struct daytona_account *account, struct crex_error *err);
void daytona_client_deinit(struct daytona_client *c); /* fine on a zeroed one */
#define cleanup_daytona_client __attribute__((cleanup(daytona_client_deinit)))

/* A part of a form: a text, or a file of the host's. */
struct daytona_part {
	const char *name;
	const char *text;      /* NULL: file */
	const char *file_name; /* told to the other side; NULL: none */
	const char *file;
};

struct daytona_request {
	const char *method;
	const char *base; /* "https://..."; NULL: the API */
	const char *path; /* behind base; escaped where it must be */
	const char *what; /* for messages: "creating the sandbox" */
	const json_t *body;
	const struct daytona_part *parts; /* a form instead of a body; its end has no name. NULL: none */
	double seconds;			  /* for one try; 0: the usual */
	bool once;			  /* what may have reached them is not repeated */
	bool wants_text;		  /* the answer is no JSON; its newest bytes are kept */
	bool expects_busy;		  /* "not now" is repeated as long as the deadline lets */
};

struct daytona_reply {
	int status;	       /* 0: none has come */
	bool unsure;	       /* it failed, and may have been carried out all the same */
	json_t *json;	       /* owned; NULL: there is none */
	struct crex_text text; /* owned */
};
void daytona_reply_deinit(struct daytona_reply *r);
#define cleanup_daytona_reply __attribute__((cleanup(daytona_reply_deinit)))

/* Repeats what may help to repeat. 0 with a reply of status 2xx; -1 with a reply that says how far it got, which is the
 * caller's as well. Errors: AUTHENTICATION (the key), PERMISSION, CONNECTION, PROTOCOL, SWEREX (any other refusal),
 * CANCELLED, DEADLINE. */
int daytona_call(struct daytona_client *c, const struct daytona_request *request, const struct deadline *deadline,
		 struct daytona_reply *ret, struct crex_error *err);

/* The string of a field; NULL: it has none, or one that doesn't fit into a line of text. Borrowed. */
const char *daytona_string(const json_t *object, const char *field);

/* Escaped for a path or a query; caller frees; NULL: out of memory. */
char *daytona_escape(const char *text);

#endif

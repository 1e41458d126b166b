/* runtime/remote/remote.h: a runtime behind HTTP, as its files share it. */
#ifndef RUNTIME_REMOTE_REMOTE_H
#define RUNTIME_REMOTE_REMOTE_H

#include "base/buf.h"
#include "base/deadline.h"
#include "net/transfer.h"
#include "runtime/remote/host.h"

#include <crex/interface.h>

/* Bytes of a reply; beyond it is LIMIT. The second is for what has little to say: whoever else may listen there, a
 * question whether it is alive costs no more than that. */
#define REMOTE_REPLY_MAX ((size_t)1 << 30)
#define REMOTE_SHORT_REPLY_MAX ((size_t)1 << 20)

struct remote {
	struct crex_runtime base;
	struct remote_host host;
	char *unix_socket;	    /* NULL: TCP */
	char *ca_file;		    /* NULL: the system's */
	struct curl_slist *headers; /* of every request, the token among them */
	double timeout;		    /* of is_alive */
	int retries;
	struct net_pool pool;
};

struct remote_form;

struct remote_request {
	const char *path; /* "/execute" */
	bool post;
	struct crex_str body;	  /* JSON; none with form */
	const char *id;		  /* X-Request-ID; NULL: none */
	struct remote_form *form; /* an upload; NULL: none */
	double limit;		  /* seconds that the server may take; negative: as long as it likes */
	bool short_reply;	  /* of at most REMOTE_SHORT_REPLY_MAX bytes */
};

struct remote_reply {
	int status;
	struct buf body; /* owned */
};

enum remote_outcome {
	REMOTE_ANSWERED,
	REMOTE_BROKEN, /* the connection failed: a repeat may succeed */
	REMOTE_FAILED, /* no repeat would help */
};

/* http.c: one request, once. ret is initialised here; its body is the caller's to free. */
enum remote_outcome remote_try(struct remote *rt, const struct remote_request *req, const struct deadline *d,
			       struct remote_reply *ret, struct crex_error *err);

/* How the server is reached: socket, proxy, CA. */
void remote_set_way(const struct remote *rt, CURL *easy);

/* stream.c */
int remote_open_stream(struct crex_runtime *rt, const struct crex_stream_request *req, const struct crex_call *call,
		       struct crex_stream **ret, struct crex_error *err);

/* explain.c: what a failed transfer means, in words that say what to do. */
enum remote_outcome remote_explain(const struct remote *rt, const struct net_transfer *t, struct crex_error *err);

/* upload.c */
int remote_upload(struct crex_runtime *rt, const struct crex_upload_request *req, const struct crex_call *call,
		  struct crex_error *err);
/* Makes the form's parts of the handle; NULL: memory ran out. */
curl_mime *remote_form_build(struct remote_form *form, CURL *easy);
/* Whether the form has stopped the transfer; err is set then. */
bool remote_form_failed(struct remote_form *form, struct crex_error *err);

/* call.c: one call with its repeats; 0 with a reply of status 200, or -1. `anew` (may be NULL) is told before each
 * repeat, and may fail. */
int remote_request(struct remote *rt, const struct remote_request *req, const struct deadline *d, struct buf *ret_body,
		   int (*anew)(void *arg, struct crex_error *err), void *arg, struct crex_error *err);

#endif

/* deploy/modal/client.h: calls of Modal's services: gRPC over HTTP/2, with who we are, repeats, and statuses as errors.
 */
#ifndef DEPLOY_MODAL_CLIENT_H
#define DEPLOY_MODAL_CLIENT_H

#include "base/deadline.h"
#include "deploy/modal/grpc.h"
#include "deploy/modal/profile.h"
#include "deploy/modal/protobuf.h"
#include "net/transfer.h"

enum { MODAL_REPLY_MAX = 64 << 20, MODAL_REQUEST_MAX = 64 << 20 };

/* One connection and one call at a time; a second thread makes a client of its own. */
struct modal_client {
	const struct modal_profile *profile; /* borrowed */
	const char *ca_file;		     /* borrowed; NULL: the system's authorities */
	struct net_channel *channel;
	char *auth_token; /* the short-lived one; NULL: none yet */
	double renew_at;  /* clock_now() time */
	int status;	  /* gRPC's, of the last call that failed; GRPC_NONE: no answer came */
};

/* Nothing is sent. 0, or -1 with MEMORY. */
int modal_client_init(struct modal_client *c, const struct modal_profile *profile, const char *ca_file,
		      struct crex_error *err);
void modal_client_deinit(struct modal_client *c); /* fine on a zeroed one */
#define cleanup_modal_client __attribute__((cleanup(modal_client_deinit)))

/* A call with one reply. Repeats it as long as that may help: the key makes Modal do the work once. key NULL: one of
 * its own. Each try may take `seconds`. ret_reply is initialised here, and to be freed after success.
 * Errors: AUTHENTICATION, CONNECTION (no answer, or none that counts), UNSUPPORTED, DEPLOYMENT_STARTUP (refused; status
 * says how), CANCELLED, DEADLINE. */
int modal_call(struct modal_client *c, const char *method, const struct pb_writer *request, const char *key,
	       double seconds, const struct deadline *deadline, struct buf *ret_reply, struct crex_error *err);

/* Whether the call that has failed has certainly changed nothing. */
bool modal_was_refused(const struct modal_client *c);

struct modal_stream {
	const char *url;    /* of another server than the profile's; NULL: that one */
	const char *method; /* whole path, or a name of the control plane's */
	const char *bearer; /* NULL: the profile's tokens */
	double seconds;	    /* how long to listen at most */
	/* Told each message; 1: enough, -1: err is set */
	int (*on_message)(void *arg, struct crex_str message, struct crex_error *err);
	void *arg;
};

enum modal_stream_end {
	MODAL_STREAM_ENDED,  /* the server closed it, on_message had enough, or the time is over */
	MODAL_STREAM_BROKEN, /* may be opened again; err says why */
	MODAL_STREAM_FAILED,
};
/* A call with many replies, tried once. */
enum modal_stream_end modal_listen(struct modal_client *c, const struct modal_stream *s,
				   const struct pb_writer *request, const struct deadline *deadline,
				   struct crex_error *err);

#endif

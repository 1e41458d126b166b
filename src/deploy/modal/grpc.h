/* deploy/modal/grpc.h: gRPC on the wire: messages in frames, statuses in header lines. Pure, without a connection. */
#ifndef DEPLOY_MODAL_GRPC_H
#define DEPLOY_MODAL_GRPC_H

#include "base/buf.h"
#include <crex/runtime.h>
#include <stdbool.h>

enum grpc_status {
	GRPC_NONE = -1, /* none came */
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

/* A repeat of the call may succeed. */
bool grpc_is_transient(int status);
const char *grpc_status_name(int status); /* "NOT_FOUND"; static */

enum { GRPC_HEAD = 5, GRPC_MESSAGE_MAX = 400 };

/* The bytes in front of a message. */
void grpc_frame_head(unsigned char ret[GRPC_HEAD], size_t len);

/* Frames out of a stream of bytes. */
struct grpc_frames {
	struct buf pending; /* the beginning of a frame; its cap bounds a message */
	/* Told each message; what it returns other than 0 ends the feeding. */
	int (*on_message)(void *arg, struct crex_str message);
	void *arg;
};

void grpc_frames_init(struct grpc_frames *f, size_t max, int (*on_message)(void *arg, struct crex_str message),
		      void *arg);
void grpc_frames_deinit(struct grpc_frames *f);
/* 0; what on_message said; -EPROTO: this is no frame (a compressed one isn't either, none was asked for); -ENOSPC: a
 * message is too long; -ENOMEM. */
int grpc_frames_feed(struct grpc_frames *f, const char *data, size_t len);
/* Whether the last frame is whole. */
bool grpc_frames_at_end(const struct grpc_frames *f);

/* What header lines and trailers say of the outcome. */
struct grpc_outcome {
	int http_status; /* of the last head; 0: none yet */
	bool is_grpc;	 /* the content type says so */
	int status;	 /* GRPC_NONE: hasn't been said */
	char message[GRPC_MESSAGE_MAX];
};

void grpc_outcome_init(struct grpc_outcome *o);
/* One line as it came, its end included. */
void grpc_outcome_line(struct grpc_outcome *o, const char *line, size_t len);

#endif

/* runtime/local/stream_service.h: one stream of the protocol crex-stream/1, the side that has the program.
 *
 * Frames come in by stream_service_feed and go out by the transport's send; whose connection that is (HTTP's, or a
 * socket pair within this process) is the transport's affair. Loop thread only. */
#ifndef RUNTIME_LOCAL_STREAM_SERVICE_H
#define RUNTIME_LOCAL_STREAM_SERVICE_H

#include "runtime/local/local.h"

struct stream_service;

struct stream_transport {
	/* Sends both pieces, keeping what can't go at once. Returns how many bytes wait now. */
	size_t (*send)(void *arg, const char *head, size_t head_len, const char *data, size_t len);
	void (*pause)(void *arg, bool paused); /* feed no more for now */
	/* The service is gone; close when all has been sent. */
	void (*finish)(void *arg);
};

struct stream_service *stream_service_new(struct local *rt, const struct stream_transport *transport, void *arg);
/* May end in finish, or not: then it is called again with what comes next. */
void stream_service_feed(struct stream_service *s, const char *data, size_t len);
void stream_service_drained(struct stream_service *s); /* nothing waits any more */
void stream_service_hang_up(
	struct stream_service *s); /* the connection is gone, and so is the service: the tree is killed */

#endif

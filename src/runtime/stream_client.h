/* runtime/stream_client.h: the caller's side of crex-stream/1, over any connection: a crex_stream. */
#ifndef RUNTIME_STREAM_CLIENT_H
#define RUNTIME_STREAM_CLIENT_H

#include <crex/interface.h>
#include <sys/types.h>

/* A connection that never blocks. Used by one thread at a time. */
struct stream_duplex {
	/* How many bytes, 0: the end, -EAGAIN: none now; any other negative: broken, err is set. */
	ssize_t (*recv)(void *arg, char *data, size_t len, struct crex_error *err);
	ssize_t (*send)(void *arg, const char *data, size_t len, struct crex_error *err);
	void (*close)(void *arg);
};

/* Opens the stream: says what is to run and waits until it does. fd is the connection's, for poll(2); `early` are bytes
 * that have come already. The connection is taken in any case, and closed on failure. 0, or -1 with err. */
int stream_client_open(const struct stream_duplex *duplex, void *arg_take, int fd, struct crex_str early,
		       const struct crex_stream_request *req, const struct crex_call *call, struct crex_stream **ret,
		       struct crex_error *err);

#endif

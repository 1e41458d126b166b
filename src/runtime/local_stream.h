/* runtime/local_stream.h: streams of the local runtime: a socket pair with the engine's service at the other end. */
#ifndef RUNTIME_LOCAL_STREAM_H
#define RUNTIME_LOCAL_STREAM_H

#include "runtime/local/local.h"
#include <crex/interface.h>

/* Caller's thread: takes its end of the pair. 0, or -1 with err. */
int local_stream_connect(int fd_take, const struct crex_stream_request *req, const struct crex_call *call,
			 struct crex_stream **ret, struct crex_error *err);

/* Loop's thread: serves the other end. 0, or -1 with err; fd is taken in any case. */
int local_stream_serve(uv_loop_t *loop, struct local *engine, int fd_take, struct crex_error *err);
/* Loop's thread, when the engine has gone: closes what is still being sent to somebody. */
void local_stream_close_all(uv_loop_t *loop);

#endif

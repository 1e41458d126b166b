/* server/reserve.h: taken at the start, since libuv aborts the process when it can't have it later. */
#ifndef SERVER_RESERVE_H
#define SERVER_RESERVE_H

#include <uv.h>

/* Call before anything else of libuv: its allocator gets a reserve. */
void reserve_memory(void);

/* Starts libuv's worker threads, `wanted` or as many as can be had. Before any other use of the pool. Returns the
 * number or a negative errno. Runs the loop, which must have no handles yet. */
int reserve_workers(uv_loop_t *loop, unsigned wanted);

#endif

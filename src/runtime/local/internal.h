/* runtime/local/internal.h: what the parts of the engine share: the engine object and its pending count.
 *
 * local.c owns `struct local`; session*.c, exec.c, files.c and upload.c each hold it while they have anything
 * under way (a worker job, an open handle, a living child) and release it when that is over. A closing engine is
 * freed when the last hold is released. */
#ifndef RUNTIME_LOCAL_INTERNAL_H
#define RUNTIME_LOCAL_INTERNAL_H

#include "base/buf.h"
#include "runtime/local/local.h"

struct session;
struct exec;
struct local_stream;

struct local {
	uv_loop_t *loop;
	struct local_config config;
	struct proc_reaper *reaper;
	struct session *sessions;     /* owned, linked list of session.c */
	struct exec *execs;	      /* owned, linked list of exec.c */
	struct local_stream *streams; /* owned, linked list of stream.c */
	struct buf scratch;	      /* cleaned text on its way into a session's output; loop thread only */
	size_t n_sessions;
	size_t n_execs;
	size_t holds;
	uint64_t group, born; /* of all that it starts (proc/spawn.h), and since when */
	uv_work_t sweep;
	bool closing, swept;
	void (*closed)(void *arg);
	void *closed_arg;
};

void local_hold(struct local *rt);
void local_release(struct local *rt); /* may free rt when it is closing */

/* Each part ends what it has under way; every pending done is called with an error. */
void local_sessions_shutdown(struct local *rt);
void local_execs_shutdown(struct local *rt);
void local_streams_shutdown(struct local *rt);

#endif

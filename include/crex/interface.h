/* crex/interface.h: for those who write a runtime or a deployment of their own.
 *
 * A runtime is a struct whose first member is a `struct crex_runtime`; its `ops` say what to do. The library's inline
 * dispatch has done its part before a slot is called: `call` is never NULL, `err` is never NULL and clear, `ret` is an
 * initialised struct of the dispatcher's that reaches the caller only on success. Every slot returns 0, or -1 with err
 * set. Slots of one object are called from several threads at a time. Only slots that say so may be NULL.
 * A slot that waits does so for call->timeout at most (negative: without end; then CREX_E_DEADLINE) and watches
 * crex_cancel_fd(call->cancel) where there is a cancel (CREX_E_CANCELLED). Strings in replies come from malloc().
 * examples/guard.c is a runtime of this kind. */
#ifndef CREX_INTERFACE_H
#define CREX_INTERFACE_H

#include <crex/deployment.h>
#include <crex/runtime.h>
#include <crex/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

struct crex_runtime_ops {
	const char *type; /* "local", "remote", ... : static, for messages */

	/* Unreachable is 0 with ret->is_alive false. Must answer within call->timeout. */
	int (*is_alive)(struct crex_runtime *rt, const struct crex_call *call, struct crex_is_alive *ret,
			struct crex_error *err);
	/* A start that fails leaves no session and no process. */
	int (*create_session)(struct crex_runtime *rt, const struct crex_create_session_request *req,
			      const struct crex_call *call, struct crex_text *ret, struct crex_error *err);
	/* Runs the command at most once, whatever happens on the way. Giving up waiting does not stop it. */
	int (*run_in_session)(struct crex_runtime *rt, const struct crex_bash_action *action,
			      const struct crex_call *call, struct crex_observation *ret, struct crex_error *err);
	/* Overtakes what is queued in the session. */
	int (*interrupt)(struct crex_runtime *rt, const struct crex_bash_interrupt_action *action,
			 const struct crex_call *call, struct crex_observation *ret, struct crex_error *err);
	/* Returns when the session's processes are gone. */
	int (*close_session)(struct crex_runtime *rt, struct crex_str session, const struct crex_call *call,
			     struct crex_error *err);
	int (*execute)(struct crex_runtime *rt, const struct crex_execute_request *req, const struct crex_call *call,
		       struct crex_execute_result *ret, struct crex_error *err);
	int (*read_file)(struct crex_runtime *rt, const struct crex_read_file_request *req,
			 const struct crex_call *call, struct crex_text *ret, struct crex_error *err);
	int (*write_file)(struct crex_runtime *rt, const struct crex_write_file_request *req,
			  const struct crex_call *call, struct crex_error *err);
	int (*upload)(struct crex_runtime *rt, const struct crex_upload_request *req, const struct crex_call *call,
		      struct crex_error *err);
	/* Closes all sessions; the runtime lives on. */
	int (*close)(struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err);
	/* NULL: the runtime has no streams (UNSUPPORTED). *ret is set on success. */
	int (*open_stream)(struct crex_runtime *rt, const struct crex_stream_request *req, const struct crex_call *call,
			   struct crex_stream **ret, struct crex_error *err);
	/* Frees the object itself; called with no call under way. */
	void (*free)(struct crex_runtime *rt);
};

struct crex_runtime {
	const struct crex_runtime_ops *ops;
};

struct crex_stream_ops {
	int (*read)(struct crex_stream *s, struct crex_stream_event *ret, const struct crex_call *call,
		    struct crex_error *err);
	int (*write)(struct crex_stream *s, const char *data, size_t len, const struct crex_call *call,
		     struct crex_error *err);
	int (*close_stdin)(struct crex_stream *s, const struct crex_call *call, struct crex_error *err);
	int (*resize)(struct crex_stream *s, int rows, int columns, const struct crex_call *call,
		      struct crex_error *err);
	int (*signal)(struct crex_stream *s, int signum, const struct crex_call *call, struct crex_error *err);
	int (*fd)(const struct crex_stream *s);
	void (*free)(struct crex_stream *s); /* a program that still runs is killed with its tree */
};

struct crex_stream {
	const struct crex_stream_ops *ops;
};

/* The dispatcher keeps the state (start only once at a time, stop legal in every state) and calls the slots one at a
 * time. `self->report` tells the hooks. */
struct crex_deployment_ops {
	const char *type; /* as in a config's `type`; static */

	/* Brings the sandbox up until its runtime answers. On failure it has taken back whatever it had begun, as well
	 * when the failure is CANCELLED or DEADLINE: the dispatcher calls `stop` right after a failed start, with a
	 * call that is not cancelled. */
	int (*start)(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err);
	/* The sandbox itself, beside its runtime's is_alive; NULL: the runtime's answer is enough. */
	int (*is_alive)(struct crex_deployment *d, const struct crex_call *call, struct crex_is_alive *ret,
			struct crex_error *err);
	/* Takes everything down. Called in any state, also twice, also when start was cut anywhere. */
	int (*stop)(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err);
	/* The runtime of a started deployment; the deployment owns it. */
	struct crex_runtime *(*runtime)(struct crex_deployment *d);
	/* Writes what `resume` of the same type needs to reach and to stop the sandbox from another process: a JSON
	 * object, opaque here. NULL: can't outlive its process (UNSUPPORTED). */
	int (*detach)(struct crex_deployment *d, struct crex_text *ret_state, struct crex_error *err);
	/* The sandbox's own output so far, newest last; NULL: none is kept. */
	int (*logs)(struct crex_deployment *d, const struct crex_call *call, struct crex_text *ret,
		    struct crex_error *err);
	/* Frees the object itself, after stop or detach. */
	void (*free)(struct crex_deployment *d);
	/* Settles before `start` what `stop` needs to remove a sandbox whose start was cut off, and writes that for
	 * `resume`, as detach does; resume makes of it a deployment without a runtime. NULL: UNSUPPORTED. */
	int (*plan)(struct crex_deployment *d, struct crex_text *ret_state, struct crex_error *err);
};

struct crex_deployment_state; /* the dispatcher's */

struct crex_deployment {
	const struct crex_deployment_ops *ops;
	struct crex_deployment_state *state; /* set by crex_deployment_init */
};

/* First call of a constructor. 0, or -1 when memory ran out: then the object is the constructor's to free. Whatever
 * fails after it is followed by crex_deployment_free, which calls ops->free. */
CREX_API int crex_deployment_init(struct crex_deployment *d, const struct crex_deployment_ops *ops,
				  struct crex_error *err);
/* Tells every hook of a step ("Pulling image"), or how far it has come (total 0: not known). Any thread. */
CREX_API void crex_deployment_report(struct crex_deployment *d, const char *fmt, ...) CREX_PRINTF(2, 3);
CREX_API void crex_deployment_report_progress(struct crex_deployment *d, const char *what, unsigned long long done,
					      unsigned long long total);

#ifdef __cplusplus
}
#endif
#endif

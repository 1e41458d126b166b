/* runtime/runtime.c: the one way into every runtime.
 *
 * What all runtimes share stands here once: a call and an error are always there for the slot, the caller's reply is
 * only touched by success, and a call whose time is over or that was called off already begins nothing. */
#include <crex/interface.h>

#include "base/deadline.h"

static const struct crex_call forever = CREX_CALL_INIT;

/* What a slot is given in the place of the NULLs that a caller may pass. */
struct asked {
	const struct crex_call *call;
	struct crex_error *err;
	struct crex_error unheard;
};

static void asked_deinit(struct asked *a)
{
	crex_error_clear(&a->unheard);
}

#define cleanup_asked __attribute__((cleanup(asked_deinit)))

static int ask(struct asked *a, const struct crex_call *call, struct crex_error *err)
{
	a->unheard = (struct crex_error)CREX_ERROR_INIT;
	a->call = call ? call : &forever;
	a->err = err ? err : &a->unheard;
	crex_error_clear(a->err);
	struct deadline d;
	deadline_begin(&d, a->call);
	return deadline_check(&d, a->err);
}

static int unsupported(const struct crex_runtime *rt, const char *what, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_UNSUPPORTED, "the %s runtime has no %s", rt->ops->type, what);
}

int crex_runtime_is_alive(struct crex_runtime *rt, const struct crex_call *call, struct crex_is_alive *ret,
			  struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	struct crex_is_alive reply = CREX_IS_ALIVE_INIT;
	if (rt->ops->is_alive(rt, a.call, &reply, a.err) < 0) {
		crex_is_alive_clear(&reply);
		return -1;
	}
	if (ret)
		*ret = reply;
	else
		crex_is_alive_clear(&reply);
	return 0;
}

int crex_runtime_create_session(struct crex_runtime *rt, const struct crex_create_session_request *req,
				const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	struct crex_text reply = CREX_TEXT_INIT;
	if (rt->ops->create_session(rt, req, a.call, &reply, a.err) < 0) {
		crex_text_clear(&reply);
		return -1;
	}
	if (ret)
		*ret = reply;
	else
		crex_text_clear(&reply);
	return 0;
}

int crex_runtime_run_in_session(struct crex_runtime *rt, const struct crex_bash_action *action,
				const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	struct crex_observation reply = CREX_OBSERVATION_INIT;
	if (rt->ops->run_in_session(rt, action, a.call, &reply, a.err) < 0) {
		crex_observation_clear(&reply);
		return -1;
	}
	if (ret)
		*ret = reply;
	else
		crex_observation_clear(&reply);
	return 0;
}

int crex_runtime_interrupt(struct crex_runtime *rt, const struct crex_bash_interrupt_action *action,
			   const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	struct crex_observation reply = CREX_OBSERVATION_INIT;
	if (rt->ops->interrupt(rt, action, a.call, &reply, a.err) < 0) {
		crex_observation_clear(&reply);
		return -1;
	}
	if (ret)
		*ret = reply;
	else
		crex_observation_clear(&reply);
	return 0;
}

int crex_runtime_close_session(struct crex_runtime *rt, struct crex_str session, const struct crex_call *call,
			       struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	return rt->ops->close_session(rt, session, a.call, a.err);
}

int crex_runtime_execute(struct crex_runtime *rt, const struct crex_execute_request *req, const struct crex_call *call,
			 struct crex_execute_result *ret, struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	struct crex_execute_result reply = CREX_EXECUTE_RESULT_INIT;
	if (rt->ops->execute(rt, req, a.call, &reply, a.err) < 0) {
		crex_execute_result_clear(&reply);
		return -1;
	}
	if (ret)
		*ret = reply;
	else
		crex_execute_result_clear(&reply);
	return 0;
}

int crex_runtime_read_file(struct crex_runtime *rt, const struct crex_read_file_request *req,
			   const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	struct crex_text reply = CREX_TEXT_INIT;
	if (rt->ops->read_file(rt, req, a.call, &reply, a.err) < 0) {
		crex_text_clear(&reply);
		return -1;
	}
	if (ret)
		*ret = reply;
	else
		crex_text_clear(&reply);
	return 0;
}

int crex_runtime_write_file(struct crex_runtime *rt, const struct crex_write_file_request *req,
			    const struct crex_call *call, struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	return rt->ops->write_file(rt, req, a.call, a.err);
}

int crex_runtime_upload(struct crex_runtime *rt, const struct crex_upload_request *req, const struct crex_call *call,
			struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	return rt->ops->upload(rt, req, a.call, a.err);
}

int crex_runtime_close(struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	return rt->ops->close(rt, a.call, a.err);
}

struct crex_runtime *crex_runtime_free(struct crex_runtime *rt)
{
	if (rt)
		rt->ops->free(rt);
	return NULL;
}

int crex_runtime_open_stream(struct crex_runtime *rt, const struct crex_stream_request *req,
			     const struct crex_call *call, struct crex_stream **ret, struct crex_error *err)
{
	cleanup_asked struct asked a;
	if (ask(&a, call, err) < 0)
		return -1;
	if (!rt->ops->open_stream)
		return unsupported(rt, "streams", a.err);
	return rt->ops->open_stream(rt, req, a.call, ret, a.err);
}

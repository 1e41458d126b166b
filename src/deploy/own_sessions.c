/* deploy/own_sessions.c: noting sessions as they come and go.
 *
 * A name is noted when its session was made, and when nobody can tell: the wait for the answer was given up, or the
 * connection was lost. It is forgotten when the session is closed or known to have ended, and never noted when the
 * server says that it exists already: then it is somebody else's, or noted. The names are kept as the keys of a JSON
 * object: their number is bounded by what the server allows. */
#include "deploy/own_sessions.h"

#include "base/deadline.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct own_sessions {
	struct crex_runtime base;
	struct crex_runtime *inner; /* owned */
	pthread_mutex_t lock;
	json_t *names; /* owned, under the lock */
};

static struct own_sessions *of(struct crex_runtime *rt)
{
	return (struct own_sessions *)rt; /* the base stands first */
}

static void note(struct own_sessions *o, struct crex_str name)
{
	pthread_mutex_lock(&o->lock);
	json_object_setn_new(o->names, name.ptr ? name.ptr : "", name.len, json_true());
	pthread_mutex_unlock(&o->lock);
}

static void forget(struct own_sessions *o, struct crex_str name)
{
	pthread_mutex_lock(&o->lock);
	json_object_deln(o->names, name.ptr ? name.ptr : "", name.len);
	pthread_mutex_unlock(&o->lock);
}

static bool may_have_happened(const struct crex_error *err)
{
	return err->code == CREX_E_DEADLINE || err->code == CREX_E_CANCELLED || err->code == CREX_E_CONNECTION;
}

static int is_alive(struct crex_runtime *rt, const struct crex_call *call, struct crex_is_alive *ret,
		    struct crex_error *err)
{
	return crex_runtime_is_alive(of(rt)->inner, call, ret, err);
}

static int create_session(struct crex_runtime *rt, const struct crex_create_session_request *req,
			  const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	int r = crex_runtime_create_session(of(rt)->inner, req, call, ret, err);
	if (r == 0 || may_have_happened(err))
		note(of(rt), req->session);
	return r;
}

static int run_in_session(struct crex_runtime *rt, const struct crex_bash_action *action, const struct crex_call *call,
			  struct crex_observation *ret, struct crex_error *err)
{
	int r = crex_runtime_run_in_session(of(rt)->inner, action, call, ret, err);
	if (r == 0 ? ret->session_ended : err->code == CREX_E_SESSION_DOES_NOT_EXIST)
		forget(of(rt), action->session);
	return r;
}

static int interrupt(struct crex_runtime *rt, const struct crex_bash_interrupt_action *action,
		     const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	int r = crex_runtime_interrupt(of(rt)->inner, action, call, ret, err);
	if (r == 0 ? ret->session_ended : err->code == CREX_E_SESSION_DOES_NOT_EXIST)
		forget(of(rt), action->session);
	return r;
}

static int close_session(struct crex_runtime *rt, struct crex_str session, const struct crex_call *call,
			 struct crex_error *err)
{
	int r = crex_runtime_close_session(of(rt)->inner, session, call, err);
	if (r == 0 || err->code == CREX_E_SESSION_DOES_NOT_EXIST)
		forget(of(rt), session);
	return r;
}

static int execute(struct crex_runtime *rt, const struct crex_execute_request *req, const struct crex_call *call,
		   struct crex_execute_result *ret, struct crex_error *err)
{
	return crex_runtime_execute(of(rt)->inner, req, call, ret, err);
}

static int read_file(struct crex_runtime *rt, const struct crex_read_file_request *req, const struct crex_call *call,
		     struct crex_text *ret, struct crex_error *err)
{
	return crex_runtime_read_file(of(rt)->inner, req, call, ret, err);
}

static int write_file(struct crex_runtime *rt, const struct crex_write_file_request *req, const struct crex_call *call,
		      struct crex_error *err)
{
	return crex_runtime_write_file(of(rt)->inner, req, call, err);
}

static int upload(struct crex_runtime *rt, const struct crex_upload_request *req, const struct crex_call *call,
		  struct crex_error *err)
{
	return crex_runtime_upload(of(rt)->inner, req, call, err);
}

static int close_all(struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err)
{
	if (crex_runtime_close(of(rt)->inner, call, err) < 0)
		return -1;
	pthread_mutex_lock(&of(rt)->lock);
	json_object_clear(of(rt)->names);
	pthread_mutex_unlock(&of(rt)->lock);
	return 0;
}

static int open_stream(struct crex_runtime *rt, const struct crex_stream_request *req, const struct crex_call *call,
		       struct crex_stream **ret, struct crex_error *err)
{
	return crex_runtime_open_stream(of(rt)->inner, req, call, ret, err);
}

static void own_sessions_free(struct crex_runtime *rt)
{
	crex_runtime_free(of(rt)->inner);
	json_decref(of(rt)->names);
	pthread_mutex_destroy(&of(rt)->lock);
	free(of(rt));
}

static const struct crex_runtime_ops ops = {
	.type = "remote",
	.is_alive = is_alive,
	.create_session = create_session,
	.run_in_session = run_in_session,
	.interrupt = interrupt,
	.close_session = close_session,
	.execute = execute,
	.read_file = read_file,
	.write_file = write_file,
	.upload = upload,
	.close = close_all,
	.open_stream = open_stream,
	.free = own_sessions_free,
};

struct crex_runtime *own_sessions_new(struct crex_runtime *inner_take, const json_t *sessions, struct crex_error *err)
{
	struct own_sessions *o = calloc(1, sizeof *o);
	json_t *names = json_object();
	size_t i;
	const json_t *name;
	json_array_foreach(sessions, i, name) if (json_is_string(name))
		json_object_setn_new(names, json_string_value(name), json_string_length(name), json_true());
	if (!o || !names) {
		free(o);
		json_decref(names);
		crex_runtime_free(inner_take);
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	*o = (struct own_sessions){.base.ops = &ops, .inner = inner_take, .names = names};
	pthread_mutex_init(&o->lock, NULL);
	return &o->base;
}

json_t *own_sessions_names(struct crex_runtime *rt)
{
	json_t *list = json_array();
	const char *name;
	size_t len;
	json_t *value;
	pthread_mutex_lock(&of(rt)->lock);
	json_object_keylen_foreach(of(rt)->names, name, len, value)
		json_array_append_new(list, json_stringn(name, len));
	pthread_mutex_unlock(&of(rt)->lock);
	return list;
}

void own_sessions_close(struct crex_runtime *rt, const struct crex_call *call)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	json_t *names = own_sessions_names(rt), *name;
	struct crex_error err = CREX_ERROR_INIT;
	size_t i;
	json_array_foreach(names, i, name)
	{
		const struct crex_str session = {json_string_value(name), json_string_length(name)};
		const struct crex_call rest = deadline_rest(&deadline);
		if (close_session(rt, session, &rest, &err) < 0 && may_have_happened(&err))
			break; /* a server that is gone has no sessions left */
		crex_error_clear(&err);
	}
	crex_error_clear(&err);
	json_decref(names);
}

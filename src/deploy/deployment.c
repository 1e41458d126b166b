/* deploy/deployment.c: the one way into every deployment: its state, its hooks.
 *
 * A deployment's slots do the work; what is the same for all stands here: start and stop exclude each other, a stop
 * calls off a start that is under way, a start that fails takes back what it had begun, a runtime is only handed out
 * while there is one. The state has a lock that is never held while a slot runs. */
#include <crex/interface.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "deploy/registry.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* How long taking back a failed start, or the stop that free makes, may last. */
#define GRACE_SECONDS 30.0

enum phase { PHASE_DOWN, PHASE_STARTING, PHASE_UP, PHASE_STOPPING };

struct crex_deployment_state {
	pthread_mutex_t lock;
	pthread_cond_t settled; /* no longer starting or stopping */
	enum phase phase;
	struct crex_cancel *starting; /* calls off the start that is under way; borrowed from its stack */

	pthread_mutex_t hook_lock; /* one call at a time */
	struct crex_deployment_hook *hooks;
	size_t n_hooks;
};

int crex_deployment_init(struct crex_deployment *d, const struct crex_deployment_ops *ops, struct crex_error *err)
{
	d->ops = ops;
	d->state = calloc(1, sizeof *d->state);
	if (!d->state)
		return crex_error_set_errno(err, ENOMEM, NULL);
	pthread_mutex_init(&d->state->lock, NULL);
	pthread_mutex_init(&d->state->hook_lock, NULL);
	pthread_cond_init(&d->state->settled, NULL);
	return 0;
}

static void settle(struct crex_deployment_state *s, enum phase phase)
{
	pthread_mutex_lock(&s->lock);
	s->phase = phase;
	s->starting = NULL;
	pthread_cond_broadcast(&s->settled);
	pthread_mutex_unlock(&s->lock);
}

/* The error keeps its kind; that something may be left is said behind it. */
static void take_back(struct crex_deployment *d, struct crex_error *err)
{
	cleanup_error struct crex_error failure = CREX_ERROR_INIT;
	const struct crex_call grace = {.timeout = GRACE_SECONDS};
	if (d->ops->stop(d, &grace, &failure) == 0 || err->code == CREX_OK)
		return;
	crex_error_add(err, "left_behind", failure.message ? failure.message : "", failure.message_len);
}

int crex_deployment_start(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!err)
		err = &unheard;
	crex_error_clear(err);
	struct crex_deployment_state *s = d->state;
	struct deadline deadline;
	deadline_begin(&deadline, call);
	struct crex_cancel *cancel = cancel_below(call ? call->cancel : NULL, err);
	if (!cancel)
		return -1;
	pthread_mutex_lock(&s->lock);
	enum phase before = s->phase;
	if (before == PHASE_DOWN) {
		s->phase = PHASE_STARTING;
		s->starting = cancel;
	}
	pthread_mutex_unlock(&s->lock);
	if (before != PHASE_DOWN) {
		crex_cancel_free(cancel);
		return before == PHASE_UP
			       ? 0
			       : crex_error_set(err, CREX_E_SWEREX, "the deployment is being %s by another thread",
						before == PHASE_STARTING ? "started" : "stopped");
	}
	const struct crex_call inner = {.timeout = deadline_left(&deadline), .cancel = cancel};
	int r = deadline_check(&deadline, err);
	if (r == 0)
		r = d->ops->start(d, &inner, err);
	if (r < 0)
		take_back(d, err);
	settle(s, r < 0 ? PHASE_DOWN : PHASE_UP);
	crex_cancel_free(cancel);
	return r;
}

/* Waits until no start and no stop is under way and takes the turn; what is starting is called off. A thread that waits
 * here has no descriptor to poll beside its cancel, so it looks up now and then. */
static int begin_stop(struct crex_deployment_state *s, const struct deadline *deadline, struct crex_error *err)
{
	enum { LOOK_UP_NS = 20000000 };
	int r = 0;
	pthread_mutex_lock(&s->lock);
	while (s->phase == PHASE_STARTING || s->phase == PHASE_STOPPING) {
		if (s->starting)
			crex_cancel_trigger(s->starting);
		r = deadline_check(deadline, err);
		if (r < 0)
			break;
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += LOOK_UP_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&s->settled, &s->lock, &until);
	}
	if (r == 0)
		s->phase = PHASE_STOPPING;
	pthread_mutex_unlock(&s->lock);
	return r;
}

int crex_deployment_stop(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err)
{
	static const struct crex_call forever = CREX_CALL_INIT;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!err)
		err = &unheard;
	crex_error_clear(err);
	struct deadline deadline;
	deadline_begin(&deadline, call);
	if (begin_stop(d->state, &deadline, err) < 0)
		return -1;
	const struct crex_call rest = call ? deadline_rest(&deadline) : forever;
	int r = d->ops->stop(d, &rest, err);
	settle(d->state, PHASE_DOWN);
	return r;
}

static bool is_up(struct crex_deployment *d, struct crex_error *err)
{
	pthread_mutex_lock(&d->state->lock);
	bool up = d->state->phase == PHASE_UP;
	pthread_mutex_unlock(&d->state->lock);
	if (!up)
		crex_error_set(err, CREX_E_DEPLOYMENT_NOT_STARTED, "the %s deployment is not started", d->ops->type);
	return up;
}

struct crex_runtime *crex_deployment_runtime(struct crex_deployment *d, struct crex_error *err)
{
	return is_up(d, err) ? d->ops->runtime(d) : NULL;
}

int crex_deployment_is_alive(struct crex_deployment *d, const struct crex_call *call, struct crex_is_alive *ret,
			     struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!err)
		err = &unheard;
	crex_error_clear(err);
	if (!is_up(d, err))
		return -1;
	if (!d->ops->is_alive)
		return crex_runtime_is_alive(d->ops->runtime(d), call, ret, err);
	static const struct crex_call forever = CREX_CALL_INIT;
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	if (d->ops->is_alive(d, call ? call : &forever, &alive, err) < 0) {
		crex_is_alive_clear(&alive);
		return -1;
	}
	if (ret)
		*ret = alive;
	else
		crex_is_alive_clear(&alive);
	return 0;
}

static int unsupported(const struct crex_deployment *d, const char *what, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_UNSUPPORTED, "a %s deployment %s", d->ops->type, what);
}

int crex_deployment_logs(struct crex_deployment *d, const struct crex_call *call, struct crex_text *ret,
			 struct crex_error *err)
{
	static const struct crex_call forever = CREX_CALL_INIT;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!err)
		err = &unheard;
	crex_error_clear(err);
	if (!d->ops->logs)
		return unsupported(d, "keeps no log", err);
	if (!is_up(d, err))
		return -1;
	struct crex_text text = CREX_TEXT_INIT;
	if (d->ops->logs(d, call ? call : &forever, &text, err) < 0) {
		crex_text_clear(&text);
		return -1;
	}
	*ret = text;
	return 0;
}

/* A state is wrapped with its type, by which resume finds who can read it. Clears `inner`. */
static int wrap(const struct crex_deployment *d, struct crex_text *inner, struct crex_text *ret, struct crex_error *err)
{
	char *wrapped = NULL;
	int n = asprintf(&wrapped, "{\"type\":\"%s\",\"state\":%s}", d->ops->type, inner->data);
	crex_text_clear(inner);
	if (n < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	*ret = (struct crex_text){wrapped, (size_t)n};
	return 0;
}

int crex_deployment_plan(struct crex_deployment *d, struct crex_text *ret_state, struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!err)
		err = &unheard;
	crex_error_clear(err);
	if (!d->ops->plan)
		return unsupported(d, "has no name before its start", err);
	struct crex_text inner = CREX_TEXT_INIT;
	return d->ops->plan(d, &inner, err) < 0 ? -1 : wrap(d, &inner, ret_state, err);
}

int crex_deployment_detach(struct crex_deployment *d, struct crex_text *ret_state, struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!err)
		err = &unheard;
	crex_error_clear(err);
	if (!d->ops->detach)
		return unsupported(d, "ends with its program", err);
	if (!is_up(d, err))
		return -1;
	struct crex_text inner = CREX_TEXT_INIT;
	if (d->ops->detach(d, &inner, err) < 0) {
		crex_text_clear(&inner);
		return -1;
	}
	settle(d->state, PHASE_DOWN);
	return wrap(d, &inner, ret_state, err);
}

struct crex_deployment *crex_deployment_free(struct crex_deployment *d)
{
	if (!d)
		return NULL;
	struct crex_deployment_state *s = d->state;
	pthread_mutex_lock(&s->lock);
	bool down = s->phase == PHASE_DOWN;
	pthread_mutex_unlock(&s->lock);
	const struct crex_call grace = {.timeout = GRACE_SECONDS};
	if (!down)
		crex_deployment_stop(d, &grace, NULL);
	d->ops->free(d);
	pthread_cond_destroy(&s->settled);
	pthread_mutex_destroy(&s->hook_lock);
	pthread_mutex_destroy(&s->lock);
	free(s->hooks);
	free(s);
	return NULL;
}

void deployment_set_started(struct crex_deployment *d)
{
	settle(d->state, PHASE_UP);
}

const char *crex_deployment_type(const struct crex_deployment *d)
{
	return d->ops->type;
}

int crex_deployment_add_hook(struct crex_deployment *d, const struct crex_deployment_hook *hook, struct crex_error *err)
{
	struct crex_deployment_state *s = d->state;
	pthread_mutex_lock(&s->hook_lock);
	struct crex_deployment_hook *more = realloc(s->hooks, (s->n_hooks + 1) * sizeof *more);
	if (more) {
		s->hooks = more;
		s->hooks[s->n_hooks++] = *hook;
	}
	pthread_mutex_unlock(&s->hook_lock);
	return more ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

void crex_deployment_report(struct crex_deployment *d, const char *fmt, ...)
{
	cleanup_free char *message = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&message, fmt, ap);
	va_end(ap);
	if (n < 0) {
		message = NULL; /* a step that goes untold for want of memory */
		return;
	}
	struct crex_deployment_state *s = d->state;
	pthread_mutex_lock(&s->hook_lock);
	for (size_t i = 0; i < s->n_hooks; i++)
		if (s->hooks[i].on_custom_step)
			s->hooks[i].on_custom_step(s->hooks[i].arg, message);
	pthread_mutex_unlock(&s->hook_lock);
}

void crex_deployment_report_progress(struct crex_deployment *d, const char *what, unsigned long long done,
				     unsigned long long total)
{
	struct crex_deployment_state *s = d->state;
	pthread_mutex_lock(&s->hook_lock);
	for (size_t i = 0; i < s->n_hooks; i++)
		if (s->hooks[i].on_progress)
			s->hooks[i].on_progress(s->hooks[i].arg, what, done, total);
	pthread_mutex_unlock(&s->hook_lock);
}

/* runtime/local/session_job.c: an action of a session: taken in, queued, answered.
 *
 * A job owns copies of what its request held. It is answered once: with an observation, to which `check` is applied
 * here, or with an error; then it is gone. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include "base/pyrepr.h"
#include <string.h>

void session_job_free(struct session_job *job)
{
	expect_free(job->expect);
	free(job->store);
	free(job);
}

void session_job_fail(struct session_job *job, struct crex_error *err)
{
	job->done(job->arg, err, NULL);
	session_job_free(job);
}

struct session_job *session_take_current(struct session *s)
{
	struct session_job *job = s->current;
	s->current = NULL;
	uv_timer_stop(&s->timer);
	buf_deinit(&s->window);
	s->window_seen = 0;
	return job;
}

struct session_job *session_pop_job(struct session *s)
{
	struct session_job *job = s->queue;
	s->queue = job->next;
	if (!s->queue)
		s->queue_tail = &s->queue;
	s->n_queue--;
	job->next = NULL;
	return job;
}

/* Upstream's wording, so that whoever parses it keeps working. */
static void set_non_zero(struct crex_error *err, const struct session_job *job, const struct crex_observation *obs)
{
	cleanup_buf struct buf msg;
	buf_init(&msg, 1UL << 30);
	if (job->req.error_msg.len > 0) {
		buf_append(&msg, job->req.error_msg.ptr, job->req.error_msg.len);
		buf_append_str(&msg, ": ");
	}
	buf_append_str(&msg, "Command ");
	pyrepr_str(&msg, job->req.command.ptr, job->req.command.len);
	buf_printf(&msg, " failed with exit code %d. Here is the output:\n", obs->exit_code);
	pyrepr_str(&msg, obs->output, obs->output_len);
	if (obs->session_ended)
		buf_printf(&msg, "\n%s", SESSION_ENDED_REASON);
	crex_error_set_bytes(err, CREX_E_NON_ZERO_EXIT_CODE, msg.data, msg.len);
	crex_error_add(err, "output", obs->output, obs->output_len);
}

void session_take_output(struct session *s, struct crex_observation *obs)
{
	obs->output = keep_steal(&s->out, &obs->output_len, &obs->truncated);
	if (!obs->output)
		obs->output_len = 0;
}

void session_job_reply(struct session_job *job, struct crex_observation *obs)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	if (job->req.check == CREX_CHECK_IGNORE)
		obs->has_exit_code = false;
	if (job->req.check == CREX_CHECK_RAISE && obs->has_exit_code && obs->exit_code != 0) {
		set_non_zero(&err, job, obs);
		job->done(job->arg, &err, NULL);
	} else {
		job->done(job->arg, NULL, obs);
	}
	crex_observation_clear(obs);
	session_job_free(job);
}

/* Programs with a line editor echo what was typed; upstream takes that away too. */
void session_strip_echo(const struct session_job *job, struct crex_observation *obs)
{
	size_t n = job->req.command.len;
	if (!job->req.is_interactive_command || n == 0 || obs->output_len <= n || obs->output[n] != '\n' ||
	    memcmp(obs->output, job->req.command.ptr, n) != 0)
		return;
	obs->output_len -= n + 1;
	memmove(obs->output, obs->output + n + 1, obs->output_len + 1);
}

void session_reply_current(struct session *s, int status)
{
	struct session_job *job = session_take_current(s);
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	session_take_output(s, &obs);
	session_strip_echo(job, &obs);
	obs.has_exit_code = true;
	obs.exit_code = job->req.is_interactive_command ? 0 : status;
	obs.failure_reason = "";
	obs.expect_string = strdup(SESSION_PROMPT_EXPECT);
	session_job_reply(job, &obs);
}

void local_run_in_session(struct local *rt, const struct crex_bash_action *req, local_session_fn done, void *arg)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct session *s = session_find(rt, req->session);
	struct session_job *job = NULL;
	if (!s)
		crex_error_set(&err, CREX_E_SESSION_DOES_NOT_EXIST, "session '%.*s' does not exist",
			       (int)req->session.len, req->session.ptr);
	else if (req->command.len && memchr(req->command.ptr, '\0', req->command.len))
		crex_error_set(&err, CREX_E_VALUE, "embedded null byte: a shell command can't hold one");
	else if (s->n_queue >= rt->config.max_queue)
		crex_error_set(&err, CREX_E_LIMIT, "no more than %zu actions can wait in a session",
			       rt->config.max_queue);
	else if (!(job = calloc(1, sizeof *job)) || !(job->store = malloc(req->command.len + req->error_msg.len + 1)) ||
		 expect_new(&req->expect, &job->expect) < 0)
		crex_error_set(&err, CREX_E_MEMORY, "out of memory");
	if (err.code != CREX_OK) {
		if (job)
			session_job_free(job);
		done(arg, &err, NULL);
		return;
	}
	char *store = job->store;
	job->req = *req;
	job->req.session = (struct crex_str){NULL, 0};
	job->req.expect = (struct crex_str_list){NULL, 0};
	if (req->command.len)
		memcpy(store, req->command.ptr, req->command.len);
	job->req.command.ptr = store;
	if (req->error_msg.len)
		memcpy(store + req->command.len, req->error_msg.ptr, req->error_msg.len);
	job->req.error_msg.ptr = store + req->command.len;
	if (req->is_interactive_quit)
		job->req.is_interactive_command = true;
	job->done = done;
	job->arg = arg;
	*s->queue_tail = job;
	s->queue_tail = &job->next;
	s->n_queue++;
	session_pump(s);
}

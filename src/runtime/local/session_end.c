/* runtime/local/session_end.c: what everybody who waits is told when a session's shell is gone.
 *
 * The action under way gets its output and the shell's exit code, with the end said in failure_reason; those that had
 * not started get an error. A session that a client closed tells the action under way so. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include "base/pyrepr.h"
#include "proc/roots.h"
#include <string.h>
#include <sys/wait.h>

/* Only a host program's own waiting can take the status away. */
static bool has_code(int status)
{
	return status != PROC_STATUS_UNKNOWN;
}

static int shell_code(int status)
{
	if (!has_code(status))
		return 0;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void append_how(struct buf *msg, int status)
{
	if (!has_code(status))
		buf_append_str(msg, "ended");
	else if (WIFSIGNALED(status))
		buf_printf(msg, "was killed by signal %d", WTERMSIG(status));
	else
		buf_printf(msg, "exited with code %d", WEXITSTATUS(status));
}

/* An interactive bash says "exit" on its way out; that is not the command's output. */
static void strip_exit_notice(struct crex_observation *obs, struct crex_str command, int status)
{
	static const char notice[] = "exit\n";
	size_t n = sizeof notice - 1;
	if (!WIFEXITED(status) || obs->output_len < n || !memmem(command.ptr, command.len, "exit", 4))
		return;
	char *tail = obs->output + obs->output_len - n;
	if (memcmp(tail, notice, n) == 0) {
		*tail = '\0';
		obs->output_len -= n;
	}
}

static void set_start_failed(struct session *s, struct crex_error *err)
{
	cleanup_buf struct buf msg;
	buf_init(&msg, 1 << 20);
	size_t len = 0;
	bool cut;
	cleanup_free char *out = keep_steal(&s->out, &len, &cut);
	buf_append_str(&msg, "session ");
	pyrepr_str(&msg, s->name, s->name_len);
	if (s->was_closed) {
		buf_append_str(&msg, " was closed while it was starting");
	} else {
		buf_append_str(&msg, " could not be started: bash ");
		append_how(&msg, s->exit_status);
		buf_append_str(&msg, " while reading its startup files");
	}
	if (out && len > 0 && len < 65536) {
		buf_append_str(&msg, ". Output:\n");
		buf_append(&msg, out, len);
	}
	crex_error_set_bytes(err, CREX_E_SESSION_NOT_INITIALIZED, msg.data, msg.len);
}

static void set_closed(struct session *s, struct crex_error *err, struct crex_observation *obs)
{
	cleanup_buf struct buf name;
	buf_init(&name, 1 << 20);
	pyrepr_str(&name, s->name, s->name_len);
	if (s->was_closed) {
		crex_error_set(err, CREX_E_SWEREX, "session %s was closed while the command ran", name.data);
		if (obs && obs->output)
			crex_error_add(err, "output", obs->output, obs->output_len);
	} else {
		crex_error_set(err, CREX_E_SESSION_DOES_NOT_EXIST,
			       "session %s does not exist any more: its shell ended before this action could start",
			       name.data);
	}
}

static void reply_current_dead(struct session *s)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	struct session_job *job = session_take_current(s);
	session_take_output(s, &obs);
	if (s->was_closed) {
		set_closed(s, &err, &obs);
		session_job_fail(job, &err);
		crex_observation_clear(&obs);
		return;
	}
	strip_exit_notice(&obs, job->req.command, s->exit_status);
	obs.has_exit_code = has_code(s->exit_status);
	obs.exit_code = shell_code(s->exit_status);
	obs.session_ended = true;
	obs.failure_reason = SESSION_ENDED_REASON;
	session_job_reply(job, &obs);
}

void session_reply_dead(struct session *s)
{
	struct buf *scratch = &s->rt->scratch;
	struct scan_event ev;
	buf_clear(scratch);
	scanner_finish(&s->scan, &ev);
	if (ev.kind == SCAN_TEXT && !s->drop_output)
		text_clean_feed(&s->clean, ev.text, ev.len, scratch);
	text_clean_finish(&s->clean, scratch);
	if (scratch->len > 0 && !s->drop_output)
		keep_append(&s->out, scratch->data, scratch->len);

	if (s->create_done) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		local_session_fn done = s->create_done;
		s->create_done = NULL;
		set_start_failed(s, &err);
		done(s->create_arg, &err, NULL);
	}
	if (s->current)
		reply_current_dead(s);
	if (s->intr.done) {
		struct crex_observation obs = CREX_OBSERVATION_INIT;
		session_take_output(s, &obs);
		obs.has_exit_code = has_code(s->exit_status);
		obs.exit_code = shell_code(s->exit_status);
		obs.session_ended = true;
		obs.failure_reason = SESSION_ENDED_REASON;
		local_session_fn done = s->intr.done;
		s->intr.done = NULL;
		s->intr.expect = expect_free(s->intr.expect);
		done(s->intr.arg, NULL, &obs);
		crex_observation_clear(&obs);
	}
	while (s->queue) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		set_closed(s, &err, NULL);
		session_job_fail(session_pop_job(s), &err);
	}
}

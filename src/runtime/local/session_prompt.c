/* runtime/local/session_prompt.c: the state machine's edges: what the shell's reports do to a session.
 *
 *   STARTING --E--> SETTLING --P or N, and the report--> IDLE --type--> RUNNING --E--> SETTLING
 *   RUNNING --S, nothing ran--> SETTLING           (syntax error)
 *   RUNNING --S or P--> RECOVERING --E--> SETTLING (bash gave the command up: SIGINT, ${x?}, arithmetic errors)
 *   SETTLING --P, status not 0--> RECOVERING       (bash gave up our own words behind E: SIGINT)
 *   SETTLING --P, a new trap--> RECOVERING         (DEBUG or ERR, which only the clean-up text takes away)
 *
 * E answers the client; what the next command needs is known when the shell has come to its prompt. A new line is typed
 * only then, so that nobody else can read it. When no prompt will come (the user has sent the shell's stderr elsewhere)
 * N says so, and the session is `promptless` up to the next prompt; where one should come and doesn't (a PS1 of the
 * user's that is readonly), a whole report and a short wait stand for it. A prompt that shows while a command runs
 * means that bash gave the command up, unless a program has printed just that text: so it is doubted until bash sleeps
 * in the foreground and nothing has followed. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include "proc/pty.h"
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { DOUBT_TICKS = 200, RECOVERIES_MAX = 2, SETTLE_TICKS = 4 };
static const double DOUBT_TICK = 0.002, RECOVERY_WAIT = 0.03, SETTLE_TICK = 0.002;

/* "[1]+  Done                    sleep 5" and the like, which bash prints before a prompt. */
static bool is_job_notice(const char *line, size_t len)
{
	size_t i = 1;
	while (i < len && line[i] >= '0' && line[i] <= '9')
		i++;
	return len > 4 && line[0] == '[' && i > 1 && line[i] == ']' && memchr("+- ", line[i + 1], 3);
}

/* Between the report and the prompt stand bash's notices about jobs, with empty lines before them, and perhaps a line
 * of a background program. */
static void sort_out_notices(struct session *s)
{
	if (s->window.len == 0)
		return;
	const char *p = s->window.data, *end = p + s->window.len;
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = nl ? (size_t)(nl + 1 - p) : (size_t)(end - p);
		if (n > 1 && !is_job_notice(p, n))
			keep_append(&s->out, p, n);
		p += n;
	}
	buf_deinit(&s->window);
}

static void doubt_tick(struct session *s)
{
	if (s->output_came || s->state != SESSION_RUNNING)
		return; /* something followed it: it was text */
	if (session_at_prompt(s))
		session_give_up(s, s->abort_status);
	else if (++s->doubt_ticks < DOUBT_TICKS)
		session_set_step(s, STEP_DOUBT, DOUBT_TICK);
}

static void settled(struct session *s)
{
	if (s->step_kind == STEP_PROMPT_WAIT)
		session_set_step(s, STEP_NONE, 0);
	s->report_due = false;
	sort_out_notices(s);
	s->idle_len = s->out.buf.len;
	s->state = SESSION_IDLE;
	session_pump(s);
}

static void recover(struct session *s)
{
	if (++s->recoveries > RECOVERIES_MAX)
		settled(s);
	else
		session_give_up(s, s->shell.status);
}

static void take_report(struct session *s)
{
	session_read_report(s);
	shell_parse_report(s->report.data ? s->report.data : "", s->report.len, s->scan.session_nonce, &s->shell);
	buf_deinit(&s->report);
	if (s->traps_removed || (s->shell.trap_debug.len == 0 && s->shell.trap_err.len == 0)) {
		settled(s);
	} else {
		buf_deinit(&s->window); /* what a DEBUG trap says to our words */
		recover(s);
	}
}

/* P or N. Its status is not 0 when bash has given our words up, if that was bash's P. */
static void try_to_settle(struct session *s, bool whole)
{
	if (!s->report_due)
		settled(s);
	else if (whole && !s->cut_short)
		take_report(s);
	else
		session_set_step(s, STEP_PROMPT_WAIT, SETTLE_TICK);
}

/* No prompt of ours, or one that says that our words were given up: does bash wait for a line? Reading the pipe each
 * time keeps a report flowing that is larger than the pipe. */
static void settle_tick(struct session *s)
{
	session_read_report(s);
	bool waits = session_at_prompt(s) || (s->settle_ticks >= SETTLE_TICKS && tcgetpgrp(s->master) == s->pid);
	s->settle_ticks++;
	if (!waits) {
		session_set_step(s, STEP_PROMPT_WAIT, SESSION_PROMPT_WAIT);
		return;
	}
	if (!s->prompt_seen) {
		s->promptless = true;
		s->shell.has_jobs = true; /* nothing has told */
	}
	if (!s->report_due)
		settled(s);
	else if (s->prompt_seen || s->cut_short)
		recover(s);
	else
		take_report(s);
}

static void step_cb(uv_timer_t *timer)
{
	struct session *s = timer->data;
	enum session_step kind = s->step_kind;
	s->step_kind = STEP_NONE;
	session_ref(s);
	switch (kind) {
	case STEP_NONE: break;
	case STEP_PROMPT_WAIT:
		if (s->state == SESSION_SETTLING) {
			settle_tick(s);
		} else if (s->state == SESSION_RECOVERING) {
			s->promptless = true;
			session_give_up(s, s->abort_status);
		}
		break;
	case STEP_DOUBT:
		doubt_tick(s);
		if (s->intr.done && s->state == SESSION_RUNNING && s->step_kind == STEP_NONE)
			session_interrupt_step(s);
		break;
	case STEP_INTERRUPT: session_interrupt_step(s); break;
	}
	session_unref(s);
}

void session_set_step(struct session *s, enum session_step kind, double seconds)
{
	s->step_kind = kind;
	uv_timer_stop(&s->step);
	if (kind == STEP_NONE)
		return;
	uv_update_time(s->rt->loop);
	uint64_t ms = (uint64_t)(seconds * 1000.0);
	uv_timer_start(&s->step, step_cb, ms > 0 ? ms : 1, 0);
}

static void finish_start(struct session *s)
{
	uv_timer_stop(&s->timer);
	if (s->rcfile)
		unlink(s->rcfile);
	free(s->rcfile);
	s->rcfile = NULL;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	obs.failure_reason = "";
	session_take_output(s, &obs);
	local_session_fn done = s->create_done;
	s->create_done = NULL;
	if (done)
		done(s->create_arg, NULL, &obs);
	crex_observation_clear(&obs);
}

static void flush_clean(struct session *s)
{
	struct buf *scratch = &s->rt->scratch;
	buf_clear(scratch);
	text_clean_finish(&s->clean, scratch);
	if (scratch->len > 0 && !s->drop_output)
		keep_append(&s->out, scratch->data, scratch->len);
}

void session_on_end(struct session *s, int status)
{
	enum session_state was = s->state;
	if (was != SESSION_STARTING && was != SESSION_RUNNING && was != SESSION_RECOVERING)
		return;
	session_ref(s);
	flush_clean(s);
	s->tty_was_odd =
		proc_pty_reset(s->master) == 1; /* bash reads its next line with the terminal as it should be */
	s->shell.status = was == SESSION_RECOVERING ? s->abort_status : status & 0xFF;
	s->state = SESSION_SETTLING;
	s->report_due = true;
	s->cut_short = false;
	s->settle_ticks = 0;
	s->drop_output = false;
	s->prompt_seen = s->promptless = false;
	bool late = s->running_text && !s->intr.done;
	free(s->running_text);
	s->running_text = NULL;
	buf_deinit(&s->window);
	s->window_seen = 0;
	session_set_step(s, STEP_PROMPT_WAIT, SESSION_PROMPT_WAIT);
	if (was == SESSION_STARTING)
		finish_start(s);
	else if (s->current)
		session_reply_current(s, s->shell.status);
	if (late)
		keep_deinit(&s->out); /* of a command that timed out: it must not show in a later reply */
	if (s->intr.done)
		session_interrupt_reply(s, SESSION_PROMPT_EXPECT);
	session_pump(s);
	session_unref(s);
}

void session_on_promptless(struct session *s)
{
	if (s->state != SESSION_SETTLING)
		return;
	s->promptless = true;
	s->shell.has_jobs = true; /* no prompt tells */
	try_to_settle(s, true);
}

void session_give_up(struct session *s, int status)
{
	if (s->n_doubted > 0)
		s->prompt_number = s->doubted_number;
	s->n_doubted = 0;
	if (s->state == SESSION_RUNNING || s->state == SESSION_SETTLING) {
		flush_clean(s);
		if (s->state == SESSION_SETTLING)
			sort_out_notices(s);
		buf_deinit(&s->report);
		s->traps_removed = true;
		s->state = SESSION_RECOVERING;
		s->abort_status = status;
		s->drop_output = true;
		s->recovery_typed = false;
		s->hijack_stage = 0;
	}
	if (!s->prompt_seen && !s->promptless) {
		session_set_step(s, STEP_PROMPT_WAIT, SESSION_PROMPT_WAIT);
		return;
	}
	cleanup_buf struct buf text;
	buf_init(&text, 1 << 16);
	session_make_nonce(s->scan.command_nonce);
	s->recovery_typed = true;
	if (shell_append_recovery(&text, s->scan.session_nonce, s->scan.command_nonce) < 0 ||
	    !session_store_text(s, &text))
		session_end(s);
	else
		session_type_line(s);
	if (s->intr.done && s->state == SESSION_RECOVERING)
		session_set_step(s, STEP_INTERRUPT, RECOVERY_WAIT);
}

/* A prompt without the report that should precede it. True when a function of the user's named `builtin` was the
 * cause: bash has read nothing of the memfd. Takes the function away and types our line again. */
static bool handle_hijack(struct session *s)
{
	/* in recovery a builtin that is disabled (`enable -n printf`) shows as a report that never comes */
	if (s->state == SESSION_RUNNING && lseek(s->memfd, 0, SEEK_CUR) != 0)
		return false;
	const char *line = shell_unhijack_line();
	switch (s->hijack_stage++) {
	case 0: session_write(s, line, strlen(line)); return true;
	case 1: {
		bool unused;
		if (s->state == SESSION_RUNNING)
			free(keep_steal(&s->out, NULL, &unused));
		if (lseek(s->memfd, 0, SEEK_SET) == 0)
			session_type_line(s);
		return true;
	}
	default: session_end(s); return true;
	}
}

void session_on_prompt(struct session *s, const struct scan_event *ev)
{
	bool fresh = !s->prompt_seen, again = ev->prompt_number == s->prompt_number;
	/* A second prompt without a line read: bash has met an end of file or a late SIGINT at its prompt. What it says
	 * then is nobody's output, even if our next line is on its way already, or was read before we look: then it
	 * is known by what came before, a terminal that gave an end of file or an interrupt, whose empty line comes
	 * first. */
	bool late = s->tty_was_odd || (s->sigint_late && ev->status == 130 && s->out.buf.len == s->idle_len + 1);
	bool unread = s->state == SESSION_RUNNING && (late || lseek(s->memfd, 0, SEEK_CUR) == 0);
	if (again && (s->state == SESSION_IDLE || unread)) {
		if (s->out.buf.len > s->idle_len)
			keep_drop_tail(&s->out, s->out.buf.len - s->idle_len);
		if (!fresh)
			return;
	}
	/* Bash can't be at the prompt that it has left for the command that runs: somebody prints it. */
	if (again && !fresh && s->state == SESSION_RUNNING) {
		session_on_text(s, ev->text, ev->len);
		return;
	}
	s->prompt_seen = true;
	if (s->state != SESSION_RUNNING || fresh)
		s->prompt_number = ev->prompt_number;
	s->shell.has_jobs = ev->jobs > 0;
	s->promptless = false;
	if (s->step_kind == STEP_PROMPT_WAIT)
		session_set_step(s, STEP_NONE, 0);
	switch (s->state) {
	case SESSION_STARTING:
	case SESSION_ENDING: break;
	case SESSION_IDLE: s->idle_len = s->out.buf.len; break;
	case SESSION_SETTLING: try_to_settle(s, ev->status == 0); break;
	case SESSION_RUNNING:
		if (fresh || handle_hijack(s))
			break; /* the prompt before this command, seen late */
		s->abort_status = ev->status;
		s->output_came = false;
		s->doubt_ticks = 0;
		memcpy(s->doubted, ev->text, ev->len);
		s->n_doubted = ev->len;
		s->doubted_number = ev->prompt_number;
		s->doubted_newline = false;
		session_set_step(s, STEP_DOUBT, DOUBT_TICK);
		break;
	case SESSION_RECOVERING:
		if (!s->recovery_typed)
			session_give_up(s, s->abort_status);
		else if (again && lseek(s->memfd, 0, SEEK_CUR) == 0)
			session_set_step(s, STEP_PROMPT_WAIT,
					 SESSION_PROMPT_WAIT); /* a late SIGINT; our line may be lost */
		else if (!again && !handle_hijack(s))
			session_end(s);
		break;
	}
}

/* runtime/local/session_interrupt.c: getting a busy session back to its prompt.
 *
 * As the user's Ctrl-C first: SIGINT to the foreground process group, and the byte 0x03 for programs that hold the
 * terminal raw and read it themselves; that as often as the client asks. Then the foreground group is killed, and the
 * shell gets SIGINT itself so that it gives up the rest of the command; repeated, because a loop of the shell's starts
 * the next program at once. A shell that ignores all that (trap '' INT around a loop of builtins) can only be ended.
 *
 * A SIGINT that meets bash between fork and wait makes it give the command up and forget that it started a program,
 * only to wait for that one as soon as it runs our clean-up line. What is in the foreground then is such a leftover. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { MAX_KILLS = 12, TRIES_MAX = 100, SHELL_LOOKS = 6, RECOVERY_LOOKS = 300 };
static const double KILL_PAUSE = 0.03, TRY_MIN = 0.01, LOOK_PAUSE = 0.01, SHELL_PAUSE = 0.002;

static void send_interrupt(struct session *s)
{
	s->sigint_sent = true;
	struct termios tio;
	bool raw = tcgetattr(s->master, &tio) == 0 && !(tio.c_lflag & ISIG);
	if (raw)
		session_write(s, "\003", 1);
	pid_t fg = tcgetpgrp(s->master);
	if (fg > 0)
		kill(-fg, SIGINT);
	if (s->pid > 0)
		kill(s->pid, SIGCONT); /* the command may have stopped the shell itself */
}

static void kill_foreground(struct session *s)
{
	s->sigint_sent = true;
	pid_t fg = tcgetpgrp(s->master);
	if (fg > 0 && fg != s->pid)
		kill(-fg, SIGKILL);
	if (s->pid > 0)
		kill(s->pid, SIGINT);
}

void session_interrupt_reply(struct session *s, const char *expect_string)
{
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	session_take_output(s, &obs);
	obs.has_exit_code = true;
	obs.failure_reason = "";
	obs.expect_string = strdup(expect_string);
	local_session_fn done = s->intr.done;
	s->intr.done = NULL;
	s->intr.expect = expect_free(s->intr.expect);
	if (s->step_kind == STEP_INTERRUPT)
		session_set_step(s, STEP_NONE, 0);
	done(s->intr.arg, NULL, &obs);
	crex_observation_clear(&obs);
}

/* Whether the shell is back at a prompt that we can't recognise, because the user's command has changed PS1 before it
 * was interrupted: bash waits for a line, and for two looks nothing was printed. */
static bool at_foreign_prompt(struct session *s)
{
	bool quiet = !s->output_came;
	s->output_came = false;
	s->intr.quiet_looks = quiet && session_at_prompt(s) ? s->intr.quiet_looks + 1 : 0;
	return s->intr.quiet_looks >= 2;
}

static void recovery_step(struct session *s)
{
	pid_t fg = tcgetpgrp(s->master);
	if (++s->intr.recovery_looks > RECOVERY_LOOKS) {
		session_end(s);
		return;
	}
	if (s->recovery_typed && fg > 0 && fg != s->pid)
		kill(-fg, SIGKILL);
	if (s->step_kind == STEP_NONE)
		session_set_step(s, STEP_INTERRUPT, KILL_PAUSE);
}

void session_interrupt_step(struct session *s)
{
	if (s->intr.done && s->state == SESSION_RECOVERING)
		recovery_step(s);
	if (!s->intr.done || s->state != SESSION_RUNNING)
		return;
	if (s->intr.signalled && at_foreign_prompt(s)) {
		s->prompt_seen = true;
		session_give_up(s, 130);
		return;
	}
	s->intr.left -= LOOK_PAUSE;
	if (s->intr.left <= 0) {
		/* In a loop of short programs the shell itself is in the foreground now and then. A SIGINT that meets
		 * it between fork and wait can end it, so better wait for the next program's turn. */
		if (s->intr.shell_looks < SHELL_LOOKS && tcgetpgrp(s->master) == s->pid) {
			s->intr.shell_looks++;
			session_set_step(s, STEP_INTERRUPT, SHELL_PAUSE);
			return;
		}
		s->intr.shell_looks = 0;
		if (s->intr.tries_left > 0) {
			s->intr.tries_left--;
			s->intr.left = s->intr.timeout;
			send_interrupt(s);
		} else if (s->intr.kills < MAX_KILLS) {
			s->intr.kills++;
			s->intr.left = KILL_PAUSE;
			kill_foreground(s);
		} else {
			session_end(s);
			return;
		}
		s->intr.signalled = true;
		s->intr.quiet_looks = 0;
	}
	session_set_step(s, STEP_INTERRUPT, LOOK_PAUSE);
}

void local_interrupt(struct local *rt, const struct crex_bash_interrupt_action *req, local_session_fn done, void *arg)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct session *s = session_find(rt, req->session);
	struct expect *expect = NULL;
	if (!s)
		crex_error_set(&err, CREX_E_SESSION_DOES_NOT_EXIST, "session '%.*s' does not exist",
			       (int)req->session.len, req->session.ptr);
	else if (s->state == SESSION_STARTING)
		crex_error_set(&err, CREX_E_SESSION_NOT_INITIALIZED, "session '%.*s' is still starting",
			       (int)req->session.len, req->session.ptr);
	else if (s->intr.done)
		crex_error_set(&err, CREX_E_SWEREX, "session '%.*s' is being interrupted already",
			       (int)req->session.len, req->session.ptr);
	else if (expect_new(&req->expect, &expect) < 0)
		crex_error_set(&err, CREX_E_MEMORY, "out of memory");
	if (err.code != CREX_OK) {
		done(arg, &err, NULL);
		return;
	}
	double timeout = req->timeout > TRY_MIN ? req->timeout : TRY_MIN;
	int tries = req->n_retry < 1 ? 1 : req->n_retry < TRIES_MAX ? req->n_retry : TRIES_MAX;
	s->intr = (struct session_interrupt){.done = done,
					     .arg = arg,
					     .timeout = timeout < 3600 ? timeout : 3600,
					     .tries_left = tries,
					     .expect = expect};
	if (s->state == SESSION_SETTLING && s->settle_ticks > 0)
		send_interrupt(s); /* bash hangs on its way to the prompt: in a trap of the user's */
	if (s->state == SESSION_IDLE || s->state == SESSION_SETTLING)
		session_interrupt_reply(s, SESSION_PROMPT_EXPECT);
	else
		session_interrupt_step(s);
}

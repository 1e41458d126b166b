/* runtime/local/session_run.c: starting what stands first in a session's queue, and its timeout.
 *
 * A command goes to the shell when that is at its prompt; a line for an interactive program goes to whatever runs. A
 * timeout answers the client and leaves the command running: `current` is NULL then while the state stays RUNNING. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include "base/pyrepr.h"
#include <string.h>
#include <termios.h>

enum { CANONICAL_LINE_MAX = 4095, MESSAGE_OUTPUT_MAX = 1 << 16, NAME_MAX_BYTES = 600 };

static bool append_message_output(struct buf *msg, const char *out, size_t len)
{
	if (len > MESSAGE_OUTPUT_MAX) {
		buf_printf(msg, "[... %zu bytes, see extra_info ...]\n", len - MESSAGE_OUTPUT_MAX);
		out += len - MESSAGE_OUTPUT_MAX;
		len = MESSAGE_OUTPUT_MAX;
	}
	return buf_append(msg, out, len) == 0;
}

/* The beginning of it is enough to know it by. NULL: memory ran out. */
static char *name_command(struct crex_str command)
{
	size_t len = command.len < NAME_MAX_BYTES ? command.len : NAME_MAX_BYTES;
	while (len > 0 && len < command.len && ((unsigned char)command.ptr[len] & 0xC0) == 0x80)
		len--; /* between characters */
	struct buf text;
	buf_init(&text, 6 * NAME_MAX_BYTES + 8); /* pyrepr.h: six to one, and the quotes */
	if (pyrepr_str(&text, command.ptr, len) < 0 || (len < command.len && buf_append_str(&text, "...") < 0)) {
		buf_deinit(&text);
		return NULL;
	}
	return buf_steal(&text, NULL);
}

static void timeout_cb(uv_timer_t *timer)
{
	struct session *s = timer->data;
	bool queued = !s->current;
	struct session_job *job = queued ? session_pop_job(s) : session_take_current(s);
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_buf struct buf msg;
	buf_init(&msg, 1UL << 30);
	buf_append_str(&msg, "timeout after ");
	pyrepr_float(&msg, job->req.timeout);
	buf_append_str(&msg, " seconds while running command ");
	pyrepr_str(&msg, job->req.command.ptr, job->req.command.len);
	size_t len = 0;
	bool cut;
	cleanup_free char *out = queued ? NULL : keep_steal(&s->out, &len, &cut);
	if (queued) {
		buf_printf(&msg, ". It has not started: the session is still busy with %s. Interrupt that first.",
			   s->running_text ? s->running_text : "an earlier command");
	} else {
		buf_append_str(&msg, len > 0 ? ". Output so far:\n" : ". No output so far.");
		append_message_output(&msg, out ? out : "", len);
		free(s->running_text);
		s->running_text = name_command(job->req.command);
	}
	crex_error_set_bytes(&err, CREX_E_COMMAND_TIMEOUT, msg.data, msg.len);
	crex_error_add(&err, "output", out ? out : "", len);
	session_ref(s);
	session_job_fail(job, &err);
	session_pump(s);
	session_unref(s);
}

static void arm_timeout(struct session *s, double seconds)
{
	uv_timer_stop(&s->timer);
	if (seconds < 0)
		return;
	uv_update_time(s->rt->loop);
	uv_timer_start(&s->timer, timeout_cb, seconds < 1e12 ? (uint64_t)(seconds * 1000.0) : (uint64_t)1e15, 0);
}

static void start_command(struct session *s, struct session_job *job)
{
	if (shell_is_blank(job->req.command)) {
		s->current = job;
		session_reply_current(s, 0);
		return;
	}
	cleanup_buf struct buf text;
	buf_init(&text, 4 * job->req.command.len + (64UL << 20));
	session_make_nonce(s->scan.command_nonce);
	int r = shell_append_command(&text, &s->shell, job->req.command, s->scan.command_nonce);
	s->current = job;
	s->state = SESSION_RUNNING;
	s->drop_output = false;
	s->hijack_stage = 0;
	s->recovery_typed = false;
	s->recoveries = 0;
	s->sigint_late = s->sigint_sent;
	s->sigint_sent = false;
	s->traps_removed = s->shell.trap_debug.len > 0 || s->shell.trap_err.len > 0;
	if (r < 0 || !session_store_text(s, &text)) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set(&err, CREX_E_MEMORY, "out of memory while handing the command to the shell");
		s->state = SESSION_IDLE;
		session_job_fail(session_take_current(s), &err);
		return;
	}
	session_type_line(s);
	arm_timeout(s, job->req.timeout);
}

static void send_to_program(struct session *s, struct session_job *job)
{
	struct termios tio;
	bool canonical = tcgetattr(s->master, &tio) == 0 && (tio.c_lflag & ICANON);
	if (canonical && job->req.command.len > CANONICAL_LINE_MAX) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set(&err, CREX_E_VALUE,
			       "a line of %zu bytes can't be typed: the program reads whole lines, of which "
			       "the terminal takes %d bytes at most",
			       job->req.command.len, CANONICAL_LINE_MAX);
		session_job_fail(job, &err);
		return;
	}
	s->current = job;
	session_write(s, job->req.command.ptr, job->req.command.len);
	session_write(s, "\n", 1);
	arm_timeout(s, job->req.timeout);
}

void session_pump(struct session *s)
{
	session_ref(s);
	while (s->queue && !s->current) {
		if (s->state == SESSION_IDLE) {
			start_command(s, session_pop_job(s));
		} else if (s->state == SESSION_RUNNING && s->queue->req.is_interactive_command) {
			send_to_program(s, session_pop_job(s));
		} else {
			/* only a program that outlived its action's reply makes the head of the queue wait against its
			 * clock */
			if ((s->state == SESSION_RUNNING || s->state == SESSION_SETTLING) &&
			    !uv_is_active((uv_handle_t *)&s->timer))
				arm_timeout(s, s->queue->req.timeout);
			break;
		}
	}
	session_unref(s);
}

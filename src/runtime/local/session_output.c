/* runtime/local/session_output.c: cleaned output on its way to a reply, and the strings that end a command early.
 *
 * All output goes into `out`. Only while somebody waits for an expect string the newest part also stands in `window`,
 * where it is searched; behind a hit the rest is kept for the next reply. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include <string.h>

void session_on_output(struct session *s, const char *text, size_t len)
{
	if (s->state == SESSION_SETTLING && buf_append(&s->window, text, len) == 0)
		return;
	keep_append(&s->out, text, len);
	const struct expect *e = s->intr.done ? s->intr.expect : s->current ? s->current->expect : NULL;
	if (!e || len == 0)
		return;
	size_t half = s->window.max / 2;
	if (len > half) {
		text += len - half;
		len = half;
	}
	if (s->window.len + len > s->window.max) {
		size_t drop = s->window.len + len - half;
		drop = drop < s->window.len ? drop : s->window.len;
		buf_consume(&s->window, drop);
		s->window_seen -= drop < s->window_seen ? drop : s->window_seen;
	}
	struct expect_match m;
	if (buf_append(&s->window, text, len) < 0)
		return;
	if (!expect_search(e, s->window.data, s->window.len, s->window_seen, &m)) {
		s->window_seen = s->window.len;
		return;
	}
	size_t rest_len = s->window.len - m.end;
	cleanup_free char *rest = malloc(rest_len + 1), *pattern = strdup(m.pattern);
	if (rest)
		memcpy(rest, s->window.data + m.end, rest_len);
	keep_drop_tail(&s->out, s->window.len - m.start);
	/* what is matched is the text itself, as pexpect reports the string that it waited for */
	if (s->intr.done) {
		buf_deinit(&s->window);
		s->window_seen = 0;
		session_interrupt_reply(s, pattern ? pattern : "");
	} else {
		struct session_job *job = session_take_current(s);
		struct crex_observation obs = CREX_OBSERVATION_INIT;
		session_take_output(s, &obs);
		session_strip_echo(job, &obs);
		obs.has_exit_code = job->req.is_interactive_command;
		obs.failure_reason = "";
		obs.expect_string = steal_ptr(pattern);
		session_ref(s);
		session_job_reply(job, &obs);
		if (rest)
			keep_append(&s->out, rest, rest_len);
		session_pump(s);
		session_unref(s);
		return;
	}
	if (rest)
		keep_append(&s->out, rest, rest_len);
}

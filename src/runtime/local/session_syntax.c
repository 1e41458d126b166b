/* runtime/local/session_syntax.c: a command that bash could not parse.
 *
 * The session's own bash has refused the text before anything ran; that verdict counts, since it knows the session's
 * aliases and options. Its message, however, speaks of our wrapping, so the text for the client comes from a separate
 * `bash -n` on the command alone, as upstream's does. The session is free for the next action meanwhile. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include "base/pyrepr.h"
#include <string.h>

enum { ARG_MAX_LEN = 128 * 1024 - 1 };

struct syntax_check {
	struct session_job *job;
	char *own_message; /* what the session's bash printed, cleaned */
	size_t own_len;
};

/* "bash: -c: line 2: ..." reads "bash: line 2: ..." where the script comes by stdin, as upstream's did. */
static void remove_all(struct buf *out, const char *text, size_t len, const char *word)
{
	const char *hit;
	size_t n = strlen(word);
	while ((hit = memmem(text, len, word, n))) {
		buf_append(out, text, (size_t)(hit - text));
		len -= (size_t)(hit - text) + n;
		text = hit + n;
	}
	buf_append(out, text, len);
}

static void reply(struct syntax_check *check, const char *out, size_t out_len, const char *err_text, size_t err_len)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_buf struct buf msg, clean;
	buf_init(&msg, 1UL << 30);
	buf_init(&clean, 1UL << 30);
	remove_all(&clean, err_text, err_len, "-c: ");
	buf_append_str(&msg, "Error (exit_code=2) while checking bash command \n");
	pyrepr_str(&msg, check->job->req.command.ptr, check->job->req.command.len);
	buf_append_str(&msg, "\nwith error:\n");
	buf_append(&msg, clean.data, clean.len);
	crex_error_set_bytes(&err, CREX_E_BASH_INCORRECT_SYNTAX, msg.data, msg.len);
	crex_error_add(&err, "bash_stdout", out, out_len);
	crex_error_add(&err, "bash_stderr", clean.data ? clean.data : "", clean.len);
	session_job_fail(check->job, &err);
	free(check->own_message);
	free(check);
}

/* Without the lines that quote our wrapping. That a here-document has no end is only a warning to `bash -n`: its lines
 * are counted from the command's first, those of the session's own warning from the wrapping's. */
static void reply_own(struct syntax_check *check, const char *warnings, size_t warnings_len)
{
	static const char warning[] = ": warning: here-document at line ";
	cleanup_buf struct buf kept;
	buf_init(&kept, 1UL << 30);
	buf_append(&kept, warnings, warnings_len);
	const char *p = check->own_message ? check->own_message : "", *end = p + check->own_len;
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = nl ? (size_t)(nl + 1 - p) : (size_t)(end - p);
		bool known = warnings_len > 0 && memmem(p, n, warning, sizeof warning - 1);
		if (!known && !memmem(p, n, "\\builtin", 8) && !memmem(p, n, "__crex", 6))
			remove_all(&kept, p, n, "eval: ");
		p += n;
	}
	reply(check, "", 0, kept.data ? kept.data : "", kept.len);
}

static void checked_cb(void *arg, struct crex_error *err, struct crex_execute_result *res)
{
	struct syntax_check *check = arg;
	if (err || res->exit_code == 0 || res->err_len == 0)
		reply_own(check, err ? "" : res->err, err ? 0 : res->err_len);
	else
		reply(check, res->out, res->out_len, res->err, res->err_len);
}

static void reply_syntax_error(struct session *s, struct session_job *job)
{
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	session_take_output(s, &obs);
	struct syntax_check *check = malloc(sizeof *check);
	if (!check) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set(&err, CREX_E_BASH_INCORRECT_SYNTAX, "syntax error");
		session_job_fail(job, &err);
		crex_observation_clear(&obs);
		return;
	}
	*check = (struct syntax_check){job, steal_ptr(obs.output), obs.output_len};
	if (job->req.command.len > ARG_MAX_LEN) {
		reply_own(check, "", 0);
		return;
	}
	struct crex_str argv[] = {CREX_STR("bash"), CREX_STR("-O"), CREX_STR("extglob"),
				  CREX_STR("-n"),   CREX_STR("-c"), job->req.command};
	struct crex_execute_request req = CREX_EXECUTE_REQUEST_INIT;
	req.command = (struct crex_str_list){argv, sizeof argv / sizeof argv[0]};
	req.command_is_list = true;
	req.timeout = 5.0;
	local_execute(s->rt, &req, checked_cb, check);
}

void session_on_abort(struct session *s, int status, bool not_started)
{
	if (s->state == SESSION_SETTLING)
		s->cut_short = true;
	if (s->state != SESSION_RUNNING)
		return;
	session_ref(s);
	s->prompt_seen = false;
	if (!not_started) {
		session_give_up(s, status);
	} else {
		s->state = s->promptless ? SESSION_IDLE : SESSION_SETTLING;
		s->report_due = false;
		if (!s->promptless)
			session_set_step(s, STEP_PROMPT_WAIT, SESSION_PROMPT_WAIT);
		if (s->current)
			reply_syntax_error(s, session_take_current(s));
		session_pump(s);
	}
	session_unref(s);
}

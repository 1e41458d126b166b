/* runtime/local/session_run.c: actions of a session: queue, replies, timeouts and the state machine.
 *
 *   STARTING --E--> IDLE --type--> RUNNING --E--> IDLE
 *   RUNNING --S, nothing ran--> IDLE               (syntax error)
 *   RUNNING --S or P--> RECOVERING --E--> IDLE     (bash gave the command up: SIGINT, ${x?}, arithmetic errors)
 *
 * A new line is typed only when bash has shown its prompt since the last report, so that nobody else can read it. When
 * no prompt comes (the user has sent the shell's stderr elsewhere) a short wait stands for it once; from then on the
 * session is `promptless` and doesn't wait. A prompt that shows while a command runs means that bash gave the command
 * up, unless a program has printed just that text: so it is doubted until bash sleeps in the foreground and nothing
 * has followed. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include "proc/pty.h"
#include "text/pyrepr.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

enum { CANONICAL_LINE_MAX = 4095, MESSAGE_OUTPUT_MAX = 1 << 16, DOUBT_TICKS = 200 };
static const double PROMPT_WAIT = 0.05, DOUBT_TICK = 0.002, RECOVERY_WAIT = 0.03;

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

static bool append_message_output(struct buf *msg, const char *out, size_t len)
{
	if (len > MESSAGE_OUTPUT_MAX) {
		buf_printf(msg, "[... %zu bytes, see extra_info ...]\n", len - MESSAGE_OUTPUT_MAX);
		out += len - MESSAGE_OUTPUT_MAX;
		len = MESSAGE_OUTPUT_MAX;
	}
	return buf_append(msg, out, len) == 0;
}

/* Upstream's wording, so that whoever parses it keeps working. */
static void set_non_zero(struct crex_error *err, const struct session_job *job, const struct crex_observation *obs)
{
	struct buf msg __attribute__((cleanup(buf_deinit)));
	buf_init(&msg, 1UL << 30);
	if (job->req.error_msg.len > 0) {
		buf_append(&msg, job->req.error_msg.ptr, job->req.error_msg.len);
		buf_append_str(&msg, ": ");
	}
	buf_append_str(&msg, "Command ");
	text_py_repr(&msg, job->req.command.ptr, job->req.command.len);
	buf_printf(&msg, " failed with exit code %d. Here is the output:\n", obs->exit_code);
	text_py_repr(&msg, obs->output, obs->output_len);
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
static void strip_echo(const struct session_job *job, struct crex_observation *obs)
{
	size_t n = job->req.command.len;
	if (!job->req.is_interactive_command || n == 0 || obs->output_len <= n || obs->output[n] != '\n' ||
	    memcmp(obs->output, job->req.command.ptr, n) != 0)
		return;
	obs->output_len -= n + 1;
	memmove(obs->output, obs->output + n + 1, obs->output_len + 1);
}

static void reply_current(struct session *s, int status)
{
	struct session_job *job = session_take_current(s);
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	session_take_output(s, &obs);
	strip_echo(job, &obs);
	obs.has_exit_code = true;
	obs.exit_code = job->req.is_interactive_command ? 0 : status;
	obs.failure_reason = "";
	obs.expect_string = strdup(SESSION_PROMPT_EXPECT);
	session_job_reply(job, &obs);
}

static void timeout_cb(uv_timer_t *timer)
{
	struct session *s = timer->data;
	bool queued = !s->current;
	struct session_job *job = queued ? session_pop_job(s) : session_take_current(s);
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct buf msg __attribute__((cleanup(buf_deinit)));
	buf_init(&msg, 1UL << 30);
	buf_append_str(&msg, "timeout after ");
	text_py_float(&msg, job->req.timeout);
	buf_append_str(&msg, " seconds while running command ");
	text_py_repr(&msg, job->req.command.ptr, job->req.command.len);
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
		struct buf text;
		buf_init(&text, 4096);
		if (text_py_repr(&text, job->req.command.ptr, job->req.command.len) < 0)
			buf_clear(&text);
		s->running_text = buf_steal(&text, NULL);
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

static void lose_terminal(struct session *s)
{
	if (s->state != SESSION_ENDING)
		session_end(s);
}

static void start_command(struct session *s, struct session_job *job)
{
	if (shell_is_blank(job->req.command)) {
		s->current = job;
		reply_current(s, 0);
		return;
	}
	struct buf text __attribute__((cleanup(buf_deinit)));
	buf_init(&text, 4 * job->req.command.len + (64UL << 20));
	session_make_nonce(s->scan.command_nonce);
	int r = shell_append_command(&text, &s->shell, job->req.command, s->scan.command_nonce);
	s->current = job;
	s->state = SESSION_RUNNING;
	s->drop_output = false;
	s->hijack_stage = 0;
	s->recovery_typed = false;
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
		crex_error_set(&err, CREX_E_VALUE, "a line of %zu bytes can't be typed: the program reads whole lines, of which "
			       "the terminal takes %d bytes at most", job->req.command.len, CANONICAL_LINE_MAX);
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
		if (s->state == SESSION_IDLE && (s->prompt_seen || s->promptless)) {
			start_command(s, session_pop_job(s));
		} else if (s->state == SESSION_RUNNING && s->queue->req.is_interactive_command) {
			send_to_program(s, session_pop_job(s));
		} else {
			/* only a program that outlived its action's reply makes the head of the queue wait against its clock */
			if (s->state == SESSION_RUNNING && !uv_is_active((uv_handle_t *)&s->timer))
				arm_timeout(s, s->queue->req.timeout);
			break;
		}
	}
	session_unref(s);
}

/* "[1]+  Done                    sleep 5" and the like, which bash prints before a prompt. */
static bool is_job_notice(const char *line, size_t len)
{
	size_t i = 1;
	while (i < len && line[i] >= '0' && line[i] <= '9')
		i++;
	return len > 4 && line[0] == '[' && i > 1 && line[i] == ']' && memchr("+- ", line[i + 1], 3);
}

/* Between the report and the prompt stand bash's notices about jobs, with empty lines before them, and perhaps a line of
 * a background program. */
static void sort_out_notices(struct session *s)
{
	const char *p = s->window.data, *end = p + s->window.len;
	while (s->window.len > 0 && p < end) {
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

static void step_cb(uv_timer_t *timer)
{
	struct session *s = timer->data;
	enum session_step kind = s->step_kind;
	s->step_kind = STEP_NONE;
	session_ref(s);
	switch (kind) {
	case STEP_NONE:
		break;
	case STEP_PROMPT_WAIT:
		s->promptless = true;
		if (s->state == SESSION_IDLE)
			sort_out_notices(s);
		if (s->state == SESSION_RECOVERING)
			session_give_up(s, s->abort_status);
		else
			session_pump(s);
		break;
	case STEP_DOUBT:
		doubt_tick(s);
		if (s->intr.done && s->state == SESSION_RUNNING && s->step_kind == STEP_NONE)
			session_interrupt_step(s);
		break;
	case STEP_INTERRUPT:
		session_interrupt_step(s);
		break;
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

/* False: the report could not be kept (no memory). */
static bool take_report(struct session *s)
{
	session_read_report(s);
	bool known = s->report.data &&
		     shell_parse_report(s->report.data, s->report.len, s->scan.command_nonce, &s->shell);
	buf_deinit(&s->report);
	return known;
}

static void reply_without_status(struct session *s)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	session_take_output(s, &obs);
	crex_error_set(&err, CREX_E_NO_EXIT_CODE, "the command has ended, but its exit code was lost: out of memory");
	crex_error_add(&err, "output", obs.output ? obs.output : "", obs.output_len);
	crex_observation_clear(&obs);
	session_job_fail(session_take_current(s), &err);
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

void session_on_end(struct session *s, bool prompt_follows)
{
	enum session_state was = s->state;
	if (was != SESSION_STARTING && was != SESSION_RUNNING && was != SESSION_RECOVERING)
		return;
	session_ref(s);
	flush_clean(s);
	bool known = take_report(s);
	proc_pty_reset(s->master); /* bash reads its next line with the terminal as it should be */
	if (was == SESSION_RECOVERING)
		s->shell.status = s->abort_status;
	s->state = SESSION_IDLE;
	s->drop_output = false;
	s->prompt_seen = false;
	bool late = s->running_text && !s->intr.done;
	free(s->running_text);
	s->running_text = NULL;
	s->promptless = !prompt_follows;
	s->shell.has_jobs = s->promptless; /* unknown until the prompt says */
	session_set_step(s, prompt_follows ? STEP_PROMPT_WAIT : STEP_NONE, PROMPT_WAIT);
	if (was == SESSION_STARTING)
		finish_start(s);
	else if (s->current && !known && was == SESSION_RUNNING)
		reply_without_status(s);
	else if (s->current)
		reply_current(s, s->shell.status);
	if (late)
		keep_deinit(&s->out); /* of a command that timed out: it must not show in a later reply */
	if (s->intr.done)
		session_interrupt_reply(s, SESSION_PROMPT_EXPECT);
	session_pump(s);
	session_unref(s);
}

void session_give_up(struct session *s, int status)
{
	s->n_doubted = 0;
	if (s->state == SESSION_RUNNING) {
		flush_clean(s);
		s->state = SESSION_RECOVERING;
		s->abort_status = status;
		s->drop_output = true;
		s->recovery_typed = false;
		s->hijack_stage = 0;
	}
	if (!s->prompt_seen && !s->promptless) {
		session_set_step(s, STEP_PROMPT_WAIT, PROMPT_WAIT);
		return;
	}
	struct buf text __attribute__((cleanup(buf_deinit)));
	buf_init(&text, 1 << 16);
	session_make_nonce(s->scan.command_nonce);
	s->recovery_typed = true;
	if (shell_append_recovery(&text, s->scan.session_nonce, s->scan.command_nonce) < 0 ||
	    !session_store_text(s, &text))
		lose_terminal(s);
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
	case 0:
		session_write(s, line, strlen(line));
		return true;
	case 1: {
		bool unused;
		if (s->state == SESSION_RUNNING)
			free(keep_steal(&s->out, NULL, &unused));
		if (lseek(s->memfd, 0, SEEK_SET) == 0)
			session_type_line(s);
		return true;
	}
	default:
		lose_terminal(s);
		return true;
	}
}

void session_on_prompt(struct session *s, const struct scan_event *ev)
{
	bool fresh = !s->prompt_seen, again = ev->prompt_number == s->prompt_number;
	/* A second prompt without a line read: bash has met an end of file or a late SIGINT at its prompt. What it says
	 * then is nobody's output, even if our next line is on its way already. */
	bool unread = s->state == SESSION_RUNNING && lseek(s->memfd, 0, SEEK_CUR) == 0;
	if (again && (s->state == SESSION_IDLE || unread)) {
		if (s->out.buf.len > s->idle_len)
			keep_drop_tail(&s->out, s->out.buf.len - s->idle_len);
		if (!fresh)
			return;
	}
	s->prompt_seen = true;
	s->prompt_number = ev->prompt_number;
	s->shell.has_jobs = ev->jobs > 0;
	s->promptless = false;
	if (s->step_kind == STEP_PROMPT_WAIT)
		session_set_step(s, STEP_NONE, 0);
	switch (s->state) {
	case SESSION_STARTING:
	case SESSION_ENDING:
		break;
	case SESSION_IDLE:
		sort_out_notices(s);
		s->idle_len = s->out.buf.len;
		session_pump(s);
		break;
	case SESSION_RUNNING:
		if (fresh || handle_hijack(s))
			break; /* the prompt before this command, seen late */
		s->abort_status = ev->status;
		s->output_came = false;
		s->doubt_ticks = 0;
		memcpy(s->doubted, ev->text, ev->len);
		s->n_doubted = ev->len;
		session_set_step(s, STEP_DOUBT, DOUBT_TICK);
		break;
	case SESSION_RECOVERING:
		if (!s->recovery_typed)
			session_give_up(s, s->abort_status);
		else if (!handle_hijack(s))
			lose_terminal(s);
		break;
	}
}

void session_on_output(struct session *s, const char *text, size_t len)
{
	if (s->state == SESSION_IDLE && !s->prompt_seen && !s->promptless && buf_append(&s->window, text, len) == 0)
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
		strip_echo(job, &obs);
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

void local_run_in_session(struct local *rt, const struct crex_bash_action *req, local_session_fn done, void *arg)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct session *s = session_find(rt, req->session);
	struct session_job *job = NULL;
	if (!s)
		crex_error_set(&err, CREX_E_SESSION_DOES_NOT_EXIST, "session '%.*s' does not exist", (int)req->session.len,
			       req->session.ptr);
	else if (req->command.len && memchr(req->command.ptr, '\0', req->command.len))
		crex_error_set(&err, CREX_E_VALUE, "embedded null byte: a shell command can't hold one");
	else if (s->n_queue >= rt->config.max_queue)
		crex_error_set(&err, CREX_E_LIMIT, "no more than %zu actions can wait in a session", rt->config.max_queue);
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

/* runtime/local/session.c: the registry of sessions, their birth and their end.
 *
 * A session ends in one way only, whatever the cause (its shell ended, it was closed, its start took too long, the
 * engine shuts down): it leaves the registry at once, so that its name is free, its whole tree is killed, and when
 * both the shell is reaped and the killer has finished, everybody who waits gets an answer and the handles close.
 * The last reference frees it. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include "base/pyrepr.h"
#include <string.h>
#include <sys/random.h>
#include <signal.h>

struct session *session_find(struct local *rt, struct crex_str name)
{
	for (struct session *s = rt->sessions; s; s = s->next)
		if (s->name_len == name.len && (name.len == 0 || memcmp(s->name, name.ptr, name.len) == 0))
			return s;
	return NULL;
}

void session_make_nonce(char nonce[NONCE_LEN + 1])
{
	unsigned char raw[NONCE_LEN];
	size_t got = 0;
	while (got < sizeof raw) {
		ssize_t n = getrandom(raw + got, sizeof raw - got, 0);
		if (n > 0)
			got += (size_t)n;
	}
	for (size_t i = 0; i < NONCE_LEN; i++)
		nonce[i] = (char)('0' + raw[i] % 10);
	nonce[NONCE_LEN] = '\0';
}

void session_ref(struct session *s)
{
	s->refs++;
}

void session_unref(struct session *s)
{
	if (--s->refs > 0)
		return;
	struct local *rt = s->rt;
	text_clean_deinit(&s->clean);
	keep_deinit(&s->out);
	buf_deinit(&s->window);
	buf_deinit(&s->tx);
	buf_deinit(&s->report);
	shell_state_deinit(&s->shell);
	if (s->master >= 0)
		close(s->master);
	if (s->memfd >= 0)
		close(s->memfd);
	if (s->report_fd >= 0)
		close(s->report_fd);
	if (s->rcfile)
		unlink(s->rcfile);
	free(s->rcfile);
	free(s->running_text);
	free(s->name);
	free(s);
	rt->n_sessions--;
	local_release(rt);
}

static void unregister(struct session *s)
{
	for (struct session **p = &s->rt->sessions; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			session_unref(s);
			return;
		}
	}
}

static void handle_closed_cb(uv_handle_t *handle)
{
	session_unref(handle->data);
}

static void close_handles(struct session *s)
{
	if (!s->handles_open)
		return;
	s->handles_open = false;
	if (s->poll.data)
		uv_close((uv_handle_t *)&s->poll, handle_closed_cb);
	uv_close((uv_handle_t *)&s->timer, handle_closed_cb);
	uv_close((uv_handle_t *)&s->step, handle_closed_cb);
}

static void finish_end(struct session *s)
{
	if (!s->exited || !s->killed)
		return;
	session_ref(s);
	session_io_drain(s);
	session_reply_dead(s);
	while (s->closers) {
		struct session_closer *c = s->closers;
		s->closers = c->next;
		c->done(c->arg, NULL);
		free(c);
	}
	close_handles(s);
	session_unref(s);
}

static void tree_killed_cb(void *arg, int result)
{
	struct session *s = arg;
	(void)result;
	s->killed = true;
	finish_end(s);
	session_unref(s);
}

static void start_kill(struct session *s)
{
	if (s->kill_pending || s->pid == 0)
		return;
	s->kill_pending = true;
	session_ref(s);
	if (proc_tree_kill_marked_async(s->rt->loop, s->pid, false, &s->tty, 1, tree_killed_cb, s) < 0) {
		kill(-s->pid, SIGKILL);
		tree_killed_cb(s, 0);
	}
}

/* Called by the reaper; holds a reference of its own since session_started. */
static void shell_exited_cb(void *arg, pid_t pid, int status)
{
	struct session *s = arg;
	(void)pid;
	s->exited = true;
	s->exit_status = status;
	session_io_drain(s);
	if (s->state != SESSION_ENDING)
		session_end(s);
	else
		finish_end(s);
	session_unref(s);
}

void session_end(struct session *s)
{
	if (s->state == SESSION_ENDING)
		return;
	session_ref(s);
	bool starting = s->state == SESSION_STARTING && s->pid == 0;
	s->state = SESSION_ENDING;
	if (s->handles_open) {
		uv_timer_stop(&s->timer);
		uv_timer_stop(&s->step);
	}
	unregister(s);
	/* while the worker still starts bash, session_started() calls us back through start_kill */
	if (!starting)
		start_kill(s);
	session_unref(s);
}

/* The worker is done: pid > 0 and the descriptors are ours, or err says what failed. */
void session_started(struct session *s, struct crex_error *err)
{
	if (err) {
		local_session_fn done = s->create_done;
		s->create_done = NULL;
		if (s->state != SESSION_ENDING) {
			s->state = SESSION_ENDING;
			unregister(s);
		}
		s->exited = s->killed = true;
		if (done)
			done(s->create_arg, err, NULL);
		finish_end(s);
		return;
	}
	session_ref(s);
	if (proc_reaper_watch(s->rt->reaper, s->pid, shell_exited_cb, s) < 0) {
		/* without memory to watch it, it can't be kept */
		session_unref(s);
		s->exited = true;
		session_end(s);
		start_kill(s);
		return;
	}
	session_io_start(s);
	if (s->state == SESSION_ENDING)
		start_kill(s);
}

static void startup_timeout_cb(uv_timer_t *timer)
{
	struct session *s = timer->data;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_buf struct buf msg;
	buf_init(&msg, 1 << 20);
	bool cut;
	size_t len;
	cleanup_free char *out = keep_steal(&s->out, &len, &cut);
	buf_append_str(&msg, "timeout after ");
	pyrepr_float(&msg, s->startup_timeout);
	buf_append_str(&msg, " seconds while starting session ");
	pyrepr_str(&msg, s->name, s->name_len);
	if (out && len > 0 && len < 65536) {
		buf_append_str(&msg, ". Output so far:\n");
		buf_append(&msg, out, len);
	}
	crex_error_set_bytes(&err, CREX_E_COMMAND_TIMEOUT, msg.data, msg.len);
	if (out)
		crex_error_add(&err, "output", out, len);
	local_session_fn done = s->create_done;
	s->create_done = NULL;
	session_ref(s);
	session_end(s);
	if (done)
		done(s->create_arg, &err, NULL);
	session_unref(s);
}

static struct session *session_new(struct local *rt, const struct crex_create_session_request *req)
{
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->name = malloc(req->session.len + 1);
	if (!s->name) {
		free(s);
		return NULL;
	}
	if (req->session.len)
		memcpy(s->name, req->session.ptr, req->session.len);
	s->name[req->session.len] = '\0';
	s->name_len = req->session.len;
	s->rt = rt;
	s->master = s->memfd = s->report_fd = -1;
	s->queue_tail = &s->queue;
	s->traps_removed = true;
	text_clean_init(&s->clean);
	keep_init(&s->out, rt->config.max_output);
	buf_init(&s->window, 1 << 17);
	buf_init(&s->tx, 1 << 20);
	buf_init(&s->report, 1 << 26);
	shell_state_init(&s->shell);
	session_make_nonce(s->scan.session_nonce);
	session_make_nonce(s->scan.command_nonce);
	uv_timer_init(rt->loop, &s->timer);
	uv_timer_init(rt->loop, &s->step);
	s->timer.data = s->step.data = s;
	s->handles_open = true;
	s->refs = 3; /* two timers and the registry */
	s->startup_timeout = req->startup_timeout;
	s->next = rt->sessions;
	rt->sessions = s;
	rt->n_sessions++;
	local_hold(rt);
	return s;
}

void local_create_session(struct local *rt, const struct crex_create_session_request *req, local_session_fn done,
			  void *arg)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_buf struct buf repr;
	buf_init(&repr, 1 << 20);
	if (rt->closing) {
		crex_error_set(&err, CREX_E_SWEREX, "the runtime is shutting down");
	} else if (session_find(rt, req->session)) {
		crex_error_set(&err, CREX_E_SESSION_EXISTS, "session %.*s already exists", (int)req->session.len,
			       req->session.ptr);
	} else if (rt->n_sessions >= rt->config.max_sessions) {
		crex_error_set(&err, CREX_E_LIMIT, "no more than %zu sessions can be open (--max-sessions)",
			       rt->config.max_sessions);
	}
	if (err.code != CREX_OK) {
		done(arg, &err, NULL);
		return;
	}
	struct session *s = session_new(rt, req);
	if (!s) {
		crex_error_set(&err, CREX_E_MEMORY, "out of memory");
		done(arg, &err, NULL);
		return;
	}
	s->create_done = done;
	s->create_arg = arg;
	double ms = req->startup_timeout * 1000.0;
	if (req->startup_timeout >= 0)
		uv_timer_start(&s->timer, startup_timeout_cb, ms < 1e15 ? (uint64_t)ms : (uint64_t)1e15, 0);
	int r = session_start(s, &req->startup_source);
	if (r < 0) {
		crex_error_set_errno(&err, -r, NULL);
		session_started(s, &err);
	}
}

static bool add_closer(struct session *s, local_done_fn done, void *arg)
{
	struct session_closer *c = malloc(sizeof *c);
	if (!c)
		return false;
	*c = (struct session_closer){s->closers, done, arg};
	s->closers = c;
	return true;
}

void local_close_session(struct local *rt, struct crex_str name, local_done_fn done, void *arg)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct session *s = session_find(rt, name);
	if (!s)
		crex_error_set(&err, CREX_E_SESSION_DOES_NOT_EXIST, "session '%.*s' does not exist", (int)name.len,
			       name.ptr);
	else if (!add_closer(s, done, arg))
		crex_error_set(&err, CREX_E_MEMORY, "out of memory");
	if (err.code != CREX_OK) {
		done(arg, &err);
		return;
	}
	s->was_closed = true;
	session_end(s);
}

struct close_all {
	size_t left;
	local_done_fn done;
	void *arg;
};

static void one_closed_cb(void *arg, struct crex_error *err)
{
	struct close_all *all = arg;
	(void)err;
	if (--all->left == 0) {
		all->done(all->arg, NULL);
		free(all);
	}
}

void local_close_all(struct local *rt, local_done_fn done, void *arg)
{
	struct close_all *all = malloc(sizeof *all);
	if (!all) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set(&err, CREX_E_MEMORY, "out of memory");
		done(arg, &err);
		return;
	}
	*all = (struct close_all){1, done, arg};
	while (rt->sessions) {
		struct session *s = rt->sessions;
		if (add_closer(s, one_closed_cb, all))
			all->left++;
		s->was_closed = true;
		session_end(s);
	}
	one_closed_cb(all, NULL);
}

void local_sessions_shutdown(struct local *rt)
{
	while (rt->sessions) {
		rt->sessions->was_closed = true;
		session_end(rt->sessions);
	}
}

/* runtime/local/exec.c: one-off commands, as subprocess.run would run them, beside each other on one loop.
 *
 * An execution is made of parts that end in any order: the spawn (a worker job), the child (the reaper), two pipes, a
 * timer, the tree kill (another job). Each holds a reference; the object is freed with the last one. The reply goes out
 * once, when the child has ended and both pipes have: a background child that keeps a pipe keeps the reply, as with
 * communicate(). Whatever is the first reason to end otherwise (timeout, shutdown, no memory) replies with its error.
 *
 * The child is the subreaper of its own tree, so that a timeout finds all of it. When the child itself has gone while
 * others keep its pipes, these are found by the pipes: no other tree ever had them.
 *
 * A tree that will not die (asleep in the kernel) must not hold up the reply either: the killer gets KILL_GRACE_MS,
 * then the reply goes out and the killing goes on behind it.
 *
 * Reads are bounded for each turn of the loop, so that a command that floods its output delays nobody. stdin is a pipe
 * without a writer: an image need not have a /dev/null. */
#include "base/cleanup.h"
#include "base/keep.h"
#include "proc/roots.h"
#include "proc/spawn.h"
#include "runtime/local/child.h"
#include "runtime/local/exec_command.h"
#include "text/decode.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { READ_SIZE = 64 * 1024, READS_A_TURN = 16, KILL_GRACE_MS = 800 };

struct stream {
	struct exec *exec;
	int fd; /* -1: ended, or there is none */
	bool polled;
	uv_poll_t poll;
	struct keep kept;
};

struct exec {
	struct exec *next, **link; /* in rt->execs until the reply; link: where the pointer to us is */
	struct local *rt;
	struct exec_command command;
	uv_work_t work;
	uv_timer_t timer;
	struct stream streams[2]; /* stdout (and stderr when merged), stderr */
	size_t refs;
	pid_t pid; /* 0: not started yet, or never */
	struct {
		int result, out, errs; /* the descriptors are -1 or owned */
		enum proc_stage stage;
		pid_t pid;
	} job; /* the worker's until on_spawned */
	bool exited;
	int status;
	bool killing;
	bool replied;
	bool timed_out;
	bool out_of_memory;
	local_execute_fn done; /* called once, by reply() */
	void *arg;
};

static void unref(struct exec *e)
{
	if (--e->refs > 0)
		return;
	struct local *rt = e->rt;
	for (size_t i = 0; i < 2; i++) {
		cleanup_close_fd(&e->streams[i].fd);
		keep_deinit(&e->streams[i].kept);
	}
	exec_command_deinit(&e->command);
	free(e);
	rt->n_execs--;
	local_release(rt);
}

static void handle_closed(uv_handle_t *handle)
{
	unref(handle->data);
}

static void close_stream(struct stream *s)
{
	if (s->polled) {
		s->polled = false;
		uv_poll_stop(&s->poll); /* before the close, or epoll would keep the number */
		uv_close((uv_handle_t *)&s->poll, handle_closed);
	}
	if (s->fd >= 0)
		close(steal_fd(&s->fd));
}

/* Escaped text of what was kept; empty when memory ran out, which *ret_failed says. */
static void take_text(struct stream *s, struct buf *text, bool *ret_truncated, bool *ret_failed)
{
	bool cut = false;
	size_t len = 0;
	buf_init(text, 0);
	if (keep_is_empty(&s->kept))
		return;
	cleanup_free char *raw = keep_steal(&s->kept, &len, &cut);
	*ret_truncated = *ret_truncated || cut;
	buf_init(text, len * 4);
	if (!raw || text_append_escaped_utf8(text, raw, len) < 0)
		*ret_failed = true;
}

/* Everything that the request asked for ends here, once. err NULL: by the exit status. */
static void reply(struct exec *e, struct crex_error *err)
{
	if (e->replied)
		return;
	e->replied = true;
	*e->link = e->next;
	if (e->next)
		e->next->link = e->link;
	uv_close((uv_handle_t *)&e->timer, handle_closed);
	cleanup_buf struct buf out, errs;
	bool truncated = false, failed = e->out_of_memory;
	take_text(&e->streams[0], &out, &truncated, &failed);
	take_text(&e->streams[1], &errs, &truncated, &failed);
	close_stream(&e->streams[0]);
	close_stream(&e->streams[1]);
	cleanup_error struct crex_error own = CREX_ERROR_INIT;
	struct crex_str out_text = {out.data, out.len}, err_text = {errs.data, errs.len};
	int code = WIFSIGNALED(e->status) ? -WTERMSIG(e->status) : WEXITSTATUS(e->status);
	if (err)
		crex_error_move(&own, err);
	else if (e->timed_out)
		exec_command_timeout_error(&e->command, out_text, err_text, &own);
	else if (failed)
		crex_error_set(&own, CREX_E_MEMORY, "out of memory while keeping the command's output");
	else if (e->status == PROC_STATUS_UNKNOWN)
		child_lost_error("command", &own);
	else if (e->command.check && code != 0)
		exec_command_check_error(&e->command, code, out_text, err_text, &own);
	struct crex_execute_result result = CREX_EXECUTE_RESULT_INIT;
	if (own.code == CREX_OK) {
		result.exit_code = code;
		result.truncated = truncated;
		result.out = buf_steal(&out, &result.out_len);
		result.err = buf_steal(&errs, &result.err_len);
		if (!result.out || !result.err)
			crex_error_set(&own, CREX_E_MEMORY, "out of memory");
	}
	e->done(e->arg, own.code ? &own : NULL, own.code ? NULL : &result);
	crex_execute_result_clear(&result);
	unref(e); /* the reply's own reference */
}

static void reply_if_finished(struct exec *e)
{
	if (e->exited && !e->killing && e->streams[0].fd < 0 && e->streams[1].fd < 0)
		reply(e, NULL);
}

/* True when the stream is at its end. */
static bool drain(struct stream *s)
{
	char data[READ_SIZE];
	for (int i = 0; i < READS_A_TURN && s->polled; i++) { /* only then is it non-blocking */
		ssize_t n = read(s->fd, data, sizeof data);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return false;
		if (n <= 0) {
			close_stream(s);
			return true;
		}
		if (keep_append(&s->kept, data, (size_t)n) < 0)
			s->exec->out_of_memory = true;
	}
	return s->fd < 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct exec *e = poll->data;
	struct stream *s = poll == &e->streams[0].poll ? &e->streams[0] : &e->streams[1];
	(void)events;
	if (status < 0)
		close_stream(s);
	if (status < 0 || drain(s))
		reply_if_finished(e);
}

static void on_exited(void *arg, pid_t pid, int status)
{
	struct exec *e = arg;
	(void)pid;
	e->exited = true;
	e->status = status;
	if (!e->replied) {
		/* What it wrote is there already, and mostly the end as well: this saves a turn of the loop. */
		drain(&e->streams[0]);
		drain(&e->streams[1]);
		reply_if_finished(e);
	}
	unref(e);
}

static void on_killed(void *arg, int result)
{
	struct exec *e = arg;
	(void)result;
	if (!e->replied) {
		drain(&e->streams[0]);
		drain(&e->streams[1]);
		reply(e, NULL);
	}
	unref(e);
}

/* Whatever is the reason: from here on the tree is to go. */
static void kill_tree(struct exec *e)
{
	if (e->killing || e->pid == 0)
		return;
	e->killing = true;
	e->refs++;
	child_kill(e->rt, e->pid, e->exited, (const int[]){e->streams[0].fd, e->streams[1].fd}, 2, on_killed, e);
}

static void on_timer(uv_timer_t *timer)
{
	struct exec *e = timer->data;
	if (e->timed_out) {
		reply(e, NULL);
		return;
	}
	e->timed_out = true;
	uv_timer_start(&e->timer, on_timer, KILL_GRACE_MS, 0);
	kill_tree(e); /* a child that is still being spawned is killed when it is there */
}

static int watch_stream(struct exec *e, struct stream *s)
{
	if (s->fd < 0)
		return 0;
	int r = uv_poll_init(e->rt->loop, &s->poll, s->fd);
	if (r < 0)
		return r;
	s->poll.data = e;
	s->polled = true;
	e->refs++;
	return uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

static void fail(struct exec *e, int errnum)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	crex_error_set_errno(&err, errnum, NULL);
	reply(e, &err);
}

static void on_spawned(uv_work_t *work, int status)
{
	struct exec *e = work->data;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	e->streams[0].fd = e->job.out;
	e->streams[1].fd = e->job.errs;
	if (e->replied) {
		close_stream(&e->streams[0]);
		close_stream(&e->streams[1]);
	}
	if (status < 0) { /* cancelled by the shutdown, which has replied */
		fail(e, ECANCELED);
	} else if (e->job.result < 0) {
		exec_command_spawn_error(&e->command, (int)e->job.stage, -e->job.result, &err);
		reply(e, &err);
	} else {
		e->pid = e->job.pid;
		int r = proc_reaper_watch(e->rt->reaper, e->pid, on_exited, e);
		e->refs += r == 0;
		if (r == 0 && !e->replied && ((r = watch_stream(e, &e->streams[0])) == 0))
			r = watch_stream(e, &e->streams[1]);
		if (r < 0 || e->replied || e->timed_out)
			kill_tree(e);
		if (r < 0)
			fail(e, -r);
	}
	unref(e);
}

/* In a worker: the loop must not wait for an exec, which may be slow on a busy machine or a cold disk. */
static void spawn(uv_work_t *work)
{
	struct exec *e = work->data;
	const struct exec_command *c = &e->command;
	cleanup_fd int in = -1;
	cleanup_fd int out = -1;
	cleanup_fd int errs = -1;
	int in_write = -1;
	e->job.stage = PROC_STAGE_FORK;
	int r = child_pipe(&in, &in_write);
	if (r == 0) {
		close(in_write);
		r = child_pipe(&e->job.out, &out);
	}
	if (r == 0 && !c->merge)
		r = child_pipe(&e->job.errs, &errs);
	if (r == 0) {
		struct proc_spec spec = {
			.file = c->argv[0],
			.search_path = c->search_path,
			.argv = c->argv,
			.envp = c->envp,
			.cwd = c->cwd,
			.fd0 = in,
			.fd1 = out,
			.fd2 = c->merge ? out : errs,
			.extra_fd = -1,
			.subreaper = true,
			.group = e->rt->group,
		};
		r = proc_spawn(&spec, &e->job.pid, &e->job.stage);
	}
	e->job.result = r;
}

void local_execute(struct local *rt, const struct crex_execute_request *req, local_execute_fn done, void *arg)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	if (rt->closing) {
		crex_error_set(&err, CREX_E_SWEREX, "the runtime is shutting down");
		done(arg, &err, NULL);
		return;
	}
	struct exec *e = calloc(1, sizeof *e);
	if (!e) {
		crex_error_set(&err, CREX_E_MEMORY, "out of memory");
		done(arg, &err, NULL);
		return;
	}
	if (exec_command_init(&e->command, req, rt->config.envp, &err) < 0) {
		free(e);
		done(arg, &err, NULL);
		return;
	}
	e->rt = rt;
	e->done = done;
	e->arg = arg;
	e->work.data = e;
	e->job.out = e->job.errs = -1;
	e->refs = 3; /* the reply, the timer, the spawn */
	for (size_t i = 0; i < 2; i++) {
		e->streams[i].exec = e;
		e->streams[i].fd = -1;
		keep_init(&e->streams[i].kept, rt->config.max_output);
	}
	e->next = rt->execs;
	if (e->next)
		e->next->link = &e->next;
	e->link = &rt->execs;
	rt->execs = e;
	rt->n_execs++;
	local_hold(rt);
	uv_timer_init(rt->loop, &e->timer);
	e->timer.data = e;
	if (e->command.timeout >= 0) {
		double ms = ceil(e->command.timeout * 1000);
		uv_update_time(rt->loop);
		uv_timer_start(&e->timer, on_timer, ms < 1e15 ? (uint64_t)ms : (uint64_t)1e15, 0);
	}
	int r = uv_queue_work(rt->loop, &e->work, spawn, on_spawned);
	if (r < 0) {
		fail(e, -r);
		unref(e);
	}
}

void local_execs_shutdown(struct local *rt)
{
	while (rt->execs) {
		struct exec *e = rt->execs;
		e->refs++;
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set(&err, CREX_E_SWEREX, "the runtime was shut down while the command was running");
		if (e->pid)
			kill_tree(e);
		else
			uv_cancel((uv_req_t *)&e->work);
		reply(e, &err);
		unref(e);
	}
}

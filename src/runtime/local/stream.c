/* runtime/local/stream.c: a program with live streams: pipes or a terminal, its tree, its end.
 *
 * As in exec.c the parts (spawn job, child, pollers, tree kill) end in any order, each holds a reference. What differs
 * is the flow: nothing is kept. Output is read only while somebody wants it, so that a slow reader slows the program
 * through its full pipe; input waits in a bounded queue and `taken` says when there is room again.
 *
 * The end is told when the child has ended and all that it had written is delivered. Processes that it left in the
 * background don't delay it, though they may hold the pipes: what lies in these at the child's end is read, and no
 * more. They live on, as after `docker exec` and unlike after a client that vanishes: that ends the whole tree.
 *
 * A terminal is one descriptor for both directions; the input has a duplicate, since a poller serves one purpose each.
 * The end of input is the terminal's own end-of-file character there. TERM comes with the request or the environment;
 * where neither has one it is "xterm". */
#include "base/cleanup.h"
#include "proc/pty.h"
#include "proc/roots.h"
#include "proc/spawn.h"
#include "runtime/local/child.h"
#include "runtime/local/exec_command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

enum {
	READ_SIZE = 64 * 1024,
	READS_A_TURN = 4,
	/* A terminal doesn't say how much the kernel holds for us. It is less than this. */
	TTY_REST_MAX = 256 * 1024,
};

struct side {
	struct local_stream *stream;
	int fd; /* -1: ended, or there is none */
	bool open, polling;
	bool silent; /* a terminal that no process has open: it must stay, its end would be a hang-up for the program */
	uv_poll_t poll;
	size_t rest; /* once the child has ended: bytes that are still its own, at most */
};

struct local_stream {
	struct local_stream *next, **link; /* in rt->streams while events are wanted */
	struct local *rt;
	const struct local_stream_events *events; /* NULL: nobody listens any more */
	void *arg;
	struct exec_command command;
	bool tty, any_shell;
	int rows, columns, first_signal;
	uv_work_t work;
	struct {
		int result, in, out, errs; /* the descriptors are -1 or owned */
		enum proc_stage stage;
		pid_t pid;
	} job; /* the worker's until on_spawned */
	size_t refs;
	pid_t pid; /* 0: not started yet, or never */
	struct side outs[2], in;
	struct buf input;
	bool input_over; /* no more comes */
	bool line_open;	 /* of a terminal's input */
	bool paused, exited, killing;
	int status;
};

static void unref(struct local_stream *s)
{
	if (--s->refs > 0)
		return;
	struct local *rt = s->rt;
	buf_deinit(&s->input);
	exec_command_deinit(&s->command);
	free(s);
	local_release(rt);
}

/* ---- descriptors ---- */

static void on_side_closed(uv_handle_t *handle)
{
	struct side *side = handle->data;
	unref(side->stream);
}

static void side_close(struct side *side)
{
	if (side->open) {
		side->open = side->polling = false;
		uv_poll_stop(&side->poll); /* before the close, or epoll would keep the number */
		uv_close((uv_handle_t *)&side->poll, on_side_closed);
	}
	if (side->fd >= 0)
		close(steal_fd(&side->fd));
}

static int side_open(struct side *side)
{
	int r = side->fd < 0 ? 0 : uv_poll_init(side->stream->rt->loop, &side->poll, side->fd);
	if (r < 0 || side->fd < 0)
		return r;
	side->poll.data = side;
	side->open = true;
	side->stream->refs++;
	return 0;
}

static void side_poll(struct side *side, int events, uv_poll_cb fn)
{
	if (!side->open || side->polling == (events != 0))
		return;
	side->polling = events != 0;
	if (events)
		uv_poll_start(&side->poll, events, fn);
	else
		uv_poll_stop(&side->poll);
}

static void close_all(struct local_stream *s)
{
	side_close(&s->outs[0]);
	side_close(&s->outs[1]);
	side_close(&s->in);
}

/* ---- the end ---- */

static void on_killed(void *arg, int result)
{
	(void)result;
	unref(arg);
}

static void kill_tree(struct local_stream *s)
{
	if (s->killing || s->exited || s->pid == 0)
		return;
	s->killing = true;
	s->refs++;
	/* the terminal's own end is everybody's /dev/ptmx */
	const int fds[2] = {s->tty ? -1 : s->outs[0].fd, s->outs[1].fd};
	child_kill(s->rt, s->pid, s->exited, fds, 2, on_killed, s);
}

/* Nobody is told anything from here on. */
static void leave(struct local_stream *s)
{
	s->events = NULL;
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	kill_tree(s);
	close_all(s);
	unref(s);
}

/* The last event. */
static void end(struct local_stream *s, struct crex_error *err)
{
	const struct local_stream_events *events = s->events;
	void *arg = s->arg;
	bool started = s->pid != 0;
	cleanup_error struct crex_error lost = CREX_ERROR_INIT;
	if (started && !err && s->status == PROC_STATUS_UNKNOWN) {
		child_lost_error("program", &lost);
		err = &lost;
	}
	int code = WIFSIGNALED(s->status) ? -WTERMSIG(s->status) : WEXITSTATUS(s->status);
	leave(s);
	if (started)
		events->exited(arg, err, code);
	else
		events->started(arg, err);
}

static void fail(struct local_stream *s, int errnum)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	crex_error_set_errno(&err, errnum, NULL);
	end(s, &err);
}

void local_stream_kill(struct local_stream *s)
{
	leave(s);
}

/* ---- output ---- */

static void on_readable(uv_poll_t *poll, int status, int events);

/* Reads while somebody wants it. False: the stream has been left meanwhile. */
static bool side_read(struct side *side)
{
	struct local_stream *s = side->stream;
	char data[READ_SIZE];
	for (int i = 0; side->fd >= 0 && !s->paused && (i < READS_A_TURN || s->exited); i++) {
		size_t want = s->exited && side->rest < sizeof data ? side->rest : sizeof data;
		ssize_t n = want ? read(side->fd, data, want) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !s->exited)
			return true;
		if (n < 0 && errno == EIO && s->tty && !s->exited) {
			side->silent = true;
			return true;
		}
		if (n <= 0) {
			side_close(side);
			return true;
		}
		side->rest -= s->exited ? (size_t)n : 0;
		s->events->output(s->arg, side == &s->outs[1], data, (size_t)n);
		if (!s->events)
			return false;
	}
	return true;
}

/* Goes on with what there is to read, and to the end when there is nothing more. */
static void advance(struct local_stream *s)
{
	s->refs++;
	bool there = side_read(&s->outs[0]) && side_read(&s->outs[1]);
	if (there && s->exited && s->outs[0].fd < 0 && s->outs[1].fd < 0) {
		end(s, NULL);
	} else if (there) {
		for (size_t i = 0; i < 2; i++)
			side_poll(&s->outs[i], s->paused || s->outs[i].silent ? 0 : UV_READABLE, on_readable);
	}
	unref(s);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct side *side = poll->data;
	(void)events;
	if (status < 0)
		side_close(side);
	advance(side->stream);
}

void local_stream_pause_output(struct local_stream *s, bool paused)
{
	if (s->paused == paused)
		return;
	s->paused = paused;
	for (size_t i = 0; i < 2; i++)
		side_poll(&s->outs[i], 0, NULL);
	if (!paused && s->pid)
		advance(s);
}

static void on_exited(void *arg, pid_t pid, int status)
{
	struct local_stream *s = arg;
	(void)pid;
	s->exited = true;
	s->status = status;
	for (size_t i = 0; i < 2; i++) {
		int rest = 0;
		if (s->tty)
			rest = TTY_REST_MAX;
		else if (s->outs[i].fd >= 0)
			(void)ioctl(s->outs[i].fd, FIONREAD, &rest);
		s->outs[i].rest = (size_t)rest;
	}
	if (s->events)
		advance(s);
	unref(s);
}

/* ---- input ---- */

static void on_writable(uv_poll_t *poll, int status, int events);

/* What has gone in, or is dropped. False: the stream has been left meanwhile. */
static bool took(struct local_stream *s, size_t n)
{
	buf_consume(&s->input, n);
	s->refs++;
	s->events->taken(s->arg, n);
	bool there = s->events != NULL;
	unref(s);
	return there;
}

/* One end-of-file ends a line that has begun, as it does for people; the second one then is the end. */
static void end_tty_input(struct local_stream *s)
{
	struct termios t;
	if (tcgetattr(s->in.fd, &t) < 0 || !(t.c_lflag & ICANON))
		return;
	char ends[2] = {(char)t.c_cc[VEOF], (char)t.c_cc[VEOF]};
	(void)!write(s->in.fd, ends, s->line_open ? 2 : 1); /* a terminal that is full has no reader either */
}

static void push_input(struct local_stream *s)
{
	while (s->in.fd >= 0 && s->input.len > 0) {
		ssize_t n = write(s->in.fd, s->input.data, s->input.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			side_poll(&s->in, UV_WRITABLE, on_writable);
			return;
		}
		if (n < 0) {
			side_close(&s->in);
			break;
		}
		s->line_open = s->input.data[n - 1] != '\n';
		if (!took(s, (size_t)n))
			return;
	}
	side_poll(&s->in, 0, NULL);
	if (s->input_over && s->in.fd >= 0) {
		if (s->tty)
			end_tty_input(s);
		side_close(&s->in);
	}
	if (s->input.len > 0 && s->pid)
		took(s, s->input.len);
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
	struct side *side = poll->data;
	(void)events;
	if (status < 0)
		side_close(side);
	push_input(side->stream);
}

int local_stream_write(struct local_stream *s, const char *data, size_t len)
{
	if (s->input_over)
		return 0;
	int r = buf_append(&s->input, data, len);
	if (r == 0 && s->pid && !s->in.polling)
		push_input(s);
	return r;
}

void local_stream_close_input(struct local_stream *s)
{
	s->input_over = true;
	if (s->pid && !s->in.polling)
		push_input(s);
}

/* ---- the terminal, signals ---- */

void local_stream_resize(struct local_stream *s, int rows, int columns)
{
	s->rows = rows;
	s->columns = columns;
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
	if (s->tty && s->outs[0].fd >= 0)
		(void)ioctl(s->outs[0].fd, TIOCSWINSZ, &size);
}

void local_stream_signal(struct local_stream *s, int signum)
{
	pid_t group = s->pid;
	if (s->pid == 0)
		s->first_signal = signum;
	if (s->pid == 0 || s->exited)
		return;
	if (s->tty && s->outs[0].fd >= 0 && (group = tcgetpgrp(s->outs[0].fd)) <= 1)
		group = s->pid;
	if (kill(-group, signum) < 0 && errno == ESRCH)
		kill(s->pid, signum); /* not reaped yet, so the number is still its own */
}

/* ---- the start ---- */

static void on_spawned(uv_work_t *work, int status)
{
	struct local_stream *s = work->data;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	s->outs[0].fd = s->job.out;
	s->outs[1].fd = s->job.errs;
	s->in.fd = s->job.in;
	int r = status < 0 ? status : s->job.result;
	if (r < 0) {
		if (status < 0)
			crex_error_set_errno(&err, ECANCELED, NULL);
		else
			exec_command_spawn_error(&s->command, (int)s->job.stage, -r, &err);
		if (s->events)
			end(s, &err);
		close_all(s);
		unref(s);
		return;
	}
	s->pid = s->job.pid;
	r = proc_reaper_watch(s->rt->reaper, s->pid, on_exited, s);
	s->refs += r == 0;
	if (!s->events || r < 0) {
		kill_tree(s);
		if (s->events)
			fail(s, -r);
		close_all(s);
		unref(s);
		return;
	}
	s->events->started(s->arg, NULL);
	if (s->events &&
	    ((r = side_open(&s->outs[0])) < 0 || (r = side_open(&s->outs[1])) < 0 || (r = side_open(&s->in)) < 0))
		fail(s, -r);
	if (s->events && s->tty)
		local_stream_resize(s, s->rows, s->columns);
	if (s->events && s->first_signal)
		local_stream_signal(s, s->first_signal);
	if (s->events)
		push_input(s);
	if (s->events)
		advance(s);
	unref(s);
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int start(struct local_stream *s, struct proc_spec *spec)
{
	static char bash[] = "bash", sh[] = "sh", login[] = "-l";
	char *bash_argv[] = {bash, login, NULL}, *sh_argv[] = {sh, login, NULL};
	const struct exec_command *c = &s->command;
	spec->file = s->any_shell ? bash : c->argv[0];
	spec->argv = s->any_shell ? bash_argv : c->argv;
	spec->search_path = c->search_path;
	spec->envp = c->envp;
	spec->cwd = c->cwd;
	spec->extra_fd = -1;
	spec->subreaper = true;
	spec->group = s->rt->group;
	int r = proc_spawn(spec, &s->job.pid, &s->job.stage);
	if (r == -ENOENT && s->any_shell && s->job.stage == PROC_STAGE_EXEC) {
		spec->file = sh;
		spec->argv = sh_argv;
		r = proc_spawn(spec, &s->job.pid, &s->job.stage);
	}
	return r;
}

static int start_on_tty(struct local_stream *s)
{
	cleanup_fd int slave = -1;
	int r = proc_pty_open(s->rows, s->columns, &s->job.out, &slave);
	if (r == 0)
		r = proc_pty_set_echo(slave);
	if (r == 0 && (s->job.in = fcntl(s->job.out, F_DUPFD_CLOEXEC, 3)) < 0)
		r = -errno;
	struct proc_spec spec = {.fd0 = slave, .fd1 = slave, .fd2 = slave, .controlling_tty = true};
	return r < 0 ? r : start(s, &spec);
}

static int start_on_pipes(struct local_stream *s)
{
	cleanup_fd int in = -1;
	cleanup_fd int out = -1;
	cleanup_fd int errs = -1;
	int r = child_pipe(&in, &s->job.in);
	if (r == 0)
		r = child_pipe(&s->job.out, &out);
	if (r == 0)
		r = child_pipe(&s->job.errs, &errs);
	if (r == 0)
		r = set_nonblocking(s->job.in); /* pollers do it too, but input may come before */
	struct proc_spec spec = {.fd0 = in, .fd1 = out, .fd2 = errs};
	return r < 0 ? r : start(s, &spec);
}

/* In a worker: the loop must not wait for an exec. */
static void spawn(uv_work_t *work)
{
	struct local_stream *s = work->data;
	s->job.stage = PROC_STAGE_FORK;
	s->job.result = s->tty ? start_on_tty(s) : start_on_pipes(s);
}

static bool same_name(const char *a, struct crex_str b)
{
	size_t n = strcspn(a, "=");
	return b.len > n && b.ptr[n] == '=' && memcmp(a, b.ptr, n) == 0;
}

/* The server's environment with the request's items over it. items has room for all. */
static size_t merge_env(char *const *base, const struct crex_stream_request *req, struct crex_str *items)
{
	static const struct crex_str term = CREX_STR("TERM=xterm");
	size_t n = 0;
	bool has_term = !req->tty;
	for (; base && *base; base++) {
		bool replaced = false;
		for (size_t i = 0; i < req->env.count && !replaced; i++)
			replaced = same_name(*base, req->env.items[i]);
		if (!replaced)
			items[n++] = (struct crex_str){*base, strlen(*base)};
	}
	for (size_t i = 0; i < req->env.count; i++)
		items[n++] = req->env.items[i];
	for (size_t i = 0; i < n && !has_term; i++)
		has_term = items[i].len > 5 && memcmp(items[i].ptr, "TERM=", 5) == 0;
	if (!has_term)
		items[n++] = term;
	return n;
}

static int check_request(const struct crex_stream_request *req, struct crex_error *err)
{
	for (size_t i = 0; i < req->env.count; i++) {
		const char *equals =
			req->env.items[i].len ? memchr(req->env.items[i].ptr, '=', req->env.items[i].len) : NULL;
		if (!equals || equals == req->env.items[i].ptr)
			return crex_error_set(err, CREX_E_VALUE, "illegal environment variable name");
	}
	if (req->command.count == 0 && !req->tty)
		return crex_error_set(err, CREX_E_VALUE, "without a terminal a command is needed");
	if (req->rows < 0 || req->rows > 65535 || req->columns < 0 || req->columns > 65535)
		return crex_error_set(err, CREX_E_VALUE, "rows and columns are 0 to 65535");
	return 0;
}

static int prepare_command(struct local_stream *s, const struct crex_stream_request *req, struct crex_error *err)
{
	static const struct crex_str nothing = CREX_STR("-");
	char *const *base = s->rt->config.envp;
	size_t n = 0;
	while (base && base[n])
		n++;
	cleanup_free struct crex_str *items = calloc(n + req->env.count + 1, sizeof *items);
	if (!items)
		return crex_error_set(err, CREX_E_MEMORY, "out of memory");
	struct crex_execute_request execute = CREX_EXECUTE_REQUEST_INIT;
	s->any_shell = req->command.count == 0;
	execute.command = s->any_shell ? (struct crex_str_list){&nothing, 1} : req->command;
	execute.command_is_list = true;
	execute.shell = req->shell && !s->any_shell;
	execute.has_env = true;
	execute.env = (struct crex_str_list){items, merge_env(base, req, items)};
	execute.cwd = req->cwd;
	return exec_command_init(&s->command, &execute, NULL, err);
}

struct local_stream *local_stream_open(struct local *rt, const struct crex_stream_request *req,
				       const struct local_stream_events *events, void *arg, struct crex_error *err)
{
	if (rt->closing) {
		crex_error_set(err, CREX_E_SWEREX, "the runtime is shutting down");
		return NULL;
	}
	struct local_stream *s = calloc(1, sizeof *s);
	if (!s) {
		crex_error_set(err, CREX_E_MEMORY, "out of memory");
		return NULL;
	}
	*s = (struct local_stream){.rt = rt,
				   .events = events,
				   .arg = arg,
				   .tty = req->tty,
				   .rows = req->rows ? req->rows : 24,
				   .columns = req->columns ? req->columns : 80,
				   .refs = 2, /* the listener's, the spawn's */
				   .job = {.in = -1, .out = -1, .errs = -1},
				   .outs = {{.stream = s, .fd = -1}, {.stream = s, .fd = -1}},
				   .in = {.stream = s, .fd = -1}};
	buf_init(&s->input, LOCAL_STREAM_INPUT_MAX);
	if (check_request(req, err) < 0 || prepare_command(s, req, err) < 0) {
		free(s);
		return NULL;
	}
	s->work.data = s;
	int r = uv_queue_work(rt->loop, &s->work, spawn, on_spawned);
	if (r < 0) {
		crex_error_set_errno(err, -r, NULL);
		exec_command_deinit(&s->command);
		free(s);
		return NULL;
	}
	s->next = rt->streams;
	if (s->next)
		s->next->link = &s->next;
	s->link = &rt->streams;
	rt->streams = s;
	local_hold(rt);
	return s;
}

void local_streams_shutdown(struct local *rt)
{
	while (rt->streams) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		crex_error_set(&err, CREX_E_SWEREX, "the runtime was shut down while the program was running");
		end(rt->streams, &err);
	}
}

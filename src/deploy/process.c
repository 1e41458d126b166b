/* deploy/process.c: one helper program at a time, waited for by the thread that needs it.
 *
 * A pidfd makes the end of the program one more descriptor to poll, beside its two pipes and the caller's cancel. The
 * end is what counts, not the end of the pipes: helpers leave daemons behind (conmon, ssh masters) that keep them open.
 * So when the program has been reaped, what lies in the pipes is taken and the rest is nobody's.
 *
 * Children are started by proc_spawn and reaped through its table, as those of a local runtime in the same program
 * are. */
#include "deploy/process.h"

#include "base/cleanup.h"
#include "proc/roots.h"
#include "proc/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { OUTPUT_DEFAULT = 64 << 10, LINE_MAX_BYTES = 4096, CHUNK = 16 << 10, CHUNKS_AFTER_END = 64 };

/* Between two looks at a program whose end no descriptor tells of. */
#define BLIND_SECONDS 0.02

extern char **environ;

static bool is_replaced(const char *entry, const char *const *env)
{
	size_t name = strcspn(entry, "=");
	for (; *env; env++)
		if (strncmp(entry, *env, name) == 0 && (*env)[name] == '=')
			return true;
	return false;
}

/* A list of borrowed strings: ours first, then what this program has. */
static const char **merge_environment(const char *const *env)
{
	static const char *const none[] = {NULL};
	size_t n = 0, own = 0;
	env = env ? env : none;
	while (env[own])
		own++;
	while (environ && environ[n])
		n++;
	const char **merged = calloc(own + n + 1, sizeof *merged);
	if (!merged)
		return NULL;
	memcpy(merged, env, own * sizeof *merged);
	for (size_t i = 0; i < n; i++)
		if (!is_replaced(environ[i], env))
			merged[own++] = environ[i];
	return merged;
}

static int open_pipes(struct process *p, int ret_write[2])
{
	for (int i = 0; i < 2; i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		p->fds[i] = ends[0];
		ret_write[i] = ends[1];
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static int spawn(struct process *p, const struct process_spec *spec, const int out[2])
{
	cleanup_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cleanup_free const char **env = merge_environment(spec->env);
	if (null < 0)
		return -errno;
	if (!env)
		return -ENOMEM;
	const struct proc_spec child = {
		.file = spec->argv[0],
		.search_path = getenv("PATH"),
		.argv = (char *const *)spec->argv,
		.envp = (char *const *)env,
		.fd0 = spec->stdin_fd > 0 ? spec->stdin_fd : null,
		.fd1 = out[0],
		.fd2 = out[1],
		.extra_fd = -1,
		.next_fd = -1,
	};
	enum proc_stage stage;
	return proc_spawn(&child, &p->pid, &stage);
}

static void close_fds(struct process *p)
{
	for (int i = 0; i < 2; i++)
		if (p->fds[i] >= 0)
			close(steal_fd(&p->fds[i]));
	if (p->pidfd >= 0)
		close(steal_fd(&p->pidfd));
}

int process_start(struct process *p, const struct process_spec *spec, struct crex_error *err)
{
	cleanup_fd int out = -1;
	cleanup_fd int errors = -1;
	int write_ends[2] = {-1, -1};
	*p = (struct process){.pidfd = -1, .fds = {-1, -1}, .on_line = spec->on_line, .arg = spec->arg};
	for (int i = 0; i < 2; i++) {
		buf_init(&p->output[i], spec->max_output ? spec->max_output : OUTPUT_DEFAULT);
		buf_init(&p->line[i], LINE_MAX_BYTES);
	}
	int r = open_pipes(p, write_ends);
	out = write_ends[0];
	errors = write_ends[1];
	if (r == 0)
		r = spawn(p, spec, write_ends);
	if (r < 0) {
		close_fds(p);
		*p = (struct process){.pidfd = -1, .fds = {-1, -1}};
		return crex_error_set_errno(err, -r, spec->argv[0]);
	}
#ifdef SYS_pidfd_open
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
#endif
	return 0;
}

/* ---- what it writes ---- */

static void keep_newest(struct process *p, int stream, const char *data, size_t len)
{
	struct buf *b = &p->output[stream];
	if (len > b->max) {
		data += len - b->max;
		len = b->max;
		p->truncated[stream] = true;
	}
	if (b->len + len > b->max) {
		/* by halves, so that a chatty program doesn't cost a memmove a line */
		size_t drop = b->len + len - b->max;
		buf_consume(b, drop < b->max / 2 && b->len > b->max / 2 ? b->max / 2 : drop);
		p->truncated[stream] = true;
	}
	(void)buf_append(b, data, len); /* out of memory: what it said is lost, how it ended is not */
}

static bool tell_line(struct process *p, int stream)
{
	struct buf *line = &p->line[stream];
	while (line->len && line->data[line->len - 1] == '\r')
		line->data[--line->len] = '\0';
	bool enough = p->on_line && p->on_line(p->arg, (enum process_stream)stream, line->data ? line->data : "");
	buf_clear(line);
	return enough;
}

static bool take(struct process *p, int stream, const char *data, size_t len)
{
	bool enough = false;
	keep_newest(p, stream, data, len);
	while (p->on_line && len) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;
		size_t room = p->line[stream].max - p->line[stream].len;
		(void)buf_append(&p->line[stream], data, n < room ? n : room);
		if (end)
			enough |= tell_line(p, stream);
		n += end != NULL;
		data += n;
		len -= n;
	}
	return enough;
}

/* At most `chunks` reads: 1 more may be there, 0 nothing is for now or ever. */
static int drain(struct process *p, int stream, int chunks, bool *enough)
{
	char data[CHUNK];
	while (p->fds[stream] >= 0 && chunks-- > 0) {
		ssize_t n = read(p->fds[stream], data, sizeof data);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			close(steal_fd(&p->fds[stream]));
			if (p->line[stream].len)
				*enough |= tell_line(p, stream);
			return 0;
		}
		*enough |= take(p, stream, data, (size_t)n);
	}
	return p->fds[stream] >= 0;
}

/* ---- its end ---- */

static bool reap(struct process *p)
{
	int status = 0;
	pid_t r = proc_roots_wait(p->pid, &status);
	if (r == 0)
		return false;
	p->ended = true;
	p->status = r == p->pid ? status : -1;
	bool unheard = false;
	for (int i = 0; i < 2; i++) {
		drain(p, i, CHUNKS_AFTER_END, &unheard);
		if (p->line[i].len)
			tell_line(p, i);
	}
	close_fds(p);
	return true;
}

int process_wait(struct process *p, const struct deadline *deadline, struct crex_error *err)
{
	while (!p->ended) {
		struct pollfd fds[3] = {{.fd = p->fds[0], .events = POLLIN},
					{.fd = p->fds[1], .events = POLLIN},
					{.fd = p->pidfd, .events = POLLIN}};
		struct deadline look = *deadline;
		cleanup_error struct crex_error failure = CREX_ERROR_INIT;
		if (p->pidfd < 0)
			deadline_limit(&look, BLIND_SECONDS);
		if (deadline_poll(&look, fds, 3, &failure) < 0 &&
		    (failure.code != CREX_E_DEADLINE || deadline_check(deadline, NULL) < 0)) {
			crex_error_clear(err);
			crex_error_move(err, &failure);
			return -1;
		}
		bool enough = false;
		for (int i = 0; i < 2; i++)
			if (fds[i].revents)
				drain(p, i, 4, &enough);
		if (enough)
			return PROCESS_TOLD;
		if (p->pidfd < 0 || fds[2].revents)
			reap(p);
	}
	return PROCESS_ENDED;
}

void process_kill(struct process *p)
{
	if (p->pid <= 0 || p->ended)
		return;
	const struct deadline never = {.at = CREX_NO_TIMEOUT};
	kill(-p->pid, SIGKILL);
	p->on_line = NULL;
	while (!p->ended && process_wait(p, &never, NULL) >= 0)
		;
}

void process_deinit(struct process *p)
{
	process_kill(p);
	if (p->pid > 0)
		close_fds(p);
	for (int i = 0; i < 2; i++) {
		buf_deinit(&p->output[i]);
		buf_deinit(&p->line[i]);
	}
	*p = (struct process){.pidfd = -1, .fds = {-1, -1}};
}

int process_exit_code(const struct process *p)
{
	if (p->status == -1)
		return -1;
	return WIFEXITED(p->status) ? WEXITSTATUS(p->status) : 128 + WTERMSIG(p->status);
}

const char *process_output(const struct process *p, enum process_stream stream)
{
	return p->output[stream].data ? p->output[stream].data : "";
}

int process_run(struct process *p, const struct process_spec *spec, const struct deadline *deadline,
		struct crex_error *err)
{
	if (process_start(p, spec, err) < 0)
		return -1;
	int event;
	do
		event = process_wait(p, deadline, err);
	while (event == PROCESS_TOLD);
	if (event == PROCESS_ENDED)
		return 0;
	process_deinit(p);
	return -1;
}

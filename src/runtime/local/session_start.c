/* runtime/local/session_start.c: making the pty, the memfd and bash, in a worker.
 *
 * A spawn blocks until the exec has happened, which on a busy machine is long; the loop must not wait for it. The
 * memfd serves twice: first it holds the startup file, which bash opens through /proc/self/fd, then the commands.
 * Where /proc is not mounted the startup file is a temporary file, unlinked as soon as bash runs its last line; where
 * the kernel has no memfd the command file is an unlinked temporary file. bash is looked for in PATH as
 * /usr/bin/env would. */
#include "runtime/local/session.h"

#include "base/cleanup.h"
#include "proc/pty.h"
#include "proc/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { ROWS = 24, COLS = 80, REPORT_PIPE_SIZE = 1 << 20 };

struct start_job {
	uv_work_t work;
	struct session *s;
	struct buf bootstrap;
	char **envp; /* owned array of borrowed strings */
	uint64_t group;
	/* results */
	int master, memfd, report_fd;
	struct proc_tree_mark tty;
	pid_t pid;
	int error;
	bool no_terminal; /* is what the error says */
	enum proc_stage stage;
	char rcfile[64];
	bool rcfile_is_temporary;
};

static const char *const temp_dirs[] = {"/tmp", "/dev/shm", "/var/tmp", "/run", "."};

static int temp_file(char *path, size_t size)
{
	for (size_t i = 0; i < sizeof temp_dirs / sizeof temp_dirs[0]; i++) {
		snprintf(path, size, "%s/.crex-XXXXXX", temp_dirs[i]);
		int fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return -errno;
}

static int write_all(int fd, const char *data, size_t len)
{
	for (size_t off = 0; off < len;) {
		ssize_t n = pwrite(fd, data + off, len - off, (off_t)off);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			off += (size_t)n;
	}
	return 0;
}

static int open_command_file(void)
{
	int fd = memfd_create("crex-command", MFD_CLOEXEC);
	if (fd >= 0)
		return fd;
	char path[64];
	fd = temp_file(path, sizeof path);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static int make_rcfile(struct start_job *job)
{
	snprintf(job->rcfile, sizeof job->rcfile, "/proc/self/fd/%d", job->memfd);
	if (access(job->rcfile, R_OK) == 0) {
		snprintf(job->rcfile, sizeof job->rcfile, "/proc/self/fd/%d", SHELL_FD_TEXT_IN);
		return write_all(job->memfd, job->bootstrap.data, job->bootstrap.len);
	}
	cleanup_fd int fd = temp_file(job->rcfile, sizeof job->rcfile);
	if (fd < 0)
		return fd;
	job->rcfile_is_temporary = true;
	return write_all(fd, job->bootstrap.data, job->bootstrap.len);
}

static int open_report_pipe(int *ret_read, int *ret_write)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*ret_read = ends[0];
	*ret_write = ends[1];
	fcntl(ends[1], F_SETPIPE_SZ, REPORT_PIPE_SIZE); /* best effort: 64 KB serve all but huge traps */
	return fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static const char *path_of(char *const *envp)
{
	for (; envp && *envp; envp++)
		if (strncmp(*envp, "PATH=", 5) == 0)
			return *envp + 5;
	return NULL;
}

static int start(struct start_job *job)
{
	cleanup_fd int slave = -1, report_write = -1;
	int r = proc_pty_open(ROWS, COLS, &job->master, &slave);
	job->no_terminal = r < 0;
	if (r < 0)
		return r;
	struct stat st;
	if (fstat(slave, &st) == 0)
		job->tty = (struct proc_tree_mark){st.st_dev, st.st_ino};
	job->memfd = open_command_file();
	if (job->memfd < 0)
		return job->memfd;
	r = open_report_pipe(&job->report_fd, &report_write);
	if (r < 0)
		return r;
	r = make_rcfile(job);
	if (r < 0)
		return r;
	char bash[] = "bash", rcfile_option[] = "--rcfile";
	char *argv[] = {bash, rcfile_option, job->rcfile, NULL};
	struct proc_spec spec = {
		.file = "bash",
		.search_path = path_of(job->envp),
		.argv = argv,
		.envp = job->envp,
		.fd0 = slave,
		.fd1 = slave,
		.fd2 = slave,
		.extra_fd = report_write,
		.extra_target = SHELL_FD_REPORT_IN,
		.next_fd = job->memfd, /* SHELL_FD_TEXT_IN */
		.controlling_tty = true,
		.subreaper = true,
		.group = job->group,
	};
	return proc_spawn(&spec, &job->pid, &job->stage);
}

static void start_work_cb(uv_work_t *work)
{
	struct start_job *job = work->data;
	job->error = start(job);
	if (job->error == 0)
		return;
	if (job->rcfile_is_temporary)
		unlink(job->rcfile);
	if (job->master >= 0)
		close(job->master);
	if (job->memfd >= 0)
		close(job->memfd);
	if (job->report_fd >= 0)
		close(job->report_fd);
	job->master = job->memfd = job->report_fd = -1;
}

static void start_done_cb(uv_work_t *work, int status)
{
	struct start_job *job = work->data;
	struct session *s = job->s;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	(void)status;
	if (job->error == -ENOENT && job->stage == PROC_STAGE_EXEC)
		crex_error_set(
			&err, CREX_E_FILE_NOT_FOUND,
			"[Errno 2] No such file or directory: 'bash' (no bash in PATH: sessions need one, execute and "
			"files work without)");
	else if (job->error == -ENOENT && job->no_terminal)
		crex_error_set(
			&err, CREX_E_FILE_NOT_FOUND,
			"[Errno 2] No such file or directory: '/dev/ptmx' (no devpts is mounted: sessions need a "
			"terminal, execute and files work without)");
	else if (job->error < 0)
		crex_error_set_errno(&err, -job->error,
				     job->no_terminal		     ? "/dev/ptmx"
				     : job->stage == PROC_STAGE_EXEC ? "bash"
								     : NULL);
	s->master = job->master;
	s->memfd = job->memfd;
	s->report_fd = job->report_fd;
	s->tty = job->tty;
	s->pid = job->pid;
	if (job->rcfile_is_temporary && job->error == 0)
		s->rcfile = strdup(job->rcfile);
	buf_deinit(&job->bootstrap);
	free(job->envp);
	free(job);
	session_started(s, err.code == CREX_OK ? NULL : &err);
	session_unref(s);
}

/* Without what would keep bash from reading our startup file, or would stand in the place of its first words. */
static char **environment(char *const *envp)
{
	static const char *const unwanted[] = {"POSIXLY_CORRECT=", "BASH_FUNC_builtin%%=", "BASH_FUNC_exec%%="};
	size_t n = 0, k = 0;
	while (envp[n])
		n++;
	char **kept = calloc(n + 1, sizeof *kept);
	for (size_t i = 0; kept && i < n; i++) {
		bool drop = false;
		for (size_t u = 0; u < sizeof unwanted / sizeof unwanted[0]; u++)
			drop = drop || strncmp(envp[i], unwanted[u], strlen(unwanted[u])) == 0;
		if (!drop)
			kept[k++] = envp[i];
	}
	return kept;
}

int session_start(struct session *s, const struct crex_str_list *startup_source)
{
	struct start_job *job = calloc(1, sizeof *job);
	if (!job)
		return -ENOMEM;
	buf_init(&job->bootstrap, 1 << 20);
	int r = shell_append_bootstrap(&job->bootstrap, s->scan.session_nonce, s->scan.command_nonce, startup_source);
	if (r < 0) {
		buf_deinit(&job->bootstrap);
		free(job);
		return r;
	}
	job->work.data = job;
	job->s = s;
	job->group = s->rt->group;
	job->envp = environment(s->rt->config.envp);
	if (!job->envp) {
		buf_deinit(&job->bootstrap);
		free(job);
		return -ENOMEM;
	}
	job->master = job->memfd = job->report_fd = -1;
	session_ref(s);
	uv_queue_work(s->rt->loop, &job->work, start_work_cb, start_done_cb);
	return 0;
}

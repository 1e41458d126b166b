/* engine_rig.c: see engine_rig.h. */
#include "engine_rig.h"

#include "proc/spawn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/random.h>

struct rig_faults rig_faults;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
ssize_t __real_getrandom(void *data, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *data, size_t len, unsigned flags);
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);

static bool alloc_fails(void)
{
	rig_faults.allocs++;
	return rig_faults.fail_alloc > 0 && atomic_fetch_sub(&rig_faults.fail_alloc, 1) == 1;
}

void *__wrap_malloc(size_t n)
{
	return alloc_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return alloc_fails() ? NULL : __real_realloc(p, n);
}

ssize_t __wrap_getrandom(void *data, size_t len, unsigned flags)
{
	int n = rig_faults.random_short;
	if (++rig_faults.randoms % 2 && n > 0) {
		errno = EINTR;
		return -1;
	}
	return __real_getrandom(data, n > 0 && len > (size_t)n ? (size_t)n : len, flags);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
	rig_faults.memfds++;
	if (rig_faults.no_memfd) {
		errno = ENOSYS;
		return -1;
	}
	return __real_memfd_create(name, flags);
}

int __wrap_access(const char *path, int mode)
{
	rig_faults.accesses++;
	if (rig_faults.no_proc_fd && strncmp(path, "/proc/self/fd/", 14) == 0) {
		errno = ENOENT;
		return -1;
	}
	return __real_access(path, mode);
}

static void faults_clear(void)
{
	rig_faults.fail_alloc = 0;
	rig_faults.random_short = 0;
	rig_faults.no_memfd = 0;
	rig_faults.no_proc_fd = 0;
	rig_faults.allocs = rig_faults.randoms = rig_faults.memfds = rig_faults.accesses = 0;
}

/* ---- the engine ---- */

void rig_restart(struct rig *r)
{
	const struct local_config config = {
		.envp = r->envp,
		.adopt_orphans = true,
		.max_sessions = r->max_sessions ? r->max_sessions : 300,
		.max_output = r->max_output ? r->max_output : 64 << 20,
		.max_queue = r->max_queue ? r->max_queue : 100,
		.max_file = 1 << 20,
	};
	r->closed = false;
	r->rt = local_new(&r->loop, &config);
	assert_non_null(r->rt);
}

int rig_begin(void **state)
{
	static bool remembered;
	if (!remembered)
		proc_spawn_remember_defaults();
	remembered = true;
	faults_clear();
	struct rig *r = calloc(1, sizeof *r);
	strcpy(r->home, "/tmp/crex-rig-XXXXXX");
	assert_non_null(mkdtemp(r->home));
	snprintf(r->env_home, sizeof r->env_home, "HOME=%s", r->home);
	static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", term[] = "TERM=dumb", lang[] = "LC_ALL=C.UTF-8";
	r->envp[0] = r->env_home;
	r->envp[1] = path;
	r->envp[2] = term;
	r->envp[3] = lang;
	assert_int_equal(uv_loop_init(&r->loop), 0);
	uv_timer_init(&r->loop, &r->deadline);
	rig_restart(r);
	*state = r;
	return 0;
}

static void closed_cb(void *arg)
{
	struct rig *r = arg;
	r->closed = true;
}

void rig_shutdown(struct rig *r)
{
	if (!r->rt)
		return;
	local_shutdown(r->rt, closed_cb, r);
	r->rt = NULL;
	rig_wait(r, &r->closed, 20);
}

static int remove_cb(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void answer_clear(struct answer *a)
{
	free(a->message);
	free(a->extra_output);
	free(a->output);
	free(a->expect_string);
	free(a->failure_reason);
	*a = (struct answer){.done = false};
}

int rig_end(void **state)
{
	struct rig *r = *state;
	faults_clear();
	rig_shutdown(r);
	for (size_t i = 0; i < sizeof r->answers / sizeof r->answers[0]; i++)
		answer_clear(&r->answers[i]);
	uv_close((uv_handle_t *)&r->deadline, NULL);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	int busy = uv_loop_close(&r->loop);
	nftw(r->home, remove_cb, 8, FTW_DEPTH | FTW_PHYS);
	free(r);
	return busy;
}

static void late_cb(uv_timer_t *timer)
{
	struct rig *r = timer->data;
	r->late = true;
}

bool rig_wait_quietly(struct rig *r, const bool *flag, double seconds)
{
	r->late = false;
	r->deadline.data = r;
	uv_update_time(&r->loop);
	uv_timer_start(&r->deadline, late_cb, (uint64_t)(seconds * 1000), 0);
	while (!(flag && *flag) && !r->late)
		uv_run(&r->loop, UV_RUN_ONCE);
	uv_timer_stop(&r->deadline);
	return flag && *flag;
}

void rig_wait(struct rig *r, const bool *flag, double seconds)
{
	if (!rig_wait_quietly(r, flag, seconds))
		fail_msg("no answer within %g s", seconds);
}

void rig_turn(struct rig *r, double seconds)
{
	rig_wait_quietly(r, NULL, seconds);
}

/* ---- requests ---- */

static char *dup_or_null(const char *s)
{
	return s ? strdup(s) : NULL;
}

static void take_error(struct answer *a, const struct crex_error *err)
{
	a->code = err->code;
	a->message = strdup(err->message ? err->message : "");
	for (size_t i = 0; i < err->n_extra; i++)
		if (strcmp(err->extra[i].key, "output") == 0)
			a->extra_output = dup_or_null(err->extra[i].value);
}

static void session_cb(void *arg, struct crex_error *err, struct crex_observation *obs)
{
	struct answer *a = arg;
	assert_false(a->done); /* exactly one call */
	assert_true((err == NULL) != (obs == NULL));
	a->done = true;
	int left = atomic_exchange(&rig_faults.fail_alloc, 0); /* what is noted here is not what is tested */
	if (err) {
		take_error(a, err);
		rig_faults.fail_alloc = left;
		return;
	}
	a->output = malloc(obs->output_len + 1);
	if (obs->output_len)
		memcpy(a->output, obs->output, obs->output_len);
	a->output[obs->output_len] = '\0';
	a->output_len = obs->output_len;
	a->has_exit_code = obs->has_exit_code;
	a->exit_code = obs->exit_code;
	a->expect_string = strdup(obs->expect_string ? obs->expect_string : "");
	a->failure_reason = strdup(obs->failure_reason);
	a->truncated = obs->truncated;
	a->ended = obs->session_ended;
	rig_faults.fail_alloc = left;
}

static void done_cb(void *arg, struct crex_error *err)
{
	struct answer *a = arg;
	assert_false(a->done);
	a->done = true;
	if (err)
		take_error(a, err);
}

struct answer *rig_new_answer(struct rig *r)
{
	struct answer *a = &r->answers[r->n_answers++ % (sizeof r->answers / sizeof r->answers[0])];
	answer_clear(a);
	return a;
}

struct answer *rig_create_start(struct rig *r, const char *name, double timeout, const char *source)
{
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_str item = {source, source ? strlen(source) : 0};
	req.session = (struct crex_str){name, strlen(name)};
	req.startup_timeout = timeout;
	if (source)
		req.startup_source = (struct crex_str_list){&item, 1};
	struct answer *a = rig_new_answer(r);
	local_create_session(r->rt, &req, session_cb, a);
	return a;
}

struct answer *rig_create(struct rig *r, const char *name)
{
	struct answer *a = rig_create_start(r, name, 20, NULL);
	rig_wait(r, &a->done, 25);
	if (a->code != CREX_OK)
		fail_msg("session not created: %s", a->message);
	return a;
}

struct answer *rig_start_run(struct rig *r, const char *command, size_t len, struct run opt)
{
	struct crex_bash_action req = CREX_BASH_ACTION_INIT;
	struct crex_str expect[3];
	const char *session = opt.session ? opt.session : "s";
	req.session = (struct crex_str){session, strlen(session)};
	req.command = (struct crex_str){command, len};
	req.timeout = opt.timeout != 0 ? opt.timeout : 20;
	req.is_interactive_command = opt.interactive;
	req.is_interactive_quit = opt.quit;
	req.check = opt.check;
	while (req.expect.count < 3 && opt.expect[req.expect.count]) {
		const char *e = opt.expect[req.expect.count];
		expect[req.expect.count++] = (struct crex_str){e, strlen(e)};
	}
	req.expect.items = expect;
	struct answer *a = rig_new_answer(r);
	local_run_in_session(r->rt, &req, session_cb, a);
	return a;
}

struct answer *rig_run_opt(struct rig *r, const char *command, struct run opt)
{
	struct answer *a = rig_start_run(r, command, strlen(command), opt);
	rig_wait(r, &a->done, 30);
	return a;
}

struct answer *rig_run(struct rig *r, const char *command)
{
	return rig_run_opt(r, command, (struct run){.check = CREX_CHECK_SILENT});
}

struct answer *rig_interrupt_start(struct rig *r, double timeout, int tries)
{
	struct crex_bash_interrupt_action req = CREX_BASH_INTERRUPT_ACTION_INIT;
	req.session = (struct crex_str){"s", 1};
	req.timeout = timeout;
	req.n_retry = tries;
	struct answer *a = rig_new_answer(r);
	local_interrupt(r->rt, &req, session_cb, a);
	return a;
}

struct answer *rig_interrupt(struct rig *r)
{
	struct answer *a = rig_interrupt_start(r, 0.1, 3);
	rig_wait(r, &a->done, 10);
	return a;
}

struct answer *rig_close(struct rig *r, const char *name)
{
	struct answer *a = rig_new_answer(r);
	local_close_session(r->rt, (struct crex_str){name, strlen(name)}, done_cb, a);
	rig_wait(r, &a->done, 10);
	return a;
}

void rig_check(struct rig *r, const char *file, int line, const char *command, const char *output, int code)
{
	struct answer *a = rig_run(r, command);
	if (a->code != CREX_OK)
		fail_msg("%s:%d: %s\n  failed: %s", file, line, command, a->message);
	else if (strcmp(a->output, output) != 0 || !a->has_exit_code || a->exit_code != code)
		fail_msg("%s:%d: %s\n  got \"%s\" and %d\n  want \"%s\" and %d", file, line, command, a->output,
			 a->exit_code, output, code);
}

/* ---- the outside ---- */

static bool cmdline_has(const char *pid, const char *text)
{
	char path[300], data[4096];
	snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, data, sizeof data);
	close(fd);
	return n > 0 && memmem(data, (size_t)n, text, strlen(text));
}

size_t rig_count(const char *text)
{
	size_t n = 0;
	DIR *d = opendir("/proc");
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && cmdline_has(e->d_name, text))
			n++;
	closedir(d);
	return n;
}

void rig_wait_count(struct rig *r, const char *text, size_t want, double seconds)
{
	for (uint64_t end = uv_hrtime() + (uint64_t)(seconds * 1e9); rig_count(text) != want;) {
		if (uv_hrtime() > end)
			fail_msg("%zu processes have \"%s\", want %zu", rig_count(text), text, want);
		rig_turn(r, 0.005);
	}
}

void rig_write_home(struct rig *r, const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", r->home, name);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

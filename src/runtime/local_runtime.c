/* runtime/local_runtime.c: the engine behind the runtime interface, on a thread of its own.
 *
 * The engine (runtime/local) is one event loop's; callers are any threads. A call becomes a `post`: queued under the
 * lock, taken by the loop's thread, started there, and finished by the engine's callback, which wakes the caller
 * through the post's eventfd, so that a caller can wait for its answer, its deadline and its cancel in one poll.
 *
 * A caller that gives up before the loop has taken the post unlinks it: nothing has begun. One that gives up later
 * leaves the post to the loop, which throws the answer away and frees it. The request belongs to the caller and is
 * looked at only while the post is being started, so giving up waits for that moment to pass: it is short, since engine
 * calls copy and return.
 *
 * An upload is one post that goes to the loop twice: to begin, and to commit or to abort. In between the caller's
 * thread copies, since it is the one that has nothing else to do. Aborting needs no answer and no memory: the post goes
 * back without its caller. */
#include <crex/interface.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "runtime/local/local.h"
#include "runtime/local_stream.h"
#include "runtime/pack.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

struct post {
	struct post *next;
	struct local_runtime *rt;
	void (*start)(struct local *engine, struct post *p);
	const void *req;		  /* the caller's; only for start */
	int done_fd;			  /* readable when finished */
	bool queued, finished, abandoned; /* under the runtime's lock */

	/* the answer */
	struct crex_error err;
	struct crex_text text;
	struct crex_observation obs;
	struct crex_execute_result result;

	/* an upload */
	bool unzip;
	struct local_upload *upload; /* begun, neither committed nor aborted */
	int upload_fd;		     /* the engine's */
};

struct local_runtime {
	struct crex_runtime base;
	pthread_t thread;
	uv_loop_t loop;
	uv_async_t wake;
	struct local *engine; /* used on the loop's thread alone */
	char **envp;	      /* owned: the environment as it was when the runtime was made */

	pthread_mutex_t lock; /* of all below and of the flags of posts */
	pthread_cond_t start_over;
	struct post *queue, **queue_tail;
	const struct post *starting; /* may be freed already; only compared */
	bool ending;
};

static struct local_runtime *of(struct crex_runtime *rt)
{
	return (struct local_runtime *)rt; /* the base stands first */
}

/* ---- the loop's thread ---- */

static void post_free(struct post *p)
{
	crex_error_clear(&p->err);
	crex_text_clear(&p->text);
	crex_observation_clear(&p->obs);
	crex_execute_result_clear(&p->result);
	close(p->done_fd);
	free(p);
}

static void finish(struct post *p, struct crex_error *err)
{
	struct local_runtime *rt = p->rt;
	if (err)
		crex_error_move(&p->err, err);
	pthread_mutex_lock(&rt->lock);
	bool abandoned = p->abandoned;
	p->finished = true;
	if (!abandoned)
		eventfd_write(p->done_fd, 1);
	pthread_mutex_unlock(&rt->lock);
	if (!abandoned)
		return;
	if (p->upload)
		local_upload_abort(p->upload);
	post_free(p);
}

static void on_done(void *arg, struct crex_error *err)
{
	finish(arg, err);
}

static void on_text(void *arg, struct crex_error *err, char *text_take, size_t len)
{
	struct post *p = arg;
	if (!err)
		p->text = (struct crex_text){text_take, len};
	finish(p, err);
}

static void on_observation(void *arg, struct crex_error *err, struct crex_observation *obs)
{
	struct post *p = arg;
	if (!err) {
		p->obs = *obs;
		*obs = (struct crex_observation)CREX_OBSERVATION_INIT;
	}
	finish(p, err);
}

static void on_executed(void *arg, struct crex_error *err, struct crex_execute_result *result)
{
	struct post *p = arg;
	if (!err) {
		p->result = *result;
		*result = (struct crex_execute_result)CREX_EXECUTE_RESULT_INIT;
	}
	finish(p, err);
}

static void start_create_session(struct local *engine, struct post *p)
{
	local_create_session(engine, p->req, on_observation, p);
}

static void start_run(struct local *engine, struct post *p)
{
	local_run_in_session(engine, p->req, on_observation, p);
}

static void start_interrupt(struct local *engine, struct post *p)
{
	local_interrupt(engine, p->req, on_observation, p);
}

static void start_close_session(struct local *engine, struct post *p)
{
	local_close_session(engine, *(const struct crex_str *)p->req, on_done, p);
}

static void start_execute(struct local *engine, struct post *p)
{
	local_execute(engine, p->req, on_executed, p);
}

static void start_read_file(struct local *engine, struct post *p)
{
	local_read_file(engine, p->req, on_text, p);
}

static void start_write_file(struct local *engine, struct post *p)
{
	local_write_file(engine, p->req, on_done, p);
}

static void start_close(struct local *engine, struct post *p)
{
	local_close_all(engine, on_done, p);
}

static void on_begun(void *arg, struct crex_error *err, struct local_upload *upload, int fd)
{
	struct post *p = arg;
	p->upload = upload;
	p->upload_fd = fd;
	finish(p, err);
}

static void start_upload(struct local *engine, struct post *p)
{
	const struct crex_upload_request *req = p->req;
	local_upload_begin(engine, req->target_path, p->unzip, on_begun, p);
}

static void start_commit(struct local *engine, struct post *p)
{
	(void)engine;
	local_upload_commit(steal_ptr(p->upload), on_done, p);
}

static void start_abort(struct local *engine, struct post *p)
{
	(void)engine;
	local_upload_abort(p->upload);
	post_free(p);
}

/* req is the loop's end of a socket pair; the caller closes its own descriptor of it. */
static void start_stream(struct local *engine, struct post *p)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	int fd = fcntl(*(const int *)p->req, F_DUPFD_CLOEXEC, 3);
	int r = fd < 0 ? crex_error_set_errno(&err, errno, NULL) : local_stream_serve(&p->rt->loop, engine, fd, &err);
	finish(p, r < 0 ? &err : NULL);
}

static struct post *take_post(struct local_runtime *rt)
{
	pthread_mutex_lock(&rt->lock);
	struct post *p = rt->queue;
	if (p) {
		rt->queue = p->next;
		if (!rt->queue)
			rt->queue_tail = &rt->queue;
		p->queued = false;
	}
	rt->starting = p;
	pthread_cond_broadcast(&rt->start_over);
	pthread_mutex_unlock(&rt->lock);
	return p;
}

static void on_engine_closed(void *arg)
{
	struct local_runtime *rt = arg;
	rt->engine = NULL;
	local_stream_close_all(&rt->loop);
	uv_close((uv_handle_t *)&rt->wake, NULL);
}

static void on_wake(uv_async_t *wake)
{
	struct local_runtime *rt = wake->data;
	struct post *p;
	while ((p = take_post(rt)) != NULL)
		p->start(rt->engine, p);
	pthread_mutex_lock(&rt->lock);
	bool ending = rt->ending;
	pthread_mutex_unlock(&rt->lock);
	if (ending && rt->engine)
		local_shutdown(rt->engine, on_engine_closed, rt);
}

static void *run_loop(void *arg)
{
	struct local_runtime *rt = arg;
	uv_run(&rt->loop, UV_RUN_DEFAULT);
	return NULL;
}

/* ---- the caller's thread ---- */

static struct post *post_new(struct local_runtime *rt, void (*start)(struct local *, struct post *), const void *req,
			     struct crex_error *err)
{
	struct post *p = malloc(sizeof *p);
	if (!p) {
		crex_error_set_errno(err, ENOMEM, NULL);
		return NULL;
	}
	*p = (struct post){.rt = rt, .start = start, .req = req, .err = CREX_ERROR_INIT, .obs = CREX_OBSERVATION_INIT};
	p->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->done_fd < 0) {
		crex_error_set_errno(err, errno, NULL);
		free(p);
		return NULL;
	}
	return p;
}

static void submit(struct local_runtime *rt, struct post *p)
{
	pthread_mutex_lock(&rt->lock);
	p->next = NULL;
	p->queued = true;
	p->finished = false;
	*rt->queue_tail = p;
	rt->queue_tail = &p->next;
	pthread_mutex_unlock(&rt->lock);
	uv_async_send(&rt->wake);
}

/* An upload that will not be: the post is the loop's from here on. */
static void submit_abort(struct local_runtime *rt, struct post *p)
{
	p->start = start_abort;
	p->abandoned = true;
	submit(rt, p);
}

/* True: the post was finished after all and is the caller's still. */
static bool give_up(struct local_runtime *rt, struct post *p)
{
	pthread_mutex_lock(&rt->lock);
	while (rt->starting == p && !p->finished)
		pthread_cond_wait(&rt->start_over, &rt->lock);
	bool was_queued = p->queued, finished = p->finished;
	if (was_queued && p->upload) {
		p->start = start_abort; /* in the commit's place */
		p->abandoned = true;
		was_queued = false;
	} else if (was_queued) {
		struct post **at = &rt->queue;
		while (*at != p)
			at = &(*at)->next;
		*at = p->next;
		if (!*at)
			rt->queue_tail = at;
	} else if (!finished) {
		p->abandoned = true;
	}
	pthread_mutex_unlock(&rt->lock);
	if (was_queued)
		post_free(p);
	return finished;
}

/* Has the loop do it and waits. 0: p holds the answer and is the caller's still; -1: p is gone and err is set. */
static int await(struct local_runtime *rt, struct post *p, const struct deadline *deadline, struct crex_error *err)
{
	submit(rt, p);
	struct pollfd fd = {.fd = p->done_fd, .events = POLLIN};
	if (deadline_poll(deadline, &fd, 1, err) < 0) {
		if (!give_up(rt, p))
			return -1;
		crex_error_clear(err);
	} else {
		/* finish() is about to leave the lock */
		pthread_mutex_lock(&rt->lock);
		pthread_mutex_unlock(&rt->lock);
	}
	if (p->err.code == CREX_OK)
		return 0;
	crex_error_move(err, &p->err);
	post_free(p);
	return -1;
}

/* 0: *ret_post holds the answer and is the caller's. */
static int ask_engine(struct crex_runtime *base, void (*start)(struct local *, struct post *), const void *req,
		      const struct crex_call *call, struct post **ret_post, struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	*ret_post = post_new(of(base), start, req, err);
	return *ret_post ? await(of(base), *ret_post, &deadline, err) : -1;
}

static int is_alive(struct crex_runtime *base, const struct crex_call *call, struct crex_is_alive *ret,
		    struct crex_error *err)
{
	(void)base, (void)call, (void)err;
	ret->is_alive = true;
	return 0;
}

static int create_session(struct crex_runtime *base, const struct crex_create_session_request *req,
			  const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	struct post *p;
	if (ask_engine(base, start_create_session, req, call, &p, err) < 0)
		return -1;
	*ret = (struct crex_text){steal_ptr(p->obs.output), p->obs.output_len};
	post_free(p);
	return 0;
}

static int take_observation(struct post *p, struct crex_observation *ret)
{
	*ret = p->obs;
	p->obs = (struct crex_observation)CREX_OBSERVATION_INIT;
	post_free(p);
	return 0;
}

static int run_in_session(struct crex_runtime *base, const struct crex_bash_action *action,
			  const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	struct post *p;
	return ask_engine(base, start_run, action, call, &p, err) < 0 ? -1 : take_observation(p, ret);
}

static int interrupt(struct crex_runtime *base, const struct crex_bash_interrupt_action *action,
		     const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	struct post *p;
	return ask_engine(base, start_interrupt, action, call, &p, err) < 0 ? -1 : take_observation(p, ret);
}

/* For answers that say nothing but that it is done. */
static int do_it(struct crex_runtime *base, void (*start)(struct local *, struct post *), const void *req,
		 const struct crex_call *call, struct crex_error *err)
{
	struct post *p;
	if (ask_engine(base, start, req, call, &p, err) < 0)
		return -1;
	post_free(p);
	return 0;
}

static int close_session(struct crex_runtime *base, struct crex_str session, const struct crex_call *call,
			 struct crex_error *err)
{
	return do_it(base, start_close_session, &session, call, err);
}

static int execute(struct crex_runtime *base, const struct crex_execute_request *req, const struct crex_call *call,
		   struct crex_execute_result *ret, struct crex_error *err)
{
	struct post *p;
	if (ask_engine(base, start_execute, req, call, &p, err) < 0)
		return -1;
	*ret = p->result;
	p->result = (struct crex_execute_result)CREX_EXECUTE_RESULT_INIT;
	post_free(p);
	return 0;
}

static int read_file(struct crex_runtime *base, const struct crex_read_file_request *req, const struct crex_call *call,
		     struct crex_text *ret, struct crex_error *err)
{
	struct post *p;
	if (ask_engine(base, start_read_file, req, call, &p, err) < 0)
		return -1;
	*ret = (struct crex_text){steal_ptr(p->text.data), p->text.len};
	post_free(p);
	return 0;
}

static int write_file(struct crex_runtime *base, const struct crex_write_file_request *req,
		      const struct crex_call *call, struct crex_error *err)
{
	return do_it(base, start_write_file, req, call, err);
}

/* 0, or a negative errno. */
static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int copy_source(struct pack *source, const struct crex_upload_request *req, int fd,
		       const struct deadline *deadline, struct crex_error *err)
{
	char chunk[64 * 1024];
	ssize_t n;
	while ((n = pack_read(source, chunk, sizeof chunk, err)) > 0) {
		int r = write_all(fd, chunk, (size_t)n);
		if (r < 0) {
			cleanup_free char *target = strndup(req->target_path.ptr, req->target_path.len);
			return crex_error_set_errno(err, -r, target);
		}
		if (deadline_check(deadline, err) < 0)
			return -1;
	}
	return (int)n;
}

static int upload_source(struct local_runtime *rt, const struct crex_upload_request *req, struct pack *source,
			 const struct deadline *deadline, struct crex_error *err)
{
	struct post *p = post_new(rt, start_upload, req, err);
	if (!p)
		return -1;
	p->unzip = pack_is_archive(source);
	if (await(rt, p, deadline, err) < 0)
		return -1;
	eventfd_t seen;
	eventfd_read(p->done_fd, &seen);
	if (copy_source(source, req, p->upload_fd, deadline, err) < 0) {
		submit_abort(rt, p);
		return -1;
	}
	p->start = start_commit;
	if (await(rt, p, deadline, err) < 0)
		return -1;
	post_free(p);
	pack_arrived(source);
	return 0;
}

static int upload(struct crex_runtime *base, const struct crex_upload_request *req, const struct crex_call *call,
		  struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	struct pack *source = pack_open(req, err);
	int r = source ? upload_source(of(base), req, source, &deadline, err) : -1;
	pack_free(source);
	return r;
}

static int close_all(struct crex_runtime *base, const struct crex_call *call, struct crex_error *err)
{
	return do_it(base, start_close, NULL, call, err);
}

static int open_stream(struct crex_runtime *base, const struct crex_stream_request *req, const struct crex_call *call,
		       struct crex_stream **ret, struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return crex_error_set_errno(err, errno, NULL);
	cleanup_fd int ours = ends[0];
	cleanup_fd int theirs = ends[1];
	const struct crex_call first = deadline_rest(&deadline);
	if (do_it(base, start_stream, &theirs, &first, err) < 0)
		return -1;
	close(steal_fd(&theirs)); /* or the end of the loop's one would go unseen */
	const struct crex_call rest = deadline_rest(&deadline);
	return local_stream_connect(steal_fd(&ours), req, &rest, ret, err);
}

/* ---- birth and end ---- */

static void envp_free(char **envp)
{
	for (char **e = envp; e && *e; e++)
		free(*e);
	free(envp);
}

static char **envp_copy(char *const *envp)
{
	size_t n = 0;
	while (envp && envp[n])
		n++;
	char **copy = calloc(n + 1, sizeof *copy);
	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(envp[i]);
		if (!copy[i]) {
			envp_free(copy);
			return NULL;
		}
	}
	return copy;
}

static void local_runtime_free(struct crex_runtime *base)
{
	struct local_runtime *rt = of(base);
	pthread_mutex_lock(&rt->lock);
	rt->ending = true;
	pthread_mutex_unlock(&rt->lock);
	uv_async_send(&rt->wake);
	pthread_join(rt->thread, NULL);
	uv_loop_close(&rt->loop);
	pthread_cond_destroy(&rt->start_over);
	pthread_mutex_destroy(&rt->lock);
	envp_free(rt->envp);
	free(rt);
}

static const struct crex_runtime_ops local_ops = {
	.type = "local",
	.is_alive = is_alive,
	.create_session = create_session,
	.run_in_session = run_in_session,
	.interrupt = interrupt,
	.close_session = close_session,
	.execute = execute,
	.read_file = read_file,
	.write_file = write_file,
	.upload = upload,
	.close = close_all,
	.open_stream = open_stream,
	.free = local_runtime_free,
};

/* The program's signals are the program's: none is to be delivered to our thread. */
static int start_thread(struct local_runtime *rt)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&rt->thread, NULL, run_loop, rt);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

struct crex_runtime *crex_local_runtime_new(const struct crex_local_runtime_config *config, struct crex_error *err)
{
	static const struct crex_local_runtime_config defaults = CREX_LOCAL_RUNTIME_CONFIG_INIT;
	if (!config)
		config = &defaults;
	struct local_runtime *rt = calloc(1, sizeof *rt);
	int r = rt && (rt->envp = envp_copy(environ)) ? uv_loop_init(&rt->loop) : UV_ENOMEM;
	if (r < 0) {
		if (rt)
			envp_free(rt->envp);
		free(rt);
		crex_error_set_errno(err, -r, NULL);
		return NULL;
	}
	rt->base.ops = &local_ops;
	rt->queue_tail = &rt->queue;
	pthread_mutex_init(&rt->lock, NULL);
	pthread_cond_init(&rt->start_over, NULL);
	struct local_config engine = LOCAL_CONFIG_INIT;
	engine.envp = rt->envp;
	if (config->max_sessions)
		engine.max_sessions = config->max_sessions;
	if (config->max_output)
		engine.max_output = config->max_output;
	uv_async_init(&rt->loop, &rt->wake,
		      on_wake); /* a failure would have been uv_loop_init's: it makes the same descriptor */
	rt->wake.data = rt;
	rt->engine = local_new(&rt->loop, &engine);
	r = rt->engine ? -start_thread(rt) : UV_ENOMEM;
	if (r < 0) {
		rt->ending = true;
		if (rt->engine)
			local_shutdown(rt->engine, on_engine_closed, rt);
		else
			uv_close((uv_handle_t *)&rt->wake, NULL);
		uv_run(&rt->loop, UV_RUN_DEFAULT);
		uv_loop_close(&rt->loop);
		envp_free(rt->envp);
		free(rt);
		crex_error_set_errno(err, -r, NULL);
		return NULL;
	}
	return &rt->base;
}

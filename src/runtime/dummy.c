/* runtime/dummy.c: a runtime of canned replies, for tests of programs that use one.
 *
 * It runs nothing, yet it keeps the contract where a program's mistakes would show: sessions must be created before use
 * and exist once, files that were written (or uploaded) can be read and others can't. What run_in_session and interrupt
 * answer is queued beforehand; with nothing ever queued each answers "" and 0, once something was, running out is
 * DUMMY_OUTPUTS_EXHAUSTED, as in SWE-ReX's DummyRuntime. One lock, held for moments. */
#include <crex/interface.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum { FILE_MAX = 64 << 20 };

/* A list of things by name serves sessions and files alike. */
struct entry {
	struct entry *next;
	struct crex_text name, content;
};

struct canned {
	struct canned *next;
	struct crex_observation obs;
	struct crex_error err; /* code CREX_OK: obs is the answer */
};

struct dummy {
	struct crex_runtime base;
	pthread_mutex_t lock;
	struct entry *sessions, *files;
	struct canned *queue, **queue_tail;
	bool scripted; /* something was queued once */
};

static struct dummy *of(struct crex_runtime *rt)
{
	return (struct dummy *)rt;
}

static int no_memory(struct crex_error *err)
{
	return crex_error_set_errno(err, ENOMEM, NULL);
}

static int text_copy(struct crex_text *dst, const char *data, size_t len)
{
	char *copy = malloc(len + 1);
	if (!copy)
		return -1;
	if (len)
		memcpy(copy, data, len);
	copy[len] = '\0';
	*dst = (struct crex_text){copy, len};
	return 0;
}

static struct entry **entry_find(struct entry **list, struct crex_str name)
{
	while (*list &&
	       ((*list)->name.len != name.len || (name.len && memcmp((*list)->name.data, name.ptr, name.len) != 0)))
		list = &(*list)->next;
	return list;
}

static void entry_free(struct entry *e)
{
	if (!e)
		return;
	crex_text_clear(&e->name);
	crex_text_clear(&e->content);
	free(e);
}

static void entries_free(struct entry **list)
{
	while (*list) {
		struct entry *e = *list;
		*list = e->next;
		entry_free(e);
	}
}

/* Adds or replaces. */
static int entry_put(struct entry **list, struct crex_str name, struct crex_str content)
{
	struct entry *e = calloc(1, sizeof *e);
	if (!e || text_copy(&e->name, name.ptr, name.len) < 0 || text_copy(&e->content, content.ptr, content.len) < 0) {
		entry_free(e);
		return -1;
	}
	struct entry **at = entry_find(list, name), *old = *at;
	e->next = old ? old->next : NULL;
	*at = e;
	entry_free(old);
	return 0;
}

static int no_session(struct crex_str name, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_SESSION_DOES_NOT_EXIST, "session '%.*s' does not exist", (int)name.len,
			      name.ptr);
}

static int is_alive(struct crex_runtime *rt, const struct crex_call *call, struct crex_is_alive *ret,
		    struct crex_error *err)
{
	(void)rt, (void)call, (void)err;
	ret->is_alive = true;
	return 0;
}

static int create_session(struct crex_runtime *rt, const struct crex_create_session_request *req,
			  const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	struct dummy *d = of(rt);
	(void)call;
	if (text_copy(ret, "", 0) < 0)
		return no_memory(err);
	pthread_mutex_lock(&d->lock);
	bool exists = *entry_find(&d->sessions, req->session);
	int r = exists ? 0 : entry_put(&d->sessions, req->session, (struct crex_str){"", 0});
	pthread_mutex_unlock(&d->lock);
	if (exists)
		return crex_error_set(err, CREX_E_SESSION_EXISTS, "session '%.*s' already exists",
				      (int)req->session.len, req->session.ptr);
	return r < 0 ? no_memory(err) : 0;
}

static void canned_free(struct canned *c)
{
	if (!c)
		return;
	crex_observation_clear(&c->obs);
	crex_error_clear(&c->err);
	free(c);
}

/* The next queued reply, or an empty one. */
static int next_reply(struct dummy *d, struct crex_observation *ret, struct crex_error *err)
{
	pthread_mutex_lock(&d->lock);
	struct canned *c = d->queue;
	bool scripted = d->scripted;
	if (c) {
		d->queue = c->next;
		if (!d->queue)
			d->queue_tail = &d->queue;
	}
	pthread_mutex_unlock(&d->lock);
	if (!c && scripted)
		return crex_error_set(err, CREX_E_DUMMY_OUTPUTS_EXHAUSTED,
				      "the dummy runtime has no queued reply left");
	if (!c) {
		ret->has_exit_code = true;
		ret->output = strdup("");
		ret->expect_string = strdup("");
		return ret->output && ret->expect_string ? 0 : no_memory(err);
	}
	bool fails = c->err.code != CREX_OK;
	if (fails) {
		crex_error_move(err, &c->err);
	} else {
		*ret = c->obs;
		c->obs = (struct crex_observation)CREX_OBSERVATION_INIT;
	}
	canned_free(c);
	return fails ? -1 : 0;
}

static int reply_in_session(struct dummy *d, struct crex_str session, struct crex_observation *ret,
			    struct crex_error *err)
{
	pthread_mutex_lock(&d->lock);
	bool exists = *entry_find(&d->sessions, session);
	pthread_mutex_unlock(&d->lock);
	return exists ? next_reply(d, ret, err) : no_session(session, err);
}

static int run_in_session(struct crex_runtime *rt, const struct crex_bash_action *action, const struct crex_call *call,
			  struct crex_observation *ret, struct crex_error *err)
{
	(void)call;
	return reply_in_session(of(rt), action->session, ret, err);
}

static int interrupt(struct crex_runtime *rt, const struct crex_bash_interrupt_action *action,
		     const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	(void)call;
	return reply_in_session(of(rt), action->session, ret, err);
}

static int close_session(struct crex_runtime *rt, struct crex_str session, const struct crex_call *call,
			 struct crex_error *err)
{
	struct dummy *d = of(rt);
	(void)call;
	pthread_mutex_lock(&d->lock);
	struct entry **at = entry_find(&d->sessions, session), *e = *at;
	if (e)
		*at = e->next;
	pthread_mutex_unlock(&d->lock);
	if (!e)
		return no_session(session, err);
	entry_free(e);
	return 0;
}

static int execute(struct crex_runtime *rt, const struct crex_execute_request *req, const struct crex_call *call,
		   struct crex_execute_result *ret, struct crex_error *err)
{
	(void)rt, (void)req, (void)call;
	ret->out = strdup("");
	ret->err = strdup("");
	return ret->out && ret->err ? 0 : no_memory(err);
}

static int read_file(struct crex_runtime *rt, const struct crex_read_file_request *req, const struct crex_call *call,
		     struct crex_text *ret, struct crex_error *err)
{
	struct dummy *d = of(rt);
	(void)call;
	pthread_mutex_lock(&d->lock);
	const struct entry *e = *entry_find(&d->files, req->path);
	int r = e ? text_copy(ret, e->content.data, e->content.len) : 0;
	pthread_mutex_unlock(&d->lock);
	if (r < 0)
		return no_memory(err);
	if (e)
		return 0;
	cleanup_free char *path = strndup(req->path.ptr ? req->path.ptr : "", req->path.len);
	return crex_error_set_errno(err, ENOENT, path ? path : "");
}

static int write_file(struct crex_runtime *rt, const struct crex_write_file_request *req, const struct crex_call *call,
		      struct crex_error *err)
{
	struct dummy *d = of(rt);
	(void)call;
	pthread_mutex_lock(&d->lock);
	int r = entry_put(&d->files, req->path, req->content);
	pthread_mutex_unlock(&d->lock);
	return r < 0 ? no_memory(err) : 0;
}

static int read_source(int fd, struct buf *content)
{
	for (;;) {
		if (buf_reserve(content, 65536) < 0)
			return -EFBIG;
		ssize_t n = read(fd, content->data + content->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		content->len += (size_t)n;
	}
}

/* A file's content can be read back under its target; of a directory only that it is readable is looked at. */
static int upload(struct crex_runtime *rt, const struct crex_upload_request *req, const struct crex_call *call,
		  struct crex_error *err)
{
	cleanup_free char *source = strndup(req->source_path.ptr ? req->source_path.ptr : "", req->source_path.len);
	if (!source)
		return no_memory(err);
	cleanup_fd int fd = open(source, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return crex_error_set_errno(err, errno, source);
	cleanup_buf struct buf content;
	buf_init(&content, FILE_MAX);
	if (!S_ISDIR(st.st_mode)) {
		int r = read_source(fd, &content);
		if (r < 0)
			return crex_error_set_errno(err, -r, source);
	}
	const struct crex_write_file_request file = {req->target_path, {content.data, content.len}};
	return S_ISDIR(st.st_mode) ? 0 : write_file(rt, &file, call, err);
}

static int close_all(struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err)
{
	struct dummy *d = of(rt);
	(void)call, (void)err;
	pthread_mutex_lock(&d->lock);
	entries_free(&d->sessions);
	pthread_mutex_unlock(&d->lock);
	return 0;
}

static void dummy_free(struct crex_runtime *rt)
{
	struct dummy *d = of(rt);
	entries_free(&d->sessions);
	entries_free(&d->files);
	while (d->queue) {
		struct canned *c = d->queue;
		d->queue = c->next;
		canned_free(c);
	}
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* ---- streams: a queued reply, told as output and end ---- */

struct dummy_stream {
	struct crex_stream base;
	struct crex_observation obs;
	bool told;
	int fd; /* always readable: an answer is always there */
};

static int stream_read(struct crex_stream *s, struct crex_stream_event *ret, const struct crex_call *call,
		       struct crex_error *err)
{
	struct dummy_stream *d = (struct dummy_stream *)s;
	(void)call, (void)err;
	if (!d->told && d->obs.output_len > 0)
		*ret = (struct crex_stream_event){CREX_STREAM_STDOUT, d->obs.output, d->obs.output_len, 0};
	else
		*ret = (struct crex_stream_event){CREX_STREAM_EXIT, NULL, 0, d->obs.exit_code};
	d->told = true;
	return 0;
}

static int stream_write(struct crex_stream *s, const char *data, size_t len, const struct crex_call *call,
			struct crex_error *err)
{
	(void)s, (void)data, (void)len, (void)call, (void)err;
	return 0;
}

static int stream_close_stdin(struct crex_stream *s, const struct crex_call *call, struct crex_error *err)
{
	(void)s, (void)call, (void)err;
	return 0;
}

static int stream_resize(struct crex_stream *s, int rows, int columns, const struct crex_call *call,
			 struct crex_error *err)
{
	(void)s, (void)rows, (void)columns, (void)call, (void)err;
	return 0;
}

static int stream_signal(struct crex_stream *s, int signum, const struct crex_call *call, struct crex_error *err)
{
	(void)s, (void)signum, (void)call, (void)err;
	return 0;
}

static int stream_fd(const struct crex_stream *s)
{
	return ((const struct dummy_stream *)s)->fd;
}

static void stream_free(struct crex_stream *s)
{
	struct dummy_stream *d = (struct dummy_stream *)s;
	crex_observation_clear(&d->obs);
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

static const struct crex_stream_ops stream_ops = {
	.read = stream_read,
	.write = stream_write,
	.close_stdin = stream_close_stdin,
	.resize = stream_resize,
	.signal = stream_signal,
	.fd = stream_fd,
	.free = stream_free,
};

static int open_stream(struct crex_runtime *rt, const struct crex_stream_request *req, const struct crex_call *call,
		       struct crex_stream **ret, struct crex_error *err)
{
	(void)req, (void)call;
	struct dummy_stream *s = calloc(1, sizeof *s);
	if (!s)
		return no_memory(err);
	*s = (struct dummy_stream){.base.ops = &stream_ops, .obs = CREX_OBSERVATION_INIT};
	s->fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = s->fd < 0 ? crex_error_set_errno(err, errno, NULL) : next_reply(of(rt), &s->obs, err);
	if (r < 0)
		stream_free(&s->base);
	else
		*ret = &s->base;
	return r;
}

static const struct crex_runtime_ops dummy_ops = {
	.type = "dummy",
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
	.free = dummy_free,
};

struct crex_runtime *crex_dummy_runtime_new(struct crex_error *err)
{
	struct dummy *d = calloc(1, sizeof *d);
	if (!d) {
		no_memory(err);
		return NULL;
	}
	d->base.ops = &dummy_ops;
	d->queue_tail = &d->queue;
	pthread_mutex_init(&d->lock, NULL);
	return &d->base;
}

static int push(struct crex_runtime *rt, struct canned *take, struct crex_error *err)
{
	if (!take)
		return no_memory(err);
	if (rt->ops != &dummy_ops) {
		canned_free(take);
		return crex_error_set(err, CREX_E_UNSUPPORTED,
				      "replies can only be queued in a dummy runtime, this one is %s", rt->ops->type);
	}
	struct dummy *d = of(rt);
	pthread_mutex_lock(&d->lock);
	*d->queue_tail = take;
	d->queue_tail = &take->next;
	d->scripted = true;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

int crex_dummy_runtime_push(struct crex_runtime *rt, const struct crex_observation *obs, struct crex_error *err)
{
	struct canned *c = calloc(1, sizeof *c);
	struct crex_text output = CREX_TEXT_INIT;
	if (c && text_copy(&output, obs->output, obs->output_len) == 0) {
		c->obs = *obs;
		c->obs.output = output.data;
		c->obs.expect_string = strdup(obs->expect_string ? obs->expect_string : "");
	}
	if (c && !c->obs.expect_string) {
		canned_free(c);
		c = NULL;
	}
	return push(rt, c, err);
}

int crex_dummy_runtime_push_error(struct crex_runtime *rt, const struct crex_error *reply, struct crex_error *err)
{
	struct canned *c = calloc(1, sizeof *c);
	if (c) {
		crex_error_set_bytes(&c->err, reply->code, reply->message ? reply->message : "", reply->message_len);
		for (size_t i = 0; i < reply->n_extra; i++)
			crex_error_add(&c->err, reply->extra[i].key, reply->extra[i].value, reply->extra[i].len);
	}
	return push(rt, c, err);
}

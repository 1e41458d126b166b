/* tests/unit/fake_engine.c: see the header. It implements local.h and is linked in place of the real one. */
#include "fake_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct local_upload {
	struct local *rt;
	int fd;
};

struct hanging {
	struct hanging *next;
	local_session_fn done;
	void *arg;
};

struct stream_service {
	struct stream_service *next;
	const struct stream_transport *transport;
	void *arg;
	struct local *rt; /* NULL: gone */
};

struct local {
	struct fake_stats stats;
	struct hanging *hanging;
	bool fail_begin;
	struct stream_service *services;
};

struct local *local_new(uv_loop_t *loop, const struct local_config *config)
{
	(void)loop;
	(void)config;
	return calloc(1, sizeof(struct local));
}

struct fake_stats *fake_stats(struct local *rt)
{
	return &rt->stats;
}

void fake_fail_begin(struct local *rt, bool on)
{
	rt->fail_begin = on;
}

static void observe(local_session_fn done, void *arg, char *text_take, size_t len)
{
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	obs.output = text_take;
	obs.output_len = len;
	obs.has_exit_code = true;
	done(arg, NULL, &obs);
	free(obs.output);
}

bool fake_release(struct local *rt)
{
	struct hanging *h = rt->hanging;
	if (!h)
		return false;
	rt->hanging = h->next;
	observe(h->done, h->arg, strdup("released"), 8);
	free(h);
	return true;
}

void local_shutdown(struct local *rt, void (*closed)(void *arg), void *arg)
{
	while (fake_release(rt))
		;
	for (struct stream_service *s = rt->services; s; s = s->next)
		s->rt = NULL;
	free(rt->stats.content);
	free(rt);
	closed(arg);
}

void local_create_session(struct local *rt, const struct crex_create_session_request *req, local_session_fn done,
			  void *arg)
{
	(void)rt;
	(void)req;
	observe(done, arg, strdup("hi"), 2);
}

void local_run_in_session(struct local *rt, const struct crex_bash_action *req, local_session_fn done, void *arg)
{
	rt->stats.runs++;
	if (req->command.len == 4 && memcmp(req->command.ptr, "hang", 4) == 0) {
		struct hanging *h = calloc(1, sizeof *h);
		h->next = rt->hanging;
		h->done = done;
		h->arg = arg;
		rt->hanging = h;
		return;
	}
	size_t len = req->command.len;
	if (len > 4 && memcmp(req->command.ptr, "big ", 4) == 0) {
		len = strtoul(req->command.ptr + 4, NULL, 10);
		char *text = malloc(len);
		memset(text, 'x', len);
		observe(done, arg, text, len);
		return;
	}
	if (len == 4 && memcmp(req->command.ptr, "fail", 4) == 0) {
		struct crex_error err = CREX_ERROR_INIT;
		crex_error_set(&err, CREX_E_COMMAND_TIMEOUT, "timeout after 1 seconds while running command 'fail'");
		done(arg, &err, NULL);
		crex_error_clear(&err);
		return;
	}
	char *text = malloc(len + 1);
	memcpy(text, req->command.ptr, len);
	observe(done, arg, text, len);
}

void local_interrupt(struct local *rt, const struct crex_bash_interrupt_action *req, local_session_fn done, void *arg)
{
	(void)rt;
	(void)req;
	observe(done, arg, strdup("^C"), 2);
}

void local_close_session(struct local *rt, struct crex_str name, local_done_fn done, void *arg)
{
	(void)rt;
	(void)name;
	done(arg, NULL);
}

void local_close_all(struct local *rt, local_done_fn done, void *arg)
{
	(void)rt;
	done(arg, NULL);
}

void local_execute(struct local *rt, const struct crex_execute_request *req, local_execute_fn done, void *arg)
{
	(void)rt;
	(void)req;
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	done(arg, NULL, &res);
}

void local_read_file(struct local *rt, const struct crex_read_file_request *req, local_text_fn done, void *arg)
{
	(void)rt;
	(void)req;
	done(arg, NULL, strdup("text"), 4);
}

void local_write_file(struct local *rt, const struct crex_write_file_request *req, local_done_fn done, void *arg)
{
	(void)rt;
	(void)req;
	done(arg, NULL);
}

void local_upload_begin(struct local *rt, struct crex_str target, bool unzip, local_upload_begun_fn done, void *arg)
{
	if (rt->fail_begin) {
		struct crex_error err = CREX_ERROR_INIT;
		crex_error_set(&err, CREX_E_IS_A_DIRECTORY, "no");
		done(arg, &err, NULL, -1);
		crex_error_clear(&err);
		return;
	}
	rt->stats.begun++;
	rt->stats.unzip = unzip;
	snprintf(rt->stats.target, sizeof rt->stats.target, "%.*s", (int)target.len, target.ptr);
	struct local_upload *up = calloc(1, sizeof *up);
	up->rt = rt;
	up->fd = memfd_create("upload", MFD_CLOEXEC);
	done(arg, NULL, up, up->fd);
}

void local_upload_commit(struct local_upload *up, local_done_fn done, void *arg)
{
	struct fake_stats *s = &up->rt->stats;
	struct stat st;
	fstat(up->fd, &st);
	s->content = realloc(s->content, (size_t)st.st_size + 1);
	s->content_len = (size_t)pread(up->fd, s->content, (size_t)st.st_size, 0);
	s->committed++;
	close(up->fd);
	free(up);
	done(arg, NULL);
}

void local_upload_abort(struct local_upload *up)
{
	up->rt->stats.aborted++;
	close(up->fd);
	free(up);
}

void local_get_stats(const struct local *rt, struct local_stats *ret)
{
	(void)rt;
	*ret = (struct local_stats){0, 0};
}

/* Streams: an echo. "pause" and "resume" are obeyed, "end" ends it from this side. */

struct stream_service *stream_service_new(struct local *rt, const struct stream_transport *transport, void *arg)
{
	struct stream_service *s = calloc(1, sizeof *s);
	if (s) {
		*s = (struct stream_service){rt->services, transport, arg, rt};
		rt->services = s;
	}
	return s;
}

static void service_free(struct stream_service *s)
{
	for (struct stream_service **at = s->rt ? &s->rt->services : NULL; at && *at; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			break;
		}
	}
	free(s);
}

void stream_service_feed(struct stream_service *s, const char *data, size_t len)
{
	s->rt->stats.stream_waiting = s->transport->send(s->arg, data, len, NULL, 0);
	if (len == 5 && memcmp(data, "pause", 5) == 0)
		s->transport->pause(s->arg, true);
	if (len == 3 && memcmp(data, "end", 3) == 0) {
		s->transport->finish(s->arg);
		service_free(s);
	}
}

void stream_service_drained(struct stream_service *s)
{
	s->rt->stats.stream_drains++;
}

void stream_service_hang_up(struct stream_service *s)
{
	if (s->rt)
		s->rt->stats.stream_hang_ups++;
	service_free(s);
}

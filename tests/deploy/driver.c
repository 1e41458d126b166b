/* tests/deploy/driver.c: deployments for tests in other languages: one JSON object a line on stdin, one reply a line.
 *
 *   {"op": "new", "config": {...}}        makes the deployment that the others are about
 *   {"op": "start", "timeout": S, "cancel_after": S}
 *   {"op": "run", "command": "..."}       in a session of its own, made when it is first needed
 *   {"op": "execute", "command": "..."}   {"op": "read"|"write", "path":, "content":}
 *   {"op": "upload", "source":, "target":}
 *   {"op": "is_alive"} {"op": "logs"} {"op": "stop", "timeout": S} {"op": "free"} {"op": "detach"}
 *   {"op": "resume", "state": "..."} {"op": "gc", "type":, "all":} {"op": "check", "type":}
 *   {"op": "parallel", "config": {...}, "n": N, "files": bool}   N at once, each in a thread: start, use, stop
 *
 * Replies: {"ok": ..., "seconds": S, "steps": [...]} or {"error": CODE, "message": ..., ...}. At the end of its input
 * it frees the deployment, which stops it. */
#include "base/deadline.h"
#include <crex/crex.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct driver {
	struct crex_deployment *d;
	bool has_session;
	json_t *steps;
	pthread_mutex_t lock;
};

static double number(const json_t *request, const char *name, double otherwise)
{
	const json_t *value = json_object_get(request, name);
	return value ? json_number_value(value) : otherwise;
}

static struct crex_str text(const json_t *request, const char *name)
{
	return crex_str_of(json_string_value(json_object_get(request, name)));
}

static json_t *own(char *data, size_t len)
{
	json_t *value = json_stringn_nocheck(data ? data : "", len);
	free(data);
	return value;
}

/* ---- hooks ---- */

static void on_step(void *arg, const char *message)
{
	struct driver *self = arg;
	pthread_mutex_lock(&self->lock);
	json_array_append_new(self->steps, json_string(message));
	pthread_mutex_unlock(&self->lock);
}

static void on_progress(void *arg, const char *what, unsigned long long done, unsigned long long total)
{
	char line[128];
	snprintf(line, sizeof line, "progress: %s %llu of %llu", what, done, total);
	on_step(arg, line);
}

static struct crex_deployment *hooked(struct driver *self, struct crex_deployment *d, struct crex_error *err)
{
	const struct crex_deployment_hook hook = {on_step, on_progress, self};
	if (d && crex_deployment_add_hook(d, &hook, err) == 0)
		return d;
	return crex_deployment_free(d);
}

/* ---- operations ---- */

struct canceller {
	struct crex_cancel *cancel, *done;
	double after;
};

static void *cancel_later(void *arg)
{
	struct canceller *c = arg;
	struct deadline until_done = {.at = CREX_NO_TIMEOUT, .cancel = c->done};
	if (deadline_pause(&until_done, c->after, NULL) == 0)
		crex_cancel_trigger(c->cancel);
	return NULL;
}

static json_t *start(struct driver *self, const json_t *request, struct crex_error *err)
{
	struct canceller c = {crex_cancel_new(NULL), crex_cancel_new(NULL), number(request, "cancel_after", -1)};
	struct crex_call call = {number(request, "timeout", CREX_NO_TIMEOUT), c.cancel};
	pthread_t thread;
	bool cancels = c.after >= 0 && pthread_create(&thread, NULL, cancel_later, &c) == 0;
	self->has_session = false;
	int r = crex_deployment_start(self->d, &call, err);
	if (cancels) {
		crex_cancel_trigger(c.done);
		pthread_join(thread, NULL);
	}
	crex_cancel_free(c.cancel);
	crex_cancel_free(c.done);
	return r < 0 ? NULL : json_true();
}

static int ensure_session(struct driver *self, struct crex_runtime *rt, struct crex_error *err)
{
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	req.startup_timeout = 30;
	if (!self->has_session && crex_runtime_create_session(rt, &req, NULL, NULL, err) < 0)
		return -1;
	self->has_session = true;
	return 0;
}

static json_t *run(struct driver *self, const json_t *request, struct crex_error *err)
{
	struct crex_runtime *rt = crex_deployment_runtime(self->d, err);
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	struct crex_observation seen = CREX_OBSERVATION_INIT;
	action.command = text(request, "command");
	action.check = CREX_CHECK_SILENT;
	action.timeout = number(request, "timeout", 60);
	if (!rt || ensure_session(self, rt, err) < 0 || crex_runtime_run_in_session(rt, &action, NULL, &seen, err) < 0)
		return NULL;
	json_t *reply = json_pack("{s:s%, s:i}", "output", seen.output ? seen.output : "", seen.output_len, "exit_code",
				  seen.exit_code);
	crex_observation_clear(&seen);
	return reply;
}

static json_t *execute(struct crex_runtime *rt, const json_t *request, struct crex_error *err)
{
	struct crex_execute_request req = CREX_EXECUTE_REQUEST_INIT;
	struct crex_execute_result seen = CREX_EXECUTE_RESULT_INIT;
	struct crex_str command = text(request, "command");
	req.command = (struct crex_str_list){&command, 1};
	req.shell = true;
	if (crex_runtime_execute(rt, &req, NULL, &seen, err) < 0)
		return NULL;
	json_t *reply =
		json_pack("{s:s%, s:i}", "output", seen.out ? seen.out : "", seen.out_len, "exit_code", seen.exit_code);
	crex_execute_result_clear(&seen);
	return reply;
}

static json_t *files(struct crex_runtime *rt, const char *op, const json_t *request, struct crex_error *err)
{
	if (strcmp(op, "upload") == 0) {
		struct crex_upload_request req = CREX_UPLOAD_REQUEST_INIT;
		req.source_path = text(request, "source");
		req.target_path = text(request, "target");
		return crex_runtime_upload(rt, &req, NULL, err) < 0 ? NULL : json_true();
	}
	if (strcmp(op, "write") == 0) {
		struct crex_write_file_request req = CREX_WRITE_FILE_REQUEST_INIT;
		req.path = text(request, "path");
		req.content = text(request, "content");
		return crex_runtime_write_file(rt, &req, NULL, err) < 0 ? NULL : json_true();
	}
	struct crex_read_file_request req = CREX_READ_FILE_REQUEST_INIT;
	struct crex_text content = CREX_TEXT_INIT;
	req.path = text(request, "path");
	return crex_runtime_read_file(rt, &req, NULL, &content, err) < 0 ? NULL : own(content.data, content.len);
}

static void on_removed(void *arg, const char *what)
{
	on_step(arg, what);
}

/* ---- many at once ---- */

struct one {
	pthread_t thread;
	const char *config;
	struct crex_error err;
	double seconds; /* from the start to the first command's reply */
};

static void *live(void *arg)
{
	struct one *o = arg;
	struct driver self = {.steps = NULL};
	double began = clock_now();
	self.d = crex_deployment_from_json(o->config, strlen(o->config), &o->err);
	if (!self.d)
		return NULL;
	json_t *request = json_pack("{s:s}", "command", "echo hi");
	json_t *said = crex_deployment_start(self.d, NULL, &o->err) == 0 ? run(&self, request, &o->err) : NULL;
	o->seconds = clock_now() - began;
	const char *output = json_string_value(json_object_get(said, "output"));
	if (said && (!output || strcmp(output, "hi\n") != 0))
		crex_error_set(&o->err, CREX_E_SWEREX, "a wrong output: %s", output ? output : "none");
	if (said && o->err.code == CREX_OK)
		crex_deployment_stop(self.d, NULL, &o->err);
	crex_deployment_free(self.d);
	json_decref(said);
	json_decref(request);
	return NULL;
}

static json_t *parallel(const json_t *request, struct crex_error *err)
{
	enum { MANY = 200 };
	static struct one all[MANY];
	size_t n = (size_t)number(request, "n", 1);
	char *config = json_dumps(json_object_get(request, "config"), JSON_COMPACT);
	json_t *seconds = json_array();
	n = n < MANY ? n : MANY;
	for (size_t i = 0; i < n; i++) {
		all[i] = (struct one){.config = config};
		pthread_create(&all[i].thread, NULL, live, &all[i]);
	}
	for (size_t i = 0; i < n; i++) {
		pthread_join(all[i].thread, NULL);
		json_array_append_new(seconds, json_real(all[i].seconds));
		if (all[i].err.code != CREX_OK && err->code == CREX_OK)
			crex_error_move(err, &all[i].err);
		crex_error_clear(&all[i].err);
	}
	free(config);
	if (err->code == CREX_OK)
		return seconds;
	json_decref(seconds);
	return NULL;
}

/* ---- lines ---- */

static json_t *about_all(struct driver *self, const char *op, const json_t *request, struct crex_error *err)
{
	if (strcmp(op, "new") == 0 || strcmp(op, "resume") == 0) {
		bool is_new = strcmp(op, "new") == 0;
		char *config = is_new ? json_dumps(json_object_get(request, "config"), JSON_COMPACT)
				      : strdup(json_string_value(json_object_get(request, "state")));
		crex_deployment_free(self->d);
		self->d = is_new ? crex_deployment_from_json(config, strlen(config), err)
				 : crex_deployment_resume(config, strlen(config), err);
		self->d = hooked(self, self->d, err);
		self->has_session = false;
		free(config);
		return self->d ? json_true() : NULL;
	}
	if (strcmp(op, "gc") == 0) {
		size_t n;
		int r = crex_deployment_gc(json_string_value(json_object_get(request, "type")),
					   json_is_true(json_object_get(request, "all")), on_removed, self, NULL, &n,
					   err);
		return r < 0 ? NULL : json_integer((json_int_t)n);
	}
	if (strcmp(op, "check") == 0) {
		struct crex_text says = CREX_TEXT_INIT;
		int r = crex_deployment_check(json_string_value(json_object_get(request, "type")), NULL, &says, err);
		return r < 0 ? NULL : own(says.data, says.len);
	}
	return parallel(request, err);
}

static json_t *about_one(struct driver *self, const char *op, const json_t *request, struct crex_error *err)
{
	struct crex_text says = CREX_TEXT_INIT;
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	const struct crex_call call = {.timeout = number(request, "timeout", CREX_NO_TIMEOUT)};
	if (strcmp(op, "start") == 0)
		return start(self, request, err);
	if (strcmp(op, "run") == 0)
		return run(self, request, err);
	if (strcmp(op, "stop") == 0)
		return crex_deployment_stop(self->d, &call, err) < 0 ? NULL : json_true();
	if (strcmp(op, "logs") == 0)
		return crex_deployment_logs(self->d, &call, &says, err) < 0 ? NULL : own(says.data, says.len);
	if (strcmp(op, "detach") == 0)
		return crex_deployment_detach(self->d, &says, err) < 0 ? NULL : own(says.data, says.len);
	if (strcmp(op, "is_alive") == 0) {
		if (crex_deployment_is_alive(self->d, &call, &alive, err) < 0)
			return NULL;
		json_t *reply = json_pack("{s:b, s:s}", "is_alive", alive.is_alive, "message",
					  alive.message ? alive.message : "");
		crex_is_alive_clear(&alive);
		return reply;
	}
	struct crex_runtime *rt = crex_deployment_runtime(self->d, err);
	if (!rt)
		return NULL;
	return strcmp(op, "execute") == 0 ? execute(rt, request, err) : files(rt, op, request, err);
}

static json_t *answer(struct driver *self, const json_t *request, struct crex_error *err)
{
	static const char *const needs_none[] = {"new", "resume", "gc", "check", "parallel"};
	const char *op = json_string_value(json_object_get(request, "op"));
	for (size_t i = 0; op && i < sizeof needs_none / sizeof *needs_none; i++)
		if (strcmp(op, needs_none[i]) == 0)
			return about_all(self, op, request, err);
	if (op && strcmp(op, "free") == 0) {
		self->d = crex_deployment_free(self->d);
		return json_true();
	}
	if (op && self->d)
		return about_one(self, op, request, err);
	crex_error_set(err, CREX_E_SWEREX, "no operation, or no deployment to do it on");
	return NULL;
}

static json_t *reply_to(struct driver *self, const char *line)
{
	struct crex_error err = CREX_ERROR_INIT;
	json_t *request = json_loads(line, 0, NULL);
	double began = clock_now();
	self->steps = json_array();
	json_t *ok = answer(self, request, &err);
	json_t *reply = json_pack("{s:o, s:f}", "steps", self->steps, "seconds", clock_now() - began);
	self->steps = NULL;
	if (ok) {
		json_object_set_new(reply, "ok", ok);
	} else {
		const char *left = crex_error_extra(&err, "left_behind");
		json_object_set_new(reply, "error", json_string(crex_error_name(err.code)));
		json_object_set_new(reply, "message",
				    json_stringn_nocheck(err.message ? err.message : "", err.message_len));
		json_object_set_new(reply, "left_behind", left ? json_string(left) : json_null());
	}
	crex_error_clear(&err);
	json_decref(request);
	return reply;
}

int main(void)
{
	struct driver self = {.lock = PTHREAD_MUTEX_INITIALIZER};
	char *line = NULL;
	size_t size = 0;
	while (getline(&line, &size, stdin) > 0) {
		json_t *reply = reply_to(&self, line);
		json_dumpf(reply, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(reply);
	}
	free(line);
	crex_deployment_free(self.d);
	return 0;
}

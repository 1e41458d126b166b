/* runtime/remote/remote.c: the runtime that is a server somewhere: its config, and each call as one request.
 *
 * What a call may take follows the command's own timeout: the server answers COMMAND_TIMEOUT by itself, and only one
 * that says nothing for MARGIN more is given up. A command in a session may wait for others there first, so it has no
 * such end. */
#include "base/cleanup.h"
#include "runtime/remote/remote.h"
#include "wire/client.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static const double MARGIN = 60;

enum { BODY_MAX = 1 << 30 };

static struct remote *remote_of(struct crex_runtime *rt)
{
	return (struct remote *)rt;
}

static double with_margin(double timeout)
{
	return timeout >= 0 ? timeout + MARGIN : CREX_NO_TIMEOUT;
}

/* Sends one request of the schema; the reply's body is the caller's. */
static int ask(struct crex_runtime *rt, const struct wire_request *what, double limit, const struct crex_call *call,
	       struct buf *ret_body, struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	cleanup_buf struct buf body;
	buf_init(&body, BODY_MAX);
	int r = wire_encode_request(&body, what);
	if (r == -ENOSPC)
		return crex_error_set(err, CREX_E_LIMIT, "the request is longer than the limit of %d bytes", BODY_MAX);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	const struct remote_request req = {
		.path = wire_path(what->kind), .post = true, .body = {body.data, body.len}, .limit = limit};
	return remote_request(remote_of(rt), &req, &d, ret_body, NULL, NULL, err);
}

static struct crex_str view(const struct buf *b)
{
	return (struct crex_str){b->data, b->len};
}

/* A reply that can't be read is told with the server's address. */
static int told(struct crex_runtime *rt, int r, struct crex_error *err)
{
	if (r < 0 && err->code == CREX_E_PROTOCOL)
		crex_error_prefix(err, "%s: ", remote_of(rt)->host.url);
	return r;
}

/* An unreachable server is an answer, one that refuses us or is no SWE-ReX server an error. */
static int remote_is_alive(struct crex_runtime *rt, const struct crex_call *call, struct crex_is_alive *ret,
			   struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	if (d.at < 0)
		deadline_limit(&d, remote_of(rt)->timeout);
	double given = deadline_left(&d);
	const struct remote_request req = {.path = "/is_alive", .limit = CREX_NO_TIMEOUT, .short_reply = true};
	cleanup_buf struct buf body = {0};
	if (remote_request(remote_of(rt), &req, &d, &body, NULL, NULL, err) == 0)
		return told(rt, wire_read_is_alive(view(&body), ret, err), err);
	if (err->code == CREX_E_DEADLINE)
		crex_error_set(err, CREX_E_CONNECTION, "%s gave no answer within %g s", remote_of(rt)->host.url,
			       round(given * 1000) / 1000);
	if (err->code != CREX_E_CONNECTION)
		return -1;
	ret->is_alive = false;
	ret->message = steal_ptr(err->message);
	crex_error_clear(err);
	return 0;
}

static int remote_create_session(struct crex_runtime *rt, const struct crex_create_session_request *req,
				 const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	const struct wire_request what = {.kind = WIRE_CREATE_SESSION, .u.create_session = *req};
	cleanup_buf struct buf body = {0};
	if (ask(rt, &what, with_margin(req->startup_timeout), call, &body, err) < 0)
		return -1;
	return told(rt, wire_read_create_session(view(&body), ret, err), err);
}

static int remote_run_in_session(struct crex_runtime *rt, const struct crex_bash_action *action,
				 const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	const struct wire_request what = {.kind = WIRE_RUN_IN_SESSION, .u.bash = *action};
	cleanup_buf struct buf body = {0};
	if (ask(rt, &what, CREX_NO_TIMEOUT, call, &body, err) < 0)
		return -1;
	return told(rt, wire_read_observation(view(&body), ret, err), err);
}

static int remote_interrupt(struct crex_runtime *rt, const struct crex_bash_interrupt_action *action,
			    const struct crex_call *call, struct crex_observation *ret, struct crex_error *err)
{
	const struct wire_request what = {.kind = WIRE_RUN_IN_SESSION, .is_interrupt = true, .u.interrupt = *action};
	cleanup_buf struct buf body = {0};
	int tries = action->n_retry > 1 ? action->n_retry : 1;
	if (ask(rt, &what, with_margin(action->timeout * tries), call, &body, err) < 0)
		return -1;
	return told(rt, wire_read_observation(view(&body), ret, err), err);
}

static int remote_close_session(struct crex_runtime *rt, struct crex_str session, const struct crex_call *call,
				struct crex_error *err)
{
	const struct wire_request what = {.kind = WIRE_CLOSE_SESSION, .u.close_session = session};
	cleanup_buf struct buf body = {0};
	return ask(rt, &what, CREX_NO_TIMEOUT, call, &body, err);
}

static int remote_execute(struct crex_runtime *rt, const struct crex_execute_request *req, const struct crex_call *call,
			  struct crex_execute_result *ret, struct crex_error *err)
{
	const struct wire_request what = {.kind = WIRE_EXECUTE, .u.execute = *req};
	cleanup_buf struct buf body = {0};
	if (ask(rt, &what, with_margin(req->timeout), call, &body, err) < 0)
		return -1;
	return told(rt, wire_read_execute(view(&body), ret, err), err);
}

static int remote_read_file(struct crex_runtime *rt, const struct crex_read_file_request *req,
			    const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	const struct wire_request what = {.kind = WIRE_READ_FILE, .u.read_file = *req};
	cleanup_buf struct buf body = {0};
	if (ask(rt, &what, CREX_NO_TIMEOUT, call, &body, err) < 0)
		return -1;
	return told(rt, wire_read_read_file(view(&body), ret, err), err);
}

static int remote_write_file(struct crex_runtime *rt, const struct crex_write_file_request *req,
			     const struct crex_call *call, struct crex_error *err)
{
	const struct wire_request what = {.kind = WIRE_WRITE_FILE, .u.write_file = *req};
	cleanup_buf struct buf body = {0};
	return ask(rt, &what, CREX_NO_TIMEOUT, call, &body, err);
}

static int remote_close(struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	const struct remote_request req = {
		.path = "/close", .post = true, .limit = CREX_NO_TIMEOUT, .short_reply = true};
	cleanup_buf struct buf body = {0};
	return remote_request(remote_of(rt), &req, &d, &body, NULL, NULL, err);
}

static void remote_free(struct crex_runtime *base)
{
	struct remote *rt = remote_of(base);
	net_pool_deinit(&rt->pool);
	curl_slist_free_all(rt->headers);
	remote_host_deinit(&rt->host);
	free(rt->unix_socket);
	free(rt->ca_file);
	free(rt);
}

static const struct crex_runtime_ops ops = {
	.type = "remote",
	.is_alive = remote_is_alive,
	.create_session = remote_create_session,
	.run_in_session = remote_run_in_session,
	.interrupt = remote_interrupt,
	.close_session = remote_close_session,
	.execute = remote_execute,
	.read_file = remote_read_file,
	.write_file = remote_write_file,
	.upload = remote_upload,
	.close = remote_close,
	.open_stream = remote_open_stream,
	.free = remote_free,
};

/* --- the config ------------------------------------------------------------------------------------------------ */

static int no_memory(struct crex_error *err)
{
	return crex_error_set_errno(err, ENOMEM, NULL);
}

static int add_header(struct remote *rt, const char *line, struct crex_error *err)
{
	struct curl_slist *longer = curl_slist_append(rt->headers, line);
	if (!longer)
		return no_memory(err);
	rt->headers = longer;
	return 0;
}

static bool is_one_line(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' && *text != '\t')
			return false;
	return true;
}

static int add_token(struct remote *rt, const char *token, struct crex_error *err)
{
	cleanup_free char *line = NULL;
	if (!token || !*token)
		return 0;
	if (!is_one_line(token))
		return crex_error_set(err, CREX_E_CONFIG,
				      "auth_token: it has control characters (a newline at its end?)");
	if (asprintf(&line, "X-API-Key: %s", token) < 0) {
		line = NULL;
		return no_memory(err);
	}
	return add_header(rt, line, err);
}

/* libcurl takes "Name:" for "leave it out" and wants "Name;" for an empty value. */
static int add_user_header(struct remote *rt, const char *line, struct crex_error *err)
{
	size_t name = strcspn(line, ":");
	if (name == 0 || line[name] != ':' || strcspn(line, " \t") < name || !is_one_line(line))
		return crex_error_set(err, CREX_E_CONFIG, "headers: each is one line \"Name: value\"");
	if (line[name + 1 + strspn(line + name + 1, " \t")])
		return add_header(rt, line, err);
	cleanup_free char *empty = strdup(line);
	if (!empty)
		return no_memory(err);
	empty[name] = ';';
	empty[name + 1] = '\0';
	return add_header(rt, empty, err);
}

static int check_paths(const struct crex_remote_runtime_config *c, struct crex_error *err)
{
	struct sockaddr_un address;
	if (c->unix_socket && (!*c->unix_socket || strlen(c->unix_socket) >= sizeof address.sun_path))
		return crex_error_set(err, CREX_E_CONFIG, "unix_socket: a path of 1 to %zu bytes is needed",
				      sizeof address.sun_path - 1);
	if (c->ca_file && access(c->ca_file, R_OK) < 0)
		return crex_error_set(err, CREX_E_CONFIG, "ca_file: %s can't be read: %s", c->ca_file,
				      strerrordesc_np(errno));
	if (isnan(c->timeout))
		return crex_error_set(err, CREX_E_CONFIG, "timeout: it is no number");
	if (c->retries < 0)
		return crex_error_set(err, CREX_E_CONFIG, "retries: %d is less than none", c->retries);
	return 0;
}

static int configure(struct remote *rt, const struct crex_remote_runtime_config *c, struct crex_error *err)
{
	if (remote_host_parse(c->host, c->port, &rt->host, err) < 0 || check_paths(c, err) < 0 ||
	    add_token(rt, c->auth_token, err) < 0)
		return -1;
	for (const char *const *line = c->headers; line && *line; line++)
		if (add_user_header(rt, *line, err) < 0)
			return -1;
	rt->timeout = c->timeout;
	rt->retries = c->retries;
	rt->unix_socket = c->unix_socket ? strdup(c->unix_socket) : NULL;
	rt->ca_file = c->ca_file ? strdup(c->ca_file) : NULL;
	return (c->unix_socket && !rt->unix_socket) || (c->ca_file && !rt->ca_file) ? no_memory(err) : 0;
}

struct crex_runtime *crex_remote_runtime_new(const struct crex_remote_runtime_config *config, struct crex_error *err)
{
	struct crex_remote_runtime_config defaults = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	struct remote *rt = calloc(1, sizeof *rt);
	if (!rt) {
		no_memory(err);
		return NULL;
	}
	rt->base.ops = &ops;
	net_pool_init(&rt->pool);
	if (configure(rt, config ? config : &defaults, err) == 0)
		return &rt->base;
	remote_free(&rt->base);
	return NULL;
}

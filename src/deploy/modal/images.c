/* deploy/modal/images.c: two layers: what the user wants, and the server on top of it.
 *
 * Modal knows images by what they are made of: the same lines above the same base are found again without a build, in a
 * fraction of a second. The server is a layer of its own, so that a new server doesn't mean a new pull, nor a new image
 * a new upload. It goes along in the request, as a file of the build's context, read as it is sent.
 *
 * A build is followed by its stream of log entries; the hooks are told each line, and the last ones are in the error of
 * a build that fails. The stream ends without a result now and then (Modal closes it every minute): it is opened again
 * behind the last entry seen.
 *
 * Credentials of a registry go into a secret. One that is made here has another id in each start, and that id is part
 * of what Modal knows the image by; so a named secret (registry_secret) is what makes a private image be found again.
 */
#include "deploy/modal/modal.h"

#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CALL_SECONDS 120.0 /* an upload of some megabytes is part of it */
#define JOIN_SECONDS 55.0
#define SERVER_NAME "swerex-remote"

enum { SERVER_MAX = 2 << 20, TAIL_BYTES = 4096, REOPEN_MAX = 5, AUTH_ECR = 1, AUTH_STATIC = 4 };

/* ---- credentials ---- */

static const char *set_variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

int modal_image_check(const struct modal_deployment *d, const struct recipe *recipe, struct crex_error *err)
{
	if (!recipe->is_ecr || d->config.registry_secret)
		return 0;
	if (set_variable("AWS_ACCESS_KEY_ID") && set_variable("AWS_SECRET_ACCESS_KEY"))
		return 0;
	return crex_error_set(err, CREX_E_CONFIG,
			      "modal: Amazon's registry wants credentials: set AWS_ACCESS_KEY_ID and "
			      "AWS_SECRET_ACCESS_KEY, or name a Modal secret that has them (registry_secret)");
}

/* *ret_id stays NULL for a public image. */
static int provide_credentials(struct modal_deployment *d, const struct recipe *recipe, const struct deadline *deadline,
			       char **ret_id, struct crex_error *err)
{
	const char *user = set_variable("DOCKER_USERNAME"), *password = set_variable("DOCKER_PASSWORD");
	const char *session = set_variable("AWS_SESSION_TOKEN");
	if (recipe->is_dockerfile)
		return 0;
	if (d->config.registry_secret)
		return modal_secret_find(&d->client, d->config.registry_secret, deadline, ret_id, err);
	if (recipe->is_ecr) {
		if (modal_image_check(d, recipe, err) < 0)
			return -1;
		const char *const entries[] = {"AWS_ACCESS_KEY_ID",
					       getenv("AWS_ACCESS_KEY_ID"),
					       "AWS_SECRET_ACCESS_KEY",
					       getenv("AWS_SECRET_ACCESS_KEY"),
					       "AWS_REGION",
					       recipe->region,
					       session ? "AWS_SESSION_TOKEN" : NULL,
					       session,
					       NULL};
		return modal_secret_make(&d->client, entries, deadline, ret_id, err);
	}
	if (!user || !password)
		return 0;
	const char *const entries[] = {"REGISTRY_USERNAME", user, "REGISTRY_PASSWORD", password, NULL};
	return modal_secret_make(&d->client, entries, deadline, ret_id, err);
}

/* ---- following a build ---- */

struct build {
	struct modal_deployment *d;
	const char *what;
	char *image_id;
	struct modal_result result;
	char last_entry[128];
	struct buf line; /* not yet ended */
	struct buf tail; /* the last lines */
	bool progressed; /* since the stream was opened */
};

static void on_log_line(struct build *b, const char *line)
{
	size_t len = strlen(line) + 1;
	if (!*line)
		return;
	crex_deployment_report(&b->d->base, "%s: %s", b->what, line);
	if (len > TAIL_BYTES / 2)
		return;
	while (b->tail.len + len > TAIL_BYTES) {
		const char *newline = memchr(b->tail.data, '\n', b->tail.len);
		buf_consume(&b->tail, newline ? (size_t)(newline + 1 - b->tail.data) : b->tail.len);
	}
	buf_printf(&b->tail, "%s\n", line); /* without memory the error just says less */
}

static void on_log_text(struct build *b, struct crex_str text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c != '\n' && c != '\r') {
			if ((unsigned char)c >= ' ' || c == '\t') /* no orders for somebody's terminal */
				buf_append_char(&b->line, c);	  /* beyond its cap the line is cut */
			continue;
		}
		if (b->line.len)
			on_log_line(b, b->line.data);
		buf_clear(&b->line);
	}
}

static struct crex_str text_of_entry(struct crex_str entry)
{
	struct crex_str text = {NULL, 0};
	struct pb_reader r = pb_read(entry);
	for (struct pb_field f; pb_next(&r, &f);)
		if (pb_is_bytes(&f, 1))
			text = f.bytes;
	return text;
}

static int on_join_message(void *arg, struct crex_str message, struct crex_error *err)
{
	struct build *b = arg;
	struct pb_reader r = pb_read(message);
	(void)err;
	b->progressed = true;
	for (struct pb_field f; pb_next(&r, &f);) {
		if (pb_is_bytes(&f, 1))
			modal_result_read(f.bytes, &b->result);
		else if (pb_is_bytes(&f, 2))
			on_log_text(b, text_of_entry(f.bytes));
		else if (pb_is_bytes(&f, 3) && f.bytes.len && f.bytes.len < sizeof b->last_entry)
			snprintf(b->last_entry, sizeof b->last_entry, "%.*s", (int)f.bytes.len, f.bytes.ptr);
	}
	return b->result.status != MODAL_RUNNING;
}

static enum modal_stream_end join_once(struct build *b, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	const struct modal_stream stream = {
		.method = "ImageJoinStreaming",
		.seconds = JOIN_SECONDS + 10,
		.on_message = on_join_message,
		.arg = b,
	};
	pb_init(&request, 4096);
	pb_string(&request, 1, b->image_id);
	pb_float(&request, 2, (float)JOIN_SECONDS);
	pb_string(&request, 3, b->last_entry);
	pb_bool(&request, 4, true);
	b->progressed = false;
	return modal_listen(&b->d->client, &stream, &request, deadline, err);
}

/* Streams that bring nothing, or break, are opened again a few times; those that bring something as long as it takes.
 */
static int join(struct build *b, const struct deadline *deadline, struct crex_error *err)
{
	for (unsigned fruitless = 0; b->result.status == MODAL_RUNNING;) {
		double began = clock_now();
		enum modal_stream_end end = join_once(b, deadline, err);
		if (b->result.status != MODAL_RUNNING)
			break;
		if (end == MODAL_STREAM_FAILED)
			return -1;
		fruitless = b->progressed || clock_now() - began > JOIN_SECONDS / 2 ? 0 : fruitless + 1;
		if (fruitless >= REOPEN_MAX)
			return end == MODAL_STREAM_BROKEN
				       ? -1
				       : crex_error_set(err, CREX_E_CONNECTION,
							"Modal doesn't tell how the build of image %s gets on",
							b->image_id);
		crex_error_clear(err);
		if (deadline_pause(deadline, 0.1 * (1 << fruitless), err) < 0)
			return -1;
	}
	crex_error_clear(err);
	if (b->line.len)
		on_log_line(b, b->line.data);
	return 0;
}

static int build_failed(const struct build *b, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "%s failed at Modal: %s%s%s", b->what,
			      *b->result.exception ? b->result.exception : "no reason is given",
			      b->tail.len ? "; its last lines:\n" : "", b->tail.len ? b->tail.data : "");
}

/* ---- layers ---- */

struct layer {
	const char *what;
	const char *app_id, *builder_version;
	const struct recipe *recipe; /* NULL: the server's layer */
	const char *base_id;
	int server;
	size_t server_size;
	unsigned auth_type;
	const char *auth_secret;
};

static void write_file(struct pb_writer *w, const char *name, const struct buf *data)
{
	size_t file = pb_begin(w, 7);
	pb_string(w, 1, name);
	if (data->len)
		pb_bytes(w, 2, data->data, data->len);
	pb_end(w, file);
}

static void write_layer(const struct layer *l, struct pb_writer *w)
{
	size_t image = pb_begin(w, 2);
	if (l->recipe) {
		for (size_t i = 0; i < l->recipe->n_lines; i++)
			pb_item(w, 6, l->recipe->lines[i]);
		for (size_t i = 0; i < l->recipe->n_files; i++)
			write_file(w, l->recipe->files[i].name, &l->recipe->files[i].data);
	} else {
		size_t base = pb_begin(w, 5);
		pb_string(w, 1, l->base_id);
		pb_string(w, 2, "base");
		pb_end(w, base);
		pb_item(w, 6, "FROM base");
		pb_item(w, 6, "COPY " SERVER_NAME " " MODAL_SERVER_PATH);
		pb_item(w, 6, "RUN chmod 755 " MODAL_SERVER_PATH);
		size_t file = pb_begin(w, 7);
		pb_string(w, 1, SERVER_NAME);
		pb_file(w, 2, l->server, l->server_size);
		pb_end(w, file);
	}
	if (l->auth_secret) {
		size_t registry = pb_begin(w, 17);
		pb_uint(w, 1, l->auth_type);
		pb_string(w, 2, l->auth_secret);
		pb_end(w, registry);
	}
	pb_end(w, image);
	pb_string(w, 4, l->app_id);
	pb_string(w, 9, l->builder_version);
}

static int ask(struct build *b, const struct layer *l, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	cleanup_buf struct buf reply = {.data = NULL};
	pb_init(&request, MODAL_REQUEST_MAX);
	write_layer(l, &request);
	if (modal_call(&b->d->client, "ImageGetOrCreate", &request, NULL, CALL_SECONDS, deadline, &reply, err) < 0)
		return -1;
	struct pb_reader r = pb_read((struct crex_str){reply.data, reply.len});
	for (struct pb_field f; pb_next(&r, &f);)
		if (pb_is_bytes(&f, 2))
			modal_result_read(f.bytes, &b->result);
	return modal_take_string(&reply, 1, "ImageGetOrCreate", "an image", &b->image_id, err);
}

static int provide_layer(struct modal_deployment *d, const struct layer *l, const struct deadline *deadline,
			 char **ret_id, struct crex_error *err)
{
	struct build b = {.d = d, .what = l->what};
	buf_init(&b.line, 1024);
	buf_init(&b.tail, TAIL_BYTES);
	int r = ask(&b, l, deadline, err);
	if (r == 0)
		r = join(&b, deadline, err);
	if (r == 0 && b.result.status != MODAL_SUCCESS)
		r = build_failed(&b, err);
	if (r == 0)
		*ret_id = steal_ptr(b.image_id);
	free(b.image_id);
	buf_deinit(&b.line);
	buf_deinit(&b.tail);
	return r;
}

static int open_server(const char *path, int *ret_fd, size_t *ret_size, struct crex_error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return crex_error_set_errno(err, errno, path);
	if (st.st_size > SERVER_MAX)
		return crex_error_set(err, CREX_E_CONFIG,
				      "%s has %lld bytes; Modal takes files of at most %d with a build (strip it)",
				      path, (long long)st.st_size, SERVER_MAX);
	*ret_size = (size_t)st.st_size;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int modal_image_provide(struct modal_deployment *d, const struct recipe *recipe, const char *server,
			const struct deadline *deadline, char **ret_id, struct crex_error *err)
{
	cleanup_free char *builder_version = NULL, *credentials = NULL, *base_id = NULL;
	cleanup_fd int program = -1;
	size_t size = 0;
	if (open_server(server, &program, &size, err) < 0 ||
	    modal_builder_version(&d->client, deadline, &builder_version, err) < 0 ||
	    provide_credentials(d, recipe, deadline, &credentials, err) < 0)
		return -1;
	const struct layer base = {
		.what = "image build",
		.app_id = d->app_id,
		.builder_version = builder_version,
		.recipe = recipe,
		.auth_type = recipe->is_ecr ? AUTH_ECR : AUTH_STATIC,
		.auth_secret = credentials,
	};
	if (provide_layer(d, &base, deadline, &base_id, err) < 0)
		return -1;
	const struct layer top = {
		.what = "image build, server",
		.app_id = d->app_id,
		.builder_version = builder_version,
		.base_id = base_id,
		.server = program,
		.server_size = size,
	};
	return provide_layer(d, &top, deadline, ret_id, err);
}

/* cli/target.c: options become a deployment's config, the same JSON that --deployment reads.
 *
 * So there is one way in, and what is wrong with a config is said by the one who knows it, the library. A place is
 * never guessed: without any option nothing runs, since "this machine" would be the one guess that can do harm. */
#include "cli/target.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/deadline.h"
#include "cli/signals.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(struct target_options, member)

const struct option_row target_rows[11] = {
	{"image", 0, OPTION_STRING, "IMAGE", "in a container of this image", AT(image), NULL},
	{"deployment", 0, OPTION_STRING, "FILE", "as this JSON file says (-: stdin)", AT(deployment), "<file>"},
	{"remote", 0, OPTION_STRING, "URL", "on the server at http://..., https://... or unix:/PATH", AT(remote), NULL},
	{"local", 0, OPTION_FLAG, NULL, "on this machine, without any sandbox", AT(local), NULL},
	{"engine", 0, OPTION_STRING, "ENGINE", "with --image: docker (or what CREX_ENGINE says), podman, or a path",
	 AT(engine), NULL},
	{"pull", 0, OPTION_STRING, "WHEN", "with --image", AT(pull), "missing always never"},
	{"platform", 0, OPTION_STRING, "PLATFORM", "with --image: linux/amd64, linux/arm64", AT(platform), NULL},
	{"docker-arg", 0, OPTION_LIST, "ARG", "with --image: a further argument of `docker run`", AT(docker_args),
	 NULL},
	{"token-file", 0, OPTION_STRING, "FILE", "with --remote: its token (or in SWEREX_AUTH_TOKEN)", AT(token_file),
	 "<file>"},
	{"ca-file", 0, OPTION_STRING, "FILE", "with --remote: trust these certificates (PEM)", AT(ca_file), "<file>"},
	{"start-timeout", 0, OPTION_SECONDS, "S", "give up when it isn't ready by then", AT(start_timeout), NULL},
};

enum { CONFIG_MAX = 1 << 20 };

/* All of a file, "-" for stdin; text gets a NUL. 0 or an exit code. */
static int read_whole(struct cli *cli, const char *path, struct buf *text)
{
	bool is_stdin = strcmp(path, "-") == 0;
	cleanup_fd int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	char part[8192];
	ssize_t n = fd < 0 ? -1 : 0;
	while (fd >= 0 && ((n = read(fd, part, sizeof part)) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0 && buf_append(text, part, (size_t)n) < 0)
			return fail(cli, "%s: too large to be what it should be", path);
	return n < 0 ? fail(cli, "%s: %m", path) : 0;
}

static int add_token(struct cli *cli, const struct target_options *o, json_t *config)
{
	const char *token = getenv("SWEREX_AUTH_TOKEN");
	cleanup_buf struct buf text;
	buf_init(&text, 65536);
	if (o->token_file) {
		int r = read_whole(cli, o->token_file, &text);
		if (r != 0)
			return r;
		size_t len = text.len;
		while (len > 0 && strchr("\r\n", text.data[len - 1]))
			len--;
		if (len == 0 || memchr(text.data, '\0', len))
			return fail(cli, "%s: there is no token in it", o->token_file);
		text.data[len] = '\0';
		token = text.data;
	}
	if (token && *token && json_object_set_new(config, "auth_token", json_string(token)) < 0)
		return fail(cli, "the token is not UTF-8 text: is it the right file?");
	if (text.data)
		explicit_bzero(text.data, text.len);
	return 0;
}

static int remote_config(struct cli *cli, const struct target_options *o, json_t **ret)
{
	cli->takes_token = true;
	json_t *config = json_pack("{s:s}", "type", "remote");
	if (strncmp(o->remote, "unix:", 5) == 0)
		json_object_set_new(config, "unix_socket", json_string(o->remote + 5));
	else
		json_object_set_new(config, "host", json_string(o->remote));
	if (o->ca_file)
		json_object_set_new(config, "ca_file", json_string(o->ca_file));
	int r = config ? add_token(cli, o, config) : fail(cli, "out of memory");
	*ret = config;
	return r;
}

static json_t *image_config(const struct target_options *o)
{
	const char *engine = o->engine ? o->engine : getenv("CREX_ENGINE");
	json_t *config = json_pack("{s:s, s:s}", "type", "docker", "image", o->image);
	if (engine && *engine)
		json_object_set_new(config, "container_runtime", json_string(engine));
	if (o->pull)
		json_object_set_new(config, "pull", json_string(o->pull));
	if (o->platform)
		json_object_set_new(config, "platform", json_string(o->platform));
	if (o->docker_args.n > 0) {
		json_t *args = json_array();
		for (size_t i = 0; i < o->docker_args.n; i++)
			json_array_append_new(args, json_string(o->docker_args.items[i]));
		json_object_set_new(config, "docker_args", args);
	}
	if (o->start_timeout > 0)
		json_object_set_new(config, "startup_timeout", json_real(o->start_timeout));
	return config;
}

static int file_config(struct cli *cli, const struct target_options *o, json_t **ret)
{
	cleanup_buf struct buf text;
	buf_init(&text, CONFIG_MAX);
	json_error_t problem;
	int r = read_whole(cli, o->deployment, &text);
	if (r != 0)
		return r;
	*ret = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &problem);
	return *ret ? 0
		    : fail(cli, "%s, line %d, column %d: %s", o->deployment, problem.line, problem.column,
			   problem.text);
}

bool target_is_given(const struct target_options *o)
{
	return o->image || o->deployment || o->remote || o->local;
}

static int check_options(struct cli *cli, const struct target_options *o)
{
	int n = (o->image != NULL) + (o->deployment != NULL) + (o->remote != NULL) + o->local;
	if (n == 0)
		return fail(
			cli,
			"%s where? --image IMAGE, --deployment FILE, --remote URL, or --local for this very machine",
			cli->command);
	if (n > 1)
		return fail(cli, "one of --image, --deployment, --remote and --local at a time");
	if (!o->image && (o->engine || o->pull || o->platform || o->docker_args.n > 0))
		return fail(cli, "--%s goes with --image",
			    o->engine	  ? "engine"
			    : o->pull	  ? "pull"
			    : o->platform ? "platform"
					  : "docker-arg");
	if (!o->remote && (o->token_file || o->ca_file))
		return fail(cli, "--%s goes with --remote", o->token_file ? "token-file" : "ca-file");
	return 0;
}

static bool is_in_a_cloud(const char *type)
{
	return type && (strcmp(type, "daytona") == 0 || strcmp(type, "fargate") == 0 || strcmp(type, "modal") == 0);
}

/* A sandbox of ours ends itself when nobody asks for it any more, unless that is what it is for. */
static int set_ttl(struct cli *cli, json_t *config, double ttl)
{
	const char *type = json_string_value(json_object_get(config, "type"));
	bool docker = type && strcmp(type, "docker") == 0;
	if (is_in_a_cloud(type))
		json_object_set_new(config, "host_timeout", json_null()); /* the vendor's own timeout stays */
	if (!docker)
		return ttl > 0 ? fail(cli, "--ttl is for containers: a %s deployment has its own field for it",
				      type ? type : "nameless")
			       : 0;
	json_object_set_new(config, "host_timeout", json_null());
	if (ttl <= 0)
		return 0;
	/* the server's own option for it: the deployment's would belong to this program's life */
	char variable[64];
	snprintf(variable, sizeof variable, "--env=SWEREX_HOST_TIMEOUT=%g", ttl);
	json_t *args = json_object_get(config, "docker_args");
	if (!json_is_array(args)) {
		args = json_array();
		json_object_set_new(config, "docker_args", args);
	}
	json_array_append_new(args, json_string(variable));
	return 0;
}

static char *summary_of(const struct target_options *o, const json_t *config)
{
	static const char *const telling[] = {"image", "host", "unix_socket"};
	for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
		const char *value = json_string_value(json_object_get(config, telling[i]));
		if (value)
			return strdup(value);
	}
	return strdup(o->local ? "this machine" : "");
}

int target_make(struct cli *cli, const struct target_options *o, bool outlives, double ttl, struct target *ret)
{
	json_t *config = NULL;
	int r = check_options(cli, o);
	if (r != 0)
		return r;
	if (o->deployment)
		r = file_config(cli, o, &config);
	else if (o->remote)
		r = remote_config(cli, o, &config);
	else
		config = o->image ? image_config(o) : json_pack("{s:s}", "type", "local");
	if (r == 0 && outlives)
		r = set_ttl(cli, config, ttl);
	cleanup_free char *text = r == 0 ? json_dumps(config, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	if (r == 0) {
		*ret = (struct target){.summary = summary_of(o, config)};
		ret->d = text && ret->summary ? crex_deployment_from_json(text, strlen(text), &err) : NULL;
		if (!ret->d && (!text || !ret->summary))
			r = fail(cli, "an option is not UTF-8 text");
		else if (!ret->d)
			r = fail_error(cli, o->deployment, &err);
		if (r != 0)
			free(steal_ptr(ret->summary));
	}
	if (text)
		explicit_bzero(text, strlen(text));
	json_decref(config);
	return r;
}

static void on_step(void *arg, const char *message)
{
	show_step(arg, message);
}

static void on_progress(void *arg, const char *what, unsigned long long done, unsigned long long total)
{
	show_progress(arg, what, done, total, false);
}

int target_start(struct cli *cli, struct target *t, double timeout)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	const struct crex_deployment_hook hook = {on_step, on_progress, cli};
	const struct crex_call call = {timeout > 0 ? timeout : CREX_NO_TIMEOUT, cli->cancel};
	if (crex_deployment_add_hook(t->d, &hook, &err) < 0)
		return fail_error(cli, NULL, &err);
	if (strcmp(crex_deployment_type(t->d), "local") != 0 && strcmp(crex_deployment_type(t->d), "remote") != 0)
		signals_may_leave("the sandbox may still be there: `crex gc` removes it");
	int r = crex_deployment_start(t->d, &call, &err);
	if (r == 0)
		t->rt = crex_deployment_runtime(t->d, &err);
	clear_line(cli);
	return t->rt ? 0 : fail_error(cli, NULL, &err);
}

int target_open(struct cli *cli, const char *name, struct target *ret)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_sandbox struct sandbox s = {0};
	*ret = (struct target){.is_named = true};
	cli->sandbox = name;
	if (names_load(name, &s, &err) < 0)
		return fail_error(cli, NULL, &err);
	ret->d = sandbox_resume(&s, &err);
	ret->rt = ret->d ? crex_deployment_runtime(ret->d, &err) : NULL;
	if (ret->rt)
		return 0;
	sandbox_release(steal_ptr(ret->d));
	return fail_error(cli, NULL, &err);
}

int target_end(struct cli *cli, struct target *t, int code)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	const struct crex_call call = {30, NULL};
	if (t->is_named) {
		sandbox_release(t->d);
	} else if (t->d) {
		if (crex_deployment_stop(t->d, &call, &err) < 0) {
			int r = fail_error(cli, "the sandbox could not be taken down", &err);
			code = code ? code : r;
		}
		crex_deployment_free(t->d);
	}
	signals_may_leave(NULL);
	free(t->summary);
	*t = (struct target){0};
	return code;
}

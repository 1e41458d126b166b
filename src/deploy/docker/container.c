/* deploy/docker/container.c: one container: how it comes to be, and how it surely goes.
 *
 * The client (`docker run`) stays attached to the container until the server inside answers. So its output is ours as
 * it comes: the server's own line says when it listens (and on what port, in the host's network), and a container that
 * dies is known at once, with its last words and its exit code, even though --rm takes it away. Then the client is
 * killed; the container doesn't mind, since nothing of the kind of SIGKILL is handed on to it.
 *
 * Where engine and program don't share a file system the server can't be mounted: then it is created, copied into, and
 * started, three calls for one. A mount that fails for such a reason is tried again that way.
 *
 * A container has a name of our choosing before it exists, so that whatever happened to the client it can be removed by
 * that name. A client that was called off while it creates is not killed: the engine would go on creating behind our
 * back. It is left to come to its end, and the container is removed as soon as there is one. */
#include "deploy/docker/docker.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/ready.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* How long a client that has been called off may take to come to its end. */
#define CLIENT_SECONDS 15.0
/* How long an engine may take to finish what it was asked for by a client that is gone. */
#define ARRIVAL_SECONDS 2.0
#define PAUSE_FIRST 0.02
#define PAUSE_MAX 0.5
#define LAST_LINES 12
#define PORT_TRIES 8
#define ANSWER_SECONDS 10.0
#define ANSWER_TRIES 3

int docker_container_choose_id(char ret[24], struct crex_error *err)
{
	char hex[17];
	int r = random_hex(hex, 8);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	snprintf(ret, 24, "crex-%s", hex);
	return 0;
}

static int choose_names(struct docker_deployment *d, struct crex_error *err)
{
	int r = random_hex(d->token, 16);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	if (*d->planned)
		memcpy(d->id, d->planned, sizeof d->id);
	else if (docker_container_choose_id(d->id, err) < 0)
		return -1;
	d->container = d->args.container ? d->args.container : d->id;
	return 0;
}

/* A port that is free now, where the engine would take it; 0: none is known. To ask the engine which one it has chosen
 * would be one more call; that another program is faster happens with engines as well, and is tried again. */
static int free_port(const char *address)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	bool is_v6 = inet_pton(AF_INET, address, &v4.sin_addr) != 1;
	if (is_v6 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
		return 0;
	struct sockaddr *name = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
	socklen_t len = is_v6 ? sizeof v6 : sizeof v4;
	cleanup_fd int fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, name, len) < 0 || getsockname(fd, name, &len) < 0)
		return 0;
	return ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
}

/* ---- the command line ---- */

static bool is_on_host_network(const struct docker_deployment *d)
{
	return d->args.network == DOCKER_NETWORK_HOST;
}

static void add_labels(struct docker_deployment *d, struct words *w)
{
	const struct crex_docker_config *c = &d->config;
	char created[32] = "";
	time_t now = time(NULL);
	struct tm tm;
	if (gmtime_r(&now, &tm))
		strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &tm);
	words_add(w, "--label=crex=1");
	words_addf(w, "--label=crex.id=%s", d->id);
	words_addf(w, "--label=crex.created=%s", created);
	/* what is to outlive its program, or to be kept when it has ended, is nobody's to sweep */
	if (c->host_timeout < 0 || !c->remove_container)
		return;
	cleanup_free char *owner = owner_of_this_process();
	if (owner)
		words_addf(w, "--label=crex.owner=%s", owner);
	else
		w->failed = true;
}

static void add_port(struct docker_deployment *d, struct words *w)
{
	const char *address = d->config.publish_address;
	bool v6 = strchr(address, ':');
	if (is_on_host_network(d))
		return;
	words_add(w, "-p");
	if (d->port)
		words_addf(w, "%s%s%s:%d:%d", v6 ? "[" : "", address, v6 ? "]" : "", d->port, DOCKER_CONTAINER_PORT);
	else
		words_addf(w, "%s%s%s::%d", v6 ? "[" : "", address, v6 ? "]" : "", DOCKER_CONTAINER_PORT);
}

/* The quotes are those of CSV, which this option's value is. */
static void add_mount(struct words *w, const char *server)
{
	cleanup_buf struct buf source;
	buf_init(&source, 16384);
	int r = 0;
	for (const char *c = server; *c && r == 0; c++)
		r = buf_append(&source, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
	w->failed |= r < 0;
	words_add(w, "--mount");
	words_addf(w, "type=bind,\"source=%s\",target=" DOCKER_SERVER_PATH ",readonly", source.data ? source.data : "");
}

static void server_command(const struct docker_deployment *d, struct buf *ret)
{
	const struct crex_docker_config *c = &d->config;
	if (is_on_host_network(d))
		buf_printf(ret, DOCKER_SERVER_PATH " --host %s --port %d", c->publish_address, c->port);
	else
		buf_printf(ret, DOCKER_SERVER_PATH " --host 0.0.0.0 --port %d", DOCKER_CONTAINER_PORT);
	if (c->host_timeout > 0)
		buf_printf(ret, " --host-timeout %g", c->host_timeout);
}

/* The image, and what runs in it instead of its own program. */
static void add_program(struct docker_deployment *d, struct words *w, struct buf *scratch)
{
	const char *const *shell = d->config.exec_shell;
	bool own_shell =
		shell && !(strcmp(shell[0], "/bin/sh") == 0 && shell[1] && strcmp(shell[1], "-c") == 0 && !shell[2]);
	server_command(d, scratch);
	words_add(w, "--entrypoint");
	if (own_shell) {
		words_add(w, shell[0]);
		words_add(w, d->config.image);
		for (shell++; *shell; shell++)
			words_add(w, *shell);
		words_addf(w, "exec %s", scratch->data ? scratch->data : "");
		return;
	}
	words_add(w, DOCKER_SERVER_PATH);
	words_add(w, d->config.image);
	for (char *state, *word = strtok_r(scratch->data, " ", &state); word; word = strtok_r(NULL, " ", &state))
		if (word != scratch->data)
			words_add(w, word);
}

/* `verb` is run or create; server NULL: it is copied in later. */
static void compose(struct docker_deployment *d, const char *verb, const char *server, struct words *w,
		    struct buf *scratch)
{
	words_add(w, d->config.container_runtime);
	words_add(w, verb);
	for (size_t i = 0; i < d->args.n_words; i++)
		words_add(w, d->args.words[i]);
	/* behind the user's: of two the last one counts */
	words_add(w, "--name");
	words_add(w, d->container);
	words_add(w, "--pull=never");
	if (d->config.remove_container)
		words_add(w, "--rm");
	if (d->platform) {
		words_add(w, "--platform");
		words_add(w, d->platform);
	}
	add_labels(d, w);
	add_port(d, w);
	words_add(w, "-e");
	words_add(w, DOCKER_TOKEN_VARIABLE); /* its value is in the client's environment */
	if (server)
		add_mount(w, server);
	add_program(d, w, scratch);
	w->failed |= !scratch->data;
}

/* ---- the birth ---- */

static bool on_birth_line(void *arg, enum process_stream stream, const char *line)
{
	struct docker_deployment *d = arg;
	const char *colon = strrchr(line, ':');
	if (stream != PROCESS_STDOUT || strncmp(line, "listening on http", 17) != 0 || !colon)
		return false;
	d->listens_on = atoi(colon + 1);
	return d->listens_on > 0;
}

static int begin(struct docker_deployment *d, const struct words *w, struct crex_error *err)
{
	char token[sizeof DOCKER_TOKEN_VARIABLE + sizeof d->token];
	if (w->failed)
		return crex_error_set_errno(err, ENOMEM, NULL);
	snprintf(token, sizeof token, DOCKER_TOKEN_VARIABLE "=%s", d->token);
	const char *const env[] = {token, "DOCKER_CLI_HINTS=false", NULL};
	const struct process_spec spec = {.argv = w->items, .env = env, .on_line = on_birth_line, .arg = d};
	process_deinit(&d->birth);
	int r = process_start(&d->birth, &spec, err);
	explicit_bzero(token, sizeof token);
	return r;
}

static const char *hint(const struct docker_deployment *d, char *scratch, size_t size)
{
	const struct process *p = &d->birth;
	if (engine_said(p, "exec format error"))
		return "the engine's machine can't run programs of the image's platform: use another platform, or "
		       "install "
		       "qemu-user-static there";
	if (engine_said(p, "already allocated") || engine_said(p, "address already in use")) {
		snprintf(scratch, size, "port %d of %s is in use: choose another, or none (null) to get a free one",
			 d->config.port, d->config.publish_address);
		return scratch;
	}
	if (engine_said(p, "does not match the specified platform") ||
	    (d->platform && engine_said(p, "image not known")))
		return "the image that is there is for another platform: pull it for this one (pull: \"always\")";
	if (engine_said(p, "is already in use by"))
		return "another container has the name that docker_args give";
	if (engine_said(p, "unknown flag") || engine_said(p, "unknown shorthand flag"))
		return "see docker_args";
	return NULL;
}

/* Whether it was the engine that failed and not the program in the container. */
static bool is_engine_failure(const struct docker_deployment *d)
{
	const struct process *p = &d->birth;
	return process_exit_code(p) == 125 || strstr(process_output(p, PROCESS_STDERR), "Error response from daemon") ||
	       strncmp(process_output(p, PROCESS_STDERR), "Error: ", 7) == 0;
}

/* The client has ended before the server answered. */
static int died(struct docker_deployment *d, struct crex_error *err)
{
	char scratch[160];
	const char *advice = hint(d, scratch, sizeof scratch);
	cleanup_free char *said = engine_words(&d->birth, LAST_LINES);
	if (is_engine_failure(d)) {
		engine_failure(d->config.container_runtime, &d->birth, CREX_E_DEPLOYMENT_STARTUP, "run", err);
		return advice ? crex_error_prefix(err, "%s: ", advice) : -1;
	}
	int code = process_exit_code(&d->birth);
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
			      "the container ended with exit code %d before its server answered%s%s%s%s", code,
			      advice ? ": " : "", advice ? advice : "",
			      said && *said ? "; its last lines:\n" : "; it said nothing", said ? said : "");
}

/* A deadline that is the config's and not the caller's is a failed start, told with what the container has said. */
static int out_of_time(struct docker_deployment *d, const struct deadline *caller, struct crex_error *err)
{
	if (err->code != CREX_E_DEADLINE || deadline_check(caller, NULL) < 0)
		return -1;
	cleanup_free char *said = engine_words(&d->birth, LAST_LINES);
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
			      "the container was not ready within startup_timeout, %g seconds%s%s",
			      d->config.startup_timeout, said && *said ? "; its last lines:\n" : "", said ? said : "");
}

/* Waits for the client's end and judges it. */
static int finish(struct docker_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	int event;
	do
		event = process_wait(&d->birth, deadline, err);
	while (event == PROCESS_TOLD);
	if (event < 0)
		return -1;
	return process_exit_code(&d->birth) == 0 ? 0 : died(d, err);
}

static int copy_server(struct docker_deployment *d, const char *server, const struct deadline *deadline,
		       struct crex_error *err)
{
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, d->config.container_runtime);
	words_add(&command, "cp");
	words_add(&command, server);
	words_addf(&command, "%s:" DOCKER_SERVER_PATH, d->container);
	return engine_ask(&command, deadline, &p, err);
}

static int begin_by_copy(struct docker_deployment *d, const char *server, const struct deadline *deadline,
			 struct crex_error *err)
{
	cleanup_words struct words create = {0};
	cleanup_words struct words start = {0};
	cleanup_buf struct buf scratch;
	buf_init(&scratch, 4096);
	compose(d, "create", NULL, &create, &scratch);
	if (begin(d, &create, err) < 0 || finish(d, deadline, err) < 0 || copy_server(d, server, deadline, err) < 0)
		return -1;
	words_add(&start, d->config.container_runtime);
	words_add(&start, "start");
	words_add(&start, "-a");
	words_add(&start, d->container);
	return begin(d, &start, err);
}

static int begin_by_mount(struct docker_deployment *d, const char *server, struct crex_error *err)
{
	cleanup_words struct words run = {0};
	cleanup_buf struct buf scratch;
	buf_init(&scratch, 4096);
	compose(d, "run", server, &run, &scratch);
	return begin(d, &run, err);
}

/* The engine doesn't see our file, or may not run it from where it lies. */
static bool mount_failed(const struct docker_deployment *d)
{
	const struct process *p = &d->birth;
	return is_engine_failure(d) &&
	       (engine_said(p, "bind source path does not exist") || engine_said(p, "statfs ") ||
		(engine_said(p, DOCKER_SERVER_PATH) &&
		 (engine_said(p, "permission denied") || engine_said(p, "no such file") ||
		  engine_said(p, "is a directory") || engine_said(p, "not a directory"))));
}

/* Between finding a free port and taking it another may have been faster. */
static bool port_was_taken(const struct docker_deployment *d)
{
	return !d->config.port && !is_on_host_network(d) && is_engine_failure(d) &&
	       (engine_said(&d->birth, "address already in use") || engine_said(&d->birth, "already allocated"));
}

/* Until the server says that it listens. */
static int bring_up(struct docker_deployment *d, const char *server, const struct deadline *deadline,
		    struct crex_error *err)
{
	bool copies = engine_is_remote(d->config.container_runtime, deadline);
	for (int tries = 1;; tries++) {
		int r = choose_names(d, err);
		d->port = d->config.port || copies || is_on_host_network(d) ? d->config.port
									    : free_port(d->config.publish_address);
		if (r == 0)
			r = copies ? begin_by_copy(d, server, deadline, err) : begin_by_mount(d, server, err);
		int event = r < 0 ? -1 : process_wait(&d->birth, deadline, err);
		if (event == PROCESS_TOLD)
			return 0;
		if (event < 0)
			return -1;
		bool again = tries < PORT_TRIES && port_was_taken(d);
		if (!again && (copies || !mount_failed(d)))
			return died(d, err);
		if (!again) {
			copies = true;
			crex_deployment_report(&d->base, "The server can't be mounted: copying it in");
		}
		if (docker_container_remove(d, deadline, err) < 0)
			return -1;
	}
}

/* ---- the way there ---- */

static int published_port(struct docker_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	if (is_on_host_network(d))
		return d->listens_on;
	if (d->port)
		return d->port;
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, d->config.container_runtime);
	words_add(&command, "port");
	words_add(&command, d->container);
	words_addf(&command, "%d/tcp", DOCKER_CONTAINER_PORT);
	if (engine_run(&command, deadline, &p, err) < 0)
		return -1;
	const char *line = process_output(&p, PROCESS_STDOUT), *colon = line;
	for (size_t i = 0, n = strcspn(line, "\n"); i < n; i++)
		if (line[i] == ':')
			colon = line + i;
	int port = *colon == ':' ? atoi(colon + 1) : 0;
	if (process_exit_code(&p) == 0 && port > 0)
		return port;
	const struct deadline now = {.at = 0};
	if (process_wait(&d->birth, &now, NULL) == PROCESS_ENDED)
		return died(d, err);
	return engine_failure(d->config.container_runtime, &p, CREX_E_DEPLOYMENT_STARTUP, "port", err);
}

static int still_there(void *arg, struct crex_error *err)
{
	struct docker_deployment *d = arg;
	const struct deadline now = {.at = 0};
	return process_wait(&d->birth, &now, NULL) == PROCESS_ENDED ? died(d, err) : 0;
}

int docker_container_connect(struct docker_deployment *d, int port, struct crex_error *err)
{
	struct crex_remote_runtime_config remote = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	remote.auth_token = d->token;
	remote.host = d->config.docker_internal_host;
	remote.port = port;
	d->rt = crex_remote_runtime_new(&remote, err);
	d->port = port;
	return d->rt ? 0 : -1;
}

/* The server listens, so it can be reached at once, or the way there is broken: podman, starting many at a time, now
 * and then leaves a port that leads nowhere. A positive number: another container may have more luck. */
static int wait_for_answer(struct docker_deployment *d, const struct deadline *startup, struct crex_error *err)
{
	struct deadline answer = *startup;
	deadline_limit(&answer, ANSWER_SECONDS);
	if (wait_until_ready(d->rt, &answer, still_there, d, err) == 0)
		return 0;
	if (err->code != CREX_E_DEPLOYMENT_STARTUP || d->birth.ended)
		return -1;
	crex_error_prefix(err,
			  "the server in the container listens, but it can't be reached at %s port %d (see "
			  "docker_internal_host, publish_address): ",
			  d->config.docker_internal_host, d->port);
	return deadline_check(startup, NULL) == 0 && !d->config.port && !is_on_host_network(d) ? 1 : -1;
}

int docker_container_start(struct docker_deployment *d, const char *server, const struct deadline *deadline,
			   struct crex_error *err)
{
	struct deadline startup = *deadline;
	deadline_limit(&startup, d->config.startup_timeout);
	for (int tries = 1;; tries++) {
		d->listens_on = 0;
		int port = bring_up(d, server, &startup, err) < 0 ? -1 : published_port(d, &startup, err);
		int r = port < 0 ? -1 : docker_container_connect(d, port, err);
		if (r == 0)
			r = wait_for_answer(d, &startup, err);
		if (r == 0)
			break;
		if (r < 0 || tries == ANSWER_TRIES)
			return out_of_time(d, deadline, err);
		crex_error_clear(err);
		crex_deployment_report(&d->base, "The published port leads nowhere: trying another container");
		d->rt = crex_runtime_free(d->rt);
		if (docker_container_remove(d, &startup, err) < 0)
			return out_of_time(d, deadline, err);
	}
	d->is_up = true;
	process_deinit(&d->birth);
	return 0;
}

/* ---- the end ---- */

/* Whether the container of the user's own name is the one that we have made. 1, 0, or -1. */
static int is_ours(struct docker_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, d->config.container_runtime);
	words_add(&command, "container");
	words_add(&command, "inspect");
	words_add(&command, "--format");
	words_add(&command, "{{index .Config.Labels \"crex.id\"}}");
	words_add(&command, d->container);
	if (engine_run(&command, deadline, &p, err) < 0)
		return -1;
	return process_exit_code(&p) == 0 && strstr(process_output(&p, PROCESS_STDOUT), d->id) != NULL;
}

enum removal { WAS_REMOVED, WAS_ABSENT, IS_GOING };

/* A removal, or -1. Engines differ in whether removing what is not there is a failure; removing what is there they all
 * confirm by its name or id. */
static int remove_once(struct docker_deployment *d, bool keep, const struct deadline *deadline, struct crex_error *err)
{
	const char *runtime = d->config.container_runtime;
	if (d->args.container) {
		int ours = is_ours(d, deadline, err);
		if (ours <= 0)
			return ours < 0 ? -1 : WAS_ABSENT;
	}
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, runtime);
	words_add(&command, keep ? "stop" : "rm");
	if (!keep)
		words_add(&command, "-fv");
	if (keep || engine_is_podman(runtime)) {
		words_add(&command, "-t");
		words_add(&command, "0"); /* nothing in there needs time to end */
	}
	words_add(&command, d->container);
	if (engine_run(&command, deadline, &p, err) < 0)
		return -1;
	const char *out = process_output(&p, PROCESS_STDOUT);
	if (process_exit_code(&p) == 0 && out[strspn(out, " \n")])
		return WAS_REMOVED;
	if (process_exit_code(&p) == 0 || engine_said(&p, "no such container") || engine_said(&p, "no container with"))
		return WAS_ABSENT;
	if (engine_said(&p, "already in progress") || engine_said(&p, "resource busy") ||
	    engine_said(&p, "improper state") || engine_said(&p, "is being removed"))
		return IS_GOING;
	return engine_failure(runtime, &p, CREX_E_DEPLOYMENT_STARTUP, keep ? "stop" : "rm", err);
}

static bool client_has_ended(struct docker_deployment *d, double seconds)
{
	struct deadline soon = {.at = CREX_NO_TIMEOUT};
	deadline_limit(&soon, seconds);
	if (d->birth.pid <= 0)
		return true;
	int event;
	do
		event = process_wait(&d->birth, &soon, NULL);
	while (event == PROCESS_TOLD);
	return event == PROCESS_ENDED;
}

int docker_container_remove(struct docker_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	bool keep = d->is_up && !d->config.remove_container;
	struct deadline client = {.at = CREX_NO_TIMEOUT};
	deadline_limit(&client, CLIENT_SECONDS);
	struct deadline arrival = {.at = CREX_NO_TIMEOUT};
	deadline_limit(&arrival, ARRIVAL_SECONDS);
	for (double pause = PAUSE_FIRST; *d->id; pause = pause * 2 < PAUSE_MAX ? pause * 2 : PAUSE_MAX) {
		/* asked before the removal, or the client might end in between */
		bool works = !d->is_up && !client_has_ended(d, 0);
		bool may_come = works || (d->is_cut_off && deadline_check(&arrival, NULL) == 0);
		int r = remove_once(d, keep, deadline, err);
		if (r < 0)
			return -1;
		/* a removal while the client is at work may have met a half-made one, of which podman makes a whole one
		 */
		if (r != IS_GOING && !may_come)
			break;
		if (may_come && deadline_check(&client, NULL) < 0)
			process_kill(&d->birth);
		if (deadline_check(deadline, err) < 0)
			return -1;
		if (works)
			client_has_ended(d, pause);
		else if (deadline_pause(deadline, pause, err) < 0)
			return -1;
	}
	process_deinit(&d->birth);
	d->id[0] = '\0';
	d->is_up = d->is_cut_off = false;
	return 0;
}

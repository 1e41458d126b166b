/* deploy/docker/engine.c: the engine, by its own command line client.
 *
 * Contexts, DOCKER_HOST, ssh, TLS, credential helpers, rootless podman: the client knows how to reach its engine, and
 * docker_args are written for it. A call costs some 25 ms beside what the engine does, so few are made. What the client
 * says is for people; only a handful of its phrases, stable over many years, are looked for, and where none is found
 * its own words are what the user is told. */
#include "deploy/docker/docker.h"

#include "base/cleanup.h"
#include "deploy/json.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- command lines ---- */

void words_add(struct words *w, const char *word)
{
	if (w->n + 1 >= w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 32;
		const char **more = realloc(w->items, cap * sizeof *more);
		if (!more) {
			w->failed = true;
			return;
		}
		w->items = more;
		w->cap = cap;
	}
	w->items[w->n++] = word;
	w->items[w->n] = NULL;
}

void words_addf(struct words *w, const char *fmt, ...)
{
	char **more = realloc(w->owned, (w->n_owned + 1) * sizeof *more);
	if (!more) {
		w->failed = true;
		return;
	}
	w->owned = more;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&w->owned[w->n_owned], fmt, ap);
	va_end(ap);
	if (n < 0) {
		w->failed = true;
		return;
	}
	words_add(w, w->owned[w->n_owned++]);
}

void words_deinit(struct words *w)
{
	for (size_t i = 0; i < w->n_owned; i++)
		free(w->owned[i]);
	free(w->owned);
	free(w->items);
	*w = (struct words){0};
}

/* ---- calls ---- */

int engine_run(const struct words *command, const struct deadline *deadline, struct process *ret,
	       struct crex_error *err)
{
	if (command->failed || !command->n)
		return crex_error_set_errno(err, ENOMEM, NULL);
	static const char *const environment[] = {"DOCKER_CLI_HINTS=false", NULL};
	const struct process_spec spec = {.argv = command->items, .env = environment};
	if (process_run(ret, &spec, deadline, err) == 0)
		return 0;
	if (err && err->code == CREX_E_FILE_NOT_FOUND)
		crex_error_set(err, CREX_E_FILE_NOT_FOUND,
			       "%s is not installed (or not in PATH): install it, or name another container_runtime",
			       command->items[0]);
	return -1;
}

int engine_ask(const struct words *command, const struct deadline *deadline, struct process *ret,
	       struct crex_error *err)
{
	if (engine_run(command, deadline, ret, err) < 0)
		return -1;
	if (process_exit_code(ret) == 0)
		return 0;
	engine_failure(command->items[0], ret, CREX_E_DEPLOYMENT_STARTUP, command->n > 1 ? command->items[1] : "", err);
	process_deinit(ret);
	return -1;
}

bool engine_said(const struct process *p, const char *text)
{
	return strcasestr(process_output(p, PROCESS_STDERR), text) ||
	       strcasestr(process_output(p, PROCESS_STDOUT), text);
}

/* What the client adds for people at a terminal. */
static bool is_a_remark(const char *line, size_t len)
{
	static const char *const remarks[] = {"See 'docker", "Run 'docker", "See 'podman", "Using default tag:"};
	for (size_t i = 0; i < sizeof remarks / sizeof *remarks; i++)
		if (len >= strlen(remarks[i]) && strncmp(line, remarks[i], strlen(remarks[i])) == 0)
			return true;
	return len == 0;
}

/* Appends the last `lines` of text, oldest first. */
static void append_last(struct buf *out, const char *text, size_t lines)
{
	enum { LINES_MAX = 32 };
	const char *start[LINES_MAX];
	size_t len[LINES_MAX], n = 0;
	lines = lines < LINES_MAX ? lines : LINES_MAX;
	while (*text) {
		size_t line = strcspn(text, "\n");
		if (!is_a_remark(text, line)) {
			start[n % lines] = text;
			len[n % lines] = line;
			n++;
		}
		text += line + (text[line] == '\n');
	}
	for (size_t i = n > lines ? n - lines : 0; i < n; i++) {
		if (out->len)
			buf_append_char(out, '\n');
		buf_append(out, start[i % lines], len[i % lines]);
	}
}

char *engine_words(const struct process *p, size_t lines)
{
	cleanup_buf struct buf said;
	buf_init(&said, 256 << 10);
	append_last(&said, process_output(p, PROCESS_STDOUT), lines);
	append_last(&said, process_output(p, PROCESS_STDERR), lines);
	return buf_steal(&said, NULL);
}

static int unreachable(const char *runtime, const char *said, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONNECTION,
			      "%s: the engine can't be reached: start it (systemctl start docker), or see DOCKER_HOST "
			      "and `docker context ls`: %s",
			      runtime, said);
}

int engine_failure(const char *runtime, const struct process *p, enum crex_error_code code, const char *what,
		   struct crex_error *err)
{
	cleanup_free char *said = engine_words(p, 6);
	if (!said)
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (engine_said(p, "permission denied while trying to connect") ||
	    (engine_said(p, "permission denied") && engine_said(p, ".sock")))
		return crex_error_set(
			err, CREX_E_PERMISSION,
			"%s: this user may not talk to the engine: add it to the group docker (usermod -aG "
			"docker USER, then log in again), or use rootless podman: %s",
			runtime, said);
	if (engine_said(p, "cannot connect to the docker daemon") || engine_said(p, "is the docker daemon running") ||
	    engine_said(p, "unable to connect to podman") || engine_said(p, "error during connect"))
		return unreachable(runtime, said, err);
	return crex_error_set(err, code, "%s %s failed with exit code %d: %s", runtime, what, process_exit_code(p),
			      *said ? said : "it said nothing");
}

/* ---- which engine ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

bool engine_is_podman(const char *runtime)
{
	return strstr(base_name(runtime), "podman");
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static bool is_unix(const char *address)
{
	return strncmp(address, "unix:", 5) == 0 || *address == '/';
}

/* The context that docker would use without being told; NULL: the default one. Caller frees. */
static char *current_context(void)
{
	cleanup_free char *path = NULL;
	const char *config = variable("DOCKER_CONFIG"), *home = variable("HOME");
	if (variable("DOCKER_CONTEXT"))
		return strdup(variable("DOCKER_CONTEXT"));
	if ((!config && !home) ||
	    asprintf(&path, "%s%s/config.json", config ? config : home, config ? "" : "/.docker") < 0) {
		path = NULL;
		return NULL;
	}
	cleanup_json json_t *root = json_load_file(path, 0, NULL);
	const char *name = json_string_value(json_object_get(root, "currentContext"));
	return name && *name ? strdup(name) : NULL;
}

static bool context_is_remote(const char *runtime, const char *context, const struct deadline *deadline)
{
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	words_add(&command, runtime);
	words_add(&command, "context");
	words_add(&command, "inspect");
	words_add(&command, "--format");
	words_add(&command, "{{.Endpoints.docker.Host}}");
	words_add(&command, context);
	return engine_ask(&command, deadline, &p, NULL) < 0 || !is_unix(process_output(&p, PROCESS_STDOUT));
}

bool engine_is_remote(const char *runtime, const struct deadline *deadline)
{
	if (engine_is_podman(runtime)) {
		const char *host = variable("CONTAINER_HOST");
		return (host && !is_unix(host)) || variable("CONTAINER_CONNECTION") ||
		       strstr(base_name(runtime), "remote");
	}
	const char *host = variable("DOCKER_HOST");
	if (host)
		return !is_unix(host);
	cleanup_free char *context = current_context();
	return context && strcmp(context, "default") != 0 && context_is_remote(runtime, context, deadline);
}

/* deploy/docker/image.c: the image: is it there, of what architecture, and getting it.
 *
 * One `image inspect` is all that a start needs when the image is there. Where a platform was asked for and the image
 * that is there is of another, it is pulled for the right one; whether that is what came, the engine judges when the
 * container is created (older engines call an image of the wrong platform "up to date"). */
#include "deploy/docker/docker.h"

#include "base/cleanup.h"
#include "deploy/server_binary.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct image {
	bool is_there;
	char os[32], architecture[32];
};

static int inspect(struct docker_deployment *d, const struct deadline *deadline, struct image *ret,
		   struct crex_error *err)
{
	const char *runtime = d->config.container_runtime;
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	struct deadline answer = *deadline; /* an engine that hangs is not a pull that takes long */
	deadline_limit(&answer, d->config.startup_timeout);
	words_add(&command, runtime);
	words_add(&command, "image");
	words_add(&command, "inspect");
	words_add(&command, "--format");
	words_add(&command, "{{.Os}} {{.Architecture}}");
	words_add(&command, d->config.image);
	if (engine_run(&command, &answer, &p, err) < 0) {
		if (err->code != CREX_E_DEADLINE || deadline_check(deadline, NULL) < 0)
			return -1;
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "%s does not answer", runtime);
	}
	*ret = (struct image){.is_there = process_exit_code(&p) == 0};
	if (ret->is_there) {
		sscanf(process_output(&p, PROCESS_STDOUT), "%31s %31s", ret->os, ret->architecture);
		return 0;
	}
	if (engine_said(&p, "no such image") || engine_said(&p, "image not known") || engine_said(&p, "no such object"))
		return 0;
	return engine_failure(runtime, &p, CREX_E_DEPLOYMENT_STARTUP, "image inspect", err);
}

/* ---- pulling ---- */

struct pull {
	struct docker_deployment *d;
	unsigned layers, done;
};

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && strcmp(text + n - m, end) == 0;
}

/* docker: "4f4fb700ef54: Pulling fs layer" ... "4f4fb700ef54: Pull complete"; podman: "Copying blob sha256:4f4f..." and
 * again with "done" behind it. */
static bool on_pull_line(void *arg, enum process_stream stream, const char *line)
{
	struct pull *pull = arg;
	unsigned layers = pull->layers, done = pull->done;
	(void)stream;
	if (strncmp(line, "Copying blob ", 13) == 0) {
		bool is_done = ends_with(line, "done") || strstr(line, "skipped: already exists");
		pull->done += is_done;
		pull->layers += !is_done || strstr(line, "skipped: already exists");
	} else if (ends_with(line, ": Pulling fs layer")) {
		pull->layers++;
	} else if (ends_with(line, ": Already exists")) {
		pull->layers++;
		pull->done++;
	} else if (ends_with(line, ": Pull complete")) {
		pull->done++;
	}
	if (pull->done > pull->layers)
		pull->layers = pull->done;
	if (pull->layers != layers || pull->done != done)
		crex_deployment_report_progress(&pull->d->base, "layers pulled", pull->done, pull->layers);
	return false;
}

/* The registry's name in an image's, or NULL: the engine's own default. */
static const char *registry_of(const char *image, char *ret, size_t size)
{
	size_t n = strcspn(image, "/");
	if (image[n] != '/' || n >= size || (!memchr(image, '.', n) && !memchr(image, ':', n)))
		return NULL;
	memcpy(ret, image, n);
	ret[n] = '\0';
	return ret;
}

static int pull_failed(struct docker_deployment *d, const struct process *p, struct crex_error *err)
{
	static const struct {
		const char *said, *hint;
	} hints[] = {
		{"unauthorized", "log in first: "},
		{"no basic auth credentials", "log in first: "},
		{"access denied", "there is no such repository, or it is private; then log in first: "},
		{"authentication required", "log in first: "},
		{"manifest unknown", "there is no such image or tag: check its name"},
		{"not found", "there is no such image or tag: check its name"},
		{"repository name not known", "there is no such image: check its name"},
		{"invalid reference format", "this is not the name of an image"},
		{"connection refused", "the registry can't be reached: check its address and the network"},
		{"no such host", "the registry can't be reached: check its address and the network"},
		{"timeout", "the registry doesn't answer: check its address and the network"},
		{"no space left", "the engine's disk is full: remove images (image prune)"},
	};
	const char *runtime = d->config.container_runtime, *hint = "";
	char registry[256];
	cleanup_free char *said = engine_words(p, 3);
	for (size_t i = 0; i < sizeof hints / sizeof *hints && !*hint; i++)
		if (engine_said(p, hints[i].said))
			hint = hints[i].hint;
	bool login = ends_with(hint, ": ");
	const char *at = login ? registry_of(d->config.image, registry, sizeof registry) : NULL;
	return crex_error_set(err, CREX_E_DOCKER_PULL, "can't pull image '%s': %s%s%s%s%s%s%s", d->config.image,
			      said ? said : "", *hint ? " (" : "", hint, login ? runtime : "", login ? " login " : "",
			      at ? at : "", *hint ? ")" : "");
}

static int pull(struct docker_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	struct pull state = {.d = d};
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	crex_deployment_report(&d->base, "Pulling image %s", d->config.image);
	words_add(&command, d->config.container_runtime);
	words_add(&command, "pull");
	if (d->platform) {
		words_add(&command, "--platform");
		words_add(&command, d->platform);
	}
	words_add(&command, d->config.image);
	if (command.failed)
		return crex_error_set_errno(err, ENOMEM, NULL);
	const struct process_spec spec = {.argv = command.items, .on_line = on_pull_line, .arg = &state};
	if (process_run(&p, &spec, deadline, err) < 0)
		return crex_error_prefix(err, "while pulling image '%s': ", d->config.image);
	if (process_exit_code(&p) == 0)
		return 0;
	struct crex_error reach = CREX_ERROR_INIT;
	engine_failure(d->config.container_runtime, &p, CREX_E_DOCKER_PULL, "pull", &reach);
	if (reach.code == CREX_E_DOCKER_PULL || !err) {
		crex_error_clear(&reach);
		return pull_failed(d, &p, err);
	}
	crex_error_move(err, &reach); /* the engine itself is what can't be reached */
	return -1;
}

/* ---- what a start needs ---- */

/* "linux/arm64/v8" -> "arm64"; NULL: the platform doesn't say. */
static const char *platform_architecture(const char *platform, char *ret, size_t size)
{
	const char *slash = platform ? strchr(platform, '/') : NULL;
	if (!slash)
		return NULL;
	snprintf(ret, size, "%.*s", (int)strcspn(slash + 1, "/"), slash + 1);
	return ret;
}

static bool is_of(const struct image *image, const char *wanted)
{
	const char *a = wanted ? server_binary_architecture(wanted) : NULL;
	const char *b = server_binary_architecture(image->architecture);
	return !wanted || strcmp(a ? a : wanted, b ? b : image->architecture) == 0;
}

static int missing(struct docker_deployment *d, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_DOCKER_PULL,
			      "image '%s' is not there, and pull is \"never\": `%s pull %s` first, or set pull to "
			      "\"missing\"",
			      d->config.image, d->config.container_runtime, d->config.image);
}

int docker_image_provide(struct docker_deployment *d, const struct deadline *deadline, const char **ret_architecture,
			 struct crex_error *err)
{
	struct image image = {.is_there = false};
	char scratch[32];
	const char *wanted = platform_architecture(d->platform, scratch, sizeof scratch);
	bool always = d->config.pull == CREX_PULL_ALWAYS, never = d->config.pull == CREX_PULL_NEVER;
	if (!always && inspect(d, deadline, &image, err) < 0)
		return -1;
	if (never && !image.is_there)
		return missing(d, err);
	if (always || (!never && (!image.is_there || !is_of(&image, wanted)))) {
		if (pull(d, deadline, err) < 0 || inspect(d, deadline, &image, err) < 0)
			return -1;
	}
	d->used_image = true;
	if (image.is_there && strcmp(image.os, "linux") != 0)
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
				      "image '%s' is for %s; only Linux images can be used", d->config.image, image.os);
	const char *architecture = wanted ? wanted : image.architecture;
	*ret_architecture = server_binary_architecture(architecture);
	if (!*ret_architecture)
		return crex_error_set(
			err, CREX_E_DEPLOYMENT_STARTUP,
			"image '%s' is for linux/%s; there are servers for linux/amd64 and linux/arm64 only",
			d->config.image, architecture);
	return 0;
}

void docker_image_remove(struct docker_deployment *d, const struct deadline *deadline)
{
	cleanup_words struct words command = {0};
	cleanup_process struct process p = {0};
	cleanup_error struct crex_error failure = CREX_ERROR_INIT;
	words_add(&command, d->config.container_runtime);
	words_add(&command, "rmi");
	words_add(&command, d->config.image);
	crex_deployment_report(&d->base, "Removing image %s", d->config.image);
	if (engine_ask(&command, deadline, &p, &failure) < 0) /* in use by others, for one */
		crex_deployment_report(&d->base, "The image stays: %s", failure.message ? failure.message : "");
	d->used_image = false;
}

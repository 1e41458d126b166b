/* deploy/daytona/sandbox.c: a sandbox from its creation to its deletion, as Daytona's API sees it.
 *
 * A creation gets a label that nobody else has. When its reply is lost, the label tells whether there is a sandbox
 * now: if so it is taken, if not it is asked for again. As long as that is open, `unsure` stays set, and the removal
 * looks for the label too, some times, since a request may arrive after its sender has given it up. Whatever escapes
 * even this stops by Daytona's own intervals, which every creation sets: idle for a while, it is stopped and deleted.
 *
 * A sandbox that could not be built or started exists, and is deleted like any other. */
#include "deploy/daytona/daytona.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/owner.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define POLL_FIRST 0.05
#define POLL_MAX 1.0
#define DELETE_SECONDS 8.0     /* for one try */
#define DELETE_ALL_SECONDS 120 /* where the caller sets no end */
#define LOOK_PAUSE 0.25

enum { CREATIONS_MAX = 3, LOOKS_MAX = 4, PAGES_MAX = 200, PATH_BYTES = 1024, PATH_LONG = 8192, LOG_QUOTE = 2000 };

void daytona_sandbox_forget(struct daytona_sandbox *s)
{
	free(s->toolbox);
	*s = (struct daytona_sandbox){.toolbox = NULL};
}

static int path_of(char ret[PATH_BYTES], const char *id, const char *rest, struct crex_error *err)
{
	cleanup_free char *escaped = daytona_escape(id);
	if (!escaped)
		return crex_error_set_errno(err, ENOMEM, NULL);
	snprintf(ret, PATH_BYTES, "/sandbox/%s%s", escaped, rest);
	return 0;
}

static int lacks(const char *what, const char *field, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_PROTOCOL, "daytona: %s: the answer lacks '%s'", what, field);
}

/* ---- creation ---- */

static int minutes(double seconds)
{
	return (int)fmin(ceil(seconds / 60) + 1, 1e6);
}

static int add_labels(json_t *labels, const struct crex_daytona_config *config, const char *id)
{
	json_t *more = config->labels ? json_loads(config->labels, 0, NULL) : NULL;
	int r = more ? json_object_update(labels, more) : 0;
	json_decref(more);
	r |= json_object_set_new(labels, DAYTONA_LABEL, json_string("1"));
	r |= json_object_set_new(labels, DAYTONA_LABEL_ID, json_string(id));
	if (config->host_timeout < 0)
		return r; /* what is to outlive its program is nobody's to sweep */
	cleanup_free char *owner = owner_of_this_process();
	return r | json_object_set_new(labels, DAYTONA_LABEL_OWNER, json_string(owner));
}

static int add_source(json_t *body, const struct crex_daytona_config *config)
{
	if (config->snapshot)
		return json_object_set_new(body, "snapshot", json_string(config->snapshot));
	return json_object_set_new(body, "buildInfo",
				   json_pack("{s:s++}", "dockerfileContent", "FROM ", config->image, "\n"));
}

/* NULL: memory ran out. */
static json_t *describe(const struct daytona_client *c, const struct crex_daytona_config *config, const char *id)
{
	const struct {
		const char *name;
		int value;
	} resources[] = {
		{"cpu", config->cpu}, {"memory", config->memory}, {"disk", config->disk}, {"gpu", config->gpu}};
	json_t *env = config->env ? json_loads(config->env, 0, NULL) : json_object();
	json_t *labels = json_object();
	int r = add_labels(labels, config, id);
	double idle = config->host_timeout < 0 ? config->container_timeout : config->host_timeout;
	json_t *body =
		json_pack("{s:s, s:o, s:o, s:b, s:i, s:i}", "target", c->account->target, "env", env, "labels", labels,
			  "public", config->is_public, "autoStopInterval", minutes(idle), "autoDeleteInterval", 0);
	r |= add_source(body, config);
	if (config->network_block_all)
		r |= json_object_set_new(body, "networkBlockAll", json_true());
	for (size_t i = 0; i < sizeof resources / sizeof *resources; i++)
		if (resources[i].value)
			r |= json_object_set_new(body, resources[i].name, json_integer(resources[i].value));
	if (r == 0)
		return body;
	json_decref(body);
	return NULL;
}

static int take(struct daytona_sandbox *s, const json_t *sandbox, struct crex_error *err)
{
	const char *id = daytona_string(sandbox, "id");
	const char *state = daytona_string(sandbox, "state"), *toolbox = daytona_string(sandbox, "toolboxProxyUrl");
	if (!id || !*id || strlen(id) >= sizeof s->id)
		return lacks("the sandbox", "id", err);
	snprintf(s->id, sizeof s->id, "%s", id);
	snprintf(s->state, sizeof s->state, "%s", state ? state : "unknown");
	if (s->toolbox || !toolbox || !*toolbox)
		return 0;
	size_t len = strlen(toolbox);
	while (len > 0 && toolbox[len - 1] == '/')
		len--;
	if (asprintf(&s->toolbox, "%.*s/%s", (int)len, toolbox, id) < 0) {
		s->toolbox = NULL;
		return crex_error_set_errno(err, ENOMEM, NULL);
	}
	return 0;
}

static int take_listed(void *arg, const json_t *sandbox, struct crex_error *err)
{
	return take(arg, sandbox, err) < 0 ? -1 : 1;
}

/* -1, 0: not made, and err says why; 1: made. */
static int create_once(struct daytona_client *c, const json_t *body, struct daytona_sandbox *s,
		       const struct deadline *deadline, struct crex_error *err)
{
	const struct daytona_request request = {
		.method = "POST", .path = "/sandbox", .what = "creating the sandbox", .body = body, .once = true};
	cleanup_daytona_reply struct daytona_reply reply;
	int r = daytona_call(c, &request, deadline, &reply, err);
	if (r == 0)
		r = take(s, reply.json, err);
	if (r == 0)
		return 1;
	s->unsure |= reply.unsure || reply.status / 100 == 2;
	if (!s->unsure || err->code == CREX_E_CANCELLED || err->code == CREX_E_DEADLINE)
		return -1;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (daytona_sandbox_list(c, DAYTONA_LABEL_ID, s->label, deadline, take_listed, s, &unheard) < 0)
		return -1;
	return *s->id ? 1 : 0;
}

int daytona_sandbox_create(struct daytona_client *c, const struct crex_daytona_config *config,
			   struct daytona_sandbox *s, const struct deadline *deadline, struct crex_error *err)
{
	char label[DAYTONA_WORD_SIZE];
	int r = random_hex(label, sizeof label / 2);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	cleanup_json json_t *body = describe(c, config, label);
	if (!body)
		return crex_error_set_errno(err, ENOMEM, NULL);
	memcpy(s->label, label, sizeof label);
	for (int i = 1;; i++) {
		r = create_once(c, body, s, deadline, err);
		if (r > 0) {
			crex_error_clear(err);
			return 0;
		}
		if (r < 0 || i == CREATIONS_MAX)
			return -1;
	}
}

/* ---- states ---- */

enum phase { ON_THE_WAY, STARTED, GONE };

/* A state that isn't known is one on the way: they add some now and then. */
static enum phase phase_of(const char *state)
{
	static const char *const gone[] = {"error",	"build_failed", "stopping", "stopped", "destroying",
					   "destroyed", "archiving",	"archived", "pausing", "paused"};
	for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
		if (strcmp(gone[i], state) == 0)
			return GONE;
	return strcmp(state, "started") == 0 ? STARTED : ON_THE_WAY;
}

/* What its build said last; nothing where that isn't to be had. */
static void add_build_log(struct daytona_client *c, const struct daytona_sandbox *s, const struct deadline *deadline,
			  struct buf *ret)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	cleanup_daytona_reply struct daytona_reply where = {.status = 0}, log = {.status = 0};
	char path[PATH_BYTES];
	struct daytona_request request = {.method = "GET", .path = path, .what = "the build's log"};
	if (path_of(path, s->id, "/build-logs-url", &unheard) < 0 ||
	    daytona_call(c, &request, deadline, &where, &unheard) < 0)
		return;
	const char *url = daytona_string(where.json, "url");
	cleanup_free char *base = url ? strndup(url, strcspn(url, "?")) : NULL;
	if (!base)
		return;
	request = (struct daytona_request){.method = "GET",
					   .base = base,
					   .path = url + strlen(base),
					   .what = "the build's log",
					   .seconds = 5,
					   .wants_text = true};
	if (daytona_call(c, &request, deadline, &log, &unheard) < 0 || log.text.len == 0)
		return;
	size_t skip = log.text.len > LOG_QUOTE ? log.text.len - LOG_QUOTE : 0;
	buf_printf(ret, "; its build says:\n%s", log.text.data + skip);
}

/* Its state and its reason. */
static void explain(const struct daytona_sandbox *s, const json_t *sandbox, struct buf *ret)
{
	const char *reason = json_string_value(json_object_get(sandbox, "errorReason"));
	buf_printf(ret, "its state is %s%s%s", s->state, reason && *reason ? ": " : "", reason ? reason : "");
}

int daytona_sandbox_look(struct daytona_client *c, struct daytona_sandbox *s, const struct deadline *deadline,
			 struct buf *ret, struct crex_error *err)
{
	char path[PATH_BYTES];
	const struct daytona_request request = {.method = "GET", .path = path, .what = "looking at the sandbox"};
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	if (path_of(path, s->id, "", err) < 0)
		return -1;
	if (daytona_call(c, &request, deadline, &reply, err) < 0) {
		if (reply.status != 404)
			return -1;
		crex_error_clear(err);
		if (ret)
			buf_append_str(ret, "there is no such sandbox any more");
		return 1;
	}
	if (take(s, reply.json, err) < 0)
		return -1;
	if (phase_of(s->state) != GONE)
		return 0;
	if (ret)
		explain(s, reply.json, ret);
	return 1;
}

int daytona_sandbox_wait(struct daytona_client *c, struct daytona_sandbox *s,
			 void (*report)(void *arg, const char *state), void *arg, const struct deadline *deadline,
			 struct crex_error *err)
{
	cleanup_buf struct buf why = {.data = NULL};
	char last[sizeof s->state] = "";
	buf_init(&why, 16384);
	for (double pause = POLL_FIRST;; pause = pause * 1.5 < POLL_MAX ? pause * 1.5 : POLL_MAX) {
		int gone = daytona_sandbox_look(c, s, deadline, &why, err);
		if (gone < 0)
			return -1;
		if (report && strcmp(last, s->state) != 0)
			report(arg, s->state);
		memcpy(last, s->state, sizeof last);
		if (gone && strcmp(s->state, "build_failed") == 0)
			add_build_log(c, s, deadline, &why);
		if (gone)
			return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the sandbox doesn't start: %s",
					      why.data ? why.data : "");
		if (phase_of(s->state) == STARTED)
			return 0;
		if (deadline_pause(deadline, random_jitter(pause), err) < 0)
			return -1;
	}
}

/* ---- listing ---- */

static int list_path(char ret[PATH_LONG], const char *label, const char *value, const char *cursor,
		     struct crex_error *err)
{
	json_t *labels = json_pack("{s:s}", label, value);
	cleanup_free char *text = labels ? json_dumps(labels, JSON_COMPACT) : NULL;
	json_decref(labels);
	cleanup_free char *escaped = text ? daytona_escape(text) : NULL;
	cleanup_free char *from = cursor ? daytona_escape(cursor) : NULL;
	if (!escaped || (cursor && !from))
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (snprintf(ret, PATH_LONG, "/sandbox?labels=%s&limit=100%s%s", escaped, from ? "&cursor=" : "",
		     from ? from : "") >= PATH_LONG)
		return lacks("the list of sandboxes", "nextCursor", err);
	return 0;
}

/* All of them first: what is done to one may shift the pages. */
int daytona_sandbox_list(struct daytona_client *c, const char *label, const char *value,
			 const struct deadline *deadline,
			 int (*on_one)(void *arg, const json_t *sandbox, struct crex_error *err), void *arg,
			 struct crex_error *err)
{
	cleanup_json json_t *all = json_array();
	cleanup_free char *cursor = NULL;
	for (int page = 0; page < PAGES_MAX; page++) {
		char path[PATH_LONG];
		const struct daytona_request request = {.method = "GET", .path = path, .what = "listing sandboxes"};
		cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
		if (list_path(path, label, value, cursor, err) < 0 ||
		    daytona_call(c, &request, deadline, &reply, err) < 0)
			return -1;
		json_t *items = json_is_array(reply.json) ? reply.json : json_object_get(reply.json, "items");
		if (!json_is_array(items))
			return lacks("listing sandboxes", "items", err);
		if (json_array_extend(all, items) < 0)
			return crex_error_set_errno(err, ENOMEM, NULL);
		free(cursor);
		const char *next = daytona_string(reply.json, "nextCursor");
		cursor = next && *next ? strdup(next) : NULL;
		if (!cursor)
			break;
	}
	size_t i;
	json_t *one;
	json_array_foreach(all, i, one)
	{
		/* whoever doesn't know the query gives all */
		const char *has = json_string_value(json_object_get(json_object_get(one, "labels"), label));
		int r = has && strcmp(has, value) == 0 ? on_one(arg, one, err) : 0;
		if (r != 0)
			return r < 0 ? -1 : 0;
	}
	return 0;
}

/* ---- deletion ---- */

int daytona_sandbox_delete(struct daytona_client *c, const char *id, const struct deadline *deadline,
			   struct crex_error *err)
{
	char path[PATH_BYTES];
	const struct daytona_request request = {.method = "DELETE",
						.path = path,
						.what = "deleting the sandbox",
						.seconds = DELETE_SECONDS,
						.expects_busy = true};
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	struct deadline limited = *deadline;
	deadline_limit(&limited, DELETE_ALL_SECONDS);
	if (path_of(path, id, "", err) < 0)
		return -1;
	if (daytona_call(c, &request, &limited, &reply, err) == 0)
		return 0;
	if (reply.status == 404) {
		crex_error_clear(err);
		return 0;
	}
	return crex_error_prefix(err, "sandbox %s may still be there: ", id);
}

struct sweep {
	struct daytona_client *c;
	const struct deadline *deadline;
	bool found;
};

static int sweep_one(void *arg, const json_t *sandbox, struct crex_error *err)
{
	struct sweep *s = arg;
	const char *id = daytona_string(sandbox, "id"), *state = daytona_string(sandbox, "state");
	if (!id || !*id || (state && strcmp(state, "destroyed") == 0))
		return 0;
	s->found = true;
	return daytona_sandbox_delete(s->c, id, s->deadline, err);
}

/* Until one was found; it may still be on its way. */
static int sweep_label(struct daytona_client *c, const struct daytona_sandbox *s, const struct deadline *deadline,
		       struct crex_error *err)
{
	struct sweep sweep = {c, deadline, *s->id != '\0'};
	double pause = LOOK_PAUSE;
	for (int i = 0; i < LOOKS_MAX; i++, pause *= 2) {
		if (daytona_sandbox_list(c, DAYTONA_LABEL_ID, s->label, deadline, sweep_one, &sweep, err) < 0)
			return crex_error_prefix(
				err, "a sandbox with the label %s=%s may still be there: ", DAYTONA_LABEL_ID, s->label);
		if (sweep.found || i == LOOKS_MAX - 1)
			break;
		if (deadline_pause(deadline, pause, err) < 0)
			return -1;
	}
	return 0;
}

int daytona_sandbox_remove(struct daytona_client *c, struct daytona_sandbox *s, const struct deadline *deadline,
			   struct crex_error *err)
{
	if (*s->id && daytona_sandbox_delete(c, s->id, deadline, err) < 0)
		return -1;
	if (s->unsure && sweep_label(c, s, deadline, err) < 0)
		return -1;
	daytona_sandbox_forget(s);
	return 0;
}

/* ---- the way in ---- */

int daytona_sandbox_preview(struct daytona_client *c, const struct daytona_sandbox *s, int port,
			    const struct deadline *deadline, char **ret_url, char **ret_header, struct crex_error *err)
{
	static const char what[] = "asking for the sandbox's address";
	char path[PATH_BYTES], rest[64];
	const struct daytona_request request = {.method = "GET", .path = path, .what = what};
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	snprintf(rest, sizeof rest, "/ports/%d/preview-url", port);
	if (path_of(path, s->id, rest, err) < 0 || daytona_call(c, &request, deadline, &reply, err) < 0)
		return -1;
	const char *url = daytona_string(reply.json, "url"), *token = daytona_string(reply.json, "token");
	if (!url || !*url)
		return lacks(what, "url", err);
	if (c->account->api.tls && strncmp(url, "https://", 8) != 0)
		return crex_error_set(err, CREX_E_PROTOCOL, "daytona: %s: %.200s is no https", what, url);
	cleanup_free char *copy = strdup(url);
	char *header = NULL;
	if (!copy || asprintf(&header, "x-daytona-preview-token: %s", token ? token : "") < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	*ret_url = steal_ptr(copy);
	*ret_header = header;
	return 0;
}

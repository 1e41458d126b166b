/* deploy/daytona/life.c: the life of a sandbox at Daytona in large: start, stop, and what can be asked in between.
 *
 * start: the sandbox from an image (sandbox.c), the server program into it and started by way of its toolbox
 * (server.c), the address of its preview, and then asking there until the server answers. The preview's own token goes
 * along in a header of every request; the server's is behind it. stop deletes the sandbox wherever the start was cut.
 *
 * Three things end what this program can't end any more: the server ends itself when nobody has asked for a while
 * (host_timeout) or its time is over (container_timeout), and Daytona stops and deletes a sandbox in which nothing
 * happens. */
#include "deploy/daytona/daytona.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/heartbeat.h"
#include "deploy/ready.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEARTBEATS_IN_TIME 4
#define HEARTBEAT_SECONDS_MAX 15.0
#define LOOK_SECONDS 1.0   /* between two questions to Daytona whether the server still runs */
#define WORDS_SECONDS 10.0 /* for asking what it printed last */

enum { WORDS_BYTES = 4000, HEADERS = 2 };

/* ---- is it up ---- */

/* What the server printed last, behind a text. */
static void add_words(struct daytona_deployment *d, struct daytona_client *c, const struct deadline *deadline,
		      struct buf *ret)
{
	struct crex_text said __attribute__((cleanup(crex_text_clear))) = CREX_TEXT_INIT;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	struct deadline limited = *deadline;
	deadline_limit(&limited, WORDS_SECONDS);
	if (!*d->sandbox.command || daytona_server_logs(c, &d->sandbox, &limited, &said, &unheard) < 0 || !said.len)
		return;
	size_t skip = said.len > WORDS_BYTES ? said.len - WORDS_BYTES : 0;
	buf_printf(ret, "; it printed:\n%s", said.data + skip);
}

struct watch {
	struct daytona_deployment *d;
	struct daytona_client *c;
	const struct deadline *deadline;
	double next;
};

/* A server, or a sandbox, that has ended is told of at once. */
static int look(void *arg, struct crex_error *err)
{
	struct watch *w = arg;
	struct daytona_deployment *d = w->d;
	cleanup_buf struct buf words = {.data = NULL};
	int code;
	if (clock_now() < w->next)
		return 0;
	w->next = clock_now() + LOOK_SECONDS;
	buf_init(&words, 4 * WORDS_BYTES);
	int ended = daytona_server_ended(w->c, &d->sandbox, w->deadline, &code, err);
	if (ended > 0) {
		add_words(d, w->c, w->deadline, &words);
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the server has ended with exit code %d%s", code,
				      words.data ? words.data : "");
	}
	if (ended == 0 || err->code == CREX_E_CANCELLED || err->code == CREX_E_DEADLINE)
		return ended;
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (daytona_sandbox_look(w->c, &d->sandbox, w->deadline, &words, &unheard) <= 0)
		return -1;
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the sandbox has ended: %s",
			      words.data ? words.data : "");
}

static int connect_runtime(struct daytona_deployment *d, struct crex_error *err)
{
	struct crex_remote_runtime_config c = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	const char *const headers[HEADERS + 1] = {d->header, "X-Daytona-Skip-Preview-Warning: true", NULL};
	c.auth_token = d->token;
	c.host = d->url;
	c.timeout = d->config.runtime_timeout;
	c.ca_file = d->account.ca_file;
	c.headers = headers;
	d->rt = crex_remote_runtime_new(&c, err);
	return d->rt ? 0 : -1;
}

static int begin_heartbeat(struct daytona_deployment *d, struct crex_error *err)
{
	double seconds = d->config.host_timeout / HEARTBEATS_IN_TIME;
	if (d->config.host_timeout < 0)
		return 0;
	d->heart = heartbeat_start(d->rt, seconds < HEARTBEAT_SECONDS_MAX ? seconds : HEARTBEAT_SECONDS_MAX, err);
	return d->heart ? 0 : -1;
}

int daytona_attach(struct daytona_deployment *d, struct crex_error *err)
{
	return connect_runtime(d, err) < 0 ? -1 : begin_heartbeat(d, err);
}

/* ---- start ---- */

static void tell_state(void *arg, const char *state)
{
	struct daytona_deployment *d = arg;
	crex_deployment_report(&d->base, "Sandbox %s is %s", d->sandbox.id, state);
}

static int wait_for_server(struct daytona_deployment *d, struct daytona_client *c, const struct deadline *deadline,
			   struct crex_error *err)
{
	struct deadline limited = *deadline;
	deadline_limit(&limited, d->config.runtime_timeout);
	struct watch watch = {d, c, &limited, clock_now() + LOOK_SECONDS};
	crex_deployment_report(&d->base, "Starting runtime at %s", d->url);
	if (wait_until_ready(d->rt, &limited, look, &watch, err) == 0)
		return 0;
	if (err->code != CREX_E_DEPLOYMENT_STARTUP || deadline_left(&limited) != 0)
		return -1;
	cleanup_buf struct buf words = {.data = NULL};
	buf_init(&words, 4 * WORDS_BYTES);
	add_words(d, c, deadline, &words);
	cleanup_free char *first = err->message ? strdup(err->message) : NULL;
	return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "%s%s", first ? first : "", words.data ? words.data : "");
}

static int bring_up(struct daytona_deployment *d, struct daytona_client *c, const struct deadline *deadline,
		    struct crex_error *err)
{
	struct daytona_sandbox *s = &d->sandbox;
	int r = random_hex(d->token, sizeof d->token / 2);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	crex_deployment_report(&d->base, "Creating Daytona sandbox");
	if (daytona_sandbox_create(c, &d->config, s, deadline, err) < 0 ||
	    daytona_sandbox_wait(c, s, tell_state, d, deadline, err) < 0)
		return -1;
	crex_deployment_report(&d->base, "Starting server in sandbox %s", s->id);
	if (daytona_server_start(c, &d->config, s, d->token, deadline, err) < 0 ||
	    daytona_sandbox_preview(c, s, d->config.port, deadline, &d->url, &d->header, err) < 0 ||
	    connect_runtime(d, err) < 0)
		return -1;
	return wait_for_server(d, c, deadline, err);
}

static char *forget_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	return NULL;
}

void daytona_let_go(struct daytona_deployment *d)
{
	d->heart = heartbeat_stop(d->heart);
	d->rt = crex_runtime_free(d->rt);
	free(steal_ptr(d->url));
	d->header = forget_secret(d->header);
	explicit_bzero(d->token, sizeof d->token);
}

/* Wherever a start was cut, in whatever state. */
static int take_down(struct daytona_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	daytona_let_go(d);
	if (!*d->sandbox.id && !d->sandbox.unsure) {
		daytona_sandbox_forget(&d->sandbox);
		return 0;
	}
	if (daytona_client_init(&c, &d->account, err) < 0)
		return -1;
	return daytona_sandbox_remove(&c, &d->sandbox, deadline, err);
}

int daytona_start(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct daytona_deployment *d = daytona_of(base);
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	struct deadline deadline, startup;
	deadline_begin(&deadline, call);
	/* what an earlier stop could not take down */
	if (take_down(d, &deadline, err) < 0 || daytona_client_init(&c, &d->account, err) < 0)
		return -1;
	startup = deadline;
	deadline_limit(&startup, d->config.startup_timeout);
	int r = bring_up(d, &c, &startup, err);
	if (r < 0 && err->code == CREX_E_DEADLINE && deadline_left(&deadline) != 0)
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP,
				      "the sandbox was not ready within startup_timeout (%g s); it was last seen %s",
				      d->config.startup_timeout, *d->sandbox.state ? d->sandbox.state : "nowhere");
	if (r < 0 && err->code == CREX_E_SWEREX)
		err->code = CREX_E_DEPLOYMENT_STARTUP;
	return r < 0 ? -1 : begin_heartbeat(d, err);
}

int daytona_stop(struct crex_deployment *base, const struct crex_call *call, struct crex_error *err)
{
	struct deadline deadline;
	deadline_begin(&deadline, call);
	return take_down(daytona_of(base), &deadline, err);
}

/* ---- while it is up: other threads may call these, so each has a client of its own ---- */

struct crex_runtime *daytona_runtime(struct crex_deployment *base)
{
	return daytona_of(base)->rt;
}

int daytona_is_alive(struct crex_deployment *base, const struct crex_call *call, struct crex_is_alive *ret,
		     struct crex_error *err)
{
	struct daytona_deployment *d = daytona_of(base);
	struct deadline deadline;
	deadline_begin(&deadline, call);
	if (deadline.at < 0)
		deadline_limit(&deadline, d->config.runtime_timeout);
	const struct crex_call limited = deadline_rest(&deadline);
	int r = crex_runtime_is_alive(d->rt, &limited, ret, err);
	if (r == 0 && ret->is_alive)
		return 0;
	if (r < 0 && err->code == CREX_E_CANCELLED)
		return -1;
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	cleanup_buf struct buf why = {.data = NULL};
	struct daytona_sandbox seen = {.toolbox = NULL};
	memcpy(seen.id, d->sandbox.id, sizeof seen.id);
	buf_init(&why, 16384);
	buf_append_str(&why, "the sandbox has ended: ");
	int gone = -1;
	if (daytona_client_init(&c, &d->account, &unheard) == 0)
		gone = daytona_sandbox_look(&c, &seen, &deadline, &why, &unheard);
	daytona_sandbox_forget(&seen);
	if (gone <= 0)
		return r; /* what the runtime said is the answer then */
	crex_error_clear(err);
	free(ret->message);
	*ret = (struct crex_is_alive){false, buf_steal(&why, NULL)};
	return ret->message ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

int daytona_logs(struct crex_deployment *base, const struct crex_call *call, struct crex_text *ret,
		 struct crex_error *err)
{
	struct daytona_deployment *d = daytona_of(base);
	struct deadline deadline;
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	deadline_begin(&deadline, call);
	if (daytona_client_init(&c, &d->account, err) < 0)
		return -1;
	return daytona_server_logs(&c, &d->sandbox, &deadline, ret, err);
}

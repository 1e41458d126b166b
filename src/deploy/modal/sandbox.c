/* deploy/modal/sandbox.c: one sandbox: how it comes to be, and how it surely goes.
 *
 * A creation is paid for from the moment that Modal has done it, whether its reply arrives or not. So before it is sent
 * everything that names it is chosen and kept: the idempotency key, with which the same request tells the id of what
 * it has made the first time, and a tag of its own, by which Modal lists it. A creation counts as open until its id is
 * known or Modal has refused it; removing a sandbox whose creation is open sends it once more, and ends what has that
 * id; then it ends whatever else has that tag, should the key not have been honoured.
 *
 * Both generations of sandboxes have the same definition; what differs is where secrets go, and the names of the calls
 * that follow, which is told by the id. The second one's reply has the tunnels already. */
#include "deploy/modal/modal.h"
#include "base/random.h"

#include "base/cleanup.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CREATE_SECONDS 90.0
#define TUNNEL_SECONDS 50.0
#define CALL_SECONDS 30.0
#define MARGIN 10.0
#define TERMINATE_PAUSE 0.3

enum { CREATE_MAX = 4 << 20, TUNNEL_TRIES = 4, TERMINATE_TRIES = 4, V1_ID_LENGTH = 22 };

bool modal_id_is_v2(const char *id)
{
	size_t n = 0;
	if (strncmp(id, "sb-", 3) != 0)
		return true;
	while (isalnum((unsigned char)id[3 + n]))
		n++;
	return n != V1_ID_LENGTH || id[3 + n] != '\0';
}

/* "SandboxWait" and "SandboxWaitV2". */
static const char *method_of(const struct modal_sandbox *s, const char *name, char *scratch, size_t size)
{
	snprintf(scratch, size, "%s%s", name, s->v2 ? "V2" : "");
	return scratch;
}

/* ---- addresses ---- */

static int read_tunnel(struct crex_str message, int port, char **ret_url)
{
	struct crex_str host = {NULL, 0};
	unsigned outside = 0, inside = 0;
	struct pb_reader r = pb_read(message);
	for (struct pb_field f; pb_next(&r, &f);) {
		if (pb_is_bytes(&f, 1))
			host = f.bytes;
		else if (pb_is_uint(&f, 2))
			outside = (unsigned)f.value;
		else if (pb_is_uint(&f, 5))
			inside = (unsigned)f.value;
	}
	if (inside != (unsigned)port || host.len == 0 || host.len > 255 || outside < 1 || outside > 65535)
		return 0;
	return asprintf(ret_url, "https://%.*s:%u", (int)host.len, host.ptr, outside) < 0 ? -ENOMEM : 1;
}

/* The tunnel to our port among those of a reply's field 2. 0 when it isn't there. */
static int find_tunnel(const struct buf *reply, int port, char **ret_url)
{
	int found = 0;
	struct pb_reader r = pb_read((struct crex_str){reply->data, reply->len});
	for (struct pb_field f; found == 0 && pb_next(&r, &f);)
		if (pb_is_bytes(&f, 2))
			found = read_tunnel(f.bytes, port, ret_url);
	return found;
}

/* ---- creating ---- */

struct ingredients {
	const char *image_id;
	bool v2;
	char **secrets; /* ids */
	size_t n_secrets;
	char host_timeout[32];
};

static void ingredients_deinit(struct ingredients *i)
{
	for (size_t n = 0; n < i->n_secrets; n++)
		free(i->secrets[n]);
	free(i->secrets);
}

/* Names and values in turn, NULL at the end: what the server is told, and the user's own. */
static const char **environment_of(const struct modal_deployment *d, struct ingredients *i)
{
	const char **list = calloc(2 * json_object_size(d->options.env) + 5, sizeof *list);
	const char *name;
	json_t *value;
	size_t n = 0;
	if (!list)
		return NULL;
	list[n++] = "SWEREX_AUTH_TOKEN";
	list[n++] = d->token;
	if (d->config.host_timeout > 0) {
		snprintf(i->host_timeout, sizeof i->host_timeout, "%g", d->config.host_timeout);
		list[n++] = "SWEREX_HOST_TIMEOUT";
		list[n++] = i->host_timeout;
	}
	json_object_foreach((json_t *)d->options.env, name, value)
	{
		list[n++] = name;
		list[n++] = json_string_value(value);
	}
	return list;
}

/* The user's secrets by name; for the first generation the environment becomes one more. */
static int find_secrets(struct modal_deployment *d, struct ingredients *i, const char *const *environment,
			const struct deadline *deadline, struct crex_error *err)
{
	size_t named = json_array_size(d->options.secrets);
	i->secrets = calloc(named + 1, sizeof *i->secrets);
	if (!i->secrets)
		return crex_error_set_errno(err, ENOMEM, NULL);
	for (; i->n_secrets < named; i->n_secrets++)
		if (modal_secret_find(&d->client, json_string_value(json_array_get(d->options.secrets, i->n_secrets)),
				      deadline, &i->secrets[i->n_secrets], err) < 0)
			return -1;
	if (i->v2)
		return 0;
	if (modal_secret_make(&d->client, environment, deadline, &i->secrets[i->n_secrets], err) < 0)
		return -1;
	i->n_secrets++;
	return 0;
}

static void write_definition(const struct modal_deployment *d, const struct ingredients *i, struct pb_writer *w)
{
	char port[16];
	snprintf(port, sizeof port, "%d", d->config.port);
	const char *const command[] = {MODAL_SERVER_PATH, "--host", "0.0.0.0", "--port", port};
	size_t definition = pb_begin(w, 2);
	for (size_t n = 0; n < sizeof command / sizeof *command; n++)
		pb_item(w, 1, command[n]);
	pb_string(w, 3, i->image_id);
	for (size_t n = 0; !i->v2 && n < i->n_secrets; n++)
		pb_item(w, 4, i->secrets[n]);
	pb_uint(w, 7, (uint64_t)(d->config.deployment_timeout < 1 ? 1 : d->config.deployment_timeout));
	modal_options_write(&d->options, d->config.port, w);
	pb_end(w, definition);
}

/* SecretSource: either an id or an environment. */
static void write_sources(const struct ingredients *i, const char *const *environment, struct pb_writer *w)
{
	for (size_t n = 0; n < i->n_secrets; n++) {
		size_t source = pb_begin(w, 6);
		pb_string(w, 1, i->secrets[n]);
		pb_end(w, source);
	}
	size_t source = pb_begin(w, 6), map = pb_begin(w, 2);
	for (; environment[0]; environment += 2)
		pb_entry(w, 1, environment[0], environment[1]);
	pb_end(w, map);
	pb_end(w, source);
}

static void close_creation(struct modal_creation *c)
{
	if (c->request.out.data)
		explicit_bzero(c->request.out.data, c->request.out.len);
	pb_deinit(&c->request);
	*c = (struct modal_creation){.method = NULL};
}

static int open_creation(struct modal_deployment *d, const struct ingredients *i, const char *const *environment,
			 struct crex_error *err)
{
	struct modal_creation *c = &d->creation;
	close_creation(c);
	pb_init(&c->request, CREATE_MAX);
	random_uuid(c->key);
	pb_string(&c->request, 1, d->app_id);
	write_definition(d, i, &c->request);
	modal_tags_write(&c->request, 4, c->key, d->config.host_timeout < 0, d->options.tags);
	if (i->v2)
		write_sources(i, environment, &c->request);
	if (pb_finish(&c->request, err) < 0)
		return -1;
	c->method = i->v2 ? "SandboxCreateV2" : "SandboxCreate";
	return 0;
}

/* What is open is sent, for the first time or again. */
static int send_creation(struct modal_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	cleanup_buf struct buf reply = {.data = NULL};
	cleanup_free char *id = NULL;
	struct modal_creation *c = &d->creation;
	if (modal_call(&d->client, c->method, &c->request, c->key, CREATE_SECONDS, deadline, &reply, err) < 0) {
		if (modal_was_refused(&d->client))
			close_creation(c);
		return -1;
	}
	if (modal_take_string(&reply, 1, c->method, "a sandbox", &id, err) < 0)
		return -1;
	if (strlen(id) >= sizeof d->sandbox.id)
		return crex_error_set(err, CREX_E_PROTOCOL, "Modal's %s answers with an odd id", c->method);
	snprintf(d->sandbox.id, sizeof d->sandbox.id, "%s", id);
	d->sandbox.v2 = modal_id_is_v2(id);
	close_creation(c);
	if (d->sandbox.v2 && !d->url && find_tunnel(&reply, d->config.port, &d->url) < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	return 0;
}

static int create_one(struct modal_deployment *d, const char *image_id, bool v2, const struct deadline *deadline,
		      struct crex_error *err)
{
	struct ingredients i = {.image_id = image_id, .v2 = v2};
	cleanup_free const char **environment = environment_of(d, &i);
	int r = environment ? find_secrets(d, &i, environment, deadline, err) : crex_error_set_errno(err, ENOMEM, NULL);
	if (r == 0)
		r = open_creation(d, &i, environment, err);
	ingredients_deinit(&i);
	return r < 0 ? -1 : send_creation(d, deadline, err);
}

int modal_sandbox_create(struct modal_deployment *d, const char *image_id, const struct deadline *deadline,
			 struct crex_error *err)
{
	bool automatic = d->config.generation == CREX_MODAL_AUTO;
	bool v2 = automatic ? d->profile.sandbox_v2 && !d->options.gpu : d->config.generation == CREX_MODAL_V2;
	int r = create_one(d, image_id, v2, deadline, err);
	if (r == 0 || !automatic || v2 || d->client.status != GRPC_UNIMPLEMENTED)
		return r;
	crex_error_clear(err);
	return create_one(d, image_id, true, deadline, err);
}

/* ---- tunnels ---- */

int modal_sandbox_tunnel(struct modal_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	char scratch[48], how[640];
	for (unsigned tries = 0; !d->url && tries < TUNNEL_TRIES; tries++) {
		cleanup_pb struct pb_writer request = {.failure = 0};
		cleanup_buf struct buf reply = {.data = NULL};
		struct modal_result result = {.status = MODAL_RUNNING};
		pb_init(&request, 1024);
		pb_string(&request, 1, d->sandbox.id);
		pb_float(&request, 2, (float)TUNNEL_SECONDS);
		if (modal_call(&d->client, method_of(&d->sandbox, "SandboxGetTunnels", scratch, sizeof scratch),
			       &request, NULL, TUNNEL_SECONDS + MARGIN, deadline, &reply, err) < 0)
			return -1;
		int found = find_tunnel(&reply, d->config.port, &d->url);
		if (found)
			return found > 0 ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
		struct pb_reader r = pb_read((struct crex_str){reply.data, reply.len});
		for (struct pb_field f; pb_next(&r, &f);)
			if (pb_is_bytes(&f, 1))
				modal_result_read(f.bytes, &result);
		if (result.status > MODAL_SUCCESS && result.status != MODAL_TIMEOUT) {
			modal_result_describe(&result, how, sizeof how);
			return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the sandbox has ended: %s", how);
		}
		if (deadline_pause(deadline, 0.2 * (1u << tries), err) < 0)
			return -1;
	}
	return d->url ? 0
		      : crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "Modal gives no tunnel to port %d of sandbox %s",
				       d->config.port, d->sandbox.id);
}

/* ---- is it alive, and its end ---- */

int modal_sandbox_poll(struct modal_client *c, const struct modal_sandbox *s, const struct deadline *deadline,
		       char *ret_how, size_t size, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	cleanup_buf struct buf reply = {.data = NULL};
	struct modal_result result = {.status = MODAL_RUNNING};
	char scratch[48];
	pb_init(&request, 1024);
	pb_string(&request, 1, s->id);
	if (modal_call(c, method_of(s, "SandboxWait", scratch, sizeof scratch), &request, NULL, CALL_SECONDS, deadline,
		       &reply, err) < 0)
		return -1;
	struct pb_reader r = pb_read((struct crex_str){reply.data, reply.len});
	for (struct pb_field f; pb_next(&r, &f);)
		if (pb_is_bytes(&f, 1))
			modal_result_read(f.bytes, &result);
	if (result.status == MODAL_RUNNING)
		return 0;
	modal_result_describe(&result, ret_how, size);
	return 1;
}

static int terminate_once(struct modal_client *c, const struct modal_sandbox *s, const struct deadline *deadline,
			  struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	cleanup_buf struct buf reply = {.data = NULL};
	char scratch[48];
	pb_init(&request, 1024);
	pb_string(&request, 1, s->id);
	if (modal_call(c, method_of(s, "SandboxTerminate", scratch, sizeof scratch), &request, NULL, CALL_SECONDS,
		       deadline, &reply, err) == 0)
		return 0;
	if (c->status != GRPC_NOT_FOUND)
		return -1;
	crex_error_clear(err); /* it is gone for long */
	return 0;
}

/* What runs on is paid for: so a refusal is not taken at its word at once, whatever it says. */
int modal_sandbox_terminate(struct modal_client *c, const struct modal_sandbox *s, const struct deadline *deadline,
			    struct crex_error *err)
{
	for (unsigned tries = 1; terminate_once(c, s, deadline, err) < 0; tries++) {
		if (tries == TERMINATE_TRIES || c->status == GRPC_UNAUTHENTICATED ||
		    deadline_pause(deadline, TERMINATE_PAUSE * tries, NULL) < 0)
			return crex_error_prefix(err, "sandbox %s may still run: ", s->id);
		crex_error_clear(err);
	}
	return 0;
}

/* 1: there may be a sandbox, 0: there was no creation. One that Modal refuses when it is sent again has made nothing
 * the first time either, as a rule; what says that a sandbox of the name exists may speak of ours. Its tag tells. */
static int find_out(struct modal_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	if (!d->creation.method)
		return 0;
	if (send_creation(d, deadline, err) == 0)
		return 1;
	if (d->client.status == GRPC_ALREADY_EXISTS)
		close_creation(&d->creation);
	if (d->creation.method)
		return crex_error_prefix(err, "whether a sandbox was made is not known: ");
	crex_error_clear(err);
	return 1;
}

int modal_sandbox_remove(struct modal_deployment *d, const struct deadline *deadline, struct crex_error *err)
{
	char key[RANDOM_UUID_SIZE];
	snprintf(key, sizeof key, "%s", d->creation.key);
	int was_open = find_out(d, deadline, err);
	if (was_open < 0)
		return -1;
	if (*d->sandbox.id) {
		if (modal_sandbox_terminate(&d->client, &d->sandbox, deadline, err) < 0)
			return -1;
		d->sandbox.id[0] = '\0';
	}
	return was_open ? modal_sweep_tag(&d->client, d->app_id, MODAL_TAG_ID, key, deadline, err) : 0;
}

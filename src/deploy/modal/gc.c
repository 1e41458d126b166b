/* deploy/modal/gc.c: what is left of programs that are gone, and whether Modal can be used from here.
 *
 * Sandboxes end themselves some time after their program (host_timeout) or, at the latest, when Modal ends them
 * (deployment_timeout); gc ends them now. Each bears tags: crex=1, an id, and three that together name the program that
 * it belongs to. Modal's tags are kept to plain characters, so the owner's text is taken apart for them and put
 * together again for being judged. One without an owner was made to outlive its program; only `all` takes it.
 *
 * The profile says which account and environment are looked at, and upstream's app is the only one: who names another
 * in a config cleans up there with crex down, or waits for the timeouts. */
#include "deploy/modal/modal.h"

#include "base/cleanup.h"
#include "deploy/owner.h"
#include "deploy/server_binary.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define APP_NAME "swe-rex"
#define CALL_SECONDS 30.0
#define ARCHITECTURE "x86_64"

enum { PAGES_MAX = 1000, TAG_SIZE = 80 };

/* ---- tags ---- */

static void write_tag(struct pb_writer *w, unsigned field, const char *name, const char *value)
{
	size_t tag = pb_begin(w, field);
	pb_string(w, 1, name);
	pb_string(w, 2, value);
	pb_end(w, tag);
}

static const char *plain(char *text)
{
	for (char *c = text; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr(".-", *c))
			*c = '-';
	return text;
}

/* "host/boot/pid:[space]/pid/start" */
static void write_owner(struct pb_writer *w, unsigned field)
{
	cleanup_free char *owner = owner_of_this_process();
	char process[TAG_SIZE];
	char *rest = owner, *host = strsep(&rest, "/"), *boot = strsep(&rest, "/"), *space = strsep(&rest, "/");
	char *pid = strsep(&rest, "/");
	if (!rest || strncmp(space, "pid:[", 5) != 0)
		return; /* it belongs to nobody then, and only `all` takes it */
	space += 5;
	space[strcspn(space, "]")] = '\0';
	snprintf(process, sizeof process, "%s.%s.%s", space, pid, rest);
	write_tag(w, field, MODAL_TAG_HOST, plain(host));
	write_tag(w, field, MODAL_TAG_BOOT, plain(boot));
	write_tag(w, field, MODAL_TAG_PROCESS, plain(process));
}

void modal_tags_write(struct pb_writer *w, unsigned field, const char *id, bool kept, const json_t *more)
{
	const char *name;
	json_t *value;
	write_tag(w, field, MODAL_TAG, "1");
	write_tag(w, field, MODAL_TAG_ID, id);
	if (!kept)
		write_owner(w, field);
	json_object_foreach((json_t *)more, name, value) write_tag(w, field, name, json_string_value(value));
}

/* ---- listing ---- */

struct listed {
	struct modal_sandbox sandbox;
	char host[TAG_SIZE], boot[TAG_SIZE], process[TAG_SIZE];
	double created;
};

static void copy(char *to, size_t size, struct crex_str from)
{
	snprintf(to, size, "%.*s", (int)(from.len < size ? from.len : 0), from.ptr ? from.ptr : "");
}

static void read_tag(struct crex_str message, struct listed *l)
{
	struct crex_str value = {NULL, 0};
	char name[TAG_SIZE] = "";
	struct pb_reader r = pb_read(message);
	for (struct pb_field f; pb_next(&r, &f);) {
		if (pb_is_bytes(&f, 1))
			copy(name, sizeof name, f.bytes);
		else if (pb_is_bytes(&f, 2))
			value = f.bytes;
	}
	if (strcmp(name, MODAL_TAG_HOST) == 0)
		copy(l->host, sizeof l->host, value);
	else if (strcmp(name, MODAL_TAG_BOOT) == 0)
		copy(l->boot, sizeof l->boot, value);
	else if (strcmp(name, MODAL_TAG_PROCESS) == 0)
		copy(l->process, sizeof l->process, value);
}

/* SandboxInfo: id, created_at, tags. */
static void read_listed(struct crex_str message, struct listed *ret)
{
	*ret = (struct listed){.created = 0};
	struct pb_reader r = pb_read(message);
	for (struct pb_field f; pb_next(&r, &f);) {
		if (pb_is_bytes(&f, 1))
			copy(ret->sandbox.id, sizeof ret->sandbox.id, f.bytes);
		else if (f.number == 3 && f.wire == PB_FIXED64)
			memcpy(&ret->created, &f.value, sizeof ret->created);
		else if (pb_is_bytes(&f, 6))
			read_tag(f.bytes, ret);
	}
	ret->sandbox.v2 = modal_id_is_v2(ret->sandbox.id);
}

/* Tells every running sandbox of the app with this tag, page by page from the newest on. */
static int list(struct modal_client *c, const char *method, const char *app_id, const char *tag, const char *value,
		const struct deadline *deadline,
		int (*on_one)(void *arg, const struct listed *l, struct crex_error *err), void *arg,
		struct crex_error *err)
{
	double before = 0;
	for (unsigned page = 0; page < PAGES_MAX; page++) {
		cleanup_pb struct pb_writer request = {.failure = 0};
		cleanup_buf struct buf reply = {.data = NULL};
		double oldest = 0;
		pb_init(&request, 4096);
		pb_string(&request, 1, app_id);
		pb_double(&request, 2, before);
		pb_string(&request, 3, c->profile->environment);
		write_tag(&request, 5, tag, value);
		if (modal_call(c, method, &request, NULL, CALL_SECONDS, deadline, &reply, err) < 0)
			return -1;
		struct pb_reader r = pb_read((struct crex_str){reply.data, reply.len});
		for (struct pb_field f; pb_next(&r, &f);) {
			struct listed one;
			if (!pb_is_bytes(&f, 1))
				continue;
			read_listed(f.bytes, &one);
			oldest = one.created;
			if (*one.sandbox.id && on_one(arg, &one, err) < 0)
				return -1;
		}
		if (oldest <= 0 || (before > 0 && oldest >= before))
			return 0;
		before = oldest;
	}
	return 0;
}

/* Both generations' lists; one that Modal doesn't have is empty. */
static int list_all(struct modal_client *c, const char *app_id, const char *tag, const char *value,
		    const struct deadline *deadline,
		    int (*on_one)(void *arg, const struct listed *l, struct crex_error *err), void *arg,
		    struct crex_error *err)
{
	static const char *const methods[] = {"SandboxList", "SandboxListV2"};
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
		if (list(c, methods[i], app_id, tag, value, deadline, on_one, arg, err) == 0)
			continue;
		if (c->status != GRPC_UNIMPLEMENTED)
			return -1;
		crex_error_clear(err);
	}
	return 0;
}

/* ---- ending ---- */

struct sweep {
	struct modal_client *c;
	const struct deadline *deadline;
	bool only_orphans;
	void (*report)(void *arg, const char *what);
	void *report_arg;
	size_t removed;
};

static bool is_orphan(const struct listed *l)
{
	char process[TAG_SIZE], owner[4 * TAG_SIZE];
	snprintf(process, sizeof process, "%s", l->process);
	char *rest = process, *space = strsep(&rest, "."), *pid = strsep(&rest, ".");
	if (!rest || !*l->host || !*l->boot)
		return false;
	snprintf(owner, sizeof owner, "%s/%s/pid:[%s]/%s/%s", l->host, l->boot, space, pid, rest);
	return owner_is_gone(owner);
}

static int sweep_one(void *arg, const struct listed *l, struct crex_error *err)
{
	struct sweep *s = arg;
	char what[MODAL_ID_SIZE + 32];
	if (s->only_orphans && !is_orphan(l))
		return 0;
	if (modal_sandbox_terminate(s->c, &l->sandbox, s->deadline, err) < 0)
		return -1;
	snprintf(what, sizeof what, "modal sandbox %s", l->sandbox.id);
	if (s->report)
		s->report(s->report_arg, what);
	s->removed++;
	return 0;
}

int modal_sweep_tag(struct modal_client *c, const char *app_id, const char *tag, const char *value,
		    const struct deadline *deadline, struct crex_error *err)
{
	struct sweep s = {.c = c, .deadline = deadline};
	return list_all(c, app_id, tag, value, deadline, sweep_one, &s, err);
}

/* A client for what is no deployment; ca_file as a config without one has it. */
static int with_client(int (*work)(struct modal_client *c, const struct deadline *deadline, void *arg,
				   struct crex_error *err),
		       void *arg, const struct crex_call *call, struct crex_error *err)
{
	struct modal_profile profile;
	struct modal_client c;
	struct deadline deadline;
	const char *ca_file = getenv("SSL_CERT_FILE");
	deadline_begin(&deadline, call);
	if (modal_profile_load(NULL, NULL, &profile, err) < 0)
		return -1;
	int r = modal_client_init(&c, &profile, ca_file && *ca_file ? ca_file : NULL, err);
	if (r == 0) {
		r = work(&c, &deadline, arg, err);
		modal_client_deinit(&c);
	}
	modal_profile_deinit(&profile);
	return r;
}

static int sweep_app(struct modal_client *c, const struct deadline *deadline, void *arg, struct crex_error *err)
{
	struct sweep *s = arg;
	cleanup_free char *app_id = NULL;
	s->c = c;
	s->deadline = deadline;
	if (modal_app_find(c, APP_NAME, false, deadline, &app_id, err) < 0) {
		if (c->status != GRPC_NOT_FOUND)
			return -1;
		crex_error_clear(err); /* nothing was ever started here */
		return 0;
	}
	return list_all(c, app_id, MODAL_TAG, "1", deadline, sweep_one, s, err);
}

int modal_gc(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
	     size_t *ret_removed, struct crex_error *err)
{
	struct sweep s = {.only_orphans = !all, .report = report, .report_arg = report_arg};
	int r = with_client(sweep_app, &s, call, err);
	*ret_removed = s.removed;
	if (r < 0 && !s.c && err->code == CREX_E_AUTHENTICATION)
		err->code = CREX_E_UNSUPPORTED; /* who has no token has left nothing */
	return r;
}

/* ---- doctor ---- */

/* Asking for the environment tells that Modal is there and takes the tokens. */
static int ask_environment(struct modal_client *c, const struct deadline *deadline, void *arg, struct crex_error *err)
{
	cleanup_free char *builder = NULL;
	if (modal_builder_version(c, deadline, &builder, err) < 0)
		return -1;
	cleanup_free char *server = server_binary_find(NULL, ARCHITECTURE, err);
	if (!server)
		return -1;
	const struct modal_profile *p = c->profile;
	if (buf_printf(arg, "%s, profile %s, environment %s, image builder %s; server %s", p->server_url, p->name,
		       *p->environment ? p->environment : "(default)", builder, server) < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	return 0;
}

int modal_check(const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	cleanup_buf struct buf says = {.data = NULL};
	buf_init(&says, 16384);
	if (with_client(ask_environment, &says, call, err) < 0)
		return -1;
	char *text = buf_steal(&says, &ret->len);
	if (!text)
		return crex_error_set_errno(err, ENOMEM, NULL);
	ret->data = text;
	return 0;
}

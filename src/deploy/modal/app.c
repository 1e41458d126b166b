/* deploy/modal/app.c: the app that sandboxes belong to, the environment's settings, secrets.
 *
 * An app is a name and costs nothing; it is made once and stays. Secrets made here are ephemeral: Modal drops them with
 * what uses them. A secret is also how the server's own token gets into a sandbox: environment variables of a sandbox's
 * definition are shown to everybody who may look at it, secrets are not. */
#include "deploy/modal/modal.h"

#include "base/cleanup.h"
#include <errno.h>
#include <string.h>

#define CALL_SECONDS 30.0

/* ObjectCreationType */
enum { LOOK_UP = 0, CREATE_IF_MISSING = 1, EPHEMERAL = 5 };

int modal_take_string(const struct buf *reply, unsigned field, const char *method, const char *what, char **ret,
		      struct crex_error *err)
{
	struct pb_reader r = pb_read((struct crex_str){reply->data, reply->len});
	for (struct pb_field f; pb_next(&r, &f);) {
		if (!pb_is_bytes(&f, field) || f.bytes.len == 0 || memchr(f.bytes.ptr, '\0', f.bytes.len))
			continue;
		char *text = strndup(f.bytes.ptr, f.bytes.len);
		if (!text)
			return crex_error_set_errno(err, ENOMEM, NULL);
		*ret = text;
		return 0;
	}
	return crex_error_set(err, CREX_E_PROTOCOL, "Modal's %s answers without %s", method, what);
}

int modal_app_find(struct modal_client *c, const char *name, bool create, const struct deadline *deadline,
		   char **ret_id, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	cleanup_buf struct buf reply = {.data = NULL};
	pb_init(&request, 4096);
	pb_string(&request, 1, name);
	pb_string(&request, 2, c->profile->environment);
	pb_uint(&request, 3, create ? CREATE_IF_MISSING : LOOK_UP);
	if (modal_call(c, "AppGetOrCreate", &request, NULL, CALL_SECONDS, deadline, &reply, err) < 0)
		return -1;
	return modal_take_string(&reply, 1, "AppGetOrCreate", "an app", ret_id, err);
}

static struct crex_str inner(struct crex_str message, unsigned field)
{
	struct crex_str found = {NULL, 0};
	struct pb_reader r = pb_read(message);
	for (struct pb_field f; pb_next(&r, &f);)
		if (pb_is_bytes(&f, field))
			found = f.bytes;
	return found;
}

int modal_builder_version(struct modal_client *c, const struct deadline *deadline, char **ret, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	cleanup_buf struct buf reply = {.data = NULL};
	pb_init(&request, 4096);
	if (*c->profile->builder_version) {
		*ret = strdup(c->profile->builder_version);
		return *ret ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
	}
	pb_string(&request, 1, c->profile->environment);
	if (modal_call(c, "EnvironmentGetOrCreate", &request, NULL, CALL_SECONDS, deadline, &reply, err) < 0)
		return -1;
	/* EnvironmentMetadata, then EnvironmentSettings */
	struct crex_str settings = inner(inner((struct crex_str){reply.data, reply.len}, 2), 2);
	const struct buf view = {.data = (char *)settings.ptr, .len = settings.len};
	return modal_take_string(&view, 1, "EnvironmentGetOrCreate",
				 "an image builder version (set MODAL_IMAGE_BUILDER_VERSION)", ret, err);
}

static int secret(struct modal_client *c, const struct pb_writer *request, const struct deadline *deadline,
		  char **ret_id, struct crex_error *err)
{
	cleanup_buf struct buf reply = {.data = NULL};
	if (modal_call(c, "SecretGetOrCreate", request, NULL, CALL_SECONDS, deadline, &reply, err) < 0)
		return -1;
	return modal_take_string(&reply, 1, "SecretGetOrCreate", "a secret", ret_id, err);
}

int modal_secret_make(struct modal_client *c, const char *const *entries, const struct deadline *deadline,
		      char **ret_id, struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	pb_init(&request, 1 << 20);
	pb_string(&request, 3, c->profile->environment);
	pb_uint(&request, 4, EPHEMERAL);
	for (; entries[0]; entries += 2)
		pb_entry(&request, 5, entries[0], entries[1]);
	int r = secret(c, &request, deadline, ret_id, err);
	if (request.out.data)
		explicit_bzero(request.out.data, request.out.len);
	return r;
}

int modal_secret_find(struct modal_client *c, const char *name, const struct deadline *deadline, char **ret_id,
		      struct crex_error *err)
{
	cleanup_pb struct pb_writer request = {.failure = 0};
	pb_init(&request, 4096);
	pb_string(&request, 1, name);
	pb_string(&request, 3, c->profile->environment);
	pb_uint(&request, 4, LOOK_UP);
	if (secret(c, &request, deadline, ret_id, err) == 0)
		return 0;
	return c->status == GRPC_NOT_FOUND
		       ? crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "Modal knows no secret '%s'", name)
		       : -1;
}

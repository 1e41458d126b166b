/* deploy/daytona/server.c: the server program inside, by way of the sandbox's toolbox.
 *
 * It goes in as files: a directory of its own that nobody else may enter, in it the program and its token. So the token
 * is in no command line, no environment and no record of commands; the shell that starts the server feeds it through a
 * pipe and removes the file, and nothing of it can be read afterwards.
 *
 * The toolbox runs commands by feeding them to one shell a session, which a command's `exit` would end; hence sh -c.
 * A command that is started without waiting has no exit code yet: none is no failure. Whether a start whose reply was
 * lost has happened is told by the session's list of commands. */
#include "deploy/daytona/daytona.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "deploy/server_binary.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define UPLOAD_SECONDS 300.0
#define ARCHITECTURE "x86_64" /* Daytona's own */

enum { STARTS_MAX = 3, PATH_BYTES = 1024, COMMAND_BYTES = 2048, DIRECTORY_BYTES = 64 };

static int call(struct daytona_client *c, const struct daytona_sandbox *s, const char *method, const char *path,
		const char *what, const json_t *body, const struct deadline *deadline, struct daytona_reply *ret,
		struct crex_error *err)
{
	const struct daytona_request request = {
		.method = method, .base = s->toolbox, .path = path, .what = what, .body = body};
	return daytona_call(c, &request, deadline, ret, err);
}

static int find_toolbox(struct daytona_client *c, struct daytona_sandbox *s, const struct deadline *deadline,
			struct crex_error *err)
{
	char path[PATH_BYTES];
	const struct daytona_request request = {
		.method = "GET", .path = path, .what = "asking for the sandbox's toolbox"};
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	cleanup_free char *id = daytona_escape(s->id);
	if (s->toolbox)
		return 0;
	if (!id)
		return crex_error_set_errno(err, ENOMEM, NULL);
	snprintf(path, sizeof path, "/sandbox/%s/toolbox-proxy-url", id);
	if (daytona_call(c, &request, deadline, &reply, err) < 0)
		return -1;
	const char *url = daytona_string(reply.json, "url");
	if (!url)
		return crex_error_set(err, CREX_E_PROTOCOL, "daytona: the toolbox's address lacks 'url'");
	if (asprintf(&s->toolbox, "%.*s/%s", (int)strlen(url) - (*url && url[strlen(url) - 1] == '/'), url, s->id) >= 0)
		return 0;
	s->toolbox = NULL;
	return crex_error_set_errno(err, ENOMEM, NULL);
}

/* ---- the program goes in ---- */

/* As the sandbox's own kernel calls it. */
static int ask_architecture(struct daytona_client *c, const struct daytona_sandbox *s, const struct deadline *deadline,
			    const char **ret, struct crex_error *err)
{
	cleanup_json json_t *body = json_pack("{s:s}", "command", "uname -m");
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	*ret = ARCHITECTURE;
	if (call(c, s, "POST", "/process/execute", "asking for the sandbox's architecture", body, deadline, &reply,
		 err) < 0) {
		if (reply.status != 404)
			return -1;
		crex_error_clear(err);
		return 0;
	}
	const char *said = json_string_value(json_object_get(reply.json, "result"));
	cleanup_free char *name = said ? strndup(said, strcspn(said, "\r\n")) : NULL;
	if (!name || !*name)
		return 0; /* an image without uname: theirs is the likeliest */
	*ret = server_binary_architecture(name);
	return *ret ? 0 : crex_error_set(err, CREX_E_UNSUPPORTED, "no server is built for %.40s", name);
}

static int make_directory(struct daytona_client *c, const struct daytona_sandbox *s, const char *directory,
			  const struct deadline *deadline, struct crex_error *err)
{
	char path[PATH_BYTES];
	cleanup_free char *escaped = daytona_escape(directory);
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	if (!escaped)
		return crex_error_set_errno(err, ENOMEM, NULL);
	snprintf(path, sizeof path, "/files/folder?path=%s&mode=0700", escaped);
	return call(c, s, "POST", path, "making a directory in the sandbox", NULL, deadline, &reply, err);
}

static int send_form(struct daytona_client *c, const struct daytona_sandbox *s, const char *path,
		     const struct daytona_part *parts, const struct deadline *deadline, int *ret_status,
		     struct crex_error *err)
{
	const struct daytona_request request = {.method = "POST",
						.base = s->toolbox,
						.path = path,
						.what = "uploading the server",
						.parts = parts,
						.seconds = UPLOAD_SECONDS};
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	int r = daytona_call(c, &request, deadline, &reply, err);
	*ret_status = reply.status;
	return r;
}

static int send_one(struct daytona_client *c, const struct daytona_sandbox *s, const char *to, struct daytona_part part,
		    const struct deadline *deadline, struct crex_error *err)
{
	char path[PATH_BYTES];
	int status;
	cleanup_free char *escaped = daytona_escape(to);
	if (!escaped)
		return crex_error_set_errno(err, ENOMEM, NULL);
	snprintf(path, sizeof path, "/files/upload?path=%s", escaped);
	part.name = "file";
	const struct daytona_part parts[] = {part, {.name = NULL}};
	return send_form(c, s, path, parts, deadline, &status, err);
}

/* In one request, or in two where the toolbox is older than that. */
static int upload(struct daytona_client *c, const struct daytona_sandbox *s, const char *directory, const char *server,
		  const char *token, const struct deadline *deadline, struct crex_error *err)
{
	char program[DIRECTORY_BYTES + 16], secret[DIRECTORY_BYTES + 16];
	int status;
	snprintf(program, sizeof program, "%s/swerex-remote", directory);
	snprintf(secret, sizeof secret, "%s/token", directory);
	const struct daytona_part parts[] = {
		{.name = "files[0].path", .text = program},
		{.name = "files[0].file", .file_name = "swerex-remote", .file = server},
		{.name = "files[1].path", .text = secret},
		{.name = "files[1].file", .file_name = "token", .text = token},
		{.name = NULL},
	};
	if (send_form(c, s, "/files/bulk-upload", parts, deadline, &status, err) == 0)
		return 0;
	if (status != 404 && status != 405)
		return -1;
	crex_error_clear(err);
	if (send_one(c, s, program, parts[1], deadline, err) < 0)
		return -1;
	return send_one(c, s, secret, parts[3], deadline, err);
}

/* ---- the program starts ---- */

/* Of plain characters alone: nothing of it needs quoting. */
static void make_command(const struct crex_daytona_config *config, const char *directory, char ret[COMMAND_BYTES])
{
	char host_timeout[64] = "";
	if (config->host_timeout > 0)
		snprintf(host_timeout, sizeof host_timeout, " --host-timeout %.3f", config->host_timeout);
	snprintf(
		ret, COMMAND_BYTES,
		"sh -c 'D=%s; chmod 700 $D/swerex-remote || exit 1; T=; "
		"command -v timeout >/dev/null 2>&1 && T=\"timeout %.0f\"; "
		"{ cat $D/token; rm -f $D/token; } | exec $T $D/swerex-remote --auth-token-file /dev/stdin --port %d%s'"
		" </dev/null",
		directory, ceil(config->container_timeout), config->port, host_timeout);
}

static int make_session(struct daytona_client *c, struct daytona_sandbox *s, const struct deadline *deadline,
			struct crex_error *err)
{
	cleanup_json json_t *body = json_pack("{s:s}", "sessionId", s->session);
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	int r = call(c, s, "POST", "/process/session", "making a session in the sandbox", body, deadline, &reply, err);
	if (r == 0 || reply.status != 409) /* it is ours: nobody else knows the name */
		return r;
	crex_error_clear(err);
	return 0;
}

/* The session's only command, where it has one. */
static int find_command(struct daytona_client *c, struct daytona_sandbox *s, const struct deadline *deadline,
			struct crex_error *err)
{
	char path[PATH_BYTES];
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	snprintf(path, sizeof path, "/process/session/%s", s->session);
	if (call(c, s, "GET", path, "looking at the session", NULL, deadline, &reply, err) < 0)
		return -1;
	const json_t *first = json_array_get(json_object_get(reply.json, "commands"), 0);
	const char *id = first ? daytona_string(first, "id") : NULL;
	snprintf(s->command, sizeof s->command, "%s", id && strlen(id) < sizeof s->command ? id : "");
	return 0;
}

/* 0 with s->command "": it has certainly not been started. */
static int execute(struct daytona_client *c, struct daytona_sandbox *s, const char *command,
		   const struct deadline *deadline, struct crex_error *err)
{
	static const char what[] = "starting the server";
	char path[PATH_BYTES];
	cleanup_json json_t *body = json_pack("{s:s, s:b}", "command", command, "runAsync", 1);
	snprintf(path, sizeof path, "/process/session/%s/exec", s->session);
	const struct daytona_request request = {
		.method = "POST", .base = s->toolbox, .path = path, .what = what, .body = body, .once = true};
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	if (daytona_call(c, &request, deadline, &reply, err) < 0)
		return reply.unsure && deadline_check(deadline, NULL) == 0 ? find_command(c, s, deadline, err) : -1;
	const char *id = daytona_string(reply.json, "cmdId");
	const json_t *code = json_object_get(reply.json, "exitCode");
	if (!id || !*id || strlen(id) >= sizeof s->command)
		return crex_error_set(err, CREX_E_PROTOCOL, "daytona: %s: the answer lacks 'cmdId'", what);
	if (json_integer_value(code) != 0)
		return crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "the server ended at once with exit code %d",
				      (int)json_integer_value(code));
	snprintf(s->command, sizeof s->command, "%s", id);
	return 0;
}

int daytona_server_start(struct daytona_client *c, const struct crex_daytona_config *config, struct daytona_sandbox *s,
			 const char *token, const struct deadline *deadline, struct crex_error *err)
{
	char directory[DIRECTORY_BYTES], command[COMMAND_BYTES], word[17];
	const char *architecture;
	int r = random_hex(word, sizeof word / 2);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	snprintf(directory, sizeof directory, "/tmp/.crex-%s", word);
	snprintf(s->session, sizeof s->session, "crex-%s", word);
	if (find_toolbox(c, s, deadline, err) < 0 || ask_architecture(c, s, deadline, &architecture, err) < 0)
		return -1;
	cleanup_free char *server = server_binary_find(config->server_path, architecture, err);
	if (!server || make_directory(c, s, directory, deadline, err) < 0 ||
	    upload(c, s, directory, server, token, deadline, err) < 0 || make_session(c, s, deadline, err) < 0)
		return -1;
	make_command(config, directory, command);
	for (int i = 0; i < STARTS_MAX && !*s->command; i++) {
		crex_error_clear(err);
		if (execute(c, s, command, deadline, err) < 0)
			return -1;
	}
	if (!*s->command && err->code == CREX_OK)
		crex_error_set(err, CREX_E_DEPLOYMENT_STARTUP, "daytona: the server could not be started");
	if (!*s->command)
		return -1;
	crex_error_clear(err);
	return 0;
}

/* ---- while it runs ---- */

int daytona_server_ended(struct daytona_client *c, const struct daytona_sandbox *s, const struct deadline *deadline,
			 int *ret_code, struct crex_error *err)
{
	char path[PATH_BYTES];
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	snprintf(path, sizeof path, "/process/session/%s/command/%s", s->session, s->command);
	if (call(c, s, "GET", path, "looking at the server", NULL, deadline, &reply, err) < 0)
		return -1;
	const json_t *code = json_object_get(reply.json, "exitCode");
	*ret_code = (int)json_integer_value(code);
	return json_is_integer(code);
}

int daytona_server_logs(struct daytona_client *c, const struct daytona_sandbox *s, const struct deadline *deadline,
			struct crex_text *ret, struct crex_error *err)
{
	char path[PATH_BYTES];
	const struct daytona_request request = {.method = "GET",
						.base = s->toolbox,
						.path = path,
						.what = "reading the server's log",
						.wants_text = true};
	cleanup_daytona_reply struct daytona_reply reply = {.status = 0};
	snprintf(path, sizeof path, "/process/session/%s/command/%s/logs", s->session, s->command);
	if (daytona_call(c, &request, deadline, &reply, err) < 0)
		return -1;
	*ret = reply.text;
	reply.text = (struct crex_text)CREX_TEXT_INIT;
	return 0;
}

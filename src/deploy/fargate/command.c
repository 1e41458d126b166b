/* deploy/fargate/command.c: what a task's container runs.
 *
 * The server is in the image, or is fetched from an https address with whatever the image has for that. All that
 * differs from task to task (the token, the address) comes by the environment: the text is the same for one config, so
 * that one task definition serves all of its tasks, and no secret is on a command line. Upstream's own server takes its
 * token from the command line alone: it gets it there.
 *
 * The server replaces the shell, so that StopTask's SIGTERM reaches it; beside it a `sleep` watches the time after
 * which the sandbox is to end. Exit codes tell why a script ended before the server began. */
#include "deploy/fargate/fargate.h"

#include <math.h>
#include <stdio.h>

enum { EXIT_NO_SERVER = 120, EXIT_NO_CLIENT, EXIT_NOT_FETCHED, EXIT_OTHER_FILE };

const char *fargate_command_failure(int exit_code)
{
	switch (exit_code) {
	case EXIT_NO_SERVER:
		return "the image has no swerex-remote, and server_url is not set: put it into the image's PATH, or "
		       "name an https address of a static one in server_url";
	case EXIT_NO_CLIENT: return "the image has neither curl, wget nor python3 to fetch server_url with";
	case EXIT_NOT_FETCHED: return "server_url could not be fetched from inside the task";
	case EXIT_OTHER_FILE: return "what server_url gave is not the file of server_sha256";
	default: return NULL;
	}
}

char *fargate_command(const struct crex_fargate_config *config)
{
	static const char text[] =
		"s=$(command -v swerex-remote) || {\n"
		"[ -n \"$CREX_SERVER_URL\" ] || { echo 'no swerex-remote in the image, no server_url' >&2; exit %d; }\n"
		"s=/tmp/.swerex-remote\n"
		"if command -v curl >/dev/null; then curl -fsSL --proto '=https' --retry 3 -o $s \"$CREX_SERVER_URL\"\n"
		"elif command -v wget >/dev/null; then wget -q -O $s \"$CREX_SERVER_URL\"\n"
		"elif command -v python3 >/dev/null; then\n"
		"python3 -c 'import sys,urllib.request as r;r.urlretrieve(*sys.argv[1:])' \"$CREX_SERVER_URL\" $s\n"
		"else echo 'nothing to fetch server_url with' >&2; exit %d; fi || exit %d\n"
		"[ -z \"$CREX_SERVER_SHA256\" ] || echo \"$CREX_SERVER_SHA256  $s\" | sha256sum -c - >/dev/null || "
		"exit %d\n"
		"chmod 755 $s\n"
		"}\n"
		"unset CREX_SERVER_URL CREX_SERVER_SHA256\n"
		"(sleep %.0f && kill $$) >/dev/null 2>&1 &\n"
		"case $(\"$s\" --help 2>&1) in\n"
		"*auth-token-file*) exec \"$s\" --port %d ;;\n"
		"*) exec \"$s\" --port %d --auth-token \"$SWEREX_AUTH_TOKEN\" ;;\n"
		"esac\n";
	char *ret = NULL;
	if (asprintf(&ret, text, EXIT_NO_SERVER, EXIT_NO_CLIENT, EXIT_NOT_FETCHED, EXIT_OTHER_FILE,
		     ceil(config->container_timeout), config->port, config->port) < 0)
		return NULL;
	return ret;
}

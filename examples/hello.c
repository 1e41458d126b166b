/* hello: a sandbox, a session in it, a command. Compiles as C and as C++.
 *   hello                                                  commands run on this machine
 *   hello '{"type": "docker", "image": "debian:12"}'       in a container; any other config likewise */
#include <crex/crex.h>
#include <stdio.h>
#include <string.h>

static int hello(struct crex_deployment *d, struct crex_error *err)
{
	/* nothing here may take longer than this, whatever happens */
	struct crex_call call = CREX_CALL_INIT;
	call.timeout = 60;
	if (crex_deployment_start(d, &call, err) < 0)
		return -1;
	struct crex_runtime *rt = crex_deployment_runtime(d, err); /* the deployment's: not freed here */

	struct crex_create_session_request session = CREX_CREATE_SESSION_REQUEST_INIT;
	session.startup_timeout = 10; /* some people's .bashrc takes a while */
	if (!rt || crex_runtime_create_session(rt, &session, &call, NULL, err) < 0)
		return -1;

	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	action.command = crex_str_of("cd /tmp && echo \"hello from $PWD\"");
	action.timeout = 10; /* the command's own; for the error's text and the interrupt see loop.c */
	struct crex_observation seen = CREX_OBSERVATION_INIT;
	if (crex_runtime_run_in_session(rt, &action, &call, &seen, err) < 0)
		return -1;
	fwrite(seen.output, 1, seen.output_len, stdout);
	printf("exit code %d\n", seen.exit_code);
	crex_observation_clear(&seen);
	return crex_deployment_stop(d, &call, err);
}

int main(int argc, char **argv)
{
	const char *config = argc > 1 ? argv[1] : "{\"type\": \"local\"}";
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_deployment *d = crex_deployment_from_json(config, strlen(config), &err);
	int failed = !d || hello(d, &err) < 0;
	if (failed)
		fprintf(stderr, "hello: %s: %s\n", crex_error_name(err.code), err.message ? err.message : "");
	crex_deployment_free(d); /* stops it when hello() didn't come so far */
	crex_error_clear(&err);
	return failed;
}

/* loop: an agent: ask the model, run what it wants, tell it what happened, until it is done.
 *   loop REPLIES [CONFIG]       CONFIG as for hello
 * The model is played by a file of replies, a line each: "run COMMAND", or "done ANSWER" at the end. */
#include <crex/crex.h>
#include <stdio.h>
#include <string.h>

/* A real one would send `told` to its model here. False: it has nothing to say any more. */
static bool ask_model(FILE *replies, const char *told, size_t len, char *line, int size)
{
	printf("%.*s", (int)len, told);
	if (!fgets(line, size, replies))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return true;
}

/* Runs one command; what the model shall read about it is in `seen` or, when it went wrong, in `err`. */
static int run(struct crex_runtime *rt, const char *command, struct crex_observation *seen, struct crex_error *err)
{
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	action.command = crex_str_of(command);
	action.check = CREX_CHECK_SILENT; /* a failing command is news, not an error */
	action.timeout = 2;
	if (crex_runtime_run_in_session(rt, &action, NULL, seen, err) == 0)
		return 0;
	if (err->code == CREX_E_COMMAND_TIMEOUT) { /* it still runs: get the session back */
		struct crex_bash_interrupt_action interrupt = CREX_BASH_INTERRUPT_ACTION_INIT;
		struct crex_observation rest = CREX_OBSERVATION_INIT;
		if (crex_runtime_interrupt(rt, &interrupt, NULL, &rest, NULL) == 0)
			crex_observation_clear(&rest);
	}
	return -1;
}

static int loop(struct crex_runtime *rt, FILE *replies, struct crex_error *err)
{
	struct crex_create_session_request session = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_observation seen = CREX_OBSERVATION_INIT;
	char line[4096];
	session.startup_timeout = 10;
	if (!rt || crex_runtime_create_session(rt, &session, NULL, NULL, err) < 0)
		return -1;
	bool goes_on = ask_model(replies, "solve the task\n", 15, line, sizeof line);
	while (goes_on && strncmp(line, "run ", 4) == 0) {
		printf("$ %s\n", line + 4);
		if (run(rt, line + 4, &seen, err) == 0) {
			goes_on = ask_model(replies, seen.output, seen.output_len, line, sizeof line);
		} else if (crex_error_is(err->code, CREX_E_COMMAND_TIMEOUT) ||
			   crex_error_is(err->code, CREX_E_BASH_INCORRECT_SYNTAX)) {
			goes_on = ask_model(replies, err->message, err->message_len, line, sizeof line);
			printf("\n");
		} else {
			return -1; /* the sandbox is gone, the connection lost: nothing that a model can mend */
		}
		crex_observation_clear(&seen);
		crex_error_clear(err);
	}
	printf("%s\n", goes_on ? line : "the model has gone away");
	return 0;
}

int main(int argc, char **argv)
{
	const char *config = argc > 2 ? argv[2] : "{\"type\": \"local\"}";
	struct crex_error err = CREX_ERROR_INIT;
	FILE *replies = argc > 1 ? fopen(argv[1], "r") : NULL;
	struct crex_deployment *d = replies ? crex_deployment_from_json(config, strlen(config), &err) : NULL;
	int r = d ? crex_deployment_start(d, NULL, &err) : -1;
	if (r == 0)
		r = loop(crex_deployment_runtime(d, &err), replies, &err);
	if (r < 0)
		fprintf(stderr, "loop: %s\n", replies ? err.message : "usage: loop REPLIES [CONFIG]");
	crex_deployment_free(d);
	crex_error_clear(&err);
	if (replies)
		fclose(replies);
	return r < 0;
}

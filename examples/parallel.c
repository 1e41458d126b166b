/* parallel: twenty sandboxes at a time, a thread each, as an evaluation runs its agents.
 *   parallel [CONFIG]       CONFIG as for hello
 * A sandbox that fails, or Ctrl-C, calls all others off; every one of them is taken down in the end. */
#include <crex/crex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { SANDBOXES = 20, STEPS = 5 };

struct agent {
	pthread_t thread;
	int number;
	const char *config;
	struct crex_cancel *cancel; /* one for all */
	int counted;		    /* steps that gave what they should */
	struct crex_error err;	    /* an error belongs to one thread: each agent has its own */
};

static struct crex_cancel *on_interrupt;

static void interrupted(int signum)
{
	(void)signum;
	crex_cancel_trigger(on_interrupt); /* may be called in a signal handler */
}

static int work(struct agent *self, struct crex_deployment *d)
{
	struct crex_call call = {300, self->cancel};
	struct crex_create_session_request session = CREX_CREATE_SESSION_REQUEST_INIT;
	if (crex_deployment_start(d, &call, &self->err) < 0)
		return -1;
	struct crex_runtime *rt = crex_deployment_runtime(d, &self->err);
	session.startup_timeout = 10;
	if (!rt || crex_runtime_create_session(rt, &session, &call, NULL, &self->err) < 0)
		return -1;
	for (int step = 1; step <= STEPS; step++) {
		char command[64], expected[16];
		snprintf(command, sizeof command, "n=$((${n:-%d} + 1)); echo $n", self->number * 100);
		snprintf(expected, sizeof expected, "%d\n", self->number * 100 + step);
		struct crex_bash_action action = CREX_BASH_ACTION_INIT;
		action.command = crex_str_of(command);
		struct crex_observation seen = CREX_OBSERVATION_INIT;
		if (crex_runtime_run_in_session(rt, &action, &call, &seen, &self->err) < 0)
			return -1;
		self->counted += strcmp(seen.output, expected) == 0;
		crex_observation_clear(&seen);
	}
	return 0;
}

static void *agent(void *arg)
{
	struct agent *self = arg;
	struct crex_deployment *d = crex_deployment_from_json(self->config, strlen(self->config), &self->err);
	if (!d || work(self, d) < 0)
		crex_cancel_trigger(self->cancel);
	crex_deployment_free(d); /* and stops it, called off or not */
	return NULL;
}

int main(int argc, char **argv)
{
	static struct agent agents[SANDBOXES];
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_cancel *cancel = on_interrupt = crex_cancel_new(&err);
	if (!cancel) {
		fprintf(stderr, "parallel: %s\n", err.message);
		return 1;
	}
	signal(SIGINT, interrupted);
	int started = 0, counted = 0, failed = 0;
	for (; started < SANDBOXES; started++) {
		agents[started] = (struct agent){.number = started + 1,
						 .config = argc > 1 ? argv[1] : "{\"type\": \"local\"}",
						 .cancel = cancel};
		if (pthread_create(&agents[started].thread, NULL, agent, &agents[started]) != 0)
			break;
	}
	for (int i = 0; i < started; i++) {
		pthread_join(agents[i].thread, NULL);
		counted += agents[i].counted;
		failed += agents[i].err.code != CREX_OK;
		/* those that were only called off because of another's failure needn't be told */
		if (agents[i].err.code != CREX_OK && agents[i].err.code != CREX_E_CANCELLED)
			fprintf(stderr, "parallel: sandbox %d: %s: %s\n", i + 1, crex_error_name(agents[i].err.code),
				agents[i].err.message);
		crex_error_clear(&agents[i].err);
	}
	signal(SIGINT, SIG_DFL);
	crex_cancel_free(cancel);
	printf("%d sandboxes, %d of %d answers right\n", started, counted, SANDBOXES * STEPS);
	return failed || started < SANDBOXES;
}

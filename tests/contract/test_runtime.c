/* tests/contract/test_runtime.c: the cases that every runtime has to pass, against the kind that is named.
 *
 *   test_runtime local|remote|dummy [PATTERN] */
#include "rig.h"

static const struct contract_case *const suites[] = {session_cases, call_cases, file_cases, end_cases, stream_cases};
enum { MAX_CASES = 100 };
static const char *const kinds[] = {"dummy", "local", "remote"};

struct plan {
	enum kind kind;
	const struct contract_case *test;
};

/* cmocka's initial state is the plan; from here on it is the rig. */
static int begin(void **state)
{
	const struct plan *plan = *state;
	struct contract *c = calloc(1, sizeof *c);
	c->err = (struct crex_error)CREX_ERROR_INIT;
	c->obs = (struct crex_observation)CREX_OBSERVATION_INIT;
	c->kind = plan->kind;
	c->test = plan->test;
	snprintf(c->mark, sizeof c->mark, "%d%06d", 1000 + (int)(rig_now() * 10) % 1000, (int)getpid());
	strcpy(c->home, "/tmp/crex-contract-XXXXXX");
	assert_non_null(mkdtemp(c->home));
	setenv("HOME", c->home, 1);
	if (c->kind == KIND_REMOTE)
		rig_server_start(&c->server, 0, false);
	c->rt = contract_runtime(c);
	*state = c;
	return 0;
}

static void run_case(void **state)
{
	struct contract *c = *state;
	c->test->run(c);
}

static int end(void **state)
{
	struct contract *c = *state;
	if (c->server.pid > 0)
		free(rig_run("kill -CONT %d $(pgrep -P %d)", c->server.pid, c->server.pid));
	crex_runtime_free(c->rt);
	if (c->kind == KIND_REMOTE)
		rig_server_stop(&c->server);
	crex_observation_clear(&c->obs);
	crex_error_clear(&c->err);
	free(rig_run("rm -rf %s", c->home));
	free(c);
	return 0;
}

static bool applies(unsigned needs, enum kind kind)
{
	if (needs & LOCAL_ONLY)
		return kind == KIND_LOCAL;
	if (needs & REMOTE_ONLY)
		return kind == KIND_REMOTE;
	return kind != KIND_DUMMY || !(needs & REAL);
}

int main(int argc, char **argv)
{
	size_t kind = 0, n = 0;
	while (kind < 3 && (argc < 2 || strcmp(argv[1], kinds[kind]) != 0))
		kind++;
	if (kind == 3) {
		fprintf(stderr, "usage: %s local|remote|dummy [PATTERN]\n", argv[0]);
		return 2;
	}
	struct plan plans[MAX_CASES];
	struct CMUnitTest tests[MAX_CASES];
	for (size_t s = 0; s < sizeof suites / sizeof *suites; s++) {
		for (const struct contract_case *test = suites[s]; test->name; test++) {
			if (!applies(test->needs, (enum kind)kind) || n == MAX_CASES)
				continue;
			plans[n] = (struct plan){(enum kind)kind, test};
			tests[n] = (struct CMUnitTest){test->name, run_case, begin, end, &plans[n]};
			n++;
		}
	}
	cmocka_set_test_filter(argc > 2 ? argv[2] : NULL);
	return _cmocka_run_group_tests(kinds[kind], tests, n, NULL, NULL);
}

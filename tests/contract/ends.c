/* tests/contract/ends.c: how sessions, runtimes and what runs in them end. */
#include "rig.h"

static void test_alive(struct contract *c)
{
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	OK(c, crex_runtime_is_alive(c->rt, &(struct crex_call){20, NULL}, &alive, &c->err));
	assert_true(alive.is_alive);
	assert_true(!alive.message || !*alive.message);
	crex_is_alive_clear(&alive);
	if (c->kind != KIND_REMOTE)
		return;
	rig_server_kill(&c->server);
	OK(c, crex_runtime_is_alive(c->rt, NULL, &alive, &c->err));
	assert_false(alive.is_alive);
	assert_true(alive.message && *alive.message);
	crex_is_alive_clear(&alive);
	FAILS(c, run(c, "s", "true", CREX_CHECK_RAISE), CREX_E_CONNECTION);
}

static void test_close(struct contract *c)
{
	create(c, "a");
	create(c, "b");
	OK(c, crex_runtime_close(c->rt, NULL, &c->err));
	OK(c, crex_runtime_close(c->rt, NULL, &c->err));
	FAILS(c, run(c, "a", "true", CREX_CHECK_RAISE), CREX_E_SESSION_DOES_NOT_EXIST);
	create(c, "a");
	OK(c, run(c, "a", "true", CREX_CHECK_RAISE));
}

static void test_close_kills_all(struct contract *c)
{
	create(c, "s");
	OK(c, run(c, "s", marked(c, "setsid sleep MARK & (sleep MARK &) ; sleep MARK & disown -a"), CREX_CHECK_SILENT));
	wait_for_marked(c, 3);
	OK(c, crex_runtime_close_session(c->rt, crex_str_of("s"), NULL, &c->err));
	assert_int_equal(marked_processes(c), 0);
}

/* The end of a local runtime is the end of all that it runs, waited for or not. */
static void test_free_ends_all(struct contract *c)
{
	size_t fds = open_fds();
	struct crex_runtime *mine = c->rt;
	c->rt = contract_runtime(c);
	for (int i = 0; i < 3; i++) {
		const char name[] = {(char)('a' + i), '\0'};
		create(c, name);
		struct crex_bash_action action = action_of(marked(c, "setsid sleep MARK & sleep MARK"));
		const struct crex_call call = {0.3, NULL};
		action.session = crex_str_of(name);
		FAILS(c, crex_runtime_run_in_session(c->rt, &action, &call, NULL, &c->err), CREX_E_DEADLINE);
		const struct crex_execute_request exec = rig_shell(marked(c, "sleep MARK & sleep MARK"));
		FAILS(c, crex_runtime_execute(c->rt, &exec, &call, NULL, &c->err), CREX_E_DEADLINE);
	}
	wait_for_marked(c, 3 * (2 + 3)); /* sh -c has it in its line as well */
	c->rt = crex_runtime_free(c->rt);
	assert_int_equal(marked_processes(c), 0);
	assert_int_equal(open_fds(), fds);
	c->rt = mine;
}

static void test_free_unused(struct contract *c)
{
	size_t fds = 0;
	for (int i = 0; i < 20; i++) {
		if (i == 1) /* the first may have made what is the process's */
			fds = open_fds();
		crex_runtime_free(contract_runtime(c));
	}
	assert_int_equal(open_fds(), fds);
}

static void test_push_needs_a_dummy(struct contract *c)
{
	const struct crex_observation obs = CREX_OBSERVATION_INIT;
	const struct crex_error reply = CREX_ERROR_INIT;
	if (c->kind == KIND_DUMMY) {
		OK(c, crex_dummy_runtime_push(c->rt, &obs, &c->err));
		create(c, "s");
		OK(c, run(c, "s", "anything", CREX_CHECK_RAISE));
		FAILS(c, run(c, "s", "anything", CREX_CHECK_RAISE), CREX_E_DUMMY_OUTPUTS_EXHAUSTED);
		return;
	}
	FAILS(c, crex_dummy_runtime_push(c->rt, &obs, &c->err), CREX_E_UNSUPPORTED);
	FAILS(c, crex_dummy_runtime_push_error(c->rt, &reply, &c->err), CREX_E_UNSUPPORTED);
}

const struct contract_case end_cases[] = {
	{"is alive", test_alive, ANY},
	{"close", test_close, ANY},
	{"a closed session leaves no process", test_close_kills_all, REAL},
	{"free ends all", test_free_ends_all, LOCAL_ONLY},
	{"free of a runtime that was not used", test_free_unused, ANY},
	{"only a dummy has a queue", test_push_needs_a_dummy, ANY},
	{0},
};

/* tests/contract/test_deployment.c: the cases that every deployment has to pass, against the kind that is named.
 *
 *   test_deployment local|remote|dummy
 *
 * What is told apart by kind is only how one is made and what can't be had from it (the rows of `kinds`). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "unit/remote_rig.h"
#include <arpa/inet.h>
#include <crex/crex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct contract;

struct kind {
	const char *name;
	struct crex_deployment *(*make)(struct contract *c, struct crex_error *err);
	void (*open)(struct contract *c); /* what a start of it needs; NULL: nothing */
	void (*close)(struct contract *c);
	bool can_detach, reports;
};

struct contract {
	const struct kind *kind;
	struct crex_deployment *d;
	struct crex_error err;
	struct rig_server server;
	char home[40]; /* an empty one: the tester's own may have startup files that take their time */
};

static void fails_with(const struct contract *c, int r, enum crex_error_code code, int line)
{
	if (r != -1 || c->err.code != code || !c->err.message)
		fail_msg("line %d: %s was expected, got %d with %s: %s", line, crex_error_name(code), r,
			 crex_error_name(c->err.code), c->err.message ? c->err.message : "(nothing)");
}
#define FAILS(c, call, code) fails_with((c), (call), (code), __LINE__)

static void succeeds(const struct contract *c, int r, int line)
{
	if (r != 0)
		fail_msg("line %d: %s: %s", line, crex_error_name(c->err.code), c->err.message);
}
#define OK(c, call) succeeds((c), (call), __LINE__)

/* ---- the kinds ---- */

static struct crex_deployment *make_local(struct contract *c, struct crex_error *err)
{
	(void)c;
	return crex_local_deployment_new(err);
}

static struct crex_deployment *make_dummy(struct contract *c, struct crex_error *err)
{
	(void)c;
	return crex_dummy_deployment_new(err);
}

static struct crex_deployment *make_remote(struct contract *c, struct crex_error *err)
{
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	config.auth_token = RIG_TOKEN;
	config.port = c->server.port;
	return crex_remote_deployment_new(&config, err);
}

static void open_remote(struct contract *c)
{
	rig_server_start(&c->server, 0, false);
}

static void close_remote(struct contract *c)
{
	rig_server_stop(&c->server);
}

static const struct kind kinds[] = {
	{"local", make_local, NULL, NULL, false, false},
	{"remote", make_remote, open_remote, close_remote, true, false},
	{"dummy", make_dummy, NULL, NULL, false, true},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static int begin(void **state)
{
	struct contract *c = calloc(1, sizeof *c);
	c->err = (struct crex_error)CREX_ERROR_INIT;
	c->kind = *state;
	strcpy(c->home, "/tmp/crex-deployment-XXXXXX");
	assert_non_null(mkdtemp(c->home));
	setenv("HOME", c->home, 1);
	if (c->kind->open)
		c->kind->open(c);
	c->d = c->kind->make(c, &c->err);
	assert_non_null(c->d);
	*state = c;
	return 0;
}

static int end(void **state)
{
	struct contract *c = *state;
	crex_deployment_free(c->d);
	if (c->kind->close)
		c->kind->close(c);
	crex_error_clear(&c->err);
	free(rig_run("rm -rf %s", c->home));
	free(c);
	return 0;
}

static void use(struct contract *c)
{
	struct crex_runtime *rt = crex_deployment_runtime(c->d, &c->err);
	assert_non_null(rt);
	struct crex_create_session_request create = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	create.startup_timeout = 20;
	action.command = crex_str_of("echo used");
	OK(c, crex_runtime_create_session(rt, &create, NULL, NULL, &c->err));
	OK(c, crex_runtime_run_in_session(rt, &action, NULL, NULL, &c->err));
}

/* ---- the cases ---- */

static void test_life(void **state)
{
	struct contract *c = *state;
	assert_string_equal(crex_deployment_type(c->d), c->kind->name);
	for (int i = 0; i < 3; i++) {
		OK(c, crex_deployment_start(c->d, NULL, &c->err));
		OK(c, crex_deployment_start(c->d, NULL, &c->err)); /* it is */
		struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
		OK(c, crex_deployment_is_alive(c->d, &(struct crex_call){20, NULL}, &alive, &c->err));
		assert_true(alive.is_alive);
		crex_is_alive_clear(&alive);
		OK(c, crex_deployment_is_alive(c->d, NULL, NULL, NULL));
		use(c);
		OK(c, crex_deployment_stop(c->d, NULL, &c->err));
		OK(c, crex_deployment_stop(c->d, NULL, &c->err));
		assert_null(crex_deployment_runtime(c->d, &c->err));
		FAILS(c, -1, CREX_E_DEPLOYMENT_NOT_STARTED);
	}
	OK(c, crex_deployment_start(c->d, NULL, NULL));
	OK(c, crex_deployment_stop(c->d, NULL, NULL));
}

static void test_before_start(void **state)
{
	struct contract *c = *state;
	struct crex_text text;
	memset(&text, 0x5a, sizeof text);
	const struct crex_text before = text;
	assert_null(crex_deployment_runtime(c->d, NULL));
	assert_null(crex_deployment_runtime(c->d, &c->err));
	FAILS(c, -1, CREX_E_DEPLOYMENT_NOT_STARTED);
	FAILS(c, crex_deployment_is_alive(c->d, NULL, NULL, &c->err), CREX_E_DEPLOYMENT_NOT_STARTED);
	FAILS(c, crex_deployment_plan(c->d, &text, &c->err), CREX_E_UNSUPPORTED);
	FAILS(c, crex_deployment_detach(c->d, &text, &c->err),
	      c->kind->can_detach ? CREX_E_DEPLOYMENT_NOT_STARTED : CREX_E_UNSUPPORTED);
	FAILS(c, crex_deployment_logs(c->d, NULL, &text, &c->err), CREX_E_UNSUPPORTED);
	assert_memory_equal(&text, &before, sizeof text);
	OK(c, crex_deployment_stop(c->d, NULL, &c->err));
	assert_null(crex_deployment_free(NULL));
}

static void test_over_before(void **state)
{
	struct contract *c = *state;
	struct crex_cancel *cancel = crex_cancel_new(&c->err);
	crex_cancel_trigger(cancel);
	FAILS(c, crex_deployment_start(c->d, &(struct crex_call){0, NULL}, &c->err), CREX_E_DEADLINE);
	FAILS(c, crex_deployment_start(c->d, &(struct crex_call){CREX_NO_TIMEOUT, cancel}, &c->err), CREX_E_CANCELLED);
	crex_cancel_free(cancel);
	assert_null(crex_deployment_runtime(c->d, &c->err));
	OK(c, crex_deployment_start(c->d, NULL, &c->err));
}

/* Whoever frees what is started has stopped it with all that runs there. */
static void test_free_while_started(void **state)
{
	struct contract *c = *state;
	OK(c, crex_deployment_start(c->d, NULL, &c->err));
	use(c);
	c->d = crex_deployment_free(c->d);
	c->d = c->kind->make(c, &c->err);
	OK(c, crex_deployment_start(c->d, NULL, &c->err));
	use(c); /* a session of the same name: the first one is gone */
}

struct heard {
	int steps;
	char last[100];
};

static void on_step(void *arg, const char *message)
{
	struct heard *h = arg;
	h->steps++;
	snprintf(h->last, sizeof h->last, "%s", message);
}

static void test_hooks(void **state)
{
	struct contract *c = *state;
	struct heard first = {0}, second = {0};
	const struct crex_deployment_hook a = {on_step, NULL, &first}, b = {on_step, NULL, &second}, none = {0};
	OK(c, crex_deployment_add_hook(c->d, &a, &c->err));
	OK(c, crex_deployment_add_hook(c->d, &none, &c->err));
	OK(c, crex_deployment_add_hook(c->d, &b, &c->err));
	OK(c, crex_deployment_start(c->d, NULL, &c->err));
	assert_int_equal(first.steps, second.steps);
	assert_string_equal(first.last, second.last);
	assert_true(!c->kind->reports || first.steps > 0);
}

static void test_detach(void **state)
{
	struct contract *c = *state;
	struct crex_text text = CREX_TEXT_INIT;
	OK(c, crex_deployment_start(c->d, NULL, &c->err));
	if (!c->kind->can_detach) {
		FAILS(c, crex_deployment_detach(c->d, &text, &c->err), CREX_E_UNSUPPORTED);
		use(c);
		return;
	}
	use(c);
	OK(c, crex_deployment_detach(c->d, &text, &c->err));
	assert_null(crex_deployment_runtime(c->d, &c->err));
	FAILS(c, -1, CREX_E_DEPLOYMENT_NOT_STARTED);
	OK(c, crex_deployment_stop(c->d, NULL, &c->err)); /* it has nothing any more */
	struct crex_deployment *resumed = crex_deployment_resume(text.data, text.len, &c->err);
	assert_non_null(resumed);
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	action.command = crex_str_of("true");
	OK(c, crex_runtime_run_in_session(crex_deployment_runtime(resumed, &c->err), &action, NULL, NULL, &c->err));
	OK(c, crex_deployment_stop(resumed, NULL, &c->err));
	OK(c, crex_deployment_start(resumed, NULL, &c->err));
	crex_deployment_free(resumed);
	text.data[text.len / 2] = '\0';
	assert_null(crex_deployment_resume(text.data, text.len, &c->err));
	FAILS(c, -1, CREX_E_CONFIG);
	crex_text_clear(&text);
}

static int make_session(struct crex_deployment *d, const char *name)
{
	struct crex_create_session_request create = CREX_CREATE_SESSION_REQUEST_INIT;
	create.session = crex_str_of(name);
	create.startup_timeout = 20;
	return crex_runtime_create_session(crex_deployment_runtime(d, NULL), &create, NULL, NULL, NULL);
}

static bool has_session(struct crex_deployment *d, const char *name)
{
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	action.session = crex_str_of(name);
	action.command = crex_str_of("true");
	return crex_runtime_run_in_session(crex_deployment_runtime(d, NULL), &action, NULL, NULL, NULL) == 0;
}

/* Two of them on what may be one server: who stops takes his own sessions along, and nobody else's. */
static void test_sessions_of_others_stay(void **state)
{
	struct contract *c = *state;
	struct crex_deployment *other = c->kind->make(c, &c->err);
	struct crex_text text = CREX_TEXT_INIT;
	OK(c, crex_deployment_start(c->d, NULL, &c->err));
	OK(c, crex_deployment_start(other, NULL, &c->err));
	OK(c, make_session(c->d, "mine"));
	OK(c, make_session(other, "theirs"));
	OK(c, make_session(other, "theirs too"));
	if (c->kind->can_detach) {
		assert_int_equal(make_session(other, "mine"), -1); /* which makes it nobody else's */
		OK(c, crex_deployment_detach(other, &text, &c->err));
		crex_deployment_free(other);
		other = crex_deployment_resume(text.data, text.len, &c->err);
		crex_text_clear(&text);
	}
	OK(c, make_session(other, "late"));
	OK(c, crex_deployment_stop(other, NULL, &c->err));
	assert_true(has_session(c->d, "mine"));
	if (strcmp(c->kind->name, "dummy") != 0) { /* which knows no names */
		assert_false(has_session(c->d, "theirs"));
		assert_false(has_session(c->d, "theirs too"));
		assert_false(has_session(c->d, "late"));
	}
	crex_deployment_free(other);
}

static void test_check_and_gc(void **state)
{
	struct contract *c = *state;
	struct crex_text says = CREX_TEXT_INIT;
	OK(c, crex_deployment_check(c->kind->name, NULL, &says, &c->err));
	assert_true(says.len > 0);
	crex_text_clear(&says);
	FAILS(c, crex_deployment_gc(c->kind->name, false, NULL, NULL, NULL, NULL, &c->err), CREX_E_UNSUPPORTED);
	FAILS(c, crex_deployment_gc("no-such", false, NULL, NULL, NULL, NULL, &c->err), CREX_E_CONFIG);
	assert_int_equal(crex_deployment_check("no-such", NULL, &says, NULL), -1);
	bool listed = false;
	for (const char *const *type = crex_deployment_types(); *type; type++)
		listed = listed || strcmp(*type, c->kind->name) == 0;
	assert_true(listed);
}

/* ---- configs as JSON, for all kinds alike ---- */

static void refused(const char *json, size_t len, const char *hint)
{
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_deployment *d = crex_deployment_from_json(json, len, &err);
	if (d || err.code != CREX_E_CONFIG || !strstr(err.message, hint))
		fail_msg("%s\n  should have told of %s, said %s", json, hint, err.message);
	crex_error_clear(&err);
	assert_null(crex_deployment_from_json(json, len, NULL));
}

static void test_json(void **state)
{
	(void)state;
	static const struct {
		const char *json, *hint;
	} wrong[] = {
		{"", "line 1"},
		{"{", "line 1"},
		{"[]", "object"},
		{"\"local\"", "object"},
		{"null", "object"},
		{"{}", "'type' is required"},
		{"{\"type\":7}", "type"},
		{"{\"type\":\"\"}", "unknown deployment type"},
		{"{\"type\":\"dokcer\"}", "local"},
		{"{\"type\":\"local\",\"image\":\"x\"}", "unknown field 'image'"},
		{"{\"type\":\"local\",\"type\":\"local\"}", "duplicate"},
		{"{\"type\":\"local\"} x", "line 1"},
		{"{\"type\":\"remote\",\"hots\":\"x\",\"auth_token\":\"t\"}", "did you mean 'host'"},
		{"{\"type\":\"remote\",\"auth_token\":7}", "'auth_token'"},
		{"{\"type\":\"remote\",\"host\":null}", "'host'"},
		{"{\"type\":\"remote\",\"host\":\"\"}", "'host'"},
		{"{\"type\":\"remote\",\"host\":\"a\\u0000b\"}", ""},
		{"{\"type\":\"remote\",\"port\":0}", "'port'"},
		{"{\"type\":\"remote\",\"port\":65536}", "'port'"},
		{"{\"type\":\"remote\",\"port\":-1}", "'port'"},
		{"{\"type\":\"remote\",\"port\":80.5}", "'port'"},
		{"{\"type\":\"remote\",\"port\":99999999999999}", "'port'"},
		{"{\"type\":\"remote\",\"port\":\"80\"}", "'port'"},
		{"{\"type\":\"remote\",\"timeout\":0}", "'timeout'"},
		{"{\"type\":\"remote\",\"timeout\":-1}", "'timeout'"},
		{"{\"type\":\"remote\",\"timeout\":null}", "'timeout'"},
		{"{\"type\":\"remote\",\"timeout\":\"1\"}", "'timeout'"},
		{"{\"type\":\"remote\",\"headers\":\"a\"}", "'headers'"},
		{"{\"type\":\"remote\",\"headers\":[\"a: b\",7]}", "'headers'"},
		{"{\"type\":\"remote\",\"retries\":-1}", "'retries'"},
		{"{\"type\":\"remote\",\"retries\":1.5}", "'retries'"},
		{"{\"type\":\"remote\",\"auth_token\":\"secret-word\",\"port\":0}", "'port'"},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		refused(wrong[i].json, strlen(wrong[i].json), wrong[i].hint);
	refused("{\"type\":\"local\"\0}", 17, "");
	static const char *const right[] = {
		"{\"type\":\"local\"}",
		"{\"type\":\"dummy\"}",
		"{\"type\":\"remote\",\"auth_token\":\"t\",\"host\":\"https://"
		"x\",\"port\":null,\"timeout\":1,\"headers\":[],"
		"\"unix_socket\":null,\"ca_file\":null,\"retries\":0}",
		"{\"type\":\"remote\",\"headers\":[\"A: b\",\"C: d\"]}",
	};
	for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
		struct crex_error err = CREX_ERROR_INIT;
		struct crex_deployment *d = crex_deployment_from_json(right[i], strlen(right[i]), &err);
		if (!d)
			fail_msg("%s: %s", right[i], err.message);
		crex_deployment_free(d);
	}
	struct crex_error err = CREX_ERROR_INIT;
	assert_null(crex_deployment_resume("{\"type\":\"local\",\"state\":{}}", 27, &err));
	assert_int_equal(err.code, CREX_E_CONFIG);
	assert_null(crex_deployment_resume("{\"type\":\"remote\"}", 17, &err));
	assert_int_equal(err.code, CREX_E_CONFIG);
	crex_error_clear(&err);
}

/* ---- starts that fail, or are called off ---- */

/* A port that takes connections and never says a word. */
static int silent_port(int *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static struct crex_deployment *deployment_at(int port, const char *token)
{
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	config.auth_token = token;
	config.port = port;
	return crex_remote_deployment_new(&config, NULL);
}

static void test_failed_start(void **state)
{
	struct contract *c = *state;
	struct crex_deployment *d = deployment_at(c->server.port, "wrong");
	FAILS(c, crex_deployment_start(d, NULL, &c->err), CREX_E_AUTHENTICATION);
	assert_null(crex_deployment_runtime(d, NULL));
	OK(c, crex_deployment_stop(d, NULL, &c->err));
	crex_deployment_free(d);
	int port, fd = silent_port(&port);
	d = deployment_at(port, "t");
	double began = rig_now();
	FAILS(c, crex_deployment_start(d, &(struct crex_call){0.3, NULL}, &c->err), CREX_E_DEPLOYMENT_STARTUP);
	assert_true(rig_now() - began < 3); /* and not the patience of taking back */
	close(fd);
	FAILS(c, crex_deployment_start(d, &(struct crex_call){0.3, NULL}, &c->err), CREX_E_DEPLOYMENT_STARTUP);
	assert_non_null(strstr(c->err.message, "nothing listens")); /* the last answer is told */
	crex_deployment_free(d);
}

struct starter {
	pthread_t thread;
	struct crex_deployment *d;
	struct crex_error err;
	int result;
};

static void *start_in_thread(void *arg)
{
	struct starter *s = arg;
	s->result = crex_deployment_start(s->d, NULL, &s->err);
	return NULL;
}

static void test_stop_during_start(void **state)
{
	struct contract *c = *state;
	for (int by_free = 0; by_free < 2; by_free++) {
		int port, fd = silent_port(&port);
		struct starter s = {.d = deployment_at(port, "t"), .err = CREX_ERROR_INIT};
		assert_int_equal(pthread_create(&s.thread, NULL, start_in_thread, &s), 0);
		cleanup_fd int asked = accept4(fd, NULL, NULL, SOCK_CLOEXEC); /* the start is under way */
		assert_true(asked >= 0);
		FAILS(c, crex_deployment_start(s.d, NULL, &c->err), CREX_E_SWEREX);
		double began = rig_now();
		OK(c, crex_deployment_stop(s.d, NULL, &c->err));
		assert_true(rig_now() - began < 3);
		pthread_join(s.thread, NULL);
		assert_int_equal(s.result, -1);
		assert_int_equal(s.err.code, CREX_E_CANCELLED);
		crex_error_clear(&s.err);
		crex_deployment_free(s.d);
		close(fd);
	}
}

static void *start_and_stop(void *arg)
{
	struct starter *s = arg;
	for (int i = 0; i < 5; i++) {
		struct crex_error err = CREX_ERROR_INIT;
		if (crex_deployment_start(s->d, NULL, &err) < 0 && err.code != CREX_E_SWEREX &&
		    err.code != CREX_E_CANCELLED)
			s->result = -1;
		crex_error_clear(&err);
		if (crex_deployment_stop(s->d, NULL, NULL) < 0)
			s->result = -1;
	}
	return NULL;
}

static void test_many_threads(void **state)
{
	struct contract *c = *state;
	struct starter s[8];
	for (size_t i = 0; i < 8; i++) {
		s[i] = (struct starter){.d = c->d, .err = CREX_ERROR_INIT};
		assert_int_equal(pthread_create(&s[i].thread, NULL, start_and_stop, &s[i]), 0);
	}
	for (size_t i = 0; i < 8; i++) {
		pthread_join(s[i].thread, NULL);
		assert_int_equal(s[i].result, 0);
	}
	OK(c, crex_deployment_start(c->d, NULL, &c->err));
	use(c);
}

int main(int argc, char **argv)
{
	size_t kind = 0;
	while (kind < N_KINDS && (argc < 2 || strcmp(argv[1], kinds[kind].name) != 0))
		kind++;
	if (kind == N_KINDS) {
		fprintf(stderr, "usage: %s TYPE\n", argv[0]);
		return 2;
	}
	struct kind row = kinds[kind];
#define CASE(test)                            \
	{                                     \
#test, test, begin, end, &row \
	}
	const struct CMUnitTest tests[] = {
		CASE(test_life),
		CASE(test_before_start),
		CASE(test_over_before),
		CASE(test_free_while_started),
		CASE(test_hooks),
		CASE(test_detach),
		CASE(test_sessions_of_others_stay),
		CASE(test_check_and_gc),
		CASE(test_json),
		CASE(test_many_threads),
		/* these need a server beside the deployment */
		CASE(test_failed_start),
		CASE(test_stop_during_start),
	};
	size_t n = sizeof tests / sizeof *tests;
	return _cmocka_run_group_tests(row.name, tests, row.open ? n : n - 2, NULL, NULL);
}

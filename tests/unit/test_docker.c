/* test_docker.c: the docker deployment's parts that need no engine. */
#include "deploy/docker/docker.h"

#include "base/cleanup.h"
#include "deploy/server_binary.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static const struct deadline forever = {.at = CREX_NO_TIMEOUT};

static void test_arguments(void **state)
{
	(void)state;
	const char *const words[] = {"-e",	 "A=b c",    "--platform", "linux/arm64", "-it", "-d", "--network=web",
				     "--name=x", "--detach", "--init",	   NULL};
	const char *const kept[] = {"-e", "A=b c", "--network=web", "--init"};
	struct docker_arguments args;
	assert_int_equal(docker_arguments_read(words, &args, NULL), 0);
	assert_int_equal(args.n_words, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(args.words[i], kept[i]);
	assert_string_equal(args.platform, "linux/arm64");
	assert_string_equal(args.container, "x");
	assert_int_equal(args.network, DOCKER_NETWORK_BRIDGED);
	docker_arguments_deinit(&args);
	docker_arguments_deinit(&args);
}

static void test_arguments_network(void **state)
{
	(void)state;
	const struct {
		const char *words[3];
		int result;
		enum docker_network network;
	} cases[] = {
		{{"--network", "host"}, 0, DOCKER_NETWORK_HOST},
		{{"--net=host"}, 0, DOCKER_NETWORK_HOST},
		{{"--network-alias=host"}, 0, DOCKER_NETWORK_BRIDGED},
		{{"--network", "none"}, -1, 0},
		{{"--net=container:y"}, -1, 0},
		{{"--network"}, -1, 0},
		{{"--platform"}, -1, 0},
		{{"--name"}, -1, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct docker_arguments args = {0};
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		assert_int_equal(docker_arguments_read(cases[i].words, &args, &err), cases[i].result);
		assert_int_equal(err.code, cases[i].result ? CREX_E_CONFIG : CREX_OK);
		if (cases[i].result == 0)
			assert_int_equal(args.network, cases[i].network);
		docker_arguments_deinit(&args);
	}
	struct docker_arguments none = {0};
	assert_int_equal(docker_arguments_read(NULL, &none, NULL), 0);
	assert_int_equal(none.n_words, 0);
	docker_arguments_deinit(&none);
}

static void test_owner(void **state)
{
	(void)state;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		char *mine = owner_of_this_process();
		_exit(mine && write(ends[1], mine, strlen(mine)) > 0 ? 0 : 1);
	}
	char theirs[256] = "", edited[320];
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_true(read(ends[0], theirs, sizeof theirs - 1) > 0);
	assert_true(owner_is_gone(theirs)); /* dead, and nobody has asked for its status yet */
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(owner_is_gone(theirs));

	cleanup_free char *mine = owner_of_this_process();
	assert_false(owner_is_gone(mine));
	snprintf(edited, sizeof edited, "%s1", mine); /* the same pid, started at another time */
	assert_true(owner_is_gone(edited));
	snprintf(edited, sizeof edited, "x%s", theirs); /* another machine */
	assert_false(owner_is_gone(edited));
	char *boot = strchr(theirs, '/') + 1;
	*boot = *boot == '0' ? '1' : '0'; /* this machine, before it was booted */
	assert_true(owner_is_gone(theirs));
	assert_false(owner_is_gone(""));
	assert_false(owner_is_gone("host/boot/pid:[1]/x/y"));
	close(ends[0]);
	close(ends[1]);
}

static void test_engine_words(void **state)
{
	(void)state;
	const char *const argv[] = {
		"sh", "-c",
		"for i in 1 2 3 4; do echo out $i; done; echo 'docker: Error response: no.' >&2; echo \"See "
		"'docker run --help'.\" >&2",
		NULL};
	const struct process_spec spec = {.argv = argv};
	cleanup_process struct process p = {0};
	assert_int_equal(process_run(&p, &spec, &forever, NULL), 0);
	cleanup_free char *said = engine_words(&p, 2);
	assert_string_equal(said, "out 3\nout 4\ndocker: Error response: no.");
	assert_true(engine_said(&p, "ERROR RESPONSE"));
	assert_false(engine_said(&p, "out 5"));
}

static void test_remote_engines(void **state)
{
	(void)state;
	static const struct {
		const char *runtime, *name, *value;
		bool is_remote;
	} cases[] = {
		{"docker", "DOCKER_HOST", "unix:///run/x.sock", false},
		{"docker", "DOCKER_HOST", "tcp://10.0.0.1:2375", true},
		{"/usr/bin/docker", "DOCKER_HOST", "ssh://user@box", true},
		{"docker", "DOCKER_CONTEXT", "default", false},
		{"no-such-docker", "DOCKER_CONTEXT", "elsewhere", true}, /* can't be asked: copying always works */
		{"podman", "DOCKER_HOST", "tcp://10.0.0.1:2375", false},
		{"podman", "CONTAINER_HOST", "unix:///run/x.sock", false},
		{"podman", "CONTAINER_HOST", "ssh://user@box", true},
		{"podman", "CONTAINER_CONNECTION", "box", true},
		{"/opt/podman-remote", "HOME", "/", true},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		static const char *const names[] = {"DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST",
						    "CONTAINER_CONNECTION"};
		for (size_t j = 0; j < sizeof names / sizeof *names; j++)
			unsetenv(names[j]);
		setenv("DOCKER_CONFIG", "/nonexistent", 1);
		setenv(cases[i].name, cases[i].value, 1);
		assert_int_equal(engine_is_remote(cases[i].runtime, &forever), cases[i].is_remote);
	}
}

static void test_server_architectures(void **state)
{
	(void)state;
	assert_string_equal(server_binary_architecture("amd64"), "x86_64");
	assert_string_equal(server_binary_architecture("aarch64"), "aarch64");
	assert_null(server_binary_architecture("s390x"));
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	assert_null(server_binary_find("/nonexistent/server", "x86_64", &err));
	assert_int_equal(err.code, CREX_E_FILE_NOT_FOUND);
	assert_null(server_binary_find("/etc/passwd", "x86_64", &err));
	assert_int_equal(err.code, CREX_E_CONFIG);
	assert_null(server_binary_find("/proc/self/exe", "x86_64", &err)); /* this very program is linked dynamically */
	assert_int_equal(err.code, CREX_E_CONFIG);
}

/* /bin/true is an engine that never has such a container. */
static void test_plan(void **state)
{
	(void)state;
	static const char *const user_named[] = {"--name=x", NULL};
	for (int i = 0; i < 2; i++) {
		struct crex_docker_config config = CREX_DOCKER_CONFIG_INIT;
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		config.container_runtime = "/bin/true";
		config.docker_args = i == 0 ? NULL : user_named;
		struct crex_deployment *d = crex_docker_deployment_new(&config, &err);
		assert_non_null(d);
		struct crex_text plan = CREX_TEXT_INIT, again = CREX_TEXT_INIT;
		assert_int_equal(crex_deployment_plan(d, &plan, &err), 0);
		assert_int_equal(crex_deployment_plan(d, &again, &err), 0);
		assert_string_not_equal(plan.data, again.data);
		assert_non_null(strstr(plan.data, i == 0 ? "\"container\":\"crex-" : "\"container\":\"x\""));
		crex_deployment_free(d);

		struct crex_deployment *cut_off = crex_deployment_resume(plan.data, plan.len, &err);
		assert_non_null(cut_off);
		assert_null(crex_deployment_runtime(cut_off, &err));
		assert_int_equal(err.code, CREX_E_DEPLOYMENT_NOT_STARTED);
		assert_int_equal(crex_deployment_is_alive(cut_off, NULL, NULL, &err), -1);
		const struct crex_call brief = {.timeout = 0.1};
		assert_int_equal(crex_deployment_stop(cut_off, &brief, &err), -1); /* it may still come */
		assert_int_equal(err.code, CREX_E_DEADLINE);
		assert_int_equal(crex_deployment_stop(cut_off, NULL, &err), 0);
		assert_int_equal(crex_deployment_stop(cut_off, &brief, &err), 0);
		crex_deployment_free(cut_off);
		crex_text_clear(&plan);
		crex_text_clear(&again);
	}
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	static const char broken[] = "{\"type\":\"docker\",\"state\":{\"planned\":\"crex-1\"}}";
	assert_null(crex_deployment_resume(broken, sizeof broken - 1, &err));
	assert_int_equal(err.code, CREX_E_CONFIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),      cmocka_unit_test(test_arguments_network),
		cmocka_unit_test(test_owner),	       cmocka_unit_test(test_engine_words),
		cmocka_unit_test(test_remote_engines), cmocka_unit_test(test_server_architectures),
		cmocka_unit_test(test_plan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_process.c: helper programs: what they write, how they end, and that nothing of them stays. */
#include "deploy/process.h"

#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const struct deadline forever = {.at = CREX_NO_TIMEOUT};

struct lines {
	char text[2][16384];
	const char *enough;
};

static bool on_line(void *arg, enum process_stream stream, const char *line)
{
	struct lines *lines = arg;
	strcat(strcat(lines->text[stream], line), "|");
	return lines->enough && strcmp(line, lines->enough) == 0;
}

static int shell(struct process *p, const char *script, struct lines *lines, const char *const *env, size_t max,
		 struct crex_error *err)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const struct process_spec spec = {
		.argv = argv, .env = env, .max_output = max, .on_line = lines ? on_line : NULL, .arg = lines};
	return process_start(p, &spec, err);
}

static void test_output_lines_and_code(void **state)
{
	(void)state;
	struct process p;
	struct lines lines = {.enough = NULL};
	assert_int_equal(shell(&p, "echo a; echo; printf 'b\\r\\nlast'; echo bad >&2; exit 3", &lines, NULL, 0, NULL),
			 0);
	assert_int_equal(process_wait(&p, &forever, NULL), PROCESS_ENDED);
	assert_int_equal(process_wait(&p, &forever, NULL), PROCESS_ENDED);
	assert_int_equal(process_exit_code(&p), 3);
	assert_string_equal(lines.text[0], "a||b|last|");
	assert_string_equal(lines.text[1], "bad|");
	assert_string_equal(process_output(&p, PROCESS_STDOUT), "a\n\nb\r\nlast");
	assert_string_equal(process_output(&p, PROCESS_STDERR), "bad\n");
	process_deinit(&p);
	process_deinit(&p);
	assert_string_equal(process_output(&p, PROCESS_STDOUT), "");
}

static void test_a_line_is_enough(void **state)
{
	(void)state;
	struct process p;
	struct lines lines = {.enough = "ready"};
	assert_int_equal(shell(&p, "echo one; echo ready; sleep 1000", &lines, NULL, 0, NULL), 0);
	pid_t pid = p.pid;
	assert_int_equal(process_wait(&p, &forever, NULL), PROCESS_TOLD);
	assert_false(p.ended);
	const struct deadline now = {.at = 0};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	assert_int_equal(process_wait(&p, &now, &err), -1);
	assert_int_equal(err.code, CREX_E_DEADLINE);
	process_kill(&p);
	assert_true(p.ended);
	assert_int_equal(process_exit_code(&p), 128 + SIGKILL);
	struct deadline reaped = forever; /* by init, which is not ours to wait for */
	deadline_limit(&reaped, 20);
	while (kill(-pid, 0) == 0)
		assert_int_equal(deadline_pause(&reaped, 0.005, NULL), 0);
	assert_int_equal(errno, ESRCH);
	process_deinit(&p);
}

static void test_only_the_newest_is_kept(void **state)
{
	(void)state;
	struct process p;
	assert_int_equal(
		shell(&p, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", NULL, NULL, 4096, NULL), 0);
	assert_int_equal(process_wait(&p, &forever, NULL), PROCESS_ENDED);
	const char *out = process_output(&p, PROCESS_STDOUT);
	assert_true(p.truncated[0] && !p.truncated[1]);
	assert_true(strlen(out) <= 4096 && strlen(out) > 1024);
	assert_string_equal(out + strlen(out) - 11, "line 19999\n");
	process_deinit(&p);
}

static void test_a_long_line_is_cut(void **state)
{
	(void)state;
	struct process p;
	struct lines lines = {.enough = NULL};
	assert_int_equal(shell(&p, "printf %010000d 7; echo; echo next", &lines, NULL, 0, NULL), 0);
	assert_int_equal(process_wait(&p, &forever, NULL), PROCESS_ENDED);
	assert_int_equal(strcspn(lines.text[0], "|"), 4096);
	assert_string_equal(strchr(lines.text[0], '|'), "|next|");
	process_deinit(&p);
}

static void test_environment(void **state)
{
	(void)state;
	struct process p;
	const char *const env[] = {"PROCESS_A=new", "PROCESS_C=3", NULL};
	setenv("PROCESS_A", "old", 1);
	setenv("PROCESS_AB", "kept", 1);
	assert_int_equal(
		shell(&p, "echo $PROCESS_A $PROCESS_AB $PROCESS_C; env | grep -c ^PROCESS_A=", NULL, env, 0, NULL), 0);
	assert_int_equal(process_wait(&p, &forever, NULL), PROCESS_ENDED);
	assert_string_equal(process_output(&p, PROCESS_STDOUT), "new kept 3\n1\n");
	process_deinit(&p);
}

/* A daemon that keeps the pipes open doesn't keep us. */
static void test_the_end_is_not_that_of_the_pipes(void **state)
{
	(void)state;
	struct process p;
	assert_int_equal(shell(&p, "setsid sleep 1000 & echo $!", NULL, NULL, 0, NULL), 0);
	struct deadline soon = forever;
	deadline_limit(&soon, 20);
	assert_int_equal(process_wait(&p, &soon, NULL), PROCESS_ENDED);
	kill((pid_t)atoi(process_output(&p, PROCESS_STDOUT)), SIGKILL);
	process_deinit(&p);
}

static void test_no_terminal_and_nothing_on_stdin(void **state)
{
	(void)state;
	struct process p;
	assert_int_equal(shell(&p, "cat; (exec </dev/tty) 2>/dev/null && echo tty; echo end", NULL, NULL, 0, NULL), 0);
	assert_int_equal(process_wait(&p, &forever, NULL), PROCESS_ENDED);
	assert_string_equal(process_output(&p, PROCESS_STDOUT), "end\n");
	process_deinit(&p);
}

static void test_stdin_from_a_descriptor(void **state)
{
	(void)state;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "given", 5), 5);
	close(ends[1]);
	const char *const argv[] = {"cat", NULL};
	const struct process_spec spec = {.argv = argv, .stdin_fd = ends[0]};
	struct process p;
	assert_int_equal(process_run(&p, &spec, &forever, NULL), 0);
	assert_string_equal(process_output(&p, PROCESS_STDOUT), "given");
	process_deinit(&p);
	close(ends[0]);
}

static void test_a_program_that_is_not_there(void **state)
{
	(void)state;
	const char *const absent[] = {"no-such-program", NULL}, *const directory[] = {"/etc", NULL};
	const struct process_spec first = {.argv = absent}, second = {.argv = directory};
	struct process p;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	assert_int_equal(process_run(&p, &first, &forever, &err), -1);
	assert_int_equal(err.code, CREX_E_FILE_NOT_FOUND);
	assert_int_equal(process_run(&p, &second, &forever, &err), -1);
	assert_int_equal(err.code, CREX_E_PERMISSION);
	process_deinit(&p);
}

static void *trigger(void *cancel)
{
	crex_cancel_trigger(cancel);
	return NULL;
}

static void test_called_off(void **state)
{
	(void)state;
	const char *const argv[] = {"sh", "-c", "sleep 1000 & sleep 1000", NULL};
	const struct process_spec spec = {.argv = argv};
	struct process p;
	pthread_t thread;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct crex_cancel *cancel = crex_cancel_new(NULL);
	const struct deadline until = {.at = CREX_NO_TIMEOUT, .cancel = cancel};
	assert_int_equal(pthread_create(&thread, NULL, trigger, cancel), 0);
	assert_int_equal(process_run(&p, &spec, &until, &err), -1);
	assert_int_equal(err.code, CREX_E_CANCELLED);
	pthread_join(thread, NULL);
	crex_cancel_free(cancel);
}

static size_t open_descriptors(void)
{
	size_t n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_no_descriptor_stays(void **state)
{
	(void)state;
	struct process p;
	size_t before = open_descriptors();
	for (int i = 0; i < 20; i++) {
		assert_int_equal(shell(&p, i % 2 ? "echo hi" : "sleep 1000", NULL, NULL, 0, NULL), 0);
		if (i % 2)
			assert_int_equal(process_wait(&p, &forever, NULL), PROCESS_ENDED);
		process_deinit(&p);
	}
	const char *const absent[] = {"no-such-program", NULL};
	const struct process_spec spec = {.argv = absent};
	assert_int_equal(process_start(&p, &spec, NULL), -1);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output_lines_and_code),
		cmocka_unit_test(test_a_line_is_enough),
		cmocka_unit_test(test_only_the_newest_is_kept),
		cmocka_unit_test(test_a_long_line_is_cut),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_the_end_is_not_that_of_the_pipes),
		cmocka_unit_test(test_no_terminal_and_nothing_on_stdin),
		cmocka_unit_test(test_stdin_from_a_descriptor),
		cmocka_unit_test(test_a_program_that_is_not_there),
		cmocka_unit_test(test_called_off),
		cmocka_unit_test(test_no_descriptor_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/contract/sessions.c: what sessions answer. */
#include "rig.h"

static void test_round_trip(struct contract *c)
{
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_text said = CREX_TEXT_INIT;
	req.session = crex_str_of("s");
	req.startup_timeout = 20;
	OK(c, crex_runtime_create_session(c->rt, &req, NULL, &said, &c->err));
	assert_non_null(said.data);
	crex_text_clear(&said);
	expect_run(c, "echo hi", "hi\n", 0);
	expect_run(c, "", "", 0);
	assert_string_equal(c->obs.failure_reason, "");
	assert_false(c->obs.session_ended);
	OK(c, crex_runtime_close_session(c->rt, (struct crex_str)CREX_STR("s"), NULL, &c->err));
	FAILS(c, run(c, "s", "true", CREX_CHECK_RAISE), CREX_E_SESSION_DOES_NOT_EXIST);
}

static void test_default_name(struct contract *c)
{
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	req.startup_timeout = 20;
	action.command = crex_str_of("true");
	OK(c, crex_runtime_create_session(c->rt, &req, NULL, NULL, &c->err));
	OK(c, crex_runtime_run_in_session(c->rt, &action, NULL, NULL, &c->err));
}

/* What a failing call must leave as it was. */
static void test_reply_untouched(struct contract *c)
{
	struct crex_observation obs;
	struct crex_text text;
	memset(&obs, 0x5a, sizeof obs);
	memset(&text, 0x5a, sizeof text);
	const struct crex_observation obs_before = obs;
	const struct crex_text text_before = text;
	struct crex_bash_action action = action_of("true");
	struct crex_bash_interrupt_action interrupt = CREX_BASH_INTERRUPT_ACTION_INIT;
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_read_file_request read = CREX_READ_FILE_REQUEST_INIT;
	read.path = crex_str_of(contract_path(c, "none"));
	create(c, "default");
	interrupt.session = crex_str_of("none");
	FAILS(c, crex_runtime_run_in_session(c->rt, &action, NULL, &obs, &c->err), CREX_E_SESSION_DOES_NOT_EXIST);
	FAILS(c, crex_runtime_interrupt(c->rt, &interrupt, NULL, &obs, &c->err), CREX_E_SESSION_DOES_NOT_EXIST);
	FAILS(c, crex_runtime_create_session(c->rt, &req, NULL, &text, &c->err), CREX_E_SESSION_EXISTS);
	FAILS(c, crex_runtime_read_file(c->rt, &read, NULL, &text, &c->err), CREX_E_FILE_NOT_FOUND);
	assert_memory_equal(&obs, &obs_before, sizeof obs);
	assert_memory_equal(&text, &text_before, sizeof text);
}

/* Nobody has to take a reply or an error. */
static void test_nulls(struct contract *c)
{
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_bash_action action = CREX_BASH_ACTION_INIT;
	struct crex_read_file_request read = CREX_READ_FILE_REQUEST_INIT;
	struct crex_write_file_request write = CREX_WRITE_FILE_REQUEST_INIT;
	struct crex_execute_request exec = rig_shell("true");
	req.startup_timeout = 20;
	action.command = crex_str_of("true");
	write.path = crex_str_of(contract_path(c, "f"));
	read.path = write.path;
	assert_int_equal(crex_runtime_is_alive(c->rt, NULL, NULL, NULL), 0);
	assert_int_equal(crex_runtime_create_session(c->rt, &req, NULL, NULL, NULL), 0);
	assert_int_equal(crex_runtime_create_session(c->rt, &req, NULL, NULL, NULL), -1);
	assert_int_equal(crex_runtime_run_in_session(c->rt, &action, NULL, NULL, NULL), 0);
	assert_int_equal(crex_runtime_execute(c->rt, &exec, NULL, NULL, NULL), 0);
	assert_int_equal(crex_runtime_write_file(c->rt, &write, NULL, NULL), 0);
	assert_int_equal(crex_runtime_read_file(c->rt, &read, NULL, NULL, NULL), 0);
	read.path = crex_str_of("/no/such/file");
	assert_int_equal(crex_runtime_read_file(c->rt, &read, NULL, NULL, NULL), -1);
	assert_int_equal(crex_runtime_close_session(c->rt, (struct crex_str)CREX_STR("none"), NULL, NULL), -1);
	assert_int_equal(crex_runtime_close(c->rt, NULL, NULL), 0);
	assert_null(crex_runtime_free(NULL));
}

static void test_check(struct contract *c)
{
	create(c, "s");
	canned_error(c, CREX_E_NON_ZERO_EXIT_CODE, "my words: exit code 7: out", NULL);
	struct crex_bash_action action = action_of("echo out; (exit 7)");
	action.check = CREX_CHECK_RAISE;
	action.error_msg = crex_str_of("my words");
	FAILS(c, run_action(c, &action), CREX_E_NON_ZERO_EXIT_CODE);
	assert_non_null(strstr(c->err.message, "my words"));
	assert_non_null(strstr(c->err.message, "out"));
	expect_run(c, "(exit 7)", "", 7);
	if (c->kind == KIND_DUMMY)
		return;
	OK(c, run(c, "s", "(exit 7)", CREX_CHECK_IGNORE));
	assert_false(c->obs.has_exit_code);
}

static void test_state_stays(struct contract *c)
{
	create(c, "s");
	expect_run(c, "cd /; v='a b'; f() { echo \"$v:$1\"; }; shopt -s extglob; alias g='f 1'", "", 0);
	expect_run(c, "g; pwd", "a b:1\n/\n", 0);
	expect_run(c, "(exit 9)", "", 9);
	expect_run(c, "echo $?", "9\n", 0);
	OK(c, run(c, "s", "set -x; PS1=x PROMPT_COMMAND='echo no'", CREX_CHECK_SILENT));
	OK(c, run(c, "s", "set +x", CREX_CHECK_SILENT));
	expect_run(c, "echo \"#!/bin/bash\" \"!!\"", "#!/bin/bash !!\n", 0);
}

static void expect_bytes(struct contract *c, const char *command, const char *want, size_t len)
{
	canned(c, want, len, 0);
	OK(c, run(c, "s", command, CREX_CHECK_SILENT));
	assert_int_equal(c->obs.output_len, len);
	assert_memory_equal(c->obs.output, want, len);
}
#define BYTES(c, command, literal) expect_bytes((c), (command), (literal), sizeof(literal) - 1)

static void test_exact_bytes(struct contract *c)
{
	create(c, "s");
	BYTES(c, "printf 'a\\0b'", "a\0b");
	BYTES(c, "printf 'x\\377\\xc3y'", "x\\xff\\xc3y");
	BYTES(c, "printf '  \\n\\n a \\n\\n'", "  \n\n a \n\n");
	BYTES(c, "printf 'gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n'", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n");
	BYTES(c, "printf 'a\\tb' | od -An -c", "   a  \\t   b\n");
}

static void test_nul_in_command(struct contract *c)
{
	create(c, "s");
	struct crex_bash_action action = action_of("");
	action.command = (struct crex_str)CREX_STR("echo a\0b");
	assert_int_equal(run_action(c, &action), -1);
	assert_true(c->err.code == CREX_E_VALUE || c->err.code == CREX_E_BASH_INCORRECT_SYNTAX);
	expect_run(c, "echo on", "on\n", 0);
}

static void test_large_heredoc(struct contract *c)
{
	enum { LINES = 16384, WIDTH = 64 };
	static const char head[] = "md5sum <<'END'\n", tail[] = "END\necho next";
	char *command = malloc(sizeof head + LINES * WIDTH + sizeof tail), *at = command;
	create(c, "s");
	at = stpcpy(at, head);
	for (int i = 0; i < LINES; i++)
		at += sprintf(at, "%08d\t$v `x` \\ \"'%*s|\n", i, WIDTH - 8 - 14, "");
	size_t body = (size_t)(at - command) - (sizeof head - 1);
	FILE *f = fopen(contract_path(c, "body"), "we");
	fwrite(command + sizeof head - 1, 1, body, f);
	fclose(f);
	stpcpy(at, tail);
	char *want = rig_run("md5sum <%s/body; echo next", c->home);
	expect_run(c, command, want, 0);
	free(want);
	free(command);
}

static void test_timeout_and_interrupt(struct contract *c)
{
	static const char *const extras[] = {"output", "so far\n", NULL};
	create(c, "s");
	canned_error(c, CREX_E_COMMAND_TIMEOUT, "timeout after 0.3 seconds while running command", extras);
	struct crex_bash_action action = action_of(marked(c, "echo so far; sleep MARK; echo never"));
	action.timeout = 0.3;
	FAILS(c, run_action(c, &action), CREX_E_COMMAND_TIMEOUT);
	assert_non_null(strstr(c->err.message, "0.3"));
	assert_non_null(crex_error_extra(&c->err, "output"));
	assert_string_equal(crex_error_extra(&c->err, "output"), "so far\n");
	struct crex_bash_interrupt_action interrupt = CREX_BASH_INTERRUPT_ACTION_INIT;
	interrupt.session = crex_str_of("s");
	canned(c, "", 0, 130);
	OK(c, crex_runtime_interrupt(c->rt, &interrupt, NULL, NULL, &c->err));
	expect_run(c, "echo on", "on\n", 0);
	wait_for_marked(c, 0);
}

static void test_interrupt_kills(struct contract *c)
{
	create(c, "s");
	char command[300];
	const char *ready = contract_path(c, "ready");
	snprintf(command, sizeof command, "bash -c 'trap \"\" INT TSTP TERM; >%s; while :; do sleep %s; done'", ready,
		 c->mark);
	struct crex_bash_action action = action_of(command);
	action.timeout = 0.2;
	FAILS(c, run_action(c, &action), CREX_E_COMMAND_TIMEOUT);
	wait_for_file(ready);
	struct crex_bash_interrupt_action interrupt = CREX_BASH_INTERRUPT_ACTION_INIT;
	interrupt.session = crex_str_of("s");
	OK(c, crex_runtime_interrupt(c->rt, &interrupt, NULL, NULL, &c->err));
	expect_run(c, "echo on", "on\n", 0);
}

static void test_syntax_error(struct contract *c)
{
	static const char *const extras[] = {"bash_stdout", "", "bash_stderr", "syntax error", NULL};
	create(c, "s");
	const char *mark = contract_path(c, "mark");
	char command[300];
	snprintf(command, sizeof command, "touch %s\nif true; then (", mark);
	canned_error(c, CREX_E_BASH_INCORRECT_SYNTAX, "syntax error", extras);
	FAILS(c, run(c, "s", command, CREX_CHECK_RAISE), CREX_E_BASH_INCORRECT_SYNTAX);
	assert_non_null(crex_error_extra(&c->err, "bash_stdout"));
	assert_non_null(crex_error_extra(&c->err, "bash_stderr"));
	assert_non_null(strstr(crex_error_extra(&c->err, "bash_stderr"), "syntax error"));
	assert_int_equal(access(mark, F_OK), -1);
	expect_run(c, "echo on", "on\n", 0);
}

static void test_shell_ends(struct contract *c)
{
	create(c, "s");
	OK(c, run(c, "s", "echo bye; exit 3", CREX_CHECK_SILENT));
	assert_true(c->obs.session_ended);
	assert_int_equal(c->obs.exit_code, 3);
	assert_string_equal(c->obs.output, "bye\n");
	assert_string_not_equal(c->obs.failure_reason, "");
	FAILS(c, run(c, "s", "true", CREX_CHECK_SILENT), CREX_E_SESSION_DOES_NOT_EXIST);
	create(c, "s");
	OK(c, run(c, "s", "kill -9 $$", CREX_CHECK_SILENT));
	assert_true(c->obs.session_ended);
	create(c, "s");
	expect_run(c, "echo on", "on\n", 0);
}

static void test_interactive(struct contract *c)
{
	create(c, "s");
	static const struct crex_str ready = CREX_STR("(ready) ");
	struct crex_bash_action action =
		action_of("sh -c 'printf \"(ready) \"; read x; echo got $x; printf \"(ready) \"; read y'");
	action.expect = (struct crex_str_list){&ready, 1};
	OK(c, run_action(c, &action));
	assert_string_equal(c->obs.expect_string, "(ready) ");
	action.command = crex_str_of("a word");
	action.is_interactive_command = true;
	OK(c, run_action(c, &action));
	assert_non_null(strstr(c->obs.output, "got a word"));
	action.command = crex_str_of("");
	action.is_interactive_command = false;
	action.is_interactive_quit = true;
	OK(c, run_action(c, &action));
	expect_run(c, "echo on", "on\n", 0);
}

static void test_startup(struct contract *c)
{
	const char *slow = contract_path(c, "slow"), *good = contract_path(c, "good");
	free(shell(c, "true"));
	free(rig_run("echo 'sleep %s' >%s; echo 'V=set; echo hello' >%s", c->mark, slow, good));
	struct crex_create_session_request req = CREX_CREATE_SESSION_REQUEST_INIT;
	struct crex_str files[] = {crex_str_of(slow), crex_str_of(good)};
	req.session = crex_str_of("s");
	req.startup_source = (struct crex_str_list){files, 1};
	req.startup_timeout = 0.4;
	FAILS(c, crex_runtime_create_session(c->rt, &req, NULL, NULL, &c->err), CREX_E_COMMAND_TIMEOUT);
	wait_for_marked(c, 0);
	files[0] = crex_str_of("/no/such/file");
	req.startup_source.count = 2;
	req.startup_timeout = 20;
	struct crex_text said = CREX_TEXT_INIT;
	OK(c, crex_runtime_create_session(c->rt, &req, NULL, &said, &c->err));
	assert_non_null(strstr(said.data, "hello"));
	assert_non_null(strstr(said.data, "/no/such/file"));
	crex_text_clear(&said);
	expect_run(c, "echo $V", "set\n", 0);
}

static void test_odd_names(struct contract *c)
{
	static const char *const names[] = {"", "a b", "gr\xc3\xbc\xc3\x9f", "'\"\\\n", "../x"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		create(c, names[i]);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		OK(c, crex_runtime_close_session(c->rt, crex_str_of(names[i]), NULL, &c->err));
	FAILS(c, crex_runtime_close_session(c->rt, crex_str_of("a b"), NULL, &c->err), CREX_E_SESSION_DOES_NOT_EXIST);
}

const struct contract_case session_cases[] = {
	{"round trip", test_round_trip, ANY},
	{"default name", test_default_name, ANY},
	{"a failing call leaves the reply alone", test_reply_untouched, ANY},
	{"replies and errors may be NULL", test_nulls, ANY},
	{"check", test_check, ANY},
	{"state stays", test_state_stays, REAL},
	{"exact bytes", test_exact_bytes, ANY},
	{"NUL in a command", test_nul_in_command, REAL},
	{"large heredoc", test_large_heredoc, ANY},
	{"timeout and interrupt", test_timeout_and_interrupt, ANY},
	{"interrupt kills", test_interrupt_kills, REAL},
	{"syntax error", test_syntax_error, ANY},
	{"the shell ends", test_shell_ends, REAL},
	{"interactive program", test_interactive, REAL},
	{"startup", test_startup, REAL},
	{"odd session names", test_odd_names, ANY},
	{0},
};

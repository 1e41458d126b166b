/* test_session.c: sessions with a real bash on a real pty: what a command leaves, how it ends, who is told. */
#include "engine_rig.h"

#define RIG struct rig *r = *state

static void test_run(void **state)
{
	RIG;
	struct answer *a = rig_create(r, "s");
	assert_string_equal(a->output, "");
	RUN("echo hi", "hi\n", 0);
	RUN("printf '  a\\n\\n'", "  a\n\n", 0);
	RUN("false", "", 1);
	RUN("(exit 7)", "", 7);
	RUN("", "", 0);
	RUN(" \n# a comment\n\t", "", 0);
	RUN("echo one; echo two >&2", "one\ntwo\n", 0);
	RUN("tty -s && echo tty", "tty\n", 0);
	RUN("cd /usr && x=5 && f() { echo f:$1; }", "", 0);
	RUN("f $x; pwd", "f:5\n/usr\n", 0);
	a = rig_run(r, "echo hi");
	assert_string_equal(a->expect_string, "SHELLPS1PREFIX");
	assert_string_equal(a->failure_reason, "");
	assert_false(a->ended || a->truncated);
}

static void test_status_and_last_argument(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("(exit 42)", "", 42);
	RUN("echo $?", "42\n", 0);
	RUN("echo $?", "0\n", 0);
	RUN("true one 'two three'", "", 0);
	RUN("echo \"$_\"", "two three\n", 0);
	RUN("false $'a\\nb\\'c:\\x01'", "", 1);
	RUN("printf '%s|%q' $? \"$_\"", "1|$'a\\nb\\'c:\\001'", 0);
	RUN("(exit 3)", "", 3);
	RUN("", "", 0);
	RUN("echo $?", "3\n", 0);
	RUN("set -e; (exit 0)", "", 0);
	RUN("(exit 5) || echo $?", "5\n", 0);
	RUN("set +e", "", 0);
	/* the user's IFS, whatever it holds, has no part in how commands are read */
	static const char *const ifs[] = {"IFS=_e", "IFS=0123456789", "IFS='{ }'", "IFS=$'\\001\\177'", "IFS=$'\\n'\\;",
					  "IFS="};
	for (size_t i = 0; i < sizeof ifs / sizeof *ifs; i++) {
		RUN(ifs[i], "", 0);
		RUN("\n printf '%s|' ' x ' _e2 '}' | od -An -c | tr -d '\\n'; printf '\001' | od -An -tx1 \n\n",
		    "       x       |   _   e   2   |   }   | 01\n", 0);
	}
	RUN("unset -v IFS", "", 0);
	/* nothing else of ours is left about */
	RUN("declare -F | grep -v __crex_[adfprsx]", "", 1);
	RUN("echo ${!__crex*} [$__crex]", "__crex __crex_u []\n", 0);
}

/* What happens between the report that answers the client and the prompt. A function of ours that is replaced makes the
 * moment as long as it takes. */
static void test_settling(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("__crex_x() { sleep 0.3; }; x=1", "", 0);
	struct answer *a = rig_interrupt(r); /* nothing runs: answered at once, and harms nothing */
	assert_int_equal(a->code, CREX_OK);
	assert_string_equal(a->output, "");
	a = rig_run_opt(r, "echo too early", (struct run){.timeout = 0.05});
	assert_int_equal(a->code, CREX_E_COMMAND_TIMEOUT);
	assert_non_null(strstr(a->message, "has not started"));
	RUN("echo $x", "1\n", 0);
	RUN("__crex_x() { kill -INT $$; }; (exit 7)", "", 7); /* given up: the clean-up brings ours back */
	RUN("echo $?; declare -f __crex_x | grep -c kill", "7\n0\n", 1);
	RUN("__crex_x() { return 1; }; (exit 8)", "", 8);
	RUN("echo $?", "8\n", 0);
	RUN("__crex_x() { kill -KILL $$; }; echo last; (exit 9)", "last\n", 9);
	a = rig_run(r, "echo no");
	assert_int_equal(a->code, CREX_E_SESSION_DOES_NOT_EXIST);
	rig_create(r, "s"); /* the name is free */
	RUN("echo new", "new\n", 0);
}

static void test_state_that_is_carried(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("set -a; y=2", "", 0);
	RUN("[[ -o allexport ]] && env | grep -c __crex; z=3; env | grep -c '^[yz]='", "0\n2\n", 0);
	RUN("set +a; set -u", "", 0);
	RUN("echo $-", "himuBs\n", 0);
	RUN("set +u; : $(printf '%0100000d' 7)", "", 0);
	RUN("echo ${#_}", "100000\n", 0);
	RUN("trap 'echo \"debug $x\"' DEBUG; x=5", "debug \n", 0); /* a new one: taken away by the clean-up */
	RUN("echo a", "debug 5\na\n", 0);
	RUN("trap 'echo \"new $x\"' DEBUG", "debug 5\n", 0);
	RUN("echo b", "new 5\nb\n", 0);
	RUN("trap - DEBUG", "new 5\n", 0);
	RUN("echo $_", "DEBUG\n", 0);
}

static void test_check(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a = rig_run_opt(r, "echo out; false", (struct run){.check = CREX_CHECK_RAISE});
	assert_int_equal(a->code, CREX_E_NON_ZERO_EXIT_CODE);
	assert_non_null(strstr(a->message, "'echo out; false' failed with exit code 1"));
	assert_non_null(strstr(a->message, "'out\\n'"));
	assert_string_equal(a->extra_output, "out\n");
	a = rig_run_opt(r, "false", (struct run){.check = CREX_CHECK_IGNORE});
	assert_int_equal(a->code, CREX_OK);
	assert_false(a->has_exit_code);
	a = rig_run_opt(r, "echo x", (struct run){.check = CREX_CHECK_RAISE});
	assert_int_equal(a->code, CREX_OK);
}

static void test_text_that_looks_like_ours(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("printf '\\034E12345678901234567890\\034'",
	    "\x1c"
	    "E12345678901234567890\x1c",
	    0);
	RUN("printf '\\034P12345678901234567890:0\\034\\n'; echo SHELLPS1PREFIX",
	    "\x1cP12345678901234567890:0\x1c\nSHELLPS1PREFIX\n", 0);
	RUN("printf '\\034'", "\x1c", 0);
	RUN("printf '\\034E123'; sleep 0.05; printf x",
	    "\x1c"
	    "E123x",
	    0);
	/* the prompt itself, which the shell knows, with and without something behind it */
	struct answer *a = rig_run(r, "echo -n \"${PS1@P}\"; sleep 0.1; echo end");
	assert_int_equal(a->output[0], 0x1c);
	assert_non_null(strstr(a->output, "\x1c"
					  "end\n"));
	a = rig_run(r, "echo -n \"${PS1@P}${PS1@P}\"");
	assert_int_equal(a->output_len, 2 * (a->output_len / 2));
	assert_memory_equal(a->output, a->output + a->output_len / 2, a->output_len / 2);
	assert_int_equal(a->output[0], 0x1c);
	RUN("echo $?", "0\n", 0);
}

static void test_flags_and_traps(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("set -x", "", 0);
	RUN("echo hi", "++ echo hi\nhi\n", 0);
	RUN("set +x", "++ set +x\n", 0);
	RUN("set -v", "", 0);
	RUN("echo v", "v\n", 0);
	RUN("set +v", "", 0);
	RUN("exec 9>/dev/null; BASH_XTRACEFD=9; set -x", "", 0);
	RUN("echo traced elsewhere", "traced elsewhere\n", 0);
	RUN("unset BASH_XTRACEFD; set +x", "++ set +x\n", 0);
}

static void test_nounset_is_no_trouble(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("set -u", "", 0);
	RUN("echo ok", "ok\n", 0);
	struct answer *a = rig_run(r, "echo $nowhere; echo not reached");
	assert_non_null(strstr(a->output, "nowhere: unbound variable"));
	assert_null(strstr(a->output, "not reached"));
	assert_int_not_equal(a->exit_code, 0);
	RUN("set +u; echo $nowhere.", ".\n", 0);
}

static void test_debug_and_err_traps(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("trap 'echo debug' DEBUG", "", 0);
	RUN("echo a; echo b", "debug\na\ndebug\nb\n", 0);
	RUN("trap - DEBUG", "debug\n", 0);
	RUN("echo a", "a\n", 0);
	RUN("trap 'echo err $?' ERR", "", 0);
	RUN("(exit 4)", "err 4\n", 4);
	RUN("echo $?", "4\n", 0);
	RUN("trap - ERR; false", "", 1);
	RUN("trap 'echo bye' EXIT", "", 0);
	RUN("echo a", "a\n", 0);
}

static void test_heredocs(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("cat <<EOF\na\tb\n}\nEOF\necho after", "a\tb\n}\nafter\n", 0);
	RUN("cat <<'}' | tr a b && echo then\naaa $x\n}", "bbb $x\nthen\n", 0);
	RUN("cat <<-EOF\n\ttab\n\tEOF\n", "tab\n", 0);
	size_t n = 300000;
	char *big = malloc(n + 64);
	strcpy(big, "wc -c <<'END'\n");
	size_t head = strlen(big);
	memset(big + head, 'x', n);
	for (size_t i = 100; i < n; i += 101)
		big[head + i] = '\n';
	strcpy(big + head + n, "\nEND");
	RUN(big, "300001\n", 0);
	memset(big, 'y', n);
	memcpy(big, "echo -n ", 8);
	big[n] = '\0';
	struct answer *a = rig_run(r, big);
	assert_int_equal(a->output_len, n - 8);
	free(big);
}

static void test_syntax_errors(void **state)
{
	RIG;
	rig_create(r, "s");
	static const char *const bad[] = {
		"echo (",
		"if true; then",
		"echo 'open",
		"cat <<EOF\nno end",
		"}",
		"}; echo escaped; {",
		"{ echo a",
		"echo a; }; echo b",
		") ; (",
		"for x in",
		"fi",
		"case x in",
		"echo \"$(",
		"f() {",
		"echo a &&",
		"done",
		"&& echo a",
		"echo a; )",
		"{ :; }; }; { :;",
		"x; } ; {",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char command[128];
		snprintf(command, sizeof command, "echo ran\n%s", bad[i]);
		struct answer *a = rig_run(r, command);
		if (a->code != CREX_E_BASH_INCORRECT_SYNTAX)
			fail_msg("%s: error %d, output %s", command, a->code, a->output ? a->output : "none");
		assert_null(strstr(a->message, "__crex"));
		assert_null(strstr(a->message, "builtin"));
		RUN("echo next", "next\n", 0);
	}
	RUN("echo a # }", "a\n", 0);
	RUN("x='}'; y=\"}\"; echo ${x}$y }", "}} }\n", 0);
	RUN("{ echo in; }", "in\n", 0);
	RUN("g() { echo g; }; g", "g\n", 0);
	RUN("echo end\\", "end\n", 0);
	RUN("echo 'end\\\\'\\\\", "end\\\\\\\n", 0);
	RUN("shopt -s extglob; alias zz='echo aliased'", "", 0);
	RUN("zz; [[ aab == +(a|b) ]] && echo ok", "aliased\nok\n", 0);
}

static void test_given_up_commands(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a = rig_run(r, "echo a; echo ${nope?is unset}; echo b");
	assert_non_null(strstr(a->output, "is unset"));
	assert_null(strstr(a->output, "\nb\n"));
	assert_int_not_equal(a->exit_code, 0);
	RUN("echo next", "next\n", 0);
	a = rig_run(r, "echo $((1/0)); echo b");
	assert_int_not_equal(a->exit_code, 0);
	RUN("echo next", "next\n", 0);
	a = rig_run(r, "readonly ro=1; ro=2; echo b");
	assert_int_not_equal(a->exit_code, 0);
	RUN("echo next", "next\n", 0);
	a = rig_run(r, "kill -INT $$; echo b");
	assert_int_equal(a->exit_code, 130);
	RUN("echo $?", "130\n", 0);
	RUN("f() { return 3; }; f", "", 3);
	a = rig_run(r, "return 4");
	assert_int_equal(a->code, CREX_OK);
	RUN("echo next", "next\n", 0);
	a = rig_run(r, "local x=1");
	assert_int_equal(a->code, CREX_OK);
	RUN("echo next", "next\n", 0);
}

static void test_users_prompt_and_redirections(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("PS1='me> '; PS2='? '; PROMPT_COMMAND='echo never'; PS0=zero", "", 0);
	RUN("echo a", "a\n", 0);
	RUN("readonly PS1; echo b", "b\n", 0);
	RUN("echo c", "c\n", 0);
	RUN("stty echo raw", "", 0);
	RUN("echo d", "d\n", 0);
	RUN("exec 2>/dev/null", "", 0); /* where bash writes its prompts */
	RUN("echo e", "e\n", 0);
	RUN("echo f", "f\n", 0);
	RUN("exec 2>&1; echo g >&2", "g\n", 0);
}

static void test_functions_named_like_builtins(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("printf() { echo mine; }; eval() { echo mine; }; read() { echo mine; }; trap() { echo mine; }; "
	    "set() { echo mine; }; unset() { echo mine; }; echo() { command echo \"<$*>\"; }; true",
	    "", 0);
	RUN("echo a", "<a>\n", 0);
	RUN("printf", "<mine>\n", 0);
	RUN("command printf b", "b", 0);
	RUN("alias builtin=false printf=false", "", 0);
	RUN("command printf c", "c", 0);
	RUN("builtin() { command echo hijacked; }", "", 0);
	RUN("command printf d", "d", 0);
	RUN("command printf e", "e", 0);
}

static void test_children_get_no_descriptor_of_ours(void **state)
{
	RIG;
	rig_create(r, "s");
	RUN("ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3 ", 0);
	RUN("trap '' PIPE; trap - PIPE; yes | head -1", "y\n", 0);
	RUN("bash -c 'kill -PIPE $$'; echo $?", "141\n", 0);
	RUN("bash -c 'kill -XFSZ $$' ; echo $?", "File size limit exceeded\n153\n", 0);
	RUN("cat </dev/null; read -t 0.05 x; echo \"[$x]\"", "[]\n", 0); /* nothing of ours to read as input */
}

static void test_background_jobs(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a = rig_run(r, "sleep 0.01 &\necho started");
	int pid, end = 0;
	assert_int_equal(sscanf(a->output, "[1] %d\nstarted\n%n", &pid, &end), 1); /* as on a terminal */
	assert_int_equal(end, a->output_len);
	rig_turn(r, 0.05);
	RUN("echo quiet", "quiet\n", 0); /* that the job has ended is not told in between */
	RUN("wait; echo waited", "waited\n", 0);
	rig_run(r, "sleep 60 & true");
	RUN("kill %1; wait %1 2>/dev/null; echo $?", "143\n", 0);
}

static void test_timeout_and_interrupt(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a = rig_run_opt(r, "echo so far; sleep 301.5; echo never", (struct run){.timeout = 0.2});
	assert_int_equal(a->code, CREX_E_COMMAND_TIMEOUT);
	assert_non_null(strstr(
		a->message, "timeout after 0.2 seconds while running command 'echo so far; sleep 301.5; echo never'"));
	assert_string_equal(a->extra_output, "so far\n");
	/* busy: who comes now waits against his own clock and is told so */
	a = rig_run_opt(r, "echo too early", (struct run){.timeout = 0.1});
	assert_int_equal(a->code, CREX_E_COMMAND_TIMEOUT);
	assert_non_null(strstr(a->message, "has not started"));
	a = rig_interrupt(r);
	assert_int_equal(a->code, CREX_OK);
	assert_string_equal(a->output, "\n"); /* bash's own, as on a terminal */
	assert_string_equal(a->expect_string, "SHELLPS1PREFIX");
	RUN("echo next $?", "next 130\n", 0);
	assert_int_equal(rig_count("301.5"), 0);
	a = rig_interrupt(r); /* nothing to interrupt */
	assert_int_equal(a->code, CREX_OK);
	RUN("echo next", "next\n", 0);
	/* a long one is named by its beginning */
	char longest[6000];
	memset(longest, 'x', sizeof longest);
	memcpy(longest, "sleep 301.6 # ", 14);
	longest[sizeof longest - 1] = '\0';
	rig_run_opt(r, longest, (struct run){.timeout = 0.1});
	a = rig_run_opt(r, "echo too early", (struct run){.timeout = 0.1});
	assert_non_null(strstr(a->message, "busy with 'sleep 301.6 # xxx"));
	assert_non_null(strstr(a->message, "xxx'.... Interrupt that first."));
	rig_interrupt(r);
	RUN("echo next", "next\n", 0);
}

static void test_late_end_after_a_timeout(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a = rig_run_opt(r, "sleep 0.3; echo late", (struct run){.timeout = 0.1});
	assert_int_equal(a->code, CREX_E_COMMAND_TIMEOUT);
	RUN("echo next", "next\n", 0);
}

static void stubborn(struct rig *r, const char *command, const char *ready)
{
	struct answer *a = rig_run_opt(r, command, (struct run){.expect = {ready}});
	assert_int_equal(a->code, CREX_OK);
	assert_string_equal(a->expect_string, ready);
	a = rig_interrupt_start(r, 0.1, 3);
	if (!rig_wait_quietly(r, &a->done, 10))
		fail_msg("%s: no answer", command);
	if (a->code != CREX_OK || a->ended)
		fail_msg("%s: %s", command, a->ended ? "ended" : a->message);
	RUN("echo next", "next\n", 0);
}

static void test_interrupt_of_stubborn_programs(void **state)
{
	RIG;
	rig_create(r, "s");
	stubborn(r, "bash -c 'trap \"\" INT TSTP; echo ready; sleep 302.25 & wait; sleep 302.25'", "ready");
	stubborn(r, "bash -c 'stty raw; echo ready; sleep 302.25'", "ready");
	stubborn(r, "bash -c 'trap \"\" INT QUIT TERM HUP; stty raw -echo; echo ready; while :; do read x; done'",
		 "ready");
	stubborn(r, "echo ready; while :; do sleep 302.25; done", "ready");
	stubborn(r, "echo ready; while :; do :; done", "ready");
	stubborn(r, "for i in $(seq 100000); do bash -c 'trap \"\" INT; echo -n ready; sleep 302.25'; done", "ready");
	stubborn(r, "PS1='mine> '; echo ready; sleep 302.25; echo b", "ready");
	stubborn(r, "echo ready; wait; read x", "ready");
	rig_wait_count(r, "302.25", 0, 5);
}

/* A SIGINT that meets bash between fork and wait leaves its job control confused: it may even exit at the next one. An
 * answer comes all the same, soon, and a session of that name works. */
static void test_interrupt_at_a_bad_moment(void **state)
{
	RIG;
	rig_create(r, "s");
	for (int i = 0; i < 10; i++) {
		struct answer *a =
			rig_run_opt(r, "while :; do echo -n ready; bash -c 'trap \"\" INT; sleep 302.5'; done",
				    (struct run){.expect = {"ready"}});
		assert_int_equal(a->code, CREX_OK);
		a = rig_interrupt(r);
		assert_int_equal(a->code, CREX_OK);
		if (a->ended)
			rig_create(r, "s");
		RUN("echo next", "next\n", 0);
	}
	rig_close(r, "s");
	rig_wait_count(r, "302.5", 0, 5);
}

static void test_interrupt_that_only_an_end_stops(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a =
		rig_run_opt(r, "trap '' INT; echo ready; while :; do :; done", (struct run){.expect = {"ready"}});
	assert_int_equal(a->code, CREX_OK);
	a = rig_interrupt(r);
	assert_true(a->ended);
	assert_string_equal(a->failure_reason, "the shell has ended: the session is closed and its name is free");
	rig_create(r, "s");
	RUN("echo new", "new\n", 0);
}

static void test_interrupt_while_the_action_waits(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *run = rig_start_run(r, "echo a; sleep 303", 17, (struct run){.check = CREX_CHECK_SILENT});
	struct answer *queued = rig_start_run(r, "echo b", 6, (struct run){.check = CREX_CHECK_SILENT});
	rig_turn(r, 0.1);
	struct answer *a = rig_interrupt_start(r, 0.1, 3), *second = rig_interrupt_start(r, 0.1, 3);
	rig_wait(r, &second->done, 1);
	assert_int_equal(second->code, CREX_E_SWEREX);
	rig_wait(r, &a->done, 5);
	rig_wait(r, &run->done, 5);
	rig_wait(r, &queued->done, 5);
	assert_int_equal(a->code, CREX_OK);
	assert_int_equal(run->exit_code, 130);
	assert_string_equal(run->output, "a\n\n");
	assert_string_equal(queued->output, "b\n");
}

static void test_interactive_python(void **state)
{
	RIG;
	rig_create(r, "s");
	struct run opt = {.interactive = true, .expect = {">>> "}};
	struct answer *a = rig_run_opt(r, PYTHON " -q", opt);
	assert_int_equal(a->code, CREX_OK);
	assert_string_equal(a->expect_string, ">>> ");
	assert_int_equal(a->exit_code, 0);
	a = rig_run_opt(r, "print(6 * 7)", opt);
	assert_string_equal(a->output, "42\n");
	a = rig_run_opt(r, "input('name? ')", (struct run){.interactive = true, .expect = {"name? "}});
	assert_string_equal(a->expect_string, "name? ");
	a = rig_run_opt(r, "me", opt);
	assert_string_equal(a->output, "'me'\n");
	/* a line that the terminal can't take */
	char line[5001];
	memset(line, 'x', 5000);
	line[5000] = '\0';
	a = rig_run_opt(r, line, (struct run){.interactive = true, .expect = {"never"}, .timeout = 1});
	assert_true(a->code == CREX_E_VALUE || a->code == CREX_E_COMMAND_TIMEOUT);
	if (a->code == CREX_E_COMMAND_TIMEOUT)
		rig_turn(r, 0.1);
	a = rig_run_opt(r, "quit()", (struct run){.quit = true});
	assert_int_equal(a->code, CREX_OK);
	assert_int_equal(a->exit_code, 0);
	assert_string_equal(a->expect_string, "SHELLPS1PREFIX");
	RUN("echo back", "back\n", 0);
}

static void test_interactive_bash(void **state)
{
	RIG;
	rig_create(r, "s");
	struct run opt = {.interactive = true, .expect = {"inner$ "}};
	struct answer *a = rig_run_opt(r, "PS1='inner$ ' bash --norc --noediting", opt);
	assert_string_equal(a->expect_string, "inner$ ");
	a = rig_run_opt(r, "echo $((2 + 3))", opt);
	assert_string_equal(a->output, "5\n");
	a = rig_run_opt(r, "exit 3", (struct run){.quit = true});
	assert_int_equal(a->code, CREX_OK);
	RUN("echo $?", "3\n", 0);
}

static void test_expect_in_a_command(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a =
		rig_run_opt(r, "echo '(gdb) '; read x; echo \"got $x\"", (struct run){.expect = {"nope", "(gdb) "}});
	assert_string_equal(a->expect_string, "(gdb) ");
	assert_string_equal(a->output, "");
	assert_false(a->has_exit_code);
	a = rig_run_opt(r, "line", (struct run){.interactive = true, .expect = {"got [a-z]+\n"}});
	assert_string_equal(a->expect_string, "got [a-z]+\n");
	RUN("echo next", "next\n", 0);
	/* not found: the command ends as usual */
	a = rig_run_opt(r, "echo x", (struct run){.expect = {"y", "("}});
	assert_string_equal(a->output, "x\n");
	assert_string_equal(a->expect_string, "SHELLPS1PREFIX");
	assert_int_equal(a->exit_code, 0);
}

static void test_ends_of_the_shell(void **state)
{
	RIG;
	static const struct {
		const char *command, *output;
		int code;
	} ends[] = {
		{"echo a; exit 3", "a\n", 3}, {"exec echo b", "b\n", 0}, {"set -e; echo c; false; echo d", "c\n", 1},
		{"kill -KILL $$", "", 137},   {"exec false", "", 1},	 {"kill -TERM $$; kill -HUP $$", "", 129},
	};
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		rig_create(r, "s"); /* the name is free each time */
		struct answer *a = rig_start_run(r, ends[i].command, strlen(ends[i].command),
						 (struct run){.check = CREX_CHECK_SILENT});
		struct answer *next = rig_start_run(r, "echo no", 7, (struct run){.check = CREX_CHECK_SILENT});
		rig_wait(r, &a->done, 10);
		rig_wait(r, &next->done, 10);
		if (a->code != CREX_OK || !a->ended || a->exit_code != ends[i].code ||
		    strcmp(a->output, ends[i].output) != 0)
			fail_msg("%s: %s, code %d, ended %d", ends[i].command, a->output ? a->output : a->message,
				 a->exit_code, a->ended);
		assert_int_equal(next->code, CREX_E_SESSION_DOES_NOT_EXIST);
		struct answer *gone = rig_run(r, "echo x");
		assert_int_equal(gone->code, CREX_E_SESSION_DOES_NOT_EXIST);
	}
}

static void test_end_takes_the_tree(void **state)
{
	RIG;
	rig_turn(r, 0.05); /* births are known to 10 ms: else an earlier case's shell might have borne these */
	rig_create(r, "s");
	/* a daemon that has let go of the terminal too is certain only when no other tree ended near its birth:
	 * docs/session.md */
	rig_run(r, "sleep 304.75 & (setsid sleep 304.75 &) ; nohup bash -c 'sleep 304.75; :' >/dev/null 2>&1 &");
	rig_wait_count(r, "304.75", 4, 5);
	struct answer *a = rig_run(r, "exit 0");
	assert_true(a->ended);
	assert_int_equal(rig_count("304.75"), 0);
}

static void test_close(void **state)
{
	RIG;
	rig_create(r, "s");
	rig_run(r, "(setsid sleep 305.75 &)");
	struct answer *run = rig_start_run(r, "echo a; sleep 305.75", 20, (struct run){.check = CREX_CHECK_SILENT});
	struct answer *queued = rig_start_run(r, "echo b", 6, (struct run){.check = CREX_CHECK_SILENT});
	rig_wait_count(r, "305.75", 2, 5);
	rig_turn(r, 0.05);
	struct answer *a = rig_close(r, "s");
	assert_int_equal(a->code, CREX_OK);
	assert_true(run->done && queued->done);
	assert_int_equal(run->code, CREX_E_SWEREX);
	assert_non_null(strstr(run->message, "closed while the command ran"));
	assert_string_equal(run->extra_output, "a\n");
	assert_int_equal(queued->code, CREX_E_SWEREX);
	assert_int_equal(rig_count("305.75"), 0);
	a = rig_close(r, "s");
	assert_int_equal(a->code, CREX_E_SESSION_DOES_NOT_EXIST);
	rig_create(r, "s");
	RUN("echo again", "again\n", 0);
}

static void count_cb(void *arg, struct crex_error *err)
{
	assert_null(err);
	*(bool *)arg = true;
}

static void test_close_all(void **state)
{
	RIG;
	bool done = false;
	local_close_all(r->rt, count_cb, &done);
	assert_true(done);
	rig_create(r, "a");
	rig_create(r, "b");
	struct answer *starting = rig_create_start(r, "c", 20, NULL);
	done = false;
	local_close_all(r->rt, count_cb, &done);
	rig_wait(r, &done, 10);
	assert_true(starting->done);
	assert_int_equal(starting->code, CREX_E_SESSION_NOT_INITIALIZED);
	struct local_stats stats;
	rig_turn(r, 0.05);
	local_get_stats(r->rt, &stats);
	assert_int_equal(stats.sessions, 0);
}

static void test_queue_order(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a[20];
	char command[64];
	for (int i = 0; i < 20; i++) {
		snprintf(command, sizeof command, "echo %d; n=$((n + 1)); echo $n", i);
		a[i] = rig_start_run(r, command, strlen(command), (struct run){.check = CREX_CHECK_SILENT});
	}
	for (int i = 0; i < 20; i++) {
		rig_wait(r, &a[i]->done, 10);
		snprintf(command, sizeof command, "%d\n%d\n", i, i + 1);
		assert_string_equal(a[i]->output, command);
		for (int j = i + 1; j < 20; j++)
			assert_true(!a[j]->done || a[i]->done);
	}
}

static void test_limits(void **state)
{
	RIG;
	rig_shutdown(r);
	r->max_sessions = 2;
	r->max_queue = 2;
	r->max_output = 4096;
	rig_restart(r);
	rig_create(r, "s");
	rig_create(r, "t");
	struct answer *a = rig_create_start(r, "u", 20, NULL);
	assert_true(a->done);
	assert_int_equal(a->code, CREX_E_LIMIT);
	a = rig_run(r, "seq 100000");
	assert_true(a->truncated);
	assert_true(a->output_len < 4300);
	assert_non_null(strstr(a->output, "1\n2\n3\n"));
	assert_non_null(strstr(a->output, "99999\n100000\n"));
	assert_non_null(strstr(a->output, "bytes of output cut here"));
	RUN("echo whole", "whole\n", 0);
	struct answer *busy = rig_start_run(r, "sleep 0.2", 9, (struct run){.check = CREX_CHECK_SILENT});
	rig_start_run(r, "echo", 4, (struct run){.check = CREX_CHECK_SILENT});
	rig_start_run(r, "echo", 4, (struct run){.check = CREX_CHECK_SILENT});
	a = rig_run(r, "echo");
	assert_int_equal(a->code, CREX_E_LIMIT);
	rig_wait(r, &busy->done, 5);
	a = rig_start_run(r, "a\0b", 3, (struct run){.check = CREX_CHECK_SILENT});
	rig_wait(r, &a->done, 5);
	assert_int_equal(a->code, CREX_E_VALUE);
}

static void test_names(void **state)
{
	RIG;
	rig_create(r, "s");
	struct answer *a = rig_create_start(r, "s", 20, NULL);
	rig_wait(r, &a->done, 1);
	assert_int_equal(a->code, CREX_E_SESSION_EXISTS);
	rig_create(r, "");
	a = rig_run_opt(r, "echo empty name", (struct run){.session = ""});
	assert_string_equal(a->output, "empty name\n");
	a = rig_run_opt(r, "echo x", (struct run){.session = "other"});
	assert_int_equal(a->code, CREX_E_SESSION_DOES_NOT_EXIST);
}

static void test_startup(void **state)
{
	RIG;
	rig_write_home(r, ".bashrc", "echo from bashrc; FROM_RC=1; PS1='rc> '\n");
	rig_write_home(r, "my file", "echo from file; FROM_FILE=2\n");
	struct answer *a = rig_create_start(r, "s", 20, "~/my file");
	rig_wait(r, &a->done, 20);
	assert_string_equal(a->output, "from bashrc\nfrom file\n");
	RUN("echo $FROM_RC$FROM_FILE", "12\n", 0);
	a = rig_create_start(r, "t", 20, "/no/such/file");
	rig_wait(r, &a->done, 20);
	assert_int_equal(a->code, CREX_OK);
	assert_non_null(strstr(a->output, "/no/such/file: No such file"));
}

static void test_startup_that_hangs(void **state)
{
	RIG;
	rig_write_home(r, ".bashrc", "echo begun; sleep 306.75\n");
	struct answer *a = rig_create_start(r, "s", 0.3, NULL);
	rig_wait(r, &a->done, 5);
	assert_int_equal(a->code, CREX_E_COMMAND_TIMEOUT);
	assert_non_null(strstr(a->message, "timeout after 0.3 seconds while starting session 's'"));
	assert_string_equal(a->extra_output, "begun\n");
	rig_wait_count(r, "306.75", 0, 5);
	rig_write_home(r, ".bashrc", "");
	rig_create(r, "s");
	RUN("echo fresh", "fresh\n", 0);
}

static void test_startup_that_exits(void **state)
{
	RIG;
	rig_write_home(r, ".bashrc", "echo leaving; exit 9\n");
	struct answer *a = rig_create_start(r, "s", 20, NULL);
	rig_wait(r, &a->done, 10);
	assert_int_equal(a->code, CREX_E_SESSION_NOT_INITIALIZED);
	assert_non_null(strstr(a->message, "exited with code 9"));
	assert_non_null(strstr(a->message, "leaving"));
}

static void test_no_bash(void **state)
{
	RIG;
	char *path = r->envp[1], none[] = "PATH=/nonexistent";
	r->envp[1] = none;
	struct answer *a = rig_create_start(r, "s", 20, NULL);
	rig_wait(r, &a->done, 10);
	assert_int_equal(a->code, CREX_E_FILE_NOT_FOUND);
	assert_non_null(strstr(a->message, "bash"));
	r->envp[1] = path;
	rig_create(r, "s");
}

static void test_shutdown_leaves_no_process(void **state)
{
	RIG;
	rig_create(r, "s");
	rig_create(r, "t");
	rig_run(r, "sleep 307.75 & (setsid sleep 307.75 &)");
	struct answer *run =
		rig_start_run(r, "trap '' INT TERM HUP; sleep 307.75", 34, (struct run){.check = CREX_CHECK_SILENT});
	struct answer *other = rig_start_run(r, "sleep 307.75", 12, (struct run){.session = "t"});
	struct answer *starting = rig_create_start(r, "u", 20, NULL);
	rig_wait_count(r, "307.75", 4, 5);
	rig_shutdown(r);
	assert_int_equal(rig_count("307.75"), 0);
	assert_true(run->done && other->done && starting->done);
	assert_int_equal(run->code, CREX_E_SWEREX);
	assert_int_equal(other->code, CREX_E_SWEREX);
}

static void test_many_sessions_at_once(void **state)
{
	RIG;
	struct answer *a[24];
	char name[8];
	for (int i = 0; i < 24; i++) {
		snprintf(name, sizeof name, "p%d", i);
		a[i] = rig_create_start(r, name, 30, NULL);
	}
	for (int i = 0; i < 24; i++) {
		rig_wait(r, &a[i]->done, 30);
		assert_int_equal(a[i]->code, CREX_OK);
	}
	uint64_t begin = uv_hrtime();
	for (int i = 0; i < 24; i++) {
		snprintf(name, sizeof name, "p%d", i);
		a[i] = rig_start_run(r, "sleep 1; echo done", 18, (struct run){.session = name});
	}
	for (int i = 0; i < 24; i++) {
		rig_wait(r, &a[i]->done, 30);
		assert_string_equal(a[i]->output, "done\n");
	}
	assert_true(uv_hrtime() - begin < UINT64_C(12000000000)); /* one after another would take 24 s */
}

/* ---- faults ---- */

static void test_short_random(void **state)
{
	RIG;
	rig_faults.random_short = 3;
	rig_create(r, "s");
	RUN("echo a", "a\n", 0);
	RUN("echo b", "b\n", 0);
	assert_true(rig_faults.randoms > 20);
}

static void test_without_memfd(void **state)
{
	RIG;
	rig_faults.no_memfd = 1;
	rig_create(r, "s");
	assert_true(rig_faults.memfds > 0);
	RUN("echo a", "a\n", 0);
	RUN("cat <<E\nb\nE", "b\n", 0);
	RUN("ls /proc/self/fd | wc -l", "4\n", 0);
	assert_int_equal(rig_close(r, "s")->code, CREX_OK);
}

static void test_without_proc(void **state)
{
	RIG;
	rig_faults.no_proc_fd = 1;
	rig_write_home(r, ".bashrc", "RC=yes\n");
	rig_create(r, "s");
	assert_true(rig_faults.accesses > 0);
	RUN("echo $RC", "yes\n", 0);
	RUN("ls -A /tmp | grep -c '^[.]crex-'", "0\n", 1); /* the startup file is gone already */
	rig_faults.no_memfd = 1;
	rig_create(r, "t");
	struct answer *a = rig_run_opt(r, "echo $RC", (struct run){.session = "t"});
	assert_string_equal(a->output, "yes\n");
}

/* Each allocation on the way fails once: a typed error or success, one answer, and the engine goes on. */
static void test_no_memory_at_create(void **state)
{
	RIG;
	for (int n = 1;; n++) {
		rig_faults.fail_alloc = n;
		struct answer *a = rig_create_start(r, "s", 5, NULL);
		rig_wait(r, &a->done, 10);
		bool all_survived = rig_faults.fail_alloc > 0;
		rig_faults.fail_alloc = 0;
		if (a->code == CREX_OK)
			assert_int_equal(rig_close(r, "s")->code, CREX_OK);
		else if (a->code != CREX_E_MEMORY && a->code != CREX_E_OS && a->code != CREX_E_COMMAND_TIMEOUT &&
			 a->code != CREX_E_SESSION_NOT_INITIALIZED)
			fail_msg("allocation %d: error %d: %s", n, a->code, a->message);
		rig_turn(r, 0.002);
		if (all_survived)
			break;
		assert_true(n < 500);
	}
	rig_create(r, "s");
	RUN("echo a", "a\n", 0);
}

static void test_no_memory_at_run(void **state)
{
	RIG;
	rig_create(r, "s");
	for (int n = 1;; n++) {
		rig_faults.fail_alloc = n;
		struct answer *a =
			rig_start_run(r, "echo x; false", 13, (struct run){.timeout = 3, .expect = {"never"}});
		rig_wait(r, &a->done, 10);
		bool all_survived = rig_faults.fail_alloc > 0;
		rig_faults.fail_alloc = 0;
		if (a->code == CREX_OK && a->has_exit_code && a->exit_code == 0 && !a->ended)
			fail_msg("allocation %d: a failed command was reported as well", n);
		struct local_stats stats;
		rig_turn(r, 0.005);
		local_get_stats(r->rt, &stats);
		if (stats.sessions == 0)
			rig_create(r, "s");
		if (all_survived)
			break;
		assert_true(n < 500);
	}
	RUN("echo a", "a\n", 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_begin, rig_end)

int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	const struct CMUnitTest tests[] = {
		CASE(test_run),
		CASE(test_status_and_last_argument),
		CASE(test_settling),
		CASE(test_state_that_is_carried),
		CASE(test_check),
		CASE(test_text_that_looks_like_ours),
		CASE(test_flags_and_traps),
		CASE(test_nounset_is_no_trouble),
		CASE(test_debug_and_err_traps),
		CASE(test_heredocs),
		CASE(test_syntax_errors),
		CASE(test_given_up_commands),
		CASE(test_users_prompt_and_redirections),
		CASE(test_functions_named_like_builtins),
		CASE(test_children_get_no_descriptor_of_ours),
		CASE(test_background_jobs),
		CASE(test_timeout_and_interrupt),
		CASE(test_late_end_after_a_timeout),
		CASE(test_interrupt_of_stubborn_programs),
		CASE(test_interrupt_at_a_bad_moment),
		CASE(test_interrupt_that_only_an_end_stops),
		CASE(test_interrupt_while_the_action_waits),
		CASE(test_interactive_python),
		CASE(test_interactive_bash),
		CASE(test_expect_in_a_command),
		CASE(test_ends_of_the_shell),
		CASE(test_end_takes_the_tree),
		CASE(test_close),
		CASE(test_close_all),
		CASE(test_queue_order),
		CASE(test_limits),
		CASE(test_names),
		CASE(test_startup),
		CASE(test_startup_that_hangs),
		CASE(test_startup_that_exits),
		CASE(test_no_bash),
		CASE(test_shutdown_leaves_no_process),
		CASE(test_many_sessions_at_once),
		CASE(test_short_random),
		CASE(test_without_memfd),
		CASE(test_without_proc),
		CASE(test_no_memory_at_create),
		CASE(test_no_memory_at_run),
	};
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}

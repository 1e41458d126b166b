/* test_shell.c: the shell texts by themselves: what bash makes of them, and what the report's reader makes of bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "runtime/local/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SN "11111111111111111111"
#define CN "22222222222222222222"

static const char *const odd_commands[] = {
	"echo hi",
	"",
	"#",
	"echo \\",
	"echo }",
	"}",
	"{ echo a; }",
	"cat <<E\n}\nE",
	"cat <<'E' && echo\n$(\n}\nE\n",
	"case x in x) echo;; esac",
	"f() { :; }",
	"echo '}' \"}\" `echo }`",
	"a=(1 2\n3)",
	"echo $((1 + 2)) # }",
	"\n\n:\n\n",
	"for i in 1; do {\n:\n}; done",
	"echo \001\177\x1c",
};

static bool bash_parses(const struct buf *text)
{
	FILE *bash = popen("bash -n 2>/dev/null", "w");
	assert_non_null(bash);
	fwrite(text->data, 1, text->len && text->data[text->len - 1] == '\0' ? text->len - 1 : text->len, bash);
	return pclose(bash) == 0;
}

static struct shell_state full_state(void)
{
	struct shell_state st;
	shell_state_init(&st);
	st.status = 3;
	st.has_jobs = true;
	strcpy(st.flags, "xe");
	buf_append_str(&st.xtrace_fd, "5");
	buf_append_str(&st.trap_debug, "trap -- 'echo '\\''d' DEBUG\n");
	buf_append_str(&st.trap_err, "trap -- 'echo e' ERR\n");
	return st;
}

static void test_texts_parse(void **state)
{
	(void)state;
	struct crex_str files[] = {CREX_STR("/a b"), CREX_STR("~/x"), CREX_STR("$HOME/\"`'\\y"), CREX_STR("$(x")};
	struct crex_str_list list = {files, sizeof files / sizeof *files};
	struct buf text;
	buf_init(&text, 1 << 20);
	assert_int_equal(shell_append_bootstrap(&text, SN, CN, &list), 0);
	assert_true(bash_parses(&text));
	buf_clear(&text);
	assert_int_equal(shell_append_recovery(&text, SN, CN), 0);
	assert_true(bash_parses(&text));
	buf_clear(&text);
	assert_int_equal(buf_append_str(&text, shell_unhijack_line() + 1), 0); /* without the Ctrl-U */
	assert_true(bash_parses(&text));
	struct shell_state plain, full = full_state();
	shell_state_init(&plain);
	for (size_t i = 0; i < sizeof odd_commands / sizeof *odd_commands; i++) {
		struct crex_str command = {odd_commands[i], strlen(odd_commands[i])};
		bool sound = strcmp(odd_commands[i], "}") != 0;
		for (int k = 0; k < 2; k++) {
			buf_clear(&text);
			assert_int_equal(shell_append_command(&text, k ? &full : &plain, command, CN), 0);
			/* `{ :; <nothing> }` is whole, since the prologue is in it */
			if (bash_parses(&text) != sound)
				fail_msg("bash -n disagrees on \"%s\"", odd_commands[i]);
		}
	}
	shell_state_deinit(&full);
	buf_deinit(&text);
}

/* What shell_typed_line() counts on, for any IFS. */
static void test_ends_of_texts(void **state)
{
	(void)state;
	struct shell_state st = full_state();
	struct buf text;
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i <= sizeof odd_commands / sizeof *odd_commands; i++) {
		buf_clear(&text);
		if (i == 0) {
			assert_int_equal(shell_append_recovery(&text, SN, CN), 0);
		} else {
			struct crex_str command = {odd_commands[i - 1], strlen(odd_commands[i - 1])};
			assert_int_equal(shell_append_command(&text, &st, command, CN), 0);
			assert_int_equal(strstr(shell_typed_line(&text), "IFS= ") != NULL,
					 strchr(odd_commands[i - 1], '\001') != NULL);
		}
		size_t len = strlen(text.data);
		assert_int_equal(len + 1, text.len);
		assert_null(strchr(" \t\n", text.data[0]));
		assert_null(strchr(" \t\n", text.data[len - 1]));
		assert_true(memchr(text.data, text.data[len - 1], len - 2) != NULL);
	}
	shell_state_deinit(&st);
	buf_deinit(&text);
}

static void test_blank(void **state)
{
	(void)state;
	static const char *const blank[] = {"", " ", "\t\n", "# x", "  # x\n\n\t#y", "\n#\n"};
	static const char *const not_blank[] = {":", "# x\n:", "\r", " a #", "\\", "\v", "\f"};
	for (size_t i = 0; i < sizeof blank / sizeof *blank; i++)
		assert_true(shell_is_blank((struct crex_str){blank[i], strlen(blank[i])}));
	for (size_t i = 0; i < sizeof not_blank / sizeof *not_blank; i++)
		assert_false(shell_is_blank((struct crex_str){not_blank[i], strlen(not_blank[i])}));
}

static const char *text_of(const struct buf *field)
{
	return field->len ? field->data : "";
}

static void test_report(void **state)
{
	(void)state;
	static const char report[] = "noise:" SN ":himBxs:5:\ntrap -- 'd\n'\\''x' DEBUG\nnoise\ntrap -- 'e' ERR\n:";
	struct shell_state st;
	shell_state_init(&st);
	st.status = 42;
	for (size_t n = 0; n < sizeof report; n++) {
		char *cut = malloc(n ? n : 1); /* of exactly that size, for a sanitizer */
		memcpy(cut, report, n);
		shell_parse_report(cut, n, SN, &st);
		free(cut);
	}
	assert_int_equal(st.status, 42); /* E's affair */
	assert_string_equal(st.flags, "x");
	assert_string_equal(st.xtrace_fd.data, "5");
	assert_string_equal(st.trap_debug.data, "trap -- 'd\n'\\''x' DEBUG\n");
	assert_string_equal(st.trap_err.data, "trap -- 'e' ERR\n");
	shell_parse_report("", 0, SN, &st); /* nothing special */
	assert_string_equal(st.flags, "");
	assert_int_equal(st.xtrace_fd.len + st.trap_debug.len + st.trap_err.len, 0);
	shell_state_deinit(&st);
}

static void test_odd_reports(void **state)
{
	(void)state;
	struct shell_state st;
	shell_state_init(&st);
	static const struct {
		const char *report, *flags, *debug;
	} cases[] = {
		{SN "::\n", "", ""},
		{SN ":himBs", "", ""},
		{CN ":xv::\n", "", ""},
		{SN ":himBsaeTvx::\ntrap -- '' DEBUG\n", "xveTa", "trap -- '' DEBUG\n"},
		{"trap -- 'x DEBUG\n", "", ""},	  /* no end */
		{"xtrap -- 'x' DEBUG\n", "", ""}, /* not at the line's beginning */
		{"trap -- ''\\''' DEBUG\n", "", "trap -- ''\\''' DEBUG\n"},
		{"trap -- 'x\ntrap -- '\\''y'\\'' DEBUG\n' ERR\n", "", ""}, /* a trap's text that shows one */
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		shell_parse_report(cases[i].report, strlen(cases[i].report), SN, &st);
		assert_string_equal(st.flags, cases[i].flags);
		assert_string_equal(text_of(&st.trap_debug), cases[i].debug);
	}
	shell_state_deinit(&st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_parse), cmocka_unit_test(test_ends_of_texts), cmocka_unit_test(test_blank),
		cmocka_unit_test(test_report),	    cmocka_unit_test(test_odd_reports),
	};
	return cmocka_run_group_tests_name("shell", tests, NULL, NULL);
}

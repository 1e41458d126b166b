/* tests/unit/test_wire.c: bodies become requests or findings in pydantic's words; replies are valid JSON of the
 * contract.
 *
 * Every prefix and, with each byte changed, every neighbour of the good bodies is decoded too: the answer is a request
 * or a 422 document that parses. */
#include "wire/wire.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof *(a))

static int decode_len(enum wire_request_kind kind, const char *body, size_t len, struct wire_doc **doc,
		      struct wire_request *req, struct buf *detail)
{
	buf_init(detail, 1 << 20);
	*doc = NULL;
	return wire_decode(kind, (struct crex_str){body, len}, doc, req, detail);
}

static void good(enum wire_request_kind kind, const char *body, struct wire_doc **doc, struct wire_request *req)
{
	struct buf detail;
	int r = decode_len(kind, body, strlen(body), doc, req, &detail);
	if (r)
		print_error("%s\n-> %s\n", body, detail.data);
	assert_int_equal(r, 0);
	assert_int_equal(req->kind, kind);
	assert_int_equal(detail.len, 0);
	buf_deinit(&detail);
}

static void assert_str(struct crex_str s, const char *want)
{
	assert_int_equal(s.len, strlen(want));
	if (s.len)
		assert_memory_equal(s.ptr, want, s.len);
}

static void test_defaults(void **state)
{
	(void)state;
	struct wire_doc *doc;
	struct wire_request q;
	good(WIRE_CREATE_SESSION, "{}", &doc, &q);
	assert_str(q.u.create_session.session, "default");
	assert_int_equal(q.u.create_session.startup_source.count, 0);
	assert_true(q.u.create_session.startup_timeout == 1.0);
	doc = wire_doc_free(doc);
	good(WIRE_RUN_IN_SESSION, "{\"command\":\"\"}", &doc, &q);
	assert_false(q.is_interrupt);
	assert_str(q.u.bash.session, "default");
	assert_true(q.u.bash.timeout < 0);
	assert_int_equal(q.u.bash.check, CREX_CHECK_RAISE);
	assert_false(q.u.bash.is_interactive_command || q.u.bash.is_interactive_quit);
	doc = wire_doc_free(doc);
	good(WIRE_RUN_IN_SESSION, "{\"action_type\":\"bash_interrupt\",\"unknown\":[{}]}", &doc, &q);
	assert_true(q.is_interrupt);
	assert_true(q.u.interrupt.timeout == 0.2);
	assert_int_equal(q.u.interrupt.n_retry, 3);
	doc = wire_doc_free(doc);
	good(WIRE_CLOSE_SESSION, "{\"session_type\":\"bash\"}", &doc, &q);
	assert_str(q.u.close_session, "default");
	doc = wire_doc_free(doc);
	good(WIRE_EXECUTE, "{\"command\":\"ls -l\"}", &doc, &q);
	assert_false(q.u.execute.command_is_list || q.u.execute.has_env || q.u.execute.shell || q.u.execute.check);
	assert_int_equal(q.u.execute.command.count, 1);
	assert_str(q.u.execute.command.items[0], "ls -l");
	assert_null(q.u.execute.cwd.ptr);
	assert_true(q.u.execute.timeout < 0);
	doc = wire_doc_free(doc);
	good(WIRE_OPEN_STREAM, "{}", &doc, &q);
	assert_int_equal(q.u.open_stream.command.count + q.u.open_stream.env.count, 0);
	assert_false(q.u.open_stream.tty || q.u.open_stream.shell || q.u.open_stream.cwd.ptr);
	assert_int_equal(q.u.open_stream.rows + q.u.open_stream.columns, 0);
	doc = wire_doc_free(doc);
	good(WIRE_READ_FILE, "{\"path\":\"p\",\"encoding\":null,\"errors\":\"replace\"}", &doc, &q);
	assert_null(q.u.read_file.encoding.ptr);
	assert_str(q.u.read_file.errors, "replace");
	wire_doc_free(doc);
}

static void test_values(void **state)
{
	(void)state;
	struct wire_doc *doc;
	struct wire_request q;
	good(WIRE_RUN_IN_SESSION,
	     "{\"action_type\":\"bash\",\"session\":\"s\",\"command\":\"a\\u0000\\ud83d\\ude00\",\"timeout\":2.5,"
	     "\"check\":\"ignore\","
	     "\"expect\":[\">>> \",\"(gdb) "
	     "\"],\"is_interactive_quit\":\"yes\",\"is_interactive_command\":1,\"error_msg\":\"e\"}",
	     &doc, &q);
	assert_int_equal(q.u.bash.command.len, 6);
	assert_memory_equal(q.u.bash.command.ptr, "a\0\xf0\x9f\x98\x80", 6);
	assert_true(q.u.bash.timeout == 2.5);
	assert_int_equal(q.u.bash.check, CREX_CHECK_IGNORE);
	assert_int_equal(q.u.bash.expect.count, 2);
	assert_str(q.u.bash.expect.items[1], "(gdb) ");
	assert_true(q.u.bash.is_interactive_quit && q.u.bash.is_interactive_command);
	assert_str(q.u.bash.error_msg, "e");
	doc = wire_doc_free(doc);
	good(WIRE_EXECUTE, "{\"command\":[\"sh\",\"x y\"],\"env\":{\"A\":\"1=2\",\"B\":\"\"},\"cwd\":\"/tmp\"}", &doc,
	     &q);
	assert_true(q.u.execute.command_is_list && q.u.execute.has_env);
	assert_int_equal(q.u.execute.command.count, 2);
	assert_int_equal(q.u.execute.env.count, 2);
	assert_str(q.u.execute.env.items[0], "A=1=2");
	assert_str(q.u.execute.env.items[1], "B=");
	assert_str(q.u.execute.cwd, "/tmp");
	doc = wire_doc_free(doc);
	good(WIRE_EXECUTE, "{\"command\":\"first\",\"command\":\"last\",\"env\":{}}", &doc, &q);
	assert_str(q.u.execute.command.items[0], "last");
	assert_true(q.u.execute.has_env);
	assert_int_equal(q.u.execute.env.count, 0);
	wire_doc_free(doc);
}

static void test_timeouts(void **state)
{
	(void)state;
	static const struct {
		const char *json;
		double want;
	} rows[] = {{"0", 0},
		    {"-1", 0},
		    {"-0.5", 0},
		    {"-Infinity", 0},
		    {"null", -1},
		    {"Infinity", -1},
		    {"1e999", -1},
		    {"\"inf\"", -1},
		    {"\"5\"", 5},
		    {"\" 1_0.5\\n\"", 10.5},
		    {"true", 1},
		    {"\"1e2\"", 100},
		    {"100000000000000000000", 1e20},
		    {"-100000000000000000000", 0},
		    {"1e-320", 1e-320}};
	for (size_t i = 0; i < LEN(rows); i++) {
		char body[200];
		snprintf(body, sizeof body, "{\"command\":\"x\",\"timeout\":%s}", rows[i].json);
		struct wire_doc *doc;
		struct wire_request q;
		good(WIRE_EXECUTE, body, &doc, &q);
		if (q.u.execute.timeout != rows[i].want)
			fail_msg("%s -> %g", rows[i].json, q.u.execute.timeout);
		wire_doc_free(doc);
	}
}

static void test_findings(void **state)
{
	(void)state;
	/* type and loc of each finding, as Python's json.dumps would write the loc */
	static const struct {
		enum wire_request_kind kind;
		const char *body;
		const char *findings;
	} rows[] = {
		{WIRE_EXECUTE, "", "missing[\"body\"] "},
		{WIRE_EXECUTE, "null", "missing[\"body\"] "},
		{WIRE_EXECUTE, "[1]", "model_attributes_type[\"body\"] "},
		{WIRE_EXECUTE, "{", "json_invalid[\"body\",1] "},
		{WIRE_EXECUTE, "{\"command\":\"\xff\"}", "json_invalid[\"body\",12] "},
		{WIRE_EXECUTE, "{}", "missing[\"body\",\"command\"] "},
		{WIRE_EXECUTE,
		 "{\"command\":5,\"shell\":2,\"check\":[],\"error_msg\":null,\"env\":[],\"cwd\":1,\"timeout\":\"x\"}",
		 "string_type[\"body\",\"command\",\"str\"] list_type[\"body\",\"command\",\"list[str]\"] "
		 "float_parsing[\"body\",\"timeout\"] bool_parsing[\"body\",\"shell\"] bool_type[\"body\",\"check\"] "
		 "string_type[\"body\",\"error_msg\"] dict_type[\"body\",\"env\"] string_type[\"body\",\"cwd\"] "},
		{WIRE_EXECUTE, "{\"command\":[\"a\",null]}",
		 "string_type[\"body\",\"command\",\"str\"] string_type[\"body\",\"command\",\"list[str]\",1] "},
		{WIRE_EXECUTE, "{\"command\":\"x\",\"env\":{\"a=\":\"\",\"b\":\"\\u0000\",\"c\":1},\"timeout\":NaN}",
		 "finite_number[\"body\",\"timeout\"] value_error[\"body\",\"env\",\"a=\"] "
		 "value_error[\"body\",\"env\",\"b\"] "
		 "string_type[\"body\",\"env\",\"c\"] "},
		{WIRE_RUN_IN_SESSION, "{}", "missing[\"body\",\"bash\",\"command\"] "},
		{WIRE_RUN_IN_SESSION, "{\"action_type\":\"zsh\"}", "union_tag_invalid[\"body\"] "},
		{WIRE_RUN_IN_SESSION, "{\"action_type\":null}", "union_tag_invalid[\"body\"] "},
		{WIRE_RUN_IN_SESSION,
		 "{\"command\":\"\\udc80\",\"check\":\"no\",\"expect\":\"x\",\"is_interactive_quit\":0.5}",
		 "string_unicode[\"body\",\"bash\",\"command\"] bool_type[\"body\",\"bash\",\"is_interactive_quit\"] "
		 "literal_error[\"body\",\"bash\",\"check\"] list_type[\"body\",\"bash\",\"expect\"] "},
		{WIRE_RUN_IN_SESSION,
		 "{\"action_type\":\"bash_interrupt\",\"n_retry\":1.5,\"timeout\":null,\"expect\":[1]}",
		 "float_type[\"body\",\"bash_interrupt\",\"timeout\"] "
		 "int_from_float[\"body\",\"bash_interrupt\",\"n_retry\"] "
		 "string_type[\"body\",\"bash_interrupt\",\"expect\",0] "},
		{WIRE_CREATE_SESSION, "{\"session_type\":\"zsh\"}", "union_tag_invalid[\"body\"] "},
		{WIRE_CLOSE_SESSION, "{\"session\":1}", "string_type[\"body\",\"bash\",\"session\"] "},
		{WIRE_WRITE_FILE, "{\"path\":1}", "string_type[\"body\",\"path\"] missing[\"body\",\"content\"] "},
	};
	for (size_t i = 0; i < LEN(rows); i++) {
		struct wire_doc *doc;
		struct wire_request q;
		struct buf detail, got;
		buf_init(&got, 1 << 16);
		assert_int_equal(decode_len(rows[i].kind, rows[i].body, strlen(rows[i].body), &doc, &q, &detail), 422);
		assert_null(doc);
		json_t *root = json_loadb(detail.data, detail.len, JSON_ALLOW_NUL, NULL), *item;
		size_t n;
		json_array_foreach(json_object_get(root, "detail"), n, item)
		{
			char *loc = json_dumps(json_object_get(item, "loc"), JSON_COMPACT);
			assert_true(json_string_length(json_object_get(item, "msg")) > 5);
			assert_non_null(json_object_get(item, "input"));
			buf_printf(&got, "%s%s ", json_string_value(json_object_get(item, "type")), loc);
			free(loc);
		}
		assert_string_equal(got.data, rows[i].findings);
		json_decref(root);
		buf_deinit(&detail);
		buf_deinit(&got);
	}
}

static void test_wording(void **state)
{
	(void)state;
	struct wire_doc *doc;
	struct wire_request q;
	struct buf detail;
	const char *body = "{\"check\":\"no\",\"command\":\"x\"}";
	assert_int_equal(decode_len(WIRE_RUN_IN_SESSION, body, strlen(body), &doc, &q, &detail), 422);
	assert_string_equal(detail.data,
			    "{\"detail\":[{\"type\":\"literal_error\",\"loc\":[\"body\",\"bash\",\"check\"],\"msg\":"
			    "\"Input should be "
			    "'silent', 'raise' or 'ignore'\",\"input\":\"no\",\"ctx\":{\"expected\":\"'silent', "
			    "'raise' or 'ignore'\"}}]}");
	buf_deinit(&detail);
	body = "{\"action_type\":\"x\"}";
	assert_int_equal(decode_len(WIRE_RUN_IN_SESSION, body, strlen(body), &doc, &q, &detail), 422);
	assert_non_null(strstr(detail.data,
			       "Input tag 'x' found using 'action_type' does not match any of the expected tags: "
			       "'bash', 'bash_interrupt'"));
	buf_deinit(&detail);
}

/* A big refused body must not come back, and many findings are cut. */
static void test_bounded_echo(void **state)
{
	(void)state;
	struct buf body, detail;
	struct wire_doc *doc;
	struct wire_request q;
	buf_init(&body, 1 << 22);
	buf_append_str(&body, "{\"command\":[");
	for (int i = 0; i < 90000; i++)
		buf_printf(&body, "%s%d", i ? "," : "", i);
	buf_append_str(&body, "]}");
	assert_int_equal(decode_len(WIRE_EXECUTE, body.data, body.len, &doc, &q, &detail), 422);
	assert_true(detail.len < 200000);
	buf_deinit(&detail);
	buf_clear(&body);
	for (int i = 0; i < 100000; i++)
		buf_append_char(&body, '[');
	assert_int_equal(decode_len(WIRE_EXECUTE, body.data, body.len, &doc, &q, &detail), 422);
	assert_non_null(strstr(detail.data, "json_invalid"));
	buf_deinit(&detail);
	buf_deinit(&body);
}

static int decode_repeated(enum wire_request_kind kind, const char *head, const char *item, int n, const char *tail)
{
	struct buf body, detail;
	struct wire_doc *doc;
	struct wire_request q;
	buf_init(&body, 64 << 20);
	assert_int_equal(buf_append_str(&body, head), 0);
	for (int i = 0; i < n; i++)
		assert_int_equal(buf_printf(&body, "%s%s", i ? "," : "", item), 0);
	assert_int_equal(buf_append_str(&body, tail), 0);
	int r = decode_len(kind, body.data, body.len, &doc, &q, &detail);
	if (r == 422) {
		json_t *root = json_loadb(detail.data, detail.len, JSON_ALLOW_NUL, NULL);
		assert_non_null(root);
		json_decref(root);
		if (strstr(detail.data, "too many values")) {
			assert_non_null(strstr(detail.data, "\"type\":\"json_invalid\""));
			r = -422;
		}
	}
	wire_doc_free(doc);
	buf_deinit(&detail);
	buf_deinit(&body);
	return r;
}

/* What a tree costs is bounded before it is built; characters within strings are no values, however many. */
static void test_values_are_counted(void **state)
{
	(void)state;
	static const char *const items[] = {"{}", "[]", "1", "\"\"", "\"\\\"\"", "\"\\\\\"", "NaN", "{\"a\":[{}]}"};
	for (size_t i = 0; i < LEN(items); i++) {
		assert_int_equal(decode_repeated(WIRE_EXECUTE, "{\"command\":\"x\",\"a\":[", items[i], 1000000, "]}"),
				 -422);
		assert_int_equal(decode_repeated(WIRE_EXECUTE, "{\"command\":\"x\",\"a\":[", items[i], 19000, "]}"), 0);
	}
	assert_int_equal(decode_repeated(WIRE_EXECUTE, "", "[", 200000, ""), -422);
	assert_int_equal(decode_repeated(WIRE_EXECUTE, "{\"command\":[", "\"an argument\"", 90000, "]}"), 0);
	/* just at the limit: { : , : [ and one comma less than there are items */
	assert_int_equal(decode_repeated(WIRE_EXECUTE, "{\"command\":\"x\",\"a\":[", "1", 99996, "]}"), 0);
	assert_int_equal(decode_repeated(WIRE_EXECUTE, "{\"command\":\"x\",\"a\":[", "1", 99997, "]}"), -422);
	static const char *const texts[] = {"[{:,", "\\\"[[[", "\\\\,,,", "\\\\\\\",{", "\\u005b["};
	for (size_t i = 0; i < LEN(texts); i++) {
		assert_int_equal(
			decode_repeated(WIRE_WRITE_FILE, "{\"path\":\"p\",\"content\":\"", texts[i], 100000, "\"}"), 0);
		assert_int_equal(
			decode_repeated(WIRE_WRITE_FILE, "{\"path\":\"p\",\"content\":\"", texts[i], 100000, ""), 422);
	}
}

static void decode_any(const char *body, size_t len)
{
	for (int kind = WIRE_CREATE_SESSION; kind <= WIRE_OPEN_STREAM; kind++) {
		struct wire_doc *doc;
		struct wire_request q;
		struct buf detail;
		char *copy = malloc(len ? len : 1);
		memcpy(copy, body, len);
		int r = decode_len((enum wire_request_kind)kind, copy, len, &doc, &q, &detail);
		free(copy);
		assert_true(r == 0 || r == 422);
		if (r == 422) {
			json_t *root = json_loadb(detail.data, detail.len, JSON_ALLOW_NUL, NULL);
			assert_true(json_array_size(json_object_get(root, "detail")) > 0);
			json_decref(root);
		}
		wire_doc_free(doc);
		buf_deinit(&detail);
	}
}

static void test_prefixes_and_neighbours(void **state)
{
	(void)state;
	static const char *const bodies[] = {
		"{\"command\":[\"a\\ud800\",\"b\"],\"timeout\":-Infinity,\"env\":{\"K\":\"v\"}}",
		"{\"action_type\":\"bash\",\"command\":\"x\\n\",\"timeout\":123456789012345678901234567890,\"expect\":["
		"]}",
		"\xEF\xBB\xBF{\"path\":\"p\",\"content\":\"\\ud83d\\ude00\",\"x\":NaN}",
	};
	for (size_t i = 0; i < LEN(bodies); i++) {
		size_t len = strlen(bodies[i]);
		char copy[200];
		for (size_t n = 0; n <= len; n++)
			decode_any(bodies[i], n);
		for (size_t at = 0; at < len; at++) {
			static const char others[] = "\"\\{}[],:0-NIu\xff";
			for (size_t o = 0; o < sizeof others; o++) {
				memcpy(copy, bodies[i], len);
				copy[at] = others[o];
				decode_any(copy, len);
			}
		}
	}
}

static void test_strings(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"", "\"\""},
		{"plain text that is longer than eight bytes", "\"plain text that is longer than eight bytes\""},
		{"\x01\b\t\n\f\r\x1f\x7f\"\\/", "\"\\u0001\\b\\t\\n\\f\\r\\u001f\x7f\\\"\\\\/\""},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"\xed\xb2\x80\xed\xa0\x80", "\"\\udc80\\ud800\""},
		{"a\xff\xe2\x82", "\"a\\\\xff\\\\xe2\\\\x82\""},
		{"\xed\xa0", "\"\\\\xed\\\\xa0\""},
	};
	struct buf nothing;
	buf_init(&nothing, 2);
	assert_int_equal(wire_encode_string(&nothing, NULL, 0), 0); /* an empty view; the sanitizers watch this one */
	assert_string_equal(nothing.data, "\"\"");
	buf_deinit(&nothing);
	for (size_t i = 0; i < LEN(rows); i++) {
		struct buf out;
		buf_init(&out, 1000);
		assert_int_equal(wire_encode_string(&out, rows[i].in, strlen(rows[i].in)), 0);
		assert_string_equal(out.data, rows[i].out);
		size_t need = out.len;
		for (size_t max = 0; max < need; max++) {
			struct buf small;
			buf_init(&small, max);
			assert_int_equal(wire_encode_string(&small, rows[i].in, strlen(rows[i].in)), -ENOSPC);
			assert_int_equal(small.len, 0);
			buf_deinit(&small);
		}
		buf_deinit(&out);
	}
}

static void test_every_byte_at_every_place(void **state)
{
	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		for (size_t at = 0; at < 20; at++) {
			char in[20];
			memset(in, 'x', sizeof in);
			in[at] = (char)byte;
			struct buf out;
			buf_init(&out, 1000);
			assert_int_equal(wire_encode_string(&out, in, sizeof in), 0);
			json_t *v = json_loadb(out.data, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
			assert_non_null(v);
			assert_int_equal(json_string_length(v), byte < 0x80 ? sizeof in : sizeof in + 3);
			if (byte < 0x80)
				assert_memory_equal(json_string_value(v), in, sizeof in);
			json_decref(v);
			buf_deinit(&out);
		}
	}
}

static void test_replies(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 10000);
	char output[] = "hi\n", expect[] = "SHELLPS1PREFIX";
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	obs.output = output;
	obs.output_len = 3;
	obs.expect_string = expect;
	assert_int_equal(wire_encode_observation(&out, &obs), 0);
	assert_string_equal(out.data,
			    "{\"output\":\"hi\\n\",\"exit_code\":null,\"failure_reason\":\"\",\"expect_string\":"
			    "\"SHELLPS1PREFIX\",\"session_type\":\"bash\"}");
	obs.has_exit_code = obs.truncated = obs.session_ended = true;
	obs.exit_code = -9;
	obs.expect_string = NULL;
	buf_clear(&out);
	assert_int_equal(wire_encode_observation(&out, &obs), 0);
	assert_string_equal(out.data,
			    "{\"output\":\"hi\\n\",\"exit_code\":-9,\"failure_reason\":\"\",\"expect_string\":\"\","
			    "\"session_type\":\"bash\",\"truncated\":true,\"session_ended\":true}");
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	buf_clear(&out);
	assert_int_equal(wire_encode_execute(&out, &res), 0);
	assert_string_equal(out.data, "{\"stdout\":\"\",\"stderr\":\"\",\"exit_code\":0}");
	struct crex_error err = CREX_ERROR_INIT;
	crex_error_set(&err, CREX_E_BASH_INCORRECT_SYNTAX, "bad \"%s\"", "x");
	crex_error_add(&err, "bash_stdout", "", 0);
	crex_error_add(&err, "bash_stderr", "line 1\n", 7);
	buf_clear(&out);
	assert_int_equal(wire_encode_error(&out, &err, NULL), 0);
	assert_string_equal(out.data,
			    "{\"swerexception\":{\"message\":\"bad \\\"x\\\"\",\"class_path\":\"swerex.exceptions."
			    "BashIncorrectSyntaxError\",\"traceback\":\"\",\"extra_info\":{\"bash_stdout\":\"\","
			    "\"bash_stderr\":\"line 1\\n\"}}}");
	for (size_t max = 0; max < out.len; max++) {
		struct buf small;
		buf_init(&small, max);
		assert_int_equal(wire_encode_error(&small, &err, NULL), -ENOSPC);
		assert_int_equal(small.len, 0);
		buf_deinit(&small);
	}
	crex_error_clear(&err);
	buf_clear(&out);
	wire_encode_create_session(&out, "o", 1);
	wire_encode_close_session(&out);
	wire_encode_read_file(&out, "c", 1);
	wire_encode_empty(&out);
	assert_string_equal(
		out.data,
		"{\"output\":\"o\",\"session_type\":\"bash\"}{\"session_type\":\"bash\"}{\"content\":\"c\"}{}");
	buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_findings),
		cmocka_unit_test(test_wording),
		cmocka_unit_test(test_bounded_echo),
		cmocka_unit_test(test_values_are_counted),
		cmocka_unit_test(test_prefixes_and_neighbours),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_every_byte_at_every_place),
		cmocka_unit_test(test_replies),
	};
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}

/* tests/unit/test_wire_client.c: requests come out of the server's decoder as they went in; replies come in whole or
 * are refused, whatever is in them.
 *
 * Every prefix of the good replies is read too, and every reply with each of its bytes changed. */
#include "wire/client.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof *(a))

/* --- requests -------------------------------------------------------------------------------------------------- */

static void encode(const struct wire_request *req, struct buf *out)
{
	buf_init(out, 1 << 20);
	assert_int_equal(wire_encode_request(out, req), 0);
}

static struct wire_doc *round_trip(const struct wire_request *req, struct wire_request *ret)
{
	struct buf body, detail;
	struct wire_doc *doc = NULL;
	encode(req, &body);
	buf_init(&detail, 1 << 20);
	int r = wire_decode(req->kind, (struct crex_str){body.data, body.len}, &doc, ret, &detail);
	if (r)
		fail_msg("%s -> %s", body.data, detail.data);
	assert_int_equal(ret->is_interrupt, req->is_interrupt);
	buf_deinit(&body);
	buf_deinit(&detail);
	return doc;
}

static void assert_same(struct crex_str a, struct crex_str b)
{
	assert_int_equal(a.len, b.len);
	if (a.len)
		assert_memory_equal(a.ptr, b.ptr, a.len);
}

static void assert_same_list(struct crex_str_list a, struct crex_str_list b)
{
	assert_int_equal(a.count, b.count);
	for (size_t i = 0; i < a.count; i++)
		assert_same(a.items[i], b.items[i]);
}

static const struct crex_str odd = CREX_STR("a\0\"\\\n\x01\x7F\xC3\xA4\xF0\x9F\x98\x80");

static void test_requests(void **state)
{
	(void)state;
	struct crex_str items[] = {odd, CREX_STR(""), CREX_STR("x")},
			env[] = {CREX_STR("A=b=c"), CREX_STR("B="), CREX_STR("C")};
	struct wire_request req, got;

	req = (struct wire_request){.kind = WIRE_CREATE_SESSION, .u.create_session = {odd, {items, 3}, 0.25}};
	struct wire_doc *doc = round_trip(&req, &got);
	assert_same(got.u.create_session.session, odd);
	assert_same_list(got.u.create_session.startup_source, req.u.create_session.startup_source);
	assert_true(got.u.create_session.startup_timeout == 0.25);
	wire_doc_free(doc);

	const struct crex_bash_action bash = {odd, odd, 12.5, true, true, CREX_CHECK_IGNORE, odd, {items, 3}};
	req = (struct wire_request){.kind = WIRE_RUN_IN_SESSION, .u.bash = bash};
	doc = round_trip(&req, &got);
	assert_same(got.u.bash.command, odd);
	assert_true(got.u.bash.is_interactive_command && got.u.bash.is_interactive_quit);
	assert_int_equal(got.u.bash.check, CREX_CHECK_IGNORE);
	assert_true(got.u.bash.timeout == 12.5);
	assert_same(got.u.bash.error_msg, odd);
	assert_same_list(got.u.bash.expect, req.u.bash.expect);
	wire_doc_free(doc);

	req = (struct wire_request){
		.kind = WIRE_RUN_IN_SESSION, .is_interrupt = true, .u.interrupt = {odd, 0.2, -7, {items, 1}}};
	doc = round_trip(&req, &got);
	assert_true(got.u.interrupt.timeout == 0.2);
	assert_int_equal(got.u.interrupt.n_retry, -7);
	wire_doc_free(doc);

	req = (struct wire_request){.kind = WIRE_CLOSE_SESSION, .u.close_session = odd};
	doc = round_trip(&req, &got);
	assert_same(got.u.close_session, odd);
	wire_doc_free(doc);

	const struct crex_execute_request list = {{items, 3}, true, 3, false, true, odd, true, {env, 3}, odd, true};
	req = (struct wire_request){.kind = WIRE_EXECUTE, .u.execute = list};
	doc = round_trip(&req, &got);
	assert_true(got.u.execute.command_is_list && got.u.execute.check && got.u.execute.merge_output_streams);
	assert_same_list(got.u.execute.command, list.command);
	assert_true(got.u.execute.has_env);
	assert_int_equal(got.u.execute.env.count, 3);
	assert_same(got.u.execute.env.items[0], env[0]);
	assert_same(got.u.execute.env.items[2], (struct crex_str)CREX_STR("C="));
	wire_doc_free(doc);
	req.u.execute = (struct crex_execute_request)CREX_EXECUTE_REQUEST_INIT;
	req.u.execute.command = (struct crex_str_list){items, 1};
	doc = round_trip(&req, &got);
	assert_false(got.u.execute.command_is_list || got.u.execute.has_env);
	assert_null(got.u.execute.cwd.ptr);
	assert_true(got.u.execute.timeout < 0);
	wire_doc_free(doc);

	req = (struct wire_request){.kind = WIRE_READ_FILE, .u.read_file = {odd, CREX_STR("latin-1"), {NULL, 0}}};
	doc = round_trip(&req, &got);
	assert_same(got.u.read_file.encoding, req.u.read_file.encoding);
	assert_null(got.u.read_file.errors.ptr);
	wire_doc_free(doc);

	req = (struct wire_request){.kind = WIRE_WRITE_FILE, .u.write_file = {odd, odd}};
	doc = round_trip(&req, &got);
	assert_same(got.u.write_file.content, odd);
	wire_doc_free(doc);
}

static void test_seconds(void **state)
{
	(void)state;
	static const struct {
		double seconds;
		const char *text;
	} cases[] = {{0, "0.0"},
		     {0.1, "0.1"},
		     {0.15, "0.15"},
		     {30, "30.0"},
		     {1e-9, "0.000000001"},
		     {0.9999999999, "1.0"},
		     {123456.789, "123456.789"},
		     {-1, "null"},
		     {INFINITY, "null"},
		     {NAN, "null"},
		     {1e300, "null"}};
	for (size_t i = 0; i < LEN(cases); i++) {
		char want[64];
		struct buf body;
		struct wire_request req = {.kind = WIRE_EXECUTE, .u.execute = CREX_EXECUTE_REQUEST_INIT};
		req.u.execute.timeout = cases[i].seconds;
		encode(&req, &body);
		snprintf(want, sizeof want, "\"timeout\":%s,", cases[i].text);
		if (!strstr(body.data, want))
			fail_msg("%s is not in %s", want, body.data);
		buf_deinit(&body);
	}
}

static void test_stray_bytes(void **state)
{
	(void)state;
	struct buf body;
	struct wire_request req = {.kind = WIRE_CLOSE_SESSION, .u.close_session = CREX_STR("a\xFF\xC3\xED\xA0\x80")};
	encode(&req, &body);
	assert_string_equal(body.data, "{\"session_type\":\"bash\",\"session\":\"a\\udcff\\udcc3\\ud800\"}");
	buf_deinit(&body);
	/* what does not fit leaves nothing */
	buf_init(&body, 20);
	assert_true(wire_encode_request(&body, &req) < 0);
	assert_int_equal(body.len, 0);
	buf_deinit(&body);
}

/* --- replies --------------------------------------------------------------------------------------------------- */

enum reader { IS_ALIVE, CREATE, OBSERVE, EXECUTE, READ };

static int read_any(enum reader reader, const char *body, size_t len, struct crex_error *err)
{
	/* exactly as long as it is, so that a sanitizer sees a step too far */
	char *copy = malloc(len ? len : 1);
	memcpy(copy, body, len);
	struct crex_str text = {copy, len};
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	struct crex_text output = CREX_TEXT_INIT;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	int r = -1;
	switch (reader) {
	case IS_ALIVE: r = wire_read_is_alive(text, &alive, err); break;
	case CREATE: r = wire_read_create_session(text, &output, err); break;
	case OBSERVE: r = wire_read_observation(text, &obs, err); break;
	case EXECUTE: r = wire_read_execute(text, &res, err); break;
	case READ: r = wire_read_read_file(text, &output, err); break;
	}
	crex_is_alive_clear(&alive);
	crex_text_clear(&output);
	crex_observation_clear(&obs);
	crex_execute_result_clear(&res);
	free(copy);
	return r;
}

static const struct {
	enum reader reader;
	const char *body;
} good[] = {
	{IS_ALIVE, " { \"is_alive\" : true , \"message\" : \"\" } "},
	{CREATE, "{\"output\":\"a\\u0000b\",\"session_type\":\"bash\"}"},
	{OBSERVE,
	 "{\"output\":\"\\ud83d\\ude00\\n\",\"exit_code\":-1,\"failure_reason\":\"\",\"expect_string\":\">>> \","
	 "\"session_type\":\"bash\",\"truncated\":true,\"new\":{\"a\":[1,-2.5e+3,null,{}],\"b\":[]}}"},
	{EXECUTE, "{\"stdout\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"stderr\":\"\xC3\xA4\",\"exit_code\":0}"},
	{READ, "{\"content\":\"12345678901234567890\"}"},
};

static void test_replies(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	for (size_t i = 0; i < LEN(good); i++) {
		size_t len = strlen(good[i].body);
		if (read_any(good[i].reader, good[i].body, len, &err) < 0)
			fail_msg("%s: %s", good[i].body, err.message);
		while (len > 0 && good[i].body[len - 1] == ' ')
			len--;
		while (len-- > 0) {
			assert_int_equal(read_any(good[i].reader, good[i].body, len, &err), -1);
			assert_int_equal(err.code, CREX_E_PROTOCOL);
		}
		char *changed = strdup(good[i].body);
		for (size_t at = 0; changed[at]; at++) {
			char was = changed[at];
			for (int c = 0; c < 256; c++) {
				changed[at] = (char)c;
				read_any(good[i].reader, changed, strlen(good[i].body), &err);
			}
			changed[at] = was;
		}
		free(changed);
	}
	crex_error_clear(&err);
}

static void test_values(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	struct crex_text text = CREX_TEXT_INIT;
	struct crex_str body =
		CREX_STR("{\"output\":\"x\\u0000\\ud83d\\ude00\\udcff\",\"exit_code\":null,\"session_ended\":true,"
			 "\"failure_reason\":\"" WIRE_SESSION_ENDED "\",\"output\":\"twice\\u0000\"}");
	assert_int_equal(wire_read_observation(body, &obs, &err), 0);
	assert_int_equal(obs.output_len, 6);
	assert_memory_equal(obs.output, "twice\0", 7);
	assert_false(obs.has_exit_code);
	assert_true(obs.session_ended);
	assert_string_equal(obs.failure_reason, WIRE_SESSION_ENDED);
	crex_observation_clear(&obs);
	body = (struct crex_str)CREX_STR(
		"{\"output\":\"\\u00e9\\ud83d\\ude00\\udcff\\u20ac\",\"exit_code\":7,\"failure_reason\":\"?\"}");
	assert_int_equal(wire_read_observation(body, &obs, &err), 0);
	assert_string_equal(obs.output, "\xC3\xA9\xF0\x9F\x98\x80\xED\xB3\xBF\xE2\x82\xAC");
	assert_true(obs.has_exit_code && obs.exit_code == 7);
	assert_string_not_equal(obs.failure_reason, "");
	crex_observation_clear(&obs);
	body = (struct crex_str)CREX_STR("{\"exit_code\":-2147483648}");
	assert_int_equal(wire_read_execute(body, &res, &err), 0);
	assert_int_equal(res.exit_code, INT_MIN);
	body = (struct crex_str)CREX_STR("{\"session_type\":\"bash\"}");
	assert_int_equal(wire_read_create_session(body, &text, &err), 0);
	assert_string_equal(text.data, "");
	crex_text_clear(&text);
}

static void test_bad_replies(void **state)
{
	(void)state;
	static const struct {
		enum reader reader;
		const char *body;
	} bad[] = {
		{IS_ALIVE, ""},
		{IS_ALIVE, "<html>"},
		{IS_ALIVE, "[]"},
		{IS_ALIVE, "null"},
		{IS_ALIVE, "{}"},
		{IS_ALIVE, "{\"ok\":true}"},
		{IS_ALIVE, "{\"is_alive\":1}"},
		{IS_ALIVE, "{\"is_alive\":true}x"},
		{IS_ALIVE, "{\"is_alive\":true,}"},
		{IS_ALIVE, "{\"is_alive\" true}"},
		{IS_ALIVE, "{is_alive:true}"},
		{EXECUTE, "{\"exit_code\":1.0}"},
		{EXECUTE, "{\"exit_code\":2147483648}"},
		{EXECUTE, "{\"exit_code\":-2147483649}"},
		{EXECUTE, "{\"exit_code\":1e400}"},
		{EXECUTE, "{\"exit_code\":99999999999999999999999}"},
		{EXECUTE, "{\"exit_code\":01}"},
		{EXECUTE, "{\"exit_code\":-}"},
		{EXECUTE, "{\"exit_code\":\"0\"}"},
		{READ, "{\"content\":\"\\u12g4\"}"},
		{READ, "{\"content\":\"\\x41\"}"},
		{READ, "{\"content\":\"a\nb\"}"},
		{READ, "{\"content\":\"\xFF\"}"},
		{READ, "{\"content\":\"\xED\xA0\x80\"}"},
		{READ, "{\"content\":\"\xC3\"}"},
		{READ, "{\"content\":17}"},
		{READ, "{\"content\":\"\\"},
		{READ, "{\"content\":\"\\\"}"},
	};
	struct crex_error err = CREX_ERROR_INIT;
	for (size_t i = 0; i < LEN(bad); i++) {
		if (read_any(bad[i].reader, bad[i].body, strlen(bad[i].body), &err) == 0)
			fail_msg("%s was taken", bad[i].body);
		assert_int_equal(err.code, CREX_E_PROTOCOL);
	}
	char deep[600] = "{\"is_alive\":true,\"x\":";
	memset(deep + strlen(deep), '[', 500);
	assert_int_equal(read_any(IS_ALIVE, deep, strlen(deep), &err), -1);
	assert_non_null(strstr(err.message, "too deep"));
	crex_error_clear(&err);
}

/* --- errors ---------------------------------------------------------------------------------------------------- */

static void fails(int status, const char *body, enum crex_error_code code, const char *text, struct crex_error *err)
{
	assert_int_equal(wire_read_error(status, crex_str_of(body), err), -1);
	if (err->code != code || !strstr(err->message, text))
		fail_msg("%s -> %s: %s", body ? body : "nothing", crex_error_name(err->code), err->message);
}

#define EXCEPTION(message, path, extra)                                                                                \
	"{\"swerexception\":{\"message\":" message ",\"class_path\":" path ",\"traceback\":\"\",\"extra_info\":" extra \
	"}}"

static void test_errors(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	fails(511,
	      EXCEPTION("\"m\"", "\"swerex.exceptions.CommandTimeoutError\"",
			"{\"output\":\"so\\u0000far\",\"n\":[1, 2]}"),
	      CREX_E_COMMAND_TIMEOUT, "m", &err);
	assert_null(err.class_path);
	assert_int_equal(err.n_extra, 2);
	assert_int_equal(err.extra[0].len, 6);
	assert_string_equal(crex_error_extra(&err, "n"), "[1, 2]");
	fails(511, EXCEPTION("\"m\"", "\"own.Error\"", "null"), CREX_E_SWEREX, "m", &err);
	assert_string_equal(err.class_path, "own.Error");
	fails(511, EXCEPTION("\"m\"", "\"builtins.TimeoutError\"", "{}"), CREX_E_SWEREX, "m", &err);
	assert_string_equal(err.class_path, "builtins.TimeoutError");
	fails(511, EXCEPTION("\"m\"", "\"swerex.exceptions.SwerexException\"", "{}"), CREX_E_SWEREX, "m", &err);
	assert_null(err.class_path);
	fails(511, "{\"swerexception\":{}}", CREX_E_SWEREX, "", &err);
	fails(511, "{\"other\":{}}", CREX_E_PROTOCOL, "swerexception", &err);
	fails(511, "{\"swerexception\":{\"message\":\"m\"}", CREX_E_PROTOCOL, "too early", &err);
	fails(511, "", CREX_E_PROTOCOL, "empty", &err);
	fails(401, "{\"detail\":\"Invalid API Key\"}", CREX_E_AUTHENTICATION, "Invalid API Key", &err);
	fails(403, "{\"detail\":\"Not authenticated\"}", CREX_E_AUTHENTICATION, "Not authenticated", &err);
	fails(404, "{\"detail\":\"Not Found\"}", CREX_E_PROTOCOL, "no SWE-ReX server", &err);
	fails(405, "<html>", CREX_E_PROTOCOL, "no SWE-ReX server", &err);
	fails(422,
	      "{\"detail\":[{\"loc\":[\"body\",\"bash\",\"command\"],\"msg\":\"Field "
	      "required\"},{\"loc\":[\"body\",3],\"msg\":\"No\"}]}",
	      CREX_E_VALUE, "bash.command: Field required\n3: No", &err);
	fails(413, "{\"detail\":\"Too much\"}", CREX_E_LIMIT, "no request that long (413): Too much", &err);
	fails(422, "{\"detail\":\"because\"}", CREX_E_VALUE, "because", &err);
	fails(422, "nonsense", CREX_E_PROTOCOL, "nonsense", &err);
	fails(422, "{\"detail\":[]}", CREX_E_PROTOCOL, "422", &err);
	fails(500, "Internal\r\n\x01\xFFServer Error", CREX_E_PROTOCOL, "status 500: Internal   ?Server Error", &err);
	fails(500, NULL, CREX_E_PROTOCOL, "status 500", &err);
	char big[1000];
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	fails(500, big, CREX_E_PROTOCOL, "xxx...", &err);
	assert_true(strlen(err.message) < 300);
	crex_error_clear(&err);
}

static void test_error_prefixes(void **state)
{
	(void)state;
	static const char *const bodies[] = {
		EXCEPTION("\"m\\u00e9\"", "\"x.Y\"", "{\"a\":{\"b\":[true]},\"c\":\"d\"}"),
		"{\"detail\":[{\"loc\":[\"body\",\"a\"],\"msg\":\"b\",\"input\":{\"c\":[1.5]}}],\"more\":{}}",
	};
	static const int statuses[] = {511, 422, 401, 500};
	struct crex_error err = CREX_ERROR_INIT;
	for (size_t i = 0; i < LEN(bodies); i++) {
		for (size_t len = 0; len <= strlen(bodies[i]); len++) {
			char *copy = malloc(len ? len : 1);
			memcpy(copy, bodies[i], len);
			for (size_t s = 0; s < LEN(statuses); s++) {
				assert_int_equal(wire_read_error(statuses[s], (struct crex_str){copy, len}, &err), -1);
				assert_int_not_equal(err.code, CREX_OK);
				assert_non_null(err.message);
			}
			free(copy);
		}
	}
	crex_error_clear(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),    cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_stray_bytes), cmocka_unit_test(test_replies),
		cmocka_unit_test(test_values),	    cmocka_unit_test(test_bad_replies),
		cmocka_unit_test(test_errors),	    cmocka_unit_test(test_error_prefixes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

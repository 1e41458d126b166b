/* tests/unit/test_multipart.c: the form parser on every split, and uploads through the server on a fake engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/multipart.h"
#include "server_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TYPE "multipart/form-data; boundary=\"b-o\""

/* ---- the parser ---- */

static int log_part(void *arg, struct crex_str name, bool is_file)
{
	return buf_printf(arg, "<%.*s%s>", (int)name.len, name.ptr, is_file ? " file" : "");
}

static int log_data(void *arg, const char *data, size_t len)
{
	return buf_append(arg, data, len);
}

static int log_end(void *arg)
{
	return buf_append_str(arg, "</>");
}

static const struct multipart_sink log_sink = {log_part, log_data, log_end};

static enum multipart_status parse(const char *input, size_t len, size_t cut, size_t step, struct buf *out)
{
	struct multipart m;
	static const char type[] = TYPE;
	assert_true(multipart_init(&m, (struct crex_str){type, sizeof type - 1}));
	enum multipart_status status = MULTIPART_MORE;
	for (size_t at = 0; at < len && status != MULTIPART_BAD;) {
		size_t n = at < cut ? cut - at : len - at;
		if (step && n > step)
			n = step;
		/* its own allocation, so that a sanitizer sees every read too far */
		char *part = malloc(n);
		memcpy(part, input + at, n);
		status = multipart_feed(&m, part, n, &log_sink, out);
		free(part);
		at += n;
	}
	return status;
}

static void check(const char *input, size_t len, enum multipart_status status, const char *expected,
		  size_t expected_len)
{
	for (size_t cut = 0; cut <= len; cut++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		assert_int_equal(parse(input, len, cut, cut == 0, &out), status);
		if (expected) {
			assert_int_equal(out.len, expected_len);
			assert_memory_equal(out.data ? out.data : "", expected, expected_len);
		}
		buf_deinit(&out);
	}
}

#define CHECK(input, status, expected) check(input, sizeof(input) - 1, status, expected, sizeof(expected) - 1)

static void test_forms(void **state)
{
	(void)state;
	CHECK("--b-o\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b-o--\r\n", MULTIPART_DONE, "<a>1</>");
	CHECK("pre\r\n--b-o \t\r\nContent-Type: x\r\ncontent-disposition: form-data; filename=\"x\\\"y\"; "
	      "name=file\r\n\r\n"
	      "\r\n--b-\r\r\n--b-o\r\nContent-Disposition: form-data; "
	      "name=\"b\"\r\n\r\n\r\n--b-o--epilogue\r\n--b-o\r\n",
	      MULTIPART_DONE, "<file file>\r\n--b-\r</><b></>");
	/* an empty part whose delimiter follows the blank line at once */
	CHECK("--b-o\r\nContent-Disposition: form-data; name=a\r\n\r\n--b-o--", MULTIPART_DONE, "<a></>");
	CHECK("--b-o\r\nContent-Disposition: form-data; name=a\r\n\r\n--b-\r\n-\r\n--\r\n--b-o--", MULTIPART_DONE,
	      "<a>--b-\r\n-\r\n--</>");
	CHECK("--b-o\r\nContent-Disposition: form-data; name=a\r\n\r\n\0\r\0\n\r\n\r\n--b-o--", MULTIPART_DONE,
	      "<a>\0\r\0\n\r\n</>");
	CHECK("--b-o--", MULTIPART_DONE, "");
}

static void test_bad_forms(void **state)
{
	(void)state;
	CHECK("--b-ox\r\n", MULTIPART_BAD, "");
	CHECK("--b-o-x", MULTIPART_BAD, "");
	CHECK("--b-o\r\nno colon\r\n", MULTIPART_BAD, "");
	CHECK("--b-o\r\nContent-Type: x\r\n\r\ndata\r\n--b-o--", MULTIPART_BAD, "");
	CHECK("nothing of a form", MULTIPART_MORE, "");
	struct buf out;
	buf_init(&out, 1 << 20);
	char *line = malloc(MULTIPART_LINE_MAX + 100);
	memset(line, 'x', MULTIPART_LINE_MAX + 100);
	memcpy(line, "--b-o\r\n", 7);
	assert_int_equal(parse(line, MULTIPART_LINE_MAX + 100, 0, 0, &out), MULTIPART_BAD);
	free(line);
	buf_deinit(&out);
}

static void test_content_types(void **state)
{
	(void)state;
	struct multipart m;
	static const char *const bad[] = {"",
					  "multipart/form-data",
					  "multipart/form-data; boundary=",
					  "application/json; boundary=x",
					  "multipart/form-data; boundary=\"\"",
					  "multipart/form-data; x=y"};
	static const char *const good[] = {"multipart/form-data; boundary=x",
					   "Multipart/Form-Data;charset=utf-8 ; BOUNDARY=x"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(multipart_init(&m, (struct crex_str){bad[i], strlen(bad[i])}));
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(multipart_init(&m, (struct crex_str){good[i], strlen(good[i])}));
	assert_false(multipart_init(&m, (struct crex_str){NULL, 0}));
	char longer[400] = "multipart/form-data; boundary=";
	memset(longer + 30, 'x', MULTIPART_BOUNDARY_MAX + 1);
	assert_false(multipart_init(&m, (struct crex_str){longer, strlen(longer)}));
}

/* ---- uploads ---- */

#define PART(name) "--b-o\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define FILE_PART "--b-o\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n"

static void upload(struct rig *r, struct client *c, const char *before, const char *data, size_t len, const char *after)
{
	char head[300];
	size_t total = strlen(before) + len + strlen(after);
	snprintf(head, sizeof head,
		 "POST /upload HTTP/1.1\r\nX-API-Key: secret\r\ncontent-type: " TYPE "\r\n"
		 "content-length: %zu\r\n\r\n",
		 total);
	client_send_str(r, c, head);
	client_send_str(r, c, before);
	client_send(r, c, data, len);
	client_send_str(r, c, after);
}

static void test_upload_in_any_order(void **state)
{
	struct rig *r = *state;
	struct fake_stats *s = fake_stats(r->srv.rt);
	static const char *const orders[][2] = {
		{FILE_PART, "\r\n" PART("target_path") "/a/b\r\n" PART("unzip") "TRUE\r\n--b-o--\r\n"},
		{PART("unzip") "on\r\n" PART("target_path") "/a/b\r\n" FILE_PART, "\r\n--b-o--\r\n"},
		{PART("target_path") "/a/b\r\n" FILE_PART, "\r\n" PART("unzip") "1\r\n--b-o--\r\n"},
	};
	static const size_t sizes[] = {0, 1, 70000, 262143, 262144, 262145, 3000000};
	char *data = malloc(3000000);
	for (size_t i = 0; i < 3000000; i++)
		data[i] = (char)(i * 2654435761u >> 13);
	struct client c = rig_connect(r);
	for (size_t o = 0; o < 3; o++) {
		for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
			upload(r, &c, orders[o][0], data, sizes[k], orders[o][1]);
			client_expect(r, &c, 200, "{}");
			assert_string_equal(s->target, "/a/b");
			assert_true(s->unzip);
			assert_int_equal(s->content_len, sizes[k]);
			assert_memory_equal(s->content, data, sizes[k]);
		}
	}
	assert_int_equal(s->begun, s->committed);
	assert_int_equal(s->aborted, 0);
	client_close(&c);
	free(data);
}

static void expect_upload(struct rig *r, const char *form, int status, const char *part)
{
	struct client c = rig_connect(r);
	upload(r, &c, form, "", 0, "");
	client_expect(r, &c, status, part);
	client_close(&c);
}

static void test_incomplete_forms(void **state)
{
	struct rig *r = *state;
	expect_upload(r, PART("target_path") "/a\r\n--b-o--\r\n", 422,
		      "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"file\"],\"msg\":\"Field "
		      "required\",\"input\":null}]}");
	expect_upload(r, FILE_PART "x\r\n--b-o--\r\n", 422, "[\"body\",\"target_path\"]");
	expect_upload(r, "--b-o--\r\n", 422,
		      "\"file\"],\"msg\":\"Field required\",\"input\":null},{\"type\":\"missing\"");
	expect_upload(r, FILE_PART "x\r\n" PART("unzip") "perhaps\r\n--b-o--\r\n", 422, "\"input\":\"perhaps\"}]}");
	expect_upload(r, FILE_PART "x\r\n" FILE_PART "y\r\n--b-o--\r\n", 400, "More than one file");
	expect_upload(r, FILE_PART "x", 400, "error parsing the body");
	expect_upload(r, "--b-ox", 400, "error parsing the body");
	fake_fail_begin(r->srv.rt, true);
	expect_upload(r, PART("unzip") "0\r\n" PART("target_path") "/a\r\n" FILE_PART "x\r\n--b-o--\r\n", 511,
		      "IsADirectoryError");
	assert_int_equal(fake_stats(r->srv.rt)->begun, 0);
}

static void test_wrong_type(void **state)
{
	struct rig *r = *state;
	struct client c = rig_connect(r);
	client_send_str(r, &c, "POST /upload HTTP/1.1\r\nX-API-Key: secret\r\ncontent-length: 2\r\n\r\n{}");
	client_expect(r, &c, 422, "target_path");
	client_close(&c);
}

static void test_client_goes_away(void **state)
{
	struct rig *r = *state;
	struct fake_stats *s = fake_stats(r->srv.rt);
	static const size_t sizes[] = {10, 300000, 2000000};
	static const char *const starts[] = {FILE_PART, PART("unzip") "0\r\n" PART("target_path") "/a/b\r\n" FILE_PART};
	char *data = calloc(1, 2000000);
	for (size_t i = 0; i < 6; i++) {
		struct client c = rig_connect(r);
		client_send_str(r, &c,
				"POST /upload HTTP/1.1\r\nX-API-Key: secret\r\ncontent-type: " TYPE "\r\n"
				"content-length: 100000000\r\n\r\n");
		client_send_str(r, &c, starts[i % 2]);
		client_send(r, &c, data, sizes[i / 2]);
		client_close(&c);
		while (http_server_busy(r->srv.http) || http_server_connections(r->srv.http) > 0)
			rig_turn(r);
	}
	free(data);
	while (s->begun != s->aborted)
		rig_turn(r);
	assert_int_equal(s->committed, 0);
	assert_true(s->begun >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_bad_forms),
		cmocka_unit_test(test_content_types),
		cmocka_unit_test_setup_teardown(test_upload_in_any_order, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_incomplete_forms, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_wrong_type, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_client_goes_away, rig_setup, rig_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

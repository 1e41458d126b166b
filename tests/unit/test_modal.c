/* tests/unit/test_modal.c: the parts of the modal deployment that need no Modal: encodings, files, configs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "deploy/modal/grpc.h"
#include "deploy/modal/jwt.h"
#include "deploy/modal/modal.h"
#include "deploy/modal/toml.h"
#include <errno.h>

#define OF(literal) ((struct crex_str){(literal), sizeof(literal) - 1})

/* ---- protocol buffers ---- */

static void expect_bytes(const struct pb_writer *w, struct crex_str wanted)
{
	assert_int_equal(w->failure, 0);
	assert_int_equal(w->out.len, wanted.len);
	assert_memory_equal(w->out.data, wanted.ptr, wanted.len);
}

static void test_pb_writing(void **state)
{
	(void)state;
	struct pb_writer w;
	/* the examples of the encoding's own documentation */
	pb_init(&w, 1000);
	pb_uint(&w, 1, 150);
	expect_bytes(&w, OF("\x08\x96\x01"));
	buf_clear(&w.out);
	pb_string(&w, 2, "testing");
	expect_bytes(&w, OF("\x12\x07testing"));
	buf_clear(&w.out);
	size_t inner = pb_begin(&w, 3);
	pb_uint(&w, 1, 150);
	pb_end(&w, inner);
	expect_bytes(&w, OF("\x1a\x03\x08\x96\x01"));
	buf_clear(&w.out);
	pb_float(&w, 2, 55.0f);
	pb_double(&w, 3, 1.0);
	expect_bytes(&w, OF("\x15\x00\x00\x5c\x42\x19\x00\x00\x00\x00\x00\x00\xf0\x3f"));
	buf_clear(&w.out);
	pb_uint(&w, 41, UINT64_MAX);
	expect_bytes(&w, OF("\xc8\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
	buf_clear(&w.out);
	pb_uint(&w, 1, 0);
	pb_bool(&w, 1, false);
	pb_string(&w, 1, "");
	pb_string(&w, 1, NULL);
	pb_float(&w, 1, 0);
	pb_double(&w, 1, 0);
	assert_int_equal(w.out.len, 0);
	pb_item(&w, 1, "");
	pb_entry(&w, 5, "k", "v");
	expect_bytes(&w, OF("\x0a\x00\x2a\x06\x0a\x01k\x12\x01v"));
	pb_deinit(&w);
}

/* Messages of every length around the places where a length takes one more byte. */
static void test_pb_nesting(void **state)
{
	(void)state;
	static char data[17000];
	memset(data, 'x', sizeof data);
	static const size_t lengths[] = {0, 1, 120, 126, 127, 128, 129, 16380, 16383, 16384, 16385};
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct pb_writer w;
		pb_init(&w, 1 << 20);
		size_t a = pb_begin(&w, 1), b = pb_begin(&w, 2);
		pb_bytes(&w, 3, data, lengths[i]);
		pb_end(&w, b);
		pb_uint(&w, 4, 7);
		pb_end(&w, a);
		struct pb_reader r = pb_read((struct crex_str){w.out.data, w.out.len});
		struct pb_field f;
		assert_true(pb_next(&r, &f) && pb_is_bytes(&f, 1));
		struct pb_reader outer = pb_read(f.bytes);
		assert_false(pb_next(&r, &f));
		assert_true(pb_next(&outer, &f) && pb_is_bytes(&f, 2));
		struct pb_reader in = pb_read(f.bytes);
		assert_true(pb_next(&in, &f) && pb_is_bytes(&f, 3));
		assert_int_equal(f.bytes.len, lengths[i]);
		assert_memory_equal(f.bytes.ptr, data, f.bytes.len);
		assert_true(pb_next(&outer, &f) && pb_is_uint(&f, 4) && f.value == 7);
		assert_false(pb_next(&outer, &f) || outer.broken || in.broken || r.broken);
		pb_deinit(&w);
	}
}

/* A file within a message is as its bytes would be, from whatever place on and however many are copied. */
static void test_pb_file(void **state)
{
	(void)state;
	static char data[20000];
	FILE *file = tmpfile();
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (char)(i * 7);
	assert_true(file && fwrite(data, 1, sizeof data, file) == sizeof data && fflush(file) == 0);
	static const size_t lengths[] = {1, 127, 128, 16383, 16384, sizeof data};
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct pb_writer w[2];
		for (int way = 0; way < 2; way++) {
			pb_init(&w[way], 1 << 16);
			pb_string(&w[way], 1, "before");
			size_t outer = pb_begin(&w[way], 2), inner = pb_begin(&w[way], 7);
			pb_string(&w[way], 1, "name");
			if (way == 0)
				pb_bytes(&w[way], 2, data, lengths[i]);
			else
				pb_file(&w[way], 2, fileno(file), lengths[i]);
			pb_end(&w[way], inner);
			size_t other = pb_begin(&w[way], 8);
			pb_string(&w[way], 3, "behind");
			pb_end(&w[way], other);
			pb_end(&w[way], outer);
			pb_string(&w[way], 3, "last");
		}
		size_t len = w[0].out.len;
		char *copy = malloc(len);
		assert_non_null(copy);
		assert_int_equal(pb_length(&w[0]), len);
		assert_int_equal(pb_length(&w[1]), len);
		for (size_t piece = 1; piece <= len; piece = piece * 3 + 1) {
			memset(copy, 0, len);
			for (size_t at = 0; at < len; at += piece)
				assert_int_equal(pb_copy(&w[1], at, copy + at, len - at < piece ? len - at : piece), 0);
			assert_memory_equal(copy, w[0].out.data, len);
		}
		assert_int_equal(pb_copy(&w[0], 0, copy, len), 0);
		assert_memory_equal(copy, w[0].out.data, len);
		assert_int_equal(ftruncate(fileno(file), (off_t)lengths[i] - 1), 0);
		assert_int_equal(pb_copy(&w[1], 0, copy, len), -EIO);
		assert_int_equal(pwrite(fileno(file), data, sizeof data, 0), sizeof data);
		free(copy);
		pb_deinit(&w[0]);
		pb_deinit(&w[1]);
	}
	fclose(file);
}

static void test_pb_cap(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct pb_writer w;
	pb_init(&w, 8);
	size_t inner = pb_begin(&w, 1);
	pb_string(&w, 2, "0123456789");
	pb_end(&w, inner);
	pb_uint(&w, 3, 1);
	assert_int_equal(pb_finish(&w, &err), -1);
	assert_int_equal(err.code, CREX_E_LIMIT);
	crex_error_clear(&err);
	pb_deinit(&w);
}

static bool is_sound(struct crex_str message, unsigned *ret_fields)
{
	struct pb_reader r = pb_read(message);
	*ret_fields = 0;
	for (struct pb_field f; pb_next(&r, &f);)
		++*ret_fields;
	return !r.broken;
}

static void test_pb_reading(void **state)
{
	(void)state;
	/* a varint, eight bytes, bytes, four bytes; whole fields end after 3, 12, 16 and 21 */
	static const char whole[] = "\x08\x96\x01\x11\x01\x02\x03\x04\x05\x06\x07\x08\x1a\x02hi\x25\x01\x02\x03\x04";
	unsigned n;
	for (size_t len = 0; len < sizeof whole; len++) {
		bool at_end = len == 0 || len == 3 || len == 12 || len == 16 || len == 21;
		assert_int_equal(is_sound((struct crex_str){whole, len}, &n), at_end);
	}
	assert_int_equal(n, 4);
	static const struct crex_str broken[] = {
		OF("\x00\x01"),						/* field 0 */
		OF("\x0b"),						/* a group */
		OF("\x0f\x01"),						/* no kind at all */
		OF("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),	/* more than 64 bits */
		OF("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* too long */
		OF("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01z"),	/* a length beyond all */
		OF("\x0a\x02z"),
	};
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
		assert_false(is_sound(broken[i], &n));
	struct modal_result result;
	modal_result_read(OF("\x08\x02\x12\x03why\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &result);
	assert_int_equal(result.status, 2);
	assert_int_equal(result.exit_code, -1);
	assert_string_equal(result.exception, "why");
}

/* ---- gRPC ---- */

struct told {
	unsigned n;
	size_t bytes;
	int answer;
};

static int on_message(void *arg, struct crex_str message)
{
	struct told *t = arg;
	t->n++;
	t->bytes += message.len;
	assert_true(message.len == 0 || message.ptr[0] == 'm');
	return t->answer;
}

static void test_frames_in_pieces(void **state)
{
	(void)state;
	static const char stream[] = "\0\0\0\0\3mno\0\0\0\0\0\0\0\0\0\5mpqrs\0\0\0\0\1m";
	const size_t len = sizeof stream - 1;
	for (size_t first = 0; first <= len; first++) {
		for (size_t second = first; second <= len; second++) {
			struct told t = {0};
			struct grpc_frames f;
			grpc_frames_init(&f, 5, on_message, &t);
			assert_int_equal(grpc_frames_feed(&f, stream, first), 0);
			assert_int_equal(grpc_frames_feed(&f, stream + first, second - first), 0);
			assert_int_equal(grpc_frames_feed(&f, stream + second, len - second), 0);
			assert_int_equal(t.n, 4);
			assert_int_equal(t.bytes, 9);
			assert_true(grpc_frames_at_end(&f));
			grpc_frames_deinit(&f);
		}
	}
}

static void test_frames_that_are_none(void **state)
{
	(void)state;
	struct told t = {.answer = 1};
	struct grpc_frames f;
	grpc_frames_init(&f, 5, on_message, &t);
	assert_int_equal(grpc_frames_feed(&f, "\1", 1), -EPROTO);
	buf_clear(&f.pending);
	assert_int_equal(grpc_frames_feed(&f, "\0\0\0\0\6", 5), -ENOSPC);
	buf_clear(&f.pending);
	assert_int_equal(grpc_frames_feed(&f, "\0\xff\xff\xff\xff", 5), -ENOSPC);
	buf_clear(&f.pending);
	assert_int_equal(grpc_frames_feed(&f, "\0\0\0\0\1m\0", 7), 1);
	grpc_frames_deinit(&f);
	grpc_frames_init(&f, 5, on_message, &t);
	assert_int_equal(grpc_frames_feed(&f, "\0\0\0\0\2m", 6), 0);
	assert_false(grpc_frames_at_end(&f));
	grpc_frames_deinit(&f);
	unsigned char head[GRPC_HEAD];
	grpc_frame_head(head, 0x01020304);
	assert_memory_equal(head, "\0\1\2\3\4", 5);
}

static void line(struct grpc_outcome *o, const char *text)
{
	grpc_outcome_line(o, text, strlen(text));
}

static void test_outcomes(void **state)
{
	(void)state;
	struct grpc_outcome o;
	grpc_outcome_init(&o);
	line(&o, "HTTP/2 200 \r\n");
	line(&o, "Content-Type: application/grpc+proto\r\n");
	assert_true(o.http_status == 200 && o.is_grpc && o.status == GRPC_NONE);
	line(&o, "grpc-status:5\r\n");
	line(&o, "grpc-message: a%20b%C3%A9%0a%zz%4\r\n");
	assert_int_equal(o.status, GRPC_NOT_FOUND);
	assert_string_equal(o.message, "a b\xC3\xA9 %zz%4");
	line(&o, "grpc-message: %ff%C3\r\n");
	assert_string_equal(o.message, "?");
	line(&o, "grpc-status: x\r\n");
	assert_int_equal(o.status, GRPC_UNKNOWN);
	line(&o, "HTTP/1.1 503 Service Unavailable\r\n");
	assert_true(o.http_status == 503 && !o.is_grpc && o.status == GRPC_NONE);
	line(&o, "HTTP/2");
	assert_int_equal(o.http_status, 0);
	char big[2000];
	memset(big, 'x', sizeof big);
	memcpy(big, "grpc-message:", 13);
	grpc_outcome_line(&o, big, sizeof big);
	assert_int_equal(strlen(o.message), GRPC_MESSAGE_MAX - 1);
	assert_true(grpc_is_transient(GRPC_UNAVAILABLE) && !grpc_is_transient(GRPC_NOT_FOUND));
	assert_string_equal(grpc_status_name(16), "UNAUTHENTICATED");
	assert_string_equal(grpc_status_name(-1), "no status");
	assert_string_equal(grpc_status_name(99), "no status");
}

static void test_jwt(void **state)
{
	(void)state;
	/* {"iat":1000,"exp":2200}, {"exp":"soon"} */
	assert_true(jwt_life(OF("x.eyJpYXQiOjEwMDAsImV4cCI6MjIwMH0.y")) == 1200);
	assert_true(jwt_life(OF("x.eyJpYXQiOjEwMDAsImV4cCI6MjIwMH0=.y")) == 1200);
	assert_true(jwt_life(OF("x.eyJleHAiOiJzb29uIn0.y")) == 0);
	assert_true(jwt_life(OF("x.!!!.y")) == 0);
	assert_true(jwt_life(OF("x")) == 0);
	assert_true(jwt_life(OF("")) == 0);
	assert_true(jwt_life(OF("..")) == 0);
	assert_true(jwt_is_plain(OF("a.b.c")) && !jwt_is_plain(OF("a\r\nb")) && !jwt_is_plain(OF("")));
}

static void test_ids(void **state)
{
	(void)state;
	assert_false(modal_id_is_v2("sb-0123456789abcdefABCDEF"));
	assert_true(modal_id_is_v2("sb-0123456789abcdefABCDEFg"));
	assert_true(modal_id_is_v2("sb-0123456789abcdefABCDE"));
	assert_true(modal_id_is_v2("sb-0123456789abcdefABCDE-"));
	assert_true(modal_id_is_v2(""));
}

/* ---- TOML ---- */

struct pairs {
	char text[4096];
};

static int on_pair(void *arg, const struct toml_pair *p, struct crex_error *err)
{
	struct pairs *pairs = arg;
	size_t n = strlen(pairs->text);
	(void)err;
	snprintf(pairs->text + n, sizeof pairs->text - n, "%s.%s%s%s;", p->table, p->key,
		 p->kind == TOML_STRING ? "="
		 : p->kind == TOML_BOOL ? "?"
					: "#",
		 p->value);
	return 0;
}

static void test_toml(void **state)
{
	(void)state;
	static const struct {
		const char *text, *pairs; /* NULL: refused */
		const char *says;
	} cases[] = {
		{"", "", NULL},
		{"# only a comment", "", NULL},
		{"a = \"b\"", ".a=b;", NULL},
		{"[t]\r\na='b' # c\r\n\r\n[ u ] # d\nx=true\ny=-1_000.5e3", "t.a=b;u.x?true;u.y#-1_000.5e3;", NULL},
		{"[\"a b\"]\n\"k.x\" = \"q\\\"\\\\\\n\\u00e9\\U0001F600\"", "a b.k.x=q\"\\\n\xC3\xA9\xF0\x9F\x98\x80;",
		 NULL},
		{"a='no \\escape'", ".a=no \\escape;", NULL},
		{"a=\"x\"\na=\"y\"", NULL, "f:2: this name was given"},
		{"[a]\n[a]", NULL, "f:2: this table"},
		{"[a]\nx=1\n[b]\nx=1", "a.x#1;b.x#1;", NULL},
		{"a", NULL, "f:1: '='"},
		{"a=", NULL, "f:1: the value"},
		{"=1", NULL, "f:1: a name"},
		{"a=b", NULL, "f:1: the value"},
		{"a=\"b", NULL, "no end"},
		{"a=\"b\\", NULL, "escape"},
		{"a=\"\\x\"", NULL, "escape"},
		{"a=\"\\u12\"", NULL, "hexadecimal"},
		{"a=\"\\ud800\"", NULL, "no such character"},
		{"a=\"\\u0000\"", NULL, "no such character"},
		{"a=\"\"\"b\"\"\"", NULL, "several lines"},
		{"a=\"b\" c", NULL, "more on the line"},
		{"a.b=1", NULL, "several parts"},
		{"[a.b]", NULL, "several parts"},
		{"[[a]]", NULL, "arrays"},
		{"[a", NULL, "']'"},
		{"a=[1]", NULL, "the value"},
		{"a={}", NULL, "the value"},
		{"a=\"\t\"", ".a=\t;", NULL},
		{"a=\"\x01\"", NULL, "control"},
		{"\xff=1", NULL, "UTF-8"},
		{"a=1979-05-27T07:32:00Z", NULL, "the value"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pairs pairs = {""};
		struct crex_error err = CREX_ERROR_INIT;
		int r = toml_read(cases[i].text, strlen(cases[i].text), "f", on_pair, &pairs, &err);
		if (cases[i].pairs) {
			assert_int_equal(r, 0);
			assert_string_equal(pairs.text, cases[i].pairs);
		} else {
			assert_int_equal(r, -1);
			assert_int_equal(err.code, CREX_E_CONFIG);
			if (!strstr(err.message, cases[i].says))
				fail_msg("%s: %s", cases[i].text, err.message);
		}
		crex_error_clear(&err);
		toml_read(cases[i].text, strlen(cases[i].text), "f", on_pair, &pairs, NULL);
	}
	char big[9000];
	struct crex_error err = CREX_ERROR_INIT;
	struct pairs pairs = {""};
	memset(big, 'a', sizeof big);
	assert_int_equal(toml_read(big, sizeof big, "f", on_pair, &pairs, &err), -1);
	assert_non_null(strstr(err.message, "too long"));
	crex_error_clear(&err);
}

/* ---- Dockerfiles ---- */

static void test_recipes(void **state)
{
	(void)state;
	char directory[] = "/tmp/test-modal-XXXXXX";
	assert_non_null(mkdtemp(directory));
	char command[256];
	snprintf(command, sizeof command, "cd %s && mkdir -p d/e && touch a b.txt c.txt d/e/f 'w [x]'", directory);
	assert_int_equal(system(command), 0);
	static const struct {
		const char *text;
		int lines;
		const char *files; /* in any order that glob gives; NULL: refused */
	} cases[] = {
		{"FROM x", 1, ""},
		{"# c\n\nFROM x\n# d\n", 2, ""},
		{"from x\nCopy a /a\n", 2, "a "},
		{"FROM x\r\nCOPY a \\\r\n  b.txt /to/\r\n", 3, "a b.txt "},
		{"ARG V=1\nFROM x:$V\nCOPY --chmod=755 --chown=a:b ./a /a", 3, "a "},
		{"FROM x\nCOPY *.txt /a\n", 2, "b.txt c.txt "},
		{"FROM x\nADD d /a\n", 2, "d/e/f "},
		{"FROM x\nADD https://a/b /a\nCOPY --from=y /none /b", 3, ""},
		{"FROM x\nCOPY [\"w [x]\", \"a\", \"/to/\"]\n", 2, NULL},
		{"FROM x\nCOPY [\"w \\\\[x]\", \"a\", \"/to/\"]\n", 2, "w [x] a "},
		{"FROM x\nCOPY a a a /to/\n", 2, "a "},
		{"FROM x\nRUN <<EOF\nCOPY none /a\nFROM\nEOF\nCOPY a /a\n", 6, "a "},
		{"FROM x\nRUN <<-'X'\n\tCOPY none /a\n\tX\nCOPY a /a\n", 5, "a "},
		{"FROM x\nCOPY <<EOF /a\ntext\nEOF\n", 4, ""},
		{"FROM x\nRUN a \\\n# COPY none\n  b\n", 4, ""},
		{"FROM x\nRUN echo 1<<2\n", 2, ""},
		{"FROM x\nCOPY a", 0, NULL},
		{"FROM x\nCOPY", 0, NULL},
		{"FROM x\nCOPY [1, 2]", 0, NULL},
		{"FROM x\nCOPY ../a /a", 0, NULL},
		{"FROM x\nCOPY d/../../a /a", 0, NULL},
		{"", 0, NULL},
		{"RUN x", 0, NULL},
		{"ARG a", 0, NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct recipe r;
		struct crex_error err = CREX_ERROR_INIT;
		char files[1024] = "";
		int result = recipe_parse(cases[i].text, strlen(cases[i].text), directory, &r, &err);
		if (result < 0) {
			if (cases[i].files)
				fail_msg("%s: %s", cases[i].text, err.message);
			crex_error_clear(&err);
			continue;
		}
		for (size_t n = 0; n < r.n_files; n++)
			snprintf(files + strlen(files), sizeof files - strlen(files), "%s ", r.files[n].name);
		if (!cases[i].files)
			fail_msg("%s: taken", cases[i].text);
		if (r.n_lines != (size_t)cases[i].lines)
			fail_msg("%s: %zu lines", cases[i].text, r.n_lines);
		if (strlen(files) != strlen(cases[i].files) || !strstr(files, r.n_files ? r.files[0].name : ""))
			fail_msg("%s: %s", cases[i].text, files);
		recipe_deinit(&r);
	}
	snprintf(command, sizeof command, "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

static void test_images_by_name(void **state)
{
	(void)state;
	struct recipe r;
	assert_int_equal(recipe_load("123.dkr.ecr.eu-west-1.amazonaws.com/a/b:c", &r, NULL), 0);
	assert_true(r.is_ecr);
	assert_string_equal(r.region, "eu-west-1");
	assert_string_equal(r.lines[0], "FROM 123.dkr.ecr.eu-west-1.amazonaws.com/a/b:c");
	recipe_deinit(&r);
	assert_int_equal(recipe_load("python:3.11", &r, NULL), 0);
	assert_false(r.is_ecr);
	recipe_deinit(&r);
	assert_int_equal(recipe_load("quay.io/x.dkr.ecr.y.amazonaws.com", &r, NULL), 0);
	assert_false(r.is_ecr);
	recipe_deinit(&r);
	assert_int_equal(recipe_load("a\nRUN b", &r, NULL), -1);
	assert_int_equal(recipe_load("$HOME", &r, NULL), -1);
	assert_int_equal(recipe_load("-x", &r, NULL), -1);
	assert_int_equal(recipe_load("/no/such", &r, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pb_writing),
		cmocka_unit_test(test_pb_nesting),
		cmocka_unit_test(test_pb_file),
		cmocka_unit_test(test_pb_cap),
		cmocka_unit_test(test_pb_reading),
		cmocka_unit_test(test_frames_in_pieces),
		cmocka_unit_test(test_frames_that_are_none),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_jwt),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_toml),
		cmocka_unit_test(test_recipes),
		cmocka_unit_test(test_images_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

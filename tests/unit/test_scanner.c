/* test_scanner.c: every report form, every split of every stream, and what only begins like a report. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "runtime/local/scanner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FS "\x1c"
#define SN "12345678901234567890"
#define CN "98765432109876543210"

/* What came out, written down so that it can be compared: text as it is, reports as <E status>, <N>,
 * <S status started>, <P status number jobs>.
 * `raw` collects the events' own bytes, which must be the input again. */
struct record {
	char log[4096], raw[4096];
	size_t n_log, n_raw;
	enum scan_kind last;
};

static void init(struct scanner *s)
{
	memset(s, 0, sizeof *s);
	memcpy(s->session_nonce, SN, sizeof s->session_nonce);
	memcpy(s->command_nonce, CN, sizeof s->command_nonce);
}

static void note(struct record *r, const struct scan_event *ev)
{
	assert_true(r->n_raw + ev->len < sizeof r->raw && r->n_log + ev->len + 32 < sizeof r->log);
	if (ev->kind != SCAN_NONE) {
		assert_true(ev->len > 0);
		memcpy(r->raw + r->n_raw, ev->text, ev->len);
		r->n_raw += ev->len;
	}
	r->last = ev->kind;
	char *at = r->log + r->n_log;
	switch (ev->kind) {
	case SCAN_NONE: break;
	case SCAN_TEXT:
		memcpy(at, ev->text, ev->len);
		r->n_log += ev->len;
		break;
	case SCAN_END: r->n_log += (size_t)sprintf(at, "<E %d>", ev->status); break;
	case SCAN_PROMPTLESS: r->n_log += (size_t)sprintf(at, "<N>"); break;
	case SCAN_ABORT: r->n_log += (size_t)sprintf(at, "<S %d %d>", ev->status, ev->not_started); break;
	case SCAN_PROMPT:
		r->n_log += (size_t)sprintf(at, "<P %d %d %d>", ev->status, ev->prompt_number, ev->jobs);
		break;
	}
}

/* From a copy of exactly that size, so that a sanitizer sees any look behind the end. */
static void feed(struct scanner *s, const char *data, size_t len, struct record *r)
{
	char *copy = malloc(len ? len : 1);
	assert_non_null(copy);
	if (len)
		memcpy(copy, data, len);
	size_t at = 0;
	for (;;) {
		struct scan_event ev;
		size_t used = scanner_feed(s, copy + at, len - at, &ev);
		assert_true(used <= len - at);
		at += used;
		note(r, &ev);
		if (ev.kind == SCAN_NONE)
			break;
	}
	assert_int_equal(at, len);
	free(copy);
}

static void finish(struct scanner *s, struct record *r)
{
	struct scan_event ev;
	scanner_finish(s, &ev);
	note(r, &ev);
	scanner_finish(s, &ev);
	assert_int_equal(ev.kind, SCAN_NONE);
	r->log[r->n_log] = '\0';
}

static void check(const char *in, size_t len, const struct record *r, const char *want, size_t want_len)
{
	assert_int_equal(r->n_raw, len);
	assert_memory_equal(r->raw, in, len);
	if (r->n_log != want_len || memcmp(r->log, want, want_len) != 0)
		fail_msg("got \"%.*s\", want \"%.*s\"", (int)r->n_log, r->log, (int)want_len, want);
}

/* The whole at once, byte by byte, and cut at every pair of places. */
static void expect_log(const char *in, size_t len, const char *want, size_t want_len)
{
	struct scanner s;
	struct record r = {.n_log = 0};
	init(&s);
	for (size_t i = 0; i < len; i++)
		feed(&s, in + i, 1, &r);
	finish(&s, &r);
	check(in, len, &r, want, want_len);
	for (size_t a = 0; a <= len; a++) {
		for (size_t b = a; b <= len; b++) {
			r = (struct record){.n_log = 0};
			init(&s);
			feed(&s, in, a, &r);
			feed(&s, in + a, b - a, &r);
			feed(&s, in + b, len - b, &r);
			finish(&s, &r);
			check(in, len, &r, want, want_len);
		}
	}
}
#define LOG(in, want) expect_log((in), sizeof(in) - 1, (want), sizeof(want) - 1)

static void test_text(void **state)
{
	(void)state;
	LOG("", "");
	LOG("plain text\n", "plain text\n");
	LOG("nul \0 inside", "nul \0 inside");
	LOG("E" CN ":0 S" SN ":0: P" SN ":0:1", "E" CN ":0 S" SN ":0: P" SN ":0:1");
}

static void test_end(void **state)
{
	(void)state;
	LOG(FS "E" CN ":0" FS, "<E 0>");
	LOG("before" FS "E" CN ":130" FS "after", "before<E 130>after");
	LOG("a" FS "E" CN ":1" FS FS "N" SN FS "b", "a<E 1><N>b");
	LOG("a" FS "E" CN ":0" FS FS "P" SN ":0:17:3" FS, "a<E 0><P 0 17 3>");
}

static void test_abort(void **state)
{
	(void)state;
	LOG("x" FS "S" SN ":130:" FS "y", "x<S 130 0>y");
	LOG(FS "S" SN ":2:1" FS, "<S 2 1>");
	LOG(FS "S" SN ":0:" FS, "<S 0 0>");
}

static void test_prompt(void **state)
{
	(void)state;
	LOG(FS "P" SN ":0:1:3" FS, "<P 0 1 3>");
	LOG("x" FS "P" SN ":255:12:3" FS "y", "x<P 255 12 3>y");
	LOG(FS "P" SN ":1:2:3" FS FS "P" SN ":2:3:3" FS, "<P 1 2 3><P 2 3 3>");
	LOG(FS "P" SN ":0:999999999:3" FS, "<P 0 999999999 3>");
}

/* Nearly a report: all of it must come out as text. */
static void test_false_beginnings(void **state)
{
	(void)state;
	static const char *const near[] = {
		FS,
		FS FS,
		FS FS FS,
		"a" FS "b",
		FS "E",
		FS "X",
		FS "e" CN ":0" FS,
		FS "E" SN ":0" FS, /* the wrong nonce */
		FS "P" CN ":0:1:0" FS,
		FS "S" CN ":0:" FS,
		FS "E" CN ":0",			/* no end */
		FS "E" CN "0:0" FS,		/* one digit more */
		FS "E9876543210987654321:0" FS, /* one less */
		FS "E" CN FS,
		FS "N" CN FS,
		FS "N" SN,
		FS "N" SN ":0" FS,
		FS "N" SN "0" FS,
		FS "E" CN ":" FS,
		FS "E" CN ":0:0" FS,
		FS "P" SN FS, /* no status */
		FS "P" SN ":" FS,
		FS "P" SN ":x:1:0" FS,
		FS "P" SN ":-1:1:0" FS,
		FS "P" SN ":1234567890:1:0" FS, /* too long a number */
		FS "P" SN ":0:1234567890:0" FS,
		FS "P" SN ":0" FS, /* no number */
		FS "P" SN ":0:" FS,
		FS "P" SN ":0:1" FS, /* no jobs */
		FS "P" SN ":0:1:" FS,
		FS "P" SN ":0:1:2:" FS,
		FS "S" SN ":0" FS, /* no second colon */
		FS "S" SN "::" FS,
		FS "S" SN ":0:2" FS,
		FS "S" SN ":0:11" FS,
		FS "S" SN ":0:1x",
		"\\034P" SN ":$?:\\#:\\j\\034", /* PS1 as `echo "$PS1"` prints it */
	};
	for (size_t i = 0; i < sizeof near / sizeof near[0]; i++)
		expect_log(near[i], strlen(near[i]), near[i], strlen(near[i]));
}

static void test_false_beginning_then_report(void **state)
{
	(void)state;
	LOG(FS FS "E" CN ":0" FS, FS "<E 0>");
	LOG(FS FS FS "P" SN ":7:1:0" FS, FS FS "<P 7 1 0>");
	LOG(FS "E" FS "E" CN ":0" FS, FS "E<E 0>");
	LOG(FS "E9876543210" FS "E" CN ":0" FS, FS "E9876543210<E 0>");
	LOG(FS "P" SN ":0:1234567890" FS "P" SN ":1:2:0" FS, FS "P" SN ":0:1234567890<P 1 2 0>");
	LOG(FS "S" SN ":0" FS "E" CN ":1" FS "t", FS "S" SN ":0<E 1>t");
	LOG(FS "E" CN ":0" FS "E" CN ":0" FS, "<E 0>E" CN ":0" FS); /* an FS belongs to one report only */
}

/* Nothing of a possible report goes out before it is decided, and not a byte later. */
static void test_holds_back(void **state)
{
	(void)state;
	static const char report[] = FS "S" SN ":130:1" FS;
	for (size_t n = 1; n < sizeof report - 1; n++) {
		struct scanner s;
		struct record r = {.n_log = 0};
		init(&s);
		feed(&s, report, n, &r);
		assert_int_equal(r.n_log, 0);
		assert_int_equal(s.n_held, n);
		feed(&s, "\n", 1, &r);
		assert_int_equal(s.n_held, 0);
		assert_int_equal(r.n_raw, n + 1);
		finish(&s, &r);
		assert_int_equal(r.n_log, n + 1);
	}
}

static void test_finish_gives_held_bytes(void **state)
{
	(void)state;
	struct scanner s;
	struct record r = {.n_log = 0};
	init(&s);
	feed(&s, "x" FS "P" SN, 2 + 1 + NONCE_LEN, &r);
	assert_int_equal(r.n_log, 1);
	finish(&s, &r);
	assert_string_equal(r.log, "x" FS "P" SN);
	feed(&s, FS "E" CN ":0" FS, 5 + NONCE_LEN, &r); /* usable again */
	assert_int_equal(r.last, SCAN_NONE);
	r.log[r.n_log] = '\0';
	assert_string_equal(r.log, "x" FS "P" SN "<E 0>");
}

/* Before the first nonce is made nothing is a report, least of all one without a number. */
static void test_no_nonce(void **state)
{
	(void)state;
	struct scanner s = {.n_held = 0};
	struct record r = {.n_log = 0};
	static const char in[] = FS "E" FS FS "E:0" FS FS "P:0:1:0" FS;
	feed(&s, in, sizeof in - 1, &r);
	finish(&s, &r);
	check(in, sizeof in - 1, &r, in, sizeof in - 1);
}

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Random nonces, random streams of pieces with a known answer, random cuts. */
static void test_random(void **state)
{
	(void)state;
	uint32_t seed = 20240229;
	for (int round = 0; round < 20000; round++) {
		struct scanner s;
		init(&s);
		for (int i = 0; i < NONCE_LEN; i++) {
			s.session_nonce[i] = (char)('0' + next(&seed) % 10);
			s.command_nonce[i] = (char)('0' + next(&seed) % 10);
		}
		char in[1024] = "", want[1024] = "";
		for (unsigned k = next(&seed) % 8; k > 0; k--) {
			char *i = in + strlen(in), *w = want + strlen(want);
			unsigned status = next(&seed) % 256;
			switch (next(&seed) % 7) {
			case 0:
				sprintf(i, FS "E%s:%u" FS, s.command_nonce, status), sprintf(w, "<E %u>", status);
				break;
			case 5: sprintf(i, FS "N%s" FS, s.session_nonce), strcpy(w, "<N>"); break;
			case 1:
				sprintf(i, FS "P%s:%u:%d:%u" FS, s.session_nonce, status, round, status),
					sprintf(w, "<P %u %d %u>", status, round, status);
				break;
			case 2:
				sprintf(i, FS "S%s:%u:1" FS, s.session_nonce, status), sprintf(w, "<S %u 1>", status);
				break;
			case 3: strcpy(i, FS), strcpy(w, FS); break;
			case 4: sprintf(i, FS "E%.*s.", (int)(next(&seed) % 20), s.command_nonce), strcpy(w, i); break;
			default: strcpy(i, "text"), strcpy(w, "text"); break;
			}
		}
		struct record r = {.n_log = 0};
		size_t len = strlen(in);
		for (size_t at = 0; at < len;) {
			size_t n = next(&seed) % 40;
			n = n < len - at ? n : len - at;
			feed(&s, in + at, n, &r);
			at += n;
		}
		finish(&s, &r);
		check(in, len, &r, want, strlen(want));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_prompt),
		cmocka_unit_test(test_false_beginnings),
		cmocka_unit_test(test_false_beginning_then_report),
		cmocka_unit_test(test_holds_back),
		cmocka_unit_test(test_finish_gives_held_bytes),
		cmocka_unit_test(test_no_nonce),
		cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests_name("scanner", tests, NULL, NULL);
}

/* wire/encode.c: replies as JSON.
 *
 * A reply may carry 20 MB of output, so the document is written straight into the connection's buffer instead of being
 * built as a tree first; the shapes are few and flat, which makes that no harder to read. Whatever the strings hold,
 * the document is valid JSON: text goes in as raw UTF-8, control characters as escapes, lone surrogates (which
 * surrogateescape makes, three bytes ED A0..BF xx) as \udXXX so that the client has them back, and any other byte as
 * the four characters \xNN. A document that does not fit leaves the buffer as it was. */
#include "text/sink.h"
#include "base/utf8.h"
#include "wire/wire.h"

#include <stdio.h>
#include <string.h>

#define TRY(expr)                     \
	do {                          \
		int try_r = (expr);   \
		if (try_r < 0)        \
			return try_r; \
	} while (0)

static inline bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Marks the bytes that need a look; as with swar_equal the lowest mark is right. */
static inline uint64_t marked_bytes(uint64_t w)
{
	uint64_t control = (w - SWAR_ONES * 0x20) & ~w & SWAR_HIGH;
	return (w & SWAR_HIGH) | control | swar_equal(w, '"') | swar_equal(w, '\\');
}

static int write_escape(struct sink *k, unsigned char c, size_t hint)
{
	static const char digits[] = "0123456789abcdef";
	static const char short_form[0x20] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	TRY(sink_room(k, 6, hint));
	*k->at++ = '\\';
	if (c >= 0x20 || short_form[c]) {
		*k->at++ = c >= 0x20 ? (char)c : short_form[c];
		return 0;
	}
	memcpy(k->at, "u00", 3);
	k->at[3] = digits[c >> 4];
	k->at[4] = digits[c & 15];
	k->at += 5;
	return 0;
}

/* What stands for a byte that is no UTF-8. */
enum stray { STRAY_HEX, STRAY_SURROGATE };

static int write_non_ascii(struct sink *k, const unsigned char **s, size_t left, enum stray stray)
{
	const unsigned char *p = *s;
	int n = utf8_sequence(p, left);
	TRY(sink_room(k, 8, left));
	if (n > 0) {
		memcpy(k->at, p, (size_t)n);
		k->at += n;
		*s += n;
	} else if (left >= 3 && p[0] == 0xED && p[1] >= 0xA0 && p[1] <= 0xBF && (p[2] & 0xC0) == 0x80) {
		unsigned code = 0xD000u | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
		k->at += snprintf(k->at, 7, "\\u%04x", code);
		*s += 3;
	} else if (stray == STRAY_SURROGATE) {
		k->at += snprintf(k->at, 7, "\\udc%02x", *p);
		*s += 1;
	} else {
		*k->at++ = '\\'; /* the backslash of \xNN is a character, so JSON wants it doubled */
		TRY(sink_hex(k, p, 1));
		*s += 1;
	}
	return 0;
}

static int write_body(struct sink *k, const unsigned char *p, const unsigned char *end, enum stray stray)
{
	while (p < end) {
		while (end - p >= 8 && sink_left(k) >= 8) {
			uint64_t mark = marked_bytes(swar_load(p));
			int n = mark ? __builtin_ctzll(mark) / 8 : 8;
			memcpy(k->at, p, 8);
			k->at += n;
			p += n;
			if (n < 8)
				break;
		}
		if (p == end)
			break;
		size_t left = (size_t)(end - p);
		if (*p >= 0x80) {
			TRY(write_non_ascii(k, &p, left, stray));
		} else if (is_plain(*p)) {
			TRY(sink_byte(k, *p++, left));
		} else {
			TRY(write_escape(k, *p++, left + left / 16 + 16)); /* a newline a line is usual */
		}
	}
	return 0;
}

/* Passes r on; a failed document is taken back. */
static int finish(struct buf *out, size_t start, int r)
{
	if (r < 0 && out->data) {
		out->len = start;
		out->data[start] = '\0';
	}
	return r < 0 ? r : 0;
}

static int encode_string(struct buf *out, const char *s, size_t len, enum stray stray)
{
	size_t start = out->len;
	struct sink k;
	sink_open(&k, out);
	int r = sink_room(&k, 1, len + len / 16 + 16);
	if (r == 0)
		*k.at++ = '"';
	if (r == 0 && len > 0) /* s may be NULL when there is nothing in it */
		r = write_body(&k, (const unsigned char *)s, (const unsigned char *)s + len, stray);
	if (r == 0)
		r = sink_byte(&k, '"', 64);
	sink_sync(&k);
	return finish(out, start, r);
}

int wire_encode_string(struct buf *out, const char *s, size_t len)
{
	return encode_string(out, s, len, STRAY_HEX);
}

int wire_encode_escaped(struct buf *out, const char *s, size_t len)
{
	return encode_string(out, s, len, STRAY_SURROGATE);
}

static int add_string(struct buf *out, const char *prefix, const char *s, size_t len)
{
	TRY(buf_append_str(out, prefix));
	return wire_encode_string(out, s, len);
}

static int add_error(struct buf *out, const struct crex_error *err, const char *traceback)
{
	TRY(add_string(out, "{\"swerexception\":{\"message\":", err->message, err->message ? err->message_len : 0));
	const char *class_path = crex_error_class_path(err->code);
	TRY(add_string(out, ",\"class_path\":", class_path, strlen(class_path)));
	TRY(add_string(out, ",\"traceback\":", traceback, traceback ? strlen(traceback) : 0));
	TRY(buf_append_str(out, ",\"extra_info\":{"));
	for (size_t i = 0; i < err->n_extra; i++) {
		const struct crex_error_detail *x = &err->extra[i];
		TRY(add_string(out, i ? "," : "", x->key, strlen(x->key)));
		TRY(add_string(out, ":", x->value, x->value ? x->len : 0));
	}
	return buf_append_str(out, "}}}");
}

int wire_encode_error(struct buf *out, const struct crex_error *err, const char *traceback)
{
	size_t start = out->len;
	return finish(out, start, add_error(out, err, traceback));
}

static int add_create_session(struct buf *out, const char *output, size_t len)
{
	TRY(add_string(out, "{\"output\":", output, len));
	return buf_append_str(out, ",\"session_type\":\"bash\"}");
}

int wire_encode_create_session(struct buf *out, const char *output, size_t len)
{
	size_t start = out->len;
	return finish(out, start, add_create_session(out, output, len));
}

static int add_observation(struct buf *out, const struct crex_observation *obs)
{
	const char *reason = obs->failure_reason ? obs->failure_reason : "";
	const char *expect = obs->expect_string ? obs->expect_string : "";
	TRY(add_string(out, "{\"output\":", obs->output, obs->output_len));
	if (obs->has_exit_code)
		TRY(buf_printf(out, ",\"exit_code\":%d", obs->exit_code));
	else
		TRY(buf_append_str(out, ",\"exit_code\":null"));
	TRY(add_string(out, ",\"failure_reason\":", reason, strlen(reason)));
	TRY(add_string(out, ",\"expect_string\":", expect, strlen(expect)));
	TRY(buf_append_str(out, ",\"session_type\":\"bash\""));
	if (obs->truncated)
		TRY(buf_append_str(out, ",\"truncated\":true"));
	if (obs->session_ended)
		TRY(buf_append_str(out, ",\"session_ended\":true"));
	return buf_append_char(out, '}');
}

int wire_encode_observation(struct buf *out, const struct crex_observation *obs)
{
	size_t start = out->len;
	return finish(out, start, add_observation(out, obs));
}

int wire_encode_close_session(struct buf *out)
{
	return buf_append_str(out, "{\"session_type\":\"bash\"}");
}

static int add_execute(struct buf *out, const struct crex_execute_result *res)
{
	TRY(add_string(out, "{\"stdout\":", res->out, res->out_len));
	TRY(add_string(out, ",\"stderr\":", res->err, res->err_len));
	TRY(buf_printf(out, ",\"exit_code\":%d", res->exit_code));
	return buf_append_str(out, res->truncated ? ",\"truncated\":true}" : "}");
}

int wire_encode_execute(struct buf *out, const struct crex_execute_result *res)
{
	size_t start = out->len;
	return finish(out, start, add_execute(out, res));
}

static int add_read_file(struct buf *out, const char *content, size_t len)
{
	TRY(add_string(out, "{\"content\":", content, len));
	return buf_append_char(out, '}');
}

int wire_encode_read_file(struct buf *out, const char *content, size_t len)
{
	size_t start = out->len;
	return finish(out, start, add_read_file(out, content, len));
}

int wire_encode_empty(struct buf *out)
{
	return buf_append_str(out, "{}");
}

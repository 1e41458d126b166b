/* text/decode.c: finding a decoder by Python's rules for names, and treating bytes that it can't decode.
 *
 * The client says encoding="latin-1", errors="backslashreplace" and means Python's. So names are normalised as Python's
 * encodings package does it, the list of names is Python's own (text/charsets.h), and a codec of Python's that we lack
 * is an unknown encoding, never a near miss. A handler's name is looked up only when there is something to handle:
 * Python accepts any errors="..." as long as the text is clean, and so do we.
 *
 * The decoders proper are in decode_utf.c, decode_table.c (all charmaps and the double-byte ones) and
 * decode_stateful.c; each reports what it can't decode through decoder_bad() here, with Python's extent and reason. */
#include "text/decode.h"
#include "text/decoder.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static size_t normalise(struct crex_str name, char *ret, size_t room)
{
	size_t n = 0;
	bool gap = false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		bool upper = c >= 'A' && c <= 'Z';
		if (upper)
			c = (unsigned char)(c + 32);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c < 0x80) {
			gap = true;
			continue;
		}
		if (n + 3 > room)
			return 0;
		if (gap && n)
			ret[n++] = '_';
		gap = false;
		if (c < 0x80)
			ret[n++] = (char)c;
	}
	ret[n] = '\0';
	return n;
}

static const struct text_charset *find_name(const char *name)
{
	for (const char *p = text_charset_names; *p; p += strlen(p) + 2)
		if (strcmp(p, name) == 0)
			return &text_charsets[(unsigned char)p[strlen(p) + 1] - 1];
	return NULL;
}

static const struct text_charset *find_charset(struct crex_str encoding)
{
	char name[64];
	if (!encoding.ptr)
		return find_name("utf_8");
	if (normalise(encoding, name, sizeof name) == 0)
		return NULL;
	const struct text_charset *cs = find_name(name);
	for (char *dot = name; !cs && (dot = strchr(dot, '.'));)
		*dot = '_';
	return cs ? cs : find_name(name);
}

static enum bad_handler find_handler(struct crex_str errors)
{
	static const char *const names[BAD_UNKNOWN + 1] = {
		"strict",	   "ignore",	    "replace",		 "backslashreplace",
		"surrogateescape", "surrogatepass", "xmlcharrefreplace", "namereplace"};
	if (!errors.ptr)
		return BAD_STRICT;
	for (int i = 0; i <= BAD_UNKNOWN; i++)
		if (strlen(names[i]) == errors.len && memcmp(names[i], errors.ptr, errors.len) == 0)
			return i < BAD_NO_DECODER ? (enum bad_handler)i : BAD_NO_DECODER;
	return BAD_UNKNOWN;
}

int decoder_fail(struct decoder *d, int r)
{
	if (r == -ENOSPC)
		return crex_error_set(d->err, CREX_E_LIMIT, "the decoded text is larger than the limit of %zu bytes",
				      d->sink.buf->max);
	return crex_error_set(d->err, CREX_E_MEMORY, "out of memory while decoding");
}

int decoder_put(struct decoder *d, uint32_t code)
{
	int r = sink_room(&d->sink, 4, decoder_left(d) + 64);
	if (r < 0) {
		/* Within four bytes of the cap shorter characters may still fit. */
		int need = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
		r = r == -ENOSPC ? sink_room(&d->sink, (size_t)need, 0) : r;
		if (r < 0)
			return decoder_fail(d, r);
	}
	char *p = d->sink.at;
	if (code < 0x80) {
		*p++ = (char)code;
	} else if (code < 0x800) {
		*p++ = (char)(0xC0 | code >> 6);
		*p++ = (char)(0x80 | (code & 0x3F));
	} else if (code < 0x10000) {
		*p++ = (char)(0xE0 | code >> 12);
		*p++ = (char)(0x80 | (code >> 6 & 0x3F));
		*p++ = (char)(0x80 | (code & 0x3F));
	} else {
		*p++ = (char)(0xF0 | code >> 18);
		*p++ = (char)(0x80 | (code >> 12 & 0x3F));
		*p++ = (char)(0x80 | (code >> 6 & 0x3F));
		*p++ = (char)(0x80 | (code & 0x3F));
	}
	d->sink.at = p;
	return 0;
}

static int refuse(struct decoder *d, size_t n, const char *reason)
{
	size_t from = (size_t)(d->at - d->start);
	if (n == 1)
		return crex_error_set(d->err, CREX_E_UNICODE, "'%s' codec can't decode byte 0x%02x in position %zu: %s",
				      d->shown, *d->at, from, reason);
	return crex_error_set(d->err, CREX_E_UNICODE, "'%s' codec can't decode bytes in position %zu-%zu: %s", d->shown,
			      from, from + n - 1, reason);
}

/* Python's handler takes up to four bytes and stops before the first ASCII one; none at all is an error. */
static int escape_as_surrogates(struct decoder *d, size_t n, const char *reason)
{
	size_t taken = 0;
	for (; taken < n && taken < 4 && d->at[taken] >= 0x80; taken++)
		TEXT_TRY(decoder_put(d, 0xDC00u + d->at[taken]));
	if (taken == 0)
		return refuse(d, n, reason);
	d->at += taken;
	return 0;
}

int decoder_copy_to(struct decoder *d, const unsigned char *p)
{
	size_t n = (size_t)(p - d->at);
	if (n == 0)
		return 0;
	int r = sink_room(&d->sink, n, decoder_left(d));
	if (r < 0)
		return decoder_fail(d, r);
	memcpy(d->sink.at, d->at, n);
	d->sink.at += n;
	d->at = p;
	return 0;
}

static int pass_surrogate(struct decoder *d, size_t n, const char *reason)
{
	const unsigned char *p = d->at;
	uint32_t code = 0;
	size_t len = d->surrogate_bytes;
	if (len == 0 || decoder_left(d) < len)
		return refuse(d, n, reason);
	if (len == 3 && (p[0] & 0xF0) == 0xE0 && (p[1] & 0xC0) == 0x80 && (p[2] & 0xC0) == 0x80)
		code = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
	for (size_t i = 0; len != 3 && i < len; i++)
		code = code << 8 | p[d->big_endian ? i : len - 1 - i];
	if (code < 0xD800 || code > 0xDFFF)
		return refuse(d, n, reason);
	TEXT_TRY(decoder_put(d, code));
	d->at += len;
	return 0;
}

int decoder_bad(struct decoder *d, size_t n, const char *reason)
{
	int r;
	switch (d->handler) {
	case BAD_STRICT: return refuse(d, n, reason);
	case BAD_IGNORE: break;
	case BAD_REPLACE: TEXT_TRY(decoder_put(d, 0xFFFD)); break;
	case BAD_BACKSLASH:
		r = sink_hex(&d->sink, d->at, n);
		if (r < 0)
			return decoder_fail(d, r);
		break;
	case BAD_SURROGATEESCAPE: return escape_as_surrogates(d, n, reason);
	case BAD_SURROGATEPASS: return pass_surrogate(d, n, reason);
	case BAD_NO_DECODER:
		return crex_error_set(d->err, CREX_E_UNICODE,
				      "don't know how to handle UnicodeDecodeError in error callback");
	case BAD_UNKNOWN:
		return crex_error_set(d->err, CREX_E_LOOKUP, "unknown error handler name '%.*s'",
				      (int)(d->handler_name.len > 200 ? 200 : d->handler_name.len),
				      d->handler_name.ptr);
	}
	d->at += n;
	return 0;
}

int decoder_copy_ascii(struct decoder *d)
{
	const unsigned char *p = d->at;
	while (d->end - p >= 8 && !(swar_load(p) & SWAR_HIGH))
		p += 8;
	while (p < d->end && *p < 0x80)
		p++;
	return decoder_copy_to(d, p);
}

static int decode_single(struct decoder *d, bool latin_1)
{
	while (d->at < d->end) {
		TEXT_TRY(decoder_copy_ascii(d));
		if (d->at == d->end)
			break;
		if (latin_1)
			TEXT_TRY(decoder_put(d, *d->at++));
		else
			TEXT_TRY(decoder_bad(d, 1, "ordinal not in range(128)"));
	}
	return 0;
}

static int run(struct decoder *d, const struct text_charset *cs)
{
	switch ((enum charset_kind)cs->kind) {
	case CHARSET_UTF_8_SIG: /* Python's positions count from behind the mark */
		if (decoder_left(d) >= 3 && memcmp(d->at, "\xEF\xBB\xBF", 3) == 0)
			d->start = d->at += 3;
		return decode_utf8(d);
	case CHARSET_UTF_8: return decode_utf8(d);
	case CHARSET_UTF_16:
	case CHARSET_UTF_16_LE:
	case CHARSET_UTF_16_BE: return decode_utf16(d, (enum charset_kind)cs->kind);
	case CHARSET_UTF_32:
	case CHARSET_UTF_32_LE:
	case CHARSET_UTF_32_BE: return decode_utf32(d, (enum charset_kind)cs->kind);
	case CHARSET_ASCII: return decode_single(d, false);
	case CHARSET_LATIN_1: return decode_single(d, true);
	case CHARSET_TABLE:
	case CHARSET_GB18030:
	case CHARSET_EUC_KR: return decode_table(d, cs);
	case CHARSET_HZ:
	case CHARSET_ISO2022_KR:
	case CHARSET_ISO2022_JP:
	case CHARSET_ISO2022_JP_1:
	case CHARSET_ISO2022_JP_EXT: return decode_stateful(d, cs);
	}
	return decoder_fail(d, -ENOMEM);
}

int text_decode(struct crex_str data, struct crex_str encoding, struct crex_str errors, struct buf *out,
		struct crex_error *err)
{
	if ((encoding.ptr && memchr(encoding.ptr, '\0', encoding.len)) ||
	    (errors.ptr && memchr(errors.ptr, '\0', errors.len)))
		return crex_error_set(err, CREX_E_VALUE, "embedded null character");
	const struct text_charset *cs = find_charset(encoding);
	if (!cs)
		return crex_error_set(err, CREX_E_LOOKUP, "unknown encoding: %.*s",
				      (int)(encoding.len > 200 ? 200 : encoding.len), encoding.ptr);
	const unsigned char *start = (const unsigned char *)(data.ptr ? data.ptr : "");
	struct decoder d = {.start = start,
			    .at = start,
			    .end = start + data.len,
			    .shown = cs->shown,
			    .handler = find_handler(errors),
			    .handler_name = errors,
			    .err = err};
	sink_open(&d.sink, out);
	int r = run(&d, cs);
	sink_sync(&d.sink);
	return r;
}

void text_universal_newlines(struct buf *text)
{
	char *from = text->len ? memchr(text->data, '\r', text->len) : NULL;
	if (!from)
		return;
	char *end = text->data + text->len;
	char *to = from;
	while (from < end) {
		*to++ = '\n'; /* from is at a CR */
		from += end - from > 1 && from[1] == '\n' ? 2 : 1;
		char *next = from < end ? memchr(from, '\r', (size_t)(end - from)) : NULL;
		size_t n = (size_t)((next ? next : end) - from);
		memmove(to, from, n);
		to += n;
		from += n;
	}
	text->len = (size_t)(to - text->data);
	*to = '\0';
}

int text_append_escaped_utf8(struct buf *out, const char *src, size_t len)
{
	const unsigned char *s = (const unsigned char *)src;
	size_t done = 0, at = 0;
	while (at < len) {
		if (len - at >= 8 && !(swar_load(s + at) & SWAR_HIGH)) {
			at += 8;
			continue;
		}
		int n = utf8_sequence(s + at, len - at);
		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		int r = buf_append(out, src + done, at - done);
		if (r < 0)
			return r;
		struct sink k;
		sink_open(&k, out);
		r = sink_hex(&k, s + at, 1);
		sink_sync(&k);
		if (r < 0)
			return r;
		done = ++at;
	}
	return done < len ? buf_append(out, src + done, len - done) : 0;
}

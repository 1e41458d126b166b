/* deploy/modal/protobuf.c: varints, tags and lengths, which is all that there is to protocol buffers on the wire.
 *
 * A field is a tag (number and kind in one varint) and then a varint, four or eight bytes, or a length with bytes. The
 * length of an inner message is not known before it is written, and its own size varies: it is put in front afterwards,
 * moving what was written. Our messages have few levels, so nothing is moved more than a few times.
 *
 * A generator would want the vendor's definition, and Debian's generators don't take it; the handful of messages that a
 * sandbox needs is said by field numbers where they are used. */
#include "deploy/modal/protobuf.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { VARINT_MAX = 10, FIELD_MAX = 0x1FFFFFFF };

void pb_init(struct pb_writer *w, size_t max)
{
	*w = (struct pb_writer){.file = -1};
	buf_init(&w->out, max);
}

void pb_deinit(struct pb_writer *w)
{
	buf_deinit(&w->out);
}

/* ---- writing ---- */

static size_t put_varint(unsigned char *to, uint64_t value)
{
	size_t n = 0;
	for (; value >= 0x80; value >>= 7)
		to[n++] = (unsigned char)(value | 0x80);
	to[n++] = (unsigned char)value;
	return n;
}

static void append(struct pb_writer *w, const void *data, size_t len)
{
	if (w->failure == 0)
		w->failure = buf_append(&w->out, data, len);
}

static void append_varint(struct pb_writer *w, uint64_t value)
{
	unsigned char bytes[VARINT_MAX];
	append(w, bytes, put_varint(bytes, value));
}

static void append_tag(struct pb_writer *w, unsigned field, enum pb_wire wire)
{
	append_varint(w, (uint64_t)field << 3 | (uint64_t)wire);
}

void pb_uint(struct pb_writer *w, unsigned field, uint64_t value)
{
	if (value == 0)
		return;
	append_tag(w, field, PB_VARINT);
	append_varint(w, value);
}

void pb_bool(struct pb_writer *w, unsigned field, bool value)
{
	pb_uint(w, field, value);
}

static void append_fixed(struct pb_writer *w, unsigned size, uint64_t bits)
{
	for (unsigned i = 0; i < size; i++)
		append(w, &(unsigned char){(unsigned char)(bits >> (8 * i))}, 1);
}

void pb_float(struct pb_writer *w, unsigned field, float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	if (bits == 0)
		return;
	append_tag(w, field, PB_FIXED32);
	append_fixed(w, sizeof bits, bits);
}

void pb_double(struct pb_writer *w, unsigned field, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof bits);
	if (bits == 0)
		return;
	append_tag(w, field, PB_FIXED64);
	append_fixed(w, sizeof bits, bits);
}

void pb_bytes(struct pb_writer *w, unsigned field, const void *data, size_t len)
{
	append_tag(w, field, PB_BYTES);
	append_varint(w, len);
	if (len)
		append(w, data, len);
}

void pb_file(struct pb_writer *w, unsigned field, int fd, size_t len)
{
	append_tag(w, field, PB_BYTES);
	append_varint(w, len);
	w->file = fd;
	w->file_at = w->out.len;
	w->file_len = len;
}

void pb_item(struct pb_writer *w, unsigned field, const char *text)
{
	pb_bytes(w, field, text, strlen(text));
}

void pb_string(struct pb_writer *w, unsigned field, const char *text)
{
	if (text && *text)
		pb_item(w, field, text);
}

void pb_entry(struct pb_writer *w, unsigned field, const char *key, const char *value)
{
	size_t entry = pb_begin(w, field);
	pb_string(w, 1, key);
	pb_string(w, 2, value);
	pb_end(w, entry);
}

size_t pb_begin(struct pb_writer *w, unsigned field)
{
	append_tag(w, field, PB_BYTES);
	return w->out.len;
}

void pb_end(struct pb_writer *w, size_t begun)
{
	unsigned char length[VARINT_MAX];
	if (w->failure != 0)
		return;
	bool with_file = w->file_len && w->file_at >= begun;
	size_t len = w->out.len - begun, n = put_varint(length, len + (with_file ? w->file_len : 0));
	append(w, length, n); /* for the room */
	if (w->failure != 0)
		return;
	memmove(w->out.data + begun + n, w->out.data + begun, len);
	memcpy(w->out.data + begun, length, n);
	w->file_at += with_file ? n : 0;
}

static int copy_file(int fd, size_t at, char *ret, size_t len)
{
	while (len) {
		ssize_t n = pread(fd, ret, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		at += (size_t)n;
		ret += n;
		len -= (size_t)n;
	}
	return 0;
}

int pb_copy(const struct pb_writer *w, size_t at, char *ret, size_t len)
{
	while (len) {
		bool before = at < w->file_at, inside = !before && at < w->file_at + w->file_len;
		size_t end = before ? w->file_at : inside ? w->file_at + w->file_len : pb_length(w);
		size_t n = end - at < len ? end - at : len;
		if (inside && copy_file(w->file, at - w->file_at, ret, n) < 0)
			return -EIO;
		if (!inside)
			memcpy(ret, w->out.data + (before ? at : at - w->file_len), n);
		at += n;
		ret += n;
		len -= n;
	}
	return 0;
}

int pb_finish(const struct pb_writer *w, struct crex_error *err)
{
	if (w->failure == -ENOSPC)
		return crex_error_set(err, CREX_E_LIMIT, "the message for Modal is longer than %zu bytes", w->out.max);
	return w->failure == 0 ? 0 : crex_error_set_errno(err, -w->failure, NULL);
}

/* ---- reading ---- */

struct pb_reader pb_read(struct crex_str message)
{
	const char *at = message.ptr ? message.ptr : "";
	return (struct pb_reader){at, at + message.len, false};
}

static bool take_varint(struct pb_reader *r, uint64_t *ret)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < VARINT_MAX && r->at < r->end; i++) {
		unsigned char byte = (unsigned char)*r->at++;
		if (i == VARINT_MAX - 1 && byte > 1)
			return false; /* more than 64 bits */
		value |= (uint64_t)(byte & 0x7F) << (7 * i);
		if (byte < 0x80) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool take_fixed(struct pb_reader *r, unsigned size, uint64_t *ret)
{
	if ((size_t)(r->end - r->at) < size)
		return false;
	*ret = 0;
	for (unsigned i = 0; i < size; i++)
		*ret |= (uint64_t)(unsigned char)r->at[i] << (8 * i);
	r->at += size;
	return true;
}

static bool take_bytes(struct pb_reader *r, struct crex_str *ret)
{
	uint64_t len;
	if (!take_varint(r, &len) || len > (uint64_t)(r->end - r->at))
		return false;
	*ret = (struct crex_str){r->at, (size_t)len};
	r->at += len;
	return true;
}

static bool take_field(struct pb_reader *r, struct pb_field *f)
{
	uint64_t tag;
	if (!take_varint(r, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_MAX)
		return false;
	*f = (struct pb_field){.number = (unsigned)(tag >> 3), .wire = (enum pb_wire)(tag & 7)};
	switch (f->wire) {
	case PB_VARINT: return take_varint(r, &f->value);
	case PB_FIXED64: return take_fixed(r, 8, &f->value);
	case PB_FIXED32: return take_fixed(r, 4, &f->value);
	case PB_BYTES: return take_bytes(r, &f->bytes);
	}
	return false; /* groups, which proto3 doesn't have */
}

bool pb_next(struct pb_reader *r, struct pb_field *ret)
{
	if (r->broken || r->at == r->end)
		return false;
	r->broken = !take_field(r, ret);
	return !r->broken;
}

/* text/sink.h: writing into a struct buf byte by byte without a call for each. */
#ifndef TEXT_SINK_H
#define TEXT_SINK_H

#include "base/buf.h"
#include <errno.h>

/* The output buffer while it is written to: its len and NUL are brought up to date by sink_sync only. */
struct sink {
	struct buf *buf;
	char *at;
	char *end;
};

static inline void sink_open(struct sink *k, struct buf *buf)
{
	*k = (struct sink){.buf = buf};
	if (buf->data) {
		k->at = buf->data + buf->len;
		k->end = buf->data + buf->cap;
	}
}

static inline void sink_sync(const struct sink *k)
{
	if (!k->at)
		return;
	k->buf->len = (size_t)(k->at - k->buf->data);
	*k->at = '\0';
}

static inline size_t sink_left(const struct sink *k)
{
	return (size_t)(k->end - k->at);
}

/* Room for need bytes, and for hint bytes when the cap allows it. Near the cap everything up to it is taken at once, or
 * each further byte would cost a reallocation. */
static inline int sink_room(struct sink *k, size_t need, size_t hint)
{
	if (sink_left(k) >= need)
		return 0;
	sink_sync(k);
	struct buf *b = k->buf;
	if (need > b->max - b->len)
		return -ENOSPC;
	size_t want = hint > b->max - b->len ? b->max - b->len : hint;
	int r = buf_reserve(b, want > need ? want : need);
	sink_open(k, b);
	return r;
}

static inline int sink_byte(struct sink *k, unsigned char c, size_t hint)
{
	int r = sink_room(k, 1, hint);
	if (r == 0)
		*k->at++ = (char)c;
	return r;
}

/* Each byte as \xNN, the way Python's backslashreplace writes it. */
static inline int sink_hex(struct sink *k, const unsigned char *s, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		int r = sink_room(k, 4, 4 * (n - i));
		if (r < 0)
			return r;
		*k->at++ = '\\';
		*k->at++ = 'x';
		*k->at++ = digits[s[i] >> 4];
		*k->at++ = digits[s[i] & 15];
	}
	return 0;
}

#endif

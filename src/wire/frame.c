/* wire/frame.c: frames out of bytes and back.
 *
 * A frame that lies whole in what has come is handed out where it lies, which is the usual case for output; only one
 * that is cut is collected in memory of the parser's own, at most one frame's worth. */
#include "wire/frame.h"

#include <string.h>

void frame_parser_init(struct frame_parser *p)
{
	*p = (struct frame_parser){.given = false};
	buf_init(&p->held, FRAME_HEADER + FRAME_PAYLOAD_MAX);
}

void frame_parser_deinit(struct frame_parser *p)
{
	buf_deinit(&p->held);
}

static uint32_t get_number(const char *at)
{
	const unsigned char *b = (const unsigned char *)at;
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

void frame_put_number(char out[4], int32_t value)
{
	uint32_t v = (uint32_t)value;
	for (int i = 3; i >= 0; i--, v >>= 8)
		out[i] = (char)(v & 0xFF);
}

void frame_put_header(char out[FRAME_HEADER], enum frame_type type, size_t len)
{
	out[0] = (char)type;
	frame_put_number(out + 1, (int32_t)len);
}

bool frame_get_numbers(const struct frame *f, int32_t *ret, size_t n)
{
	if (f->len != 4 * n)
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = (int32_t)get_number(f->data + 4 * i);
	return true;
}

/* Adds to what is held until it has `want` bytes. */
static enum frame_result hold(struct frame_parser *p, size_t want, const char *data, size_t len, size_t *used)
{
	size_t n = want - p->held.len;
	if (n > len - *used)
		n = len - *used;
	if (n > 0 && buf_append(&p->held, data + *used, n) < 0)
		return FRAME_NO_MEMORY;
	*used += n;
	return p->held.len == want ? FRAME_READY : FRAME_MORE;
}

enum frame_result frame_feed(struct frame_parser *p, const char *data, size_t len, size_t *ret_used, struct frame *ret)
{
	size_t used = 0;
	enum frame_result r = FRAME_READY;
	if (p->given)
		buf_clear(&p->held);
	p->given = false;
	bool in_place = p->held.len == 0 && len >= FRAME_HEADER;
	const char *head = data;
	*ret_used = 0;
	if (!in_place) {
		size_t have = p->held.len;
		if (have < FRAME_HEADER)
			r = hold(p, FRAME_HEADER, data, len, &used);
		*ret_used = used;
		if (r != FRAME_READY)
			return r;
		head = p->held.data;
	}
	size_t payload = get_number(head + 1);
	if (payload > FRAME_PAYLOAD_MAX)
		return FRAME_TOO_LONG;
	if (in_place && len - FRAME_HEADER >= payload) {
		*ret = (struct frame){head[0], data + FRAME_HEADER, payload};
		*ret_used = FRAME_HEADER + payload;
		return FRAME_READY;
	}
	r = hold(p, FRAME_HEADER + payload, data, len, &used);
	*ret_used = used;
	if (r != FRAME_READY)
		return r;
	p->given = true;
	*ret = (struct frame){p->held.data[0], p->held.data + FRAME_HEADER, payload};
	return FRAME_READY;
}

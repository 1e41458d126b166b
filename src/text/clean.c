/* text/clean.c: the terminal's bytes become the text of a reply.
 *
 * Three things happen in one pass: escape sequences go away, CRLF becomes LF, bytes that are not UTF-8 become \xNN. All
 * three may be cut anywhere by a read(2), so each has its place in struct text_clean for what is not decided yet: a CR,
 * up to three bytes of a UTF-8 sequence, the beginning of an escape sequence. A CR may stay undecided while an escape
 * sequence is (programs print "\r\x1b[K\n"), everything else excludes one another.
 *
 * What is a sequence (ECMA-48, 7-bit forms; the 8-bit C1 controls are no valid UTF-8 and are treated as such):
 *   CSI      ESC [ 0x20..0x3F* 0x40..0x7E
 *   strings  ESC ] | ESC P | ESC X | ESC ^ | ESC _  anything but C0 controls (TAB is fine), up to BEL or ESC \
 *   nF       ESC 0x20..0x2F+ 0x30..0x7E             (charset designations such as ESC ( B)
 *   others   ESC 0x30..0x7E
 * What begins like one and goes on otherwise was none: its bytes are shown verbatim, and the byte that broke it is read
 * as if nothing had gone before. So a title that is never ended costs no line of text: the newline breaks it. An ESC in
 * the middle breaks a sequence too and begins a new one. A string that is longer than TEXT_CLEAN_HELD_MAX was none.
 *
 * Speed: replies of 20 MB are ordinary. Plain text is copied eight bytes at a time, store first and look afterwards;
 * a sequence that is
 * complete within the input is skipped without its body being copied anywhere. */
#include "text/clean.h"
#include "text/sink.h"
#include "base/utf8.h"

#include <string.h>

enum state { GROUND, ESCAPE, NF, CSI, STRING, STRING_ESCAPE, DONE, BROKEN };

static inline uint64_t special_bytes(uint64_t w)
{
	return (w & SWAR_HIGH) | swar_equal(w, 0x1B) | swar_equal(w, '\r');
}

static inline bool is_special(unsigned char c)
{
	return c >= 0x80 || c == 0x1B || c == '\r';
}

/* Copies up to the next byte that needs a look; *s is moved there. */
static int copy_plain(struct sink *k, const unsigned char **s, const unsigned char *end)
{
	const unsigned char *p = *s;
	int r = 0;
	while (p < end) {
		while (end - p >= 8 && sink_left(k) >= 8) {
			uint64_t w = swar_load(p);
			uint64_t hit = special_bytes(w);
			memcpy(k->at, p, 8);
			if (hit) {
				int n = __builtin_ctzll(hit) / 8;
				k->at += n;
				*s = p + n;
				return 0;
			}
			k->at += 8;
			p += 8;
		}
		if (p == end || is_special(*p))
			break;
		r = sink_byte(k, *p, (size_t)(end - p));
		if (r < 0)
			break;
		p++;
	}
	*s = p;
	return r;
}

static int drop_utf8(struct text_clean *c, struct sink *k)
{
	size_t n = c->utf8_held_len;
	c->utf8_held_len = 0;
	return sink_hex(k, c->utf8_held, n);
}

/* Adds one byte to the UTF-8 sequence under way (there is one). *ret_used: it belonged to it. */
static int continue_utf8(struct text_clean *c, struct sink *k, unsigned char byte, bool *ret_used)
{
	c->utf8_held[c->utf8_held_len] = byte;
	int n = utf8_sequence(c->utf8_held, c->utf8_held_len + 1u);
	*ret_used = n >= 0;
	if (n < 0)
		return drop_utf8(c, k);
	c->utf8_held_len++;
	if (n == 0)
		return 0;
	int r = sink_room(k, 4, 4);
	for (int i = 0; r == 0 && i < n; i++)
		*k->at++ = (char)c->utf8_held[i];
	c->utf8_held_len = 0;
	return r;
}

/* Text that has no CR, and whose ESC (if any) is a character: what was held for a sequence that was none. */
static int show(struct text_clean *c, struct sink *k, const unsigned char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (c->utf8_held_len) {
			bool used;
			int r = continue_utf8(c, k, s[i], &used);
			if (r < 0)
				return r;
			if (used)
				continue;
		}
		int n = utf8_sequence(s + i, 1), r;
		if (n == 0) {
			c->utf8_held[c->utf8_held_len++] = s[i];
			continue;
		}
		r = n > 0 ? sink_byte(k, s[i], len - i) : sink_hex(k, s + i, 1);
		if (r < 0)
			return r;
	}
	return 0;
}

static int drop_cr(struct text_clean *c, struct sink *k)
{
	if (!c->cr_held)
		return 0;
	c->cr_held = false;
	return sink_byte(k, '\r', 1);
}

/* The grammar: the state after byte, DONE when byte ends the sequence, BROKEN when it can't be part of one. */
static enum state step(enum state state, unsigned char byte)
{
	switch (state) {
	case ESCAPE:
		if (byte == '[')
			return CSI;
		if (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_')
			return STRING;
		__attribute__((fallthrough));
	case NF:
		if (byte >= 0x20 && byte <= 0x2F)
			return NF;
		return byte >= 0x30 && byte <= 0x7E ? DONE : BROKEN;
	case CSI:
		if (byte >= 0x20 && byte <= 0x3F)
			return CSI;
		return byte >= 0x40 && byte <= 0x7E ? DONE : BROKEN;
	case STRING:
		if (byte == 0x1B)
			return STRING_ESCAPE;
		if (byte == 0x07)
			return DONE;
		return byte >= 0x20 || byte == '\t' ? STRING : BROKEN;
	case STRING_ESCAPE: return byte == '\\' ? DONE : BROKEN;
	case GROUND:
	case DONE:
	case BROKEN: break;
	}
	return BROKEN;
}

/* Goes on with the sequence under way; *s is moved behind what has been decided or held. */
static int feed_escape(struct text_clean *c, struct sink *k, const unsigned char **s, const unsigned char *end)
{
	const unsigned char *start = *s, *p = start;
	enum state state = (enum state)c->state;
	size_t room = TEXT_CLEAN_HELD_MAX - c->held.len;
	while (p < end) {
		enum state next = (size_t)(p - start) < room ? step(state, *p) : BROKEN;
		if (next == DONE || next == BROKEN)
			break;
		state = next;
		p++;
	}
	size_t seen = (size_t)(p - start);
	*s = p;
	if (p == end) {
		c->state = (uint8_t)state;
		return buf_append(&c->held, start, seen);
	}
	int r = 0;
	if (seen < room && step(state, *p) == DONE) {
		*s = p + 1;
	} else {
		/* The ESC that broke a string begins a sequence of its own; it is the last byte seen or held. */
		bool again = state == STRING_ESCAPE;
		size_t held = c->held.len, fresh = seen;
		if (again && fresh)
			fresh--;
		else if (again)
			held--;
		r = drop_cr(c, k);
		if (r == 0)
			r = show(c, k, (const unsigned char *)c->held.data, held);
		if (r == 0)
			r = show(c, k, start, fresh);
		if (again) {
			buf_clear(&c->held);
			c->state = ESCAPE;
			if (r == 0 && c->utf8_held_len)
				r = drop_utf8(c, k);
			return r < 0 ? r : buf_append(&c->held, "\x1b", 1);
		}
	}
	buf_clear(&c->held);
	c->state = GROUND;
	return r;
}

static int feed_ground(struct text_clean *c, struct sink *k, const unsigned char **s, const unsigned char *end)
{
	const unsigned char *p = *s;
	int r = 0;
	while (r == 0 && p < end) {
		if (c->utf8_held_len) {
			bool used;
			r = continue_utf8(c, k, *p, &used);
			p += used;
			continue;
		}
		if (*p == 0x1B) {
			c->state = ESCAPE;
			break;
		}
		if (c->cr_held) {
			c->cr_held = false;
			if (*p != '\n')
				r = sink_byte(k, '\r', (size_t)(end - p));
			continue;
		}
		if (*p == '\r') {
			c->cr_held = true;
			p++;
			continue;
		}
		if (*p < 0x80) {
			r = copy_plain(k, &p, end);
			continue;
		}
		int n = utf8_sequence(p, (size_t)(end - p));
		if (n == 0) {
			c->utf8_held_len = (uint8_t)(end - p);
			memcpy(c->utf8_held, p, c->utf8_held_len);
			p = end;
		} else if (n < 0) {
			r = sink_hex(k, p++, 1);
		} else if ((r = sink_room(k, (size_t)n, (size_t)(end - p))) == 0) {
			for (; n > 0; n--)
				*k->at++ = (char)*p++;
		}
	}
	*s = p;
	return r;
}

void text_clean_init(struct text_clean *c)
{
	*c = (struct text_clean){.state = GROUND};
	buf_init(&c->held, TEXT_CLEAN_HELD_MAX);
}

void text_clean_deinit(struct text_clean *c)
{
	buf_deinit(&c->held);
	text_clean_init(c);
}

int text_clean_feed(struct text_clean *c, const char *data, size_t len, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)data, *end = p + len;
	struct sink k;
	sink_open(&k, out);
	int r = 0;
	while (r == 0 && p < end) {
		if (c->state == GROUND) {
			r = feed_ground(c, &k, &p, end);
			if (r == 0 && c->state == ESCAPE) {
				p++; /* the ESC itself, which feed_ground has left */
				r = buf_append(&c->held, "\x1b", 1);
			}
		} else {
			r = feed_escape(c, &k, &p, end);
		}
	}
	sink_sync(&k);
	return r;
}

int text_clean_finish(struct text_clean *c, struct buf *out)
{
	struct sink k;
	sink_open(&k, out);
	int r = drop_cr(c, &k);
	if (r == 0)
		r = show(c, &k, (const unsigned char *)c->held.data, c->held.len);
	if (r == 0 && c->utf8_held_len)
		r = drop_utf8(c, &k);
	sink_sync(&k);
	text_clean_deinit(c);
	return r;
}

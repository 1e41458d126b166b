/* runtime/local/scanner.c: the incremental search for reports in terminal output.
 *
 * Plain text is passed on in runs found by memchr. At an FS byte the bytes that follow are compared with each report
 * form as they arrive; as soon as no form fits, the first byte is given out as text and the search goes on behind it.
 * Numbers are digits only and letters are capitals, so that no terminal setting (olcuc, lcase) changes a report.
 * A command's number is known to nobody but the shell's parser while the command runs, which is what makes text that
 * looks like a report harmless. */
#include "runtime/local/scanner.h"

#include <string.h>

enum { FS = 0x1C, MAX_DIGITS = 9 };

enum match { MATCH_NO, MATCH_PARTIAL, MATCH_FULL };

struct reader {
	const char *p, *end;
};

/* Reads ":<digits>"; PARTIAL also when a further digit may follow. */
static enum match match_number(struct reader *r, int *ret)
{
	if (r->p == r->end)
		return MATCH_PARTIAL;
	if (*r->p++ != ':')
		return MATCH_NO;
	int digits = 0, n = 0;
	for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++, digits++) {
		if (digits == MAX_DIGITS)
			return MATCH_NO;
		n = n * 10 + (*r->p - '0');
	}
	if (r->p == r->end)
		return MATCH_PARTIAL;
	*ret = n;
	return digits > 0 ? MATCH_FULL : MATCH_NO;
}

/* Reads ":" and an optional '1'. */
static enum match match_flag(struct reader *r, bool *ret)
{
	if (*r->p++ != ':')
		return MATCH_NO;
	if (r->p < r->end && *r->p == '1') {
		*ret = true;
		r->p++;
	}
	return r->p == r->end ? MATCH_PARTIAL : MATCH_FULL;
}

static enum match match_nonce(struct reader *r, const char *nonce)
{
	size_t left = (size_t)(r->end - r->p), have = left < NONCE_LEN ? left : NONCE_LEN;
	if (!nonce[0] || memcmp(r->p, nonce, have) != 0)
		return MATCH_NO;
	r->p += have;
	return have < NONCE_LEN ? MATCH_PARTIAL : MATCH_FULL;
}

/* A full match: ret->len is its length. */
static enum match match_report(const struct scanner *s, const char *p, size_t n, struct scan_event *ret)
{
	if (n < 2)
		return MATCH_PARTIAL;
	char kind = p[1];
	if (kind != 'E' && kind != 'N' && kind != 'S' && kind != 'P')
		return MATCH_NO;
	struct reader r = {p + 2, p + n};
	*ret = (struct scan_event){.kind = kind == 'E'	 ? SCAN_END
					   : kind == 'N' ? SCAN_PROMPTLESS
					   : kind == 'S' ? SCAN_ABORT
							 : SCAN_PROMPT};
	enum match m = match_nonce(&r, kind == 'E' ? s->command_nonce : s->session_nonce);
	if (m == MATCH_FULL && kind == 'N')
		m = r.p == r.end ? MATCH_PARTIAL : MATCH_FULL;
	else if (m == MATCH_FULL)
		m = match_number(&r, &ret->status);
	if (m == MATCH_FULL && kind == 'P')
		m = match_number(&r, &ret->prompt_number);
	if (m == MATCH_FULL && kind == 'P')
		m = match_number(&r, &ret->jobs);
	if (m == MATCH_FULL && kind == 'S')
		m = match_flag(&r, &ret->not_started);
	ret->len = (size_t)(r.p - p) + 1;
	return m == MATCH_FULL && *r.p != FS ? MATCH_NO : m;
}

/* Gives out the held bytes up to the next FS behind the first byte. */
static void release_held(struct scanner *s, struct scan_event *ret)
{
	const char *next = s->n_held > 1 ? memchr(s->held + 1, FS, s->n_held - 1) : NULL;
	size_t n = next ? (size_t)(next - s->held) : s->n_held;
	memcpy(s->text, s->held, n);
	memmove(s->held, s->held + n, s->n_held - n);
	s->n_held -= n;
	*ret = (struct scan_event){.kind = SCAN_TEXT, .text = s->text, .len = n};
}

size_t scanner_feed(struct scanner *s, const char *data, size_t len, struct scan_event *ret)
{
	size_t used = 0;
	*ret = (struct scan_event){.kind = SCAN_NONE};
	if (s->n_held == 0) {
		const char *fs = len ? memchr(data, FS, len) : NULL;
		size_t run = fs ? (size_t)(fs - data) : len;
		if (run > 0) {
			*ret = (struct scan_event){.kind = SCAN_TEXT, .text = data, .len = run};
			return run;
		}
		/* most reports come whole */
		if (len > 0 && match_report(s, data, len, ret) == MATCH_FULL) {
			ret->text = data;
			return ret->len;
		}
		*ret = (struct scan_event){.kind = SCAN_NONE};
	}
	for (;;) {
		if (s->n_held > 0) {
			switch (match_report(s, s->held, s->n_held, ret)) {
			case MATCH_FULL:
				memcpy(s->text, s->held, s->n_held);
				ret->text = s->text;
				ret->len = s->n_held;
				s->n_held = 0;
				return used;
			case MATCH_NO: release_held(s, ret); return used;
			case MATCH_PARTIAL: *ret = (struct scan_event){.kind = SCAN_NONE}; break;
			}
		}
		if (used == len)
			return used;
		s->held[s->n_held++] = data[used++];
	}
}

void scanner_finish(struct scanner *s, struct scan_event *ret)
{
	*ret = (struct scan_event){.kind = SCAN_NONE};
	if (s->n_held == 0)
		return;
	memcpy(s->text, s->held, s->n_held);
	*ret = (struct scan_event){.kind = SCAN_TEXT, .text = s->text, .len = s->n_held};
	s->n_held = 0;
}

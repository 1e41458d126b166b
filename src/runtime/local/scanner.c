/* runtime/local/scanner.c: the incremental search for reports in terminal output.
 *
 * Plain text is passed on in runs found by memchr. At an FS byte the bytes that follow are compared with each report
 * form as they arrive; as soon as no form fits, the first byte is given out as text and the search goes on behind it.
 * Numbers are digits only and letters are capitals, so that no terminal setting (olcuc, lcase) changes a report.
 * A command's number is known to nobody but the shell's parser while the command runs, which is what makes text that
 * looks like a report harmless. */
#include "runtime/local/scanner.h"

#include <string.h>

enum { FS = 0x1C, MAX_STATUS_DIGITS = 4 };

enum match { MATCH_NO, MATCH_PARTIAL, MATCH_FULL };

/* Compares what follows the letter with "<nonce>", then for S and P ":<digits>", then for S ":" and an optional '1',
 * then FS. */
static enum match match_report(const struct scanner *s, const char *p, size_t n, struct scan_event *ret, size_t *ret_len)
{
	if (n < 2)
		return MATCH_PARTIAL;
	char kind = p[1];
	if (kind != 'E' && kind != 'S' && kind != 'P')
		return MATCH_NO;
	const char *nonce = kind == 'E' ? s->command_nonce : s->session_nonce;
	size_t i = 2, have = n - i < NONCE_LEN ? n - i : NONCE_LEN;
	if (!nonce[0] || memcmp(p + i, nonce, have) != 0)
		return MATCH_NO;
	if (have < NONCE_LEN)
		return MATCH_PARTIAL;
	i += NONCE_LEN;
	int status = 0;
	bool not_started = false;
	if (kind != 'E') {
		if (i == n)
			return MATCH_PARTIAL;
		if (p[i++] != ':')
			return MATCH_NO;
		size_t digits = 0;
		for (; i < n && p[i] >= '0' && p[i] <= '9'; i++, digits++) {
			if (digits == MAX_STATUS_DIGITS)
				return MATCH_NO;
			status = status * 10 + (p[i] - '0');
		}
		if (i == n)
			return MATCH_PARTIAL;
		if (digits == 0)
			return MATCH_NO;
	}
	if (kind == 'S') {
		if (p[i++] != ':')
			return MATCH_NO;
		if (i == n)
			return MATCH_PARTIAL;
		if (p[i] == '1') {
			not_started = true;
			i++;
		}
	}
	if (i == n)
		return MATCH_PARTIAL;
	if (p[i] != FS)
		return MATCH_NO;
	*ret_len = i + 1;
	*ret = (struct scan_event){
		.kind = kind == 'E' ? SCAN_END : kind == 'S' ? SCAN_ABORT : SCAN_PROMPT,
		.status = status,
		.not_started = not_started,
	};
	return MATCH_FULL;
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
	size_t used = 0, report_len = 0;
	*ret = (struct scan_event){.kind = SCAN_NONE};
	if (s->n_held == 0) {
		const char *fs = len ? memchr(data, FS, len) : NULL;
		size_t run = fs ? (size_t)(fs - data) : len;
		if (run > 0) {
			*ret = (struct scan_event){.kind = SCAN_TEXT, .text = data, .len = run};
			return run;
		}
	}
	for (;;) {
		if (s->n_held > 0) {
			switch (match_report(s, s->held, s->n_held, ret, &report_len)) {
			case MATCH_FULL:
				memcpy(s->text, s->held, s->n_held);
				ret->text = s->text;
				ret->len = s->n_held;
				s->n_held = 0;
				return used;
			case MATCH_NO:
				release_held(s, ret);
				return used;
			case MATCH_PARTIAL:
				break;
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

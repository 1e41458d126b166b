/* text/clean.h: from terminal bytes to the text of a reply, incrementally.
 *
 * ANSI escape sequences go away (CSI, OSC and the other strings, two- and three-byte ones), CRLF becomes
 * LF once, invalid UTF-8 becomes \xNN for each bad byte (surrogates and overlong forms are invalid), all
 * else stays byte-exact, NUL included. Feeding the same bytes in any partition gives the same text. */
#ifndef TEXT_CLEAN_H
#define TEXT_CLEAN_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_CLEAN_HELD_MAX = 4096 }; /* an escape string longer than this was none: it is shown */

struct text_clean {
	uint8_t state;
	bool cr_held; /* a CR that may be followed by LF */
	uint8_t utf8_held_len;
	unsigned char utf8_held[4];
	struct buf held; /* bytes of an unfinished escape sequence, cap TEXT_CLEAN_HELD_MAX */
};

void text_clean_init(struct text_clean *c); /* allocates nothing */
void text_clean_deinit(struct text_clean *c);

/* Appends cleaned text to out. 0, -ENOSPC (out is at its cap; nothing of this call's rest is appended) or -ENOMEM. */
int text_clean_feed(struct text_clean *c, const char *data, size_t len, struct buf *out);
/* The input has ended: what was held is shown as text (a lone CR, an unfinished UTF-8 sequence as \xNN, an
 * unfinished escape sequence verbatim). Leaves c as after init. */
int text_clean_finish(struct text_clean *c, struct buf *out);

#endif

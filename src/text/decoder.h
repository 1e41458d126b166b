/* text/decoder.h: what the decoders of text/decode*.c share: the input, the output, and the treatment of bad bytes. */
#ifndef TEXT_DECODER_H
#define TEXT_DECODER_H

#include "text/charsets.h"
#include "text/sink.h"
#include <crex/error.h>
#include <crex/runtime.h>
#include <stdbool.h>

enum bad_handler {
	BAD_STRICT,
	BAD_IGNORE,
	BAD_REPLACE,
	BAD_BACKSLASH,
	BAD_SURROGATEESCAPE,
	BAD_SURROGATEPASS,
	BAD_NO_DECODER,
	BAD_UNKNOWN
};

/* A decoder reads from `at`, writes to `sink` and returns 0, or -1 with *err set. */
struct decoder {
	const unsigned char *start; /* positions in messages count from here */
	const unsigned char *at;
	const unsigned char *end;
	struct sink sink;
	const char *shown; /* the name in messages */
	enum bad_handler handler;
	struct crex_str handler_name;
	struct crex_error *err;
	uint8_t surrogate_bytes; /* length of a surrogate that surrogatepass accepts; 0: not in this encoding */
	bool big_endian;
};

/* Writes one code point; surrogates come out in WTF-8. */
int decoder_put(struct decoder *d, uint32_t code);
/* n bytes at d->at can't be decoded: applies the handler and moves d->at on. */
int decoder_bad(struct decoder *d, size_t n, const char *reason);
/* Reports a negative errno of the output. Returns -1. */
/* Copies the input up to p, which is ASCII or sound UTF-8 already, and steps to it. */
int decoder_copy_to(struct decoder *d, const unsigned char *p);
int decoder_fail(struct decoder *d, int r);
/* Copies the ASCII at d->at, if any, up to where a byte >= 0x80 is. */
int decoder_copy_ascii(struct decoder *d);

static inline size_t decoder_left(const struct decoder *d)
{
	return (size_t)(d->end - d->at);
}

int decode_utf8(struct decoder *d);
int decode_utf16(struct decoder *d, enum charset_kind kind);
int decode_utf32(struct decoder *d, enum charset_kind kind);

/* Tables, inflated for one call. */
struct table {
	uint16_t *units; /* PAIR_COUNT of them, or 256 */
	uint32_t (*extras)[2];
	size_t n_extras;
};
int table_load_pairs(struct table *t, int index); /* 0, -ENOMEM */
int table_load_first(struct table *t, int index);
void table_deinit(struct table *t);

static inline unsigned table_unit(const struct table *t, unsigned lead, unsigned trail)
{
	return lead < 0x80 || trail < 0x20 || !t->units ? 0 : t->units[(lead - 0x80) * PAIR_TRAILS + trail - 0x20];
}
static inline bool unit_is_character(unsigned unit)
{
	return unit != 0 && unit < UNIT_ILLEGAL_PAIR;
}
int decoder_put_unit(struct decoder *d, const struct table *t, unsigned unit);

int decode_table(struct decoder *d, const struct text_charset *cs);
int decode_stateful(struct decoder *d, const struct text_charset *cs);

#define TEXT_TRY(expr)             \
	do {                       \
		if ((expr) < 0)    \
			return -1; \
	} while (0)

#endif

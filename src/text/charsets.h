/* text/charsets.h: the shape of the generated tables (tools/gen_charsets.py says what is in them and why). */
#ifndef TEXT_CHARSETS_H
#define TEXT_CHARSETS_H

#include <stddef.h>
#include <stdint.h>

enum charset_kind {
	CHARSET_UTF_8,
	CHARSET_UTF_8_SIG,
	CHARSET_UTF_16,
	CHARSET_UTF_16_LE,
	CHARSET_UTF_16_BE,
	CHARSET_UTF_32,
	CHARSET_UTF_32_LE,
	CHARSET_UTF_32_BE,
	CHARSET_ASCII,
	CHARSET_LATIN_1,
	CHARSET_TABLE,
	CHARSET_GB18030,
	CHARSET_EUC_KR,
	CHARSET_HZ,
	CHARSET_ISO2022_KR,
	CHARSET_ISO2022_JP,
	CHARSET_ISO2022_JP_1,
	CHARSET_ISO2022_JP_EXT,
};

/* Code units that are no characters. */
enum { UNIT_ILLEGAL_PAIR = 0xFFFC, UNIT_LEAD3 = 0xFFFD, UNIT_ILLEGAL = 0xFFFE, UNIT_LEAD = 0xFFFF };

struct text_charset {
	char shown[15]; /* the name in Python's error text */
	uint8_t kind;
	int8_t pairs;  /* index into text_pairs, -1: none */
	int8_t third;  /* the same for pairs behind 0x8F */
	uint8_t first; /* index of the table of first bytes */
};

struct text_packed {
	uint32_t at; /* in text_charset_blob */
	uint32_t size;
	uint32_t raw_size;
};

enum { PAIR_LEADS = 128, PAIR_TRAILS = 224, PAIR_COUNT = PAIR_LEADS * PAIR_TRAILS };

struct text_pairs {
	uint32_t at;
	uint32_t size;
	uint16_t n_extras; /* of its own, after those of the base */
	int8_t base;	   /* -1: none */
	uint8_t from_euc;  /* the base is arranged as EUC, this one as Shift_JIS */
};

struct text_range {
	uint16_t number; /* of the four-byte sequence */
	uint16_t first;	 /* code point there */
};

extern const struct text_charset text_charsets[];
extern const struct text_pairs text_pairs[];
extern const struct text_packed text_firsts;
extern const char text_charset_names[]; /* name NUL index+1, repeated, ended by an empty name */
extern const struct text_range text_gb18030_ranges[];
extern const size_t text_gb18030_range_count;
extern const unsigned char text_euc_kr_jamo[3][94]; /* 0xFF: none */
extern const unsigned char text_charset_blob[];

#endif

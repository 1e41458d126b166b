/* text/decode.h: bytes in a named encoding to UTF-8, as Python's bytes.decode() would.
 *
 * Encodings by Python's names and aliases, with Python's normalisation ("UTF8", "latin_1", "L1", "cp-1252").
 * Tables come from Python's own codecs at build time (tools/gen_charsets.py): nothing is loaded from the image. */
#ifndef TEXT_DECODE_H
#define TEXT_DECODE_H

#include "base/buf.h"
#include <crex/error.h>
#include <crex/runtime.h>

/* Decodes data (whole file) and appends to out as UTF-8, or as WTF-8 where surrogateescape produces lone surrogates
 * U+DC80..U+DCFF (3-byte form ED B2 80..; the JSON writer turns them into \udcXX escapes).
 * errors: "strict" "ignore" "replace" "backslashreplace" "surrogateescape"; ptr NULL is "strict"; encoding ptr NULL
 * is "utf-8". Returns 0; or -1 with err: LOOKUP "unknown encoding: x" / "unknown error handler name 'x'",
 * UNICODE with Python's text ("'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"), MEMORY, LIMIT.
 */
int text_decode(struct crex_str data, struct crex_str encoding, struct crex_str errors, struct buf *out,
		struct crex_error *err);

/* CRLF and CR become LF, in place (universal newlines). */
void text_universal_newlines(struct buf *text);

/* Appends src to out with each byte that is not part of valid UTF-8 as \xNN. 0, -ENOSPC, -ENOMEM. */
int text_append_escaped_utf8(struct buf *out, const char *src, size_t len);

#endif

/* base/buf.h: a growable byte buffer that has its cap from birth. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data; /* owned; NULL while empty; always followed by a NUL when not NULL */
	size_t len;
	size_t cap;
	size_t max; /* len never exceeds this */
};

/* No allocation happens here. */
static inline void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_deinit(struct buf *b); /* frees, keeps max; safe on a zeroed buffer */

/* All return 0, -ENOSPC when max would be exceeded (nothing is appended then) or -ENOMEM. */
int buf_reserve(struct buf *b, size_t more);
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_str(struct buf *b, const char *str);
int buf_append_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

void buf_consume(struct buf *b, size_t n);	 /* drops the first n bytes (memmove) */
void buf_clear(struct buf *b);			 /* len = 0, keeps memory */
char *buf_steal(struct buf *b, size_t *ret_len); /* caller frees; never NULL unless memory ran out */

#define cleanup_buf __attribute__((cleanup(buf_deinit)))

#endif

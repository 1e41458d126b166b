/* base/buf.c: the growable buffer used wherever bytes of unknown number arrive.
 *
 * Growth doubles, so that appending is amortised linear; the cap is checked before any allocation, so
 * that a hostile length can never make us ask for memory that the owner has not agreed to. One byte
 * more than `cap` is always allocated and kept NUL, which makes the content usable as a C string. */
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_deinit(struct buf *b)
{
	free(b->data);
	*b = (struct buf){.max = b->max};
}

int buf_reserve(struct buf *b, size_t more)
{
	if (more > b->max || b->len > b->max - more)
		return -ENOSPC;
	size_t need = b->len + more;
	if (b->data && need <= b->cap)
		return 0;
	size_t cap = b->cap ? b->cap : need > 64 ? need : 64; /* who reserves first knows what is to come */
	while (cap < need)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	if (cap > b->max)
		cap = need;
	char *data = realloc(b->data, cap + 1);
	if (!data)
		return -ENOMEM;
	data[b->len] = '\0';
	b->data = data;
	b->cap = cap;
	return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	int r = buf_reserve(b, len);
	if (r < 0)
		return r;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int buf_append_str(struct buf *b, const char *str)
{
	return buf_append(b, str, strlen(str));
}

int buf_append_char(struct buf *b, char c)
{
	return buf_append(b, &c, 1);
}

/* Straight into room that will do for most: the C library's measuring pass (a NULL target) goes by way of an overflow
 * call for each byte, which costs more than all the rest. It is left to texts that do not fit. */
int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	enum { ARGUMENTS = 64 };
	size_t guess = strlen(fmt) + ARGUMENTS;
	int r = buf_reserve(b, guess <= b->max - b->len ? guess : 0);
	if (r < 0)
		return r;
	va_list again;
	va_copy(again, ap);
	size_t room = b->cap - b->len;
	int n = vsnprintf(b->data + b->len, room + 1, fmt, ap);
	if (n < 0)
		r = -EINVAL;
	else if ((size_t)n > room)
		r = buf_reserve(b, (size_t)n);
	if (r == 0 && (size_t)n > room)
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
	va_end(again);
	if (r == 0)
		b->len += (size_t)n;
	b->data[b->len] = '\0'; /* also takes back a text that did not fit */
	return r;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		buf_clear(b);
		return;
	}
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
	b->data[b->len] = '\0';
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

char *buf_steal(struct buf *b, size_t *ret_len)
{
	if (!b->data && buf_reserve(b, 0) < 0)
		return NULL;
	char *data = b->data;
	if (ret_len)
		*ret_len = b->len;
	*b = (struct buf){.max = b->max};
	return data;
}

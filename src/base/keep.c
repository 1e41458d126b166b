/* base/keep.c: a bounded record of output: its beginning and its end.
 *
 * What a command printed first (what it was about to do) and last (how it ended) matters most, so at the limit the
 * middle goes. The text stays contiguous: when it would pass the limit, a quarter of the limit is taken out behind
 * the first half in one move, so that each byte is moved a bounded number of times however long the output runs. */
#include "base/keep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { KEEP_MIN = 1024, NOTE_MAX = 96 };

void keep_init(struct keep *k, size_t max)
{
	if (max < KEEP_MIN)
		max = KEEP_MIN;
	*k = (struct keep){.max = max};
	buf_init(&k->buf, max + NOTE_MAX);
}

void keep_deinit(struct keep *k)
{
	buf_deinit(&k->buf);
	k->cut = 0;
}

static void cut_middle(struct keep *k, size_t n)
{
	size_t half = k->max / 2, behind = k->buf.len - half;
	if (n > behind)
		n = behind;
	memmove(k->buf.data + half, k->buf.data + half + n, behind - n);
	k->buf.len -= n;
	k->buf.data[k->buf.len] = '\0';
	k->cut += n;
}

int keep_append(struct keep *k, const char *data, size_t len)
{
	while (len > 0) {
		size_t room = k->max - k->buf.len;
		if (room == 0) {
			cut_middle(k, k->max / 4);
			continue;
		}
		size_t n = len < room ? len : room;
		int r = buf_append(&k->buf, data, n);
		if (r < 0)
			return r;
		data += n;
		len -= n;
	}
	return 0;
}

void keep_drop_tail(struct keep *k, size_t n)
{
	k->buf.len -= n < k->buf.len ? n : k->buf.len;
	if (k->buf.data)
		k->buf.data[k->buf.len] = '\0';
}

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xC0) == 0x80;
}

static size_t char_length(char first)
{
	unsigned char c = (unsigned char)first;
	return c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

char *keep_steal(struct keep *k, size_t *ret_len, bool *ret_truncated)
{
	*ret_truncated = k->cut > 0;
	if (k->cut > 0 && k->buf.len >= k->max / 2) {
		size_t half = k->max / 2, head = half, tail = half;
		while (tail < k->buf.len && is_continuation(k->buf.data[tail]))
			tail++;
		/* the head's last character may lack its end: go back to its first byte and drop it unless whole */
		size_t lead = head;
		while (lead > 0 && is_continuation(k->buf.data[lead - 1]))
			lead--;
		if (lead > 0 && head - (lead - 1) < char_length(k->buf.data[lead - 1]))
			head = lead - 1;
		char note[NOTE_MAX];
		int n = snprintf(note, sizeof note, "\n[... %zu bytes of output cut here ...]\n",
				 k->cut + (tail - head));
		size_t behind = k->buf.len - tail;
		if (buf_reserve(&k->buf, (size_t)n) == 0) {
			memmove(k->buf.data + head + n, k->buf.data + tail, behind);
			memcpy(k->buf.data + head, note, (size_t)n);
			k->buf.len = head + (size_t)n + behind;
			k->buf.data[k->buf.len] = '\0';
		}
	}
	k->cut = 0;
	return buf_steal(&k->buf, ret_len);
}

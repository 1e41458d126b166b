/* deploy/modal/grpc.c: the few rules that gRPC adds to HTTP/2.
 *
 * A message is framed by one byte (0: not compressed) and its length; a reply is frames, and then trailers that hold
 * the status. A call that fails at once has the status among its headers instead. libcurl hands out both as header
 * lines, so there is one reader for either.
 *
 * The status's text is percent-encoded UTF-8 from elsewhere: it is decoded, cut to a sane length, and freed of control
 * characters before anybody shows it. */
#include "deploy/modal/grpc.h"

#include "base/utf8.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool grpc_is_transient(int status)
{
	return status == GRPC_CANCELLED || status == GRPC_UNKNOWN || status == GRPC_DEADLINE_EXCEEDED ||
	       status == GRPC_INTERNAL || status == GRPC_UNAVAILABLE;
}

const char *grpc_status_name(int status)
{
	static const char *const names[] = {
		"OK",	     "CANCELLED",      "UNKNOWN",	    "INVALID_ARGUMENT",	  "DEADLINE_EXCEEDED",
		"NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
		"ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",	    "INTERNAL",		  "UNAVAILABLE",
		"DATA_LOSS", "UNAUTHENTICATED"};
	return status >= 0 && (size_t)status < sizeof names / sizeof *names ? names[status] : "no status";
}

/* ---- frames ---- */

void grpc_frame_head(unsigned char ret[GRPC_HEAD], size_t len)
{
	ret[0] = 0;
	for (unsigned i = 0; i < 4; i++)
		ret[1 + i] = (unsigned char)(len >> (8 * (3 - i)));
}

void grpc_frames_init(struct grpc_frames *f, size_t max, int (*on_message)(void *arg, struct crex_str message),
		      void *arg)
{
	buf_init(&f->pending, max + GRPC_HEAD);
	f->on_message = on_message;
	f->arg = arg;
}

void grpc_frames_deinit(struct grpc_frames *f)
{
	buf_deinit(&f->pending);
}

static size_t frame_length(const char *head)
{
	size_t len = 0;
	for (unsigned i = 1; i < GRPC_HEAD; i++)
		len = len << 8 | (unsigned char)head[i];
	return len;
}

/* How many bytes the frame under way lacks; -EPROTO, -ENOSPC as soon as its head says so. */
static int missing(const struct buf *b, size_t *ret)
{
	*ret = GRPC_HEAD - b->len;
	if (b->len && b->data[0] != 0)
		return -EPROTO;
	if (b->len < GRPC_HEAD)
		return 0;
	size_t len = frame_length(b->data);
	*ret = len + GRPC_HEAD - b->len;
	return len > b->max - GRPC_HEAD ? -ENOSPC : 0;
}

int grpc_frames_feed(struct grpc_frames *f, const char *data, size_t len)
{
	while (len) {
		size_t lacks;
		int r = missing(&f->pending, &lacks);
		size_t take = lacks < len ? lacks : len;
		if (r == 0)
			r = buf_append(&f->pending, data, take);
		if (r == 0)
			r = missing(&f->pending, &lacks);
		if (r < 0)
			return r;
		data += take;
		len -= take;
		if (lacks > 0 || f->pending.len < GRPC_HEAD)
			continue;
		r = f->on_message(f->arg, (struct crex_str){f->pending.data + GRPC_HEAD, f->pending.len - GRPC_HEAD});
		buf_clear(&f->pending);
		if (r != 0)
			return r;
	}
	return 0;
}

bool grpc_frames_at_end(const struct grpc_frames *f)
{
	return f->pending.len == 0;
}

/* ---- statuses ---- */

void grpc_outcome_init(struct grpc_outcome *o)
{
	*o = (struct grpc_outcome){.status = GRPC_NONE};
}

static int hex(char c)
{
	return isdigit((unsigned char)c)		     ? c - '0'
	       : strchr("abcdef", tolower((unsigned char)c)) ? tolower((unsigned char)c) - 'a' + 10
							     : -1;
}

/* Takes whole UTF-8 sequences of printable text, as many as fit. */
static void set_message(struct grpc_outcome *o, const char *text, size_t len)
{
	char plain[GRPC_MESSAGE_MAX];
	size_t n = 0, kept = 0;
	for (size_t i = 0; i < len && n < sizeof plain; i++) {
		bool coded = text[i] == '%' && len - i > 2 && text[i + 1] && text[i + 2] && hex(text[i + 1]) >= 0 &&
			     hex(text[i + 2]) >= 0;
		plain[n++] = coded ? (char)(hex(text[i + 1]) << 4 | hex(text[i + 2])) : text[i];
		i += coded ? 2 : 0;
	}
	for (size_t i = 0; i < n;) {
		int size = utf8_sequence((const unsigned char *)plain + i, n - i);
		if (size == 0 || kept + (size > 0 ? (size_t)size : 1) >= sizeof o->message)
			break;
		if (size < 0) {
			o->message[kept++] = '?';
			i += (size_t)-size;
			continue;
		}
		bool control = size == 1 && ((unsigned char)plain[i] < ' ' || plain[i] == 0x7F);
		memcpy(o->message + kept, control ? " " : plain + i, (size_t)size);
		kept += (size_t)size;
		i += (size_t)size;
	}
	o->message[kept] = '\0';
}

static bool is_named(const char *line, size_t len, const char *name, struct crex_str *ret_value)
{
	size_t n = strlen(name);
	if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return false;
	line += n + 1;
	len -= n + 1;
	for (; len && (*line == ' ' || *line == '\t'); line++)
		len--;
	while (len && strchr(" \t\r\n", line[len - 1]))
		len--;
	*ret_value = (struct crex_str){line, len};
	return true;
}

/* -1: no number of up to nine digits. */
static int number(const char *text, size_t len)
{
	int value = 0;
	if (len == 0 || len > 9)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]))
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

void grpc_outcome_line(struct grpc_outcome *o, const char *line, size_t len)
{
	static const char type[] = "application/grpc";
	struct crex_str value;
	if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
		const char *space = memchr(line, ' ', len);
		size_t left = space ? len - (size_t)(space + 1 - line) : 0;
		int status = left >= 3 ? number(space + 1, 3) : -1;
		grpc_outcome_init(o);
		o->http_status = status < 0 ? 0 : status;
	} else if (is_named(line, len, "content-type", &value)) {
		o->is_grpc = value.len >= sizeof type - 1 && strncasecmp(value.ptr, type, sizeof type - 1) == 0;
	} else if (is_named(line, len, "grpc-status", &value)) {
		int status = number(value.ptr, value.len);
		o->status = status < 0 ? GRPC_UNKNOWN : status;
	} else if (is_named(line, len, "grpc-message", &value)) {
		set_message(o, value.ptr, value.len);
	}
}

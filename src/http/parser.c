/* http/parser.c: the glue between llhttp's callbacks and a parser that is pulled.
 *
 * llhttp calls back in the middle of its run. Each callback that means something to the connection notes its event
 * and returns HPE_PAUSED, so that llhttp_execute() comes back at once with the position it has reached; the caller
 * then acts on a parser that stands still, may drop it, reset it, or go on with the rest. That keeps the connection's
 * state machine free of re-entrance: nothing of it ever runs inside llhttp.
 *
 * Sizes: the target and the kept values are copied into one buffer whose cap is max_header; all other header bytes
 * are only counted. A header section that is counted over the limit ends with HEAD_LIMIT, wherever its bytes went
 * (names that nobody asks for, trailers). What is neither stored nor counted (blanks around a value, chunk
 * extensions) costs no memory, and the connection's deadline bounds its time.
 *
 * The method is read here and not by llhttp, which knows a list of them and stops at any other: an unknown one is a
 * method that no path has (405), not malformed HTTP (400). llhttp gets PUT in its place, whose grammar is that of any
 * method but the few that it must see by name.
 *
 * llhttp is compiled in its strict mode and its lenient flags stay off: a message with both Content-Length and
 * Transfer-Encoding, with another coding than chunked, or with bare CR in its head, is an error here, because a proxy
 * before us may have read it in another way. An Upgrade header changes nothing of the grammar: whether it is followed
 * is the handler's to say once the request is complete, and the RFC allows to ignore it. */
#include "http/parser.h"

#include <string.h>
#include <strings.h>

static const struct {
	const char *name;
	unsigned len;
} wanted[HTTP_HEADER_COUNT] = {
	[HTTP_HEADER_API_KEY] = {"x-api-key", 9},
	[HTTP_HEADER_REQUEST_ID] = {"x-request-id", 12},
	[HTTP_HEADER_CONTENT_TYPE] = {"content-type", 12},
	[HTTP_HEADER_EXPECT] = {"expect", 6},
	[HTTP_HEADER_TRANSFER_ENCODING] = {"transfer-encoding", 17},
	[HTTP_HEADER_CONNECTION] = {"connection", 10},
	[HTTP_HEADER_UPGRADE] = {"upgrade", 7},
};

static struct http_parser *parser_of(llhttp_t *ll)
{
	return (struct http_parser *)((char *)ll - offsetof(struct http_parser, ll));
}

static int pause_with(struct http_parser *p, enum http_event event)
{
	p->event = event;
	return HPE_PAUSED;
}

static int fail(struct http_parser *p, enum http_event event, const char *reason)
{
	p->event = event;
	p->reason = reason;
	return HPE_USER;
}

static int count_head(struct http_parser *p, size_t len)
{
	p->head_bytes += len;
	return p->head_bytes > p->max_header ? fail(p, HTTP_EVENT_HEAD_LIMIT, "header section too large") : 0;
}

static int keep(struct http_parser *p, const char *at, size_t len)
{
	return buf_append(&p->text, at, len) < 0 ? fail(p, HTTP_EVENT_BAD, "out of memory") : 0;
}

static int on_begin(llhttp_t *ll)
{
	parser_of(ll)->started = true;
	return 0;
}

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
	struct http_parser *p = parser_of(ll);
	int r = count_head(p, len);
	if (r == 0)
		r = keep(p, at, len);
	p->target_len = p->text.len;
	return r;
}

static int on_field(llhttp_t *ll, const char *at, size_t len)
{
	struct http_parser *p = parser_of(ll);
	for (size_t i = 0; i < len && p->name_len < HTTP_PARSER_NAME_MAX; i++) {
		char c = at[i];
		p->name[p->name_len++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	return count_head(p, len);
}

static int on_field_complete(llhttp_t *ll)
{
	struct http_parser *p = parser_of(ll);
	if (p->name_len == 0)
		return fail(p, HTTP_EVENT_BAD, "empty header name");
	p->current = -1;
	for (int i = 0; i < HTTP_HEADER_COUNT && !p->head_done; i++) {
		/* Of a repeated header the first one counts, as in Starlette. */
		if (p->name_len == wanted[i].len && memcmp(p->name, wanted[i].name, p->name_len) == 0 &&
		    !p->header[i].present) {
			p->header[i].present = true;
			p->header[i].at = p->text.len;
			p->current = i;
		}
	}
	p->name_len = 0;
	return count_head(p, 4); /* colon, blank, CRLF */
}

static int on_value(llhttp_t *ll, const char *at, size_t len)
{
	struct http_parser *p = parser_of(ll);
	int r = count_head(p, len);
	if (r != 0 || p->current < 0)
		return r;
	p->header[p->current].len += len;
	return keep(p, at, len);
}

static int on_head(llhttp_t *ll)
{
	struct http_parser *p = parser_of(ll);
	if (p->ll.http_major != 1)
		return fail(p, HTTP_EVENT_BAD, "not HTTP/1");
	/* llhttp would hand us the bytes of another coding as they are. */
	struct crex_str coding = http_parser_header(p, HTTP_HEADER_TRANSFER_ENCODING);
	if (coding.ptr && !(coding.len == 7 && strncasecmp(coding.ptr, "chunked", 7) == 0))
		return fail(p, HTTP_EVENT_BAD, "unknown transfer coding");
	p->head_done = true;
	p->ll.upgrade = 0;
	return pause_with(p, HTTP_EVENT_HEAD);
}

static int on_body(llhttp_t *ll, const char *at, size_t len)
{
	struct http_parser *p = parser_of(ll);
	if (len == 0) /* a span that is still open is reported again when there is nothing more to read */
		return 0;
	p->body = (struct crex_str){at, len};
	return pause_with(p, HTTP_EVENT_BODY);
}

static int on_message(llhttp_t *ll)
{
	return pause_with(parser_of(ll), HTTP_EVENT_MESSAGE);
}

static const llhttp_settings_t callbacks = {
	.on_message_begin = on_begin,
	.on_url = on_url,
	.on_header_field = on_field,
	.on_header_field_complete = on_field_complete,
	.on_header_value = on_value,
	.on_headers_complete = on_head,
	.on_body = on_body,
	.on_message_complete = on_message,
};

void http_parser_init(struct http_parser *p, size_t max_header)
{
	*p = (struct http_parser){.max_header = max_header};
	buf_init(&p->text, max_header);
	http_parser_reset(p);
}

void http_parser_deinit(struct http_parser *p)
{
	buf_deinit(&p->text);
}

void http_parser_reset(struct http_parser *p)
{
	enum { KEPT_TEXT = 4096 };
	if (p->text.cap > KEPT_TEXT)
		buf_deinit(&p->text);
	struct buf text = p->text;
	buf_clear(&text);
	*p = (struct http_parser){.max_header = p->max_header, .text = text, .current = -1};
	llhttp_init(&p->ll, HTTP_REQUEST, &callbacks);
}

static enum http_event feed_llhttp(struct http_parser *p, const char *at, size_t len, size_t *ret_used)
{
	llhttp_errno_t e = llhttp_execute(&p->ll, at, len);
	if (e == HPE_OK) {
		*ret_used = len;
		return HTTP_EVENT_MORE;
	}
	const char *stop = llhttp_get_error_pos(&p->ll);
	*ret_used = stop && stop >= at && stop <= at + len ? (size_t)(stop - at) : len;
	if (e == HPE_PAUSED) {
		llhttp_resume(&p->ll);
		return p->event;
	}
	if (p->event == HTTP_EVENT_HEAD_LIMIT)
		return p->event;
	if (!p->reason)
		p->reason = llhttp_get_error_reason(&p->ll);
	return HTTP_EVENT_BAD;
}

static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static void start_llhttp(struct http_parser *p)
{
	static const char *const special[] = {"GET", "POST", "HEAD", "CONNECT", "PRI"};
	const char *as = "PUT";
	for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
		if (strcmp(p->method, special[i]) == 0)
			as = special[i];
	}
	llhttp_execute(&p->ll, as, strlen(as)); /* no event comes before the blank */
}

/* The request line up to the blank after the method, which it leaves. */
static enum http_event feed_method(struct http_parser *p, const char *data, size_t len, size_t *ret_used)
{
	size_t i = 0;
	while (i < len && p->method_len == 0 && (data[i] == '\r' || data[i] == '\n'))
		i++; /* empty lines before a request are forgiven, as the RFC asks */
	for (; i < len && is_token(data[i]) && p->method_len < HTTP_PARSER_METHOD_MAX - 1; i++) {
		p->method[p->method_len++] = data[i];
		p->started = true;
	}
	*ret_used = i;
	if (i == len)
		return HTTP_EVENT_MORE;
	if (data[i] != ' ' || p->method_len == 0) {
		p->reason = "invalid method";
		return HTTP_EVENT_BAD;
	}
	p->method_done = true;
	start_llhttp(p);
	return HTTP_EVENT_MORE;
}

enum http_event http_parser_feed(struct http_parser *p, const char *data, size_t len, size_t *ret_used)
{
	static const char nothing[1];
	const char *at = data ? data : nothing;
	size_t skipped = 0;
	p->event = HTTP_EVENT_MORE;
	if (!p->method_done) {
		enum http_event event = feed_method(p, at, len, &skipped);
		if (event != HTTP_EVENT_MORE || !p->method_done) {
			*ret_used = skipped;
			return event;
		}
		at += skipped;
		len -= skipped;
	}
	enum http_event event = feed_llhttp(p, at, len, ret_used);
	*ret_used += skipped;
	return event;
}

const char *http_parser_method(const struct http_parser *p)
{
	return p->method;
}

struct crex_str http_parser_header(const struct http_parser *p, enum http_header which)
{
	if (!p->header[which].present)
		return (struct crex_str){NULL, 0};
	/* An empty value right after an empty target has no buffer to lie in. */
	const char *base = p->text.data ? p->text.data : "";
	size_t at = p->header[which].at, len = p->header[which].len;
	while (len > 0 && (base[at + len - 1] == ' ' || base[at + len - 1] == '\t'))
		len--;
	return (struct crex_str){base + at, len};
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct crex_str http_parser_path(struct http_parser *p)
{
	char *s = p->text.data;
	size_t len = p->target_len, at = 0;
	if (!s)
		return (struct crex_str){"", 0};
	if (len > 0 && s[0] != '/') {
		char *scheme_end = memmem(s, len, "://", 3);
		if (!scheme_end)
			return (struct crex_str){s, len};
		at = (size_t)(scheme_end - s) + 3;
		while (at < len && s[at] != '/' && s[at] != '?' && s[at] != '#')
			at++;
		if (at == len || s[at] != '/')
			return (struct crex_str){"/", 1};
	}
	size_t out = at;
	for (size_t i = at; i < len && s[i] != '?' && s[i] != '#'; i++) {
		int high = s[i] == '%' && i + 2 < len ? hex_digit(s[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(s[i + 2]) : -1;
		if (low >= 0) {
			s[out++] = (char)(high << 4 | low);
			i += 2;
		} else {
			s[out++] = s[i];
		}
	}
	p->target_len = out; /* decoded once only: a second call sees no query and, in a route, no percent sign */
	return (struct crex_str){s + at, out - at};
}

bool http_parser_has_length(const struct http_parser *p, uint64_t *ret_length)
{
	if (p->ll.flags & F_CHUNKED)
		return false;
	*ret_length = p->ll.flags & F_CONTENT_LENGTH ? p->ll.content_length : 0;
	return true;
}

bool http_parser_keep_alive(const struct http_parser *p)
{
	return llhttp_should_keep_alive(&p->ll);
}

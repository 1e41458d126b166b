/* http/multipart.c: an incremental parser of multipart/form-data.
 *
 * The body is searched for the delimiter CRLF "--" boundary. Its only CR is its first byte (a boundary with a CR is
 * refused), so a match that breaks can't have another one begun inside it: matching needs no table and no look-back,
 * just the count of bytes matched so far. When a match that began in an earlier read breaks, its bytes are content
 * and are handed out from the delimiter itself. Away from a match memchr skips to the next CR: binary data goes
 * through at the speed of memchr, and nothing is ever kept.
 *
 * The search starts as if a CRLF had just come, since the first delimiter may stand at the very beginning, and that
 * of an empty part right after the blank line. A delimiter counts only when it is followed by "--", or by blanks and
 * CRLF; a longer boundary of which ours is a prefix can't occur by the RFC, and is an error. Parts' headers are read
 * line by line into a fixed buffer; of them only Content-Disposition matters. */
#include "http/multipart.h"

#include <string.h>
#include <strings.h>

/* ---- parameters of a header value: ; name=value ; name="va\"lue" ---- */

static void skip_blanks(struct crex_str *s)
{
	while (s->len > 0 && (*s->ptr == ' ' || *s->ptr == '\t')) {
		s->ptr++;
		s->len--;
	}
}

static char take(struct crex_str *s)
{
	s->len--;
	return *s->ptr++;
}

/* Takes the next parameter off s. The value is unquoted into value (at most cap bytes, more is no parameter). */
static bool next_param(struct crex_str *s, struct crex_str *ret_name, char *value, size_t cap, size_t *ret_len)
{
	while (s->len > 0 && *s->ptr != ';')
		take(s);
	if (s->len == 0)
		return false;
	take(s);
	skip_blanks(s);
	ret_name->ptr = s->ptr;
	while (s->len > 0 && *s->ptr != '=' && *s->ptr != ';' && *s->ptr != ' ')
		take(s);
	ret_name->len = (size_t)(s->ptr - ret_name->ptr);
	skip_blanks(s);
	*ret_len = 0;
	if (s->len == 0 || *s->ptr != '=')
		return true;
	take(s);
	skip_blanks(s);
	size_t n = 0;
	bool quoted = s->len > 0 && *s->ptr == '"';
	if (quoted)
		take(s);
	while (s->len > 0 && (quoted ? *s->ptr != '"' : *s->ptr != ';' && *s->ptr != ' ' && *s->ptr != '\t')) {
		char c = take(s);
		/* Browsers escape only the quote; other backslashes are the file name's own (C:\x). */
		if (quoted && c == '\\' && s->len > 0 && (*s->ptr == '"' || *s->ptr == '\\'))
			c = take(s);
		if (n == cap)
			return false;
		value[n++] = c;
	}
	if (quoted && s->len > 0)
		take(s);
	*ret_len = n;
	return true;
}

static bool equals(struct crex_str s, const char *text)
{
	return s.len == strlen(text) && strncasecmp(s.ptr, text, s.len) == 0;
}

static bool starts_with(struct crex_str s, const char *text)
{
	size_t n = strlen(text);
	return s.len >= n && strncasecmp(s.ptr, text, n) == 0;
}

bool multipart_init(struct multipart *m, struct crex_str content_type)
{
	memset(m, 0, sizeof *m);
	struct crex_str rest = content_type, name;
	if (!rest.ptr)
		return false;
	skip_blanks(&rest);
	static const char wanted[] = "multipart/form-data";
	if (!starts_with(rest, wanted))
		return false;
	size_t n = 0;
	bool found = false;
	while (!found && next_param(&rest, &name, m->delimiter + 4, MULTIPART_BOUNDARY_MAX, &n))
		found = equals(name, "boundary");
	if (!found || n == 0 || memchr(m->delimiter + 4, '\r', n) || memchr(m->delimiter + 4, '\n', n))
		return false;
	memcpy(m->delimiter, "\r\n--", 4);
	m->delimiter_len = n + 4;
	m->matched = m->imaginary = 2;
	return true;
}

static enum multipart_status fail(struct multipart *m, enum multipart_status status)
{
	m->state = MULTIPART_FAILED;
	return status;
}

static void parse_disposition(struct multipart *m, struct crex_str value)
{
	struct crex_str name;
	char text[MULTIPART_LINE_MAX];
	size_t n;
	skip_blanks(&value);
	if (!starts_with(value, "form-data"))
		return;
	while (next_param(&value, &name, text, sizeof text, &n)) {
		if (equals(name, "name") && n <= sizeof m->name) {
			memcpy(m->name, text, n);
			m->name_len = n;
			m->has_name = true;
		} else if (equals(name, "filename") || equals(name, "filename*")) {
			m->is_file = true;
		}
	}
}

/* One complete header line lies in m->line; the empty one ends the headers. */
static enum multipart_status end_line(struct multipart *m, const struct multipart_sink *sink, void *arg)
{
	if (m->line_len > 0 && m->line[m->line_len - 1] == '\r')
		m->line_len--;
	if (m->line_len == 0) {
		if (!m->has_name)
			return fail(m, MULTIPART_BAD);
		m->state = MULTIPART_DATA;
		m->matched = m->imaginary = 2;
		m->in_part = true;
		struct crex_str name = {m->name, m->name_len};
		return sink->on_part(arg, name, m->is_file) ? fail(m, MULTIPART_STOPPED) : MULTIPART_MORE;
	}
	if (++m->n_headers > MULTIPART_HEADERS_MAX)
		return fail(m, MULTIPART_BAD);
	const char *colon = memchr(m->line, ':', m->line_len);
	if (!colon)
		return fail(m, MULTIPART_BAD);
	struct crex_str key = {m->line, (size_t)(colon - m->line)};
	if (equals(key, "content-disposition"))
		parse_disposition(m, (struct crex_str){colon + 1, m->line_len - key.len - 1});
	m->line_len = 0;
	return MULTIPART_MORE;
}

static int emit(struct multipart *m, const struct multipart_sink *sink, void *arg, const char *data, size_t len)
{
	return m->in_part && len > 0 ? sink->on_data(arg, data, len) : 0;
}

/* Searches data for the delimiter, handing out what is none. *ret_used is up to the delimiter's end when found. */
static enum multipart_status scan(struct multipart *m, const char *data, size_t len, size_t *ret_used,
				  const struct multipart_sink *sink, void *arg)
{
	size_t i = 0, carried = m->matched;
	bool found = false;
	while (i < len && !found) {
		if (m->matched == 0) {
			const char *cr = memchr(data + i, '\r', len - i);
			i = cr ? (size_t)(cr - data) + 1 : len;
			m->matched = cr != NULL;
		} else if (data[i] == m->delimiter[m->matched]) {
			i++;
			found = ++m->matched == m->delimiter_len;
		} else {
			size_t skip = m->imaginary;
			m->imaginary = m->matched = 0;
			if (carried > 0 && emit(m, sink, arg, m->delimiter + skip, carried - skip))
				return fail(m, MULTIPART_STOPPED);
			carried = 0;
		}
	}
	*ret_used = i;
	/* What is certain by now: all up to where the present match began, which may lie before this data. */
	if (carried == 0 && emit(m, sink, arg, data, i - m->matched))
		return fail(m, MULTIPART_STOPPED);
	return found ? MULTIPART_DONE : MULTIPART_MORE;
}

static enum multipart_status found_delimiter(struct multipart *m, const struct multipart_sink *sink, void *arg)
{
	bool ended = m->in_part;
	m->in_part = m->has_name = m->is_file = false;
	m->matched = m->imaginary = m->line_len = m->n_headers = m->name_len = 0;
	m->state = MULTIPART_AFTER_DELIMITER;
	if (ended && sink->on_part_end(arg))
		return fail(m, MULTIPART_STOPPED);
	return MULTIPART_MORE;
}

static enum multipart_status feed_line(struct multipart *m, const char *data, size_t len, size_t *ret_used,
				       const struct multipart_sink *sink, void *arg)
{
	const char *lf = memchr(data, '\n', len);
	size_t n = lf ? (size_t)(lf - data) : len;
	*ret_used = lf ? n + 1 : n;
	if (n > sizeof m->line - m->line_len)
		return fail(m, MULTIPART_BAD);
	memcpy(m->line + m->line_len, data, n);
	m->line_len += n;
	return lf ? end_line(m, sink, arg) : MULTIPART_MORE;
}

/* The byte after a delimiter, and the second of its two. */
static enum multipart_status after_delimiter(struct multipart *m, char c)
{
	if (m->state == MULTIPART_AFTER_DASH && c == '-') {
		m->state = MULTIPART_END;
		return MULTIPART_DONE;
	}
	if (m->state == MULTIPART_DELIMITER_LF && c == '\n') {
		m->state = MULTIPART_HEADER;
		return ++m->n_parts > MULTIPART_PARTS_MAX ? fail(m, MULTIPART_BAD) : MULTIPART_MORE;
	}
	if (m->state != MULTIPART_AFTER_DELIMITER)
		return fail(m, MULTIPART_BAD);
	switch (c) {
	case '-': m->state = MULTIPART_AFTER_DASH; return MULTIPART_MORE;
	case '\r': m->state = MULTIPART_DELIMITER_LF; return MULTIPART_MORE;
	case ' ':
	case '\t': return MULTIPART_MORE;
	default: return fail(m, MULTIPART_BAD);
	}
}

enum multipart_status multipart_feed(struct multipart *m, const char *data, size_t len,
				     const struct multipart_sink *sink, void *arg)
{
	enum multipart_status status = MULTIPART_MORE;
	while (len > 0 && status == MULTIPART_MORE) {
		size_t used = 1;
		switch (m->state) {
		case MULTIPART_PREAMBLE:
		case MULTIPART_DATA:
			status = scan(m, data, len, &used, sink, arg);
			if (status == MULTIPART_DONE)
				status = found_delimiter(m, sink, arg);
			break;
		case MULTIPART_AFTER_DELIMITER:
		case MULTIPART_AFTER_DASH:
		case MULTIPART_DELIMITER_LF: status = after_delimiter(m, *data); break;
		case MULTIPART_HEADER: status = feed_line(m, data, len, &used, sink, arg); break;
		case MULTIPART_END: return MULTIPART_DONE;
		case MULTIPART_FAILED: return MULTIPART_BAD;
		}
		data += used;
		len -= used;
	}
	if (status == MULTIPART_MORE && m->state == MULTIPART_END)
		return MULTIPART_DONE;
	return status;
}

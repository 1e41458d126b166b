/* server/reply.c: small makers of replies, and the reading of a form's boolean. */
#include "server/server.h"
#include "wire/wire.h"

#include <strings.h>

struct http_content *reply_of_error(const struct crex_error *err, size_t max)
{
	struct http_content *c = http_content_new(max);
	if (c && wire_encode_error(&c->body, err, "") < 0)
		return http_content_unref(c);
	return c;
}

bool reply_parse_bool(struct crex_str text, bool *ret)
{
	static const struct {
		const char *word;
		size_t len;
		bool value;
	} words[] = {
		{"true", 4, true}, {"1", 1, true},   {"on", 2, true},	  {"yes", 3, true},
		{"t", 1, true},	   {"y", 1, true},   {"false", 5, false}, {"0", 1, false},
		{"off", 3, false}, {"no", 2, false}, {"f", 1, false},	  {"n", 1, false},
	};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (text.len == words[i].len && strncasecmp(text.ptr, words[i].word, text.len) == 0) {
			*ret = words[i].value;
			return true;
		}
	}
	return false;
}

/* runtime/local/expect.c: matching expect strings against a window of cleaned output.
 *
 * Upstream compiles every string as a Python regular expression, which turns the everyday "(gdb) " into a group that
 * never matches its parentheses. Here each string is looked for as it stands and, when it has characters that mean
 * something to a regular expression, as that too. TRE is the engine: its matching time is linear in the text, so a
 * hostile pattern can't stall the loop, and it knows \d \w \s, lazy quantifiers and (?i). As with Python's DOTALL a
 * dot matches a newline. */
#include "runtime/local/expect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <tre/tre.h>

struct expect_item {
	char *text; /* owned, CRLF already LF as in cleaned output */
	size_t len;
	bool has_regex;
	regex_t regex;
};

struct expect {
	size_t count;
	struct expect_item items[];
};

void *expect_free(struct expect *e)
{
	for (size_t i = 0; e && i < e->count; i++) {
		if (e->items[i].has_regex)
			tre_regfree(&e->items[i].regex);
		free(e->items[i].text);
	}
	free(e);
	return NULL;
}

static size_t crlf_to_lf(char *s, size_t len)
{
	size_t w = 0;
	for (size_t r = 0; r < len; r++)
		if (s[r] != '\r' || r + 1 == len || s[r + 1] != '\n')
			s[w++] = s[r];
	return w;
}

int expect_new(const struct crex_str_list *list, struct expect **ret)
{
	*ret = NULL;
	if (list->count == 0)
		return 0;
	struct expect *e = calloc(1, sizeof *e + list->count * sizeof e->items[0]);
	if (!e)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++) {
		struct expect_item *item = &e->items[e->count];
		item->text = malloc(list->items[i].len + 1);
		if (!item->text) {
			expect_free(e);
			return -ENOMEM;
		}
		if (list->items[i].len)
			memcpy(item->text, list->items[i].ptr, list->items[i].len);
		item->len = crlf_to_lf(item->text, list->items[i].len);
		item->text[item->len] = '\0';
		if (strpbrk(item->text, "\\^$.|?*+()[]{}"))
			item->has_regex = tre_regncomp(&item->regex, item->text, item->len, REG_EXTENDED) == 0;
		e->count++;
	}
	*ret = e;
	return 0;
}

static bool better(bool found, size_t start, const struct expect_match *best)
{
	return !found || start < best->start;
}

bool expect_search(const struct expect *e, const char *text, size_t len, size_t seen, struct expect_match *ret)
{
	bool found = false;
	for (size_t i = 0; i < e->count; i++) {
		const struct expect_item *item = &e->items[i];
		if (item->len == 0)
			continue; /* would match before anything was printed */
		size_t from = seen >= item->len ? seen - item->len + 1 : 0;
		const char *hit = from < len ? memmem(text + from, len - from, item->text, item->len) : NULL;
		if (hit && better(found, (size_t)(hit - text), ret)) {
			size_t start = (size_t)(hit - text);
			*ret = (struct expect_match){start, start + item->len, item->text};
			found = true;
		}
		regmatch_t m[1];
		if (item->has_regex && tre_regnexec(&item->regex, text, len, 1, m, 0) == 0 && m[0].rm_eo > m[0].rm_so &&
		    better(found, (size_t)m[0].rm_so, ret)) {
			*ret = (struct expect_match){(size_t)m[0].rm_so, (size_t)m[0].rm_eo, item->text};
			found = true;
		}
	}
	return found;
}

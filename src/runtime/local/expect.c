/* runtime/local/expect.c: matching expect strings against a window of cleaned output.
 *
 * Upstream compiles every string as a Python regular expression, which turns the everyday "(gdb) " into a group that
 * never matches its parentheses. Here each string is looked for as it stands and, when it has characters that mean
 * something to a regular expression, as that too. TRE is the engine: its matching time is linear in the text, and it
 * knows \d \w \s, lazy quantifiers and (?i). As with Python's DOTALL a dot matches a newline.
 *
 * The search runs on the loop's thread, so a hostile pattern must not make it long. Linear holds without back
 * references only, and the factor grows with what is repeated: an expression that has the ones, or much of the other,
 * is literal text only, as an invalid one is. What remains takes a tenth of a second for a full window at worst. */
#include "runtime/local/expect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <tre/tre.h>

enum { DEPTH_MAX = 16, ATOMS_MAX = 4096, ALTERNATIVES_ATOMS_MAX = 256, REPEATED_MAX = 16 };

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

/* Behind a bracket expression that begins at p. */
static const char *skip_brackets(const char *p)
{
	p += p[1] == '^' ? 2 : 1;
	if (*p == ']')
		p++;
	while (*p && *p != ']') {
		bool named = *p == '[' && p[1] && strchr(":.=", p[1]);
		const char *end = named ? strchr(p + 2, ']') : NULL;
		p = end ? end + 1 : p + 1;
	}
	return *p ? p + 1 : p;
}

/* The greatest number in "{2,30}", which *p is moved behind; 0: that is no repetition. */
static size_t take_repetition(const char **p)
{
	size_t most = 1;
	const char *c = *p + 1, *end = c + strspn(c, "0123456789,");
	if (end == c || *end != '}')
		return 0;
	while (c < end) {
		size_t k = strtoul(c, NULL, 10);
		most = k > most ? k : most;
		c += strspn(c, "0123456789");
		c += strspn(c, ",");
	}
	*p = end + 1;
	return most < ATOMS_MAX ? most : ATOMS_MAX;
}

/* Estimates the automaton: atoms with repetitions written out, and how many of them stand under a quantifier. */
static bool is_cheap(const char *p)
{
	size_t before[DEPTH_MAX], depth = 0, atoms = 0, last = 0, repeated = 0;
	const bool alternatives = strchr(p, '|');
	while (*p && atoms <= ATOMS_MAX && repeated <= REPEATED_MAX) {
		size_t times = 1;
		switch (*p) {
		case '(':
			if (depth == DEPTH_MAX)
				return false;
			before[depth++] = atoms;
			last = 0;
			p++;
			break;
		case ')':
			last = depth > 0 ? atoms - before[--depth] : 0;
			p++;
			break;
		case '{':
			times = take_repetition(&p);
			if (times == 0)
				return false;
			atoms += last * (times - 1);
			last *= times;
			repeated += last;
			break;
		case '*':
		case '+':
		case '?':
			repeated += last;
			p++;
			break;
		default:
			p = *p == '[' ? skip_brackets(p) : p + (*p == '\\' && p[1] ? 2 : 1);
			last = 1;
			atoms++;
			break;
		}
	}
	return atoms <= (alternatives ? ALTERNATIVES_ATOMS_MAX : ATOMS_MAX) && repeated <= REPEATED_MAX;
}

static void compile(struct expect_item *item)
{
	if (strlen(item->text) != item->len || !strpbrk(item->text, "\\^$.|?*+()[]{}") || !is_cheap(item->text) ||
	    tre_regncomp(&item->regex, item->text, item->len, REG_EXTENDED) != 0)
		return;
	item->has_regex = !tre_have_backrefs(&item->regex) && !tre_have_approx(&item->regex);
	if (!item->has_regex)
		tre_regfree(&item->regex);
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
		compile(item);
		e->count++;
	}
	*ret = e;
	return 0;
}

static bool better(bool found, size_t start, const struct expect_match *best)
{
	return !found || start < best->start;
}

/* An expression is matched anew against text that was seen before, in case it began there: that costs with every read,
 * so it is bounded. */
enum { REGEX_LOOK_BACK = 4096 };

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
		size_t back = seen > REGEX_LOOK_BACK ? seen - REGEX_LOOK_BACK : 0;
		if (item->has_regex && tre_regnexec(&item->regex, text + back, len - back, 1, m, 0) == 0 &&
		    m[0].rm_eo > m[0].rm_so && better(found, back + (size_t)m[0].rm_so, ret)) {
			*ret = (struct expect_match){back + (size_t)m[0].rm_so, back + (size_t)m[0].rm_eo, item->text};
			found = true;
		}
	}
	return found;
}

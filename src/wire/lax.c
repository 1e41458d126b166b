/* wire/lax.c: what counts as a number and as a boolean when people write JSON by hand.
 *
 * The rules are pydantic-core's: a boolean may be 0 or 1 or one of a few words, a number may be a boolean or a string
 * in decimal notation with blanks around it and underscores between digits. strtod alone would be too generous (it
 * takes hexadecimal), so the text is checked first. No locale is ever set in our programs, so the decimal point is a
 * dot. */
#include "wire/lax.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum lax_result word_bool(const char *s, size_t len, bool *ret)
{
	static const char *const words[2][6] = {{"0", "off", "f", "false", "n", "no"},
						{"1", "on", "t", "true", "y", "yes"}};
	for (int value = 0; value < 2; value++) {
		for (int i = 0; i < 6; i++) {
			if (strlen(words[value][i]) == len && strcasecmp(words[value][i], s) == 0) {
				*ret = value;
				return LAX_OK;
			}
		}
	}
	return LAX_UNPARSABLE;
}

enum lax_result lax_bool(const json_t *v, bool *ret)
{
	double number;
	switch (json_typeof(v)) {
	case JSON_TRUE:
	case JSON_FALSE: *ret = json_is_true(v); return LAX_OK;
	case JSON_STRING: return word_bool(json_string_value(v), json_string_length(v), ret);
	case JSON_INTEGER:
	case JSON_REAL:
		number = json_number_value(v);
		if (number != floor(number))
			return LAX_FRACTION;
		if (number < 0 || number > 1)
			return LAX_UNPARSABLE;
		*ret = number > 0;
		return LAX_OK;
	case JSON_NULL:
	case JSON_ARRAY:
	case JSON_OBJECT: break;
	}
	return LAX_TYPE;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Copies s without its underscores; false when one is not between digits or a character is none of a number's. */
static bool normalise(const char *s, size_t len, char *ret)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '_') {
			if (i == 0 || i + 1 == len || !is_digit(s[i - 1]) || !is_digit(s[i + 1]))
				return false;
			continue;
		}
		if (!is_digit(s[i]) && !(s[i] && strchr("+-.eE", s[i])))
			return false;
		*ret++ = s[i];
	}
	*ret = '\0';
	return true;
}

static enum lax_result text_number(const char *s, size_t len, double *ret)
{
	static const struct {
		const char *word;
		double value;
	} words[] = {{"inf", INFINITY}, {"infinity", INFINITY}, {"nan", NAN}};
	char scratch[512], *rest;
	while (len && (strchr(" \t\n\v\f\r", s[len - 1]) && s[len - 1]))
		len--;
	for (; len && *s && strchr(" \t\n\v\f\r", *s); len--)
		s++;
	if (len == 0 || len >= sizeof scratch)
		return LAX_UNPARSABLE;
	bool sign = *s == '+' || *s == '-';
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strlen(words[i].word) == len - sign && strncasecmp(s + sign, words[i].word, len - sign) == 0) {
			*ret = *s == '-' ? -words[i].value : words[i].value;
			return LAX_OK;
		}
	}
	if (!normalise(s, len, scratch))
		return LAX_UNPARSABLE;
	double value = strtod(scratch, &rest);
	if (*rest || rest == scratch)
		return LAX_UNPARSABLE;
	*ret = value;
	return LAX_OK;
}

enum lax_result lax_number(const json_t *v, double *ret)
{
	switch (json_typeof(v)) {
	case JSON_TRUE:
	case JSON_FALSE: *ret = json_is_true(v) ? 1.0 : 0.0; return LAX_OK;
	case JSON_INTEGER:
	case JSON_REAL: *ret = json_number_value(v); return LAX_OK;
	case JSON_STRING: return text_number(json_string_value(v), json_string_length(v), ret);
	case JSON_NULL:
	case JSON_ARRAY:
	case JSON_OBJECT: break;
	}
	return LAX_TYPE;
}

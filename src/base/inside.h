/* base/inside.h: whether a symbolic link can lead out of the tree that it lies in. */
#ifndef BASE_INSIDE_H
#define BASE_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* depth: how many directories of the tree the link lies below. ".." may only come first: behind a name, which may be a
 * link too, nobody can tell from the text where it leads. */
static inline bool link_stays_inside(size_t depth, const char *text)
{
	bool descending = false;
	if (!*text || *text == '/')
		return false;
	while (*text) {
		size_t len = strcspn(text, "/");
		bool up = len == 2 && text[0] == '.' && text[1] == '.';
		if (up && (descending || depth-- == 0))
			return false;
		descending = descending || (!up && len > 0 && !(len == 1 && *text == '.'));
		text += len + (text[len] == '/');
	}
	return true;
}

#endif

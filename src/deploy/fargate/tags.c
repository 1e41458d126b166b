/* deploy/fargate/tags.c: the tags of all that is made, by which it is found again.
 *
 * AWS takes letters, digits and + - = . _ : / @ in them, and no brackets, which an owner's text has. */
#include "deploy/fargate/fargate.h"

json_t *fargate_tags(void)
{
	return json_pack("[{s:s, s:s}]", "key", FARGATE_TAG, "value", FARGATE_TAG_VALUE);
}

static void exchange(char *text, const char *from, const char *to)
{
	for (const char *at; *text; text++)
		if ((at = strchr(from, *text)))
			*text = to[at - from];
}

void fargate_owner_to_tag(char *owner)
{
	exchange(owner, "[]", "=@");
}

void fargate_owner_from_tag(char *owner)
{
	exchange(owner, "=@", "[]");
}

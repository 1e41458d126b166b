/* fuzz/fuzz_fargate.c: what AWS, or whoever stands in its place, may answer: XML, and refusals in either form. Nothing
 * may crash; a tree can be walked, a refusal has a code and its texts no control characters. */
#include "deploy/fargate/aws.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct xml_node *node)
{
	for (; node; node = node->next) {
		if (!node->name || !node->text || (node->child && !xml_find(node, node->child->name)))
			abort();
		for (const struct xml_node *n = xml_first(node, "item"); n; n = xml_next(n))
			if (strcmp(n->name, "item") != 0)
				abort();
		walk(node->child);
	}
}

static void check_text(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7F)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct aws_refusal refusal;
	struct xml_node *root = xml_parse((const char *)data, size);
	walk(root);
	xml_free(root);
	aws_refusal_read(&refusal, size ? 400 + data[0] : 500, (const char *)data, size);
	if (!*refusal.code)
		abort();
	check_text(refusal.code);
	check_text(refusal.message);
	aws_refusal_kind(&refusal);
	return 0;
}

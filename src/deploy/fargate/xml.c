/* deploy/fargate/xml.c: a tree out of expat's events.
 *
 * A reply's size is bounded by whoever received it, so the tree's size is too; its depth is bounded here, since freeing
 * descends. No reply of AWS has a DOCTYPE: one that does is not parsed on, so that there are no entities to expand. */
#include "deploy/fargate/xml.h"

#include "base/buf.h"
#include <expat.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32 };

struct level {
	struct xml_node *node;
	struct xml_node **end; /* where its next child goes */
	struct buf text;
};

struct builder {
	XML_Parser parser;
	struct xml_node *root;
	struct level levels[DEPTH_MAX];
	size_t depth, len;
	bool failed;
};

static void give_up(struct builder *b)
{
	b->failed = true;
	XML_StopParser(b->parser, XML_FALSE);
}

static void on_start(void *arg, const char *name, const char **attributes)
{
	struct builder *b = arg;
	(void)attributes;
	struct xml_node *node = b->depth < DEPTH_MAX ? calloc(1, sizeof *node) : NULL;
	if (!node) {
		give_up(b);
		return;
	}
	struct level *above = b->depth ? &b->levels[b->depth - 1] : NULL;
	*(above ? above->end : &b->root) = node;
	if (above)
		above->end = &node->next;
	struct level *level = &b->levels[b->depth++];
	*level = (struct level){.node = node, .end = &node->child};
	buf_init(&level->text, b->len);
	node->name = strdup(name);
	if (!node->name)
		give_up(b);
}

static void on_text(void *arg, const char *text, int len)
{
	struct builder *b = arg;
	if (b->depth && buf_append(&b->levels[b->depth - 1].text, text, (size_t)len) < 0)
		give_up(b);
}

static void on_end(void *arg, const char *name)
{
	struct builder *b = arg;
	(void)name;
	struct level *level = &b->levels[--b->depth];
	level->node->text = buf_steal(&level->text, NULL);
	if (!level->node->text)
		give_up(b);
}

static void on_doctype(void *arg, const char *name, const char *system, const char *public, int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	give_up(arg);
}

struct xml_node *xml_parse(const char *data, size_t len)
{
	struct builder b = {.parser = XML_ParserCreate(NULL), .len = len + 1};
	if (!b.parser || len > 64 << 20)
		return NULL;
	XML_SetUserData(b.parser, &b);
	XML_SetElementHandler(b.parser, on_start, on_end);
	XML_SetCharacterDataHandler(b.parser, on_text);
	XML_SetStartDoctypeDeclHandler(b.parser, on_doctype);
	bool parsed = XML_Parse(b.parser, data, (int)len, XML_TRUE) == XML_STATUS_OK;
	XML_ParserFree(b.parser);
	while (b.depth)
		buf_deinit(&b.levels[--b.depth].text);
	return parsed && !b.failed ? b.root : xml_free(b.root);
}

struct xml_node *xml_free(struct xml_node *root)
{
	while (root) {
		struct xml_node *next = root->next;
		xml_free(root->child);
		free(root->name);
		free(root->text);
		free(root);
		root = next;
	}
	return NULL;
}

static const struct xml_node *named(const struct xml_node *list, const char *name, size_t len)
{
	while (list && (strncmp(list->name, name, len) != 0 || list->name[len]))
		list = list->next;
	return list;
}

const struct xml_node *xml_find(const struct xml_node *node, const char *path)
{
	while (node && *path) {
		size_t len = strcspn(path, "/");
		node = named(node->child, path, len);
		path += len + (path[len] == '/');
	}
	return node;
}

const char *xml_text(const struct xml_node *node, const char *path)
{
	const struct xml_node *found = xml_find(node, path);
	return found ? found->text : NULL;
}

const struct xml_node *xml_first(const struct xml_node *node, const char *name)
{
	return node ? named(node->child, name, strlen(name)) : NULL;
}

const struct xml_node *xml_next(const struct xml_node *node)
{
	return named(node->next, node->name, strlen(node->name));
}

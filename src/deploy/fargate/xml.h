/* deploy/fargate/xml.h: the XML that EC2, IAM and STS answer with, as a tree to look things up in. */
#ifndef DEPLOY_FARGATE_XML_H
#define DEPLOY_FARGATE_XML_H

#include <stddef.h>

struct xml_node {
	char *name; /* as written; the prefix of a namespace stays */
	char *text; /* what stands directly in it; never NULL */
	struct xml_node *child, *next;
};

/* The root, or NULL: not XML, with a DOCTYPE, deeper than anything that AWS sends, or memory ran out. */
struct xml_node *xml_parse(const char *data, size_t len);
struct xml_node *xml_free(struct xml_node *root); /* NULL is fine; returns NULL */

/* The first node at a path below this one ("Role/Arn"); NULL: there is none, or node is NULL. */
const struct xml_node *xml_find(const struct xml_node *node, const char *path);
const char *xml_text(const struct xml_node *node, const char *path); /* its text; NULL: there is none */
/* A list: the first `name` below node; the next one beside it. */
const struct xml_node *xml_first(const struct xml_node *node, const char *name);
const struct xml_node *xml_next(const struct xml_node *node);

#endif

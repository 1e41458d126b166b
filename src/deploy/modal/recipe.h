/* deploy/modal/recipe.h: what an image is made of: Dockerfile lines, and the files that they copy. */
#ifndef DEPLOY_MODAL_RECIPE_H
#define DEPLOY_MODAL_RECIPE_H

#include "base/buf.h"
#include <crex/error.h>
#include <stdbool.h>

struct recipe_file {
	char *name; /* below the Dockerfile's directory */
	struct buf data;
};

struct recipe {
	char **lines;
	size_t n_lines;
	struct recipe_file *files;
	size_t n_files;
	size_t bytes; /* of all files */
	bool is_dockerfile;
	bool is_ecr;	 /* from Amazon's registry, which wants credentials of its own */
	char region[32]; /* of that registry */
};

/* `image` is a Dockerfile when there is a file of this name, else a registry's name. CONFIG when it is neither. Reads
 * the files that the Dockerfile copies from its own directory. */
int recipe_load(const char *image, struct recipe *ret, struct crex_error *err);
void recipe_deinit(struct recipe *r);

/* The same from a text; `directory` is where its files are. */
int recipe_parse(const char *text, size_t len, const char *directory, struct recipe *ret, struct crex_error *err);

#endif

/* wire/json_memory.c: no parse goes on after an allocation that has failed.
 *
 * jansson's scanner ignores that the buffer of a token could not grow, loses the byte, and later looks for the closing
 * quote beyond the end of the buffer. So an allocation that fails inside a parse must not return at all: it jumps out
 * of the parser, and what the parse had allocated until then is freed from a list, which each block is in by a head of
 * its own. jansson gives its allocator no argument to tell the parse by; what runs in a thread is known to the thread
 * alone, hence the one variable here. */
#include "wire/json_memory.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct block {
	struct block *next, **link; /* link NULL: in no list */
	_Alignas(max_align_t) char data[];
};

struct parse {
	struct block *first;
	jmp_buf no_memory;
};

static _Thread_local struct parse *current;

static void *take(size_t size)
{
	struct block *b = size < SIZE_MAX / 2 ? malloc(sizeof *b + size) : NULL;
	if (!b) {
		if (current)
			longjmp(current->no_memory, 1);
		return NULL;
	}
	b->next = NULL;
	b->link = NULL;
	if (current) {
		b->next = current->first;
		b->link = &current->first;
		if (b->next)
			b->next->link = &b->next;
		current->first = b;
	}
	return b->data;
}

static void give_back(void *data)
{
	if (!data)
		return;
	struct block *b = (struct block *)(void *)((char *)data - offsetof(struct block, data));
	if (b->link) {
		*b->link = b->next;
		if (b->next)
			b->next->link = b->link;
	}
	free(b);
}

void json_memory_install(void)
{
	json_set_alloc_funcs(take, give_back);
}

json_t *json_memory_load(const char *text, size_t len, size_t flags, json_error_t *error)
{
	struct parse parse = {NULL};
	json_t *root = NULL;
	current = &parse;
	if (setjmp(parse.no_memory) == 0) {
		root = json_loadb(text, len, flags, error);
		current = NULL;
		struct block *next;
		for (struct block *b = parse.first; b; b = next) {
			next = b->next;
			b->next = NULL;
			b->link = NULL;
		}
		return root;
	}
	current = NULL;
	while (parse.first)
		give_back(parse.first->data);
	memset(error, 0, sizeof *error);
	error->text[JSON_ERROR_TEXT_LENGTH - 1] = (char)json_error_out_of_memory; /* where json_error_code() reads it */
	return NULL;
}

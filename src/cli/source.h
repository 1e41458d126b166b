/* cli/source.h: the output of a script in the sandbox as bytes to be read, for copying out of it. */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include "base/buf.h"
#include <crex/runtime.h>
#include <crex/stream.h>

struct source {
	struct crex_runtime *rt;
	struct crex_call call;
	struct crex_stream *stream; /* NULL: what comes is whole */
	struct buf whole;	    /* decoded */
	struct buf errors;	    /* what the script wrote to stderr, its beginning */
	const char *rest;	    /* unread bytes of the last piece */
	size_t rest_len;
	bool ended;
	int exit_code;
};

/* Runs the script by sh with one argument. Without streams in the runtime its output comes by way of base64. */
int source_open(struct source *s, struct crex_runtime *rt, const char *script, const char *argument,
		const struct crex_call *call, struct crex_error *err);
/* The next bytes, borrowed until the next read; *ret_len 0: the end, exit_code is set. */
int source_read(struct source *s, const char **ret, size_t *ret_len, struct crex_error *err);
/* A line without its newline; fails when there is none of up to `size`. */
int source_read_line(struct source *s, char *line, size_t size, struct crex_error *err);
void source_close(struct source *s);

#define cleanup_source __attribute__((cleanup(source_close)))

#endif

/* crex/stream.h: a program of the sandbox with its streams at hand, as `docker exec -i -t` has them.
 *
 * Beyond SWE-ReX's contract, which only knows whole outputs: our server's extension (docs/protocol.md), the local
 * runtime and the dummy offer it; other servers answer UNSUPPORTED, and crex_runtime_execute does the job there.
 * Threads: one thread may read while another writes; each side by one thread at a time. */
#ifndef CREX_STREAM_H
#define CREX_STREAM_H

#include <crex/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

struct crex_stream_request {
	/* argv; one item and shell: a script for /bin/sh -c. Empty with tty: bash -l, or sh */
	struct crex_str_list command;
	bool shell;		  /* false */
	bool tty;		  /* a terminal: one stream of output, Ctrl-C and job control work */
	int rows, columns;	  /* of the terminal; 0: 24 x 80 */
	struct crex_str_list env; /* "KEY=VALUE" items, added to the server's environment */
	struct crex_str cwd;	  /* ptr NULL: the server's own */
};
#define CREX_STREAM_REQUEST_INIT                          \
	{                                                 \
		{NULL, 0}, false, false, 0, 0, {NULL, 0}, \
		{                                         \
			NULL, 0                           \
		}                                         \
	}

enum crex_stream_event_kind {
	CREX_STREAM_STDOUT, /* data; all output when the stream has a terminal */
	CREX_STREAM_STDERR, /* data */
	CREX_STREAM_EXIT    /* the last event: exit_code, negative: ended by that signal */
};

struct crex_stream_event {
	enum crex_stream_event_kind kind;
	const char *data; /* raw bytes, borrowed until the next read of this stream */
	size_t len;
	int exit_code;
};

struct crex_stream;

/* *ret is the caller's, to be freed before the runtime. Errors: UNSUPPORTED, those of crex_runtime_execute for a
 * program that can't be started, LIMIT. */
CREX_API int crex_runtime_open_stream(struct crex_runtime *rt, const struct crex_stream_request *req,
				      const struct crex_call *call, struct crex_stream **ret, struct crex_error *err);

/* Waits for the next event. After EXIT, or a failure other than DEADLINE and CANCELLED, only free is left. */
CREX_API int crex_stream_read(struct crex_stream *s, struct crex_stream_event *ret, const struct crex_call *call,
			      struct crex_error *err);
/* Writes all of it to the program's stdin; what a program that has closed its stdin didn't take is dropped. */
CREX_API int crex_stream_write(struct crex_stream *s, const char *data, size_t len, const struct crex_call *call,
			       struct crex_error *err);
/* The program reads an end of file. */
CREX_API int crex_stream_close_stdin(struct crex_stream *s, const struct crex_call *call, struct crex_error *err);
/* Of the terminal; without one nothing happens. */
CREX_API int crex_stream_resize(struct crex_stream *s, int rows, int columns, const struct crex_call *call,
				struct crex_error *err);
/* To the terminal's foreground job, without a terminal to the program's process group; signum as in <signal.h>. */
CREX_API int crex_stream_signal(struct crex_stream *s, int signum, const struct crex_call *call,
				struct crex_error *err);
/* Readable when a read may get on; it may also turn out that nothing is there yet (give the read a timeout of 0). */
CREX_API int crex_stream_fd(const struct crex_stream *s);
/* Kills the program with its tree when it still runs. NULL is fine; returns NULL. */
CREX_API struct crex_stream *crex_stream_free(struct crex_stream *s);

#ifdef __cplusplus
}
#endif
#endif

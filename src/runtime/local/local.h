/* runtime/local/local.h: the engine: sessions, executions and files on one event loop.
 *
 * The server and the library's local runtime both stand on it. Every request ends in exactly one call of its
 * `done`, on the loop's thread, possibly before the starting call returns. On failure err is set and the result is
 * NULL; on success err is NULL. `done` may move out of err (crex_error_move) or steal from the result; what it
 * leaves is freed by the engine. Request structs and their strings are copied before the starting call returns. */
#ifndef RUNTIME_LOCAL_LOCAL_H
#define RUNTIME_LOCAL_LOCAL_H

#include "base/log.h"
#include "proc/reaper.h"
#include <crex/runtime.h>
#include <crex/stream.h>
#include <uv.h>

struct local_config {
	char *const *envp;   /* environment of children; borrowed for the engine's life */
	bool adopt_orphans;  /* true in the server, false in a host program */
	size_t max_sessions; /* open sessions; one more is a LIMIT error */
	size_t max_output;   /* bytes of output kept for one command: first and last half */
	size_t max_file;     /* bytes that read_file returns at most; more is a LIMIT error */
	size_t max_unzip;    /* bytes that one archive may expand to; 0: no limit */
	size_t max_queue;    /* requests waiting in one session */
	struct log *log;     /* may be NULL; commands and outputs appear at debug level only */
};

/* The limits that swerex-remote has without options (server/options.c). */
#define LOCAL_CONFIG_INIT                                                                            \
	{                                                                                            \
		.max_sessions = 1024, .max_output = 64 << 20, .max_file = 64 << 20, .max_queue = 256 \
	}

struct local;

struct local *local_new(uv_loop_t *loop, const struct local_config *config); /* NULL: no memory */
/* Kills every session and execution with its tree and, unless it adopts orphans (then that is the program's to do),
 * whatever ended ones have left; each pending done is called with an error; calls closed when nothing is left and the
 * engine is freed. */
void local_shutdown(struct local *rt, void (*closed)(void *arg), void *arg);

typedef void (*local_session_fn)(void *arg, struct crex_error *err, struct crex_observation *obs);
typedef void (*local_execute_fn)(void *arg, struct crex_error *err, struct crex_execute_result *res);
typedef void (*local_text_fn)(void *arg, struct crex_error *err, char *text_take, size_t len); /* text: callee frees */
typedef void (*local_done_fn)(void *arg, struct crex_error *err);

void local_create_session(struct local *rt, const struct crex_create_session_request *req, local_session_fn done,
			  void *arg);
void local_run_in_session(struct local *rt, const struct crex_bash_action *req, local_session_fn done, void *arg);
void local_interrupt(struct local *rt, const struct crex_bash_interrupt_action *req, local_session_fn done, void *arg);
void local_close_session(struct local *rt, struct crex_str name, local_done_fn done, void *arg);
void local_close_all(struct local *rt, local_done_fn done, void *arg);
void local_execute(struct local *rt, const struct crex_execute_request *req, local_execute_fn done, void *arg);
void local_read_file(struct local *rt, const struct crex_read_file_request *req, local_text_fn done, void *arg);
void local_write_file(struct local *rt, const struct crex_write_file_request *req, local_done_fn done, void *arg);

/* Uploads are streamed by the caller into a file of the engine's choosing, so that the rename into place is atomic.
 * begin opens the temporary file next to the target (parents are created) and gives its fd, which the upload owns;
 * the caller writes to it (in a worker thread) and then calls exactly one of commit or abort. commit renames into
 * place (unzip false) or extracts into target (unzip true); abort removes every trace. */
struct local_upload;
typedef void (*local_upload_begun_fn)(void *arg, struct crex_error *err, struct local_upload *up, int fd);
void local_upload_begin(struct local *rt, struct crex_str target_path, bool unzip, local_upload_begun_fn done,
			void *arg);
void local_upload_commit(struct local_upload *up, local_done_fn done, void *arg);
void local_upload_abort(struct local_upload *up);

/* A program with live streams. open copies the request; NULL with err: nothing was begun. Otherwise `started` comes
 * once, later; with an error it is the last event. Then `output` and `taken` in any order, and `exited` last: after an
 * end of its own all that the program had written has been told before. From the last event on the stream is gone. */
struct local_stream;
struct local_stream_events {
	void (*started)(void *arg, struct crex_error *err);
	void (*output)(void *arg, bool is_stderr, const char *data, size_t len); /* at most 64 KiB a time */
	void (*taken)(void *arg, size_t len); /* so much input has reached the program, or nobody wants it any more */
	void (*exited)(void *arg, struct crex_error *err, int exit_code); /* err: cut short */
};
struct local_stream *local_stream_open(struct local *rt, const struct crex_stream_request *req,
				       const struct local_stream_events *events, void *arg, struct crex_error *err);
/* Input is queued until the program takes it, from the beginning on; `taken` tells how far it has come, possibly
 * before this returns. 0, -ENOMEM, or -ENOSPC above LOCAL_STREAM_INPUT_MAX. */
enum { LOCAL_STREAM_INPUT_MAX = 1 << 20 };
int local_stream_write(struct local_stream *s, const char *data, size_t len);
void local_stream_close_input(struct local_stream *s);
void local_stream_pause_output(struct local_stream *s, bool paused);
void local_stream_resize(struct local_stream *s, int rows, int columns);
/* To the terminal's foreground job, or without a terminal to the program's process group. */
void local_stream_signal(struct local_stream *s, int signum);
void local_stream_kill(struct local_stream *s); /* the whole tree; no event comes any more, the stream is gone */

struct local_stats {
	size_t sessions;
	size_t executions;
};
void local_get_stats(const struct local *rt, struct local_stats *ret);

#endif

/* crex/runtime.h: where commands run: one interface, whatever stands behind it.
 *
 * A runtime keeps bash sessions, runs commands, reads, writes and takes files. It may be this very process (local), a
 * server on some machine (remote) or a script of canned replies (dummy); the calls are the same.
 *
 * Requests: one struct a request of the SWE-ReX 1.4.0 contract, with the contract's defaults in a matching *_INIT
 * macro. Strings are borrowed views: whoever fills a request keeps the bytes alive until the call has returned.
 * Replies: the caller provides an initialised struct, a successful call fills it (what it held is not freed), the
 * matching *_clear frees it. A failing call leaves it untouched. NULL: the reply isn't wanted.
 * All calls: 0, or -1 with err set (err may be NULL). `call` says how long the caller waits and who may call it off;
 * NULL: for ever, nobody. A call that was called off has not undone what it began: a command goes on, as it does when
 * its client hangs up. Beside the errors named below each call may fail with DEADLINE, CANCELLED, MEMORY, and where a
 * server is asked with CONNECTION, AUTHENTICATION, PROTOCOL.
 * Times: seconds as double; a negative timeout means "none".
 * Threads: any number of threads may call one runtime at a time, and calls do not wait for one another, except that
 * requests to one session run in the order in which they came. crex_runtime_free is the last call. */
#ifndef CREX_RUNTIME_H
#define CREX_RUNTIME_H

#include <crex/call.h>
#include <crex/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A borrowed string: bytes with a length, not NUL-terminated. ptr may be NULL when len is 0. */
struct crex_str {
	const char *ptr;
	size_t len;
};

struct crex_str_list {
	const struct crex_str *items;
	size_t count;
};

/* A view of a string literal, as an initialiser; crex_str_of() is for all other strings. */
#define CREX_STR(literal)                      \
	{                                      \
		(literal), sizeof(literal) - 1 \
	}

/* NULL gives the empty view whose ptr is NULL. */
static inline struct crex_str crex_str_of(const char *text)
{
	struct crex_str view = {text, text ? strlen(text) : 0};
	return view;
}

/* An owned text: UTF-8, NUL-terminated, any byte may occur in it. */
struct crex_text {
	char *data;
	size_t len;
};
#define CREX_TEXT_INIT  \
	{               \
		NULL, 0 \
	}
CREX_API void crex_text_clear(struct crex_text *text);

/* A bash on a terminal, for commands that follow one another: directory, variables, functions and jobs stay. */
struct crex_create_session_request {
	struct crex_str session;	     /* its name; "default" */
	struct crex_str_list startup_source; /* files of the sandbox, sourced after the user's bashrc */
	double startup_timeout;		     /* seconds for all startup files; 1.0 */
};
#define CREX_CREATE_SESSION_REQUEST_INIT            \
	{                                           \
		CREX_STR("default"), {NULL, 0}, 1.0 \
	}

enum crex_check {
	CREX_CHECK_RAISE,  /* non-zero exit code is NonZeroExitCodeError (the contract's default) */
	CREX_CHECK_SILENT, /* exit code is reported, never an error */
	CREX_CHECK_IGNORE  /* exit code is not reported (null) */
};

/* A command for a session: any bash text, of any number of lines. */
struct crex_bash_action {
	struct crex_str session; /* "default" */
	struct crex_str command;
	double timeout;		     /* seconds; when they are over: COMMAND_TIMEOUT, and the command runs on; none */
	bool is_interactive_command; /* a line for the program in the foreground, which shows one of `expect` then */
	bool is_interactive_quit;    /* the line that makes that program quit */
	enum crex_check check;	     /* CREX_CHECK_RAISE */
	struct crex_str error_msg;   /* goes before the message of NON_ZERO_EXIT_CODE */
	struct crex_str_list expect; /* the command is over when it has printed one of these; text or expressions */
};
#define CREX_BASH_ACTION_INIT                                                                               \
	{                                                                                                   \
		CREX_STR("default"), {NULL, 0}, CREX_NO_TIMEOUT, false, false, CREX_CHECK_RAISE, {NULL, 0}, \
		{                                                                                           \
			NULL, 0                                                                             \
		}                                                                                           \
	}

struct crex_bash_interrupt_action {
	struct crex_str session;     /* "default" */
	double timeout;		     /* seconds for each try; 0.2 */
	int n_retry;		     /* tries before it escalates; 3 */
	struct crex_str_list expect; /* also over when one of these was printed */
};
#define CREX_BASH_INTERRUPT_ACTION_INIT      \
	{                                    \
		CREX_STR("default"), 0.2, 3, \
		{                            \
			NULL, 0              \
		}                            \
	}

/* A program apart from all sessions, as Python's subprocess.run; its stdin is empty. */
struct crex_execute_request {
	/* A list is argv; with shell: a script for sh -c and its $0 $1 ... A plain string (one item, command_is_list
	 * false) is a script with shell, and the program's name without. */
	struct crex_str_list command;
	bool command_is_list;	   /* false */
	double timeout;		   /* seconds; when they are over its whole tree is killed: COMMAND_TIMEOUT; none */
	bool shell;		   /* false */
	bool check;		   /* an exit code other than 0 is NON_ZERO_EXIT_CODE; false */
	struct crex_str error_msg; /* goes before that error's message */
	bool has_env;		   /* true: env REPLACES the environment */
	struct crex_str_list env;  /* "KEY=VALUE" items */
	struct crex_str cwd;	   /* ptr NULL: the server's own */
	bool merge_output_streams; /* stderr into `out`, as 2>&1; false */
};
#define CREX_EXECUTE_REQUEST_INIT                                                                              \
	{                                                                                                      \
		{NULL, 0}, false, CREX_NO_TIMEOUT, false, false, {NULL, 0}, false, {NULL, 0}, {NULL, 0}, false \
	}

/* Names as Python's open() takes them. */
struct crex_read_file_request {
	struct crex_str path;	  /* in the sandbox, as are all paths but an upload's source */
	struct crex_str encoding; /* ptr NULL: "utf-8" */
	struct crex_str errors;	  /* "strict", "replace", "ignore", "backslashreplace" ...; ptr NULL: "strict" */
};
#define CREX_READ_FILE_REQUEST_INIT   \
	{                             \
		{NULL, 0}, {NULL, 0}, \
		{                     \
			NULL, 0       \
		}                     \
	}

/* Parents are created; a reader sees the old content or the new; the mode of a file that exists stays. */
struct crex_write_file_request {
	struct crex_str path;
	struct crex_str content; /* UTF-8; WTF-8 surrogates are refused */
};
#define CREX_WRITE_FILE_REQUEST_INIT \
	{                            \
		{NULL, 0},           \
		{                    \
			NULL, 0      \
		}                    \
	}

/* A file or a directory of the host goes to the sandbox. A directory's content is put into target_path; permission bits
 * go along, links stay links; of one that leads out of the directory to a file, that file's content goes. Other links
 * that lead out, and other kinds of files, are refused. */
struct crex_upload_request {
	struct crex_str source_path;
	struct crex_str target_path;
	/* Told of bytes as they leave, at most every 50 ms and at the end, on the caller's thread; total 0: not known.
	 * NULL: nobody. */
	void (*progress)(void *arg, unsigned long long done, unsigned long long total);
	void *progress_arg;
};
#define CREX_UPLOAD_REQUEST_INIT                 \
	{                                        \
		{NULL, 0}, {NULL, 0}, NULL, NULL \
	}

struct crex_is_alive {
	bool is_alive;
	char *message; /* owned; why not, "" when alive; NULL means "" */
};
#define CREX_IS_ALIVE_INIT  \
	{                   \
		false, NULL \
	}
CREX_API void crex_is_alive_clear(struct crex_is_alive *alive);

/* What a session answers: an owned reply, freed with crex_observation_clear. */
struct crex_observation {
	char *output; /* owned; valid UTF-8, NUL-terminated; any byte may occur, NUL included */
	size_t output_len;
	bool has_exit_code; /* false: null on the wire */
	int exit_code;
	const char *failure_reason; /* static, "" when there is none */
	char *expect_string;	    /* owned, NUL-terminated; NULL means "" */
	bool truncated;		    /* the middle of the output was cut at the configured limit */
	bool session_ended;	    /* the shell ended with this command; its name is free again */
};
#define CREX_OBSERVATION_INIT                             \
	{                                                 \
		NULL, 0, false, 0, "", NULL, false, false \
	}
CREX_API void crex_observation_clear(struct crex_observation *obs);

struct crex_execute_result {
	char *out; /* owned; valid UTF-8, NUL-terminated, any byte may occur */
	size_t out_len;
	char *err; /* the same; "" when the streams were merged */
	size_t err_len;
	int exit_code;	/* negative: ended by that signal */
	bool truncated; /* the middle of an output was cut at the configured limit */
};
#define CREX_EXECUTE_RESULT_INIT           \
	{                                  \
		NULL, 0, NULL, 0, 0, false \
	}
CREX_API void crex_execute_result_clear(struct crex_execute_result *res);

struct crex_runtime; /* crex/interface.h has the inside, for those who write a runtime of their own */

/* Whether commands can be run now. A runtime that can't be reached is an answer (0, is_alive false, message says why),
 * not an error. Where `call` is NULL the wait is the runtime's own (remote: its config's timeout). */
CREX_API int crex_runtime_is_alive(struct crex_runtime *rt, const struct crex_call *call, struct crex_is_alive *ret,
				   struct crex_error *err);

/* ret: what the startup files printed; may be NULL.
 * Errors: SESSION_EXISTS, COMMAND_TIMEOUT (the name is free again), LIMIT. */
CREX_API int crex_runtime_create_session(struct crex_runtime *rt, const struct crex_create_session_request *req,
					 const struct crex_call *call, struct crex_text *ret, struct crex_error *err);

/* Errors: SESSION_DOES_NOT_EXIST, COMMAND_TIMEOUT (extra "output": what came so far; the session is busy until the
 * command ends or is interrupted), BASH_INCORRECT_SYNTAX (extras bash_stdout, bash_stderr; nothing has run),
 * NON_ZERO_EXIT_CODE (with CREX_CHECK_RAISE; extra "output"), LIMIT. */
CREX_API int crex_runtime_run_in_session(struct crex_runtime *rt, const struct crex_bash_action *action,
					 const struct crex_call *call, struct crex_observation *ret,
					 struct crex_error *err);

/* Interrupts what runs in a session, escalating up to SIGKILL. Errors: SESSION_DOES_NOT_EXIST, COMMAND_TIMEOUT. */
CREX_API int crex_runtime_interrupt(struct crex_runtime *rt, const struct crex_bash_interrupt_action *action,
				    const struct crex_call *call, struct crex_observation *ret, struct crex_error *err);

/* Kills the session's whole process tree. Errors: SESSION_DOES_NOT_EXIST. */
CREX_API int crex_runtime_close_session(struct crex_runtime *rt, struct crex_str session, const struct crex_call *call,
					struct crex_error *err);

/* Errors: COMMAND_TIMEOUT (the whole tree has been killed; extras stdout, stderr), NON_ZERO_EXIT_CODE (with check; the
 * same extras), FILE_NOT_FOUND, PERMISSION, NOT_A_DIRECTORY when the program can't be started. */
CREX_API int crex_runtime_execute(struct crex_runtime *rt, const struct crex_execute_request *req,
				  const struct crex_call *call, struct crex_execute_result *ret,
				  struct crex_error *err);

/* Errors: FILE_NOT_FOUND, IS_A_DIRECTORY, PERMISSION, UNICODE, LOOKUP (unknown encoding), LIMIT. */
CREX_API int crex_runtime_read_file(struct crex_runtime *rt, const struct crex_read_file_request *req,
				    const struct crex_call *call, struct crex_text *ret, struct crex_error *err);

/* Errors: PERMISSION, IS_A_DIRECTORY, NOT_A_DIRECTORY, UNICODE, OS (disk full). */
CREX_API int crex_runtime_write_file(struct crex_runtime *rt, const struct crex_write_file_request *req,
				     const struct crex_call *call, struct crex_error *err);

/* The whole arrives or nothing does, as far as the runtime can tell. Errors: FILE_NOT_FOUND, PERMISSION (an unreadable
 * source as well as the target), IS_A_DIRECTORY (a file's target is one), OS. */
CREX_API int crex_runtime_upload(struct crex_runtime *rt, const struct crex_upload_request *req,
				 const struct crex_call *call, struct crex_error *err);

/* Closes every session; the runtime can be used on. */
CREX_API int crex_runtime_close(struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err);

/* Ends a local runtime with all it runs, and with what ended commands and sessions of it have left in the background,
 * however far it has detached itself. (Such a process is known by a soft RLIMIT_LOCKS, which Linux enforces no more.
 * Not found are those that have changed this limit and then detached themselves, and any where it can't be set: a hard
 * limit of locks, or a kernel that has none.) Leaves a server that a remote runtime talks to alone. NULL is fine;
 * returns NULL. No call may be under way. */
CREX_API struct crex_runtime *crex_runtime_free(struct crex_runtime *rt);

/* The engine inside this process: bash sessions and commands as children of the caller. A thread of its own serves it.
 * The program's other children and its signal handlers are left alone. In turn the program should wait for children of
 * its own only. One that waits for all (waitpid(-1)), or ignores SIGCHLD, may take the runtime's: since Linux 6.15 the
 * exit code is found all the same; before, crex_runtime_execute and the end of a stream fail with NO_EXIT_CODE, and a
 * session's end has no exit code (has_exit_code false). Below Linux 5.3 the runtime has a handler for SIGCHLD, from its
 * first command on. */
struct crex_local_runtime_config {
	size_t max_sessions; /* 0: the server's default */
	size_t max_output;   /* bytes of output kept for one command; 0: the server's default */
};
#define CREX_LOCAL_RUNTIME_CONFIG_INIT \
	{                              \
		0, 0                   \
	}
/* config may be NULL. NULL on failure. */
CREX_API struct crex_runtime *crex_local_runtime_new(const struct crex_local_runtime_config *config,
						     struct crex_error *err);

/* A SWE-ReX 1.4.0 server, ours or upstream's, over HTTP or HTTPS. Strings are copied. Requests that change something
 * carry an id, so that repeating them after a cut connection runs them once. Proxies: http_proxy, https_proxy,
 * no_proxy. */
struct crex_remote_runtime_config {
	const char *auth_token;	    /* NULL or "": none */
	const char *host;	    /* "http://127.0.0.1"; without a scheme http:// is meant; may have a path */
	int port;		    /* 0: the scheme's own, or the one in host */
	double timeout;		    /* 0.15: seconds for is_alive, as upstream */
	const char *unix_socket;    /* instead of TCP; NULL: TCP */
	const char *ca_file;	    /* PEM, trusted instead of the system's store; NULL: the system's */
	const char *const *headers; /* further "Name: value" lines, NULL-terminated; NULL: none */
	int retries;		    /* 4: how often a request is repeated when the connection fails */
};
#define CREX_REMOTE_RUNTIME_CONFIG_INIT                                \
	{                                                              \
		NULL, "http://127.0.0.1", 0, 0.15, NULL, NULL, NULL, 4 \
	}
/* Nothing is sent yet. Errors: CONFIG. NULL on failure. */
CREX_API struct crex_runtime *crex_remote_runtime_new(const struct crex_remote_runtime_config *config,
						      struct crex_error *err);

/* Canned replies, for tests of programs that use a runtime. Without any, each call succeeds with an empty reply and
 * exit code 0; files are kept in memory, so that what was written can be read. */
CREX_API struct crex_runtime *crex_dummy_runtime_new(struct crex_error *err);
/* Queues what the next run_in_session (or interrupt) answers; copied. Once something was queued, running out is
 * DUMMY_OUTPUTS_EXHAUSTED. Fails with UNSUPPORTED on a runtime that is no dummy. */
CREX_API int crex_dummy_runtime_push(struct crex_runtime *rt, const struct crex_observation *obs,
				     struct crex_error *err);
/* The same with an error that the call fails with; code, message and extras are copied. */
CREX_API int crex_dummy_runtime_push_error(struct crex_runtime *rt, const struct crex_error *reply,
					   struct crex_error *err);

#ifdef __cplusplus
}
#endif
#endif

/* crex/runtime.h: what a runtime is asked and what it answers, as plain C structs.
 *
 * One struct a request of the SWE-ReX 1.4.0 contract, with the contract's defaults in a matching
 * *_INIT macro. Strings are borrowed views: whoever fills a request keeps the bytes alive until the
 * call that takes the request has returned; the runtime copies what it needs longer.
 * All times are seconds as double; a negative timeout means "none". */
#ifndef CREX_RUNTIME_H
#define CREX_RUNTIME_H

#include <crex/error.h>
#include <stdbool.h>
#include <stddef.h>

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

#define CREX_STR(literal) {(literal), sizeof(literal) - 1}
#define CREX_NO_TIMEOUT (-1.0)

struct crex_create_session_request {
	struct crex_str session;               /* "default" */
	struct crex_str_list startup_source;   /* files sourced after the user's bashrc */
	double startup_timeout;                /* 1.0 */
};
#define CREX_CREATE_SESSION_REQUEST_INIT {CREX_STR("default"), {NULL, 0}, 1.0}

enum crex_check {
	CREX_CHECK_RAISE,  /* non-zero exit code is NonZeroExitCodeError (the contract's default) */
	CREX_CHECK_SILENT, /* exit code is reported, never an error */
	CREX_CHECK_IGNORE  /* exit code is not reported (null) */
};

struct crex_bash_action {
	struct crex_str session;
	struct crex_str command;
	double timeout;
	bool is_interactive_command;
	bool is_interactive_quit;
	enum crex_check check;
	struct crex_str error_msg;
	struct crex_str_list expect;
};
#define CREX_BASH_ACTION_INIT \
	{CREX_STR("default"), {NULL, 0}, CREX_NO_TIMEOUT, false, false, CREX_CHECK_RAISE, {NULL, 0}, {NULL, 0}}

struct crex_bash_interrupt_action {
	struct crex_str session;
	double timeout; /* 0.2, for each try */
	int n_retry;    /* 3 */
	struct crex_str_list expect;
};
#define CREX_BASH_INTERRUPT_ACTION_INIT {CREX_STR("default"), 0.2, 3, {NULL, 0}}

struct crex_execute_request {
	struct crex_str_list command; /* one item for a plain string */
	bool command_is_list;
	double timeout;
	bool shell;
	bool check;
	struct crex_str error_msg;
	bool has_env;              /* true: env REPLACES the environment */
	struct crex_str_list env;  /* "KEY=VALUE" items */
	struct crex_str cwd;       /* ptr NULL: the server's own */
	bool merge_output_streams;
};
#define CREX_EXECUTE_REQUEST_INIT \
	{{NULL, 0}, false, CREX_NO_TIMEOUT, false, false, {NULL, 0}, false, {NULL, 0}, {NULL, 0}, false}

struct crex_read_file_request {
	struct crex_str path;
	struct crex_str encoding; /* ptr NULL: "utf-8" */
	struct crex_str errors;   /* ptr NULL: "strict" */
};
#define CREX_READ_FILE_REQUEST_INIT {{NULL, 0}, {NULL, 0}, {NULL, 0}}

struct crex_write_file_request {
	struct crex_str path;
	struct crex_str content; /* UTF-8; WTF-8 surrogates are refused */
};
#define CREX_WRITE_FILE_REQUEST_INIT {{NULL, 0}, {NULL, 0}}

/* What a session answers: an owned reply, freed with crex_observation_clear. */
struct crex_observation {
	char *output; /* owned; valid UTF-8; any byte may occur, NUL included */
	size_t output_len;
	bool has_exit_code; /* false: null on the wire */
	int exit_code;
	const char *failure_reason; /* static, "" when there is none */
	char *expect_string; /* owned, NUL-terminated; NULL means "" */
	bool truncated;      /* the middle of the output was cut at the configured limit */
	bool session_ended;  /* the shell ended with this command; its name is free again */
};
#define CREX_OBSERVATION_INIT {NULL, 0, false, 0, "", NULL, false, false}
CREX_API void crex_observation_clear(struct crex_observation *obs);

struct crex_execute_result {
	char *out; /* owned, valid UTF-8 */
	size_t out_len;
	char *err; /* owned, valid UTF-8 */
	size_t err_len;
	int exit_code; /* negative: ended by that signal */
	bool truncated;
};
#define CREX_EXECUTE_RESULT_INIT {NULL, 0, NULL, 0, 0, false}
CREX_API void crex_execute_result_clear(struct crex_execute_result *res);

#ifdef __cplusplus
}
#endif
#endif

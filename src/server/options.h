/* server/options.h: the command line and environment of swerex-remote, as one struct. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "base/buf.h"
#include "base/log.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_HOST_TIMEOUT_ENV "SWEREX_HOST_TIMEOUT"
#define SWEREX_COMPATIBLE_VERSION "1.4.0" /* what --version prints: clients compare it */

struct options {
	char *token; /* owned; "" means no check */
	char *token_file;
	char *host;
	char *unix_socket; /* NULL: TCP */
	uint64_t port;
	uint64_t max_body;
	uint64_t max_header;
	uint64_t max_sessions;
	uint64_t max_connections;
	uint64_t max_queue;
	uint64_t max_output;
	uint64_t max_file;
	uint64_t max_unzip;
	uint64_t max_backlog;
	uint64_t idle_timeout_ms;
	uint64_t header_timeout_ms;
	uint64_t min_rate; /* bytes a second; 0: any */
	uint64_t idempotency_count;
	uint64_t idempotency_bytes;
	uint64_t idempotency_age_ms;
	uint64_t host_timeout_ms; /* 0: none */
	char *log_format;
	char *log_level;
	enum log_format format;
	int level;
	bool no_guardian;
};

enum options_result {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_ROUTES,
	OPTIONS_BAD, /* error holds one line */
};

/* Reads argv and the environment (through get_env, getenv in the program). memory: bytes that the sandbox may use; the
 * defaults of what is kept in memory are a part of it where that is less. Every string is copied: the caller may
 * scrub argv afterwards. opt must be deinitialised in every case. */
enum options_result options_parse(struct options *opt, int argc, char *const *argv, char *(*get_env)(const char *name),
				  uint64_t memory, struct buf *error);
void options_deinit(struct options *opt);
int options_print_help(struct buf *out);

/* Overwrites the token where argv and the environment hold it, so that it is in no process list. Strings stay
 * NUL-terminated; an environment entry becomes an empty value. */
void options_scrub(int argc, char *const *argv, char *const *envp);

/* The names, for tests that compare them with the manual page; NULL at the end of the list. */
const char *options_name(size_t i);

#endif

/* tests/unit/remote_rig.h: a real server process, and a relay to it that fails when told to. */
#ifndef TESTS_REMOTE_RIG_H
#define TESTS_REMOTE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <crex/crex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define RIG_TOKEN "a-token-of-the-tests"

struct rig_server {
	pid_t pid;
	int port;
	char home[64];	 /* a directory that goes with the server */
	char socket[96]; /* "" : TCP */
	int out;	 /* its stdout */
};

/* port 0: any. Reads until it listens. */
void rig_server_start(struct rig_server *s, int port, bool unix_socket);
void rig_server_kill(struct rig_server *s); /* SIGKILL to it with all it runs */
void rig_server_stop(struct rig_server *s); /* and its directory is gone */
/* A path in its directory; static memory, a few at a time. */
const char *rig_path(const struct rig_server *s, const char *name);

struct crex_runtime *rig_runtime(int port); /* with the token */
double rig_now(void);
size_t rig_lines(const char *path);		       /* of a file, 0 when there is none */
char *rig_run(const char *fmt, ...) CREX_PRINTF(1, 2); /* a shell command of the test's own; its output, to be freed */

#define assert_ok(expr, err)                                                       \
	do {                                                                       \
		if ((expr) < 0)                                                    \
			fail_msg("%s: %s: %s", #expr, crex_error_name((err).code), \
				 (err).message ? (err).message : "");              \
	} while (0)
#define assert_fails(expr, err, want)                                                              \
	do {                                                                                       \
		if ((expr) == 0)                                                                   \
			fail_msg("%s succeeded", #expr);                                           \
		if ((err).code != (want))                                                          \
			fail_msg("%s: %s: %s", #expr, crex_error_name((err).code), (err).message); \
	} while (0)

struct crex_execute_request rig_shell(const char *script); /* one at a time a thread */

/* Takes connections and passes bytes both ways until one is cut: after `request` bytes from the client or `reply` bytes
 * from the server, the first `cuts` connections only. Negative: never. */
struct relay {
	int port, to_port;
	int listener;
	pthread_t thread;
	pthread_mutex_t lock;
	long request, reply;
	int cuts;
	int stop[2];
	/* of the last connection that was not cut */
	long seen_request, seen_reply;
};
void relay_start(struct relay *r, int to_port);
void relay_set(struct relay *r, long request, long reply, int cuts);
void relay_stop(struct relay *r);

/* A server that answers every connection with fixed bytes; hold: then keeps silent instead of closing. */
struct canned {
	int port, listener;
	const char *bytes;
	size_t len;
	bool hold;
	pthread_t thread;
	int stop[2];
};
void canned_start(struct canned *c, const char *bytes, bool hold);
void canned_stop(struct canned *c);

#endif

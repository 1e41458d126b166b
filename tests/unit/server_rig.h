/* tests/unit/server_rig.h: the server on a fake engine in this process, and clients on socket pairs.
 *
 * Everything runs on one thread: a client's wait turns the loop until its condition holds or a deadline ends the
 * test. */
#ifndef TESTS_SERVER_RIG_H
#define TESTS_SERVER_RIG_H

#include "base/buf.h"
#include "fake_engine.h"
#include "server/server.h"

struct rig {
	uv_loop_t loop;
	struct options opt;
	struct http_config http;
	struct server srv;
	bool closed;
};

struct client {
	int fd;
	struct buf in;
	bool eof;
	bool reset;
};

/* For each test: a server with the default options in *state. */
int rig_setup(void **state);
int rig_teardown(void **state);
void rig_reset(struct rig *r); /* stops it; options may be changed until rig_start */
void rig_start(struct rig *r);
void rig_turn(struct rig *r); /* one turn of the loop; waits a little for events */

struct client rig_connect(struct rig *r);
void client_close(struct client *c);
void client_send(struct rig *r, struct client *c, const char *data,
		 size_t len); /* turns the loop while the socket is full */
void client_send_str(struct rig *r, struct client *c, const char *text);
bool client_read_some(struct client *c); /* takes what is there; false: nothing was */
/* Turns the loop until one whole reply lies at the start of in; returns its status and body (valid until the next
 * call), and takes it off at the next call. 0: the connection ended first. */
int client_reply(struct rig *r, struct client *c, struct crex_str *ret_body);
/* The next reply has this status, and this text somewhere in its body; NULL: any. */
void client_expect(struct rig *r, struct client *c, int status, const char *part);
void client_wait_eof(struct rig *r, struct client *c);

#endif

/* deploy/heartbeat.h: a sandbox ends itself when its host is gone; this is how it knows that the host is there.
 *
 * The server inside was started with --host-timeout: a program that thinks for minutes between two commands would
 * lose its sandbox without somebody asking now and then. */
#ifndef DEPLOY_HEARTBEAT_H
#define DEPLOY_HEARTBEAT_H

#include <crex/runtime.h>

struct heartbeat;

/* Asks rt whether it is alive, every `seconds` from now on, on a thread of its own; rt is borrowed until the stop. NULL
 * with err set. */
struct heartbeat *heartbeat_start(struct crex_runtime *rt, double seconds, struct crex_error *err);
struct heartbeat *heartbeat_stop(struct heartbeat *h); /* NULL is fine; returns NULL */

#endif

/* server/guardian.h: a tiny parent that outlives the server to clean up after it, however it ends. */
#ifndef SERVER_GUARDIAN_H
#define SERVER_GUARDIAN_H

#include <stdbool.h>

/* Call once, at program start: before any thread, event loop or listening socket. The process forks; the parent never
 * returns from here: it hands TERM, INT, HUP, QUIT, USR1 and USR2 on to the server, reaps orphans, and when the server
 * has ended kills whatever descendant is left and exits with the server's status (128+n for signal n).
 * The child returns 0 and is the server; it gets SIGTERM when its guardian is killed, and kills its descendants at
 * exit().
 * PID 1 stays one process, which must reap orphans itself; each of these signals that it does not handle ends it with
 * 128+n, and with it, by the kernel, its whole pid namespace.
 * enabled false: it stays one process as well, and kills its descendants at exit(). A negative errno when it can't
 * fork: the caller may go on without. */
int guardian_enter(bool enabled);

#endif

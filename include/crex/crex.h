/* crex/crex.h: the library: deployments (a sandbox comes and goes), runtimes (commands and files in it), streams (a
 * program's input and output as they happen), errors. Start with examples/hello.c and docs/library.md.
 *
 * What holds everywhere:
 * Results: functions that can fail return 0, or -1 with `err` set; constructors return NULL instead. `err` may be NULL.
 * It is to be looked at after a failure alone, which replaces what it held: one struct serves many calls in turn.
 * Ownership: `ret` arguments are filled by success and left alone by failure. What *_new gave goes back by *_free, what
 * a reply holds by *_clear; both take what is empty already. Configs, requests and calls are borrowed until the
 * function returns.
 * Times: seconds as double, by a clock that nobody sets; negative: no limit.
 * Text: what the sandbox printed is UTF-8 with a length and a NUL behind it, and may have a NUL inside too.
 * Threads: any thread may call; each header says what excludes what. The library has no global state that a program
 * must set up, installs no signal handlers, prints nothing and never exits.
 * Those who write a runtime or a deployment of their own include crex/interface.h too. */
#ifndef CREX_CREX_H
#define CREX_CREX_H

#include <crex/call.h>
#include <crex/deployment.h>
#include <crex/deployment_daytona.h>
#include <crex/deployment_fargate.h>
#include <crex/deployment_modal.h>
#include <crex/error.h>
#include <crex/runtime.h>
#include <crex/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CREX_VERSION_MAJOR 0
#define CREX_VERSION_MINOR 1
#define CREX_VERSION_PATCH 0

/* Of the library that runs (the macros are those of the headers), "0.1.0"; static. */
CREX_API const char *crex_version(void);

#ifdef __cplusplus
}
#endif
#endif

/* crex/crex.h: all of the library: runtimes, deployments, streams, errors. */
#ifndef CREX_CREX_H
#define CREX_CREX_H

#include <crex/call.h>
#include <crex/deployment.h>
#include <crex/error.h>
#include <crex/runtime.h>
#include <crex/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CREX_VERSION_MAJOR 0
#define CREX_VERSION_MINOR 1
#define CREX_VERSION_PATCH 0

/* Of the library that runs, "0.1.0"; static. */
CREX_API const char *crex_version(void);

#ifdef __cplusplus
}
#endif
#endif

/* runtime/remote/host.h: where a server is, as people write it. */
#ifndef RUNTIME_REMOTE_HOST_H
#define RUNTIME_REMOTE_HOST_H

#include <crex/error.h>
#include <stdbool.h>

struct remote_host {
	char *url;     /* owned: "https://name:8000/base", without a slash at its end */
	bool tls;      /* https */
	bool loopback; /* this machine: never through a proxy */
};

/* host may lack the scheme (http is meant), have a port and a path; port 0: the one in host, or the scheme's own.
 * 0, or -1 with CONFIG. */
int remote_host_parse(const char *host, int port, struct remote_host *ret, struct crex_error *err);
void remote_host_deinit(struct remote_host *h);

#endif

/* runtime/remote/explain.c: why a server can't be reached, told so that one knows what to do.
 *
 * What any peer may do is told by net/explain.c; here is what is worth saying of a server of ours. */
#include "runtime/remote/remote.h"

#include <errno.h>

enum remote_outcome remote_explain(const struct remote *rt, const struct net_transfer *t, struct crex_error *err)
{
	bool refused = t->os_errno == ECONNREFUSED;
	bool no_socket = rt->unix_socket && (refused || t->os_errno == ENOENT || t->os_errno == 0);
	if (t->code != CURLE_COULDNT_CONNECT || (!refused && !no_socket))
		return net_explain(t, "ca_file", err) ? REMOTE_BROKEN : REMOTE_FAILED;
	crex_error_set(err, CREX_E_CONNECTION, "nothing listens at %s%s: is swerex-remote running there?",
		       rt->unix_socket ? "the socket " : "", rt->unix_socket ? rt->unix_socket : rt->host.url);
	return REMOTE_BROKEN;
}

/* runtime/remote/explain.c: why a request got no reply, told so that one knows what to do.
 *
 * Whether a repeat may help is decided here too: after all that a network or a restarting server does, but not where
 * the same would come again (a certificate, a wrong port that speaks something else). */
#include "runtime/remote/remote.h"

#include <errno.h>
#include <string.h>

static enum remote_outcome explain_connect(const struct remote *rt, long os_errno, const char *told,
					   struct crex_error *err)
{
	if (rt->unix_socket && (os_errno == ECONNREFUSED || os_errno == ENOENT || os_errno == 0))
		crex_error_set(err, CREX_E_CONNECTION,
			       "nothing listens at the socket %s: is swerex-remote running there?", rt->unix_socket);
	else if (os_errno == ECONNREFUSED)
		crex_error_set(err, CREX_E_CONNECTION, "nothing listens at %s: is swerex-remote running there?",
			       rt->host.url);
	else
		crex_error_set(err, CREX_E_CONNECTION, "can't connect to %s: %s", rt->host.url, told);
	return REMOTE_BROKEN;
}

enum remote_outcome remote_explain(const struct remote *rt, CURLcode code, long os_errno, const char *told,
				   struct crex_error *err)
{
	const char *url = rt->host.url;
	if (!*told)
		told = curl_easy_strerror(code);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
	switch (code) {
	case CURLE_COULDNT_CONNECT: return explain_connect(rt, os_errno, told, err);
	case CURLE_COULDNT_RESOLVE_HOST:
		crex_error_set(err, CREX_E_CONNECTION, "the name in %s is not known: %s", url, told);
		return REMOTE_BROKEN;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_PROXY:
		crex_error_set(err, CREX_E_CONNECTION, "the proxy on the way to %s (http_proxy, https_proxy) fails: %s",
			       url, told);
		return REMOTE_BROKEN;
	case CURLE_OPERATION_TIMEDOUT:
		crex_error_set(err, CREX_E_CONNECTION, "%s can't be reached: %s", url, told);
		return REMOTE_BROKEN;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_SEND_FAIL_REWIND:
		crex_error_set(err, CREX_E_CONNECTION, "the connection to %s was lost before the reply was whole: %s",
			       url, told);
		return REMOTE_BROKEN;
	case CURLE_SSL_CONNECT_ERROR:
		crex_error_set(err, CREX_E_CONNECTION, "no TLS with %s: %s (does it speak https there?)", url, told);
		return REMOTE_BROKEN;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
		crex_error_set(
			err, CREX_E_CONNECTION,
			"TLS verification: the certificate of %s is not trusted: %s (ca_file names a further CA)", url,
			told);
		return REMOTE_FAILED;
	case CURLE_SSL_CACERT_BADFILE: crex_error_set(err, CREX_E_CONFIG, "ca_file: %s", told); return REMOTE_FAILED;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		crex_error_set(err, CREX_E_PROTOCOL, "what listens at %s is no HTTP server: %s", url, told);
		return REMOTE_FAILED;
	case CURLE_OUT_OF_MEMORY: crex_error_set(err, CREX_E_MEMORY, "memory ran out"); return REMOTE_FAILED;
	default:
		crex_error_set(err, CREX_E_CONNECTION, "the request to %s failed: %s", url, told);
		return REMOTE_FAILED;
	}
#pragma GCC diagnostic pop
}

/* net/explain.c: why a request got no reply, told so that one knows what to do.
 *
 * Whether a repeat may help is decided here too: after all that a network or a restarting server does, but not where
 * the same would come again (a certificate, a wrong port that speaks something else). */
#include "net/transfer.h"

#include <errno.h>

static bool may_pass(struct crex_error *err, const char *before, const struct net_transfer *t, const char *after)
{
	const char *told = *t->told ? t->told : curl_easy_strerror(t->code);
	crex_error_set(err, CREX_E_CONNECTION, "%s %s%s: %s", before, t->peer, after, told);
	return true;
}

bool net_explain(const struct net_transfer *t, const char *trust, struct crex_error *err)
{
	const char *told = *t->told ? t->told : curl_easy_strerror(t->code);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
	switch (t->code) {
	case CURLE_COULDNT_CONNECT:
		if (t->os_errno != ECONNREFUSED)
			return may_pass(err, "can't connect to", t, "");
		crex_error_set(err, CREX_E_CONNECTION, "nothing listens at %s", t->peer);
		return true;
	case CURLE_COULDNT_RESOLVE_HOST: return may_pass(err, "the name in", t, " is not known");
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_PROXY: return may_pass(err, "the proxy on the way to", t, " (http_proxy, https_proxy) fails");
	case CURLE_OPERATION_TIMEDOUT:
		crex_error_set(err, CREX_E_CONNECTION, "%s can't be reached: %s", t->peer, told);
		return true;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_SEND_FAIL_REWIND:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM: return may_pass(err, "the connection to", t, " was lost before the reply was whole");
	case CURLE_SSL_CONNECT_ERROR:
		crex_error_set(err, CREX_E_CONNECTION, "no TLS with %s: %s (does it speak https there?)", t->peer,
			       told);
		return true;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
		crex_error_set(err, CREX_E_CONNECTION,
			       "TLS verification: the certificate of %s is not trusted: %s (%s names a further CA)",
			       t->peer, told, trust);
		return false;
	case CURLE_SSL_CACERT_BADFILE: crex_error_set(err, CREX_E_CONFIG, "%s: %s", trust, told); return false;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		crex_error_set(err, CREX_E_PROTOCOL, "what listens at %s is no HTTP server: %s", t->peer, told);
		return false;
	case CURLE_OUT_OF_MEMORY: crex_error_set(err, CREX_E_MEMORY, "memory ran out"); return false;
	default: crex_error_set(err, CREX_E_CONNECTION, "the request to %s failed: %s", t->peer, told); return false;
	}
#pragma GCC diagnostic pop
}

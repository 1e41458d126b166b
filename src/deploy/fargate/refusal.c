/* deploy/fargate/refusal.c: what AWS's error codes mean to us.
 *
 * The codes are those that AWS documents as worth a repeat, and those of its front ends for signatures and rights,
 * which every service words in its own way. A prefix ("com.amazon.coral.service#") or a suffix (":http://...") of a
 * JSON error's type is taken off. */
#include "deploy/fargate/aws.h"

#include <string.h>

static bool is_one_of(const char *code, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(*list, code) == 0)
			return true;
	return false;
}

/* For people to read: no control characters, cut to the place that there is. */
static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = 0;
	for (from = from ? from : ""; *from && n + 1 < size; from++)
		to[n++] = (unsigned char)*from < ' ' || *from == 0x7F ? ' ' : *from;
	for (; n && ((unsigned char)*from & 0xC0) == 0x80; from--) /* not half a character */
		n--;
	to[n] = '\0';
}

static void read_json(struct aws_refusal *r, const char *body, size_t len)
{
	cleanup_json json_t *root = json_loadb(body, len, 0, NULL);
	const char *type = json_string_value(json_object_get(root, "__type"));
	const char *message = json_string_value(json_object_get(root, "message"));
	if (!message)
		message = json_string_value(json_object_get(root, "Message"));
	const char *hash = type ? strrchr(type, '#') : NULL;
	copy_text(r->code, sizeof r->code, hash ? hash + 1 : type);
	r->code[strcspn(r->code, ":")] = '\0';
	copy_text(r->message, sizeof r->message, message);
}

static void read_xml(struct aws_refusal *r, const char *body, size_t len)
{
	cleanup_xml struct xml_node *root = xml_parse(body, len);
	const struct xml_node *error = xml_find(root, "Errors/Error"); /* EC2's */
	if (!error)
		error = xml_find(root, "Error");
	copy_text(r->code, sizeof r->code, xml_text(error, "Code"));
	copy_text(r->message, sizeof r->message, xml_text(error, "Message"));
}

void aws_refusal_read(struct aws_refusal *r, int status, const char *body, size_t len)
{
	*r = (struct aws_refusal){.status = status};
	size_t blank = 0;
	while (blank < len && strchr(" \t\r\n", body[blank]))
		blank++;
	if (blank < len && body[blank] == '<')
		read_xml(r, body, len);
	else if (blank < len)
		read_json(r, body, len);
	if (!*r->code)
		copy_text(r->code, sizeof r->code, "NoErrorCode");
}

enum aws_kind aws_refusal_kind(const struct aws_refusal *r)
{
	static const char *const throttled[] = {"Throttling",
						"ThrottlingException",
						"ThrottledException",
						"RequestThrottledException",
						"RequestThrottled",
						"TooManyRequestsException",
						"RequestLimitExceeded",
						"BandwidthLimitExceeded",
						"SlowDown",
						"PriorRequestNotComplete",
						"EC2ThrottledException",
						"Client.RequestLimitExceeded",
						NULL};
	static const char *const transient[] = {"RequestTimeout",
						"RequestTimeoutException",
						"InternalError",
						"InternalFailure",
						"InternalServerError",
						"ServerException",
						"ServiceUnavailable",
						"ServiceFailure",
						"Unavailable",
						"ServiceUnavailableException",
						NULL};
	static const char *const expired[] = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", NULL};
	static const char *const unknown[] = {"AuthFailure",
					      "SignatureDoesNotMatch",
					      "InvalidSignatureException",
					      "InvalidClientTokenId",
					      "InvalidAccessKeyId",
					      "UnrecognizedClientException",
					      "MissingAuthenticationToken",
					      "MissingAuthenticationTokenException",
					      "IncompleteSignature",
					      "IncompleteSignatureException",
					      "RequestTimeTooSkewed",
					      NULL};
	static const char *const denied[] = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation",
					     "NotAuthorized", NULL};
	if (is_one_of(r->code, throttled) || r->status == 429)
		return AWS_THROTTLED;
	if (is_one_of(r->code, expired))
		return AWS_EXPIRED;
	if (is_one_of(r->code, unknown))
		return AWS_UNAUTHENTICATED;
	if (is_one_of(r->code, denied))
		return AWS_DENIED;
	if (is_one_of(r->code, transient) || r->status == 500 || (r->status >= 502 && r->status <= 504))
		return AWS_TRANSIENT;
	return AWS_REFUSED;
}

int aws_refusal_tell(const struct aws_refusal *r, const char *service, const char *operation, struct crex_error *err)
{
	static const struct {
		enum crex_error_code code;
		const char *text;
	} kinds[] = {
		[AWS_THROTTLED] = {CREX_E_LIMIT, "AWS throttles %s:%s, again after every pause: %s%s%s"},
		[AWS_TRANSIENT] = {CREX_E_CONNECTION, "AWS fails at %s:%s, again after every pause: %s%s%s"},
		[AWS_EXPIRED] = {CREX_E_AUTHENTICATION, "AWS refuses %s:%s: the credentials have expired: %s%s%s"},
		[AWS_UNAUTHENTICATED] = {CREX_E_AUTHENTICATION,
					 "AWS refuses %s:%s: key, secret, session token, or this machine's clock is "
					 "wrong: %s%s%s"},
		[AWS_DENIED] = {CREX_E_PERMISSION, "AWS refuses %s:%s: the user lacks the right: %s%s%s"},
		[AWS_REFUSED] = {CREX_E_SWEREX, "AWS refuses %s:%s: %s%s%s"},
	};
	enum aws_kind kind = aws_refusal_kind(r);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return crex_error_set(err, kinds[kind].code, kinds[kind].text, service, operation, r->code,
			      *r->message ? ": " : "", r->message);
#pragma GCC diagnostic pop
}

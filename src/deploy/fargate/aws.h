/* deploy/fargate/aws.h: calls of AWS's services: signed, repeated while that may help, their errors told by code. */
#ifndef DEPLOY_FARGATE_AWS_H
#define DEPLOY_FARGATE_AWS_H

#include "deploy/fargate/credentials.h"
#include "deploy/fargate/endpoint.h"
#include "deploy/fargate/xml.h"
#include "net/transfer.h"
#include "deploy/json.h"
#include <crex/runtime.h>
#include <string.h>

struct aws {
	char *region, *endpoint, *ca_file; /* owned; the last two may be NULL */
	struct credentials credentials;
	struct net_pool pool; /* any number of threads may call */
};

/* Finds the region (given, $AWS_REGION, $AWS_DEFAULT_REGION, the profile's) and looks over the endpoint; nothing is
 * sent. profile is borrowed. On failure (CONFIG) nothing is to be freed. */
int aws_init(struct aws *a, const char *region, const char *endpoint, const char *profile, struct crex_error *err);
void aws_deinit(struct aws *a); /* fine on a zeroed one */

/* What a service has answered a call with that failed. code "": it has answered nothing, err says why. */
struct aws_refusal {
	int status;
	char code[96];	    /* "NoSuchEntity": without prefix or namespace */
	char message[1024]; /* without control characters */
};
static inline bool aws_was_refused_with(const struct aws_refusal *r, const char *code)
{
	return strcmp(r->code, code) == 0;
}

/* One call. JSON services take a body (consumed, NULL: memory ran out while it was made), query services pairs of name
 * and value with a NULL behind them. The answer is the caller's, ret may be NULL; so may why. Every call may reach the
 * service more than once: what must happen once needs a token of the service's own.
 * Errors: AUTHENTICATION, PERMISSION (the user lacks a right, which is named), LIMIT (throttled for too long),
 * CONNECTION, SWEREX (any other refusal), CANCELLED, DEADLINE. */
int aws_json(struct aws *a, enum aws_service service, const char *operation, json_t *body, const struct deadline *d,
	     json_t **ret, struct aws_refusal *why, struct crex_error *err);
int aws_query(struct aws *a, enum aws_service service, const char *operation, const char *const *pairs,
	      const struct deadline *d, struct xml_node **ret, struct aws_refusal *why, struct crex_error *err);

/* ---- refusal.c ---- */

enum aws_kind { AWS_THROTTLED, AWS_TRANSIENT, AWS_EXPIRED, AWS_UNAUTHENTICATED, AWS_DENIED, AWS_REFUSED };

/* Reads an answer of a status that is no success. Signature errors come as XML from some front ends of JSON services.
 */
void aws_refusal_read(struct aws_refusal *ret, int status, const char *body, size_t len);
enum aws_kind aws_refusal_kind(const struct aws_refusal *r);
int aws_refusal_tell(const struct aws_refusal *r, const char *service, const char *operation, struct crex_error *err);

static inline void aws_xml_free(struct xml_node **xml)
{
	xml_free(*xml);
}
#define cleanup_xml __attribute__((cleanup(aws_xml_free)))

#endif

/* deploy/fargate/credentials.h: who we are to AWS, found where its own tools look. */
#ifndef DEPLOY_FARGATE_CREDENTIALS_H
#define DEPLOY_FARGATE_CREDENTIALS_H

#include "base/deadline.h"
#include <pthread.h>
#include <stdbool.h>

struct aws_key {
	char *id, *secret, *token; /* owned; token NULL: these are lasting ones */
};
void aws_key_deinit(struct aws_key *key);
#define cleanup_aws_key __attribute__((cleanup(aws_key_deinit)))

struct credentials {
	pthread_mutex_t lock;
	const char *profile; /* borrowed; NULL: $AWS_PROFILE, "default" */
	struct aws_key key;  /* id NULL: not looked for yet */
	const char *source;  /* "environment", ...; static */
	bool renewable;	     /* asking again gives others */
	double expires;	     /* seconds since 1970; negative: never */
};

void credentials_init(struct credentials *c, const char *profile); /* asks nobody */
void credentials_deinit(struct credentials *c);

/* The environment, the profile's files, the container's endpoint, the instance's metadata: the first that has any.
 * Those that end soon are fetched anew; with `renew` (AWS has refused them) any that can be. ret is a copy.
 * Errors: CONFIG (there are none anywhere), AUTHENTICATION (a place has them and doesn't give them), CONNECTION,
 * CANCELLED, DEADLINE. */
int credentials_get(struct credentials *c, bool renew, const struct deadline *d, struct aws_key *ret,
		    struct crex_error *err);

#endif

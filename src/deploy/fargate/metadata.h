/* deploy/fargate/metadata.h: credentials that the machine itself hands out: to a container, to an instance. */
#ifndef DEPLOY_FARGATE_METADATA_H
#define DEPLOY_FARGATE_METADATA_H

#include "deploy/fargate/credentials.h"

/* Each: 1 with ret and *ret_expires (seconds since 1970) set, 0: there is no such place here, -1 with err set. */
int metadata_container(struct aws_key *ret, double *ret_expires, const struct deadline *d, struct crex_error *err);
int metadata_instance(struct aws_key *ret, double *ret_expires, const struct deadline *d, struct crex_error *err);

#endif

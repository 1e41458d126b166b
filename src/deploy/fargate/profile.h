/* deploy/fargate/profile.h: what AWS's own tools keep in ~/.aws: profiles in two files of sections. */
#ifndef DEPLOY_FARGATE_PROFILE_H
#define DEPLOY_FARGATE_PROFILE_H

#include <crex/error.h>

/* One key of a profile; caller frees. The credentials file wins over the config file, as with AWS's tools. *ret NULL
 * (and 0): neither file has it. name NULL: $AWS_PROFILE, then "default". -1 with CONFIG or what reading failed with. */
int profile_get(const char *name, const char *key, char **ret, struct crex_error *err);

/* Whether either file has such a profile. 1, 0, or -1 as above. */
int profile_exists(const char *name, struct crex_error *err);

const char *profile_name(const char *name); /* name, $AWS_PROFILE or "default" */

#endif

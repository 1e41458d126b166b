/* deploy/daytona/account.h: who pays, and where: from the config and the environment. */
#ifndef DEPLOY_DAYTONA_ACCOUNT_H
#define DEPLOY_DAYTONA_ACCOUNT_H

#include "runtime/remote/host.h"
#include <crex/deployment_daytona.h>

struct daytona_account {
	struct remote_host api; /* "https://app.daytona.io/api" */
	char *key;
	char *target;
	char *organization; /* NULL: the key's own */
	char *ca_file;	    /* NULL: the system's */
};

/* Asks nobody. CONFIG names the field or the variable that is wrong or missing. */
int daytona_account_load(const struct crex_daytona_config *config, struct daytona_account *ret, struct crex_error *err);
void daytona_account_deinit(struct daytona_account *a); /* fine on a zeroed one */

#endif

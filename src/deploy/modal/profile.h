/* deploy/modal/profile.h: who calls Modal, and where it is: environment variables and the profile file. */
#ifndef DEPLOY_MODAL_PROFILE_H
#define DEPLOY_MODAL_PROFILE_H

#include <crex/error.h>
#include <stdbool.h>

struct modal_profile {
	char *name;	  /* "default" */
	char *server_url; /* "https://api.modal.com:443", without a slash at its end */
	char *token_id;	  /* never in messages, nor the next */
	char *token_secret;
	char *environment;     /* "": the account's own default */
	char *builder_version; /* "": the environment's */
	bool sandbox_v2;       /* MODAL_SANDBOX_V2 */
	bool tls;
	bool loopback; /* the server is this machine */
};

/* What MODAL_* variables say, then the table of the file (MODAL_CONFIG_PATH, ~/.modal.toml): the one named `profile` or
 * by MODAL_PROFILE, else the active one, else "default". `profile` and `environment` may be NULL. CONFIG when tokens
 * are missing, when the file can't be read, when the profile is not in it; `ret` needs no deinit then. */
int modal_profile_load(const char *profile, const char *environment, struct modal_profile *ret, struct crex_error *err);
void modal_profile_deinit(struct modal_profile *p);

#endif

/* crex/deployment_modal.h: a sandbox at Modal (modal.com); type "modal".
 *
 * Field names and defaults as in SWE-ReX 1.4.0 (ModalDeploymentConfig in swerex/deployment/config.py) where it has
 * them. Who pays is found as Modal's own clients find it: MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, else a profile of
 * ~/.modal.toml (further variables: MODAL_PROFILE, MODAL_CONFIG_PATH, MODAL_SERVER_URL, MODAL_ENVIRONMENT,
 * MODAL_IMAGE_BUILDER_VERSION, MODAL_SANDBOX_V2). */
#ifndef CREX_DEPLOYMENT_MODAL_H
#define CREX_DEPLOYMENT_MODAL_H

#include <crex/deployment.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Modal has two kinds of sandboxes, and is to give up the first one. */
enum crex_modal_generation {
	CREX_MODAL_AUTO, /* the first, or the second where Modal has no other or MODAL_SANDBOX_V2 says so */
	CREX_MODAL_V1,
	CREX_MODAL_V2 /* without GPUs */
};

struct crex_modal_config {
	const char *image;	   /* "python:3.11": a registry's name (Amazon's too), or the path of a Dockerfile */
	double startup_timeout;	   /* 180, seconds from the sandbox's creation until its runtime answers */
	double runtime_timeout;	   /* 60: for is_alive */
	double deployment_timeout; /* 3600: Modal ends the sandbox after so many seconds, no matter what */
	const char *modal_sandbox_kwargs; /* JSON object: cpu, memory, gpu, region, ...; NULL: {} */
	bool install_pipx;		  /* accepted and not needed: no Python goes into the image */
	/* beyond upstream */
	const char *app_name;	     /* "swe-rex", upstream's; made when missing */
	const char *environment;     /* Modal's; NULL: the profile's */
	const char *profile;	     /* of ~/.modal.toml; NULL: MODAL_PROFILE, or the active one */
	const char *registry_secret; /* name of a Modal Secret with the registry's credentials; NULL: DOCKER_USERNAME
				      * and DOCKER_PASSWORD, or AWS_* for Amazon's registry, where they are set */
	enum crex_modal_generation generation; /* "auto" */
	double build_timeout;		       /* 1800, seconds for making the image */
	int port;			       /* 8880: where the server listens inside */
	double host_timeout; /* 60: the sandbox ends itself when this program has been gone for so long; negative: never
			      */
	const char *ca_file; /* PEM, trusted instead of the system's store; NULL: SSL_CERT_FILE, or the system's */
	const char *server_path; /* the swerex-remote to bring in; NULL: the one that belongs to this library */
};
#define CREX_MODAL_CONFIG_INIT                                                                                        \
	{                                                                                                             \
		"python:3.11", 180.0, 60.0, 3600.0, NULL, true, "swe-rex", NULL, NULL, NULL, CREX_MODAL_AUTO, 1800.0, \
			8880, 60.0, NULL, NULL                                                                        \
	}
CREX_API struct crex_deployment *crex_modal_deployment_new(const struct crex_modal_config *config,
							   struct crex_error *err);

#ifdef __cplusplus
}
#endif
#endif

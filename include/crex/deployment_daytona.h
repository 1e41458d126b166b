/* crex/deployment_daytona.h: a sandbox at Daytona (daytona.io, or a Daytona of one's own); type "daytona".
 *
 * Field names and defaults as in SWE-ReX 1.4.0 (DaytonaDeploymentConfig in swerex/deployment/config.py) where it has
 * them; those of a sandbox's creation as Daytona's own clients call them, in lower case. Where the account is comes
 * from the environment as with those clients: DAYTONA_API_KEY, DAYTONA_API_URL, DAYTONA_TARGET,
 * DAYTONA_ORGANIZATION_ID. */
#ifndef CREX_DEPLOYMENT_DAYTONA_H
#define CREX_DEPLOYMENT_DAYTONA_H

#include <crex/deployment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct crex_daytona_config {
	const char *api_key;	  /* "": DAYTONA_API_KEY */
	const char *target;	  /* region; NULL: DAYTONA_TARGET, or "us" */
	int port;		  /* 8000: where the server listens inside */
	double container_timeout; /* 900, seconds: the server ends then, no matter what, and the sandbox soon after */
	double runtime_timeout;	  /* 60: for is_alive, and for the server to answer once it was started */
	const char *image;	  /* "python:3.11"; anything that has bash */
	/* beyond upstream */
	const char *snapshot;	     /* made from this instead of an image; NULL: from the image */
	const char *api_url;	     /* NULL: DAYTONA_API_URL, or "https://app.daytona.io/api" */
	const char *organization_id; /* needed with a JWT for a key; NULL: DAYTONA_ORGANIZATION_ID */
	bool is_public;		     /* "public", false; true: its address is open to all, the server's token apart */
	int cpu;		     /* cores; 0: as Daytona has it */
	int memory;		     /* GiB; 0: as Daytona has it */
	int disk;		     /* GiB; 0: as Daytona has it */
	int gpu;		     /* 0 */
	bool network_block_all;	     /* false; true: no way out of the sandbox */
	const char *env;	     /* JSON object of strings, further environment; NULL: {} */
	const char *labels;	     /* JSON object of strings, further labels; NULL: {} */
	double startup_timeout;	     /* 900, seconds for the whole start, the image's making included */
	/* 60, seconds: the sandbox ends itself when this program has been gone for so long; negative: never */
	double host_timeout;
	const char *ca_file;	 /* PEM, trusted instead of the system's store; NULL: SSL_CERT_FILE, or the system's */
	const char *server_path; /* the swerex-remote to bring in; NULL: the one that belongs to this library */
};
#define CREX_DAYTONA_CONFIG_INIT                                                                                    \
	{                                                                                                           \
		"", NULL, 8000, 900.0, 60.0, "python:3.11", NULL, NULL, NULL, false, 0, 0, 0, 0, false, NULL, NULL, \
			900.0, 60.0, NULL, NULL                                                                     \
	}
CREX_API struct crex_deployment *crex_daytona_deployment_new(const struct crex_daytona_config *config,
							     struct crex_error *err);

#ifdef __cplusplus
}
#endif
#endif

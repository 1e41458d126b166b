/* deploy/docker/docker.h: the parts of the docker deployment, for one another. Internal to src/deploy/docker. */
#ifndef DEPLOY_DOCKER_DOCKER_H
#define DEPLOY_DOCKER_DOCKER_H

#include "deploy/owner.h"
#include "deploy/process.h"
#include <crex/interface.h>

/* Where the server lies inside the container: one file, of a name that no image has. */
#define DOCKER_SERVER_PATH "/.swerex-remote"
#define DOCKER_CONTAINER_PORT 8000
#define DOCKER_TOKEN_VARIABLE "SWEREX_AUTH_TOKEN"

/* ---- arguments.c: what the free-form docker_args say that matters to us ---- */

enum docker_network { DOCKER_NETWORK_BRIDGED, DOCKER_NETWORK_HOST };

struct docker_arguments {
	const char **words; /* what goes to `run` as it is; strings are the config's */
	size_t n_words;
	const char *platform;  /* NULL: not said; borrowed as well */
	const char *container; /* --name; NULL: ours to choose */
	enum docker_network network;
};

/* CONFIG when the image can't be reached that way (--network none), or an option lacks its value. */
int docker_arguments_read(const char *const *docker_args, struct docker_arguments *ret, struct crex_error *err);
void docker_arguments_deinit(struct docker_arguments *args);

/* ---- engine.c: asking the engine's command line client ---- */

/* A list of words for a command line, with room for those to come; words are borrowed, formatted ones owned. */
struct words {
	const char **items; /* NULL-terminated */
	size_t n, cap;
	char **owned;
	size_t n_owned;
	bool failed; /* out of memory; told by engine_run */
};
void words_add(struct words *w, const char *word);
void words_addf(struct words *w, const char *fmt, ...) CREX_PRINTF(2, 3);
void words_deinit(struct words *w);
#define cleanup_words __attribute__((cleanup(words_deinit)))

/* Runs the client to its end. 0 whatever its exit code is, -1 when it can't be run or the time is over. */
int engine_run(const struct words *command, const struct deadline *deadline, struct process *ret,
	       struct crex_error *err);
/* The same; an exit code other than 0 is an error, in the engine's words. */
int engine_ask(const struct words *command, const struct deadline *deadline, struct process *ret,
	       struct crex_error *err);

/* What a client that failed has said: CONNECTION, PERMISSION (with what to do) where the engine can't be reached, else
 * `code` with its last lines. */
int engine_failure(const char *runtime, const struct process *p, enum crex_error_code code, const char *what,
		   struct crex_error *err);
/* The last `lines` lines of all it said, without the client's own remarks; caller frees, NULL: out of memory. */
char *engine_words(const struct process *p, size_t lines);
bool engine_said(const struct process *p, const char *text); /* in any case of letters, on either stream */

bool engine_is_podman(const char *runtime);
/* Whether files of this machine can't be mounted, because the engine is on another. Asks at most once. */
bool engine_is_remote(const char *runtime, const struct deadline *deadline);

/* ---- deployment.c ---- */

struct docker_deployment {
	struct crex_deployment base;
	struct crex_docker_config config; /* owned, by docker_schema */
	struct docker_arguments args;
	const char *platform; /* config's or docker_args'; NULL: the engine's own choice */

	/* of one sandbox, from the start of `run` until it is gone */
	char id[24];	       /* ours, its label crex.id; "": there is none */
	const char *container; /* what the engine calls it: id, or the name in docker_args */
	bool is_up;	       /* has been seen to run */
	bool is_cut_off;       /* of a start whose program was killed: the engine may still be at it */
	char planned[24];      /* the id that the next start takes; "": it chooses */
	bool used_image;       /* remove_images has something to remove */
	struct process birth;  /* the client that brings it up, attached to its output */
	char token[33];
	int listens_on; /* as the server itself says; 0: has not yet */
	int port;	/* where it is reached; 0: the engine is to choose it */
	struct crex_runtime *rt;
	struct heartbeat *heart;
};

/* ---- image.c ---- */

/* Makes sure that the image is there, pulling it as the config says. *ret_architecture ("x86_64") is static. */
int docker_image_provide(struct docker_deployment *d, const struct deadline *deadline, const char **ret_architecture,
			 struct crex_error *err);
void docker_image_remove(struct docker_deployment *d, const struct deadline *deadline);

/* ---- container.c ---- */

int docker_container_choose_id(char ret[24], struct crex_error *err);
/* Until the runtime answers: d->rt is set then. What has come to be on a failure is docker_container_remove's. */
int docker_container_start(struct docker_deployment *d, const char *server, const struct deadline *deadline,
			   struct crex_error *err);
/* Until there is no such container (or, when it is to be kept, until it is stopped). In any state. */
int docker_container_remove(struct docker_deployment *d, const struct deadline *deadline, struct crex_error *err);
/* Connects to a container that runs: d->container, d->token are set. */
int docker_container_connect(struct docker_deployment *d, int port, struct crex_error *err);

/* ---- gc.c ---- */

int docker_gc(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
	      size_t *ret_removed, struct crex_error *err);
int docker_check(const struct crex_call *call, struct crex_text *ret, struct crex_error *err);

#endif

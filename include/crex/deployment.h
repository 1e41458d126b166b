/* crex/deployment.h: how a sandbox comes to be and goes: one interface, whatever engine or cloud stands behind it.
 *
 * new -> start -> runtime -> stop -> free. A deployment can be started again after a stop.
 * Ownership: configs are borrowed and copied by *_new; the runtime belongs to the deployment and lives until stop: no
 * call of it may be under way then, and it is never freed by the caller.
 * Errors: 0, or -1 with err set (err may be NULL); constructors return NULL. What is wrong with a config is found by
 * the constructor (CONFIG, with the field's name), before anything is asked of anybody.
 * Threads: calls on one deployment may come from any thread; start, stop and free exclude each other (a stop while a
 * start is under way calls the start off and waits for it). free is the last call.
 * Times: seconds. `call` bounds the whole of a function, a config's startup_timeout the start alone.
 * Field names and defaults are those of SWE-ReX 1.4.0's Python configs (swerex/deployment/config.py) where it has them.
 */
#ifndef CREX_DEPLOYMENT_H
#define CREX_DEPLOYMENT_H

#include <crex/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

struct crex_deployment;

/* Ready when it returns: the runtime answers; at once when it was started before. A start that fails or is called off
 * leaves nothing behind. While another thread starts or stops it: SWEREX.
 * Errors: DEPLOYMENT_STARTUP, DOCKER_PULL, and those of the way there (CONNECTION, AUTHENTICATION, DEADLINE, ...). */
CREX_API int crex_deployment_start(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err);

/* DEPLOYMENT_NOT_STARTED before start; else as crex_runtime_is_alive. */
CREX_API int crex_deployment_is_alive(struct crex_deployment *d, const struct crex_call *call,
				      struct crex_is_alive *ret, struct crex_error *err);

/* Takes the sandbox down with all that belongs to it. Legal in every state and any number of times. On failure (the
 * engine can't be reached) it may be called again. */
CREX_API int crex_deployment_stop(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err);

/* NULL with DEPLOYMENT_NOT_STARTED before start and after stop. */
CREX_API struct crex_runtime *crex_deployment_runtime(struct crex_deployment *d, struct crex_error *err);

/* What the sandbox itself has said so far (its container's log). UNSUPPORTED where none is kept. ret is needed. */
CREX_API int crex_deployment_logs(struct crex_deployment *d, const struct crex_call *call, struct crex_text *ret,
				  struct crex_error *err);

/* Lets a started sandbox outlive this process: ret_state (JSON, holds secrets: keep it as a key is kept) is all that
 * crex_deployment_resume needs, here or in another process. The deployment is as after a stop then. */
CREX_API int crex_deployment_detach(struct crex_deployment *d, struct crex_text *ret_state, struct crex_error *err);
/* What to write down before a start that is to outlive this process: should the process be killed on the way there,
 * what crex_deployment_resume makes of it is not started, and its stop removes what the start has left. Holds for the
 * next start alone. UNSUPPORTED where nothing is known of a sandbox beforehand. */
CREX_API int crex_deployment_plan(struct crex_deployment *d, struct crex_text *ret_state, struct crex_error *err);
/* A started deployment of what was detached. Nothing is asked of it yet. */
CREX_API struct crex_deployment *crex_deployment_resume(const char *state, size_t len, struct crex_error *err);

/* Stops it when it is started (waiting for that at most 30 s) and frees it. NULL is fine; returns NULL. */
CREX_API struct crex_deployment *crex_deployment_free(struct crex_deployment *d);

CREX_API const char *crex_deployment_type(const struct crex_deployment *d); /* "docker", ...; static */

/* Who wants to know how a start gets on. Called on threads of the library's choosing, one call at a time; must not call
 * the deployment. Either may be NULL. total 0: not known. The struct is copied, arg must live as long as the
 * deployment; add hooks before the start that they are to hear of. */
struct crex_deployment_hook {
	void (*on_custom_step)(void *arg, const char *message); /* "Pulling image debian:12" */
	void (*on_progress)(void *arg, const char *what, unsigned long long done, unsigned long long total);
	void *arg;
};
CREX_API int crex_deployment_add_hook(struct crex_deployment *d, const struct crex_deployment_hook *hook,
				      struct crex_error *err);

/* A config as JSON text: {"type": "docker", "image": "debian:12"}. Fields as in the structs below; unknown fields,
 * wrong types and missing required fields are CONFIG errors that name the field. */
CREX_API struct crex_deployment *crex_deployment_from_json(const char *json, size_t len, struct crex_error *err);

/* All types that from_json knows, NULL-terminated; static. */
CREX_API const char *const *crex_deployment_types(void);

/* Removes what sandboxes of this type have left behind although their host program is gone (everything of ours, with
 * `all`). report, when not NULL, is told each thing removed. ret_removed may be NULL. UNSUPPORTED where nothing can be
 * left. */
CREX_API int crex_deployment_gc(const char *type, bool all, void (*report)(void *arg, const char *what),
				void *report_arg, const struct crex_call *call, size_t *ret_removed,
				struct crex_error *err);

/* Whether this machine can run the type: 0 with a line on what was found (an engine's version), -1 with what is
 * missing and what to do about it. */
CREX_API int crex_deployment_check(const char *type, const struct crex_call *call, struct crex_text *ret,
				   struct crex_error *err);

/* Where the server is that deployments bring into sandboxes: the absolute path of a static swerex-remote for the
 * architecture, "x86_64" or "aarch64". FILE_NOT_FOUND says where it was looked for; UNSUPPORTED: none is built for it.
 */
CREX_API int crex_server_binary(const char *architecture, struct crex_text *ret, struct crex_error *err);

/* ---- local: commands run in this process's own machine; type "local" ---- */
CREX_API struct crex_deployment *crex_local_deployment_new(struct crex_error *err);

/* ---- remote: a server that somebody else has started; type "remote" ---- */
/* start waits for the server to answer, at most the call's timeout, 10 s when it has none; stop closes all sessions
 * that this deployment has made and leaves the server alone. */
CREX_API struct crex_deployment *crex_remote_deployment_new(const struct crex_remote_runtime_config *config,
							    struct crex_error *err);

/* ---- dummy: canned replies; type "dummy" ---- */
CREX_API struct crex_deployment *crex_dummy_deployment_new(struct crex_error *err);

/* ---- docker: a container of Docker or Podman; type "docker" ---- */
enum crex_pull { CREX_PULL_MISSING, CREX_PULL_ALWAYS, CREX_PULL_NEVER };

struct crex_docker_config {
	const char *image;		   /* "python:3.11"; anything that has bash */
	int port;			   /* on the host; 0 (null in JSON): a free one */
	const char *const *docker_args;	   /* further arguments of `docker run`, NULL-terminated; NULL: none */
	double startup_timeout;		   /* 180, seconds, the pull apart */
	enum crex_pull pull;		   /* missing */
	bool remove_images;		   /* false; true: stop removes the image too */
	const char *python_standalone_dir; /* accepted and not needed: no Python goes into the image */
	const char *platform;		   /* "linux/arm64"; also taken from docker_args; both is a CONFIG error */
	bool remove_container;		   /* true; false: stop leaves the stopped container */
	const char *container_runtime;	   /* "docker"; or "podman", or a path to either */
	/* {"/bin/sh", "-c"}; only used when set to something else: the server needs no shell */
	const char *const *exec_shell;
	const char *docker_internal_host; /* "http://127.0.0.1": where the published port is reached from here */
	/* beyond upstream */
	const char *publish_address; /* "127.0.0.1": the host's address that the port is published on */
	/* 60, seconds: the sandbox ends itself when this program has been gone for so long; negative: never */
	double host_timeout;
	const char *server_path; /* the swerex-remote to bring in; NULL: the one that belongs to this library */
};
#define CREX_DOCKER_CONFIG_INIT                                                                            \
	{                                                                                                  \
		"python:3.11", 0, NULL, 180.0, CREX_PULL_MISSING, false, NULL, NULL, true, "docker", NULL, \
			"http://127.0.0.1", "127.0.0.1", 60.0, NULL                                        \
	}
CREX_API struct crex_deployment *crex_docker_deployment_new(const struct crex_docker_config *config,
							    struct crex_error *err);

#ifdef __cplusplus
}
#endif
#endif

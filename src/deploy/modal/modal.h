/* deploy/modal/modal.h: the parts of the modal deployment, for one another. Internal to src/deploy/modal. */
#ifndef DEPLOY_MODAL_MODAL_H
#define DEPLOY_MODAL_MODAL_H

#include "base/random.h"
#include "deploy/modal/client.h"
#include "deploy/modal/options.h"
#include "deploy/modal/recipe.h"
#include <crex/deployment_modal.h>
#include <crex/interface.h>

/* Where the server lies inside the image: one file, of a name that no image has. */
#define MODAL_SERVER_PATH "/.swerex-remote"
#define MODAL_TAG "crex"	   /* "1" on all of ours */
#define MODAL_TAG_ID "crex-id"	   /* one creation's own */
#define MODAL_TAG_HOST "crex-host" /* together the owner, see gc.c */
#define MODAL_TAG_BOOT "crex-boot"
#define MODAL_TAG_PROCESS "crex-process"

enum { MODAL_ID_SIZE = 128, MODAL_TOKEN_SIZE = 33 };

/* A sandbox as seen from outside. */
struct modal_sandbox {
	char id[MODAL_ID_SIZE]; /* "": there is none, or it isn't known */
	bool v2;
};

/* A creation whose outcome isn't known yet: sent again with the same key it tells the id. */
struct modal_creation {
	struct pb_writer request;
	const char *method;	    /* NULL: none is open */
	char key[RANDOM_UUID_SIZE]; /* its tag as well */
};

struct modal_deployment {
	struct crex_deployment base;
	struct crex_modal_config config; /* owned, by modal_schema */
	struct modal_profile profile;
	struct modal_options options;
	char *ca_file; /* NULL: the system's */

	/* of one sandbox, from its creation until it is gone */
	struct modal_client client; /* while starting or stopping */
	struct modal_sandbox sandbox;
	struct modal_creation creation;
	char token[MODAL_TOKEN_SIZE];
	char *url; /* where its server is reached */
	char *app_id;
	struct crex_runtime *rt;
	struct heartbeat *heart;
};

/* The first string of this field; copied. 0, or -1 with PROTOCOL ("Modal's METHOD answers without ..."). */
int modal_take_string(const struct buf *reply, unsigned field, const char *method, const char *what, char **ret,
		      struct crex_error *err);

/* ---- app.c: what a sandbox stands on ---- */

int modal_app_find(struct modal_client *c, const char *name, bool create, const struct deadline *deadline,
		   char **ret_id, struct crex_error *err);
int modal_builder_version(struct modal_client *c, const struct deadline *deadline, char **ret, struct crex_error *err);
/* One that is gone when nothing uses it. `entries`: names and values in turn, NULL at the end. */
int modal_secret_make(struct modal_client *c, const char *const *entries, const struct deadline *deadline,
		      char **ret_id, struct crex_error *err);
int modal_secret_find(struct modal_client *c, const char *name, const struct deadline *deadline, char **ret_id,
		      struct crex_error *err);

/* ---- images.c ---- */

/* The image with the server in it, made or found. */
int modal_image_provide(struct modal_deployment *d, const struct recipe *recipe, const char *server,
			const struct deadline *deadline, char **ret_id, struct crex_error *err);
/* Whether credentials that the recipe needs are there, before anything is asked. */
int modal_image_check(const struct modal_deployment *d, const struct recipe *recipe, struct crex_error *err);

/* ---- sandbox.c ---- */

/* Makes one; d->sandbox is set then. On failure d->creation says whether there may be one all the same. */
int modal_sandbox_create(struct modal_deployment *d, const char *image_id, const struct deadline *deadline,
			 struct crex_error *err);
/* Finds where its port is reached: d->url is "https://host:port" then. */
int modal_sandbox_tunnel(struct modal_deployment *d, const struct deadline *deadline, struct crex_error *err);
/* Until there is none. In any state. */
int modal_sandbox_remove(struct modal_deployment *d, const struct deadline *deadline, struct crex_error *err);
int modal_sandbox_terminate(struct modal_client *c, const struct modal_sandbox *s, const struct deadline *deadline,
			    struct crex_error *err);
/* 1: it has ended, ret_how says how ("exit code 3"); 0: it runs. */
int modal_sandbox_poll(struct modal_client *c, const struct modal_sandbox *s, const struct deadline *deadline,
		       char *ret_how, size_t size, struct crex_error *err);
bool modal_id_is_v2(const char *id);

/* ---- result.c ---- */

struct modal_result {
	unsigned status; /* 0: still at it */
	int exit_code;
	char exception[512];
};
enum { MODAL_RUNNING = 0, MODAL_SUCCESS = 1, MODAL_TERMINATED = 3, MODAL_TIMEOUT = 4 };
void modal_result_read(struct crex_str message, struct modal_result *ret);
void modal_result_describe(const struct modal_result *r, char *ret, size_t size);

/* ---- logs.c ---- */

/* What it has printed so far. */
int modal_logs(struct modal_client *c, const struct modal_sandbox *s, const struct deadline *deadline, struct buf *ret,
	       struct crex_error *err);

/* ---- gc.c ---- */

/* The tags of a sandbox that belongs to this process; with `kept` it belongs to none. */
void modal_tags_write(struct pb_writer *w, unsigned field, const char *id, bool kept, const json_t *more);
/* Ends every running sandbox of the app with this tag. */
int modal_sweep_tag(struct modal_client *c, const char *app_id, const char *tag, const char *value,
		    const struct deadline *deadline, struct crex_error *err);
int modal_gc(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
	     size_t *ret_removed, struct crex_error *err);
int modal_check(const struct crex_call *call, struct crex_text *ret, struct crex_error *err);

#endif

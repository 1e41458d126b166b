/* deploy/daytona/daytona.h: the parts of the daytona deployment, for one another. Internal to src/deploy/daytona. */
#ifndef DEPLOY_DAYTONA_DAYTONA_H
#define DEPLOY_DAYTONA_DAYTONA_H

#include "deploy/daytona/client.h"
#include <crex/deployment_daytona.h>
#include <crex/interface.h>

#define DAYTONA_LABEL "crex"		 /* "1" on all of ours */
#define DAYTONA_LABEL_ID "crex.id"	 /* one creation's own */
#define DAYTONA_LABEL_OWNER "crex.owner" /* the program it belongs to; none: nobody */

enum { DAYTONA_ID_SIZE = 128, DAYTONA_TOKEN_SIZE = 65, DAYTONA_WORD_SIZE = 33 };

/* How a sandbox is reached; all of it from the wire. */
struct daytona_sandbox {
	char id[DAYTONA_ID_SIZE];	 /* "": there is none, or it isn't known */
	char label[DAYTONA_WORD_SIZE];	 /* the id that it was asked for with; "": nothing was asked for */
	bool unsure;			 /* there may be more of it than id tells */
	char state[32];			 /* as last seen */
	char *toolbox;			 /* owned; its base, the id included */
	char session[DAYTONA_WORD_SIZE]; /* the server's; "": none */
	char command[DAYTONA_ID_SIZE];	 /* in that session; "": none */
};
void daytona_sandbox_forget(struct daytona_sandbox *s);

struct daytona_deployment {
	struct crex_deployment base;
	struct crex_daytona_config config; /* owned, by daytona_schema */
	struct daytona_account account;

	/* of one sandbox, from its creation until it is gone */
	struct daytona_sandbox sandbox;
	char token[DAYTONA_TOKEN_SIZE];
	char *url, *header; /* where its server is reached */
	struct crex_runtime *rt;
	struct heartbeat *heart;
};

static inline struct daytona_deployment *daytona_of(struct crex_deployment *d)
{
	return (struct daytona_deployment *)d;
}

/* ---- life.c: the slots of a deployment ---- */

int daytona_start(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err);
int daytona_stop(struct crex_deployment *d, const struct crex_call *call, struct crex_error *err);
int daytona_is_alive(struct crex_deployment *d, const struct crex_call *call, struct crex_is_alive *ret,
		     struct crex_error *err);
int daytona_logs(struct crex_deployment *d, const struct crex_call *call, struct crex_text *ret,
		 struct crex_error *err);
struct crex_runtime *daytona_runtime(struct crex_deployment *d);
/* The runtime of what url, header and token lead to, kept alive from now on. */
int daytona_attach(struct daytona_deployment *d, struct crex_error *err);
/* The opposite; nothing is asked of anybody. */
void daytona_let_go(struct daytona_deployment *d);

/* ---- sandbox.c ---- */

/* Makes one; s->id is set then. On failure s says whether there may be one all the same. */
int daytona_sandbox_create(struct daytona_client *c, const struct crex_daytona_config *config,
			   struct daytona_sandbox *s, const struct deadline *deadline, struct crex_error *err);
/* Until it is started; `report` (may be NULL) is told each new state. DEPLOYMENT_STARTUP with Daytona's reason. */
int daytona_sandbox_wait(struct daytona_client *c, struct daytona_sandbox *s,
			 void (*report)(void *arg, const char *state), void *arg, const struct deadline *deadline,
			 struct crex_error *err);
/* Its state into s->state; 1: it is gone or on its way there, ret (may be NULL) is told why; 0: it is there. */
int daytona_sandbox_look(struct daytona_client *c, struct daytona_sandbox *s, const struct deadline *deadline,
			 struct buf *ret, struct crex_error *err);
/* Until there is none. In any state; s is forgotten then. */
int daytona_sandbox_remove(struct daytona_client *c, struct daytona_sandbox *s, const struct deadline *deadline,
			   struct crex_error *err);
int daytona_sandbox_delete(struct daytona_client *c, const char *id, const struct deadline *deadline,
			   struct crex_error *err);
/* Tells every sandbox that has this label, until on_one gives other than 0. */
int daytona_sandbox_list(struct daytona_client *c, const char *label, const char *value,
			 const struct deadline *deadline,
			 int (*on_one)(void *arg, const json_t *sandbox, struct crex_error *err), void *arg,
			 struct crex_error *err);
/* Where its port is reached, and with which header line. */
int daytona_sandbox_preview(struct daytona_client *c, const struct daytona_sandbox *s, int port,
			    const struct deadline *deadline, char **ret_url, char **ret_header, struct crex_error *err);

/* ---- server.c: the server program inside ---- */

/* Brings it in and starts it; s->session and s->command are set then. */
int daytona_server_start(struct daytona_client *c, const struct crex_daytona_config *config, struct daytona_sandbox *s,
			 const char *token, const struct deadline *deadline, struct crex_error *err);
/* 1: it has ended, ret_code says with what; 0: it runs. */
int daytona_server_ended(struct daytona_client *c, const struct daytona_sandbox *s, const struct deadline *deadline,
			 int *ret_code, struct crex_error *err);
/* What it has printed so far. */
int daytona_server_logs(struct daytona_client *c, const struct daytona_sandbox *s, const struct deadline *deadline,
			struct crex_text *ret, struct crex_error *err);

/* ---- gc.c ---- */

int daytona_gc(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
	       size_t *ret_removed, struct crex_error *err);
int daytona_check(const struct crex_call *call, struct crex_text *ret, struct crex_error *err);

#endif

/* deploy/daytona/gc.c: what is left of programs that are gone, and whether Daytona can be used from here.
 *
 * Every sandbox of ours bears the label crex=1, and crex.owner, the program that it belongs to. One without an owner
 * was made to outlive its program; only `all` takes it. Whose sandboxes are looked at is said by the environment alone,
 * since there is no config here. */
#include "deploy/daytona/daytona.h"

#include "base/cleanup.h"
#include "deploy/owner.h"
#include "deploy/server_binary.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ARCHITECTURE "x86_64"

struct sweep {
	struct daytona_client *c;
	const struct deadline *deadline;
	bool all;
	void (*report)(void *arg, const char *what);
	void *report_arg;
	size_t removed;
};

static int sweep_one(void *arg, const json_t *sandbox, struct crex_error *err)
{
	struct sweep *s = arg;
	char what[DAYTONA_ID_SIZE + 32];
	const char *id = daytona_string(sandbox, "id"), *state = daytona_string(sandbox, "state");
	const char *owner = daytona_string(json_object_get(sandbox, "labels"), DAYTONA_LABEL_OWNER);
	bool is_over = state && (strcmp(state, "destroyed") == 0 || strcmp(state, "destroying") == 0);
	if (!id || !*id || is_over || (!s->all && !(owner && owner_is_gone(owner))))
		return 0;
	if (daytona_sandbox_delete(s->c, id, s->deadline, err) < 0)
		return -1;
	snprintf(what, sizeof what, "daytona sandbox %.*s", DAYTONA_ID_SIZE, id);
	if (s->report)
		s->report(s->report_arg, what);
	s->removed++;
	return 0;
}

int daytona_gc(bool all, void (*report)(void *arg, const char *what), void *report_arg, const struct crex_call *call,
	       size_t *ret_removed, struct crex_error *err)
{
	static const struct crex_daytona_config config = CREX_DAYTONA_CONFIG_INIT;
	struct daytona_account account;
	struct deadline deadline;
	deadline_begin(&deadline, call);
	const char *key = getenv("DAYTONA_API_KEY");
	if (!key || !*key)
		return crex_error_set(err, CREX_E_UNSUPPORTED,
				      "DAYTONA_API_KEY is not set, so there is no account to look at");
	if (daytona_account_load(&config, &account, err) < 0)
		return -1;
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	struct sweep s = {&c, &deadline, all, report, report_arg, 0};
	int r = daytona_client_init(&c, &account, err);
	if (r == 0)
		r = daytona_sandbox_list(&c, DAYTONA_LABEL, "1", &deadline, sweep_one, &s, err);
	*ret_removed = s.removed;
	daytona_account_deinit(&account);
	return r;
}

/* ---- doctor ---- */

static int count_one(void *arg, const json_t *sandbox, struct crex_error *err)
{
	(void)sandbox;
	(void)err;
	++*(size_t *)arg;
	return 0;
}

static int ask(const struct daytona_account *account, const struct deadline *deadline, struct crex_text *ret,
	       struct crex_error *err)
{
	cleanup_daytona_client struct daytona_client c = {.channel = NULL};
	size_t n = 0;
	if (daytona_client_init(&c, account, err) < 0 ||
	    daytona_sandbox_list(&c, DAYTONA_LABEL, "1", deadline, count_one, &n, err) < 0)
		return -1;
	cleanup_free char *server = server_binary_find(NULL, ARCHITECTURE, err);
	if (!server)
		return -1;
	int len = asprintf(&ret->data, "%s, target %s, %zu sandboxes of crex; server %s", account->api.url,
			   account->target, n, server);
	if (len < 0) {
		ret->data = NULL;
		return crex_error_set_errno(err, ENOMEM, NULL);
	}
	ret->len = (size_t)len;
	return 0;
}

int daytona_check(const struct crex_call *call, struct crex_text *ret, struct crex_error *err)
{
	static const struct crex_daytona_config config = CREX_DAYTONA_CONFIG_INIT;
	struct daytona_account account;
	struct deadline deadline;
	deadline_begin(&deadline, call);
	if (daytona_account_load(&config, &account, err) < 0)
		return -1;
	int r = ask(&account, &deadline, ret, err);
	daytona_account_deinit(&account);
	return r;
}

/* cli/cmd_up.c: crex up: a sandbox with a name that outlives this command.
 *
 * The lock is held from the first look to the last write, so that of two `up`s of one name one is told. The record is
 * there from the beginning: while the start is under way `ps` shows it, and if this program is killed on the way,
 * `down` and `gc` find by the plan in it what the start has left. */
#include "base/cleanup.h"
#include "cli/names.h"
#include "cli/record.h"
#include "cli/signals.h"
#include "cli/target.h"
#include <errno.h>
#include <string.h>
#include <time.h>

struct up_options {
	struct common_options common;
	struct target_options target;
	double ttl;
};

static const struct option_row up_rows[] = {
	{"ttl", 0, OPTION_SECONDS, "S", "a container ends itself when nobody has used it for so long",
	 offsetof(struct up_options, ttl), NULL},
};

static const struct option_group groups[] = {TARGET_GROUP(offsetof(struct up_options, target)),
					     OPTION_GROUP("The sandbox", up_rows, 0), COMMON_GROUP, JSON_GROUP,
					     OPTION_GROUPS_END};

static int check_free(struct cli *cli, const char *name)
{
	cleanup_sandbox struct sandbox there = {0};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_free char *why = NULL;
	if (names_load(name, &there, &err) < 0)
		return err.code == CREX_E_FILE_NOT_FOUND ? 0 : fail_error(cli, NULL, &err);
	there.is_starting = false; /* the lock is ours */
	const char *status = record_status(&there, 3, cli->cancel, &why);
	if (strcmp(status, "running") == 0)
		return fail(cli, "'%s' is up already: use it (crex exec %s), or crex down %s first", name, name, name);
	if (strcmp(status, "unknown") == 0)
		return fail(cli, "'%s' is on record, and whether it is up can't be told: %s", name, why ? why : "?");
	return fail(cli, "'%s' is still on record but gone: crex down %s first", name, name);
}

/* Puts the state of the started sandbox on record. 0 or an exit code; then it is down again. */
static int keep(struct cli *cli, struct target *target, struct sandbox *s)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct crex_text state = CREX_TEXT_INIT;
	if (crex_deployment_detach(target->d, &state, &err) < 0)
		return fail_error(cli, NULL, &err);
	json_error_t problem;
	json_t *parsed = json_loadb(state.data, state.len, 0, &problem);
	explicit_bzero(state.data, state.len);
	crex_text_clear(&state);
	json_object_set_new(s->record, "state", parsed);
	json_object_del(s->record, "plan");
	if (parsed && names_save(s->name, s->record, &err) == 0)
		return 0;
	fail_error(cli, "the sandbox can't be put on record", &err);
	/* the deployment has let go of it: back, to take it down */
	crex_deployment_free(target->d);
	target->d = sandbox_resume(s, &err);
	return EXIT_CREX;
}

/* null where nothing is known of a sandbox before it is there. */
static int add_plan(struct target *target, json_t *record, struct crex_error *err)
{
	struct crex_text plan = CREX_TEXT_INIT;
	if (crex_deployment_plan(target->d, &plan, err) < 0)
		return err->code == CREX_E_UNSUPPORTED ? 0 : -1;
	json_t *parsed = json_loadb(plan.data, plan.len, 0, NULL);
	crex_text_clear(&plan);
	return json_object_set_new(record, "plan", parsed) < 0 ? crex_error_set_errno(err, ENOMEM, NULL) : 0;
}

static int start(struct cli *cli, const struct up_options *o, struct target *target, struct sandbox *s)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	s->record = json_pack("{s:s, s:s, s:s, s:I, s:n}", "name", s->name, "type", crex_deployment_type(target->d),
			      "target", target->summary, "created", (json_int_t)time(NULL), "state");
	if (!s->record)
		return fail(cli, "out of memory");
	if (add_plan(target, s->record, &err) < 0 || names_save(s->name, s->record, &err) < 0)
		return fail_error(cli, NULL, &err);
	int code = target_start(cli, target, o->target.start_timeout);
	if (code == 0)
		code = keep(cli, target, s);
	if (code != 0) {
		code = target_end(cli, target, code);
		names_remove(s->name, NULL); /* not before: who is killed in between leaves a record */
		return code;
	}
	crex_deployment_free(target->d);
	*target = (struct target){.summary = target->summary};
	signals_may_leave(NULL);
	return 0;
}

static int told(struct cli *cli, const struct sandbox *s)
{
	if (cli->out.json) {
		json_t *described = record_describe(s, false);
		json_object_set_new(described, "status", json_string("running"));
		return print_json(cli, described);
	}
	puts(s->name);
	if (isatty(STDERR_FILENO))
		note(cli, "crex exec %s -- CMD | crex shell %s | crex down %s", s->name, s->name, s->name);
	return finish_stdout(cli);
}

static int up(struct cli *cli, const struct up_options *o, const char *name)
{
	cleanup_sandbox struct sandbox s = {.name = strdup(name)};
	struct target target = {0};
	if (!s.name)
		return fail(cli, "out of memory");
	int code = check_free(cli, name);
	if (code == 0)
		code = target_make(cli, &o->target, true, o->ttl, &target);
	if (code != 0)
		return code;
	const char *type = crex_deployment_type(target.d);
	if (strcmp(type, "local") == 0 || strcmp(type, "dummy") == 0) {
		fail(cli, "a %s sandbox ends with its program: `crex serve` here, then crex up %s --remote URL", type,
		     name);
		return target_end(cli, &target, EXIT_CREX);
	}
	code = start(cli, o, &target, &s);
	free(target.summary);
	return code == 0 ? told(cli, &s) : code;
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	if (operands->n == 0)
		return fail(cli, "up needs a name: crex up NAME --image IMAGE");
	const char *name = operands->items[0];
	int lock = names_check(name, &err) == 0 ? names_lock(name, &err) : -1;
	if (lock < 0)
		return fail_error(cli, NULL, &err);
	int code = up(cli, options, name);
	names_unlock(name, lock);
	return code;
}

const struct command command_up = {
	.name = "up",
	.summary = "start a sandbox with a name, which stays until `crex down`",
	.usage = "NAME --image IMAGE | --deployment FILE | --remote URL [OPTION...]",
	.about = "Prints the name when the sandbox is ready. FILE is a JSON object: {\"type\": \"docker\", \"image\": "
		 "...};\n"
		 "docs/docker.md and docs/deployments.md tell its fields. With --remote a running server gets a name.",
	.examples = "crex up web --image python:3.12\n"
		    "crex up big --deployment fargate.json -v\n"
		    "crex up build --remote https://build.example --token-file ~/.build-token\n"
		    "crex up scratch --image debian:12 --ttl 3600",
	.groups = groups,
	.options_size = sizeof(struct up_options),
	.max_operands = 1,
	.run = run,
};

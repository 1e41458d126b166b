/* cli/cmd_doctor.c: crex doctor: what works on this machine, and what to do about what doesn't.
 *
 * Each kind of deployment looks after itself (crex_deployment_check); here is what belongs to none of them. Nothing is
 * an error as long as commands can be run somewhere: the exit code is 1 only when they can't be at all. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/names.h"
#include "cli/parallel.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CHECK_SECONDS 10.0
enum { CHECKS_MAX = 32 };

static const struct option_group groups[] = {COMMON_GROUP, JSON_GROUP, OPTION_GROUPS_END};

struct check {
	const char *name;
	const char *type; /* of a deployment; NULL: one of ours */
	bool (*look)(char **ret_says);
	bool is_place; /* commands can be run there when it works */
	bool works;
	char *says; /* owned */
};

struct doctor {
	struct cli *cli;
	struct check checks[CHECKS_MAX];
	size_t n;
};

static char *say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *say(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : text;
}

static char *find_in_path(const char *name)
{
	const char *path = getenv("PATH");
	for (const char *at = path ? path : ""; *at;) {
		size_t len = strcspn(at, ":");
		char *file = say("%.*s/%s", (int)len, at, name);
		if (file && len > 0 && access(file, X_OK) == 0)
			return file;
		free(file);
		at += len + (at[len] == ':');
	}
	return NULL;
}

static bool look_local(char **ret)
{
	cleanup_free char *bash = find_in_path("bash");
	cleanup_fd int terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (!bash)
		*ret = say("no bash in PATH: install it, sessions need one");
	else if (terminal < 0)
		*ret = say("/dev/ptmx can't be opened (%m): mount devpts, sessions need a terminal");
	else
		*ret = say("%s, terminals: commands can run here, without any sandbox (--local)", bash);
	return bash && terminal >= 0;
}

static bool look_server(const char *architecture, char **ret)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct crex_text path = CREX_TEXT_INIT;
	bool found = crex_server_binary(architecture, &path, &err) == 0;
	*ret = say("%s", found ? path.data : err.message);
	crex_text_clear(&path);
	return found;
}

static bool look_x86_64(char **ret)
{
	return look_server("x86_64", ret);
}

static bool look_aarch64(char **ret)
{
	return look_server("aarch64", ret);
}

static bool look_state(char **ret)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_free char *path = state_path("sandboxes", &err);
	*ret = say("%s", path ? path : err.message);
	return path;
}

static void look(void *arg, size_t i)
{
	struct doctor *doctor = arg;
	struct check *c = &doctor->checks[i];
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	const struct crex_call call = {CHECK_SECONDS, doctor->cli->cancel};
	struct crex_text says = CREX_TEXT_INIT;
	if (c->look) {
		c->works = c->look(&c->says);
		return;
	}
	c->works = crex_deployment_check(c->type, &call, &says, &err) == 0;
	const char *text = c->works ? says.data : err.message ? err.message : crex_error_name(err.code);
	size_t len = strlen(c->type); /* the table has the name already */
	if (strncmp(text, c->type, len) == 0 && strncmp(text + len, ": ", 2) == 0)
		text += len + 2;
	c->says = say("%s", text);
	crex_text_clear(&says);
}

static void add(struct doctor *d, struct check check)
{
	if (d->n < CHECKS_MAX)
		d->checks[d->n++] = check;
}

static void list_checks(struct doctor *d)
{
	add(d, (struct check){.name = "local", .look = look_local, .is_place = true});
	for (const char *const *type = crex_deployment_types(); *type; type++)
		if (strcmp(*type, "local") != 0 && strcmp(*type, "remote") != 0 && strcmp(*type, "dummy") != 0)
			add(d, (struct check){.name = *type, .type = *type, .is_place = true});
	add(d, (struct check){.name = "server x86_64", .look = look_x86_64});
	add(d, (struct check){.name = "server aarch64", .look = look_aarch64});
	add(d, (struct check){.name = "state", .look = look_state});
}

static int show_json(struct cli *cli, const struct doctor *d, bool usable)
{
	json_t *checks = json_array();
	for (size_t i = 0; i < d->n; i++)
		json_array_append_new(checks, json_pack("{s:s, s:b, s:s}", "name", d->checks[i].name, "works",
							(int)d->checks[i].works, "message",
							d->checks[i].says ? d->checks[i].says : ""));
	return print_json(cli, json_pack("{s:b, s:o}", "works", (int)usable, "checks", checks));
}

static int show(struct cli *cli, const struct doctor *d)
{
	clear_line(cli);
	for (size_t i = 0; i < d->n; i++) {
		const struct check *c = &d->checks[i];
		print_colored(cli, c->works ? COLOR_GREEN : COLOR_YELLOW, c->works ? "ok" : "--", 4);
		print_colored(cli, COLOR_BOLD, c->name, 16);
		const char *says = c->says ? c->says : "";
		for (bool first = true; *says || first; first = false) {
			size_t len = strcspn(says, "\n");
			printf("%*s%.*s\n", first ? 0 : 20, "", (int)len, says);
			says += len + (says[len] == '\n');
		}
	}
	return finish_stdout(cli);
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	(void)options, (void)operands;
	struct doctor d = {.cli = cli};
	bool usable = false;
	list_checks(&d);
	show_step(cli, "Looking around");
	parallel(d.n, look, &d);
	for (size_t i = 0; i < d.n; i++)
		usable |= d.checks[i].works && d.checks[i].is_place;
	int code = cli->out.json ? show_json(cli, &d, usable) : show(cli, &d);
	if (!usable && !cli->out.json)
		fail(cli, "commands can't be run anywhere from here: mend one of the above");
	for (size_t i = 0; i < d.n; i++)
		free(d.checks[i].says);
	return code ? code : !usable;
}

const struct command command_doctor = {
	.name = "doctor",
	.summary = "say what works on this machine and what is missing",
	.usage = "[OPTION...]",
	.about = "Looks for bash and terminals, engines, the server's files, credentials. The exit code is 1 when "
		 "commands\n"
		 "can't be run anywhere.",
	.examples = "crex doctor\ncrex doctor --json",
	.groups = groups,
	.options_size = sizeof(struct common_options),
	.run = run,
};

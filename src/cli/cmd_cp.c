/* cli/cmd_cp.c: crex cp: files and directories, in and out. */
#include "base/cleanup.h"
#include "cli/copy.h"
#include "cli/target.h"
#include <string.h>

static const struct option_group groups[] = {COMMON_GROUP, OPTION_GROUPS_END};

/* "NAME:PATH"; what has a '/' before the colon is a path here. caller frees; NULL: a local path. */
static char *name_in(const char *operand, const char **ret_path)
{
	const char *colon = strchr(operand, ':');
	char *name = colon ? strndup(operand, (size_t)(colon - operand)) : NULL;
	if (name && names_check(name, NULL) == 0) {
		*ret_path = colon + 1;
		return name;
	}
	free(name);
	return NULL;
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	(void)options;
	if (operands->n < 2)
		return fail(cli, "cp needs two places: crex cp FILE NAME:PATH, or crex cp NAME:PATH FILE");
	const char *from = operands->items[0], *to = operands->items[1], *path = NULL;
	cleanup_free char *source = name_in(from, &path);
	cleanup_free char *target_name = name_in(to, source ? &(const char *){NULL} : &path);
	struct target target = {0};
	if (source && target_name)
		return fail(cli, "not from one sandbox to another: copy it here first");
	if (!source && !target_name)
		return fail(cli, "one of the two places must be in a sandbox: NAME:PATH");
	int code = target_open(cli, source ? source : target_name, &target);
	if (code != 0)
		return code;
	code = source ? copy_out(cli, target.rt, path, to) : copy_in(cli, target.rt, from, path);
	return target_end(cli, &target, code);
}

const struct command command_cp = {
	.name = "cp",
	.summary = "copy files and directories into a sandbox and out of it",
	.usage = "LOCAL NAME:PATH\nNAME:PATH LOCAL",
	.about = "As cp -r: into the target when that is a directory, else it becomes the target. LOCAL - is standard\n"
		 "output. A local name with a colon in it is written ./NAME. Directories need tar in the sandbox on "
		 "their\n"
		 "way out.",
	.examples = "crex cp ./src web:/srv\n"
		    "crex cp web:/var/log ./logs\n"
		    "crex cp web:/etc/os-release - | head -n 1",
	.groups = groups,
	.options_size = sizeof(struct common_options),
	.max_operands = 2,
	.has_names = true,
	.has_files = true,
	.run = run,
};

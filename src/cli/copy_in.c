/* cli/copy_in.c: an upload under the rules of cp: the library says "this to there", cp also "into this directory".
 *
 * Whether the target is a directory only the sandbox knows; it is asked by its own `test`. Where there is none (an
 * image with a shell and nothing else), the target is taken by its word. */
#include "cli/copy.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/joined.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct transfer {
	struct cli *cli;
	const char *what;
};

static void on_progress(void *arg, unsigned long long done, unsigned long long total)
{
	const struct transfer *t = arg;
	show_progress(t->cli, t->what, done, total, true);
}

static bool is_directory_there(struct cli *cli, struct crex_runtime *rt, const char *path)
{
	const struct crex_str words[] = {CREX_STR("test \"$1\" = / || test -d \"$1\""), CREX_STR("sh"),
					 crex_str_of(path)};
	struct crex_execute_request request = CREX_EXECUTE_REQUEST_INIT;
	struct crex_execute_result result = CREX_EXECUTE_RESULT_INIT;
	const struct crex_call call = {30, cli->cancel};
	request.command = (struct crex_str_list){words, 3};
	request.command_is_list = true;
	request.shell = true;
	if (crex_runtime_execute(rt, &request, &call, &result, NULL) < 0)
		return false;
	bool yes = result.exit_code == 0;
	crex_execute_result_clear(&result);
	return yes;
}

/* A lone file's upload has no mode with it; a tool that can't be run any more would be no copy. */
static void keep_executable(struct cli *cli, struct crex_runtime *rt, const char *path)
{
	const struct crex_str words[] = {CREX_STR("chmod"), CREX_STR("a+x"), CREX_STR("--"), crex_str_of(path)};
	struct crex_execute_request request = CREX_EXECUTE_REQUEST_INIT;
	struct crex_execute_result result = CREX_EXECUTE_RESULT_INIT;
	const struct crex_call call = {30, cli->cancel};
	request.command = (struct crex_str_list){words, 4};
	request.command_is_list = true;
	if (crex_runtime_execute(rt, &request, &call, &result, NULL) < 0 || result.exit_code != 0)
		note(cli, "crex: %s could not be made executable there", path);
	crex_execute_result_clear(&result);
}

const char *last_part(const char *path, char *part, size_t size)
{
	size_t end = strlen(path);
	while (end > 0 && path[end - 1] == '/')
		end--;
	size_t begin = end;
	while (begin > 0 && path[begin - 1] != '/')
		begin--;
	snprintf(part, size, "%.*s", (int)(end - begin), path + begin);
	if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
		*part = '\0';
	return part;
}

int copy_in(struct cli *cli, struct crex_runtime *rt, const char *from, const char *to)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_buf struct buf target;
	char name[256];
	struct stat st;
	buf_init(&target, 1 << 16);
	if (stat(from, &st) < 0)
		return fail(cli, "%s: %m", from);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return fail(cli, "%s: neither a file nor a directory", from);
	if (!*to)
		to = ".";
	bool into = to[strlen(to) - 1] == '/' || is_directory_there(cli, rt, to);
	last_part(from, name, sizeof name);
	if (buf_append_str(&target, to) < 0 ||
	    (into && *name && buf_printf(&target, "%s%s", to[strlen(to) - 1] == '/' ? "" : "/", name) < 0))
		return fail(cli, "the path is too long");
	struct transfer transfer = {cli, *name ? name : from};
	struct crex_upload_request request = CREX_UPLOAD_REQUEST_INIT;
	request.source_path = crex_str_of(from);
	request.target_path = (struct crex_str){target.data, target.len};
	request.progress = on_progress;
	request.progress_arg = &transfer;
	const struct crex_call call = {CREX_NO_TIMEOUT, cli->cancel};
	int r = crex_runtime_upload(rt, &request, &call, &err);
	if (r == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IXUSR))
		keep_executable(cli, rt, target.data);
	clear_line(cli);
	return r < 0 ? fail_error(cli, from, &err) : 0;
}

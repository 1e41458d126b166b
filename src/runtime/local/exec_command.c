/* runtime/local/exec_command.c: from an execute request to argv, environment and search path, as subprocess.run does.
 *
 * A string without shell is the program's name, blanks and all; with shell it is sh's script; a list with shell is the
 * script and its $0 $1 ... The program is searched in the PATH of the environment that the child gets, and in
 * /bin:/usr/bin when that has none (os.get_exec_path). All copies live in one block: pointers first, then the bytes.
 *
 * Python raises IndexError for an empty list; its base class LookupError stands in for it. */
#include "runtime/local/exec_command.h"

#include "proc/spawn.h"
#include "base/pyrepr.h"
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MAX = 1 << 30 };

static size_t total_len(struct crex_str_list list)
{
	size_t sum = 0;
	for (size_t i = 0; i < list.count; i++)
		sum += list.items[i].len + 1;
	return sum;
}

static bool has_nul(struct crex_str s)
{
	return s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL;
}

static bool list_has_nul(struct crex_str_list list)
{
	for (size_t i = 0; i < list.count; i++)
		if (has_nul(list.items[i]))
			return true;
	return false;
}

static char *place(char **at, struct crex_str s)
{
	char *copy = *at;
	if (s.len)
		memcpy(copy, s.ptr, s.len);
	copy[s.len] = '\0';
	*at += s.len + 1;
	return copy;
}

static const char *path_of(char *const *envp)
{
	const char *found = NULL;
	for (; envp && *envp; envp++)
		if (strncmp(*envp, "PATH=", 5) == 0)
			found = *envp + 5;
	return found;
}

int exec_command_init(struct exec_command *c, const struct crex_execute_request *req, char *const *envp,
		      struct crex_error *err)
{
	static const struct crex_str sh[2] = {CREX_STR("/bin/sh"), CREX_STR("-c")};
	if (req->command.count == 0 && !req->shell)
		return crex_error_set(err, CREX_E_LOOKUP, "list index out of range");
	if (list_has_nul(req->command) || (req->has_env && list_has_nul(req->env)) || has_nul(req->cwd))
		return crex_error_set(err, CREX_E_VALUE, "embedded null byte");
	size_t prefix = req->shell ? 2 : 0;
	size_t argc = prefix + req->command.count;
	size_t envc = req->has_env ? req->env.count : 0;
	size_t bytes =
		sizeof "/bin/sh" + sizeof "-c" + total_len(req->command) + req->cwd.len + 1 + req->error_msg.len + 1;
	if (req->has_env)
		bytes += total_len(req->env);
	char **pointers = malloc((argc + envc + 2) * sizeof *pointers + bytes);
	if (!pointers)
		return crex_error_set(err, CREX_E_MEMORY, "out of memory");
	char *at = (char *)(pointers + argc + envc + 2);
	*c = (struct exec_command){
		.block = pointers,
		.argv = pointers,
		.shown = pointers + prefix,
		.n_shown = req->command.count,
		.is_list = req->command_is_list,
		.check = req->check,
		.merge = req->merge_output_streams,
		.timeout = req->timeout,
	};
	for (size_t i = 0; i < argc; i++)
		c->argv[i] = place(&at, i < prefix ? sh[i] : req->command.items[i - prefix]);
	c->argv[argc] = NULL;
	char **own_env = pointers + argc + 1;
	for (size_t i = 0; i < envc; i++)
		own_env[i] = place(&at, req->env.items[i]);
	own_env[envc] = NULL;
	c->envp = req->has_env ? own_env : envp;
	c->search_path = path_of(c->envp);
	c->cwd = req->cwd.ptr ? place(&at, req->cwd) : NULL;
	c->error_msg = place(&at, req->error_msg);
	c->error_msg_len = req->error_msg.len;
	return 0;
}

void exec_command_deinit(struct exec_command *c)
{
	free(c->block);
	*c = (struct exec_command){0};
}

int exec_command_spawn_error(const struct exec_command *c, int stage, int errnum, struct crex_error *err)
{
	const char *path = stage == PROC_STAGE_EXEC ? c->argv[0] : stage == PROC_STAGE_CHDIR ? c->cwd : NULL;
	return crex_error_set_errno(err, errnum, path);
}

static int append_command(const struct exec_command *c, struct buf *out)
{
	if (!c->is_list && c->n_shown > 0)
		return pyrepr_str(out, c->shown[0], strlen(c->shown[0]));
	int r = buf_append_char(out, '[');
	for (size_t i = 0; i < c->n_shown && r == 0; i++) {
		if (i > 0)
			r = buf_append_str(out, ", ");
		if (r == 0)
			r = pyrepr_str(out, c->shown[i], strlen(c->shown[i]));
	}
	return r < 0 ? r : buf_append_char(out, ']');
}

static int set(struct crex_error *err, enum crex_error_code code, const struct buf *message, struct crex_str out,
	       struct crex_str errs)
{
	crex_error_set_bytes(err, code, message->data ? message->data : "", message->len);
	crex_error_add(err, "stdout", out.ptr ? out.ptr : "", out.len);
	crex_error_add(err, "stderr", errs.ptr ? errs.ptr : "", errs.len);
	return -1;
}

/* When memory runs out on the way the message is what fitted: its beginning says the most. */
int exec_command_timeout_error(const struct exec_command *c, struct crex_str out, struct crex_str errs,
			       struct crex_error *err)
{
	cleanup_buf struct buf message;
	buf_init(&message, MESSAGE_MAX);
	int r = buf_append_str(&message, "Timeout (");
	if (r == 0)
		r = pyrepr_float(&message, c->timeout);
	if (r == 0)
		r = buf_append_str(&message, "s) exceeded while running command");
	if (r == 0 && out.len && (r = buf_append_str(&message, "\nStdout so far:\n")) == 0)
		r = buf_append(&message, out.ptr, out.len);
	if (r == 0 && errs.len && (r = buf_append_str(&message, "\nStderr so far:\n")) == 0)
		buf_append(&message, errs.ptr, errs.len);
	return set(err, CREX_E_COMMAND_TIMEOUT, &message, out, errs);
}

int exec_command_check_error(const struct exec_command *c, int code, struct crex_str out, struct crex_str errs,
			     struct crex_error *err)
{
	cleanup_buf struct buf message;
	buf_init(&message, MESSAGE_MAX);
	int r = 0;
	if (c->error_msg_len > 0 && (r = buf_append(&message, c->error_msg, c->error_msg_len)) == 0)
		r = buf_append_str(&message, ": ");
	if (r == 0)
		r = buf_append_str(&message, "Command ");
	if (r == 0)
		r = append_command(c, &message);
	if (r == 0)
		r = buf_printf(&message, " failed with exit code %d. Stdout:\n", code);
	if (r == 0)
		r = pyrepr_str(&message, out.ptr ? out.ptr : "", out.len);
	if (r == 0)
		r = buf_append_str(&message, "\nStderr:\n");
	if (r == 0)
		pyrepr_str(&message, errs.ptr ? errs.ptr : "", errs.len);
	return set(err, CREX_E_NON_ZERO_EXIT_CODE, &message, out, errs);
}

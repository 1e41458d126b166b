/* cli/cmd_serve.c: crex serve: becomes swerex-remote, with a token when none was given.
 *
 * The server's defaults are made for the inside of a sandbox: it listens on all addresses there. Here, on somebody's
 * own machine, the loopback is meant unless another address is named. A token of ours lies in a file, whose name is
 * printed; it reaches the server by the environment. It is made once and used again: a second server, or one that can't
 * even start, must not take away what the clients of the first one were given. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/names.h"
#include "cli/joined.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>

enum { TOKEN_BYTES = 24, TOKEN_LENGTH = 2 * TOKEN_BYTES };

static const struct option_group groups[] = {COMMON_GROUP, OPTION_GROUPS_END};

static bool is_given(const struct operands *o, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < o->n; i++)
		if (strncmp(o->items[i], name, len) == 0 && (o->items[i][len] == '\0' || o->items[i][len] == '='))
			return true;
	return false;
}

/* The static one that sandboxes get, else one beside this program. NULL: only PATH is left. */
static char *find_server(void)
{
	static const char *const beside[] = {"/swerex-remote", "/../server/swerex-remote"};
	struct utsname machine;
	struct crex_text path = CREX_TEXT_INIT;
	char here[PATH_MAX], there[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", here, sizeof here - 1);
	here[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(here, '/');
	for (size_t i = 0; i < sizeof beside / sizeof *beside && slash; i++) {
		snprintf(there, sizeof there, "%.*s%s", (int)(slash - here), here, beside[i]);
		if (access(there, X_OK) == 0)
			return strdup(there);
	}
	if (uname(&machine) == 0 && crex_server_binary(machine.machine, &path, NULL) == 0)
		return path.data;
	return NULL;
}

/* Only as we have made it, and as nobody else can have read it. */
static bool read_token(const char *path, char *token)
{
	struct stat st;
	char newline;
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
		return false;
	if (st.st_size != TOKEN_LENGTH + 1 || read(fd, token, TOKEN_LENGTH) != TOKEN_LENGTH ||
	    read(fd, &newline, 1) != 1 || newline != '\n')
		return false;
	token[TOKEN_LENGTH] = '\0';
	return strspn(token, "0123456789abcdef") == TOKEN_LENGTH;
}

static int write_token(struct cli *cli, const char *path, char *token)
{
	unsigned char random[TOKEN_BYTES];
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return fail(cli, "no random numbers: %m");
	for (size_t i = 0; i < sizeof random; i++)
		sprintf(token + 2 * i, "%02x", random[i]);
	unlink(path);
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write_all(fd, token, TOKEN_LENGTH) < 0 || write_all(fd, "\n", 1) < 0)
		return fail(cli, "%s: %m", path);
	return 0;
}

static int find_token(struct cli *cli, char *token)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_free char *path = state_path("serve-token", &err);
	if (!path)
		return fail_error(cli, NULL, &err);
	int r = read_token(path, token) ? 0 : write_token(cli, path, token);
	if (r != 0)
		return r;
	note(cli, "crex: the token is in %s: crex shell --remote URL --token-file %s", path, path);
	return 0;
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	(void)options;
	char token[TOKEN_LENGTH + 1];
	const char *set = getenv("SWEREX_AUTH_TOKEN");
	if (!(set && *set) && !is_given(operands, "--auth-token") && !is_given(operands, "--auth-token-file")) {
		int r = find_token(cli, token);
		if (r != 0)
			return r;
		setenv("SWEREX_AUTH_TOKEN", token, 1);
	}
	cleanup_free char *server = find_server();
	cleanup_free char **argv = calloc(operands->n + 4, sizeof *argv);
	if (!argv)
		return fail(cli, "out of memory");
	char name[] = "swerex-remote", host[] = "--host", loopback[] = "127.0.0.1";
	size_t n = 0;
	argv[n++] = name;
	if (!is_given(operands, "--host") && !is_given(operands, "--unix-socket")) {
		argv[n++] = host;
		argv[n++] = loopback;
	}
	for (size_t i = 0; i < operands->n; i++)
		argv[n++] = operands->items[i];
	if (server)
		execv(server, argv);
	else
		execvp(name, argv);
	return fail(cli, errno == ENOENT ? "there is no swerex-remote: make it (script/build), put it into PATH or set "
					   "CREX_SERVER_DIR"
					 : "swerex-remote can't be started: %m");
}

const struct command command_serve = {
	.name = "serve",
	.summary = "start a server on this machine",
	.usage = "[OPTION of swerex-remote...]",
	.about = "Runs swerex-remote until Ctrl-C; swerex-remote(1) has its options. It listens on 127.0.0.1 unless "
		 "--host\n"
		 "says otherwise. Without a token (--auth-token-file, SWEREX_AUTH_TOKEN) one is made and kept in a "
		 "file.",
	.examples = "crex serve\n"
		    "crex serve --port 0\n"
		    "crex serve --unix-socket /run/user/1000/crex.sock",
	.groups = groups,
	.options_size = sizeof(struct common_options),
	.max_operands = -1,
	.passes_on = true,
	.run = run,
};

/* server/options.c: one table of options, from which parsing, defaults and --help are made.
 *
 * A row says where its value goes and how it is read; a new option is one row (and a paragraph in the manual page,
 * which a test compares with this table). Sizes take K, M, G; times are seconds with a fraction.
 *
 * The token comes from the first of: --auth-token, --auth-token-file, SWEREX_AUTH_TOKEN. A command line is readable by
 * every process of the sandbox, so that the two others are better; what was on the command line is overwritten as soon
 * as it is read. An empty token given on purpose (--auth-token "") switches the check off; none at all is an error. */
#include "server/options.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { KIND_STRING, KIND_COUNT, KIND_SIZE, KIND_SECONDS, KIND_FLAG, KIND_HELP, KIND_VERSION, KIND_ROUTES };

struct row {
	const char *name;
	const char *arg;   /* NULL: takes none */
	const char *value; /* default, as it would be typed; NULL: none */
	const char *help;  /* NULL: hidden */
	size_t at;
	enum kind kind;
	uint64_t min, max;
	const char *env; /* names the variable that counts where the option isn't given */
};

#define AT(member) offsetof(struct options, member)
#define MANY UINT64_C(1000000)
#define HUGE_SIZE (UINT64_C(1) << 40)
#define FIT_LEAST UINT64_C(65536)
#define LONG_MS (UINT64_C(1000) * 86400 * 365)

static const struct row rows[] = {
	{"--auth-token", "TOKEN", NULL, "token that clients send as X-API-Key; empty: no check", AT(token), KIND_STRING,
	 0, 0},
	{"--auth-token-file", "FILE", NULL, "read the token from FILE (also: environment SWEREX_AUTH_TOKEN)",
	 AT(token_file), KIND_STRING, 0, 0},
	{"--host", "ADDR", "0.0.0.0", "IPv4 or IPv6 address, or a name in /etc/hosts", AT(host), KIND_STRING, 0, 0},
	{"--port", "N", "8000", "TCP port; 0 picks a free one, see the line on stdout", AT(port), KIND_COUNT, 0, 65535},
	{"--unix-socket", "PATH", NULL, "listen on a Unix socket (mode 0600) instead of TCP", AT(unix_socket),
	 KIND_STRING, 0, 0},
	{"--max-body", "SIZE", "64M", "request body, uploads excepted", AT(max_body), KIND_SIZE, 1024, HUGE_SIZE},
	{"--max-header", "SIZE", "64K", "request line and headers", AT(max_header), KIND_SIZE, 1024, 1 << 24},
	{"--max-sessions", "N", "1024", "open sessions", AT(max_sessions), KIND_COUNT, 1, MANY},
	{"--max-connections", "N", "1024", "open connections", AT(max_connections), KIND_COUNT, 2, MANY},
	{"--max-queue", "N", "256", "requests waiting in one session", AT(max_queue), KIND_COUNT, 1, MANY},
	{"--max-output", "SIZE", "64M", "output kept of one command; beyond it the middle is cut", AT(max_output),
	 KIND_SIZE, 4096, HUGE_SIZE},
	{"--max-file", "SIZE", "64M", "text that read_file returns", AT(max_file), KIND_SIZE, 1024, HUGE_SIZE},
	{"--max-unzip", "SIZE", "0", "what one uploaded archive may expand to; 0: no limit", AT(max_unzip), KIND_SIZE,
	 0, UINT64_C(1) << 60},
	{"--max-backlog", "SIZE", "256M", "replies waiting for slow readers, all together", AT(max_backlog), KIND_SIZE,
	 65536, HUGE_SIZE},
	{"--idle-timeout", "SECONDS", "120", "a connection that neither sends nor takes a byte is closed",
	 AT(idle_timeout_ms), KIND_SECONDS, 100, LONG_MS},
	{"--header-timeout", "SECONDS", "20", "for a request's line and headers, from the first byte",
	 AT(header_timeout_ms), KIND_SECONDS, 100, LONG_MS},
	{"--min-rate", "SIZE", "512", "bytes a second of a request's body, averaged over the idle time; 0: any",
	 AT(min_rate), KIND_SIZE, 0, 1 << 30},
	{"--idempotency-count", "N", "4096", "replies kept for repeated request ids", AT(idempotency_count), KIND_COUNT,
	 0, MANY},
	{"--idempotency-bytes", "SIZE", "64M", "their size, all together", AT(idempotency_bytes), KIND_SIZE, 0,
	 HUGE_SIZE},
	{"--idempotency-age", "SECONDS", "600", "for how long after the last use", AT(idempotency_age_ms), KIND_SECONDS,
	 0, LONG_MS},
	{"--host-timeout", "SECONDS", "0",
	 "end when no client was there for that long; 0: never (also: SWEREX_HOST_TIMEOUT)", AT(host_timeout_ms),
	 KIND_SECONDS, 0, LONG_MS, OPTIONS_HOST_TIMEOUT_ENV},
	{"--log-format", "FORMAT", "text", "text or json", AT(log_format), KIND_STRING, 0, 0},
	{"--log-level", "LEVEL", NULL,
	 "debug, info, warning, error or a number (else SWE_REX_LOG_STREAM_LEVEL, else info)", AT(log_level),
	 KIND_STRING, 0, 0},
	{"--no-guardian", NULL, NULL, "run without the process that cleans up after a killed server", AT(no_guardian),
	 KIND_FLAG, 0, 0},
	{"--help", NULL, NULL, "this text", 0, KIND_HELP, 0, 0},
	{"--version", NULL, NULL, "the SWE-ReX version that this server is compatible with", 0, KIND_VERSION, 0, 0},
	{"--print-routes", NULL, NULL, NULL, 0, KIND_ROUTES, 0, 0},
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

const char *options_name(size_t i)
{
	return i < N_ROWS ? rows[i].name : NULL;
}

void options_deinit(struct options *opt)
{
	char *owned[] = {opt->token, opt->token_file, opt->host, opt->unix_socket, opt->log_format, opt->log_level};
	if (opt->token)
		explicit_bzero(opt->token, strlen(opt->token));
	for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
		free(owned[i]);
	*opt = (struct options){0};
}

static bool read_size(const char *text, uint64_t *ret)
{
	char *end = NULL;
	errno = 0;
	unsigned long long n = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
	if (!end || errno != 0)
		return false;
	unsigned shift = 0;
	switch (*end) {
	case 'k':
	case 'K': shift = 10; break;
	case 'm':
	case 'M': shift = 20; break;
	case 'g':
	case 'G': shift = 30; break;
	default: break;
	}
	if (shift)
		end++;
	if (*end != '\0' || n > UINT64_MAX >> shift)
		return false;
	*ret = (uint64_t)n << shift;
	return true;
}

static bool read_seconds(const char *text, uint64_t *ret_ms)
{
	char *end = NULL;
	double s = (text[0] >= '0' && text[0] <= '9') || text[0] == '.' ? strtod(text, &end) : -1;
	if (!end || *end != '\0' || !isfinite(s) || s < 0 || s > 1e12)
		return false;
	*ret_ms = (uint64_t)(s * 1000 + 0.5);
	return true;
}

static enum options_result bad(struct buf *error, const char *what, const char *name, const char *value)
{
	buf_printf(error, "%s: %s%s%s", what, name, value ? " " : "", value ? value : "");
	return OPTIONS_BAD;
}

static enum options_result set(struct options *opt, const struct row *row, const char *value, struct buf *error)
{
	char *base = (char *)opt + row->at;
	uint64_t n = 0;
	switch (row->kind) {
	case KIND_STRING: {
		char **slot = (char **)(void *)base;
		free(*slot);
		*slot = strdup(value);
		return *slot ? OPTIONS_RUN : bad(error, "out of memory", row->name, NULL);
	}
	case KIND_FLAG: *(bool *)base = true; return OPTIONS_RUN;
	case KIND_COUNT:
		if (!read_size(value, &n) || strpbrk(value, "kKmMgG"))
			return bad(error, "not a number", row->name, value);
		break;
	case KIND_SIZE:
		if (!read_size(value, &n))
			return bad(error, "not a size", row->name, value);
		break;
	case KIND_SECONDS:
		if (!read_seconds(value, &n))
			return bad(error, "not a time in seconds", row->name, value);
		break;
	case KIND_HELP: return OPTIONS_HELP;
	case KIND_VERSION: return OPTIONS_VERSION;
	case KIND_ROUTES: return OPTIONS_ROUTES;
	}
	if (n < row->min || n > row->max)
		return bad(error, "out of range", row->name, value);
	*(uint64_t *)(void *)base = n;
	return OPTIONS_RUN;
}

/* "--name" or "--name=value"; *ret_value points behind the '=' or is NULL. */
static const struct row *find(const char *arg, const char **ret_value)
{
	*ret_value = NULL;
	if (strcmp(arg, "-v") == 0)
		arg = "--version";
	else if (strcmp(arg, "-h") == 0)
		arg = "--help";
	size_t len = strcspn(arg, "=");
	for (size_t i = 0; i < N_ROWS; i++) {
		if (strncmp(rows[i].name, arg, len) == 0 && rows[i].name[len] == '\0') {
			*ret_value = arg[len] == '=' ? arg + len + 1 : NULL;
			return &rows[i];
		}
	}
	return NULL;
}

static enum options_result parse_args(struct options *opt, int argc, char *const *argv, struct buf *error)
{
	for (int i = 1; i < argc; i++) {
		const char *value;
		const struct row *row = find(argv[i], &value);
		if (!row) /* only the part before '=': the rest could be a mistyped option's secret */
			return buf_printf(error, "unknown argument: %.*s", (int)strcspn(argv[i], "="), argv[i]),
			       OPTIONS_BAD;
		if (row->arg && !value) {
			if (++i == argc)
				return bad(error, "a value is missing", row->name, NULL);
			value = argv[i];
		} else if (!row->arg && value) {
			return bad(error, "takes no value", row->name, NULL);
		}
		if (row->kind == KIND_VERSION && argc != 2)
			return bad(error, "must be the only argument", row->name, NULL);
		enum options_result r = set(opt, row, value, error);
		if (r != OPTIONS_RUN)
			return r;
	}
	return OPTIONS_RUN;
}

static enum options_result read_token_file(struct options *opt, struct buf *error)
{
	enum { TOKEN_MAX = 65536 };
	cleanup_fd int fd = open(opt->token_file, O_RDONLY | O_CLOEXEC);
	struct buf text cleanup_buf;
	buf_init(&text, TOKEN_MAX);
	char part[4096];
	ssize_t n = fd < 0 ? -1 : 0;
	while (fd >= 0 && (n = read(fd, part, sizeof part)) > 0) {
		if (buf_append(&text, part, (size_t)n) < 0)
			return bad(error, "token file too large", opt->token_file, NULL);
	}
	if (n < 0)
		return bad(error, "can't read the token file", opt->token_file, strerror(errno));
	while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
		text.len--;
	if (text.len == 0 || memchr(text.data, '\0', text.len)) /* an empty file is a failed mount, not a wish */
		return bad(error, "no token in the token file", opt->token_file, NULL);
	opt->token = strndup(text.data, text.len);
	explicit_bzero(text.data, text.len);
	return opt->token ? OPTIONS_RUN : bad(error, "out of memory", "--auth-token-file", NULL);
}

static enum options_result find_token(struct options *opt, char *(*get_env)(const char *name), struct buf *error)
{
	if (opt->token)
		return OPTIONS_RUN;
	if (opt->token_file)
		return read_token_file(opt, error);
	const char *env = get_env("SWEREX_AUTH_TOKEN");
	if (!env || !*env)
		return buf_append_str(error, "a token is needed: --auth-token, --auth-token-file or SWEREX_AUTH_TOKEN"),
		       OPTIONS_BAD;
	opt->token = strdup(env);
	return opt->token ? OPTIONS_RUN : bad(error, "out of memory", "SWEREX_AUTH_TOKEN", NULL);
}

static enum options_result read_logging(struct options *opt, char *(*get_env)(const char *name), struct buf *error)
{
	opt->format = strcmp(opt->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	if (opt->format == LOG_FORMAT_TEXT && strcmp(opt->log_format, "text") != 0)
		return bad(error, "neither text nor json", "--log-format", opt->log_format);
	opt->level = LOG_LEVEL_INFO;
	if (opt->log_level)
		return log_level_parse(opt->log_level, &opt->level) == 0
			       ? OPTIONS_RUN
			       : bad(error, "not a level", "--log-level", opt->log_level);
	/* A wrong value in the environment is no reason not to start. */
	const char *env = get_env("SWE_REX_LOG_STREAM_LEVEL");
	if (env && *env)
		(void)log_level_parse(env, &opt->level);
	return OPTIONS_RUN;
}

/* Defaults that are too large for a small sandbox shrink with it: an output of control bytes takes six times its size
 * as JSON, in two streams, and the commands want memory as well. What the user names is the user's choice. */
static void fit_memory(struct options *opt, uint64_t memory)
{
	static const struct {
		size_t at;
		uint64_t share;
	} parts[] = {{AT(max_output), 24},
		     {AT(max_file), 24},
		     {AT(max_body), 16},
		     {AT(max_backlog), 4},
		     {AT(idempotency_bytes), 16}};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		uint64_t *value = (uint64_t *)(void *)((char *)opt + parts[i].at), most = memory / parts[i].share;
		most = most > FIT_LEAST ? most : FIT_LEAST;
		*value = *value < most ? *value : most;
	}
}

enum options_result options_parse(struct options *opt, int argc, char *const *argv, char *(*get_env)(const char *name),
				  uint64_t memory, struct buf *error)
{
	*opt = (struct options){0};
	enum options_result r = OPTIONS_RUN;
	for (size_t i = 0; i < N_ROWS && r == OPTIONS_RUN; i++) {
		const char *env = rows[i].env ? get_env(rows[i].env) : NULL;
		const char *value = env && *env ? env : rows[i].value;
		if (value)
			r = set(opt, &rows[i], value, error);
	}
	fit_memory(opt, memory);
	if (r == OPTIONS_RUN)
		r = parse_args(opt, argc, argv, error);
	if (r == OPTIONS_RUN)
		r = read_logging(opt, get_env, error);
	if (r == OPTIONS_RUN)
		r = find_token(opt, get_env, error);
	return r;
}

void options_scrub(int argc, char *const *argv, char *const *envp)
{
	for (int i = 1; i < argc; i++) {
		char *value = NULL;
		if (strncmp(argv[i], "--auth-token=", 13) == 0)
			value = argv[i] + 13;
		else if (strcmp(argv[i], "--auth-token") == 0 && i + 1 < argc)
			value = argv[++i];
		if (value)
			memset(value, '*', strlen(value));
	}
	for (; *envp; envp++) {
		if (strncmp(*envp, "SWEREX_AUTH_TOKEN=", 18) == 0)
			explicit_bzero(*envp + 18, strlen(*envp + 18));
	}
}

int options_print_help(struct buf *out)
{
	int r = buf_append_str(
		out, "Usage: swerex-remote --auth-token TOKEN [--host ADDR] [--port N] [OPTION...]\n"
		     "Runs shell sessions, commands and file transfers in this sandbox for SWE-ReX clients.\n\n");
	for (size_t i = 0; i < N_ROWS && r == 0; i++) {
		char left[40];
		snprintf(left, sizeof left, "%s %s", rows[i].name, rows[i].arg ? rows[i].arg : "");
		if (rows[i].help)
			r = buf_printf(out, "  %-28s %s%s%s%s\n", left, rows[i].help, rows[i].value ? " [" : "",
				       rows[i].value ? rows[i].value : "", rows[i].value ? "]" : "");
	}
	if (r == 0)
		r = buf_append_str(out, "\nSIZE takes K, M or G; SECONDS may have a fraction. See swerex-remote(1).\n");
	return r;
}

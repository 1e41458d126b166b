/* deploy/modal/profile.c: the same places, in the same order, as Modal's own clients look at.
 *
 * Variables count before the file, so that a job can be given tokens without one. A half pair of tokens is an error and
 * not completed from elsewhere: a token id with another one's secret would only fail later, with less to say. Tokens
 * are sent in clear text to this very machine alone (a stand-in for tests). */
#include "deploy/modal/profile.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "deploy/modal/toml.h"
#include "runtime/remote/host.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SERVER_URL "https://api.modal.com:443"
#define DEFAULT_PROFILE "default"

enum { FILE_MAX = 1 << 20, SETTINGS = 5 };

/* A profile's settings as they are named in the file and in the environment. */
static const struct setting {
	const char *key, *variable;
	size_t offset;
} settings[SETTINGS] = {
	{"server_url", "MODAL_SERVER_URL", offsetof(struct modal_profile, server_url)},
	{"token_id", "MODAL_TOKEN_ID", offsetof(struct modal_profile, token_id)},
	{"token_secret", "MODAL_TOKEN_SECRET", offsetof(struct modal_profile, token_secret)},
	{"environment", "MODAL_ENVIRONMENT", offsetof(struct modal_profile, environment)},
	{"image_builder_version", "MODAL_IMAGE_BUILDER_VERSION", offsetof(struct modal_profile, builder_version)},
};

static char **place(struct modal_profile *p, const struct setting *s)
{
	return (char **)((char *)p + s->offset);
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static int set(char **text, const char *value, struct crex_error *err)
{
	free(*text);
	*text = strdup(value);
	return *text ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

void modal_profile_deinit(struct modal_profile *p)
{
	for (unsigned i = 0; i < SETTINGS; i++) {
		char **text = place(p, &settings[i]);
		if (*text)
			explicit_bzero(*text, strlen(*text));
		free(*text);
	}
	free(p->name);
	*p = (struct modal_profile){0};
}

/* ---- the file ---- */

static char *file_path(void)
{
	const char *given = variable("MODAL_CONFIG_PATH"), *home = variable("HOME");
	struct passwd entry, *found = NULL;
	char scratch[4096], *path;
	if (given)
		return strdup(given);
	if (!home && getpwuid_r(getuid(), &entry, scratch, sizeof scratch, &found) == 0 && found)
		home = found->pw_dir;
	return asprintf(&path, "%s/.modal.toml", home ? home : "") < 0 ? NULL : path;
}

/* 0 with an empty text when there is no file. */
static int read_file(const char *path, struct buf *ret, struct crex_error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : crex_error_set_errno(err, errno, path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return crex_error_set(err, CREX_E_CONFIG, "%s is no file", path);
	for (;;) {
		int r = buf_reserve(ret, 4096);
		ssize_t n = r < 0 ? -1 : read(fd, ret->data + ret->len, 4096);
		if (r < 0)
			return crex_error_set(err, CREX_E_CONFIG, "%s is too long", path);
		if (n < 0 && errno != EINTR)
			return crex_error_set_errno(err, errno, path);
		if (n == 0)
			return 0;
		ret->len += n > 0 ? (size_t)n : 0;
	}
}

struct file {
	struct modal_profile *p;
	const char *wanted; /* NULL while the active one is looked for */
	bool found;
};

static int on_active(void *arg, const struct toml_pair *pair, struct crex_error *err)
{
	struct file *f = arg;
	if (strcmp(pair->key, "active") != 0 || pair->kind != TOML_BOOL || strcmp(pair->value, "true") != 0)
		return 0;
	return set(&f->p->name, pair->table, err);
}

static int on_setting(void *arg, const struct toml_pair *pair, struct crex_error *err)
{
	struct file *f = arg;
	if (strcmp(pair->table, f->wanted) != 0)
		return 0;
	f->found = true;
	for (unsigned i = 0; i < SETTINGS; i++) {
		if (strcmp(pair->key, settings[i].key) != 0)
			continue;
		if (pair->kind != TOML_STRING)
			return crex_error_set(err, CREX_E_CONFIG, "modal: profile '%s': '%s' must be a string",
					      f->wanted, pair->key);
		return set(place(f->p, &settings[i]), pair->value, err);
	}
	return 0; /* other settings are other clients' */
}

static int load_file(const char *profile, struct modal_profile *p, struct crex_error *err)
{
	cleanup_free char *path = file_path();
	cleanup_buf struct buf text = {.data = NULL};
	struct file f = {.p = p};
	buf_init(&text, FILE_MAX);
	if (!path)
		return crex_error_set_errno(err, ENOMEM, NULL);
	if (!profile)
		profile = variable("MODAL_PROFILE");
	int r = read_file(path, &text, err);
	if (r == 0)
		r = set(&p->name, profile ? profile : DEFAULT_PROFILE, err);
	if (r == 0 && !profile)
		r = toml_read(text.data ? text.data : "", text.len, path, on_active, &f, err);
	f.wanted = p->name;
	if (r == 0)
		r = toml_read(text.data ? text.data : "", text.len, path, on_setting, &f, err);
	if (r == 0 && profile && !f.found)
		r = crex_error_set(err, CREX_E_CONFIG, "modal: there is no profile '%s' in %s", profile, path);
	if (text.data)
		explicit_bzero(text.data, text.len);
	return r;
}

/* ---- all of it ---- */

static int load_variables(struct modal_profile *p, struct crex_error *err)
{
	bool id = variable("MODAL_TOKEN_ID"), secret = variable("MODAL_TOKEN_SECRET");
	if (id != secret)
		return crex_error_set(err, CREX_E_CONFIG, "modal: %s is set, and %s is not",
				      id ? "MODAL_TOKEN_ID" : "MODAL_TOKEN_SECRET",
				      id ? "MODAL_TOKEN_SECRET" : "MODAL_TOKEN_ID");
	for (unsigned i = 0; i < SETTINGS; i++) {
		const char *value = variable(settings[i].variable);
		if (value && set(place(p, &settings[i]), value, err) < 0)
			return -1;
	}
	const char *v2 = variable("MODAL_SANDBOX_V2");
	p->sandbox_v2 = v2 && strcmp(v2, "0") != 0 && strcasecmp(v2, "false") != 0;
	return 0;
}

static int check_server(struct modal_profile *p, struct crex_error *err)
{
	struct remote_host host;
	if (remote_host_parse(p->server_url ? p->server_url : SERVER_URL, 0, &host, err) < 0)
		return crex_error_prefix(err, "modal: server_url: ");
	p->tls = host.tls;
	p->loopback = host.loopback;
	int r = set(&p->server_url, host.url, err);
	remote_host_deinit(&host);
	if (r == 0 && !p->tls && !p->loopback)
		r = crex_error_set(err, CREX_E_CONFIG, "modal: server_url must begin with https://: tokens go there");
	return r;
}

static bool is_header_text(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7F)
			return false;
	return true;
}

static int check_tokens(struct modal_profile *p, struct crex_error *err)
{
	if (!p->token_id || !p->token_secret || !*p->token_id || !*p->token_secret)
		return crex_error_set(err, CREX_E_AUTHENTICATION,
				      "modal: no token: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or put token_id and "
				      "token_secret into profile '%s' of ~/.modal.toml (`modal token new` does)",
				      p->name);
	if (!is_header_text(p->token_id) || !is_header_text(p->token_secret))
		return crex_error_set(err, CREX_E_CONFIG, "modal: there is a character in the token that no token has");
	return 0;
}

int modal_profile_load(const char *profile, const char *environment, struct modal_profile *ret, struct crex_error *err)
{
	struct modal_profile p = {0};
	int r = load_file(profile, &p, err);
	if (r == 0)
		r = load_variables(&p, err);
	if (r == 0 && environment)
		r = set(&p.environment, environment, err);
	if (r == 0)
		r = check_server(&p, err);
	if (r == 0)
		r = check_tokens(&p, err);
	if (r == 0 && !p.environment)
		r = set(&p.environment, "", err);
	if (r == 0 && !p.builder_version)
		r = set(&p.builder_version, "", err);
	if (r < 0)
		modal_profile_deinit(&p);
	else
		*ret = p;
	return r;
}

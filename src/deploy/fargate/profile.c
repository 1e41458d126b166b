/* deploy/fargate/profile.c: ~/.aws/credentials and ~/.aws/config, or what $AWS_SHARED_CREDENTIALS_FILE and
 * $AWS_CONFIG_FILE name.
 *
 * Sections in the config file are called "profile NAME" (but "default"), in the credentials file just NAME. Indented
 * lines belong to the key above them (settings of single services) and are passed over. The files are read anew for
 * each question: they are small, seldom asked, and other programs rewrite them. */
#include "deploy/fargate/profile.h"

#include "base/cleanup.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { FILE_CREDENTIALS, FILE_CONFIG, N_FILES };

const char *profile_name(const char *name)
{
	const char *chosen = getenv("AWS_PROFILE");
	if (name && *name)
		return name;
	return chosen && *chosen ? chosen : "default";
}

/* NULL without a home, too. */
static char *path_of(int file)
{
	const char *named = getenv(file == FILE_CREDENTIALS ? "AWS_SHARED_CREDENTIALS_FILE" : "AWS_CONFIG_FILE");
	const char *home = getenv("HOME");
	char *path = NULL;
	if (named && *named)
		return strdup(named);
	if (!home || asprintf(&path, "%s/.aws/%s", home, file == FILE_CREDENTIALS ? "credentials" : "config") < 0)
		return NULL;
	return path;
}

static char *trimmed(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t len = strlen(text);
	while (len && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* Whether this "[...]" line begins the profile. */
static bool begins(char *line, const char *name, int file)
{
	line[strcspn(line, "]")] = '\0';
	char *section = trimmed(line + 1);
	if (file == FILE_CONFIG && strncmp(section, "profile", 7) == 0 && isspace((unsigned char)section[7]))
		section = trimmed(section + 7);
	else if (file == FILE_CONFIG && strcmp(section, "default") != 0)
		return false;
	return strcmp(section, name) == 0;
}

/* "key = value" of the wanted key; the value, or NULL. */
static char *value_of(char *line, const char *key)
{
	char *equals = strchr(line, '=');
	if (!equals)
		return NULL;
	*equals = '\0';
	return strcasecmp(trimmed(line), key) == 0 ? trimmed(equals + 1) : NULL;
}

/* 1: found (with key NULL: the section is there), 0: not, -1. */
static int search(int file, const char *name, const char *key, char **ret, struct crex_error *err)
{
	cleanup_free char *path = path_of(file);
	FILE *in = path ? fopen(path, "re") : NULL;
	if (!in)
		return !path || errno == ENOENT || errno == ENOTDIR ? 0 : crex_error_set_errno(err, errno, path);
	cleanup_free char *line = NULL;
	size_t size = 0;
	bool inside = false;
	int found = 0;
	while (!found && getline(&line, &size, in) > 0) {
		if (*line == '#' || *line == ';')
			continue;
		if (*line == '[') {
			inside = begins(line, name, file);
			found = inside && !key;
		} else if (inside && key && !isspace((unsigned char)*line)) {
			const char *value = value_of(line, key);
			if (!value)
				continue;
			*ret = strdup(value);
			found = *ret ? 1 : crex_error_set_errno(err, ENOMEM, NULL);
		}
	}
	if (ferror(in))
		found = crex_error_set_errno(err, EIO, path);
	fclose(in);
	if (line)
		explicit_bzero(line, size); /* secrets have passed through it */
	return found;
}

int profile_get(const char *name, const char *key, char **ret, struct crex_error *err)
{
	*ret = NULL;
	for (int file = 0; file < N_FILES; file++) {
		int found = search(file, profile_name(name), key, ret, err);
		if (found != 0)
			return found < 0 ? -1 : 0;
	}
	return 0;
}

int profile_exists(const char *name, struct crex_error *err)
{
	int found = 0;
	for (int file = 0; file < N_FILES && found == 0; file++)
		found = search(file, profile_name(name), NULL, NULL, err);
	return found;
}

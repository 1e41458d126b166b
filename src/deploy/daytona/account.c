/* deploy/daytona/account.c: where Daytona is and who we are there, before anything is asked of it.
 *
 * Each fact is the config's, else that of the variable that Daytona's own clients read, else its default. The key goes
 * into a header line and must not bring further ones. */
#include "deploy/daytona/account.h"

#include "base/cleanup.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>

#define API_URL "https://app.daytona.io/api"
#define TARGET "us"

static const char *choose(const char *given, const char *variable, const char *otherwise)
{
	if (given && *given)
		return given;
	const char *value = getenv(variable);
	return value && *value ? value : otherwise;
}

static bool is_one_word(const char *text)
{
	for (; *text; text++)
		if (!isgraph((unsigned char)*text))
			return false;
	return true;
}

/* NULL stays NULL. */
static int take_word(const char *text, const char *field, const char *variable, char **ret, struct crex_error *err)
{
	if (text && !is_one_word(text))
		return crex_error_set(
			err, CREX_E_CONFIG,
			"daytona: field '%s' (or %s) has a blank or something that can't be printed in it", field,
			variable);
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? crex_error_set_errno(err, ENOMEM, NULL) : 0;
}

static int find_api(const struct crex_daytona_config *config, struct daytona_account *a, struct crex_error *err)
{
	if (remote_host_parse(choose(config->api_url, "DAYTONA_API_URL", API_URL), 0, &a->api, err) < 0)
		return crex_error_prefix(err, "daytona: field 'api_url' (or DAYTONA_API_URL): ");
	return 0;
}

static int find_authorities(const struct crex_daytona_config *config, struct daytona_account *a, struct crex_error *err)
{
	const char *file = choose(config->ca_file, "SSL_CERT_FILE", NULL);
	if (!file)
		return 0;
	if (access(file, R_OK) < 0)
		return crex_error_set(err, CREX_E_CONFIG, "daytona: %s: %s: %s",
				      config->ca_file ? "field 'ca_file'" : "SSL_CERT_FILE", file, strerror(errno));
	a->ca_file = strdup(file);
	return a->ca_file ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
}

int daytona_account_load(const struct crex_daytona_config *config, struct daytona_account *ret, struct crex_error *err)
{
	struct daytona_account a = {.key = NULL};
	const char *key = choose(config->api_key, "DAYTONA_API_KEY", NULL);
	if (!key)
		return crex_error_set(err, CREX_E_CONFIG,
				      "daytona: no API key: set DAYTONA_API_KEY, or field 'api_key'");
	if (take_word(key, "api_key", "DAYTONA_API_KEY", &a.key, err) == 0 &&
	    take_word(choose(config->target, "DAYTONA_TARGET", TARGET), "target", "DAYTONA_TARGET", &a.target, err) ==
		    0 &&
	    take_word(choose(config->organization_id, "DAYTONA_ORGANIZATION_ID", NULL), "organization_id",
		      "DAYTONA_ORGANIZATION_ID", &a.organization, err) == 0 &&
	    find_api(config, &a, err) == 0 && find_authorities(config, &a, err) == 0) {
		*ret = a;
		return 0;
	}
	daytona_account_deinit(&a);
	return -1;
}

void daytona_account_deinit(struct daytona_account *a)
{
	if (a->key)
		explicit_bzero(a->key, strlen(a->key));
	free(a->key);
	free(a->target);
	free(a->organization);
	free(a->ca_file);
	remote_host_deinit(&a->api);
	*a = (struct daytona_account){.key = NULL};
}

/* deploy/docker/arguments.c: reading docker_args as far as it must be.
 *
 * docker_args are options of `docker run` and go there word by word. A few of them change what we do ourselves, so
 * these are looked for: the platform (which server to bring), the network (where the port is), the container's name
 * (what to stop). We don't know all options of all engines, so we can't tell an option from the value of the one before
 * it; no sane value looks like one of those few.
 *
 * -d, -i and -t don't go along: we stay attached until the server answers, without a terminal. */
#include "deploy/docker/docker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "--name X" and "--name=X". 1: found, with *ret_value and how many words it takes; 0: another option; -1: no value. */
static int option(const char *const *word, const char *name, const char **ret_value, size_t *ret_words)
{
	size_t len = strlen(name);
	if (strncmp(*word, name, len) != 0)
		return 0;
	if ((*word)[len] == '=') {
		*ret_value = *word + len + 1;
		*ret_words = 1;
		return 1;
	}
	if ((*word)[len] != '\0')
		return 0;
	*ret_value = word[1];
	*ret_words = 2;
	return word[1] ? 1 : -1;
}

static bool is_about_the_terminal(const char *word)
{
	if (word[0] == '-' && word[1] != '\0' && word[1 + strspn(word + 1, "dit")] == '\0')
		return true;
	return strcmp(word, "--detach") == 0 || strcmp(word, "--interactive") == 0 || strcmp(word, "--tty") == 0;
}

static int read_network(const char *value, struct docker_arguments *args, struct crex_error *err)
{
	if (strcmp(value, "host") == 0)
		args->network = DOCKER_NETWORK_HOST;
	else if (strcmp(value, "none") == 0 || strncmp(value, "container:", 10) == 0)
		return crex_error_set(err, CREX_E_CONFIG,
				      "docker: field 'docker_args': with --network %s the server inside can't be "
				      "reached; an internal network (docker network create --internal) keeps a "
				      "sandbox off the internet",
				      value);
	return 0;
}

static int lacks_value(const char *word, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "docker: field 'docker_args': %s has no value", word);
}

int docker_arguments_read(const char *const *docker_args, struct docker_arguments *ret, struct crex_error *err)
{
	static const char *const none[] = {NULL};
	struct docker_arguments args = {.network = DOCKER_NETWORK_BRIDGED};
	const char *const *word = docker_args ? docker_args : none;
	size_t n = 0;
	while (word[n])
		n++;
	args.words = calloc(n + 1, sizeof *args.words);
	if (!args.words)
		return crex_error_set_errno(err, ENOMEM, NULL);
	int r = 0;
	for (size_t taken; r == 0 && *word; word += taken) {
		const char *value = NULL;
		int found;
		taken = 1;
		if (is_about_the_terminal(*word))
			continue;
		if ((found = option(word, "--platform", &value, &taken)) > 0) {
			args.platform = value;
			continue; /* said by ourselves, to pull as well */
		}
		if (found == 0 && (found = option(word, "--name", &value, &taken)) > 0) {
			args.container = value;
			continue;
		}
		if (found == 0 && ((found = option(word, "--network", &value, &taken)) > 0 ||
				   (found == 0 && (found = option(word, "--net", &value, &taken)) > 0)))
			r = read_network(value, &args, err);
		if (found < 0)
			r = lacks_value(*word, err);
		for (size_t i = 0; r == 0 && i < taken; i++)
			args.words[args.n_words++] = word[i];
	}
	if (r < 0)
		docker_arguments_deinit(&args);
	else
		*ret = args;
	return r;
}

void docker_arguments_deinit(struct docker_arguments *args)
{
	free(args->words);
	*args = (struct docker_arguments){0};
}

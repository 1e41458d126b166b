/* deploy/fargate/settings.c: what can be wrong with a config, found before anybody is asked.
 *
 * Fargate sells certain pairs of cpu and memory only; the table is AWS's (task size in the developer guide). Names are
 * held against the character sets and lengths of AWS, with room for what is put behind a prefix. */
#include "deploy/fargate/fargate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
	HASH_LEN = 17,
	STORAGE_MIN = 21,
	STORAGE_MAX = 200,
	STORAGE_DEFAULT = 21,
	CPU_DEFAULT = 1024,
	MEMORY_DEFAULT = 2048
};

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static int invalid(const char *field, const char *wanted, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "fargate: field '%s' must be %s", field, wanted);
}

static bool is_made_of(const char *text, const char *characters, size_t max)
{
	size_t len = strlen(text);
	return len > 0 && len <= max && strspn(text, characters) == len;
}

struct size {
	int cpu, memory_min, memory_max, memory_step;
};

static bool is_sold(int cpu, int memory)
{
	static const struct size sizes[] = {
		{512, 1024, 4096, 1024},   {1024, 2048, 8192, 1024},   {2048, 4096, 16384, 1024},
		{4096, 8192, 30720, 1024}, {8192, 16384, 61440, 4096}, {16384, 32768, 122880, 8192},
	};
	if (cpu == 256)
		return memory == 512 || memory == 1024 || memory == 2048;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		const struct size *s = &sizes[i];
		if (cpu == s->cpu)
			return memory >= s->memory_min && memory <= s->memory_max &&
			       (memory - s->memory_min) % s->memory_step == 0;
	}
	return false;
}

/* A number, or a string that begins with one and ends with one of the units: "1 vCPU", "4 GB". */
static int number_of(const json_t *value, const char *big_unit, double big, double scale, int *ret)
{
	double n = json_number_value(value);
	const char *text = json_string_value(value);
	if (text) {
		char *end;
		n = strtod(text, &end);
		if (end == text)
			return -1;
		while (*end == ' ')
			end++;
		if (strcasecmp(end, big_unit) == 0)
			scale = big;
		else if (*end && strcasecmp(end, "GiB") != 0 && strcasecmp(end, "MiB") != 0)
			return -1;
	} else if (!json_is_number(value)) {
		return -1;
	}
	n *= scale;
	if (!(n >= 1 && n <= 1 << 20) || n != floor(n))
		return -1;
	*ret = (int)n;
	return 0;
}

static int read_argument(const char *key, const json_t *value, int *cpu, int *memory, struct fargate_settings *ret,
			 struct crex_error *err)
{
	if (strcmp(key, "vcpus") == 0 || strcmp(key, "cpu") == 0) {
		double scale = *key == 'v' ? 1024 : 1;
		return number_of(value, "vCPU", 1024, scale, cpu) == 0
			       ? 0
			       : invalid("fargate_args.cpu", "as 1024 (one cpu) or \"1 vCPU\"", err);
	}
	if (strcmp(key, "memory") == 0)
		return number_of(value, "GB", 1024, 1, memory) == 0
			       ? 0
			       : invalid("fargate_args.memory", "in MiB, as 2048, or \"2 GB\"", err);
	if (strcmp(key, "ephemeral_storage") == 0 || strcmp(key, "ephemeralStorage") == 0) {
		const json_t *size = json_is_object(value) ? json_object_get(value, "sizeInGiB") : value;
		return number_of(size, "GiB", 1, 1, &ret->storage) == 0 && ret->storage >= STORAGE_MIN &&
				       ret->storage <= STORAGE_MAX
			       ? 0
			       : invalid("fargate_args.ephemeral_storage", "in GiB, from 21 to 200", err);
	}
	if (strcmp(key, "taskRoleArn") == 0) {
		const char *arn = json_string_value(value);
		if (!arn || strncmp(arn, "arn:", 4) != 0)
			return invalid("fargate_args.taskRoleArn", "the ARN of a role", err);
		free(ret->task_role);
		ret->task_role = strdup(arn);
		return ret->task_role ? 0 : crex_error_set_errno(err, ENOMEM, NULL);
	}
	return crex_error_set(err, CREX_E_CONFIG,
			      "fargate: field 'fargate_args': unknown '%s'; there are: vcpus, cpu, memory, "
			      "ephemeral_storage, taskRoleArn",
			      key);
}

static int read_arguments(const char *text, struct fargate_settings *ret, struct crex_error *err)
{
	int cpu = CPU_DEFAULT, memory = MEMORY_DEFAULT;
	ret->storage = STORAGE_DEFAULT;
	cleanup_json json_t *arguments = text ? json_loads(text, 0, NULL) : json_object();
	if (!json_is_object(arguments))
		return invalid("fargate_args", "an object", err);
	const char *key;
	json_t *value;
	json_object_foreach(arguments, key,
			    value) if (read_argument(key, value, &cpu, &memory, ret, err) < 0) return -1;
	if (!is_sold(cpu, memory))
		return crex_error_set(
			err, CREX_E_CONFIG,
			"fargate: field 'fargate_args': Fargate has no tasks of %g vCPU with %d MiB: each "
			"size of cpu has memories of its own (1 vCPU: 2048 to 8192 MiB in steps of 1024)",
			cpu / 1024.0, memory);
	snprintf(ret->cpu, sizeof ret->cpu, "%d", cpu);
	snprintf(ret->memory, sizeof ret->memory, "%d", memory);
	return 0;
}

static int check_names(const struct crex_fargate_config *c, struct crex_error *err)
{
	if (!is_made_of(c->cluster_name, LETTERS DIGITS "-_", 255))
		return invalid("cluster_name", "of letters, digits, '-' and '_', at most 255", err);
	if (!is_made_of(c->execution_role_prefix, LETTERS DIGITS "+=,.@-_", 64 - HASH_LEN))
		return invalid("execution_role_prefix", "of letters, digits and +=,.@-_, at most 47", err);
	if (!is_made_of(c->task_definition_prefix, LETTERS DIGITS "-_", 255 - HASH_LEN))
		return invalid("task_definition_prefix", "of letters, digits, '-' and '_', at most 238", err);
	if (!is_made_of(c->security_group_prefix, LETTERS DIGITS " ._-:/()#,@[]+=&;{}!$*", 255 - HASH_LEN) ||
	    strncmp(c->security_group_prefix, "sg-", 3) == 0)
		return invalid("security_group_prefix", "a name as EC2 takes them (not sg-...), at most 238", err);
	if (c->log_group && !is_made_of(c->log_group, LETTERS DIGITS "-_./#", 512))
		return invalid("log_group", "of letters, digits and -_./#, at most 512, or null", err);
	if (c->execution_role_arn && strncmp(c->execution_role_arn, "arn:", 4) != 0)
		return invalid("execution_role_arn", "the ARN of a role, or null", err);
	return 0;
}

int fargate_settings_read(const struct crex_fargate_config *c, struct fargate_settings *ret, struct crex_error *err)
{
	*ret = (struct fargate_settings){0};
	if (c->image[strcspn(c->image, " \t\r\n")])
		return invalid("image", "the name of an image", err);
	if (check_names(c, err) < 0)
		return -1;
	if (!c->port)
		return invalid("port", "a port from 1 to 65535", err);
	if (c->ingress_cidr && !fargate_cidr_is_sound(c->ingress_cidr))
		return invalid("ingress_cidr", "a network, as 192.0.2.7/32 or 2001:db8::/64, or null", err);
	if (strncmp(c->address_url, "https://", 8) != 0 && strncmp(c->address_url, "http://", 7) != 0)
		return invalid("address_url", "an http or https address", err);
	if (c->server_url && (strncmp(c->server_url, "https://", 8) != 0 || strpbrk(c->server_url, " \t\r\n")))
		return invalid("server_url", "an https address, or null", err);
	if (c->server_sha256 && (strlen(c->server_sha256) != 64 || strspn(c->server_sha256, DIGITS "abcdef") != 64))
		return invalid("server_sha256", "64 hexadecimal digits (lower case), or null", err);
	int r = read_arguments(c->fargate_args, ret, err);
	if (r < 0)
		fargate_settings_deinit(ret);
	return r;
}

void fargate_settings_deinit(struct fargate_settings *s)
{
	free(s->task_role);
	s->task_role = NULL;
}

/* deploy/modal/options.c: a table of names, kinds and places; and the message fields that they become.
 *
 * Upstream hands this dictionary to Modal's Sandbox.create as it is. Here each name is read by a table, so that a wrong
 * one is found before anything is asked of Modal. Names that Sandbox.create knows and that can't be meant here are
 * refused with the reason, not as unknown.
 *
 * block_network: a sandbox without any network has no tunnel either, and nobody could reach the server in it. So it
 * becomes what keeps the tunnel and ends all outbound traffic: an empty list of allowed networks. */
#include "deploy/modal/options.h"

#include "base/nearest.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum kind {
	AMOUNT,	 /* a number, or [request, limit] */
	WHOLE,	 /* seconds above 0, a whole number */
	FLAG,	 /* true, false */
	TEXT,	 /* a string */
	TEXTS,	 /* a list of strings */
	TEXTS_1, /* or a lone one */
	PORTS,	 /* a list of numbers */
	MAP,	 /* strings by name */
	OPTIONS, /* strings and booleans by name */
	REFUSED,
};

struct row {
	const char *name;
	enum kind kind;
	size_t offset, offset2;
	const char *why; /* of REFUSED */
};

#define AT(member) offsetof(struct modal_options, member)
#define ABSENT "is not supported by this deployment"

static const struct row rows[] = {
	{"cpu", AMOUNT, AT(cpu), AT(cpu_limit)},
	{"memory", AMOUNT, AT(memory), AT(memory_limit)},
	{"gpu", TEXT, AT(gpu)},
	{"cloud", TEXT, AT(cloud)},
	{"region", TEXTS_1, AT(region)},
	{"workdir", TEXT, AT(workdir)},
	{"name", TEXT, AT(name)},
	{"custom_domain", TEXT, AT(custom_domain)},
	{"idle_timeout", WHOLE, AT(idle_timeout)},
	{"verbose", FLAG, AT(verbose)},
	{"block_network", FLAG, AT(block_network)},
	{"outbound_cidr_allowlist", TEXTS, AT(networks)},
	{"cidr_allowlist", TEXTS, AT(networks)},
	{"outbound_domain_allowlist", TEXTS, AT(domains)},
	{"inbound_cidr_allowlist", TEXTS, AT(inbound)},
	{"encrypted_ports", PORTS, AT(encrypted_ports)},
	{"unencrypted_ports", PORTS, AT(unencrypted_ports)},
	{"h2_ports", PORTS, AT(h2_ports)},
	{"secrets", TEXTS, AT(secrets)},
	{"env", MAP, AT(env)},
	{"tags", MAP, AT(tags)},
	{"experimental_options", OPTIONS, AT(experimental)},
	{"image", REFUSED, 0, 0, "is given by the field 'image' of the config"},
	{"app", REFUSED, 0, 0, "is given by the field 'app_name' of the config"},
	{"timeout", REFUSED, 0, 0, "is given by the field 'deployment_timeout' of the config"},
	{"environment_name", REFUSED, 0, 0, "is given by the field 'environment' of the config"},
	{"client", REFUSED, 0, 0, ABSENT},
	{"pty", REFUSED, 0, 0, ABSENT},
	{"proxy", REFUSED, 0, 0, ABSENT},
	{"volumes", REFUSED, 0, 0, ABSENT},
	{"network_file_systems", REFUSED, 0, 0, ABSENT},
	{"readiness_probe", REFUSED, 0, 0, ABSENT},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static void *at(struct modal_options *o, size_t offset)
{
	return (char *)o + offset;
}

static int fail(const char *name, const char *what, struct crex_error *err)
{
	return crex_error_set(err, CREX_E_CONFIG, "modal: modal_sandbox_kwargs: '%s' %s", name, what);
}

/* ---- reading ---- */

static const char *plain(const json_t *value)
{
	const char *text = json_string_value(value);
	return text && *text && strlen(text) == json_string_length(value) ? text : NULL;
}

static bool is_amount(const json_t *value)
{
	double n = json_number_value(value);
	return json_is_number(value) && isfinite(n) && n > 0 && n <= 1e6;
}

static bool read_amount(const json_t *value, double *request, double *limit)
{
	bool pair = json_is_array(value) && json_array_size(value) == 2;
	const json_t *first = pair ? json_array_get(value, 0) : value, *second = pair ? json_array_get(value, 1) : NULL;
	if (!is_amount(first) || (pair && (!is_amount(second) || json_number_value(second) < json_number_value(first))))
		return false;
	*request = json_number_value(first);
	*limit = pair ? json_number_value(second) : 0;
	return true;
}

static bool are_texts(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!plain(json_array_get(list, i)))
			return false;
	return json_is_array(list);
}

static bool are_ports(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *port = json_array_get(list, i);
		if (!json_is_integer(port) || json_integer_value(port) < 1 || json_integer_value(port) > 65535)
			return false;
	}
	return json_is_array(list);
}

static bool are_entries(json_t *object, bool booleans)
{
	const char *name;
	json_t *value;
	json_object_foreach(object, name, value)
	{
		const char *text = json_string_value(value);
		if (!*name ||
		    !((text && strlen(text) == json_string_length(value)) || (booleans && json_is_boolean(value))))
			return false;
	}
	return json_is_object(object);
}

static const char *const wanted[] = {
	[AMOUNT] = "must be a number above 0, or [request, limit]",
	[WHOLE] = "must be a whole number of seconds above 0",
	[FLAG] = "must be true or false",
	[TEXT] = "must be a string that is not empty",
	[TEXTS] = "must be a list of strings",
	[TEXTS_1] = "must be a string or a list of strings",
	[PORTS] = "must be a list of ports from 1 to 65535",
	[MAP] = "must be an object of strings",
	[OPTIONS] = "must be an object of strings and booleans",
	[REFUSED] = ABSENT,
};

static bool read_value(const struct row *row, json_t *value, struct modal_options *o)
{
	json_t *list;
	switch (row->kind) {
	case AMOUNT: return read_amount(value, at(o, row->offset), at(o, row->offset2));
	case WHOLE:
		*(double *)at(o, row->offset) = json_number_value(value);
		return is_amount(value) && json_number_value(value) == floor(json_number_value(value));
	case FLAG: *(bool *)at(o, row->offset) = json_is_true(value); return json_is_boolean(value);
	case TEXT: return (*(const char **)at(o, row->offset) = plain(value)) != NULL;
	case TEXTS_1:
		if (json_is_string(value)) {
			list = json_pack("[O]", value);
			json_object_set_new(o->root, row->name, list); /* kept by the object, as the value was */
			value = list;
		}
		*(const json_t **)at(o, row->offset) = value;
		return are_texts(value);
	case TEXTS: *(const json_t **)at(o, row->offset) = value; return are_texts(value);
	case PORTS: *(const json_t **)at(o, row->offset) = value; return are_ports(value);
	case MAP:
	case OPTIONS: *(const json_t **)at(o, row->offset) = value; return are_entries(value, row->kind == OPTIONS);
	case REFUSED: break;
	}
	return false;
}

static int unknown(const char *name, struct crex_error *err)
{
	struct nearest nearest = nearest_begin(name);
	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].kind != REFUSED)
			nearest_offer(&nearest, rows[i].name);
	if (!nearest.found)
		return fail(name, "is unknown", err);
	return crex_error_set(err, CREX_E_CONFIG, "modal: modal_sandbox_kwargs: '%s' is unknown, did you mean '%s'?",
			      name, nearest.found);
}

/* A null is as good as not given, as in Python. */
static int read_one(const char *name, json_t *value, struct modal_options *o, struct crex_error *err)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		if (strcmp(rows[i].name, name) != 0)
			continue;
		if (rows[i].kind == REFUSED)
			return fail(name, rows[i].why, err);
		return json_is_null(value) || read_value(&rows[i], value, o) ? 0
									     : fail(name, wanted[rows[i].kind], err);
	}
	return unknown(name, err);
}

/* "A100", "A100:2": the name's length, and how many; false: it is neither. */
static bool split_gpu(const char *gpu, size_t *ret_len, unsigned *ret_count)
{
	size_t len = strcspn(gpu, ":");
	char *end = NULL;
	unsigned long count = gpu[len] ? strtoul(gpu + len + 1, &end, 10) : 1;
	if (len == 0 || len > 32 || count < 1 || count > 64 || (gpu[len] && (*end || end == gpu + len + 1)))
		return false;
	*ret_len = len;
	*ret_count = (unsigned)count;
	return true;
}

static int check_together(const struct modal_options *o, struct crex_error *err)
{
	size_t len;
	unsigned count;
	if (o->gpu && !split_gpu(o->gpu, &len, &count))
		return fail("gpu", "must be a kind, or a kind and a number: \"A100:2\"", err);
	if (o->workdir && *o->workdir != '/')
		return fail("workdir", "must be an absolute path", err);
	if (o->block_network && (o->networks || o->domains))
		return fail("block_network", "and a list of what is allowed exclude each other", err);
	if (json_object_get(o->root, "cidr_allowlist") && json_object_get(o->root, "outbound_cidr_allowlist"))
		return fail("cidr_allowlist", "is the old name of 'outbound_cidr_allowlist': give one of them", err);
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)o->env, name, value) if (
		strncmp(name, "SWEREX_", 7) == 0 ||
		strchr(name, '=')) return crex_error_set(err, CREX_E_CONFIG,
							 "modal: modal_sandbox_kwargs: 'env': '%s' can't be set here",
							 name);
	json_object_foreach((json_t *)o->tags, name, value) if (strncmp(name, "crex", 4) == 0) return fail(
		"tags", "beginning with \"crex\" are set by this deployment", err);
	return 0;
}

int modal_options_read(const char *text, struct modal_options *ret, struct crex_error *err)
{
	struct modal_options o = {.root = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : json_object()};
	int r = json_is_object(o.root)
			? 0
			: crex_error_set(err, CREX_E_CONFIG, "modal: field 'modal_sandbox_kwargs' must be an object");
	void *next;
	json_t *value;
	const char *name;
	json_object_foreach_safe(o.root, next, name, value) if (r == 0) r = read_one(name, value, &o, err);
	o.allows_networks = o.networks;
	o.allows_domains = o.domains;
	if (r == 0)
		r = check_together(&o, err);
	if (r < 0)
		modal_options_deinit(&o);
	else
		*ret = o;
	return r;
}

void modal_options_deinit(struct modal_options *o)
{
	json_decref(o->root);
	*o = (struct modal_options){0};
}

/* ---- writing: numbers are those of the message Sandbox ---- */

static void write_texts(struct pb_writer *w, unsigned field, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		pb_item(w, field, json_string_value(json_array_get(list, i)));
}

static void write_resources(const struct modal_options *o, struct pb_writer *w)
{
	size_t resources = pb_begin(w, 5), len;
	unsigned count;
	pb_uint(w, 2, (uint64_t)o->memory);
	pb_uint(w, 3, (uint64_t)llround(o->cpu * 1000));
	if (o->gpu && split_gpu(o->gpu, &len, &count)) {
		size_t gpu = pb_begin(w, 4);
		pb_uint(w, 2, count);
		pb_bytes(w, 4, o->gpu, len);
		pb_end(w, gpu);
	}
	pb_uint(w, 5, (uint64_t)o->memory_limit);
	pb_uint(w, 7, (uint64_t)llround(o->cpu_limit * 1000));
	pb_end(w, resources);
}

static void write_port(struct pb_writer *w, int port, bool unencrypted, bool h2)
{
	size_t spec = pb_begin(w, 1);
	pb_uint(w, 1, (uint64_t)port);
	pb_bool(w, 2, unencrypted);
	pb_uint(w, 3, h2);
	pb_end(w, spec);
}

static void write_ports(struct pb_writer *w, const json_t *list, int but, bool unencrypted, bool h2)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		int port = (int)json_integer_value(json_array_get(list, i));
		if (port != but)
			write_port(w, port, unencrypted, h2);
	}
}

enum { NETWORK_OPEN = 1, NETWORK_ALLOWLIST = 3 };

static void write_network(const struct modal_options *o, struct pb_writer *w)
{
	bool limited = o->block_network || o->allows_networks || o->allows_domains;
	size_t access = pb_begin(w, 22);
	pb_uint(w, 1, limited ? NETWORK_ALLOWLIST : NETWORK_OPEN);
	write_texts(w, 2, o->networks);
	write_texts(w, 3, o->domains);
	pb_end(w, access);
}

static void write_experimental(const struct modal_options *o, struct pb_writer *w)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)o->experimental, name, value)
		pb_entry(w, 41, name,
			 json_is_string(value) ? json_string_value(value)
			 : json_is_true(value) ? "true"
					       : "false");
}

void modal_options_write(const struct modal_options *o, int port, struct pb_writer *w)
{
	write_resources(o, w);
	pb_string(w, 8, o->workdir);
	if (o->region && json_array_size(o->region)) {
		size_t placement = pb_begin(w, 17);
		write_texts(w, 4, o->region);
		pb_end(w, placement);
	}
	size_t ports = pb_begin(w, 20);
	write_port(w, port, false, false);
	write_ports(w, o->encrypted_ports, port, false, false);
	write_ports(w, o->h2_ports, port, false, true);
	write_ports(w, o->unencrypted_ports, port, true, false);
	pb_end(w, ports);
	write_network(o, w);
	pb_string(w, 26, o->cloud);
	pb_bool(w, 29, o->verbose);
	pb_string(w, 30, o->name);
	pb_uint(w, 33, (uint64_t)o->idle_timeout);
	pb_string(w, 36, o->custom_domain);
	write_texts(w, 39, o->inbound);
	write_experimental(o, w);
}

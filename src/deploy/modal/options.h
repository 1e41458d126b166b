/* deploy/modal/options.h: modal_sandbox_kwargs: what may be said of a sandbox, named as in Modal's Python client. */
#ifndef DEPLOY_MODAL_OPTIONS_H
#define DEPLOY_MODAL_OPTIONS_H

#include "deploy/modal/protobuf.h"
#include <jansson.h>

struct modal_options {
	json_t *root; /* owned; lists and texts below are its */
	double cpu, cpu_limit;
	double memory, memory_limit; /* MiB */
	double idle_timeout;	     /* seconds; 0: none */
	bool block_network, verbose;
	bool allows_networks, allows_domains; /* a list was given, if only an empty one */
	const char *gpu, *cloud, *workdir, *name, *custom_domain;
	const json_t *region; /* a list, as the others; NULL: not given */
	const json_t *networks, *domains, *inbound;
	const json_t *encrypted_ports, *unencrypted_ports, *h2_ports;
	const json_t *secrets;			 /* names */
	const json_t *env, *tags, *experimental; /* objects */
};

/* text: a JSON object, or NULL for none. CONFIG names what is wrong. */
int modal_options_read(const char *text, struct modal_options *ret, struct crex_error *err);
void modal_options_deinit(struct modal_options *o);

/* The fields of a sandbox's definition that come from here; `port` is opened as well, encrypted. */
void modal_options_write(const struct modal_options *o, int port, struct pb_writer *w);

#endif

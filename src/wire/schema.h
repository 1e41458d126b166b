/* wire/schema.h: what fields each request has; written down once for both directions. */
#ifndef WIRE_SCHEMA_H
#define WIRE_SCHEMA_H

#include "wire/check.h"
#include "wire/wire.h"

struct wire_variant {
	const char *tag; /* NULL: no union */
	bool is_interrupt;
	const struct check_field *fields;
	size_t n_fields;
};

struct wire_schema {
	const char *path;	   /* of the endpoint */
	const char *discriminator; /* NULL: one variant, no tag */
	const char *tags;	   /* as pydantic lists them */
	struct wire_variant variants[2];
};

const struct wire_schema *wire_schema(enum wire_request_kind kind); /* static */

const char *wire_mode_name(enum crex_check mode); /* static */

#endif

/* wire/lax.h: pydantic's lax conversions of a JSON value to a number or a boolean. */
#ifndef WIRE_LAX_H
#define WIRE_LAX_H

#include <jansson.h>
#include <stdbool.h>

enum lax_result {
	LAX_OK,
	LAX_TYPE,	/* a value of the wrong kind */
	LAX_UNPARSABLE, /* the right kind, but the text says nothing */
	LAX_FRACTION	/* a number with a fraction where none may be */
};

enum lax_result lax_bool(const json_t *v, bool *ret);
/* Integers, reals, booleans, and strings in decimal notation or "inf", "infinity", "nan". */
enum lax_result lax_number(const json_t *v, double *ret);

#endif

/* wire/json_memory.h: jansson's parser, safe against a lack of memory. */
#ifndef WIRE_JSON_MEMORY_H
#define WIRE_JSON_MEMORY_H

#include <jansson.h>
#include <stddef.h>

/* For a program, before its first use of jansson: from here on all of jansson's memory passes through this part. A
 * library must not, since the program around it may have values already. */
void json_memory_install(void);

/* As json_loadb; when it gives NULL for a lack of memory then always with that error code. */
json_t *json_memory_load(const char *text, size_t len, size_t flags, json_error_t *error);

#endif

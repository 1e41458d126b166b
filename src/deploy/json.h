/* deploy/json.h: jansson's values with an owner's scope. */
#ifndef DEPLOY_JSON_H
#define DEPLOY_JSON_H

#include <jansson.h>

static inline void cleanup_json_value(json_t **json)
{
	json_decref(*json);
}

#define cleanup_json __attribute__((cleanup(cleanup_json_value)))

#endif

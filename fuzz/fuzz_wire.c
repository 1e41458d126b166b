/* fuzz/fuzz_wire.c: every request schema: the first byte chooses the kind. A body is a request or a document that
 * parses; strings of a request are encoded again, and that must be JSON too. */
#include "wire/wire.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lone surrogates are written as escapes, which Python reads and jansson does not. */
static void must_parse(const struct buf *json)
{
	if (memmem(json->data, json->len, "\\ud", 3))
		return;
	json_t *root = json_loadb(json->data, json->len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	if (!root)
		abort();
	json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct wire_doc *doc = NULL;
	struct wire_request req;
	struct buf detail, again;
	buf_init(&detail, 1 << 24);
	buf_init(&again, 1 << 24);
	enum wire_request_kind kind = (enum wire_request_kind)(data[0] % (WIRE_OPEN_STREAM + 1));
	int r = wire_decode(kind, (struct crex_str){(const char *)data + 1, size - 1}, &doc, &req, &detail);
	if (r == 422)
		must_parse(&detail);
	else if (r != 0)
		abort();
	if (r == 0 && kind == WIRE_EXECUTE) {
		if (!(req.u.execute.timeout >= 0) && req.u.execute.timeout != CREX_NO_TIMEOUT)
			abort();
		for (size_t i = 0; i < req.u.execute.env.count; i++) {
			wire_encode_string(&again, req.u.execute.env.items[i].ptr, req.u.execute.env.items[i].len);
			must_parse(&again);
			buf_clear(&again);
		}
	}
	wire_encode_string(&again, (const char *)data, size);
	must_parse(&again);
	wire_doc_free(doc);
	buf_deinit(&detail);
	buf_deinit(&again);
	return 0;
}

/* fuzz/fuzz_wire_reply.c: every reader of replies: the first byte chooses it. A reply is taken or refused with an
 * error; texts that were taken can be written again and then read as the same. */
#include "wire/client.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_again(const char *text, size_t len)
{
	struct buf body;
	buf_init(&body, 1 << 24);
	struct crex_text again = CREX_TEXT_INIT;
	struct crex_error err = CREX_ERROR_INIT;
	if (wire_encode_read_file(&body, text, len) < 0 ||
	    wire_read_read_file((struct crex_str){body.data, body.len}, &again, &err) < 0 || again.len != len ||
	    (len && memcmp(again.data, text, len) != 0))
		abort();
	crex_text_clear(&again);
	buf_deinit(&body);
}

static int read_one(unsigned reader, struct crex_str body, struct crex_error *err)
{
	struct crex_is_alive alive = CREX_IS_ALIVE_INIT;
	struct crex_text text = CREX_TEXT_INIT;
	struct crex_observation obs = CREX_OBSERVATION_INIT;
	struct crex_execute_result res = CREX_EXECUTE_RESULT_INIT;
	static const int statuses[] = {511, 422, 401, 404, 500};
	int r;
	switch (reader) {
	case 0: r = wire_read_is_alive(body, &alive, err); break;
	case 1: r = wire_read_create_session(body, &text, err); break;
	case 2: r = wire_read_observation(body, &obs, err); break;
	case 3: r = wire_read_execute(body, &res, err); break;
	case 4: r = wire_read_read_file(body, &text, err); break;
	default: r = wire_read_error(statuses[reader - 5], body, err); break;
	}
	if (r == 0) {
		same_again(text.data, text.len);
		same_again(obs.output, obs.output_len);
		same_again(res.out, res.out_len);
	}
	crex_is_alive_clear(&alive);
	crex_text_clear(&text);
	crex_observation_clear(&obs);
	crex_execute_result_clear(&res);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct crex_error err = CREX_ERROR_INIT;
	int r = read_one(data[0] % 10u, (struct crex_str){(const char *)data + 1, size - 1}, &err);
	if ((r < 0) != (err.code != CREX_OK) || (r < 0 && !err.message))
		abort();
	crex_error_clear(&err);
	return 0;
}

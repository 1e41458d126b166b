/* fuzz/fuzz_modal.c: what Modal and people's files may say: messages, frames, header lines, tokens, profiles,
 * Dockerfiles. Nothing may crash; frames don't depend on where they were cut, and what is written can be read.
 *
 * The first byte chooses the reader; for frames the second gives the length of the pieces. */
#include "deploy/modal/jwt.h"
#include "deploy/modal/modal.h"
#include "deploy/modal/toml.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_message(struct crex_str message, unsigned depth)
{
	struct pb_reader r = pb_read(message);
	struct modal_result result;
	char how[64];
	modal_result_read(message, &result);
	modal_result_describe(&result, how, sizeof how);
	for (struct pb_field f; pb_next(&r, &f);)
		if (f.wire == PB_BYTES && depth < 20)
			read_message(f.bytes, depth + 1);
}

struct seen {
	size_t n, bytes;
};

static int on_message(void *arg, struct crex_str message)
{
	struct seen *s = arg;
	s->n++;
	s->bytes += message.len;
	return 0;
}

static int feed(const char *data, size_t size, size_t piece, struct seen *ret)
{
	struct grpc_frames f;
	int r = 0;
	*ret = (struct seen){0, 0};
	grpc_frames_init(&f, 300, on_message, ret);
	for (size_t at = 0; r == 0 && at < size; at += piece)
		r = grpc_frames_feed(&f, data + at, size - at < piece ? size - at : piece);
	grpc_frames_deinit(&f);
	return r;
}

static void read_frames(const char *data, size_t size)
{
	struct seen whole, cut;
	if (size < 1)
		return;
	size_t piece = 1 + (unsigned char)data[0] % 16;
	int r = feed(data + 1, size - 1, size, &whole);
	if (feed(data + 1, size - 1, piece, &cut) != r || whole.n != cut.n || whole.bytes != cut.bytes)
		abort();
}

static void read_lines(const char *data, size_t size)
{
	struct grpc_outcome o;
	grpc_outcome_init(&o);
	while (size) {
		const char *newline = memchr(data, '\n', size);
		size_t len = newline ? (size_t)(newline + 1 - data) : size;
		grpc_outcome_line(&o, data, len);
		data += len;
		size -= len;
	}
	for (const char *c = o.message; *c; c++)
		if ((unsigned char)*c < ' ')
			abort();
	if (grpc_is_transient(o.status) && o.status < 0)
		abort();
}

static int on_pair(void *arg, const struct toml_pair *pair, struct crex_error *err)
{
	(void)arg;
	(void)err;
	if (!pair->table || !*pair->value)
		return pair->kind == TOML_STRING ? 0 : (abort(), -1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *data = (const char *)bytes + 1;
	struct recipe recipe;
	if (size-- < 1)
		return 0;
	switch (bytes[0] % 6) {
	case 0: read_message((struct crex_str){data, size}, 0); break;
	case 1: read_frames(data, size); break;
	case 2: read_lines(data, size); break;
	case 3:
		if (jwt_life((struct crex_str){data, size}) < 0)
			abort();
		break;
	case 4: toml_read(data, size, "f", on_pair, NULL, NULL); break;
	case 5:
		if (recipe_parse(data, size, "/nonexistent", &recipe, NULL) == 0)
			recipe_deinit(&recipe);
		break;
	default: break;
	}
	return 0;
}

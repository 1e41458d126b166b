/* cli/source.c: bytes out of a sandbox.
 *
 * SWE-ReX's contract knows only text: reading a file decodes it and folds its newlines. With streams the bytes come as
 * they are. Without (upstream's server), the script's output is sent through base64 in the sandbox and held here as a
 * whole, up to what a server keeps of one command's output. */
#include "cli/source.h"

#include "base/cleanup.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { WHOLE_MAX = 64 << 20, ERRORS_MAX = 4096 };

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int decode(struct buf *out, const char *text, size_t len)
{
	uint32_t bits = 0;
	int n = 0, r = buf_reserve(out, len / 4 * 3 + 3);
	for (size_t i = 0; i < len && r == 0; i++) {
		int value = base64_value(text[i]);
		if (value < 0)
			continue; /* newlines, and the '=' at the end */
		bits = bits << 6 | (uint32_t)value;
		if (++n < 4)
			continue;
		const char three[] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
		r = buf_append(out, three, 3);
		n = 0;
	}
	const char two[] = {(char)(bits >> (n == 3 ? 10 : 4)), (char)(bits >> 2)};
	return r == 0 && n > 1 ? buf_append(out, two, (size_t)n - 1) : r;
}

static int run_whole(struct source *s, const char *script, const char *argument, struct crex_error *err)
{
	cleanup_free char *encoded = NULL;
	/* the script's exit code in its last line; pipefail is not in every sh */
	if (asprintf(&encoded, "{ ( %s\n) ; echo \"exit $?\" >&2; } | base64", script) < 0)
		return crex_error_set_errno(err, ENOMEM, NULL);
	const struct crex_str words[] = {crex_str_of(encoded), CREX_STR("sh"), crex_str_of(argument)};
	struct crex_execute_request request = CREX_EXECUTE_REQUEST_INIT;
	struct crex_execute_result result = CREX_EXECUTE_RESULT_INIT;
	request.command = (struct crex_str_list){words, 3};
	request.command_is_list = true;
	request.shell = true;
	if (crex_runtime_execute(s->rt, &request, &s->call, &result, err) < 0)
		return -1;
	const char *last = result.err_len > 0 ? memrchr(result.err, 'e', result.err_len) : NULL;
	int r = 0;
	if (result.truncated)
		r = crex_error_set(err, CREX_E_LIMIT, "it is too large for a server without streams");
	else if (result.exit_code != 0 || !last || sscanf(last, "exit %d", &s->exit_code) != 1)
		r = crex_error_set(err, CREX_E_UNSUPPORTED, "the sandbox has no base64 and its server no streams: %.*s",
				   (int)(result.err_len < 200 ? result.err_len : 200), result.err ? result.err : "");
	else if (decode(&s->whole, result.out, result.out_len) < 0 ||
		 buf_append(&s->errors, result.err,
			    (size_t)(last - result.err) < ERRORS_MAX ? (size_t)(last - result.err) : ERRORS_MAX) < 0)
		r = crex_error_set_errno(err, ENOMEM, NULL);
	crex_execute_result_clear(&result);
	s->rest = s->whole.data;
	s->rest_len = s->whole.len;
	s->ended = true;
	return r;
}

int source_open(struct source *s, struct crex_runtime *rt, const char *script, const char *argument,
		const struct crex_call *call, struct crex_error *err)
{
	const struct crex_str words[] = {CREX_STR("/bin/sh"), CREX_STR("-c"), crex_str_of(script), CREX_STR("sh"),
					 crex_str_of(argument)};
	struct crex_stream_request request = CREX_STREAM_REQUEST_INIT;
	*s = (struct source){.rt = rt, .call = *call};
	buf_init(&s->whole, WHOLE_MAX);
	buf_init(&s->errors, ERRORS_MAX);
	request.command = (struct crex_str_list){words, 5};
	if (crex_runtime_open_stream(rt, &request, call, &s->stream, err) == 0)
		return crex_stream_close_stdin(s->stream, call, err);
	if (err->code != CREX_E_UNSUPPORTED)
		return -1;
	crex_error_clear(err);
	return run_whole(s, script, argument, err);
}

int source_read(struct source *s, const char **ret, size_t *ret_len, struct crex_error *err)
{
	while (s->rest_len == 0 && !s->ended) {
		struct crex_stream_event event;
		if (crex_stream_read(s->stream, &event, &s->call, err) < 0)
			return -1;
		if (event.kind == CREX_STREAM_EXIT) {
			s->ended = true;
			s->exit_code = event.exit_code;
		} else if (event.kind == CREX_STREAM_STDERR) {
			size_t room = ERRORS_MAX - s->errors.len;
			if (buf_append(&s->errors, event.data, event.len < room ? event.len : room) < 0)
				return crex_error_set_errno(err, ENOMEM, NULL);
		} else {
			s->rest = event.data;
			s->rest_len = event.len;
		}
	}
	*ret = s->rest;
	*ret_len = s->rest_len;
	s->rest_len = 0;
	return 0;
}

int source_read_line(struct source *s, char *line, size_t size, struct crex_error *err)
{
	for (size_t n = 0; n + 1 < size;) {
		const char *data;
		size_t len;
		if (source_read(s, &data, &len, err) < 0)
			return -1;
		if (len == 0)
			break;
		s->rest = data + 1;
		s->rest_len = len - 1;
		if (*data == '\n') {
			line[n] = '\0';
			return 0;
		}
		line[n++] = *data;
	}
	return crex_error_set(err, CREX_E_PROTOCOL, "%s",
			      s->errors.data ? s->errors.data : "no answer from the sandbox");
}

void source_close(struct source *s)
{
	s->stream = crex_stream_free(s->stream);
	buf_deinit(&s->whole);
	buf_deinit(&s->errors);
}

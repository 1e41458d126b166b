/* runtime/local/stream_service.c: frames on one side, a program of the engine on the other.
 *
 * Output: when more than SEND_HIGH bytes wait for the reader, the program's output is no longer read until all of it
 * has gone. Input: the client has a window, bytes that it may send before it hears of more, so that signals, resizes
 * and its hang-up are never stuck behind input that the program doesn't take. One that sends beyond it isn't refused:
 * its connection is simply not read for a while.
 *
 * What a client does wrong is told in a failure frame, which is the last one; so is a program that can't be started. */
#include "runtime/local/stream_service.h"

#include "base/cleanup.h"
#include "wire/client.h"
#include "wire/frame.h"

#include <errno.h>

enum { WINDOW = 256 * 1024, WINDOW_STEP = WINDOW / 4, SEND_HIGH = 256 * 1024, INPUT_HIGH = 2 * WINDOW };
_Static_assert(INPUT_HIGH + FRAME_PAYLOAD_MAX <= LOCAL_STREAM_INPUT_MAX, "a frame beyond the high mark still fits");

struct stream_service {
	struct local *rt;
	const struct stream_transport *transport;
	void *arg;
	struct frame_parser parser;
	struct local_stream *stream; /* NULL: not opened yet, or over */
	bool running, over;
	bool feeding; /* the object must live until feed returns */
	bool paused;
	size_t queued; /* input that the engine has and the program hasn't */
	size_t taken;  /* input that the client hasn't been told of */
};

struct stream_service *stream_service_new(struct local *rt, const struct stream_transport *transport, void *arg)
{
	struct stream_service *s = calloc(1, sizeof *s);
	if (s) {
		*s = (struct stream_service){.rt = rt, .transport = transport, .arg = arg};
		frame_parser_init(&s->parser);
	}
	return s;
}

static void service_free(struct stream_service *s)
{
	frame_parser_deinit(&s->parser);
	free(s);
}

static size_t send_frame(struct stream_service *s, enum frame_type type, const char *data, size_t len)
{
	char head[FRAME_HEADER];
	frame_put_header(head, type, len);
	return s->transport->send(s->arg, head, sizeof head, data, len);
}

static void send_number(struct stream_service *s, enum frame_type type, int32_t value)
{
	char payload[4];
	frame_put_number(payload, value);
	send_frame(s, type, payload, sizeof payload);
}

/* The last frame is out. */
static void finish(struct stream_service *s)
{
	s->over = true;
	s->stream = NULL;
	if (s->feeding)
		return; /* feed does it */
	s->transport->finish(s->arg);
	service_free(s);
}

static void send_failure(struct stream_service *s, const struct crex_error *err)
{
	cleanup_buf struct buf body;
	buf_init(&body, FRAME_PAYLOAD_MAX);
	int r = wire_encode_error(&body, err, "");
	if (r < 0) { /* a message too long for a frame, or no memory */
		cleanup_error struct crex_error brief = CREX_ERROR_INIT;
		crex_error_set(&brief, err->code, "the stream failed; the error's text is too long to be sent");
		r = wire_encode_error(&body, &brief, "");
	}
	if (r == 0)
		send_frame(s, FRAME_FAILURE, body.data, body.len);
}

/* A program that still runs goes with its tree. */
static void fail(struct stream_service *s, const struct crex_error *err)
{
	struct local_stream *stream = steal_ptr(s->stream);
	if (stream)
		local_stream_kill(stream);
	send_failure(s, err);
	finish(s);
}

static void fail_with(struct stream_service *s, enum crex_error_code code, const char *text)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	crex_error_set(&err, code, "%s", text);
	fail(s, &err);
}

/* ---- from the engine ---- */

static void on_started(void *arg, struct crex_error *err)
{
	struct stream_service *s = arg;
	if (err) {
		s->stream = NULL;
		fail(s, err);
		return;
	}
	s->running = true;
	s->taken = 0; /* what came before is within the window that is told now */
	send_number(s, FRAME_WINDOW, s->queued < WINDOW ? (int32_t)(WINDOW - s->queued) : 0);
}

static void on_output(void *arg, bool is_stderr, const char *data, size_t len)
{
	struct stream_service *s = arg;
	if (send_frame(s, is_stderr ? FRAME_STDERR : FRAME_STDOUT, data, len) > SEND_HIGH && s->stream)
		local_stream_pause_output(s->stream, true);
}

static void on_taken(void *arg, size_t len)
{
	struct stream_service *s = arg;
	s->queued -= len < s->queued ? len : s->queued;
	s->taken += len;
	if (s->running && s->taken >= WINDOW_STEP) {
		send_number(s, FRAME_WINDOW, (int32_t)s->taken);
		s->taken = 0;
	}
	if (s->paused && s->queued <= WINDOW) {
		s->paused = false;
		s->transport->pause(s->arg, false);
	}
}

static void on_exited(void *arg, struct crex_error *err, int exit_code)
{
	struct stream_service *s = arg;
	s->stream = NULL;
	if (err)
		send_failure(s, err);
	else
		send_number(s, FRAME_EXIT, exit_code);
	finish(s);
}

/* ---- from the client ---- */

static void open_stream(struct stream_service *s, const struct frame *f)
{
	static const struct local_stream_events events = {on_started, on_output, on_taken, on_exited};
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_buf struct buf detail;
	buf_init(&detail, FRAME_PAYLOAD_MAX);
	struct wire_doc *doc = NULL;
	struct wire_request req;
	int r = wire_decode(WIRE_OPEN_STREAM, (struct crex_str){f->data, f->len}, &doc, &req, &detail);
	if (r == 0)
		s->stream = local_stream_open(s->rt, &req.u.open_stream, &events, s, &err);
	else if (r == 422)
		wire_read_error(422, (struct crex_str){detail.data, detail.len}, &err);
	else
		crex_error_set(&err, CREX_E_MEMORY, "no memory to read the request");
	wire_doc_free(doc);
	if (!s->stream)
		fail(s, &err);
}

static void take_input(struct stream_service *s, const struct frame *f)
{
	s->queued += f->len;
	if (local_stream_write(s->stream, f->data, f->len) < 0) {
		fail_with(s, CREX_E_MEMORY, "out of memory");
		return;
	}
	if (s->queued > INPUT_HIGH && !s->paused) {
		s->paused = true;
		s->transport->pause(s->arg, true);
	}
}

static void take_frame(struct stream_service *s, const struct frame *f)
{
	int32_t numbers[2];
	if (!s->stream) {
		if (f->type == FRAME_OPEN)
			open_stream(s, f);
		else
			fail_with(s, CREX_E_VALUE, "the first frame of a stream has to open it");
		return;
	}
	switch (f->type) {
	case FRAME_INPUT: take_input(s, f); return;
	case FRAME_END: local_stream_close_input(s->stream); return;
	case FRAME_RESIZE:
		if (!frame_get_numbers(f, numbers, 2) || numbers[0] <= 0 || numbers[0] > 65535 || numbers[1] <= 0 ||
		    numbers[1] > 65535)
			break;
		local_stream_resize(s->stream, numbers[0], numbers[1]);
		return;
	case FRAME_SIGNAL:
		if (!frame_get_numbers(f, numbers, 1) || numbers[0] < 1 || numbers[0] > 64)
			break;
		local_stream_signal(s->stream, numbers[0]);
		return;
	default: break;
	}
	fail_with(s, CREX_E_VALUE, "a frame of the stream is malformed");
}

void stream_service_feed(struct stream_service *s, const char *data, size_t len)
{
	s->feeding = true;
	enum frame_result r = FRAME_READY;
	while (r == FRAME_READY && !s->over) {
		size_t used = 0;
		struct frame frame;
		r = frame_feed(&s->parser, data, len, &used, &frame);
		data += used;
		len -= used;
		if (r == FRAME_READY)
			take_frame(s, &frame);
	}
	if (!s->over && r == FRAME_TOO_LONG)
		fail_with(s, CREX_E_VALUE, "a frame of the stream is longer than 65536 bytes");
	else if (!s->over && r == FRAME_NO_MEMORY)
		fail_with(s, CREX_E_MEMORY, "out of memory");
	s->feeding = false;
	if (s->over)
		finish(s);
}

void stream_service_drained(struct stream_service *s)
{
	if (s->stream)
		local_stream_pause_output(s->stream, false);
}

void stream_service_hang_up(struct stream_service *s)
{
	if (s->stream)
		local_stream_kill(s->stream);
	service_free(s);
}

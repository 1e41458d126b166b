/* fuzz_scanner.c: any bytes as terminal output, in any partition. No byte is lost or added, and where the stream was
 * cut changes nothing. The nonces are single repeated digits, so that the fuzzer can write reports. */
#include "runtime/local/scanner.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENTS_MAX = 4096, INPUT_MAX = 4096 };

struct log {
	size_t n, bytes;
	struct {
		enum scan_kind kind;
		int status, number;
		bool not_started;
		size_t at;
	} events[EVENTS_MAX];
};

static void note(struct log *log, const struct scan_event *ev, const uint8_t *whole)
{
	if (ev->kind == SCAN_NONE)
		return;
	if (ev->len == 0 || memcmp(ev->text, whole + log->bytes, ev->len) != 0)
		abort();
	if (ev->kind != SCAN_TEXT) {
		log->events[log->n].kind = ev->kind;
		log->events[log->n].status = ev->status;
		log->events[log->n].number = ev->prompt_number;
		log->events[log->n].not_started = ev->not_started;
		log->events[log->n++].at = log->bytes;
	}
	log->bytes += ev->len;
}

static void scan(const uint8_t *data, size_t size, size_t step, struct log *log)
{
	struct scanner s = {.n_held = 0};
	struct scan_event ev;
	memset(s.session_nonce, '1', NONCE_LEN);
	memset(s.command_nonce, '2', NONCE_LEN);
	memset(log, 0, sizeof *log);
	for (size_t at = 0; at < size;) {
		size_t n = size - at < step ? size - at : step;
		const char *p = (const char *)data + at;
		at += n;
		do {
			size_t used = scanner_feed(&s, p, n, &ev);
			if (used > n)
				abort();
			p += used;
			n -= used;
			note(log, &ev, data);
		} while (ev.kind != SCAN_NONE);
		if (n != 0)
			abort();
	}
	scanner_finish(&s, &ev);
	note(log, &ev, data);
	if (log->bytes != size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct log whole, cut;
	if (size == 0 || size > INPUT_MAX)
		return 0;
	size_t step = 1 + data[0] % 64;
	scan(data, size, size, &whole);
	scan(data, size, step, &cut);
	if (memcmp(&whole, &cut, sizeof whole) != 0)
		abort();
	return 0;
}

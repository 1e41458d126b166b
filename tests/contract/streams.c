/* tests/contract/streams.c: programs with live streams. */
#include "rig.h"

#include <crex/stream.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

struct collected {
	char *out, *err;
	size_t out_len, err_len, out_cap, err_cap;
	int code;
};

static void add(char **to, size_t *len, size_t *cap, const char *data, size_t n)
{
	if (*len + n + 1 > *cap) {
		*cap = 2 * (*len + n + 1);
		*to = realloc(*to, *cap);
		assert_non_null(*to);
	}
	memcpy(*to + *len, data, n);
	*len += n;
	(*to)[*len] = '\0';
}

static void collected_free(struct collected *all)
{
	free(all->out);
	free(all->err);
}

/* Whether it was the last event. */
static bool take(struct contract *c, struct crex_stream *s, struct collected *all)
{
	struct crex_stream_event e;
	const struct crex_call patience = {.timeout = 30};
	OK(c, crex_stream_read(s, &e, &patience, &c->err));
	if (e.kind == CREX_STREAM_STDOUT)
		add(&all->out, &all->out_len, &all->out_cap, e.data, e.len);
	else if (e.kind == CREX_STREAM_STDERR)
		add(&all->err, &all->err_len, &all->err_cap, e.data, e.len);
	else
		all->code = e.exit_code;
	return e.kind == CREX_STREAM_EXIT;
}

/* To the end; s is freed. */
static struct collected finish(struct contract *c, struct crex_stream *s)
{
	struct collected all = {.code = 0};
	add(&all.out, &all.out_len, &all.out_cap, "", 0);
	add(&all.err, &all.err_len, &all.err_cap, "", 0);
	while (!take(c, s, &all))
		;
	crex_stream_free(s);
	return all;
}

static void until(struct contract *c, struct crex_stream *s, const char *text)
{
	struct collected all = {.code = 0};
	add(&all.out, &all.out_len, &all.out_cap, "", 0);
	while (!strstr(all.out, text))
		if (take(c, s, &all))
			fail_msg("ended with %d before '%s': %s", all.code, text, all.out);
	collected_free(&all);
}

static struct crex_stream *open_script(struct contract *c, const char *script, bool tty)
{
	struct crex_stream_request req = CREX_STREAM_REQUEST_INIT;
	const struct crex_str command = {script, strlen(script)};
	req.command = (struct crex_str_list){&command, 1};
	req.shell = true;
	req.tty = tty;
	req.cwd = (struct crex_str){c->home, strlen(c->home)};
	struct crex_stream *s = NULL;
	const struct crex_call patience = {.timeout = 30};
	OK(c, crex_runtime_open_stream(c->rt, &req, &patience, &s, &c->err));
	return s;
}

static void write_text(struct contract *c, struct crex_stream *s, const char *text)
{
	OK(c, crex_stream_write(s, text, strlen(text), NULL, &c->err));
}

static void any_output_and_end(struct contract *c)
{
	canned(c, "out\n", 4, 7);
	struct collected all = finish(c, open_script(c, "echo out; exit 7", false));
	assert_string_equal(all.out, "out\n");
	assert_int_equal(all.code, 7);
	collected_free(&all);
}

static void both_streams(struct contract *c)
{
	struct collected all = finish(c, open_script(c, "echo out; echo err >&2; kill -TERM $$", false));
	assert_string_equal(all.out, "out\n");
	assert_string_equal(all.err, "err\n");
	assert_int_equal(all.code, -SIGTERM);
	collected_free(&all);
}

static void input_and_its_end(struct contract *c)
{
	struct crex_stream *s = open_script(c, "cat; echo over", false);
	write_text(c, s, "hello\n");
	until(c, s, "hello\n");
	write_text(c, s, "again\n");
	OK(c, crex_stream_close_stdin(s, NULL, &c->err));
	struct collected all = finish(c, s);
	assert_string_equal(all.out, "again\nover\n");
	collected_free(&all);
}

enum { BIG = 50 << 20, PIECE = 100000 };

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 2654435761u >> 13);
}

struct writer {
	struct contract *c;
	struct crex_stream *s;
	struct crex_error err;
};

static void *write_big(void *arg)
{
	struct writer *w = arg;
	char *piece = malloc(PIECE);
	int r = 0;
	for (size_t at = 0; at < BIG && r == 0;) {
		size_t n = BIG - at < PIECE ? BIG - at : PIECE;
		for (size_t i = 0; i < n; i++)
			piece[i] = (char)byte_at(at + i);
		r = crex_stream_write(w->s, piece, n, NULL, &w->err);
		at += n;
	}
	free(piece);
	if (r == 0)
		crex_stream_close_stdin(w->s, NULL, &w->err);
	return NULL;
}

static void fifty_megabytes_both_ways(struct contract *c)
{
	struct writer w = {c, open_script(c, "exec cat", false), CREX_ERROR_INIT};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, write_big, &w), 0);
	size_t seen = 0, wrong = 0;
	struct crex_stream_event e;
	const struct crex_call patience = {.timeout = 60};
	for (;;) {
		OK(c, crex_stream_read(w.s, &e, &patience, &c->err));
		if (e.kind != CREX_STREAM_STDOUT)
			break;
		for (size_t i = 0; i < e.len; i++)
			wrong += (unsigned char)e.data[i] != byte_at(seen + i);
		seen += e.len;
	}
	pthread_join(thread, NULL);
	assert_int_equal(w.err.code, CREX_OK);
	assert_int_equal(e.kind, CREX_STREAM_EXIT);
	assert_int_equal(e.exit_code, 0);
	assert_int_equal(seen, BIG);
	assert_int_equal(wrong, 0);
	crex_stream_free(w.s);
}

static void spawn_errors(struct contract *c)
{
	struct crex_stream_request req = CREX_STREAM_REQUEST_INIT;
	struct crex_stream *s = NULL;
	const struct crex_str command = CREX_STR("/no/such/program");
	req.command = (struct crex_str_list){&command, 1};
	FAILS(c, crex_runtime_open_stream(c->rt, &req, NULL, &s, &c->err), CREX_E_FILE_NOT_FOUND);
	assert_string_equal(c->err.message, "[Errno 2] No such file or directory: '/no/such/program'");
	req.command.count = 0;
	FAILS(c, crex_runtime_open_stream(c->rt, &req, NULL, &s, &c->err), CREX_E_VALUE);
	assert_null(s);
}

static void terminal(struct contract *c)
{
	struct crex_stream *s =
		open_script(c, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done", true);
	until(c, s, "ready");
	OK(c, crex_stream_resize(s, 41, 91, NULL, &c->err));
	until(c, s, "41 91");
	FAILS(c, crex_stream_resize(s, 0, 91, NULL, &c->err), CREX_E_VALUE);
	write_text(c, s, "\x03");
	struct collected all = finish(c, s);
	assert_int_equal(all.code, -SIGINT);
	collected_free(&all);
}

static void signals(struct contract *c)
{
	struct crex_stream *s = open_script(c, "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done", false);
	until(c, s, "ready");
	FAILS(c, crex_stream_signal(s, 0, NULL, &c->err), CREX_E_VALUE);
	OK(c, crex_stream_signal(s, SIGUSR1, NULL, &c->err));
	struct collected all = finish(c, s);
	assert_int_equal(all.code, 9);
	collected_free(&all);
}

/* A program that doesn't read: the write ends with its deadline, and a signal still gets through. */
static void writes_that_wait(struct contract *c)
{
	struct crex_stream *s = open_script(c, "exec sleep 600", false);
	const struct crex_call brief = {.timeout = 0.3};
	char *much = calloc(1, 4 << 20);
	FAILS(c, crex_stream_write(s, much, 4 << 20, &brief, &c->err), CREX_E_DEADLINE);
	free(much);
	OK(c, crex_stream_signal(s, SIGTERM, NULL, &c->err));
	struct collected all = finish(c, s);
	assert_int_equal(all.code, -SIGTERM);
	collected_free(&all);
}

static void deadlines_and_cancels_of_reads(struct contract *c)
{
	struct crex_stream *s = open_script(c, "read line; echo got $line", false);
	struct crex_stream_event e;
	const struct crex_call now = {.timeout = 0}, brief = {.timeout = 0.1};
	FAILS(c, crex_stream_read(s, &e, &now, &c->err), CREX_E_DEADLINE);
	double begin = rig_now();
	FAILS(c, crex_stream_read(s, &e, &brief, &c->err), CREX_E_DEADLINE);
	assert_true(rig_now() - begin < 2);
	struct crex_cancel *cancel = crex_cancel_new(&c->err);
	crex_cancel_trigger(cancel);
	const struct crex_call cancelled = {CREX_NO_TIMEOUT, cancel};
	FAILS(c, crex_stream_read(s, &e, &cancelled, &c->err), CREX_E_CANCELLED);
	crex_cancel_free(cancel);
	struct pollfd fd = {.fd = crex_stream_fd(s), .events = POLLIN};
	write_text(c, s, "it\n");
	assert_int_equal(poll(&fd, 1, 20000), 1);
	struct collected all = finish(c, s); /* nothing of it was lost */
	assert_string_equal(all.out, "got it\n");
	collected_free(&all);
}

/* Whatever a write has received meanwhile is told by the descriptor too. */
static void the_descriptor_tells_what_a_write_received(struct contract *c)
{
	struct crex_stream *s = open_script(c, "echo first; read line; sleep 600", false);
	const struct crex_call brief = {.timeout = 0.5}, now = {.timeout = 0};
	char *much = calloc(1, 4 << 20);
	FAILS(c, crex_stream_write(s, much, 4 << 20, &brief, &c->err), CREX_E_DEADLINE);
	free(much);
	struct pollfd fd = {.fd = crex_stream_fd(s), .events = POLLIN};
	assert_int_equal(poll(&fd, 1, 0), 1);
	struct crex_stream_event e;
	OK(c, crex_stream_read(s, &e, &now, &c->err));
	assert_int_equal(e.len, 6);
	crex_stream_free(s);
}

static void freeing_kills_the_tree(struct contract *c)
{
	const char *script = marked(c, "setsid sleep MARK & (sleep MARK &) ; echo ready; exec sleep MARK");
	for (int tty = 0; tty < 2; tty++) {
		struct crex_stream *s = open_script(c, script, tty);
		until(c, s, "ready");
		wait_for_marked(c, 3);
		crex_stream_free(s);
		wait_for_marked(c, 0);
	}
}

static void many_at_once(struct contract *c)
{
	enum { N = 100 };
	struct crex_stream *streams[N];
	char text[32];
	for (int i = 0; i < N; i++)
		streams[i] = open_script(c, "read line; echo $line; exit 3", false);
	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof text, "%d\n", i);
		write_text(c, streams[i], text);
	}
	for (int i = 0; i < N; i++) {
		struct collected all = finish(c, streams[i]);
		snprintf(text, sizeof text, "%d\n", i);
		assert_string_equal(all.out, text);
		assert_int_equal(all.code, 3);
		collected_free(&all);
	}
}

static void slow_reader(struct contract *c)
{
	struct crex_stream *s = open_script(c, "head -c 20000000 /dev/zero; echo over > over", false);
	struct pollfd fd = {.fd = crex_stream_fd(s), .events = POLLIN};
	assert_int_equal(poll(&fd, 1, 20000), 1);
	usleep(300000); /* time in which it would be over if nobody held it */
	assert_int_not_equal(access(contract_path(c, "over"), F_OK), 0);
	struct collected all = finish(c, s);
	assert_int_equal(all.out_len, 20000000);
	assert_int_equal(access(contract_path(c, "over"), F_OK), 0);
	collected_free(&all);
}

const struct contract_case stream_cases[] = {
	{"stream: output and end", any_output_and_end, ANY},
	{"stream: both streams", both_streams, REAL},
	{"stream: input and its end", input_and_its_end, REAL},
	{"stream: fifty megabytes both ways", fifty_megabytes_both_ways, REAL},
	{"stream: spawn errors", spawn_errors, REAL},
	{"stream: terminal", terminal, REAL},
	{"stream: signals", signals, REAL},
	{"stream: writes that wait", writes_that_wait, REAL},
	{"stream: deadlines and cancels of reads", deadlines_and_cancels_of_reads, REAL},
	{"stream: descriptor", the_descriptor_tells_what_a_write_received, REAL},
	{"stream: freeing kills the tree", freeing_kills_the_tree, REAL},
	{"stream: many at once", many_at_once, REAL},
	{"stream: slow reader", slow_reader, REAL},
	{0},
};

/* runtime/local/session_io.c: the terminal's bytes, in and out.
 *
 * Incoming bytes pass the scanner, which parts our reports from the user's text; text is cleaned and handed to
 * session_run.c, reports turn the state machine there. A read callback takes a bounded amount, so that a session that
 * prints without end leaves the loop its time. Outgoing bytes are our constant line or what a client sends to an
 * interactive program; what the terminal can't take at once waits in tx. */
#include "runtime/local/session.h"

#include "proc/pty.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* A pty gives up to 4 KB a read; one that gives less has been emptied, which saves the read that would say so. */
enum { READ_CHUNK = 65536, READS_AT_ONCE = 16, SHORT_READ = 1024 };

void session_on_text(struct session *s, const char *text, size_t len)
{
	/* bash's own answer to a second SIGINT; the prompt comes once more */
	if (s->n_doubted > 0 && !s->doubted_newline && len == 2 && memcmp(text, "\r\n", 2) == 0) {
		s->doubted_newline = true;
		return;
	}
	s->output_came = true;
	if (s->drop_output)
		return;
	if (s->n_doubted > 0) {
		/* something follows what looked like the prompt: it was a program's text */
		size_t n = s->n_doubted;
		s->n_doubted = 0;
		session_on_text(s, s->doubted, n);
		if (s->doubted_newline)
			session_on_text(s, "\r\n", 2);
	}
	struct buf *scratch = &s->rt->scratch;
	buf_clear(scratch);
	if (text_clean_feed(&s->clean, text, len, scratch) == 0 || scratch->len > 0)
		session_on_output(s, scratch->data, scratch->len);
}

static void process(struct session *s, const char *data, size_t len)
{
	for (;;) {
		struct scan_event ev;
		size_t used = scanner_feed(&s->scan, data, len, &ev);
		data += used;
		len -= used;
		switch (ev.kind) {
		case SCAN_NONE: return;
		case SCAN_TEXT: session_on_text(s, ev.text, ev.len); break;
		case SCAN_END:
			if (s->n_doubted > 0)
				session_on_text(s, "", 0);
			session_on_end(s, ev.status);
			break;
		case SCAN_PROMPTLESS: session_on_promptless(s); break;
		case SCAN_ABORT: session_on_abort(s, ev.status, ev.not_started); break;
		case SCAN_PROMPT:
			if (s->n_doubted > 0)
				session_on_text(s, "", 0);
			session_on_prompt(s, &ev);
			break;
		}
	}
}

/* Returns false when the terminal has nothing more to give, now or ever. */
static bool read_once(struct session *s, size_t enough, bool *ret_gone)
{
	char data[READ_CHUNK];
	ssize_t n = read(s->master, data, sizeof data);
	if (n > 0) {
		process(s, data, (size_t)n);
		return (size_t)n >= enough;
	}
	if (n < 0 && errno == EINTR)
		return true;
	*ret_gone = n == 0 || errno != EAGAIN;
	return false;
}

void session_io_drain(struct session *s)
{
	bool gone = false;
	/* bounded by what a pty holds: whoever still writes is being killed */
	for (int i = 0; s->master >= 0 && i < 4096 && read_once(s, 1, &gone); i++)
		;
}

static void poll_cb(uv_poll_t *poll, int status, int events);

static void update_poll(struct session *s)
{
	if (!s->handles_open || !s->poll.data)
		return;
	uv_poll_start(&s->poll, UV_READABLE | (s->tx.len > 0 ? UV_WRITABLE : 0), poll_cb);
}

static void flush_tx(struct session *s)
{
	while (s->tx.len > 0) {
		ssize_t n = write(s->master, s->tx.data, s->tx.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_consume(&s->tx, (size_t)n);
	}
}

static void poll_cb(uv_poll_t *poll, int status, int events)
{
	struct session *s = poll->data;
	bool gone = status < 0;
	session_ref(s);
	if (events & UV_WRITABLE) {
		flush_tx(s);
		if (s->tx.len == 0)
			update_poll(s);
	}
	if (events & UV_READABLE)
		for (int i = 0; i < READS_AT_ONCE && read_once(s, SHORT_READ, &gone); i++)
			;
	/* every slave is closed: the shell's exit is about to be reported by the reaper */
	if (gone && s->handles_open)
		uv_poll_stop(&s->poll);
	session_unref(s);
}

/* The pipe isn't polled: three wake-ups a command would cost more than the command. It holds what the shell can write
 * in all but strange cases and is read when the prompt has come. */
void session_read_report(struct session *s)
{
	char data[4096];
	for (;;) {
		ssize_t n = read(s->report_fd, data, sizeof data);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		/* past the cap it is only kept flowing: the next command then finds no traps put back */
		buf_append(&s->report, data, (size_t)n);
		if ((size_t)n < sizeof data)
			return;
	}
}

void session_io_start(struct session *s)
{
	if (uv_poll_init(s->rt->loop, &s->poll, s->master) < 0) {
		session_end(s);
		return;
	}
	s->poll.data = s;
	session_ref(s); /* until the handle is closed */
	update_poll(s);
}

void session_write(struct session *s, const char *data, size_t len)
{
	if (s->tx.len == 0) {
		ssize_t n;
		do
			n = write(s->master, data, len);
		while (n < 0 && errno == EINTR);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	if (len > 0 && buf_append(&s->tx, data, len) == 0)
		update_poll(s);
}

void session_type_line(struct session *s)
{
	/* the user may have left the terminal raw or echoing */
	proc_pty_reset(s->master);
	session_write(s, s->line, strlen(s->line));
}

bool session_store_text(struct session *s, const struct buf *text)
{
	/* a long text is not left behind for the next report to be searched through */
	if (s->text_len > READ_CHUNK && ftruncate(s->memfd, 0) < 0)
		return false;
	for (size_t off = 0; off < text->len;) {
		ssize_t n = pwrite(s->memfd, text->data + off, text->len - off, (off_t)off);
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			off += (size_t)n;
	}
	s->text_len = text->len;
	s->line = shell_typed_line(text);
	return lseek(s->memfd, 0, SEEK_SET) == 0;
}

static ssize_t read_proc(const struct session *s, const char *name, char *text, size_t size)
{
	char path[48];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)s->pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

/* Whether bash waits for a line: it is in the foreground, sleeps, and sleeps in read(0). In /proc/<pid>/stat the state
 * follows the last ')', the foreground process group is the fifth field after it. /proc/<pid>/syscall (which some
 * kernels lack) begins with the number of the call and its first argument; read is 0 on x86-64, 63 on aarch64 and 3
 * on 32-bit kernels, and under qemu-user the host's number shows, so any of them will do. */
bool session_at_prompt(const struct session *s)
{
	char text[512], state;
	int ppid, pgrp, session, tty, tpgid;
	long call;
	unsigned long arg0;
	ssize_t n = read_proc(s, "stat", text, sizeof text);
	if (n < 0)
		return tcgetpgrp(s->master) == s->pid; /* no /proc to ask whether it sleeps */
	const char *p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %c %d %d %d %d %d", &state, &ppid, &pgrp, &session, &tty, &tpgid) != 6)
		return false;
	if (state != 'S' || tpgid != pgrp)
		return false;
	if (read_proc(s, "syscall", text, sizeof text) <= 0 || sscanf(text, "%ld %lx", &call, &arg0) != 2)
		return true;
	return (call == 0 || call == 63 || call == 3) && arg0 == 0;
}

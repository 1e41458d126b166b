/* tests/unit/remote_rig.c: see the header. */
#include "remote_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_MS = 30000 };

double rig_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

char *rig_run(const char *fmt, ...)
{
	char command[4096], *out = calloc(1, 65536);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	FILE *f = popen(command, "r");
	assert_non_null(f);
	size_t n = fread(out, 1, 65535, f);
	out[n] = '\0';
	if (pclose(f) != 0)
		fail_msg("%s: %s", command, out);
	return out;
}

static const char *server_program(void)
{
	const char *path = getenv("CREX_SERVER");
	return path ? path : SERVER;
}

static void become_server(const struct rig_server *s, int port, int out)
{
	char number[16], token[64] = "SWEREX_AUTH_TOKEN=" RIG_TOKEN, home[96],
			 path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
	char quiet[] = "SWE_REX_LOG_STREAM_LEVEL=ERROR", *env[] = {token, home, path, quiet, NULL};
	snprintf(home, sizeof home, "HOME=%s", s->home);
	snprintf(number, sizeof number, "%d", port);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0);
	dup2(out, 1);
	if (*s->socket)
		execle(server_program(), "swerex-remote", "--unix-socket", s->socket, (char *)NULL, env);
	else
		execle(server_program(), "swerex-remote", "--host", "127.0.0.1", "--port", number, (char *)NULL, env);
	_exit(127);
}

void rig_server_start(struct rig_server *s, int port, bool unix_socket)
{
	int out[2];
	if (!*s->home) {
		strcpy(s->home, "/tmp/crex-remote-XXXXXX");
		assert_non_null(mkdtemp(s->home));
	}
	*s->socket = '\0';
	if (unix_socket)
		snprintf(s->socket, sizeof s->socket, "%s/socket", s->home);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0)
		become_server(s, port, out[1]);
	close(out[1]);
	s->out = out[0];
	char said[512];
	size_t len = 0;
	struct pollfd p = {.fd = s->out, .events = POLLIN};
	while (!memchr(said, '\n', len)) {
		assert_true(poll(&p, 1, START_MS) > 0);
		ssize_t n = read(s->out, said + len, sizeof said - 1 - len);
		if (n <= 0)
			fail_msg("%s did not start", server_program());
		len += (size_t)n;
	}
	said[len] = '\0';
	const char *at = strstr(said, "127.0.0.1:");
	s->port = at ? atoi(at + 10) : 0;
	assert_true(unix_socket || s->port > 0);
}

void rig_server_kill(struct rig_server *s)
{
	if (s->pid <= 0)
		return;
	free(rig_run("for p in $(pgrep -P %d) %d; do kill -9 $p; done 2>/dev/null; true", s->pid, s->pid));
	waitpid(s->pid, NULL, 0);
	close(s->out);
	s->pid = 0;
}

void rig_server_stop(struct rig_server *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGTERM);
		waitpid(s->pid, NULL, 0);
		close(s->out);
	}
	s->pid = 0;
	if (*s->home)
		free(rig_run("rm -rf %s", s->home));
	*s->home = '\0';
}

const char *rig_path(const struct rig_server *s, const char *name)
{
	static _Thread_local char paths[8][160];
	static _Thread_local unsigned next;
	char *path = paths[next++ % 8];
	snprintf(path, sizeof paths[0], "%s/%s", s->home, name);
	return path;
}

struct crex_runtime *rig_runtime(int port)
{
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	struct crex_error err = CREX_ERROR_INIT;
	config.auth_token = RIG_TOKEN;
	config.port = port;
	struct crex_runtime *rt = crex_remote_runtime_new(&config, &err);
	assert_non_null(rt);
	return rt;
}

size_t rig_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t n = 0;
	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

struct crex_execute_request rig_shell(const char *script)
{
	static _Thread_local struct crex_str item;
	struct crex_execute_request req = CREX_EXECUTE_REQUEST_INIT;
	item = crex_str_of(script);
	req.command = (struct crex_str_list){&item, 1};
	req.shell = true;
	return req;
}

static int listen_anywhere(int *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

/* --- the relay ------------------------------------------------------------------------------------------------ */

static bool stopped(const int stop[2], int fd, int fd2)
{
	struct pollfd p[3] = {
		{.fd = stop[0], .events = POLLIN}, {.fd = fd, .events = POLLIN}, {.fd = fd2, .events = POLLIN}};
	while (poll(p, 3, -1) < 0)
		;
	return p[0].revents;
}

static void push_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

/* Moves what is there, at most `left` bytes; false: this way is at its end. */
static bool relay_move(int from, int to, long left, long *ret_moved)
{
	char data[65536];
	size_t room = left >= 0 && left < (long)sizeof data ? (size_t)left : sizeof data;
	ssize_t n = recv(from, data, room, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	push_all(to, data, (size_t)n);
	*ret_moved += n;
	return true;
}

static void relay_connection(struct relay *r, int client)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons((uint16_t)r->to_port)};
	int one = 1, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long request = 0, reply = 0, request_max, reply_max;
	pthread_mutex_lock(&r->lock);
	bool cut = r->cuts > 0;
	r->cuts -= cut;
	request_max = cut ? r->request : -1;
	reply_max = cut ? r->reply : -1;
	pthread_mutex_unlock(&r->lock);
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	bool going = connect(server, (struct sockaddr *)&a, sizeof a) == 0;
	while (going && request != request_max && reply != reply_max && !stopped(r->stop, client, server)) {
		going = relay_move(client, server, request_max >= 0 ? request_max - request : -1, &request) &&
			relay_move(server, client, reply_max >= 0 ? reply_max - reply : -1, &reply);
	}
	if (!cut) {
		pthread_mutex_lock(&r->lock);
		r->seen_request = request;
		r->seen_reply = reply;
		pthread_mutex_unlock(&r->lock);
	}
	close(server);
	close(client);
}

static void *relay_main(void *arg)
{
	struct relay *r = arg;
	while (!stopped(r->stop, r->listener, -1)) {
		int client = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
		if (client >= 0)
			relay_connection(r, client);
	}
	return NULL;
}

void relay_start(struct relay *r, int to_port)
{
	*r = (struct relay){.to_port = to_port, .request = -1, .reply = -1};
	pthread_mutex_init(&r->lock, NULL);
	assert_int_equal(pipe2(r->stop, O_CLOEXEC), 0);
	r->listener = listen_anywhere(&r->port);
	assert_int_equal(pthread_create(&r->thread, NULL, relay_main, r), 0);
}

void relay_set(struct relay *r, long request, long reply, int cuts)
{
	pthread_mutex_lock(&r->lock);
	r->request = request;
	r->reply = reply;
	r->cuts = cuts;
	pthread_mutex_unlock(&r->lock);
}

static void end_thread(pthread_t thread, int stop[2], int listener)
{
	assert_int_equal(write(stop[1], "", 1), 1);
	pthread_join(thread, NULL);
	close(stop[0]);
	close(stop[1]);
	close(listener);
}

void relay_stop(struct relay *r)
{
	end_thread(r->thread, r->stop, r->listener);
	pthread_mutex_destroy(&r->lock);
}

/* --- fixed answers -------------------------------------------------------------------------------------------- */

static void *canned_main(void *arg)
{
	struct canned *c = arg;
	char request[65536];
	while (!stopped(c->stop, c->listener, -1)) {
		int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (!stopped(c->stop, fd, -1) && recv(fd, request, sizeof request, 0) > 0)
			push_all(fd, c->bytes, c->len);
		while (c->hold && !stopped(c->stop, fd, -1) && recv(fd, request, sizeof request, 0) > 0)
			;
		close(fd);
	}
	return NULL;
}

void canned_start(struct canned *c, const char *bytes, bool hold)
{
	*c = (struct canned){.bytes = bytes, .len = strlen(bytes), .hold = hold};
	assert_int_equal(pipe2(c->stop, O_CLOEXEC), 0);
	c->listener = listen_anywhere(&c->port);
	assert_int_equal(pthread_create(&c->thread, NULL, canned_main, c), 0);
}

void canned_stop(struct canned *c)
{
	end_thread(c->thread, c->stop, c->listener);
}

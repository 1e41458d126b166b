/* fuzz/fuzz_http.c: the request path: bytes from a socket through the connections, the routes and the decoders, on an
 * engine without processes.
 *
 * Input: one byte for the size of the pieces, then what the client sends before it shuts its side. The server must
 * end the connection by itself, with nothing left over. */
#include "fake_engine.h"
#include "server/server.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig {
	uv_loop_t loop;
	struct options opt;
	struct server srv;
};

static struct rig *make_rig(void)
{
	static struct rig r; /* the process is the test */
	static char token[] = "k";
	if (r.srv.http)
		return &r;
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&r.loop);
	r.opt.token = token;
	r.opt.max_connections = 4;
	const struct http_config http = {.max_header = 2048,
					 .max_body = 65536,
					 .max_connections = 4,
					 .max_backlog = 1 << 24,
					 .idle_ms = 1000,
					 .header_ms = 1000,
					 .min_rate = 512};
	const struct local_config engine = {.max_sessions = 1};
	r.srv = (struct server){.loop = &r.loop, .opt = &r.opt, .reply_max = 1 << 24};
	r.srv.rt = local_new(&r.loop, &engine);
	r.srv.http = http_server_new(&r.loop, &http, &server_handler, &r.srv);
	r.srv.idem = idem_new(&(struct idem_config){16, 65536, 1000});
	return &r;
}

static bool drop_replies(int fd)
{
	char scrap[65536];
	return recv(fd, scrap, sizeof scrap, MSG_DONTWAIT) > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig *r = make_rig();
	int pair[2];
	if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (http_server_adopt(r->srv.http, pair[0]) < 0)
		abort();
	size_t step = data[0] ? (size_t)data[0] * 8 : size;
	for (size_t at = 1; at < size; at += step) {
		if (send(pair[1], data + at, step < size - at ? step : size - at, MSG_NOSIGNAL) < 0)
			break;
		uv_run(&r->loop, UV_RUN_NOWAIT);
	}
	shutdown(pair[1], SHUT_WR);
	while (http_server_connections(r->srv.http) > 0 || http_server_busy(r->srv.http)) {
		drop_replies(pair[1]);
		fake_release(r->srv.rt);
		uv_run(&r->loop, UV_RUN_NOWAIT);
	}
	close(pair[1]);
	if (r->srv.n_calls != 0)
		abort();
	return 0;
}

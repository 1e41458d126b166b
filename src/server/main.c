/* server/main.c: swerex-remote: start, run, and an orderly end.
 *
 * The order of the first steps is what matters here. What children will get back (nice value, limits, environment) is
 * recorded before this process changes its own; the token leaves argv and the environment before anything listens; what
 * can't be done without later is reserved (reserve.c). Before all of it closed standard descriptors are filled, since
 * whatever was opened in their places next would be taken for them: stray output would go into a socket or a pipe of
 * ours, and libuv refuses to close such a number. All state lives in one struct on main's stack.
 *
 * The end (SIGTERM, SIGINT, or nobody there for --host-timeout): no more connections, the engine kills every tree
 * and answers every pending request with an error, those replies go out, then the loop runs empty and the exit code
 * is 0, since deployments start a fallback on any other. A second signal, or five seconds, end it at once. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "proc/spawn.h"
#include "proc/tree.h"
#include "server/guardian.h"
#include "server/reserve.h"
#include "server/memory.h"
#include "server/server.h"
#include "wire/json_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	EXIT_BAD_START = 1,
	FLUSH_TICK_MS = 20,
	FLUSH_TICKS_MAX = 100, /* how long the last replies may take to be sent */
	END_MAX_MS = 5000,
	WORKERS = 16,
};

struct program {
	struct options opt;
	struct log log;
	uv_loop_t loop;
	struct server srv;
	uv_signal_t on_term, on_int;
	uv_timer_t timer; /* idle check while running, flushing at the end */
	uv_timer_t watchdog;
	unsigned flush_ticks;
	bool ending;
};

extern char **environ;

static int die(const char *what, const char *detail)
{
	fprintf(stderr, "swerex-remote: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
	return EXIT_BAD_START;
}

/* ---- the end ---- */

static void on_http_closed(void *arg)
{
	struct program *p = arg;
	uv_close((uv_handle_t *)&p->on_term, NULL);
	uv_close((uv_handle_t *)&p->on_int, NULL);
	uv_close((uv_handle_t *)&p->timer, NULL);
	uv_close((uv_handle_t *)&p->watchdog, NULL);
}

static void on_flush_tick(uv_timer_t *timer)
{
	struct program *p = timer->data;
	if (http_server_busy(p->srv.http) && ++p->flush_ticks < FLUSH_TICKS_MAX)
		return;
	uv_timer_stop(timer);
	http_server_close(p->srv.http, on_http_closed, p);
}

static void on_engine_closed(void *arg)
{
	struct program *p = arg;
	p->srv.rt = NULL;
	uv_timer_start(&p->timer, on_flush_tick, 0, FLUSH_TICK_MS);
}

static void end_now(struct program *p)
{
	proc_tree_kill_all();
	if (p->opt.unix_socket)
		unlink(p->opt.unix_socket);
	_exit(0);
}

static void on_watchdog(uv_timer_t *timer)
{
	end_now(timer->data);
}

static void begin_end(struct program *p, const char *why)
{
	if (p->ending) {
		end_now(p);
		return;
	}
	p->ending = true;
	log_at(&p->log, LOG_LEVEL_INFO, "server", NULL, "shutting down: %s", why);
	uv_timer_stop(&p->timer);
	uv_timer_start(&p->watchdog, on_watchdog, END_MAX_MS, 0);
	http_server_drain(p->srv.http);
	local_shutdown(p->srv.rt, on_engine_closed, p);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	begin_end(handle->data, signum == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* A command that goes on for a client that is gone keeps nobody waiting. A client that waits now may be gone right
 * after this look: its time is counted from the next one. */
static void on_idle_check(uv_timer_t *timer)
{
	struct program *p = timer->data;
	uint64_t limit = p->opt.host_timeout_ms, now = uv_now(&p->loop), look = limit / 8 + 1;
	if (http_server_is_awaited(p->srv.http))
		p->srv.last_request_ms = now + look;
	uint64_t end = p->srv.last_request_ms + limit;
	if (p->srv.last_request_ms > now)
		uv_timer_start(timer, on_idle_check, look, 0);
	else if (end > now)
		uv_timer_start(timer, on_idle_check, end - now, 0);
	else
		begin_end(p, "no client for the time of --host-timeout");
}

/* ---- the start ---- */

/* Children's environment: ours, without what is meant for the server alone. */
static char **child_environment(void)
{
	size_t n = 0;
	while (environ[n])
		n++;
	char **copy = calloc(n + 1, sizeof *copy);
	for (size_t i = 0, k = 0; copy && i < n; i++) {
		if (strncmp(environ[i], "SWEREX_AUTH_TOKEN=", 18) != 0 &&
		    strncmp(environ[i], OPTIONS_HOST_TIMEOUT_ENV "=", sizeof OPTIONS_HOST_TIMEOUT_ENV) != 0)
			copy[k++] = environ[i];
	}
	return copy;
}

static void prepare_process(void)
{
	struct rlimit files;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	/* The users' commands may saturate the processors; the loop must still get its turn. */
	(void)setpriority(PRIO_PROCESS, 0, -10);
#ifdef M_ARENA_MAX
	/* Few arenas, and big blocks straight from and to the system: memory stays flat whatever has passed through. */
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MMAP_THRESHOLD, 256 * 1024);
	mallopt(M_TRIM_THRESHOLD, 512 * 1024);
#endif
}

/* Says where it listens: for people, and for the programs that asked for port 0. */
static int start_listening(struct program *p)
{
	const struct options *opt = &p->opt;
	int fd = -1, r;
	unsigned port = 0;
	if (opt->unix_socket)
		r = http_listen_unix(opt->unix_socket, &fd);
	else
		r = http_listen_tcp(opt->host, (unsigned)opt->port, &fd, &port);
	if (r == 0)
		r = http_server_listen(p->srv.http, fd);
	if (r < 0) {
		const char *why =
			r == -ENOENT && !opt->unix_socket ? "not an address nor a name in /etc/hosts" : strerror(-r);
		if (opt->unix_socket)
			fprintf(stderr, "swerex-remote: can't listen on %s: %s\n", opt->unix_socket, why);
		else
			fprintf(stderr, "swerex-remote: can't listen on %s port %u: %s\n", opt->host,
				(unsigned)opt->port, why);
		return EXIT_BAD_START;
	}
	bool v6 = !opt->unix_socket && strchr(opt->host, ':');
	if (opt->unix_socket)
		printf("listening on unix:%s\n", opt->unix_socket);
	else
		printf("listening on http://%s%s%s:%u\n", v6 ? "[" : "", opt->host, v6 ? "]" : "", port);
	fflush(stdout);
	return 0;
}

static unsigned milliseconds(uint64_t ms)
{
	return ms > UINT32_MAX ? UINT32_MAX : (unsigned)ms;
}

static int make_server(struct program *p, char *const *envp)
{
	const struct options *o = &p->opt;
	struct server *srv = &p->srv;
	const struct local_config engine = {
		.envp = envp,
		.adopt_orphans = true,
		.max_sessions = o->max_sessions,
		.max_output = o->max_output,
		.max_file = o->max_file,
		.max_unzip = o->max_unzip,
		.max_queue = o->max_queue,
		.log = &p->log,
	};
	const struct http_config http = {
		.max_header = o->max_header,
		.max_body = o->max_body,
		.max_connections = o->max_connections,
		.max_backlog = o->max_backlog,
		.idle_ms = milliseconds(o->idle_timeout_ms),
		.header_ms = milliseconds(o->header_timeout_ms),
		.min_rate = (unsigned)o->min_rate,
		.log = &p->log,
	};
	const struct idem_config kept = {.max_count = o->idempotency_count,
					 .max_bytes = o->idempotency_bytes,
					 .max_age_ms = o->idempotency_age_ms};
	srv->loop = &p->loop;
	srv->opt = o;
	srv->log = &p->log;
	/* the worst text is all control bytes, six characters each in JSON; two streams, or twice in an error */
	srv->reply_max = 6 * (2 * o->max_output + o->max_file) + 65536;
	srv->rt = local_new(&p->loop, &engine);
	srv->http = http_server_new(&p->loop, &http, &server_handler, srv);
	srv->idem = idem_new(&kept);
	return srv->rt && srv->http && srv->idem ? 0 : die("out of memory", NULL);
}

static void on_unused_engine_closed(void *arg)
{
	(void)arg;
}

/* After a failed start: whatever part of the server there is, before its first request. */
static void take_down(struct program *p)
{
	if (p->srv.rt)
		local_shutdown(p->srv.rt, on_unused_engine_closed, NULL);
	if (p->srv.http)
		http_server_close(p->srv.http, NULL, NULL);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_loop_close(&p->loop);
	idem_free(p->srv.idem);
}

static void start_handles(struct program *p)
{
	uv_signal_init(&p->loop, &p->on_term);
	uv_signal_init(&p->loop, &p->on_int);
	uv_timer_init(&p->loop, &p->timer);
	uv_timer_init(&p->loop, &p->watchdog);
	p->on_term.data = p->on_int.data = p->timer.data = p->watchdog.data = p;
	uv_signal_start(&p->on_term, on_signal, SIGTERM);
	uv_signal_start(&p->on_int, on_signal, SIGINT);
	p->srv.last_request_ms = uv_now(&p->loop);
	if (p->opt.host_timeout_ms > 0)
		uv_timer_start(&p->timer, on_idle_check, p->opt.host_timeout_ms, 0);
}

static int serve(struct program *p)
{
	/* After the token has gone from argv, which the guardian shares with us, and before any thread. */
	(void)guardian_enter(!p->opt.no_guardian);
	cleanup_free char **envp = child_environment();
	if (!envp)
		return die("out of memory", NULL);
	prepare_process();
	json_memory_install();
	reserve_memory();
	int r = uv_loop_init(&p->loop);
	if (r < 0)
		return die("no event loop", uv_strerror(r));
	r = reserve_workers(&p->loop, WORKERS);
	if (r < 0) {
		uv_loop_close(&p->loop);
		return die("can't start a thread", strerror(-r));
	}
	if (make_server(p, envp) != 0 || start_listening(p) != 0) {
		take_down(p);
		return EXIT_BAD_START;
	}
	start_handles(p);
	log_at(&p->log, LOG_LEVEL_INFO, "server", NULL, "compatible with SWE-ReX %s; token check is %s",
	       SWEREX_COMPATIBLE_VERSION, *p->opt.token ? "on" : "OFF");
	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_loop_close(&p->loop);
	idem_free(p->srv.idem);
	if (p->opt.unix_socket)
		unlink(p->opt.unix_socket);
	return 0;
}

static int print_routes(void)
{
	for (size_t i = 0; i < routes_count; i++)
		printf("%s %s\n", routes[i].method, routes[i].path);
	return 0;
}

static int print_help(void)
{
	struct buf text cleanup_buf;
	buf_init(&text, 65536);
	if (options_print_help(&text) == 0)
		fwrite(text.data, 1, text.len, stdout);
	return 0;
}

/* Without /dev/null: the reading end of a pipe that nobody writes. Reading it gives the end at once, writing to it
 * fails as on the closed descriptor and raises no SIGPIPE, and nothing can fill up. */
static void open_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || open("/dev/null", O_RDWR) >= 0)
			continue; /* the lowest free number is always this one */
		int ends[2];
		if (pipe(ends) == 0)
			close(ends[1]);
	}
}

int main(int argc, char **argv)
{
	open_standard_fds();
	proc_spawn_remember_defaults();
	struct program p = {0};
	struct buf error cleanup_buf;
	buf_init(&error, 4096);
	enum options_result parsed = options_parse(&p.opt, argc, argv, getenv, memory_limit(), &error);
	options_scrub(argc, argv, environ);
	unsetenv("SWEREX_AUTH_TOKEN");
	const char *no_color = getenv("NO_COLOR");
	p.log = (struct log){.fd = STDERR_FILENO,
			     .level = p.opt.level,
			     .format = p.opt.format,
			     .color = isatty(STDERR_FILENO) && !(no_color && *no_color)};
	int code = 0;
	switch (parsed) {
	case OPTIONS_RUN: code = serve(&p); break;
	case OPTIONS_HELP: code = print_help(); break;
	case OPTIONS_VERSION: puts(SWEREX_COMPATIBLE_VERSION); break;
	case OPTIONS_ROUTES: code = print_routes(); break;
	case OPTIONS_BAD: code = die(error.data ? error.data : "bad arguments", NULL); break;
	}
	options_deinit(&p.opt);
	return code;
}

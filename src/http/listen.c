/* http/listen.c: listening sockets, and host names without a resolver.
 *
 * The static binary can't load NSS modules out of a foreign image, so a host is a literal address, a name in
 * /etc/hosts, or "localhost" even where that file is missing; everything else is -ENOENT.
 * TCP_NODELAY is set on the listening socket: Linux hands it on to the accepted ones, which saves a call each. */
#include "base/cleanup.h"
#include "http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024, HOSTS_MAX = 65536 };

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

static bool parse_literal(const char *host, union address *ret, socklen_t *ret_len)
{
	union address a;
	memset(&a, 0, sizeof a);
	if (inet_pton(AF_INET, host, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		*ret_len = sizeof a.v4;
	} else if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) == 1) {
		a.v6.sin6_family = AF_INET6;
		*ret_len = sizeof a.v6;
	} else {
		return false;
	}
	*ret = a;
	return true;
}

static bool parse_hosts(const char *name, union address *ret, socklen_t *ret_len)
{
	cleanup_fd int fd = open("/etc/hosts", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	cleanup_free char *text = fd >= 0 ? malloc(HOSTS_MAX + 1) : NULL;
	ssize_t n = text ? read(fd, text, HOSTS_MAX) : -1;
	if (n < 0)
		return false;
	text[n] = '\0';
	char *line_state = NULL;
	for (char *line = strtok_r(text, "\n", &line_state); line; line = strtok_r(NULL, "\n", &line_state)) {
		line[strcspn(line, "#")] = '\0';
		char *word_state = NULL;
		const char *literal = strtok_r(line, " \t\r", &word_state);
		for (char *word; literal && (word = strtok_r(NULL, " \t\r", &word_state));) {
			if (strcasecmp(word, name) == 0 && parse_literal(literal, ret, ret_len))
				return true;
		}
	}
	return false;
}

static int listen_on(const union address *a, socklen_t len, int *ret_fd)
{
	cleanup_fd int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int on = 1, off = 0;
	if (a->any.sa_family != AF_UNIX) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	}
	if (a->any.sa_family == AF_INET6) /* :: serves IPv4 too, whatever the sysctl says */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, &a->any, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int http_listen_tcp(const char *host, unsigned port, int *ret_fd, unsigned *ret_port)
{
	union address a;
	socklen_t len = 0;
	if (!parse_literal(host, &a, &len) && !parse_hosts(host, &a, &len) &&
	    !(strcasecmp(host, "localhost") == 0 && parse_literal("127.0.0.1", &a, &len)))
		return -ENOENT;
	/* both families have the port at the same place */
	a.v4.sin_port = htons((uint16_t)port);
	int fd, r = listen_on(&a, len, &fd);
	if (r < 0)
		return r;
	union address bound;
	socklen_t size = sizeof bound;
	*ret_port = getsockname(fd, &bound.any, &size) == 0 ? ntohs(bound.v4.sin_port) : port;
	*ret_fd = fd;
	return 0;
}

/* Only a socket can be: connect refuses a regular file with the same error, and that is somebody's data. */
static bool is_stale(const union address *a, socklen_t len)
{
	struct stat st;
	if (lstat(a->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd >= 0 && connect(fd, &a->any, len) < 0 && errno == ECONNREFUSED;
}

int http_listen_unix(const char *path, int *ret_fd)
{
	union address a;
	memset(&a, 0, sizeof a);
	a.un.sun_family = AF_UNIX;
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof a.un.sun_path)
		return -ENAMETOOLONG;
	memcpy(a.un.sun_path, path, n + 1);
	mode_t before = umask(0177); /* the file is made by bind, so this is the only moment without a race */
	int r = listen_on(&a, sizeof a.un, ret_fd);
	if (r == -EADDRINUSE && is_stale(&a, sizeof a.un) && unlink(path) == 0)
		r = listen_on(&a, sizeof a.un, ret_fd);
	umask(before);
	return r;
}

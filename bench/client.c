/* bench/client.c: the load client: blocking sockets, no library, so that little of what is measured is its own.
 *
 *   client PORT TOKEN loop keep|new COUNT METHOD PATH BODY [METHOD PATH BODY ...]
 *       sends the requests in turn COUNT times over one kept connection or a new one for each, and prints the
 *       times of the first of them (connecting included in mode new)
 *   client PORT TOKEN parallel N METHOD PATH BODY
 *       N connections, all requests sent, then all replies awaited; prints the time of all together
 *   client PORT TOKEN upload BYTES TARGET
 *       one multipart upload of that many zero bytes
 *
 * "%d" in a body becomes the request's number. Every POST carries an X-Request-ID of its own, as the real clients'
 * do. A reply that is not 200 ends the program. */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
	const char *method, *path, *body;
};

struct target {
	struct sockaddr_in address;
	const char *token;
	unsigned serial;
};

static int dial(const struct target *t)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	if (fd < 0 || connect(fd, (const struct sockaddr *)&t->address, sizeof t->address) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static void send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0)
			die("send");
		data += n;
		len -= (size_t)n;
	}
}

static void send_request(struct target *t, int fd, const struct request *r, size_t number)
{
	char body[8192], head[1024], *at = body;
	for (const char *p = r->body; *p && at < body + sizeof body - 32;) {
		if (p[0] == '%' && p[1] == 'd') {
			at += sprintf(at, "%zu", number);
			p += 2;
		} else {
			*at++ = *p++;
		}
	}
	size_t len = (size_t)(at - body);
	int head_len = snprintf(head, sizeof head,
				"%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: %s\r\nX-Request-ID: bench-%d-%u\r\n"
				"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
				r->method, r->path, t->token, (int)getpid(), t->serial++, len);
	struct iovec parts[] = {{head, (size_t)head_len}, {body, len}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	if (sendmsg(fd, &message, MSG_NOSIGNAL) != head_len + (ssize_t)len)
		die("send");
}

/* Reads one reply and checks its status; returns the length of its body. */
static size_t read_reply(int fd)
{
	static char data[1 << 18];
	size_t have = 0;
	char *end = NULL;
	while (!end) {
		ssize_t n = recv(fd, data + have, sizeof data - 1 - have, 0);
		if (n <= 0)
			die("no reply");
		have += (size_t)n;
		data[have] = '\0';
		end = strstr(data, "\r\n\r\n");
	}
	if (strncmp(data, "HTTP/1.1 200", 12) != 0)
		die("unexpected reply: %.2000s", data);
	const char *length = strcasestr(data, "\r\ncontent-length:");
	size_t body = length ? strtoul(length + 17, NULL, 10) : 0, got = have - (size_t)(end + 4 - data);
	while (got < body) {
		ssize_t n = recv(fd, data, sizeof data, 0);
		if (n <= 0)
			die("the reply broke off");
		got += (size_t)n;
	}
	return body;
}

static int loop(struct target *t, bool keep, size_t count, const struct request *requests, size_t n_requests)
{
	double *us = calloc(count, sizeof *us);
	int fd = keep ? dial(t) : -1;
	size_t body = 0, warm = count / 10;
	for (size_t i = 0; us && i < count + warm; i++) {
		for (size_t k = 0; k < n_requests; k++) {
			double began = now_us();
			int used = keep ? fd : dial(t);
			send_request(t, used, &requests[k], i);
			size_t got = read_reply(used);
			if (!keep)
				close(used);
			if (k == 0 && i >= warm)
				us[i - warm] = now_us() - began;
			if (k == 0)
				body = got;
		}
	}
	printf("bytes=%zu ", body);
	if (us)
		print_samples(us, count);
	free(us);
	return 0;
}

static int parallel(struct target *t, size_t n, const struct request *r)
{
	int *fds = calloc(n, sizeof *fds);
	for (size_t i = 0; fds && i < n; i++)
		fds[i] = dial(t);
	double began = now_us();
	for (size_t i = 0; fds && i < n; i++)
		send_request(t, fds[i], r, i);
	for (size_t i = 0; fds && i < n; i++)
		read_reply(fds[i]);
	printf("n=%zu total_us=%.1f\n", n, now_us() - began);
	free(fds);
	return 0;
}

static int upload(struct target *t, size_t bytes, const char *path)
{
	static char zeros[1 << 18];
	char first[256], last[8192], head[1024];
	int first_len = snprintf(first, sizeof first,
				 "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
	int last_len = snprintf(last, sizeof last,
				"\r\n--b\r\nContent-Disposition: form-data; name=\"target_path\"\r\n\r\n%s\r\n"
				"--b\r\nContent-Disposition: form-data; name=\"unzip\"\r\n\r\nfalse\r\n--b--\r\n",
				path);
	int head_len = snprintf(head, sizeof head,
				"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: %s\r\nContent-Type: "
				"multipart/form-data; boundary=b\r\n"
				"Content-Length: %zu\r\n\r\n",
				t->token, (size_t)first_len + bytes + (size_t)last_len);
	int fd = dial(t);
	double began = now_us();
	send_all(fd, head, (size_t)head_len);
	send_all(fd, first, (size_t)first_len);
	for (size_t left = bytes; left > 0;) {
		size_t piece = left < sizeof zeros ? left : sizeof zeros;
		send_all(fd, zeros, piece);
		left -= piece;
	}
	send_all(fd, last, (size_t)last_len);
	read_reply(fd);
	printf("bytes=%zu total_us=%.1f\n", bytes, now_us() - began);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 6)
		die("usage: client PORT TOKEN loop|parallel|upload ...");
	struct target t = {.address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))},
			   .token = argv[2]};
	inet_pton(AF_INET, "127.0.0.1", &t.address.sin_addr);
	if (strcmp(argv[3], "upload") == 0)
		return upload(&t, strtoull(argv[4], NULL, 10), argv[5]);
	bool looping = strcmp(argv[3], "loop") == 0;
	int first = looping ? 6 : 5;
	struct request requests[4];
	size_t n = 0;
	for (int i = first; i + 2 < argc && n < 4; i += 3)
		requests[n++] = (struct request){argv[i], argv[i + 1], argv[i + 2]};
	if (n == 0)
		die("a request is missing");
	if (looping)
		return loop(&t, strcmp(argv[4], "keep") == 0, count_argument(argc, argv, 5, 1000), requests, n);
	return parallel(&t, count_argument(argc, argv, 4, 16), &requests[0]);
}

/* deploy/fargate/address.c: the address by which others know this machine.
 *
 * From the Internet only somebody outside can tell it: a plain web service that answers with the address it sees. From
 * inside a VPC it is the address of the interface through which the kernel would send, which it tells of a UDP socket
 * that is connected and never sent on. Neither answer is ever replaced by "everybody": without one the start fails and
 * says what to set. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_SECONDS 10.0

static bool is_prefix(const char *text, long most)
{
	char *end;
	long n = strtol(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && n >= 0 && n <= most;
}

bool fargate_cidr_is_sound(const char *cidr)
{
	unsigned char address[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN];
	size_t len = strcspn(cidr, "/");
	if (!cidr[len] || len >= sizeof text)
		return false;
	snprintf(text, sizeof text, "%.*s", (int)len, cidr);
	if (inet_pton(AF_INET, text, address) == 1)
		return is_prefix(cidr + len + 1, 32);
	return inet_pton(AF_INET6, text, address) == 1 && is_prefix(cidr + len + 1, 128);
}

static int write_cidr(const char *text, char ret[FARGATE_CIDR_MAX])
{
	unsigned char address[sizeof(struct in6_addr)];
	if (inet_pton(AF_INET, text, address) == 1)
		return snprintf(ret, FARGATE_CIDR_MAX, "%s/32", text) > 0 ? 0 : -1;
	char plain[INET6_ADDRSTRLEN]; /* one way of writing for a group's name */
	if (inet_pton(AF_INET6, text, address) != 1 || !inet_ntop(AF_INET6, address, plain, sizeof plain))
		return -1;
	return snprintf(ret, FARGATE_CIDR_MAX, "%s/128", plain) > 0 ? 0 : -1;
}

static int from_outside(struct fargate *f, const struct deadline *d, char ret[FARGATE_CIDR_MAX], struct crex_error *err)
{
	const char *url = f->config.address_url;
	cleanup_buf struct buf body;
	buf_init(&body, 4096);
	struct net_channel *c = net_channel_new(err);
	if (!c)
		return -1;
	net_prepare(c->easy);
	net_trust(c->easy, f->aws.ca_file);
	curl_easy_setopt(c->easy, CURLOPT_URL, url);
	struct net_transfer t = {
		.peer = url, .tls = strncmp(url, "https", 5) == 0, .limit = ANSWER_SECONDS, .reply = &body};
	int r = net_perform(c, &t, d, err);
	if (r == 0 && t.code != CURLE_OK) {
		net_explain(&t, "AWS_CA_BUNDLE", err);
		r = -1;
	}
	net_channel_free(c);
	if (r == 0 && body.data)
		body.data[strcspn(body.data, " \t\r\n")] = '\0';
	if (r == 0 && (t.status != 200 || !body.data || write_cidr(body.data, ret) < 0))
		r = crex_error_set(err, CREX_E_CONNECTION, "%s did not tell an address (status %d)", url, t.status);
	if (r == 0 || err->code == CREX_E_CANCELLED || err->code == CREX_E_DEADLINE)
		return r;
	return crex_error_prefix(err, "this machine's public address, which alone is to reach the sandbox, can't be "
				      "found (set ingress_cidr): ");
}

static int from_inside(const char *near, char ret[FARGATE_CIDR_MAX], struct crex_error *err)
{
	struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(9)}, here = {0};
	socklen_t size = sizeof here;
	char text[INET_ADDRSTRLEN];
	snprintf(text, sizeof text, "%.*s", (int)strcspn(near, "/"), near);
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || inet_pton(AF_INET, text, &there.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&there, sizeof there) < 0 ||
	    getsockname(fd, (struct sockaddr *)&here, &size) < 0 ||
	    !inet_ntop(AF_INET, &here.sin_addr, text, sizeof text) || write_cidr(text, ret) < 0)
		return crex_error_set(err, CREX_E_CONNECTION,
				      "the address by which the network %s knows this machine can't be found: set "
				      "ingress_cidr",
				      near);
	return 0;
}

int fargate_own_cidr(struct fargate *f, const char *near, const struct deadline *d, char ret[FARGATE_CIDR_MAX],
		     struct crex_error *err)
{
	return near ? from_inside(near, ret, err) : from_outside(f, d, ret, err);
}

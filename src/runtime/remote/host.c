/* runtime/remote/host.c: a host as people write it becomes the URL that requests are put behind.
 *
 * The Python client pastes "host" and ":port" together, which breaks as soon as host has a path or a port. Here the
 * parts are taken apart first, and the port goes where it belongs. Credentials in a URL are refused, since a URL is
 * shown in every message; so are a query and a fragment, which could only be mistakes. */
#include "runtime/remote/host.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HOST_MAX = 4096 };

struct parts {
	const char *name; /* brackets not included */
	size_t name_len;
	bool ipv6;
	int port; /* 0: none */
	const char *path;
	size_t path_len;
};

static int fail(struct crex_error *err, const char *host, const char *what)
{
	return crex_error_set(err, CREX_E_CONFIG, "host \"%.200s\": %s", host, what);
}

static int take_port(const char *text, size_t len, int *ret)
{
	long port = 0;
	if (len == 0 || len > 5)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]))
			return -1;
		port = port * 10 + (text[i] - '0');
	}
	*ret = (int)port;
	return port >= 1 && port <= 65535 ? 0 : -1;
}

static bool is_ipv6(const char *name, size_t len)
{
	char address[64];
	unsigned char binary[16];
	size_t n = 0;
	while (n < len && name[n] != '%') /* a zone: "fe80::1%eth0" */
		n++;
	if (n >= sizeof address)
		return false;
	memcpy(address, name, n);
	address[n] = '\0';
	return inet_pton(AF_INET6, address, binary) == 1;
}

static int split(const char *host, const char *text, struct parts *p, struct crex_error *err)
{
	size_t len = strcspn(text, "/");
	p->path = text + len;
	p->path_len = strlen(p->path);
	while (p->path_len > 0 && p->path[p->path_len - 1] == '/')
		p->path_len--;
	if (memchr(text, '@', len))
		return fail(err, host, "credentials in a URL are not supported; use auth_token or headers");
	if (strpbrk(text, "?#"))
		return fail(err, host, "a query or a fragment has no place here");
	for (const char *s = text; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7F || strchr("\"<>\\^`{|}", *s))
			return fail(err, host, "there is a character in it that no URL has");
	const char *rest = text + len;
	if (*text == '[') {
		const char *bracket = memchr(text, ']', len);
		if (!bracket || !is_ipv6(text + 1, (size_t)(bracket - text - 1)))
			return fail(err, host, "there is no IPv6 address between the brackets");
		*p = (struct parts){text + 1, (size_t)(bracket - text - 1), true, 0, p->path, p->path_len};
		rest = bracket + 1;
	} else if (is_ipv6(text, len)) {
		*p = (struct parts){text, len, true, 0, p->path, p->path_len};
	} else {
		const char *colon = memchr(text, ':', len);
		rest = colon ? colon : text + len;
		*p = (struct parts){text, (size_t)(rest - text), false, 0, p->path, p->path_len};
	}
	if (p->name_len == 0)
		return fail(err, host, "there is no name in it");
	if (rest < text + len && (*rest != ':' || take_port(rest + 1, (size_t)(text + len - rest - 1), &p->port) < 0))
		return fail(err, host, "its port is no number from 1 to 65535");
	return 0;
}

static bool is_loopback(const struct parts *p)
{
	static const char local[] = "localhost";
	size_t n = sizeof local - 1;
	if (p->ipv6)
		return p->name_len == 3 && memcmp(p->name, "::1", 3) == 0;
	if (p->name_len >= n && strncasecmp(p->name + p->name_len - n, local, n) == 0)
		return p->name_len == n || p->name[p->name_len - n - 1] == '.';
	return p->name_len > 4 && memcmp(p->name, "127.", 4) == 0 && strspn(p->name, "0123456789.") >= p->name_len;
}

static int join(const struct parts *p, bool tls, struct buf *out)
{
	int r = buf_printf(out, "%s://%s", tls ? "https" : "http", p->ipv6 ? "[" : "");
	for (size_t i = 0; r == 0 && i < p->name_len; i++)
		r = p->ipv6 && p->name[i] == '%' && strncmp(p->name + i, "%25", 3) != 0
			    ? buf_append_str(out, "%25")
			    : buf_append_char(out, p->name[i]);
	if (r == 0 && p->ipv6)
		r = buf_append_char(out, ']');
	if (r == 0 && p->port)
		r = buf_printf(out, ":%d", p->port);
	return r == 0 ? buf_append(out, p->path, p->path_len) : r;
}

int remote_host_parse(const char *host, int port, struct remote_host *ret, struct crex_error *err)
{
	if (!host || !*host)
		return crex_error_set(err, CREX_E_CONFIG, "host: there is none");
	if (strlen(host) > HOST_MAX)
		return crex_error_set(err, CREX_E_CONFIG, "host: it is longer than %d bytes", HOST_MAX);
	if (port < 0 || port > 65535)
		return crex_error_set(err, CREX_E_CONFIG, "port: %d is none from 1 to 65535 (0: host's own)", port);
	const char *text = host;
	bool tls = strncasecmp(host, "https://", 8) == 0;
	if (tls || strncasecmp(host, "http://", 7) == 0)
		text += tls ? 8 : 7;
	else if (strstr(host, "://"))
		return fail(err, host, "only http:// and https:// are known");
	struct parts p = {0};
	if (split(host, text, &p, err) < 0)
		return -1;
	if (port && p.port && port != p.port)
		return crex_error_set(err, CREX_E_CONFIG, "port: %d, but host \"%.200s\" has another", port, host);
	if (port)
		p.port = port;
	struct buf url;
	buf_init(&url, (size_t)HOST_MAX * 4);
	char *text_out = join(&p, tls, &url) == 0 ? buf_steal(&url, NULL) : NULL;
	if (!text_out) {
		buf_deinit(&url);
		return crex_error_set(err, CREX_E_MEMORY, "memory ran out");
	}
	*ret = (struct remote_host){text_out, tls, is_loopback(&p)};
	return 0;
}

void remote_host_deinit(struct remote_host *h)
{
	free(h->url);
	*h = (struct remote_host){0};
}

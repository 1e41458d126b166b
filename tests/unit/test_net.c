/* tests/unit/test_net.c: transfers over HTTP/2 whose peer stops taking bytes: waited for without work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/transfer.h"
#include <arpa/inet.h>
#include <sys/resource.h>
#include <unistd.h>

/* Says hello in HTTP/2 (an empty SETTINGS frame) and then takes everything without ever widening a window: after 64 KiB
 * of a body its client may send no more, although the socket would take it. */
struct peer {
	pthread_t thread;
	int listener;
	int port;
};

static void *serve(void *arg)
{
	static const char settings[9] = {0, 0, 0, 4};
	const struct peer *p = arg;
	char data[65536];
	int fd = accept(p->listener, NULL, NULL);
	if (fd >= 0 && write(fd, settings, sizeof settings) == (ssize_t)sizeof settings)
		while (read(fd, data, sizeof data) > 0)
			;
	close(fd);
	return NULL;
}

static int start_peer(void **state)
{
	struct peer *p = calloc(1, sizeof *p);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(p->listener, 1), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&address, &len), 0);
	p->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
	*state = p;
	return 0;
}

static int end_peer(void **state)
{
	struct peer *p = *state;
	pthread_join(p->thread, NULL);
	close(p->listener);
	free(p);
	return 0;
}

static double processor_seconds(void)
{
	struct rusage used;
	getrusage(RUSAGE_THREAD, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void test_a_full_window_is_waited_for(void **state)
{
	enum { BODY = 1 << 20 };
	const struct peer *p = *state;
	char url[64];
	char *body = calloc(1, BODY);
	struct crex_error err = CREX_ERROR_INIT;
	struct buf reply;
	struct net_channel *c = net_channel_new(&err);
	assert_true(body && c);
	snprintf(url, sizeof url, "http://127.0.0.1:%d/", p->port);
	buf_init(&reply, 1000);
	net_prepare(c->easy);
	curl_easy_setopt(c->easy, CURLOPT_URL, url);
	curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)BODY);
	curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, body);
	struct net_transfer t = {.peer = url, .limit = CREX_NO_TIMEOUT, .reply = &reply};
	const struct crex_call call = {.timeout = 1};
	struct deadline deadline;
	deadline_begin(&deadline, &call);
	double before = processor_seconds();
	int r = net_perform(c, &t, &deadline, &err);
	double used = processor_seconds() - before;
	net_channel_free(c); /* the peer sees its end */
	buf_deinit(&reply);
	free(body);
	assert_int_equal(r, -1);
	assert_int_equal(err.code, CREX_E_DEADLINE);
	crex_error_clear(&err);
	/* a loop without a pause would have worked for all of the second */
	assert_true(used < 0.4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_full_window_is_waited_for, start_peer, end_peer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* bench/floor_http.c [REPLY_BYTES]: the bare stack, libuv and llhttp: every request gets the same JSON reply.
 *
 * Prints its port, then serves until it is killed. The reply's body is a JSON string of REPLY_BYTES characters (40
 * unless given), made anew by nobody: this is what moving bytes costs, not what making them costs. */
#include "bench.h"

#include <llhttp.h>
#include <uv.h>

struct connection {
	uv_tcp_t tcp;
	llhttp_t parser;
	uv_write_t write;
	char data[65536];
};

static llhttp_settings_t settings;
static uv_buf_t reply;

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_written(uv_write_t *write, int status)
{
	(void)write;
	(void)status;
}

static int on_message_complete(llhttp_t *parser)
{
	struct connection *c = parser->data;
	return uv_write(&c->write, (uv_stream_t *)&c->tcp, &reply, 1, on_written) ? HPE_USER : 0;
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	struct connection *c = handle->data;
	(void)size;
	*buf = uv_buf_init(c->data, sizeof c->data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct connection *c = stream->data;
	if ((n < 0 || llhttp_execute(&c->parser, buf->base, (size_t)n) != HPE_OK) &&
	    !uv_is_closing((uv_handle_t *)stream))
		uv_close((uv_handle_t *)stream, on_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct connection *c = status < 0 ? NULL : calloc(1, sizeof *c);
	if (!c)
		return;
	uv_tcp_init(listener->loop, &c->tcp);
	c->tcp.data = c;
	llhttp_init(&c->parser, HTTP_REQUEST, &settings);
	c->parser.data = c;
	if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0) {
		uv_close((uv_handle_t *)&c->tcp, on_closed);
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

int main(int argc, char **argv)
{
	size_t body = count_argument(argc, argv, 1, 40) + 2;
	char head[200];
	int head_len =
		snprintf(head, sizeof head,
			 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body);
	char *text = malloc((size_t)head_len + body);
	if (!text)
		die("memory");
	memcpy(text, head, (size_t)head_len);
	memset(text + head_len, 'x', body);
	text[head_len] = text[(size_t)head_len + body - 1] = '"';
	reply = uv_buf_init(text, (unsigned)((size_t)head_len + body));
	llhttp_settings_init(&settings);
	settings.on_message_complete = on_message_complete;

	uv_loop_t *loop = uv_default_loop();
	uv_tcp_t listener;
	struct sockaddr_in address;
	uv_ip4_addr("127.0.0.1", 0, &address);
	uv_tcp_init(loop, &listener);
	if (uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0) ||
	    uv_listen((uv_stream_t *)&listener, 512, on_connection))
		die("listen");
	int size = sizeof address;
	uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &size);
	printf("port=%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return uv_run(loop, UV_RUN_DEFAULT);
}

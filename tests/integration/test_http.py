"""What any HTTP client meets: authentication, routing, validation, and connections that are used in odd ways."""

import json
import socket
import struct
import threading

import pytest
from rawhttp import Wire, request
from server import SLOW, wait_until

POSTS = ["/create_session", "/run_in_session", "/close_session", "/execute", "/read_file", "/write_file", "/close"]


def ask(wire, *args, **kwargs):
    reply = wire().send(request(*args, **kwargs)).reply()
    assert reply.headers["content-type"].split(";")[0] == "application/json", reply
    return reply


def test_root(wire):
    assert ask(wire, "GET", "/").json == {"message": "hello world"}


def test_is_alive(wire):
    assert ask(wire, "GET", "/is_alive").json == {"is_alive": True, "message": ""}


def test_query_string_does_not_change_the_route(wire):
    assert ask(wire, "GET", "/is_alive?probe=1").status == 200


@pytest.mark.parametrize("path", ["/", "/is_alive", "/nothing/here", "/upload", *POSTS])
def test_missing_key(wire, path):
    reply = ask(wire, "GET" if path in ("/", "/is_alive") else "POST", path, token=None)
    assert (reply.status, reply.json) == (403, {"detail": "Not authenticated"})


@pytest.mark.parametrize("token", ["wrong", "", "s3cre", "s3cretx", "S3CRET", "\u00e9"])
@pytest.mark.parametrize("path", ["/is_alive", "/nothing/here"])
def test_wrong_key(wire, path, token):
    reply = ask(wire, "GET", path, token=token)
    expected = [(401, {"detail": "Invalid API Key"})]
    if not token:  # an empty header is as good as none
        expected.append((403, {"detail": "Not authenticated"}))
    assert (reply.status, reply.json) in expected


def test_header_name_in_any_case(wire):
    assert ask(wire, "GET", "/", token=None, headers=["x-aPI-keY: s3cret"]).status == 200


def test_an_empty_configured_token_checks_nothing(start):
    server = start(token="").server
    with Wire(server.connect()) as connection:
        assert connection.send(request("GET", "/is_alive", token=None)).reply().status == 200
        assert connection.send(request("GET", "/is_alive", token="whatever")).reply().status == 200


@pytest.mark.parametrize("path", ["/nothing", "/execute/x", "/is_alivex", "/IS_ALIVE", "/%2e", "/is_alive%00"])
def test_unknown_path(wire, path):
    reply = ask(wire, "GET", path)
    assert (reply.status, reply.json) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("method,path", [("GET", path) for path in POSTS] + [
    ("GET", "/upload"), ("POST", "/"), ("POST", "/is_alive"), ("PUT", "/execute"), ("DELETE", "/close"), ("PATCH", "/"),
    ("FOO", "/execute"), ("PROPFIND", "/"), ("post", "/execute"), ("DESCRIBE", "/")])
def test_wrong_method(wire, method, path):
    reply = ask(wire, method, path)
    assert (reply.status, reply.json) == (405, {"detail": "Method Not Allowed"})


@pytest.mark.parametrize("path,body,loc", [
    ("/execute", {}, ["body", "command"]),
    ("/read_file", {}, ["body", "path"]),
    ("/write_file", {"path": "/tmp/x"}, ["body", "content"]),
    ("/write_file", {"content": "x"}, ["body", "path"]),
])
def test_missing_field(wire, path, body, loc):
    reply = ask(wire, "POST", path, body)
    assert reply.status == 422
    [detail] = reply.json["detail"]
    assert (detail["type"], detail["loc"], detail["input"]) == ("missing", loc, body)
    assert detail["msg"] == "Field required"


@pytest.mark.parametrize("path,body,field", [
    ("/read_file", {"path": 3}, "path"),
    ("/read_file", {"path": None}, "path"),
    ("/write_file", {"path": "/tmp/x", "content": ["y"]}, "content"),
    ("/execute", {"command": "true", "timeout": "soon"}, "timeout"),
    ("/execute", {"command": "true", "env": "PATH"}, "env"),
    ("/execute", {"command": "true", "shell": "perhaps"}, "shell"),
    ("/execute", {"command": 5}, "command"),
    ("/execute", {"command": ["a", 1]}, "command"),
    ("/create_session", {"session": 1}, "session"),
    ("/create_session", {"startup_source": "x"}, "startup_source"),
    ("/create_session", {"startup_timeout": None}, "startup_timeout"),
    ("/create_session", {"session_type": "zsh"}, "session_type"),
    ("/close_session", {"session": {}}, "session"),
    ("/run_in_session", {"action_type": "bash"}, "command"),
    ("/run_in_session", {"action_type": "bash", "command": "ls", "check": "maybe"}, "check"),
    ("/run_in_session", {"action_type": "bash", "command": "ls", "expect": [1]}, "expect"),
    ("/run_in_session", {"action_type": "bash_interrupt", "n_retry": "many"}, "n_retry"),
])
def test_field_of_the_wrong_type(wire, path, body, field):
    reply = ask(wire, "POST", path, body)
    assert reply.status == 422, reply
    for detail in reply.json["detail"]:
        assert set(detail) >= {"type", "loc", "msg", "input"}
        assert detail["loc"][0] == "body" and isinstance(detail["msg"], str)
    assert any(field in detail["loc"] or path == "/create_session" for detail in reply.json["detail"]), reply


def test_unknown_action_type(wire):
    reply = ask(wire, "POST", "/run_in_session", {"action_type": "zsh", "command": "ls"})
    assert reply.status == 422 and reply.json["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("body", [b"{", b"nonsense", b'{"command": "x"', b'{"command": tru}', b"{}}", b'{"a":"\xff\xfe"}',
                                  b"[" * 100000, b'{"a":' * 100000, b'"\x00"', b"{'command': 'x'}"])
@pytest.mark.parametrize("path", ["/execute", "/run_in_session"])
def test_broken_json(wire, path, body):
    reply = ask(wire, "POST", path, body)
    assert reply.status == 422
    assert reply.json["detail"][0]["type"] == "json_invalid"
    assert reply.json["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("body", [b"[]", b"3", b'"x"', b"null", b""])
def test_json_that_is_no_object(wire, body):
    reply = ask(wire, "POST", "/execute", body, headers=[] if body else ["Content-Length: 0"])
    assert reply.status == 422 and reply.json["detail"][0]["loc"][0] == "body"


def test_unknown_fields_are_ignored(wire):
    reply = ask(wire, "POST", "/execute", {"command": ["true"], "colour": "red", "nested": {"a": [1, 2.5e300, None]}})
    assert reply.status == 200 and reply.json["exit_code"] == 0


@pytest.mark.parametrize("text", [r"\ud800", r"\udc80 \ud83d", r"a\u0000b"])
def test_odd_unicode_escapes_are_survived(wire, box, text):
    body = b'{"command":["printf","%s","' + text.encode() + b'"]}'
    assert ask(wire, "POST", "/execute", body).status in (200, 422, 511)
    assert box.execute("true").exit_code == 0


def test_numbers_out_of_range(wire, box):
    for number in (b"1e400", b"-1e400", b"NaN", b"123456789012345678901234567890", b"-0.0"):
        reply = ask(wire, "POST", "/execute", b'{"command":["true"],"timeout":' + number + b"}")
        assert reply.status in (200, 422, 511), reply
    assert box.is_alive()["is_alive"] is True


def test_keep_alive(wire):
    connection = wire()
    for number in range(100):
        reply = connection.send(request("POST", "/execute", {"command": ["echo", str(number)]})).reply()
        assert reply.json["stdout"] == f"{number}\n"


def test_connection_close_is_honoured(wire):
    connection = wire().send(request("GET", "/", headers=["Connection: close"]))
    assert connection.reply().status == 200
    assert connection.at_end()


def test_http_1_0(wire):
    connection = wire().send(b"GET / HTTP/1.0\r\nX-API-Key: s3cret\r\n\r\n")
    assert connection.reply().status == 200
    assert connection.at_end()


def test_pipelining_keeps_the_order(wire):
    delays = [0.3, 0, 0.1, 0, 0.2, 0, 0, 0]
    batch = b"".join(request("POST", "/execute", {"command": f"sleep {delay}; echo {number}", "shell": True})
                     for number, delay in enumerate(delays))
    connection = wire().send(batch)
    assert [connection.reply().json["stdout"] for _ in delays] == [f"{number}\n" for number in range(len(delays))]


def test_pipelining_many(wire):
    connection = wire()
    sender = threading.Thread(target=connection.send, args=(request("GET", "/is_alive") * 2000,))
    sender.start()
    assert all(connection.reply().status == 200 for _ in range(2000))
    sender.join()


def test_an_error_in_a_pipeline_hits_only_its_own_request(wire):
    connection = wire().send(request("GET", "/no") + request("POST", "/execute", b"{") + request("GET", "/"))
    assert [connection.reply().status for _ in range(3)] == [404, 422, 200]


def chunked(body, sizes):
    pieces, position = [], 0
    for size in sizes:
        piece = body[position:position + size]
        position += size
        if piece:
            pieces.append(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
    if body[position:]:
        pieces.append(b"%X\r\n%s\r\n" % (len(body[position:]), body[position:]))
    return b"".join(pieces) + b"0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("sizes", [[], [1] * 20, [3, 1, 7], [10000]])
def test_chunked_body(wire, sizes):
    body = json.dumps({"command": ["echo", "chunk"]}).encode()
    head = request("POST", "/execute", headers=["Transfer-Encoding: chunked", "Content-Type: application/json"])
    connection = wire().send(head + chunked(body, sizes) + request("GET", "/"))
    assert connection.reply().json["stdout"] == "chunk\n"
    assert connection.reply().json == {"message": "hello world"}


def test_one_byte_at_a_time(wire):
    connection = wire()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in request("POST", "/execute", {"command": ["echo", "slow"]}):
        connection.send(bytes([byte]))
    assert connection.reply().json["stdout"] == "slow\n"


def test_expect_100_continue(wire):
    body = json.dumps({"command": ["echo", "go"]}).encode()
    connection = wire().send(request("POST", "/execute", headers=[
        "Expect: 100-continue", "Content-Type: application/json", f"Content-Length: {len(body)}"]))
    assert connection.reply().status == 100
    connection.send(body)
    assert connection.reply().json["stdout"] == "go\n"


def test_authentication_comes_before_the_body(wire):
    connection = wire().send(request("POST", "/execute", token="wrong", headers=["Content-Length: 1000", "Expect: 100-continue"]))
    assert connection.reply().status == 401
    connection = wire().send(request("POST", "/execute", b"{" * 1000, token="wrong"))
    assert connection.reply().status == 401


POST = b"POST /execute HTTP/1.1\r\nX-API-Key: s3cret\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

MALFORMED = {
    "no http": b"hello there\r\n\r\n",
    "tls hello": bytes.fromhex("16030100d5010000d1030307") + b"\0" * 200,
    "binary": bytes(range(256)),
    "bad version": b"GET / HTTP/9.7\r\nX-API-Key: s3cret\r\n\r\n",
    "negative length": b"POST /execute HTTP/1.1\r\nX-API-Key: s3cret\r\nContent-Length: -5\r\n\r\n",
    "length of letters": b"POST /execute HTTP/1.1\r\nX-API-Key: s3cret\r\nContent-Length: abc\r\n\r\n",
    "length beyond 64 bits": b"POST /execute HTTP/1.1\r\nX-API-Key: s3cret\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "two lengths": b"POST /execute HTTP/1.1\r\nX-API-Key: s3cret\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length and chunked": b"POST /execute HTTP/1.1\r\nX-API-Key: s3cret\r\nContent-Length: 5\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": b"POST /execute HTTP/1.1\r\nX-API-Key: s3cret\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "header without colon": b"GET / HTTP/1.1\r\nX-API-Key s3cret\r\n\r\n",
    "nul in header": b"GET / HTTP/1.1\r\nX-API-Key: s3\0cret\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nX-API-Key: s3cret\r\n: x\r\n\r\n",
    "nul in name": b"GET / HTTP/1.1\r\nX-API-Key: s3cret\r\nA\0: x\r\n\r\n",
    "nul in target": b"GET /\0 HTTP/1.1\r\nX-API-Key: s3cret\r\n\r\n",
    "bare cr in header": b"GET / HTTP/1.1\r\nX-API-Key: s3cret\r\nA: b\rc\r\n\r\n",
    "bare cr ends the head": b"GET / HTTP/1.1\r\nX-API-Key: s3cret\r\n\rX",
    "bare cr only": b"GET / HTTP/1.1\rX-API-Key: s3cret\r\r",
    "bare lf": b"GET / HTTP/1.1\nX-API-Key: s3cret\n\n",
    "folded first header": b"GET / HTTP/1.1\r\n A: b\r\nX-API-Key: s3cret\r\n\r\n",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "blank before a colon": POST + b"Content-Length : 5\r\n\r\nhello",
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "gzip and chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "coding unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunk size too large": POST + CHUNKED + b"\r\nfffffffffffffffff\r\n",
    "negative chunk size": POST + CHUNKED + b"\r\n-1\r\n",
    "chunk longer than said": POST + CHUNKED + b"\r\n5\r\nhelloXX0\r\n\r\n",
    "chunk ended by lf": POST + CHUNKED + b"\r\n5\nhello\n0\n\n",
    "bad trailer": POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nbad\r\n\r\n",
    "trailer with a coding": POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n" + CHUNKED + b"\r\n",
    "http 0.9": b"GET / HTTP/0.9\r\nX-API-Key: s3cret\r\n\r\n",
    "http 2 without its preface": b"GET / HTTP/2.0\r\nX-API-Key: s3cret\r\n\r\n",
    "http 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "space in name": b"GET / HTTP/1.1\r\nX-API Key: s3cret\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request(wire, box, data):
    connection = wire().send(data)
    try:
        reply = connection.reply()
        assert 400 <= reply.status < 500, reply
        assert "detail" in reply.json
    except (EOFError, ConnectionResetError):
        pytest.fail("the connection was closed without a reply")
    if reply.status == 400:  # what follows can't be trusted to be a request
        assert connection.at_end()
    assert box.is_alive()["is_alive"] is True


TRUE = b'{"command":["true"]}'
ODD = {
    "absolute target": ("GET http://x:1/is%5Falive HTTP/1.1", b"", 200),
    "absolute target, no path": ("GET https://x HTTP/1.1", b"", 200),
    "escaped nul": ("GET /%00 HTTP/1.1", b"", 404),
    "broken escape": ("GET /is%zzalive HTTP/1.1", b"", 404),
    "half an escape": ("GET /is_alive% HTTP/1.1", b"", 404),
    "escaped twice": ("GET /is%255Falive HTTP/1.1", b"", 404),
    "escaped question": ("GET /is_alive%3Fx HTTP/1.1", b"", 404),
    "dots": ("GET /x/../is_alive HTTP/1.1", b"", 404),
    "two slashes": ("GET //is_alive HTTP/1.1", b"", 404),
    "asterisk": ("OPTIONS * HTTP/1.1", b"", 404),
    "connect": ("CONNECT host:443 HTTP/1.1", b"", 404),
    "connect with a body": ("CONNECT host:443 HTTP/1.1\r\nContent-Length: 5", b"hello", 404),
    "websocket": ("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade", b"", 200),
    "h2c": ("GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x", b"", 200),
    "upgrade with a body": ("POST /execute HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 20", TRUE, 200),
    "unknown expectation": ("POST /execute HTTP/1.1\r\nExpect: 200-maybe\r\nContent-Length: 20", TRUE, 200),
    "get with a body": ("GET / HTTP/1.1\r\nContent-Length: 5", b"hello", 200),
    "folded header": ("GET / HTTP/1.1\r\nA: b\r\n c", b"", 200),
    "key twice": ("GET / HTTP/1.1\r\nX-API-Key: s3cret\r\nX-API-Key: other", b"", 200),
    "no utf-8 in an id": ("GET / HTTP/1.1\r\nX-Request-ID: \xff\xfe\xe9", b"", 200),
    "five thousand headers": ("GET / HTTP/1.1" + "\r\na: b" * 5000, b"", 200),
    "trailers": ("POST /execute HTTP/1.1\r\nTransfer-Encoding: chunked",
                 b"14\r\n" + TRUE + b"\r\n0\r\nContent-Length: 5\r\nX-API-Key: other\r\n\r\n", 200),
    "http 1.0, kept alive": ("GET / HTTP/1.0\r\nConnection: keep-alive", b"", 200),
}


@pytest.mark.parametrize("head,body,status", ODD.values(), ids=ODD.keys())
def test_odd_request_and_the_next(wire, head, body, status):
    """It is answered for itself, and where it ends the next one begins."""
    data = head.encode("latin-1") + b"\r\nX-API-Key: s3cret\r\n\r\n" + body
    connection = wire().send(data + request("GET", "/is_alive"))
    reply = connection.reply()
    assert reply.status == status and reply.json is not None
    if "1.0" in head:
        assert reply.headers["connection"] == "keep-alive"
    assert connection.reply().json == {"is_alive": True, "message": ""}


def test_a_key_in_the_trailers_is_none(wire):
    data = b"POST /execute HTTP/1.1\r\n" + CHUNKED + b"\r\n14\r\n" + TRUE + b"\r\n0\r\nX-API-Key: s3cret\r\n\r\n"
    assert wire().send(data).reply().status == 403


def test_trailers_are_bounded(wire, box):
    connection = wire()
    flood(connection, POST + CHUNKED + b"\r\n14\r\n" + TRUE + b"\r\n0\r\n", b"a: b\r\n" * 1000, 4 << 20)
    reply = drain(connection)
    assert reply is None or reply.status == 431
    assert box.is_alive()["is_alive"] is True


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_head_and_options(wire, method):
    connection = wire().send(request(method, "/", headers=["Connection: close"]))
    data = b""
    while piece := connection.sock.recv(65536):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ") and b"\r\ncontent-length: 31" in head
    assert body == (b"" if method == "HEAD" else b'{"detail":"Method Not Allowed"}')


@pytest.mark.parametrize("data,status", [
    (b"", None), (b"\r\n" * 10, None), (b"GE", 400), (b"GET / HTTP/1.1\r\nX-API-Key: s3cret\r\n", 400),
    (request("GET", "/"), 200), (POST + b"Content-Length: 50\r\n\r\n{", 400), (POST + CHUNKED + b"\r\n14\r\n" + TRUE, 400)])
def test_half_closed(wire, data, status):
    connection = wire().send(data)
    connection.sock.shutdown(socket.SHUT_WR)
    if status:
        assert connection.reply().status == status
    assert connection.at_end()


def test_garbage_in_a_pipeline_ends_it(wire):
    connection = wire().send(request("GET", "/") + b"GARBAGE\r\n\r\n" + request("GET", "/"))
    assert [connection.reply().status for _ in range(2)] == [200, 400]
    assert connection.at_end()


def test_resets_in_the_middle_of_replies(server, wire, box, tmp_path):
    """Clients that vanish by RST, their replies half read or not yet made."""
    big = tmp_path / "big"
    big.write_text("x" * (4 << 20))
    now = struct.pack("ii", 1, 0)
    for number in range(20):
        connection = wire()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        connection.send(request("POST", "/read_file", {"path": str(big)}) * 2)
        if number % 2:
            connection.sock.recv(1000)
        connection.sock.close()
    assert box.execute(["echo", "x"]).stdout == "x\n"


def drain(connection):
    """The reply to a request that is refused while it is still being sent; None when only a reset is left."""
    try:
        return connection.reply()
    except (EOFError, ConnectionError):
        return None


@pytest.mark.parametrize("length", [10**12, 2**63 - 1])
def test_body_that_says_it_is_too_large(wire, box, length):
    connection = wire().send(request("POST", "/execute", headers=[f"Content-Length: {length}"]))
    reply = connection.reply()
    assert (reply.status, "detail" in reply.json) == (413, True)
    assert box.is_alive()["is_alive"] is True


def flood(connection, head, piece, total):
    """Sends until all is sent or the server has had enough."""
    try:
        connection.send(head)
        for _ in range(total // len(piece)):
            connection.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass


def test_chunked_body_that_grows_too_large(server, wire, box):
    head = request("POST", "/execute", headers=["Transfer-Encoding: chunked"])
    connection = wire()
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    flood(connection, head, piece, 600 << 20)
    reply = drain(connection)
    assert reply is None or reply.status == 413
    assert box.is_alive()["is_alive"] is True
    assert server.rss_kib() < (300 if SLOW == 1 else 1200) * 1024


@pytest.mark.parametrize("piece", [b"X-Flood: " + b"y" * 1000 + b"\r\n", b"y" * 1000], ids=["many headers", "one header"])
def test_header_flood(server, wire, box, piece):
    connection = wire()
    flood(connection, b"GET / HTTP/1.1\r\nX-API-Key: s3cret\r\nX-Long: ", piece, 20 << 20)
    reply = drain(connection)
    assert reply is None or (reply.status in (400, 431) and "detail" in reply.json)
    assert box.is_alive()["is_alive"] is True


def test_long_url(wire, box):
    connection = wire()
    flood(connection, b"GET /", b"a" * 1000, 4 << 20)
    reply = drain(connection)
    assert reply is None or reply.status in (400, 414, 431)
    assert box.is_alive()["is_alive"] is True


def test_a_header_section_of_a_reasonable_size_is_fine(wire):
    assert ask(wire, "GET", "/", headers=[f"X-Filler-{number}: {'z' * 100}" for number in range(50)]).status == 200


def test_slow_reader_does_not_hold_up_others(wire, box, tmp_path):
    big = tmp_path / "big"
    big.write_text("x" * (6 << 20))
    slow = wire()
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.send(request("POST", "/read_file", {"path": str(big)}))
    for _ in range(20):
        slow.data += slow.sock.recv(1)
        assert box.is_alive()["is_alive"] is True
    assert len(slow.reply().json["content"]) == 6 << 20


def test_readers_that_never_read_do_not_grow_the_server(server, wire, box, tmp_path):
    big = tmp_path / "big"
    big.write_text("x" * (1 << 20))
    greedy = wire()
    greedy.sock.settimeout(0.5)
    try:  # pipelines 1 GB of replies and reads none of them
        greedy.send(request("POST", "/read_file", {"path": str(big)}) * 1000)
    except TimeoutError:
        pass
    for _ in range(20):
        box.is_alive()
    assert server.rss_kib() < (200 if SLOW == 1 else 800) * 1024


def test_half_a_request_and_gone(wire, box):
    for cut in (1, 10, 40, 70):
        connection = wire().send(request("POST", "/execute", {"command": ["true"]})[:cut])
        connection.sock.close()
    assert box.is_alive()["is_alive"] is True


def test_two_hundred_idle_connections(wire, box):
    idle = [wire() for _ in range(200)]
    assert box.execute(["echo", "x"]).stdout == "x\n"
    for connection in idle[::20]:
        assert connection.send(request("GET", "/")).reply().status == 200


def test_many_new_connections(box):
    for _ in range(300):
        box.is_alive()


def test_connections_are_given_back(server, wire, box):
    import os

    def fds():
        return len(os.listdir(f"/proc/{server.pid()}/fd"))

    box.is_alive()
    before = fds()
    opened = [wire() for _ in range(50)]
    for connection in opened:
        assert connection.send(request("GET", "/")).reply().status == 200
    for connection in opened:
        connection.sock.close()
    wait_until(lambda: fds() <= before, "closed connections leave no descriptor")

"""HTTP by hand over a plain socket, for what no decent client library would send."""

import json


def request(method, path, body=b"", token="s3cret", headers=(), length=True):
    """The bytes of one request."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    if token is not None:
        lines.append(f"X-API-Key: {token}")
    if body and length:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += headers
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"Reply({self.status}, {self.headers}, {self.body[:300]!r})"


class Wire:
    """A connection that parses replies one by one and keeps what came too much."""

    def __init__(self, sock):
        self.sock = sock
        self.data = b""

    def send(self, data):
        self.sock.sendall(data)
        return self

    def _fill(self):
        piece = self.sock.recv(65536)
        self.data += piece
        return bool(piece)

    def reply(self):
        """The next reply; raises EOFError when the peer closes before it is whole."""
        while b"\r\n\r\n" not in self.data:
            if not self._fill():
                raise EOFError(self.data)
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(first.split()[1])
        length = int(headers.get("content-length", "0")) if status >= 200 else 0
        while len(self.data) < length:
            if not self._fill():
                raise EOFError(self.data)
        body, self.data = self.data[:length], self.data[length:]
        return Reply(status, headers, body)

    def at_end(self):
        """True when the peer has closed and nothing is left."""
        try:
            return not self.data and not self._fill()
        except ConnectionResetError:
            return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

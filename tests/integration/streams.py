"""The client's side of crex-stream/1 by hand, over a plain socket."""

import json
import struct

from rawhttp import Wire, request

PROTOCOL = "crex-stream/1"
UPGRADE = ("Connection: Upgrade", f"Upgrade: {PROTOCOL}")


def frame(kind, payload=b""):
    return kind.encode() + struct.pack(">I", len(payload)) + payload


class Stream:
    """One upgraded connection. `out` and `err` collect what has come; `code` or `failure` is its end."""

    def __init__(self, server, timeout=20, **open_fields):
        self.sock = server.connect(timeout)
        self.wire = Wire(self.sock)
        self.sock.sendall(request("GET", "/stream", token=server.token, headers=UPGRADE))
        self.reply = self.wire.reply()
        assert self.reply.status == 101, self.reply
        assert self.reply.headers["upgrade"] == PROTOCOL
        self.data = bytearray(self.wire.data)
        self.out, self.err = bytearray(), bytearray()
        self.window = 0
        self.started = False
        self.code = self.failure = None
        if open_fields:
            self.send("O", json.dumps(open_fields).encode())

    def send(self, kind, payload=b""):
        self.sock.sendall(frame(kind, payload))
        return self

    def write(self, data):
        for at in range(0, len(data), 65536):
            self.send("I", data[at:at + 65536])
        return self

    def resize(self, rows, columns):
        return self.send("R", struct.pack(">ii", rows, columns))

    def signal(self, number):
        return self.send("S", struct.pack(">i", number))

    @property
    def over(self):
        return self.code is not None or self.failure is not None

    def _need(self, count):
        while len(self.data) < count:
            piece = self.sock.recv(1 << 16)
            if not piece:
                raise EOFError(bytes(self.data))
            self.data += piece

    def step(self):
        """Takes one frame; its kind and payload."""
        assert not self.over, "nothing comes after the last frame"
        self._need(5)
        kind, length = chr(self.data[0]), struct.unpack(">I", self.data[1:5])[0]
        assert length <= 65536
        self._need(5 + length)
        payload = bytes(self.data[5:5 + length])
        del self.data[:5 + length]
        if kind == "1":
            self.out += payload
        elif kind == "2":
            self.err += payload
        elif kind == "W":
            self.window += struct.unpack(">i", payload)[0]
            self.started = True
        elif kind == "X":
            self.code = struct.unpack(">i", payload)[0]
        elif kind == "F":
            self.failure = json.loads(payload)["swerexception"]
        else:
            raise AssertionError(f"frame {kind!r}")
        return kind, payload

    def start(self):
        while not self.started:
            self.step()
            assert not self.over, self.failure
        return self

    def until(self, text):
        """Reads until the output has `text`."""
        while text not in self.out:
            self.step()
            assert not self.over or text in self.out, (bytes(self.out), self.code, self.failure)
        return self

    def finish(self):
        """Reads to the end: the last frame, then the connection's end."""
        while not self.over:
            self.step()
        assert self.sock.recv(1) == b"" and not self.data
        self.sock.close()
        return self

    def close(self):
        self.sock.close()

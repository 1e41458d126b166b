"""Every limit: reaching one gives a typed error or a stated cut, and the server goes on."""

import os
import pathlib
import re
import resource
import select
import time

import pytest
from rawhttp import Wire, request
from server import SLOW, wait_until
from swerex.exceptions import SwerexException


def test_output_limit_keeps_head_and_tail(start):
    box = start("--max-output", "64K")
    box.create_session()
    obs = box.run("echo START; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo END", check="silent")
    assert obs.truncated is True and obs.exit_code == 0
    assert obs.output.startswith("START\nxxx") and obs.output.endswith("xxx\nEND\n")
    assert 30_000 < len(obs.output) < 80_000
    obs = box.run("echo small")
    assert obs.output == "small\n" and not getattr(obs, "truncated", False)


def test_output_limit_of_execute(start):
    box = start("--max-output", "64K")
    result = box.execute("echo START; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo END; echo err >&2", shell=True)
    assert result.truncated is True and result.exit_code == 0 and result.stderr == "err\n"
    assert result.stdout.startswith("START\nxxx") and result.stdout.endswith("xxx\nEND\n")
    assert len(result.stdout) < 140_000


def test_endless_output_is_held_within_the_limit(start):
    box = start("--max-output", "1M")
    box.create_session()
    with pytest.raises(SwerexException):
        box.run("yes $(printf 'y%.0s' $(seq 100))", timeout=1.5)
    assert box.server.rss_kib() < (40 if SLOW == 1 else 400) * 1024
    box.interrupt()
    assert box.run("echo next").output == "next\n"


def test_session_limit(start):
    box = start("--max-sessions", "3")
    for name in "abc":
        box.create_session(name)
    with pytest.raises(SwerexException) as caught:
        box.create_session("d")
    assert "3" in str(caught.value)
    box.close_session("a")
    box.create_session("d")
    assert box.run("echo ok", "d").output == "ok\n"


def test_body_limit(start, tmp_path):
    box = start("--max-body", "64K")
    with Wire(box.server.connect()) as connection:
        reply = connection.send(request("POST", "/write_file", {"path": f"{tmp_path}/f", "content": "x" * 100_000})).reply()
        assert reply.status == 413 and "detail" in reply.json
    assert not (tmp_path / "f").exists()
    box.write_file(tmp_path / "f", "x" * 60_000)
    (tmp_path / "big").write_bytes(b"u" * 1_000_000)  # streamed uploads are excepted
    box.upload(tmp_path / "big", tmp_path / "uploaded")
    assert (tmp_path / "uploaded").stat().st_size == 1_000_000


def test_values_limit(start):
    """Small objects cost a hundred times their bytes, so their number is limited; honest long lists pass."""
    box = start()
    with Wire(box.server.connect()) as connection:
        body = b'{"command":"true","a":[' + b"{}," * 3_000_000 + b"{}]}"
        reply = connection.send(request("POST", "/execute", body)).reply()
        assert reply.status == 422 and "too many values" in reply.json["detail"][0]["ctx"]["error"]
        peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{box.server.pid()}/status").read_text())[1])
        assert peak < (60 if SLOW == 1 else 500) * 1024
    assert box.execute(["sh", "-c", "echo $#", "sh", *["argument"] * 20_000]).stdout == "20000\n"
    assert box.execute("env | grep -c ^FIXED_", shell=True, env={f"FIXED_{n}": "x" for n in range(10_000)}).stdout == "10000\n"


def test_header_limit(start):
    box = start("--max-header", "4K")
    with Wire(box.server.connect()) as connection:
        reply = connection.send(request("GET", "/", headers=["X-Long: " + "y" * 8000])).reply()
        assert reply.status == 431 and "detail" in reply.json
    with Wire(box.server.connect()) as connection:
        assert connection.send(request("GET", "/", headers=["X-Long: " + "y" * 2000])).reply().status == 200


def test_file_limit(start, tmp_path):
    box = start("--max-file", "64K")
    (tmp_path / "fits").write_text("x" * 60_000)
    (tmp_path / "big").write_text("x" * 100_000)
    assert len(box.read_file(tmp_path / "fits")) == 60_000
    with pytest.raises(SwerexException):
        box.read_file(tmp_path / "big")
    with pytest.raises(SwerexException):
        box.read_file("/dev/zero")


def test_unzip_limit(start, tmp_path):
    box = start("--max-unzip", "1M")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "zeros").write_bytes(bytes(4 << 20))
    with pytest.raises((SwerexException, OSError)):
        box.upload(tmp_path / "src", tmp_path / "dst")
    assert not (tmp_path / "dst" / "zeros").exists()


def test_connection_limit(start):
    box = start("--max-connections", "10")
    idle = [Wire(box.server.connect()) for _ in range(30)]
    refused = Wire(box.server.connect()).send(request("GET", "/is_alive"))
    try:
        reply = refused.reply()
        assert reply.status == 503 and "detail" in reply.json
    except ConnectionResetError:  # it was refused before it had sent anything
        pass
    for connection in idle:
        connection.sock.close()

    def works():
        try:
            return box.execute(["echo", "x"]).stdout == "x\n"
        except Exception:
            return False

    wait_until(works, "free connections are used again")


def test_idle_connections_are_closed(start):
    box = start("--idle-timeout", "0.3")
    with Wire(box.server.connect()) as never, Wire(box.server.connect()) as half, Wire(box.server.connect()) as served:
        half.send(request("POST", "/execute", {"command": "true"})[:30])
        assert served.send(request("GET", "/")).reply().status == 200
        for connection in (never, served):
            assert connection.at_end()
        try:
            half.reply()
        except (EOFError, ConnectionResetError):
            pass
    assert box.execute(["sleep", "1"]).exit_code == 0  # waiting for a reply is not idle


def trickle_until_408(box, head, piece=b"x"):
    with Wire(box.server.connect()) as connection:
        connection.send(head)
        began = time.monotonic()
        while not select.select([connection.sock], [], [], 0.1)[0]:
            connection.send(piece)
            assert time.monotonic() - began < 10 * SLOW
        reply = connection.reply()
        assert (reply.status, reply.json) == (408, {"detail": "Request timeout"})


@pytest.mark.parametrize("option", ["--header-timeout", "--idle-timeout"])
def test_head_byte_by_byte(start, option):
    """No byte postpones a head's deadline."""
    trickle_until_408(start(option, "1"), b"GET /is_alive HTTP/1.1\r\nX-Slow: ")


SLOW_BODIES = {
    "length": ["Content-Length: 100000"],
    "chunked": ["Transfer-Encoding: chunked"],
    "upload": ["Content-Length: 1000000000", "Content-Type: multipart/form-data; boundary=b"],
}


@pytest.mark.parametrize("headers", SLOW_BODIES.values(), ids=SLOW_BODIES.keys())
def test_body_byte_by_byte(start, headers):
    """A trickle is no progress."""
    box = start("--idle-timeout", "1", "--min-rate", "1000")
    piece = b"1\r\n \r\n" if "chunked" in headers[0] else b"x" if len(headers) == 1 else b"-"
    trickle_until_408(box, request("POST", "/upload" if len(headers) > 1 else "/execute", headers=headers), piece)
    assert box.is_alive()["is_alive"] is True


def test_body_faster_than_the_rate(start):
    """An upload may take much longer than the idle time, as long as it keeps the rate."""
    box = start("--idle-timeout", "0.5", "--min-rate", "100")
    body = b'{"command":["true"]}' + b" " * 3000
    with Wire(box.server.connect()) as connection:
        connection.send(request("POST", "/execute", headers=[f"Content-Length: {len(body)}"]))
        began = time.monotonic()
        for at in range(0, len(body), 50):
            connection.send(body[at:at + 50])
            time.sleep(0.03)  # the rate itself is what is tested
        assert time.monotonic() - began > 3 * 0.5
        assert connection.reply().status == 200


def test_incomplete_heads_make_room(start):
    """Slow clients in every place don't keep an honest one out."""
    box = start("--max-connections", "10")
    slow = [Wire(box.server.connect()).send(b"GET / HTTP/1.1\r\n") for _ in range(40)]

    def answered():
        with Wire(box.server.connect()) as honest:
            return honest.send(request("GET", "/is_alive")).reply().status == 200

    for _ in range(5):
        wait_until(answered, "an honest client is let in", 5)  # connections that are new and silent are spared for a second
    for connection in slow:
        connection.sock.close()


def test_queue_limit(start):
    box = start("--max-queue", "4")
    box.create_session()
    results = box.gather(*[box.rt.run_in_session("sleep 0.3") for _ in range(12)], return_exceptions=True)
    refused = [result for result in results if isinstance(result, SwerexException)]
    assert 1 <= len(refused) <= 8 and len(results) == 12
    assert box.run("echo next").output == "next\n"


def test_idempotency_count(start, tmp_path):
    box = start("--idempotency-count", "2")
    for name in ("a", "b", "c"):
        box.execute(f"echo x >> {tmp_path}/{name}", shell=True, request_id=name)
    box.execute(f"echo x >> {tmp_path}/c", shell=True, request_id="c")
    box.execute(f"echo x >> {tmp_path}/a", shell=True, request_id="a")
    assert (tmp_path / "c").read_text() == "x\n"
    assert (tmp_path / "a").read_text() == "x\nx\n"


def test_idempotency_age(start, tmp_path):
    box = start("--idempotency-age", "0.2")
    box.execute(f"echo x >> {tmp_path}/a", shell=True, request_id="a")
    end = time.monotonic() + 10

    def forgotten():
        time.sleep(0.5)  # the age itself is what is tested
        box.execute(f"echo x >> {tmp_path}/a", shell=True, request_id="a")
        return (tmp_path / "a").read_text() == "x\nx\n" or time.monotonic() > end

    wait_until(forgotten, "the reply has aged")


def test_idempotency_bytes(start, tmp_path):
    box = start("--idempotency-bytes", "64K")
    for name in ("a", "b"):
        box.execute(f"echo x >> {tmp_path}/{name}; head -c 50000 /dev/zero | tr '\\0' x", shell=True, request_id=name)
    box.execute(f"echo x >> {tmp_path}/a", shell=True, request_id="a")
    assert (tmp_path / "a").read_text() == "x\nx\n"


def test_slow_readers_backlog(start, tmp_path):
    box = start("--max-backlog", "8M")
    (tmp_path / "big").write_text("x" * (4 << 20))
    greedy = [Wire(box.server.connect()) for _ in range(20)]
    for connection in greedy:
        connection.send(request("POST", "/read_file", {"path": str(tmp_path / "big")}))
    for _ in range(20):
        assert box.is_alive()["is_alive"] is True
    limit = (60 if SLOW == 1 else 500) * 1024
    wait_until(lambda: box.server.rss_kib() < limit, "the backlog is cut", 5)
    for connection in greedy:
        connection.sock.close()


def test_out_of_descriptors(start):
    """The server's own table is full: new work is refused with a typed error, what is open goes on."""
    box = start()
    box.create_session()
    resource.prlimit(box.server.pid(), resource.RLIMIT_NOFILE, (40, 40))
    held = []
    try:
        for _ in range(60):
            connection = Wire(box.server.connect())
            connection.sock.settimeout(0.3)
            held.append(connection)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            connection = held[0]
            connection.sock.settimeout(10)
            reply = connection.send(request("POST", "/execute", {"command": ["echo", "x"]})).reply()
            assert reply.status in (200, 511)
            break
    finally:
        for connection in held:
            connection.sock.close()
    wait_until(lambda: box.execute(["echo", "x"]).stdout == "x\n", "works again")
    assert box.run("echo hi").output == "hi\n"


@pytest.mark.skipif(os.geteuid() != 0 or SLOW > 1, reason="needs a user of its own to limit")
def test_fork_bomb(start):
    """A user's process limit is reached by the user's own processes: the server answers and can clean up."""
    box = start(wrap=["prlimit", "--nproc=150"], user=54321)
    try:
        box.create_session()
        with pytest.raises(SwerexException):
            box.run("bomb() { while :; do sleep 100 & done; }; bomb 2>/dev/null", timeout=1)
        for _ in range(20):
            assert box.is_alive()["is_alive"] is True
        try:
            box.execute(["true"])
        except (SwerexException, OSError):
            pass  # EAGAIN as BlockingIOError or so
        box.close_session()
        assert box.execute(["echo", "free"]).stdout == "free\n"
    finally:
        box.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small filesystem")
def test_full_disk(start, tmp_path):
    import subprocess
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("may not mount here")
    try:
        box = start(env={"TMPDIR": str(disk)})
        box.create_session()
        (tmp_path / "two").write_bytes(bytes(2 << 20))
        with pytest.raises(OSError) as caught:
            box.write_file(disk / "f", "x" * (2 << 20))
        assert "[Errno 28] No space left on device" in str(caught.value)
        with pytest.raises(OSError) as caught:
            box.upload(tmp_path / "two", disk / "g")
        assert "[Errno 28]" in str(caught.value)
        assert os.listdir(disk) == []
        box.run(f"head -c 2000000 /dev/zero > {disk}/filler")
        assert box.run("echo x").output == "x\n"
        assert box.run("cat <<EOF\nheredoc on a full disk\nEOF").output == "heredoc on a full disk\n"
        assert box.execute(["echo", "x"]).stdout == "x\n"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

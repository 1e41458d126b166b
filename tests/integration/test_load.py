"""Many of everything at once: nothing waits for anything else."""

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import pytest
from client import HttpError
from rawhttp import request
from server import SLOW, children_of, state_of, wait_until

UPLOADER = """
import socket, sys
port, target = int(sys.argv[1]), sys.argv[2]
head = ('--b\\r\\nContent-Disposition: form-data; name="file"; filename="f"\\r\\n\\r\\n').encode()
tail = ('\\r\\n--b\\r\\nContent-Disposition: form-data; name="target_path"\\r\\n\\r\\n' + target + '\\r\\n--b--\\r\\n').encode()
size = 1 << 30
sock = socket.create_connection(("127.0.0.1", port))
sock.sendall(b"POST /upload HTTP/1.1\\r\\nHost: x\\r\\nX-API-Key: s3cret\\r\\nContent-Type: multipart/form-data; boundary=b\\r\\n"
             b"Content-Length: %d\\r\\n\\r\\n" % (len(head) + size + len(tail)) + head)
print("uploading", flush=True)
piece = bytes(1 << 16)
for _ in range(size >> 16):
    sock.sendall(piece)
sock.sendall(tail)
print(sock.recv(100)[:12].decode(), flush=True)
"""


def ask_alive(server):
    """One probe as the clients make it: a new connection, answered, closed. Returns seconds."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(request("GET", "/is_alive", headers=["Connection: close"]))
        data = b""
        while piece := sock.recv(4096):
            data += piece
    assert data.startswith(b"HTTP/1.1 200") and data.endswith(b'{"is_alive":true,"message":""}'), data
    return time.perf_counter() - began


def test_is_alive_while_everything_is_busy(start, tmp_path):
    box = start()
    server = box.server
    busy = [f"busy{number}" for number in range(4)]
    box.gather(*[box.rt.create_session(name) for name in busy])
    from rawhttp import Wire
    burning = [Wire(server.connect()).send(request("POST", "/run_in_session", {
        "action_type": "bash", "session": name, "command": "while :; do :; done", "timeout": 60})) for name in busy]
    idle = [Wire(server.connect()) for _ in range(100)]
    (tmp_path / "big").write_text("x" * (5 << 20))
    slow = Wire(server.connect())
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.send(request("POST", "/read_file", {"path": f"{tmp_path}/big"}))
    stop = threading.Event()

    def trickle():
        while not stop.wait(1):
            slow.sock.recv(1)

    reader = threading.Thread(target=trickle)
    reader.start()
    uploader = subprocess.Popen([sys.executable, "-c", UPLOADER, str(server.port), f"{tmp_path}/uploaded"], stdout=subprocess.PIPE, text=True)
    try:
        assert uploader.stdout.readline() == "uploading\n"
        times = sorted(ask_alive(server) for _ in range(100))
        # one in a hundred may be this very program waiting for its turn on a saturated machine
        assert times[-2] < 0.150 * SLOW, [f"{value * 1000:.0f} ms" for value in times[-5:]]
        assert server.rss_kib() < (64 if SLOW == 1 else 600) * 1024
    finally:
        stop.set()
        uploader.kill()
        uploader.wait()
        reader.join()
        box.close()
        for connection in (*burning, *idle, slow):
            connection.sock.close()


def test_256_sessions_sleep_together(start):
    box = start()
    names = [str(number) for number in range(256)]

    async def all_of_them():
        await asyncio.gather(*[box.rt.create_session(name, startup_timeout=60) for name in names])
        began = time.monotonic()
        replies = await asyncio.gather(*[box.rt.run_in_session("sleep 1; echo slept", name) for name in names])
        took = time.monotonic() - began
        return took, replies

    took, replies = box.go(all_of_them(), deadline=120)
    assert all(reply.output == "slept\n" and reply.exit_code == 0 for reply in replies)
    assert took < 8 * SLOW  # one after the other would be 256 s; the figure is in bench
    assert box.close() == {}


@pytest.mark.parametrize("left", [False, True], ids=["nothing left", "a daemon left by each"])
def test_128_shells_killed_at_once(start, left):
    """is_alive is answered in time meanwhile, what they leave is ended too, and their places are free soon."""
    box = start("--max-sessions", 128)
    names = [str(number) for number in range(128)]
    daemon = f"sleep 895.{os.getpid()}"

    def daemons():
        return int(subprocess.run(["pgrep", "-cxf", daemon], stdout=subprocess.PIPE, text=True).stdout)

    def on_all(call):
        return box.gather(*[call(name) for name in names], return_exceptions=True, deadline=120)

    def all_created():
        results = on_all(lambda name: box.rt.create_session(name, startup_timeout=60))
        return not any(isinstance(result, Exception) and "exists" not in str(result) for result in results)

    assert all_created()
    shells = children_of(box.server.pid())
    assert len(shells) == len(names)
    if left:
        on_all(lambda name: box.rt.run_in_session(f"(setsid {daemon} &)", name))
        wait_until(lambda: daemons() == len(names), "each has its daemon")
    began, times = time.monotonic(), []
    for pid in shells:
        os.kill(pid, signal.SIGKILL)
    while len(times) < 100 or any(state_of(pid) for pid in shells):
        times.append(ask_alive(box.server))
        assert time.monotonic() - began < 10 * SLOW, "the shells are reaped"
    wait_until(lambda: daemons() == 0, "nothing is left", 5)
    wait_until(all_created, "each can be created again", 5)
    times.sort()
    assert times[-2] < 0.150 * SLOW, [f"{value * 1000:.0f} ms" for value in times[-5:]]


def test_16_executions_together(start):
    box = start()
    began = time.monotonic()
    results = box.gather(*[box.rt.execute(["sleep", "1"]) for _ in range(16)])
    assert time.monotonic() - began < 3 * SLOW
    assert all(result.exit_code == 0 for result in results)


def test_thousands_of_commands(start):
    """Over one kept connection; the memory stays where it was."""
    from rawhttp import Wire
    box = start()
    box.create_session()
    with Wire(box.server.connect()) as connection:
        def some(count):
            took = []
            for number in range(count):
                began = time.perf_counter()
                reply = connection.send(request("POST", "/run_in_session", {"action_type": "bash", "command": f"echo {number}"})).reply()
                took.append(time.perf_counter() - began)
                assert reply.json["output"] == f"{number}\n"
            return statistics.median(took)

        some(500)
        before = box.server.rss_kib()
        median = some(2000)
    assert median < 0.05 * SLOW
    assert box.server.rss_kib() - before < (2 if SLOW == 1 else 60) * 1024


def test_sessions_opened_and_closed(start):
    import os
    box = start()

    def fds():
        return len(os.listdir(f"/proc/{box.server.pid()}/fd"))

    def cycle(count):
        for _ in range(count):
            box.create_session("cycle")
            box.run("echo x", "cycle")
            box.close_session("cycle")

    cycle(20)
    before, fds_before = box.server.rss_kib(), fds()
    cycle(100)
    wait_until(lambda: fds() <= fds_before, "descriptors are given back")
    assert box.server.rss_kib() - before < (1 if SLOW == 1 else 60) * 1024


def test_mixture(start, tmp_path):
    """Sessions, executions, files and uploads of several clients interleaved."""
    box = start()
    (tmp_path / "up").write_bytes(bytes(100_000))

    async def client(number):
        name = f"mix{number}"
        await box.rt.create_session(name)
        for step in range(5):
            obs, result, _, _ = await asyncio.gather(
                box.rt.run_in_session(f"x=$((x+{number})); echo $x", name),
                box.rt.execute(["echo", f"{number}-{step}"]),
                box.rt.write_file(tmp_path / f"f{number}", f"{number}-{step}"),
                box.rt.upload(tmp_path / "up", tmp_path / f"u{number}"))
            assert obs.output == f"{number * (step + 1)}\n" and result.stdout == f"{number}-{step}\n"
            assert await box.rt.read_file(tmp_path / f"f{number}") == f"{number}-{step}"
        await box.rt.close_session(name)

    box.gather(*[client(number) for number in range(1, 17)])


@pytest.mark.skipif(SLOW > 1, reason="sanitizers need terabytes of address space")
@pytest.mark.parametrize("mebibytes", [8, 12, 24, 48, 96, 192, 320])
def test_short_address_space(start, tmp_path, mebibytes):
    """What there is no memory for is told; the server lives and goes on. See reserve.c and json_memory.c."""
    box = start(wrap=["prlimit", f"--as={mebibytes << 20}"])

    def large(size):
        return [box.rt.write_file(tmp_path / f"{size}", "x" * size),
                box.rt.execute(f"head -c {size} /dev/zero | tr '\\0' y", shell=True),
                box.rt.run_in_session(f"head -c {size} /dev/zero | tr '\\0' z", timeout=20),
                box.rt.execute("true " + "#" * (size // 2), shell=True)]

    def check(results):
        for result in results:
            if isinstance(result, HttpError):
                assert result.status in (413, 503), result
            elif isinstance(result, Exception):
                assert isinstance(result, (MemoryError, OSError, ValueError)) or "out of memory" in str(result), repr(result)

    pid = box.server.pid()
    check(box.gather(box.rt.create_session(), return_exceptions=True))
    for size in (1 << 20, 6 << 20, 20 << 20):
        for one in large(size):
            check(box.gather(one, return_exceptions=True))
        check(box.gather(*large(size), return_exceptions=True))
    check(box.gather(*[one for _ in range(8) for one in large(3 << 20)], return_exceptions=True))
    check(box.gather(*[box.rt.create_session(str(number)) for number in range(10)], return_exceptions=True))
    connections = [socket.create_connection(("127.0.0.1", box.server.port)) for _ in range(600)]
    for connection in connections:
        connection.close()
    last = []

    def works():
        last[:] = box.gather(box.rt.execute(["true"]), return_exceptions=True)
        return not isinstance(last[0], Exception)

    wait_until(works, "it works as before")
    assert os.path.exists(f"/proc/{pid}") and box.server.pid() == pid
    assert box.server.terminate() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a user of its own to limit")
def test_no_room_for_a_thread(start):
    with pytest.raises(AssertionError, match="ended with 1: swerex-remote: can't start a thread"):
        start("--no-guardian", user=54997, wrap=["prlimit", "--nproc=1"])

"""Programs with live streams: GET /stream."""

import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from rawhttp import request
from server import SLOW, alive, read_pid, wait_gone, wait_until
from streams import PROTOCOL, UPGRADE, Stream, frame


def run(server, *command, **fields):
    return Stream(server, command=list(command), **fields).finish()


# -- the upgrade


@pytest.mark.parametrize("headers", [(), ("Upgrade: " + PROTOCOL,), ("Connection: Upgrade", "Upgrade: crex-stream/2"),
                                     ("Connection: Upgrade", "Upgrade: websocket"), ("Connection: keep-alive", "Upgrade: " + PROTOCOL)])
def test_no_upgrade_or_another_version_is_426(wire, headers):
    reply = wire().send(request("GET", "/stream", headers=headers)).reply()
    assert reply.status == 426
    assert reply.headers["upgrade"] == PROTOCOL
    assert reply.json == {"detail": "Upgrade to crex-stream/1 required"}


def test_the_426_keeps_the_connection(wire):
    connection = wire()
    for _ in range(2):
        assert connection.send(request("GET", "/stream")).reply().status == 426
    assert connection.send(request("GET", "/is_alive")).reply().status == 200


def test_authentication_and_method(wire):
    assert wire().send(request("GET", "/stream", token=None, headers=UPGRADE)).reply().status == 403
    assert wire().send(request("GET", "/stream", token="wrong", headers=UPGRADE)).reply().status == 401
    assert wire().send(request("POST", "/stream", headers=UPGRADE)).reply().status == 405


def test_header_lists_in_any_case(wire):
    headers = ("CONNECTION: keep-alive, uPGRADE", "upgrade: h2c , CREX-Stream/1")
    assert wire().send(request("GET", "/stream", headers=headers)).reply().status == 101


def test_http_1_0_is_not_upgraded(wire):
    text = request("GET", "/stream", headers=UPGRADE).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert wire().send(text).reply().status == 426


def test_frames_behind_the_request_in_one_packet(wire):
    connection = wire()
    connection.send(request("GET", "/stream", headers=UPGRADE) + frame("O", b'{"command":["cat"]}') + frame("I", b"hello") +
                    frame("E"))
    assert connection.reply().status == 101
    while not connection.data.endswith(frame("X", bytes(4))):
        assert connection._fill()
    assert frame("1", b"hello") in connection.data


# -- output, input, ends


def test_both_outputs_and_the_exit_code(server):
    s = run(server, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (bytes(s.out), bytes(s.err), s.code) == (b"out\n", b"err\n", 7)


def test_shell(server):
    assert run(server, "echo $0 $1 $((6*7))", "zero", "one", shell=True).out == b"zero one 42\n"


def test_cwd_and_environment(server, tmp_path):
    s = run(server, "pwd; echo $ADDED $HOME", shell=True, cwd=str(tmp_path), env=["ADDED=x y", "HOME=/elsewhere"])
    assert s.out == f"{tmp_path}\nx y /elsewhere\n".encode()
    assert run(server, "sh", "-c", "echo $HOME").out.strip() == str(server.home).encode()


def test_ended_by_a_signal_is_negative(server):
    assert run(server, "sh", "-c", "kill -9 $$").code == -9


def test_stdin_is_taken_while_it_runs(server):
    s = Stream(server, command=["cat"])
    for number in range(20):
        line = b"line %d\n" % number
        s.write(line).until(line)
    assert s.send("E").finish().code == 0


def test_stdin_is_open_until_it_is_closed(server):
    s = Stream(server, command=["cat"]).start()
    assert not s.out and not s.over
    assert s.send("E").finish().code == 0


def test_input_that_nobody_takes_is_dropped(server):
    """The program has closed its stdin: the window opens again, nothing dies of SIGPIPE."""
    s = Stream(server, command=["sh", "-c", "exec <&-; echo closed; sleep 0.2; exit 3"]).until(b"closed")
    s.write(bytes(200_000))
    assert s.finish().code == 3


def test_spawn_errors(server, tmp_path):
    missing = run(server, "/no/such/program").failure
    assert missing["class_path"] == "builtins.FileNotFoundError"
    assert missing["message"] == "[Errno 2] No such file or directory: '/no/such/program'"
    assert run(server, str(tmp_path)).failure["class_path"] == "builtins.PermissionError"
    assert run(server, "true", cwd="/no/dir").failure["class_path"] == "builtins.FileNotFoundError"


@pytest.mark.parametrize("fields, text", [({"command": "true"}, "command"), ({"command": []}, "command"), ({"command": ["a\0b"]}, "null"),
                                          ({"command": ["true"], "env": ["=x"]}, "environment"), ({"command": ["true"], "rows": -1}, "rows"),
                                          ({"command": ["true"], "tty": "perhaps"}, "tty")])
def test_bad_open_frames(server, fields, text):
    failure = Stream(server, **fields).finish().failure
    assert failure["class_path"] == "builtins.ValueError"
    assert text in failure["message"]


@pytest.mark.parametrize("data", [frame("O", b"{"), frame("O"), frame("I", b"x"), frame("Z"), frame("E"), b"O\xff\xff\xff\xff", b"O\0\1\0\1"])
def test_bad_first_frames(server, data):
    s = Stream(server)
    s.sock.sendall(data)
    assert s.finish().failure["class_path"] == "builtins.ValueError"


@pytest.mark.parametrize("data", [frame("Z"), frame("R", bytes(8)), frame("R", b"1"), frame("S", bytes(4)), frame("S", b"\0\0\0\x41"),
                                  frame("S"), b"I\0\1\0\1"])
def test_bad_frames_end_the_program(server, tmp_path, data):
    s = Stream(server, command=["sh", "-c", "echo $$ > pid; exec sleep 600"], cwd=str(tmp_path)).start()
    pid = read_pid(tmp_path / "pid")
    s.sock.sendall(data)
    assert s.finish().failure["class_path"] == "builtins.ValueError"
    wait_gone(pid)


def test_background_processes_do_not_delay_the_end_and_live_on(server, tmp_path):
    begin = time.monotonic()
    s = run(server, "sh", "-c", "sleep 60 & echo $! > pid; echo done", cwd=str(tmp_path))
    assert s.out == b"done\n" and s.code == 0
    assert time.monotonic() - begin < 10 * SLOW
    pid = read_pid(tmp_path / "pid")
    time.sleep(0.2)  # it would be killed by now
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_all_output_before_the_end(server):
    for _ in range(20):
        s = run(server, "sh", "-c", "head -c 300000 /dev/zero; echo end >&2")
        assert len(s.out) == 300000 and s.err == b"end\n"


def test_fifty_megabytes_both_ways(server):
    data = os.urandom(1 << 20) * 50
    s = Stream(server, command=["cat"])
    writer = threading.Thread(target=lambda: s.write(data).send("E"))
    writer.start()
    s.finish()
    writer.join()
    assert s.code == 0
    assert hashlib.sha256(s.out).digest() == hashlib.sha256(data).digest()


def memory_of(server):
    text = pathlib.Path(f"/proc/{server.pid()}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def test_a_slow_reader_slows_the_program_and_costs_no_memory(server):
    run(server, "true")
    before = memory_of(server)
    s = Stream(server, command=["sh", "-c", "head -c 50000000 /dev/zero; echo over >&2"]).start()
    most = 0
    for _ in range(10):
        s.step()
        time.sleep(0.05)
        most = max(most, memory_of(server))
    assert most - before < 8 << 20
    assert not s.err
    assert len(s.finish().out) == 50_000_000


def test_a_program_that_does_not_read_holds_up_neither_signals_nor_memory(server):
    """Within the window; a client that goes beyond it waits for itself alone."""
    s = Stream(server, command=["sleep", "600"]).start()
    s.write(bytes(s.window)).signal(signal.SIGTERM)
    assert s.finish().code == -signal.SIGTERM


# -- the terminal


def test_terminal(server):
    s = run(server, "sh", "-c", "tty >/dev/null && stty size && echo $TERM >&2; ls -l /proc/self/fd/0 | grep -c pts", tty=True, rows=33,
            columns=101, env=["TERM=vt220"])
    assert s.out == b"33 101\r\nvt220\r\n1\r\n"
    assert not s.err and s.code == 0


def test_terminal_has_a_default_size_and_name(server):
    assert run(server, "sh", "-c", "stty size; echo $TERM", tty=True).out == b"24 80\r\nxterm\r\n"


def test_terminal_echoes(server):
    s = Stream(server, command=["cat"], tty=True).start()
    s.write(b"hello\n").until(b"hello\r\nhello\r\n")
    s.write(b"\x04")
    assert s.finish().code == 0


def test_end_of_input_on_a_terminal(server):
    assert Stream(server, command=["cat"], tty=True).start().write(b"whole line\n").send("E").finish().code == 0
    s = Stream(server, command=["cat"], tty=True).start().write(b"part").send("E").finish()
    assert s.code == 0 and s.out.count(b"part") == 2


def test_a_program_that_leaves_its_terminal_is_not_hung_up(server):
    s = run(server, "bash", "-c", "exec <&- >&- 2>&-; sleep 0.3; exit 6", tty=True)
    assert s.code == 6


def test_resize(server):
    s = Stream(server, command=["sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"], tty=True).until(b"ready")
    s.resize(50, 132).until(b"50 132")
    s.close()


def test_resize_before_the_start(server):
    s = Stream(server, command=["sh", "-c", "sleep 0.3; stty size"], tty=True).resize(11, 22)
    assert s.finish().out == b"11 22\r\n"


def test_interrupt_by_the_terminal(server):
    s = Stream(server, command=["sh", "-c", "echo ready; exec sleep 600"], tty=True).until(b"ready")
    s.write(b"\x03")
    assert s.finish().code == -signal.SIGINT


def test_job_control(server):
    s = Stream(server, command=["bash", "--norc", "-i"], tty=True, env=["PS1=ready> "]).until(b"ready> ")
    s.write(b"sleep 601\n").until(b"601\r\n")
    wait_until(lambda: subprocess.run(["pgrep", "-x", "-f", "sleep 601"], stdout=subprocess.DEVNULL).returncode == 0, "sleep runs")
    s.write(b"\x1a").until(b"Stopped")
    s.write(b"jobs -l; kill -9 %1; wait; echo o''ver\n").until(b"over")
    s.write(b"exit 5\n")
    assert s.finish().code == 5


def test_login_shell_without_a_command(server):
    s = Stream(server, command=[], tty=True, env=["PS1=$ "])
    s.write(b"shopt -q login_shell && echo lo''gin; exit\n")
    assert b"login\r\n" in s.finish().out and s.code == 0


def test_shell_where_there_is_no_bash(server, tmp_path):
    (tmp_path / "sh").symlink_to("/bin/sh")
    s = Stream(server, command=[], tty=True, env=[f"PATH={tmp_path}"]).start()
    s.write(b"echo sh$((40+2)); exit 4\n")
    assert b"sh42" in s.finish().out and s.code == 4


def test_signals_go_to_the_foreground_job(server):
    s = Stream(server, command=["bash", "--norc", "-i"], tty=True, env=["PS1=ready> "]).until(b"ready> ")
    s.write(b"sh -c 'echo star''ted; exec sleep 602'; echo code $?\n").until(b"started")
    s.signal(signal.SIGTERM).until(b"code 143")
    s.write(b"exit\n").finish()


def test_signals_without_a_terminal(server):
    s = Stream(server, command=["sh", "-c", "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done"]).until(b"ready")
    assert s.signal(signal.SIGUSR1).finish().code == 9
    assert s.out == b"ready\ncaught\n"


# -- the ends of others


TREE = "setsid sh -c 'echo $$ > one; exec sleep 603' & (sh -c 'echo $$ > two; exec sleep 603' &) ; echo $$ > three; exec sleep 603"


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("how", ["close", "reset", "unread"])
def test_a_client_that_vanishes_takes_the_tree_with_it(server, tmp_path, tty, how):
    s = Stream(server, command=["sh", "-c", TREE], cwd=str(tmp_path), tty=tty).start()
    pids = [read_pid(tmp_path / name) for name in ("one", "two", "three")]
    if how == "unread":
        s.sock.setblocking(False)
        try:
            while True:  # far beyond the window: the server doesn't read any more
                s.sock.send(frame("I", b"\n" * 65536))
        except BlockingIOError:
            pass
    if how == "reset":
        s.sock.setsockopt(__import__("socket").SOL_SOCKET, __import__("socket").SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()
    for pid in pids:
        wait_gone(pid)


def test_a_client_that_vanishes_while_output_waits(server, tmp_path):
    s = Stream(server, command=["sh", "-c", "echo $$ > pid; exec cat /dev/zero"], cwd=str(tmp_path)).start()
    pid = read_pid(tmp_path / "pid")
    s.step()
    s.close()
    wait_gone(pid)


def test_many_at_once_and_the_server_answers(server, box):
    streams = [Stream(server, command=["sh", "-c", "read line; echo $line; head -c 200000 /dev/zero"]) for _ in range(100)]
    for number, s in enumerate(streams):
        s.start().write(b"%d\n" % number)
    latencies = []
    for number, s in enumerate(streams):
        begin = time.monotonic()
        box.is_alive()
        latencies.append(time.monotonic() - begin)
        s.finish()
        assert s.out.startswith(b"%d\n" % number) and len(s.out) == 200000 + len(str(number)) + 1
    assert max(latencies) < 0.15 * SLOW


def test_is_alive_beside_a_flood(server, box):
    s = Stream(server, command=["cat", "/dev/zero"]).start()
    over = threading.Event()

    def read():
        while not over.is_set():
            s.sock.recv(1 << 20)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            begin = time.monotonic()
            box.is_alive()
            assert time.monotonic() - begin < 0.15 * SLOW
    finally:
        over.set()
        reader.join()
        s.close()


def test_the_end_of_the_server(start, tmp_path):
    box = start()
    s = Stream(box.server, command=["sh", "-c", TREE], cwd=str(tmp_path)).start()
    idle = Stream(box.server)
    pids = [read_pid(tmp_path / name) for name in ("one", "two", "three")]
    box.server.process.terminate()
    assert "shut down" in s.finish().failure["message"]
    for pid in pids:
        wait_gone(pid)
    assert box.server.process.wait(10 * SLOW) == 0
    assert idle.sock.recv(1) == b""


def test_an_open_stream_is_presence(start):
    box = start("--host-timeout", "0.5")
    s = Stream(box.server, command=["sleep", "2"])
    assert s.finish().code == 0
    assert box.server.process.wait(10 * SLOW) == 0


def test_no_idle_timeout(start):
    box = start("--idle-timeout", "1", "--header-timeout", "1")
    s = Stream(box.server, command=["cat"]).start()
    time.sleep(2.5)
    assert s.write(b"still\n").until(b"still").send("E").finish().code == 0

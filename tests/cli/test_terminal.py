"""What people see in a terminal: shells, job control, resize, the way out; and the lines that come and go."""

import os
import pty
import select
import signal
import subprocess
import termios

import pytest
from conftest import CREX, TOKEN, up, wait_until


def in_terminal(crex, *args, env=None, deadline=30):
    """Runs crex with a pty for everything; what came out of it, raw, and the exit code."""
    master, slave = pty.openpty()
    process = subprocess.Popen([CREX, *map(str, args)], stdin=slave, stdout=slave, stderr=slave, env=crex.environment(env))
    os.close(slave)
    out = b""

    def drained():
        nonlocal out
        while select.select([master], [], [], 0.05)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:
                return True
            if not piece:
                return True
            out += piece
        return process.poll() is not None

    try:
        wait_until(drained, "crex has ended", deadline)
        return out.decode(errors="replace"), process.wait(10)
    finally:
        process.kill()
        os.close(master)


def test_colours_on_a_terminal_unless_unwanted(crex):
    assert "\033[32mok" in in_terminal(crex, "doctor")[0]
    assert "\033[" not in in_terminal(crex, "ps", env={"NO_COLOR": "1"})[0]
    assert "\033[" not in in_terminal(crex, "ps", env={"TERM": "dumb"})[0]
    assert "\033[31mcrex:" in in_terminal(crex, "exec", "nothing", "--", "ls")[0]


def test_the_rewritten_line_is_gone_at_the_end(crex, server, tmp_path):
    up(crex, server, "box")
    (tmp_path / "big").write_bytes(os.urandom(8 << 20))
    out, code = in_terminal(crex, "cp", tmp_path / "big", f"box:{tmp_path}/there")
    assert code == 0 and "MB" in out and out.endswith("\r\033[K")
    out, code = in_terminal(crex, "cp", f"box:{tmp_path}/there", tmp_path / "back")
    assert code == 0 and "[####" in out and out.endswith("\r\033[K")
    assert "\033[K" not in in_terminal(crex, "-q", "cp", tmp_path / "big", f"box:{tmp_path}/there")[0]


def test_control_characters_of_others_dont_reach_the_terminal(crex):
    out, _ = in_terminal(crex, "exec", "bad\033]0;name\007", "--", "ls")
    assert "\033]" not in out


def test_a_shell_with_a_terminal(streams, screen):
    screen.start("shell", "--local")
    screen.wait(r"[$#] *$")
    screen.type("stty size; tty; echo $TERM-$((6*7))")
    screen.wait(r"^30 100$")
    screen.wait(r"^/dev/pts/\d+$")
    screen.wait(r"-42$")
    screen("resize-window", "-x", "71", "-y", "23")
    screen.type("stty size")
    screen.wait(r"^23 71$")
    screen.type("""sh -c 'trap "echo resu""med" CONT; echo be""gun; while :; do sleep 0.1; done'""")
    screen.wait("^begun$")
    screen("send-keys", "C-z")
    screen.wait("Stopped")
    screen.type("fg")
    screen.wait("^resumed$")
    screen("send-keys", "C-c")
    screen.type("echo code-$?")
    screen.wait("^code-130$")
    screen.type("exit 5")
    assert screen.status() == 5


def test_tilde_dot_leaves(streams, screen):
    screen.start("shell", "--local")
    screen.wait(r"[$#] *$")
    screen.type("cat")
    screen.type("~~kept")
    screen.wait("^~kept")
    screen.type("~.", enter=False)
    assert screen.status() == 0
    assert "left" in screen.text()


def test_terminal_is_as_it_was(crex, streams):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen([CREX, "run", "--local", "-it", "--", "sh", "-c", "tty; exit 3"], stdin=slave, stdout=slave,
                               stderr=slave, env=crex.environment())
    assert process.wait(30) == 3
    assert termios.tcgetattr(slave) == before
    os.close(master), os.close(slave)


def test_run_with_a_terminal(streams, screen):
    screen.start("run", "--local", "-it", "--", "bash", "--norc", "-c", "read -p 'name? ' name; echo hello $name; exit 4")
    screen.wait("name")
    screen.type("crex")
    screen.wait("^hello crex$")
    assert screen.status() == 4


def test_a_script_from_a_pipe(crex, streams):
    result = crex("shell", "--local", input="echo $((6*7))\nexit 3\n")
    assert (result.returncode, result.stdout) == (3, "42\n")


def test_a_shell_on_a_name(streams, crex, server, screen):
    up(crex, server, "box")
    screen.start("shell", "box", "-w", "/", "-e", "GREETING=hello there", "-e", "TERM=dumb")
    screen.wait(r"[$#] *$")
    screen.type('echo "$GREETING from $PWD on $TERM"')
    screen.wait("^hello there from / on dumb$")
    screen("send-keys", "C-d")
    screen.status()
    assert crex.json("ps")[0]["status"] == "running"


def test_shell_needs_one_place(crex):
    assert "where" in crex.fails(125, "shell")
    assert "leave the name" in crex.fails(125, "shell", "box", "--local")


@pytest.fixture
def plain_server():
    """A server without streams, as upstream's: everything else is passed on to a real one."""
    import http.server
    import threading
    import urllib.error
    import urllib.request

    from server import Server

    real = Server(token=TOKEN)

    class Handler(http.server.BaseHTTPRequestHandler):
        def body(self):
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def handle_any(self):
            if self.path == "/stream":
                reply, status = b'{"detail":"Not Found"}', 404
            else:
                body = self.body()
                request = urllib.request.Request(real.base_url + self.path, data=body or None, method=self.command,
                                                 headers={key: value for key, value in self.headers.items()
                                                          if key not in ("Host", "Transfer-Encoding", "Expect")})
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        reply, status = answer.read(), answer.status
                except urllib.error.HTTPError as error:
                    reply, status = error.read(), error.code
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST = handle_any

        def log_message(self, *args):
            pass

    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    proxy.base_url = f"http://127.0.0.1:{proxy.server_address[1]}"
    yield proxy
    proxy.shutdown()
    real.stop()


def test_line_by_line_without_streams(crex, plain_server, screen, tmp_path):
    up(crex, plain_server, "old")
    screen.start("shell", "old", "-e", "GREETING=it's me", "-w", "/usr")
    screen.wait(r"^old\$ *$")
    screen.type('echo "$GREETING"; pwd; cd /; x=5')
    screen.wait("^it's me$")
    screen.wait("^/usr$")
    screen.type('echo "$PWD $x"; if')
    screen.wait("syntax")
    screen.type('echo "$PWD $x"')
    screen.wait("^/ 5$")
    screen.type("not to be run", enter=False)
    screen.wait("not to be run$")
    screen("send-keys", "C-c")
    screen.wait(r"\^C\s*\n(.*\n)*old\$ *$")
    screen.type(f"touch {tmp_path}/begun; sleep 1000")
    wait_until((tmp_path / "begun").exists, "it has begun")
    screen("send-keys", "C-c")
    screen.wait(r"begun(.*\n)+\^C\s*\n(.*\n)*old\$ *$")
    screen.type("echo code-$?")
    screen.wait("^code-130$")
    screen.type("exit 6")
    assert screen.status() == 6


def test_line_by_line_ends_by_a_signal(crex, plain_server):
    up(crex, plain_server, "old")
    process = crex.start("shell", "old", stdin=subprocess.PIPE)
    process.stdin.write("echo ready\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


def test_line_by_line_from_a_pipe(crex, plain_server):
    up(crex, plain_server, "old")
    result = crex("shell", "old", input="x=4\necho $((x+1))\nfalse\n")
    assert (result.returncode, result.stdout) == (1, "5\n")


def test_everything_else_works_without_streams(crex, plain_server, tmp_path):
    up(crex, plain_server, "old")
    assert crex("exec", "old", "-e", "A=b", "--", "sh", "-c", "echo $A; exit 5").returncode == 5
    assert "-i" in crex.fails(125, "exec", "-i", "old", "--", "cat", input="x")
    crex.fails(124, "exec", "--timeout", "0.3", "old", "--", "sleep", "100")
    crex.fails(127, "exec", "old", "--", "no-such-program")
    data = bytes(range(256)) * 3000 + b"odd"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(data)
    crex.ok("cp", tmp_path / "in", f"old:{tmp_path}/there")
    crex.ok("cp", f"old:{tmp_path}/there", tmp_path / "back")
    crex.ok("cp", f"old:{tmp_path}/there/file", tmp_path / "single")
    assert (tmp_path / "back" / "file").read_bytes() == data == (tmp_path / "single").read_bytes()
    assert "no such file" in crex.fails(125, "cp", f"old:{tmp_path}/missing", tmp_path / "x")

"""The command line: version, tokens, addresses, errors, endings, and what other processes can see of it."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
from client import Box, Runtime
from rawhttp import Wire, request
from server import BINARY, SLOW, wait_gone, wait_until


def run(*args, env=None):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=20 * SLOW, stdin=subprocess.DEVNULL,
                          env={"PATH": "/usr/bin:/bin", **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}, **(env or {})})


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_version(option):
    result = run(option)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", result.stdout)


@pytest.mark.parametrize("args", [["--version", "--port", "1"], ["--auth-token", "x", "-v"], ["-v", "-v"]])
def test_version_with_other_arguments(args):
    result = run(*args)
    assert result.returncode == 1 and result.stderr.count("\n") == 1


def test_help():
    result = run("--help")
    assert result.returncode == 0
    for option in ("--auth-token", "--auth-token-file", "--host", "--port", "--unix-socket", "--max-output"):
        assert option in result.stdout


@pytest.mark.parametrize("args", [
    ["--nonsense"], ["--auth-token"], ["--auth-token", "x", "--port", "abc"], ["--auth-token", "x", "--port", "70000"],
    ["--auth-token", "x", "--port", "-1"], ["--auth-token", "x", "--host", "no.such.host.invalid"], ["--auth-token", "x", "stray"],
    ["--auth-token", "x", "--host", "999.1.1.1"], ["--auth-token", "x", "--max-output", "lots"], ["--auth-token", "x", "--log-format", "xml"],
    ["--auth-token-file", "/nonexistent/file"], ["--auth-token-file", "/dev/null"], ["--auth-token", "x", "--unix-socket", "/nonexistent/dir/s"],
    ["--auth-token", "x", "--unix-socket", "/tmp/" + "l" * 200], []])
def test_bad_arguments(args):
    result = run(*args)
    assert result.returncode != 0 and result.returncode > 0
    assert result.stderr.count("\n") == 1 and len(result.stderr) > 10, result.stderr
    assert result.stdout == ""


def test_host_timeout(start):
    """It ends by itself, in order; wrong tokens keep nobody waiting."""
    box = start("--host-timeout", "1")
    box.create_session()
    shell = int(box.run("echo $$").output)
    began = time.monotonic()
    while box.server.process.poll() is None:
        assert time.monotonic() - began < 20 * SLOW
        try:
            with Wire(box.server.connect()) as stranger:
                assert stranger.send(request("GET", "/is_alive", token="wrong")).reply().status == 401
        except OSError:
            pass  # it has just ended
        time.sleep(0.01)
    assert box.server.process.returncode == 0
    assert time.monotonic() - began >= 0.95
    wait_gone(shell)
    assert "--host-timeout" in box.server.output


@pytest.mark.parametrize("env", [None, "0.7"])
def test_host_timeout_while_somebody_is_there(start, env, tmp_path):
    box = start(*([] if env else ["--host-timeout", "0.7"]), env={"SWEREX_HOST_TIMEOUT": env})
    assert box.execute(["sh", "-c", "sleep 2; echo ${SWEREX_HOST_TIMEOUT-none}"]).stdout == "none\n"
    box.create_session()
    assert box.run("sleep 1.5; echo hi").output == "hi\n"
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert box.is_alive()["is_alive"]
    with Wire(box.server.connect()) as slow:  # an upload under way
        head = b'--b\r\nContent-Disposition: form-data; name="target_path"\r\n\r\n' + bytes(tmp_path / "f")
        slow.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nX-API-Key: s3cret\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                  b"Content-Length: 100000\r\n\r\n" + head)
        with pytest.raises(subprocess.TimeoutExpired):
            box.server.process.wait(1.5)
    assert box.server.process.wait(20 * SLOW) == 0


def test_host_timeout_while_a_killed_clients_command_runs(start):
    """Who asked for it is gone: the command is no reason to stay."""
    box = start("--host-timeout", "0.7")
    box.create_session()
    with Wire(box.server.connect()) as client:
        body = json.dumps({"action_type": "bash", "command": "sleep 1000", "timeout": None}).encode()
        client.send(request("POST", "/run_in_session", body=body))
        with pytest.raises(subprocess.TimeoutExpired):
            box.server.process.wait(1.5)
    assert box.server.process.wait(20 * SLOW) == 0


def test_port_in_use(start):
    box = start()
    result = run("--auth-token", "x", "--host", "127.0.0.1", "--port", str(box.server.port))
    assert result.returncode > 0
    assert result.stderr.count("\n") == 1 and str(box.server.port) in result.stderr and "in use" in result.stderr.lower()


def test_port_zero_prints_the_port(start):
    box = start()
    assert 1024 <= box.server.port < 65536
    assert box.is_alive()["is_alive"] is True


def test_a_given_port(start):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    box = start("--port", port)  # the later option holds
    assert box.server.port == port
    assert box.is_alive()["is_alive"] is True


def test_default_host_listens_everywhere(start):
    box = start("--host", "0.0.0.0")
    assert Box(Runtime(f"http://127.0.0.2:{box.server.port}", "s3cret")).is_alive()["is_alive"] is True


def test_ipv6(start):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("no IPv6 here")
    process = subprocess.Popen([BINARY, "--host", "::1", "--port", str(port)], env={"SWEREX_AUTH_TOKEN": "t", "PATH": "/bin"},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def ready():
            try:
                with socket.create_connection(("::1", port)) as sock:
                    return Wire(sock).send(request("GET", "/is_alive", token="t")).reply().status == 200
            except ConnectionRefusedError:
                return False

        wait_until(ready, "it answers over IPv6")
    finally:
        process.terminate()
        assert process.wait(15) == 0


def test_token_from_a_file(start, tmp_path):
    (tmp_path / "token").write_text("from file\n")
    box = start("--auth-token-file", tmp_path / "token", env={"SWEREX_AUTH_TOKEN": None})
    box.rt.token = "from file"
    assert box.is_alive()["is_alive"] is True


def test_token_from_the_environment(start):
    box = start(token="from environment")
    assert box.is_alive()["is_alive"] is True


def test_token_from_the_command_line(start):
    box = start("--auth-token", "from argv", env={"SWEREX_AUTH_TOKEN": "other"})
    box.rt.token = "from argv"
    assert box.is_alive()["is_alive"] is True


@pytest.mark.parametrize("way", ["argv", "argv=", "env"])
def test_token_is_not_visible_to_other_processes(start, way):
    secret = "very-secret-5f3a"
    arguments = {"argv": ["--auth-token", secret], "argv=": [f"--auth-token={secret}"], "env": []}[way]
    box = start(*arguments, token=secret)
    box.create_session()
    box.run("sleep 1000 & ")
    box.is_alive()
    for process in pathlib.Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        for name in ("cmdline", "environ"):
            try:
                content = (process / name).read_bytes()
            except OSError:
                continue
            assert secret.encode() not in content, (process, name, content)
    assert secret not in box.run("env; set; cat /proc/$PPID/cmdline /proc/$PPID/environ").output
    assert secret not in box.server.output


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("busy", [False, True])
def test_exit_status_is_zero(start, signum, busy):
    box = start()
    if busy:
        box.create_session()
        box.run("sleep 1000 & ")
    assert box.server.terminate(signum) == 0


def test_hangup_of_the_terminal_does_not_end_it(start):
    """Docker and kubectl sessions that start it go away; only TERM and INT end the server."""
    box = start()
    os.kill(box.server.first_pid(), signal.SIGPIPE)
    os.kill(box.server.pid(), signal.SIGPIPE)
    assert box.is_alive()["is_alive"] is True


def test_a_closed_stderr_does_not_matter(start):
    box = start(wrap=["sh", "-c", 'exec "$@" 2>&-', "sh"])
    assert box.execute(["sh", "-c", "echo out; echo err >&2"]).stderr == "err\n"


def test_unix_socket(start, tmp_path):
    path = tmp_path / "s.sock"
    box = start(unix_socket=path)
    assert path.stat().st_mode & 0o077 == 0
    assert box.is_alive()["is_alive"] is True
    box.create_session()
    assert box.run("echo hi").output == "hi\n"
    assert box.server.terminate() == 0
    assert not path.exists()


def test_stale_unix_socket_is_replaced_but_a_live_one_is_not(start, tmp_path):
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    box = start(unix_socket=path)
    assert box.is_alive()["is_alive"] is True
    result = run("--auth-token", "x", "--unix-socket", str(path))
    assert result.returncode > 0 and result.stderr.count("\n") == 1
    assert box.is_alive()["is_alive"] is True


@pytest.mark.parametrize("kind", ["file", "link to a file", "link to nothing", "link to a stale socket", "directory"])
def test_what_is_no_socket_is_not_replaced(tmp_path, kind):
    path, other = tmp_path / "s.sock", tmp_path / "other"
    if kind == "link to a stale socket":
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(other))
    elif kind != "link to nothing":
        other.write_text("precious")
    path.mkdir() if kind == "directory" else path.hardlink_to(other) if kind == "file" else path.symlink_to(other)
    before = path.lstat()
    result = run("--auth-token", "x", "--unix-socket", str(path))
    assert result.returncode > 0 and result.stderr.count("\n") == 1 and str(path) in result.stderr
    assert path.lstat() == before


def test_log_level_by_environment(start):
    for level in ("ERROR", "40", "Critical"):
        box = start(env={"SWE_REX_LOG_STREAM_LEVEL": level})
        box.is_alive()
        box.create_session()
        box.run("echo hi")
        logged = [line for line in box.server.output.splitlines() if not re.search(rf"\b{box.server.port}\b", line)]
        assert logged == [], level


def test_command_contents_only_at_debug(start):
    box = start("--log-level", "info")
    box.create_session()
    box.run("echo very-private-text")
    box.execute(["echo", "very-private-text"])
    assert "very-private-text" not in box.server.output


def test_json_log_lines(start):
    box = start("--log-format", "json", "--log-level", "debug")
    box.create_session()
    box.execute(["echo", "x"], request_id="the-request-id")
    lines = [line for line in box.server.output.splitlines() if line.startswith("{")]
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict)
    assert any("the-request-id" in line for line in lines)
    assert "s3cret" not in box.server.output


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_no_terminals(start, tmp_path):
    wrap = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/pts && exec "$@"', "sh"]
    if subprocess.run([*wrap, "true"], capture_output=True).returncode:
        pytest.skip("may not mount here")
    box = start(wrap=wrap)
    with pytest.raises(FileNotFoundError, match="/dev/ptmx.*devpts"):
        box.create_session()
    assert box.execute("echo $((6 * 7))", shell=True).stdout == "42\n"


def test_refused_requests_are_logged(start):
    """Those too that are answered before anything can handle them."""
    box = start("--log-level", "info", "--max-body", "1K", "--max-header", "8K", "--header-timeout", "1", "--idle-timeout", "1")

    def refused(data, end=False):
        with Wire(box.server.connect()) as wire:
            wire.send(data)
            if end:
                wire.sock.shutdown(socket.SHUT_WR)
            return wire.reply().status

    head = b"POST /execute HTTP/1.1\r\nX-API-Key: s3cret\r\nX-Request-ID: known\r\nContent-Length: %d\r\n\r\n"
    assert refused(b"not HTTP\r\n\r\n") == 400
    assert refused(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n") == 431
    assert refused(head % 2000) == 413
    assert refused(head % 500 + b"{", end=True) == 400
    assert refused(b"GET /is_alive HT") == 408
    said = [line for line in box.server.output.splitlines() if "refused" in line]
    assert ["431" in said[1], "408" in said[4]] == [True, True] and len(said) == 5, said
    assert [re.findall(r"\[(.*?)\]|(POST /execute \d+)", line) for line in said[2:4]] == [
        [("known", ""), ("", "POST /execute 413")], [("known", ""), ("", "POST /execute 400")]], said
    assert "s3cret" not in box.server.output


def test_startup_is_quick(start):
    """No figure here (bench has it): only that nothing waits for a second."""
    began = time.monotonic()
    box = start()
    box.is_alive()
    assert time.monotonic() - began < 3 * SLOW


def test_soft_descriptor_limit_is_given_back_to_children(start):
    box = start(wrap=["prlimit", "--nofile=512:20000"])
    assert box.execute("ulimit -n", shell=True).stdout == "512\n"
    box.create_session()
    assert box.run("ulimit -n").output == "512\n"


def test_nice_value_of_children(start):
    box = start()
    assert box.execute(["nice"]).stdout == "0\n"
    box.create_session()
    assert box.run("nice").output == "0\n"


@pytest.mark.parametrize("device", [True, False], ids=["dev-null", "no-dev-null"])
@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_descriptors(start, tmp_path, closed, device):
    """Nothing of the server's own may take their places; the end is as orderly as ever."""
    wrap = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    if not device:
        wrap = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh", *wrap]
        if subprocess.run([*wrap, "true"], capture_output=True).returncode:
            pytest.skip("may not mount here")
    box = start(unix_socket=tmp_path / "s", wrap=wrap)
    fds = pathlib.Path(f"/proc/{box.server.pid()}/fd")
    for number in re.findall(r"\d", closed.replace("&", "")):
        target = os.readlink(fds / number)
        assert target == "/dev/null" if device else target.startswith("pipe:"), target
    assert box.execute(["echo", "x"]).stdout == "x\n"
    if device:
        box.create_session()
        assert box.run("echo hi >&2").output == "hi\n"
    assert box.server.terminate() == 0

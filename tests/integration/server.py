"""Starting, finding and ending one server process, and looking at what it leaves behind.

The binary is $CREX_SERVER. The server gets a HOME of its own with a small bashrc, so that nothing depends on the
machine's; SIGPIPE and SIGXFSZ are ignored in the parent (as Python does), so that a server which passes its own
dispositions on to children is found out. The chosen port is read from what the server prints.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BINARY = os.environ.get("CREX_SERVER", "")
SLOW = float(os.environ.get("CREX_SLOW", "1"))  # times are multiplied by this under sanitizers
BASHRC = "PS1='user$ '\n"


def wait_until(condition, what, deadline=10.0):
    """Polls a condition; returns its first true value."""
    end = time.monotonic() + deadline * SLOW
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline * SLOW:g} s: {what}"
        time.sleep(0.005)


def state_of(pid):
    """The process state's letter, or "" when there is no such process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[0]


def alive(pid):
    return state_of(pid) not in ("", "Z", "X")


def wait_gone(pid, what="process", deadline=5.0):
    wait_until(lambda: not alive(pid), f"{what} {pid} is gone", deadline)


def read_pid(path, deadline=10.0):
    """The pid that a program under test writes into a file."""

    def content():
        try:
            text = pathlib.Path(path).read_text()
        except FileNotFoundError:
            return None
        return int(text) if text.endswith("\n") else None

    return wait_until(content, f"{path} holds a pid", deadline)


def children_of(pid):
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


class Server:
    def __init__(self, *args, token="s3cret", env=None, wrap=(), unix_socket=None, bashrc=BASHRC, cwd=None, user=None):
        assert BINARY, "CREX_SERVER must name the server's binary"
        self.token = token
        self.unix_socket = unix_socket
        self.scratch = tempfile.TemporaryDirectory(prefix="crex-test-", ignore_cleanup_errors=True)
        self.home = pathlib.Path(self.scratch.name, "home")
        self.home.mkdir()
        (self.home / ".bashrc").write_text(bashrc)
        binary = BINARY
        if user:  # another user may not be allowed to reach the binary where it is
            self.home.chmod(0o755)
            self.home.parent.chmod(0o755)
            binary = shutil.copy(BINARY, self.home.parent)
            wrap = [*wrap, "setpriv", f"--reuid={user}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
        self.output_path = pathlib.Path(self.scratch.name, "output")
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.home),
                       "LANG": "C.UTF-8", "SWEREX_AUTH_TOKEN": token, **(env or {})}
        environment.update({key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")})
        environment = {key: value for key, value in environment.items() if value is not None}
        if token == "":
            args = ("--auth-token", "", *args)
        where = ["--unix-socket", str(unix_socket)] if unix_socket else ["--host", "127.0.0.1", "--port", "0"]
        with open(self.output_path, "wb") as output:
            self.process = subprocess.Popen([*wrap, binary, *where, *map(str, args)], stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, env=environment, restore_signals=False, cwd=cwd or self.home)
        self.port = None
        self._pid = None
        try:
            if unix_socket:
                wait_until(self._unix_ready, "the server listens on its socket", 20)
            else:
                self.port = wait_until(self._printed_port, "the server prints its port", 20)
            self.pid()  # while it has no other children
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    @property
    def output(self):
        return self.output_path.read_text(errors="replace")

    def _check_running(self):
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}: {self.output}"

    def _printed_port(self):
        self._check_running()
        found = re.search(r"(?:127\.0\.0\.1|0\.0\.0\.0|localhost|port)[:= ]+(\d+)\b[^\n]*\n", self.output)
        return int(found[1]) if found else None

    def _unix_ready(self):
        self._check_running()
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.unix_socket))
            except OSError:
                return False
        return True

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}" if self.port else "http://localhost"

    def first_pid(self):
        """The process that was started, also behind a wrapper such as unshare: the one that a deployment signals."""
        pid = self.process.pid
        while os.path.basename(os.readlink(f"/proc/{pid}/exe")) != os.path.basename(BINARY):
            pid = children_of(pid)[0]
        return pid

    def pid(self):
        """The process that serves: the first one's child of the same program, where a guardian stands before it."""
        if self._pid is None:
            self._pid = first = self.first_pid()
            for child in children_of(first):
                if os.readlink(f"/proc/{child}/exe") == os.readlink(f"/proc/{first}/exe"):
                    self._pid = child
        return self._pid

    def rss_kib(self):
        status = pathlib.Path(f"/proc/{self.pid()}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def connect(self, timeout=20):
        """A plain socket to the server."""
        if self.unix_socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout * SLOW)
            sock.connect(str(self.unix_socket))
            return sock
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout * SLOW)

    def terminate(self, signum=signal.SIGTERM, deadline=15):
        """Orderly end; returns the exit status."""
        os.kill(self.first_pid(), signum)
        return self.process.wait(deadline * SLOW)

    def kill(self):
        if self.process.poll() is None:
            for find in (self.first_pid, self.pid):
                try:
                    os.kill(find(), signal.SIGKILL)
                except (OSError, IndexError):
                    pass  # it is ending by itself: /proc has forgotten it already
            self.process.kill()
            self.process.wait()

    def end(self):
        """In order if it still can: a server that is killed together with its guardian leaves daemons behind."""
        try:
            if self.process.poll() is None:
                self.terminate(deadline=3)
        except (OSError, IndexError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def stop(self):
        """For fixtures: the end must be orderly, and nothing may have been reported by a sanitizer."""
        self._check_running()
        status = self.terminate()
        output = self.output
        self.scratch.cleanup()
        assert status == 0, f"exit {status}: {output}"

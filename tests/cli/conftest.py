"""Fixtures for crex, the command: each test has a HOME and a state directory of its own.

$CREX_CLI names the binary, $CREX_SERVER the server. Servers come from the integration tests' own helper.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "integration"))

from server import SLOW, Server, wait_until  # noqa: E402

CREX = os.environ.get("CREX_CLI", str(ROOT / "build/plain/src/cli/crex"))
TOKEN = "s3cret-token-of-the-tests"


class Crex:
    """Runs crex with an environment of its own."""

    def __init__(self, home):
        self.home = home
        self.state = home / "state"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_STATE_HOME": str(self.state), "LANG": "C.UTF-8",
                    "TERM": "xterm", "CREX_SERVER_DIR": os.environ.get("CREX_SERVER_DIR", str(ROOT / "dist"))}
        self.env.update({key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")})

    def environment(self, env=None):
        return {key: value for key, value in {**self.env, **(env or {})}.items() if value is not None}

    def start(self, *args, env=None, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen([CREX, *map(str, args)], env=self.environment(env), start_new_session=True, **options)

    def __call__(self, *args, env=None, timeout=60, input=None, **options):
        if input is not None:
            options["input"] = input
        else:
            options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("text", True)
        return subprocess.run([CREX, *map(str, args)], env=self.environment(env), capture_output=True, timeout=timeout * SLOW,
                              **options)

    def ok(self, *args, **options):
        result = self(*args, **options)
        assert result.returncode == 0, (result.returncode, result.stderr)
        return result.stdout

    def fails(self, code, *args, **options):
        """The one line on stderr; nothing of the token is ever in it."""
        result = self(*args, **options)
        assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
        assert TOKEN not in result.stderr
        lines = result.stderr.splitlines()
        assert lines and lines[0].startswith("crex: ") and not any(line.startswith("crex: ") for line in lines[1:]), result.stderr
        return lines[0]

    def json(self, *args, **options):
        return json.loads(self.ok(*args, "--json", **options))


@pytest.fixture
def crex(tmp_path):
    return Crex(tmp_path)


@pytest.fixture
def server():
    instance = Server(token=TOKEN)
    yield instance
    if instance.process.poll() is None:
        instance.stop()


@pytest.fixture
def box(crex, server):
    """A named sandbox on a server; its name."""
    up(crex, server, "box")
    return "box"


def up(crex, server, name, *args):
    return crex.ok("up", name, "--remote", server.base_url, *args, env={"SWEREX_AUTH_TOKEN": TOKEN})


@pytest.fixture
def streams(crex):
    """For tests of what only runtimes with streams can do."""
    if crex("run", "--local", "-i", "--", "cat", input="x").stdout != "x":
        pytest.skip("the local runtime has no streams")


class Screen:
    """crex in a terminal of tmux."""

    def __init__(self, crex, directory):
        self.tmux = ["tmux", "-f", "/dev/null", "-S", str(directory / "tmux")]
        self.env = crex.environment({"SWEREX_AUTH_TOKEN": TOKEN})
        self.done = directory / "status"

    def start(self, *args):
        command = shlex.join([CREX, *map(str, args)])
        script = f"trap : INT; {command}; echo $? >{self.done}.new; mv {self.done}.new {self.done}; cat"
        subprocess.run([*self.tmux, "new-session", "-d", "-x", "100", "-y", "30", "sh", "-c", script], env=self.env, check=True,
                       timeout=20)

    def __call__(self, *args):
        return subprocess.run([*self.tmux, *args], env=self.env, capture_output=True, text=True, timeout=20).stdout

    def type(self, text, enter=True):
        self("send-keys", "-l", text)
        if enter:
            self("send-keys", "Enter")

    def text(self):
        return self("capture-pane", "-p", "-S", "-200")

    def wait(self, pattern, deadline=15):
        found = wait_until(lambda: re.search(pattern, self.text(), re.M), f"{pattern!r} on the screen", deadline)
        return found

    def status(self, deadline=15):
        wait_until(self.done.exists, "crex has ended", deadline)
        return int(self.done.read_text())

    def kill(self):
        subprocess.run([*self.tmux, "kill-server"], env=self.env, capture_output=True, timeout=20)


@pytest.fixture
def screen(crex, tmp_path):
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    instance = Screen(crex, tmp_path)
    yield instance
    if not instance.done.exists():
        print(instance.text())
    instance.kill()

"""A Daytona on this machine (tests/fixtures/daytona), drivers for it, and nothing left there after a test."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

from driver import Driver, Failed  # noqa: E402, F401

FIXTURE = TREE / "tests/fixtures/daytona"
SERVERS = pathlib.Path(os.environ.get("CREX_SERVER_DIR", TREE / "dist"))
PROGRAM = pathlib.Path(os.environ.get("CREX_DRIVER", TREE / "build/plain/tests/deploy/deploy_driver"))
SLOW = float(os.environ.get("CREX_SLOW", "1"))


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds * SLOW
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found


class Daytona:
    """The counterpart: its addresses in `environment`, its own entrance for tests as methods."""

    def __init__(self, directory, *options):
        exported = directory / "daytona.env"
        self.log = (directory / "log").open("w+")
        self.process = subprocess.Popen([FIXTURE / "run", *options, "--export", exported], stdout=self.log,
                                        stderr=subprocess.STDOUT, start_new_session=True)

        def ready():
            assert self.process.poll() is None, (directory / "log").read_text()
            return exported.exists()

        until(ready, 30)
        lines = exported.read_text().replace("export ", "").split("\n")
        self.environment = {name: value.strip("'\"") for name, _, value in (line.partition("=") for line in lines) if name}
        self.control = self.environment["DAYTONA_FIXTURE_CONTROL"]
        self.key = self.environment["DAYTONA_API_KEY"]

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.control + path, method=method,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def state(self):
        return self.ask("GET", "/state")

    def live(self):
        return self.state()["live"]

    def sandbox(self):
        (one,) = self.state()["sandboxes"]
        return one

    def fault(self, kind, **rule):
        self.ask("POST", "/faults", {"kind": kind, **rule})

    def no_faults(self):
        self.ask("DELETE", "/faults")

    def kinds(self):
        return [call["kind"] for call in self.state()["calls"]]

    def end(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.log.close()


class Host:
    """Drivers that know the counterpart from their environment alone."""

    def __init__(self, daytona):
        self.daytona = daytona
        self.drivers = []

    def environment(self, **more):
        ours = {name: value for name, value in os.environ.items() if not name.startswith("DAYTONA_")}
        theirs = {name: value for name, value in self.daytona.environment.items() if "FIXTURE" not in name}
        if "DAYTONA_FIXTURE_CA" in self.daytona.environment:
            theirs["SSL_CERT_FILE"] = self.daytona.environment["DAYTONA_FIXTURE_CA"]
        ours |= {**theirs, "CREX_SERVER_DIR": str(SERVERS), **more}
        return {name: value for name, value in ours.items() if value is not None}

    def driver(self, **environment):
        self.drivers.append(Driver(self.environment(**environment)))
        return self.drivers[-1]

    def new(self, **config):
        driver = self.driver()
        driver.new(type="daytona", **config)
        return driver

    def started(self, **config):
        driver = self.new(**config)
        driver.start(timeout=60)
        return driver


def cannot_run():
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("node"):
        return "needs node (script/setup daytona)"
    if subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True).returncode:
        return "needs the right to make namespaces"
    if not (SERVERS / "swerex-remote").exists():
        return f"no static server in {SERVERS}: run script/build"
    return None


@pytest.fixture(scope="session")
def counterpart(tmp_path_factory):
    if reason := cannot_run():
        pytest.skip(reason)
    one = Daytona(tmp_path_factory.mktemp("daytona"))
    yield one
    one.end()


@pytest.fixture
def daytona(counterpart):
    counterpart.ask("POST", "/reset")
    counterpart.ask("POST", "/settings", {"polls": 1})
    return counterpart


@pytest.fixture
def host(daytona):
    one = Host(daytona)
    yield one
    daytona.no_faults()
    statuses = [driver.end() for driver in one.drivers if driver.process.poll() is None]
    left = daytona.live()
    assert statuses == [0] * len(statuses)
    assert left == []

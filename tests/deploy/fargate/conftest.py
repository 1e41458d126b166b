"""The stand-in for AWS, one for all tests of a run, and drivers that talk to it. After each test nothing may live."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

from driver import Driver, Failed  # noqa: E402, F401

SERVERS = pathlib.Path(os.environ.get("CREX_SERVER_DIR", TREE / "dist"))
SLOW = float(os.environ.get("CREX_SLOW", "1"))
CIDR = "192.0.2.7/32"


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds * SLOW
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


class Fixture:
    def __init__(self, folder, *arguments):
        self.folder = folder
        self.log = open(folder / "log", "w+")
        told = folder / "env"
        self.process = subprocess.Popen(
            [str(TREE / "tests/fixtures/fargate/run"), "--export", str(told), "--server", str(SERVERS / "swerex-remote"),
             *arguments], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        until(lambda: told.exists() or self.process.poll() is not None, 180)
        assert self.process.poll() is None, (folder / "log").read_text()
        words = [shlex.split(line)[1] for line in told.read_text().splitlines()]
        self.variables = dict(word.split("=", 1) for word in words)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.log.close()
        return status

    def control(self, path, body=None, method=None):
        request = urllib.request.Request(
            f"{self.variables['CREX_FARGATE_CONTROL']}/control/{path}", json.dumps(body).encode() if body is not None else None,
            method=method)
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)

    def reset(self):
        self.control("reset", {})

    def fault(self, kind, **fields):
        self.control("faults", {"kind": kind, **fields})

    def no_faults(self):
        self.control("faults", method="DELETE")

    def hits(self):
        return [fault["hits"] for fault in self.control("faults")["faults"]]

    def state(self):
        return self.control("state")

    def calls(self):
        return [f"{call['service']}:{call['operation']}" for call in self.state()["calls"]]

    def live(self):
        return self.state()["live_tasks"]

    def is_empty(self):
        state = self.state()
        return not state["live_tasks"] and not state["containers"] and not state["network_interfaces"]

    def environment(self, **more):
        variables = {name: value for name, value in os.environ.items()
                     if not name.startswith("AWS_") and "proxy" not in name.lower()}
        variables.update({name: value for name, value in self.variables.items() if name.startswith("AWS_")})
        variables["HOME"] = str(self.folder)
        variables["AWS_EC2_METADATA_DISABLED"] = "true"
        variables["CREX_SERVER_DIR"] = str(SERVERS)
        variables.update(more)
        return {name: value for name, value in variables.items() if value is not None}


class Host:
    def __init__(self, fixture):
        self.fixture = fixture
        self.drivers = []

    def driver(self, before=(), **environment):
        self.drivers.append(Driver(self.fixture.environment(**environment), before))
        return self.drivers[-1]

    def config(self, **more):
        config = {"type": "fargate", "image": "crex-fargate-server:latest", "ingress_cidr": CIDR, **more}
        return {name: value for name, value in config.items() if value != "absent"}

    def new(self, environment=None, **config):
        driver = self.driver(**(environment or {}))
        driver.new(**self.config(**config))
        return driver

    def started(self, **config):
        driver = self.new(**config)
        driver.start(timeout=60)
        return driver

    def refused(self, *words, environment=None, **config):
        """A config that is refused, before anything is asked."""
        calls = len(self.fixture.calls())
        with pytest.raises(Failed) as failed:
            self.driver(**(environment or {})).new(**self.config(**config))
        assert failed.value.code == "CONFIG", str(failed.value)
        for word in words:
            assert word in failed.value.message
        assert len(self.fixture.calls()) == calls

    def fails(self, driver, code, *words, seconds=30.0, **start):
        """A start that fails, says all the words, and leaves nothing."""
        with pytest.raises(Failed) as failed:
            driver.start(**{"timeout": 60, **start})
        assert failed.value.code == code, str(failed.value)
        for word in words:
            assert word in failed.value.message, failed.value.message
        assert failed.value.seconds < seconds * SLOW
        assert failed.value.left_behind is None
        until(self.fixture.is_empty)
        return failed.value


def started_fixture(folder, *arguments):
    if not (SERVERS / "swerex-remote").exists():
        pytest.skip(f"no static server in {SERVERS}: run script/build")
    return Fixture(folder, *arguments)


@pytest.fixture(scope="session")
def engine():
    """DOCKER_HOST of an engine: the caller's, the system's, or the project's own, started for these tests."""
    if os.environ.get("DOCKER_HOST") or os.path.exists("/var/run/docker.sock"):
        yield
        return
    start = subprocess.run([str(TREE / "tests/engines/start"), "docker"], capture_output=True, text=True)
    told = dict(word.split("=", 1) for line in start.stdout.splitlines() if "=" in line
                for word in shlex.split(line) if "=" in word)
    if start.returncode != 0 or "CREX_DOCKER_HOST" not in told:
        pytest.skip(f"no Docker here: {told.get('CREX_DOCKER_SKIP') or start.stderr.strip()[-300:]}")
    os.environ["DOCKER_HOST"] = told["CREX_DOCKER_HOST"]
    yield
    subprocess.run([str(TREE / "tests/engines/stop")], capture_output=True)


@pytest.fixture(scope="session")
def fixture(engine, tmp_path_factory):
    one = started_fixture(tmp_path_factory.mktemp("fargate"))
    yield one
    assert one.end() == 0


@pytest.fixture(scope="session")
def tls_fixture(engine, tmp_path_factory):
    one = started_fixture(tmp_path_factory.mktemp("fargate-tls"), "--tls")
    yield one
    assert one.end() == 0


def host_of(fixture):
    fixture.reset()
    one = Host(fixture)
    yield one
    statuses = [driver.end() for driver in one.drivers if driver.process.poll() is None]
    fixture.no_faults()
    try:
        until(lambda: not fixture.live())
    finally:
        failures = fixture.state()["failures"]
        fixture.reset()
    assert statuses == [0] * len(statuses)
    assert failures == []


@pytest.fixture
def host(fixture):
    yield from host_of(fixture)


@pytest.fixture
def tls_host(tls_fixture):
    yield from host_of(tls_fixture)

"""The stand-in for Modal, one for all tests of a run, and drivers that talk to it. After each test nothing may live."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

from driver import Driver, Failed  # noqa: E402, F401

SERVERS = pathlib.Path(os.environ.get("CREX_SERVER_DIR", TREE / "dist"))
SLOW = float(os.environ.get("CREX_SLOW", "1"))
MODES = [(generation, tls) for generation in ("v1", "v2") for tls in (False, True)]


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds * SLOW
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


class Fixture:
    def __init__(self, state):
        self.state_dir = state
        self.log = open(state / "log", "w+")
        self.process = subprocess.Popen([str(TREE / "tests/fixtures/modal/run"), "--state", str(state)],
                                        stdout=self.log, stderr=self.log)
        told = state / "environment"
        until(lambda: told.exists() or self.process.poll() is not None, 120)
        assert self.process.poll() is None, (state / "log").read_text()
        self.variables = dict(re.findall(r"^export (\w+)='(.*)'$", told.read_text(), re.M))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()

    def ask(self, path, body=None):
        request = urllib.request.Request(self.variables["MODAL_FIXTURE_CONTROL"] + path,
                                         json.dumps(body).encode() if body is not None else None)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def fault(self, method, **effect):
        self.ask("/control", {"method": method, **effect})

    def live(self):
        return self.ask("/control/live")["ids"]

    def state(self):
        return self.ask("/control/state")

    def methods(self):
        return [call["method"] for call in self.state()["calls"]]

    def environment(self, tls=False, **more):
        variables = {name: value for name, value in os.environ.items()
                     if not name.startswith(("MODAL_", "DOCKER_", "AWS_", "SSL_CERT")) and "proxy" not in name.lower()}
        variables.update({name: self.variables[name] for name in
                          ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "SSL_CERT_FILE")})
        variables["MODAL_SERVER_URL"] = self.variables["MODAL_FIXTURE_TLS_URL" if tls else "MODAL_FIXTURE_CLEAR_URL"]
        variables["MODAL_CONFIG_PATH"] = str(self.state_dir / "no-such-profiles")
        variables["CREX_SERVER_DIR"] = str(SERVERS)
        variables.update(more)
        return {name: value for name, value in variables.items() if value is not None}


class Host:
    def __init__(self, fixture):
        self.fixture = fixture
        self.drivers = []

    def driver(self, tls=False, before=(), **environment):
        self.drivers.append(Driver(self.fixture.environment(tls, **environment), before))
        return self.drivers[-1]

    def new(self, tls=False, environment=None, **config):
        driver = self.driver(tls, **(environment or {}))
        driver.new(**{"type": "modal", **config})
        return driver

    def started(self, tls=False, **config):
        driver = self.new(tls, **config)
        driver.start(timeout=60)
        return driver

    def refused(self, code, *words, environment=None, **config):
        """A config that is refused, before anything is asked."""
        calls = len(self.fixture.methods())
        driver = self.driver(**(environment or {}))
        with pytest.raises(Failed) as failed:
            driver.new(**{"type": "modal", **config})
        assert failed.value.code == code, str(failed.value)
        for word in words:
            assert word in failed.value.message
        assert len(self.fixture.methods()) == calls

    def fails(self, driver, code, *words, seconds=30.0, **start):
        """A start that fails, says all the words, and leaves nothing."""
        with pytest.raises(Failed) as failed:
            driver.start(**{"timeout": 60, **start})
        assert failed.value.code == code, str(failed.value)
        for word in words:
            assert word in failed.value.message, failed.value.message
        assert failed.value.seconds < seconds * SLOW
        assert failed.value.left_behind is None
        assert self.fixture.live() == []
        return failed.value


@pytest.fixture(scope="session")
def fixture():
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"],
                                           capture_output=True).returncode != 0:
        pytest.skip("the stand-in for Modal needs root and namespaces")
    if not (SERVERS / "swerex-remote").exists():
        pytest.skip(f"no static server in {SERVERS}: run script/build")
    with tempfile.TemporaryDirectory(prefix="modal-") as state:
        one = Fixture(pathlib.Path(state))
        yield one
        one.end()


@pytest.fixture
def host(fixture):
    fixture.ask("/control/reset", {})
    one = Host(fixture)
    yield one
    statuses = [driver.end() for driver in one.drivers if driver.process.poll() is None]
    fixture.ask("/control/reset", {})
    left = fixture.live()
    fixture.ask("/control/terminate", {})
    assert statuses == [0] * len(statuses)
    assert left == []

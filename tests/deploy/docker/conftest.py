"""A driver for each engine, and nothing of it left behind after a test."""

import os
import pathlib
import sys
import time
import uuid

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "engines")]

from driver import Driver, Failed  # noqa: E402, F401
from engines import docker, engine, engines, podman, registry  # noqa: E402, F401

SERVERS = pathlib.Path(os.environ.get("CREX_SERVER_DIR", HERE.parents[2] / "dist"))
SLOW = float(os.environ.get("CREX_SLOW", "1"))


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds * SLOW
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found


class Host:
    """Drivers for one engine; `config` fills in what all tests have in common."""

    def __init__(self, engine):
        self.engine = engine
        self.drivers = []
        self.mark = f"crex.test={uuid.uuid4().hex}"  # others may use the engine at the same time

    def driver(self, environment=None, before=()):
        ours = {**self.engine.environment(), "CREX_SERVER_DIR": str(SERVERS), **(environment or {})}
        if self.engine.name == "podman" and ours["DOCKER_HOST"] == self.engine.host:
            del ours["DOCKER_HOST"]  # there docker would be a second way to podman's containers
        self.drivers.append(Driver(ours, before))
        return self.drivers[-1]

    def config(self, image="static", docker_args=(), **more):
        image = image if "/" in image else self.engine.image(image)
        return {"type": "docker", "container_runtime": self.engine.name, "image": image, "pull": "never",
                "docker_args": ["--label", self.mark, *docker_args], **more}

    def new(self, image="static", **more):
        driver = self.driver()
        driver.new(**self.config(image, **more))
        return driver

    def started(self, image="static", **more):
        driver = self.new(image, **more)
        driver.start(timeout=60)
        return driver

    def containers(self):
        return self.engine.containers(f"label={self.mark}")


@pytest.fixture
def host(engine):
    if not (SERVERS / "swerex-remote").exists():
        pytest.skip(f"no static server in {SERVERS}: run script/build")
    one = Host(engine)
    yield one
    statuses = [driver.end() for driver in one.drivers if driver.process.poll() is None]
    left = one.containers()
    for container in left:
        engine.run("kill", container)
        engine.run("rm", "-fv", container)
    assert statuses == [0] * len(statuses)
    assert left == []

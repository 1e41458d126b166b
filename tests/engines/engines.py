"""pytest fixtures for real engines: start what can run here once, skip with the reason what can't.

A conftest.py takes them with

    sys.path.insert(0, str(TREE / "tests/engines"))
    from engines import docker, engine, engines, podman, registry  # noqa: E402, F401

`docker` and `podman` are an Engine, `engine` is each of the two in turn, `registry` a Registry. The instance is that of
$CREX_ENGINES (default build/engines); it is ended after the run if this run began it, unless $CREX_ENGINES_KEEP is set.
Its images stay in the state directory, which makes the next run quick. `python3 tests/engines/engines.py` shows what
can run on this machine."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
STATE = pathlib.Path(os.environ.get("CREX_ENGINES", HERE.parents[1] / "build/engines"))
SECONDS = 900  # a fresh machine installs packages and two Debian roots


def script(name, *args, state=STATE):
    """Runs start, images or stop. Gives (status, values, what was said on stderr)."""
    done = subprocess.run([HERE / name, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "CREX_ENGINES": str(state)}, timeout=SECONDS)
    values = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return done.returncode, {name: "".join(shlex.split(value)) for name, value in values.items()}, done.stderr


class Engine:
    """Docker or podman: `name`, `host` (unix://...), `socket`, and its command line client by `run` and `ok`."""

    def __init__(self, name, values, reason=""):
        self.name = name
        self.host = values[f"CREX_{name.upper()}_HOST"]
        self.socket = self.host.removeprefix("unix://")
        self.client = values[f"CREX_{name.upper()}"]
        self.images = values.get(f"CREX_{name.upper()}_IMAGES", "").split()
        self.reason = reason

    def image(self, name):
        """The full name of a test image (tests/engines/images says which there are)."""
        if name not in self.images:
            pytest.skip(f"{self.name} has no image {name} here: {self.reason}")
        return f"localhost/crex-test/{name}"

    def environment(self):
        """For programs that look for an engine by DOCKER_HOST, or call `docker` or `podman` of the PATH."""
        path = f"{pathlib.Path(self.client).parent}:{os.environ['PATH']}"
        return {**os.environ, "DOCKER_HOST": self.host, "PATH": path}

    def run(self, *args, timeout=120, **options):
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **options}
        return subprocess.run([self.client, *args], env=self.environment(), timeout=timeout, **options)

    def ok(self, *args, **options):
        done = self.run(*args, **options)
        assert done.returncode == 0, f"{self.name} {shlex.join(map(str, args))}: {done.stderr}"
        return done.stdout.strip()

    def containers(self, *filters):
        """Ids of all containers, running or not, that match (label=..., name=...)."""
        return self.ok("ps", "-aq", "--no-trunc", *(word for one in filters for word in ("--filter", one))).split()


class Registry:
    """The same images at two addresses (127.0.0.1:PORT); the second wants `user` and `password`."""

    def __init__(self, values):
        self.open, self.auth = values["CREX_REGISTRY"], values["CREX_REGISTRY_AUTH"]
        self.user, self.password = values["CREX_REGISTRY_USER"], values["CREX_REGISTRY_PASSWORD"]
        self.images = values.get("CREX_REGISTRY_IMAGES", "").split()

    def image(self, name, auth=False):
        if name not in self.images:
            pytest.skip(f"the registry has no image {name} here")
        return f"{self.auth if auth else self.open}/crex-test/{name}"


class Engines:
    def __init__(self, state=STATE, images=()):
        _, before, _ = script("start", "--print", state=state)
        self.found = "CREX_DOCKER_HOST" in before or "CREX_PODMAN_HOST" in before
        self.state = state
        status, self.values, said = script("start", state=state)
        assert status == 0, said
        self.reason = ""
        if "CREX_DOCKER_HOST" in self.values or "CREX_PODMAN_HOST" in self.values:
            _, self.values, self.reason = script("images", *images, state=state)

    def skip(self, part):
        """Why a part can't run here, or nothing."""
        return self.values.get(f"CREX_{part.upper()}_SKIP", "")

    def get(self, part):
        if self.skip(part):
            pytest.skip(f"no {part} here: {self.skip(part)}")
        return Registry(self.values) if part == "registry" else Engine(part, self.values, self.reason)

    def stop(self, *args):
        status, _, said = script("stop", *args, state=self.state)
        assert status == 0, said


@pytest.fixture(scope="session")
def engines():
    instance = Engines()
    yield instance
    if not instance.found and not os.environ.get("CREX_ENGINES_KEEP"):
        instance.stop()


@pytest.fixture(scope="session")
def docker(engines):
    return engines.get("docker")


@pytest.fixture(scope="session")
def podman(engines):
    return engines.get("podman")


@pytest.fixture(scope="session", params=["docker", "podman"])
def engine(request, engines):
    return engines.get(request.param)


@pytest.fixture(scope="session")
def registry(engines):
    return engines.get("registry")


if __name__ == "__main__":
    shown = Engines()
    for key, value in shown.values.items():
        print(f"{key}={shlex.quote(value)}")
    sys.exit(any(shown.skip(part) for part in ("docker", "podman", "registry")))

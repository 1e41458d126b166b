"""The rig itself: engines that run every test image, pull, publish and clean up, and a stop that leaves nothing."""

import os
import pathlib
import socket
import subprocess
import tempfile
import time
import uuid

import pytest

from engines import Engines, script

RUNNABLE = ["static", "user", "bookworm", "agent"]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def say(port):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        return connection.makefile().read()


@pytest.fixture
def name(engine):
    """A name for one container, which is gone afterwards whatever happens."""
    one = f"crex-engines-{uuid.uuid4().hex[:12]}"
    yield one
    engine.run("kill", one)  # podman's rm would wait ten seconds for a process that minds no signal
    engine.run("rm", "-f", one)


@pytest.mark.parametrize("image", RUNNABLE)
def test_runs_true(engine, image):
    assert engine.ok("run", "--rm", engine.image(image), "true") == ""


def test_static_has_no_libc_and_nobash_no_bash(engine):
    listed = engine.ok("run", "--rm", engine.image("static"), "busybox", "find", "/", "-xdev", "-name", "lib*")
    assert "libc" not in listed
    assert engine.ok("run", "--rm", engine.image("static"), "/bin/bash", "-c", "echo $BASH") == "/bin/bash"
    assert engine.run("run", "--rm", engine.image("nobash"), "/bin/bash").returncode == 127
    assert engine.ok("run", "--rm", engine.image("nobash"), "/bin/sh", "-c", "echo fine") == "fine"


def test_exits_fails_at_once(engine):
    assert engine.run("run", "--rm", engine.image("exits"), timeout=30).returncode == 1


def test_endless_must_be_overridden(engine, name):
    engine.ok("run", "-d", "--name", name, engine.image("endless"))
    assert engine.ok("inspect", "-f", "{{.State.Running}}", name) == "true"
    assert engine.ok("run", "--rm", "--entrypoint", "/bin/echo", engine.image("endless"), "over") == "over"


def test_user_is_not_root(engine):
    asked = 'id -u; pwd; touch f; echo "$CREX_IMAGE_SAYS"'
    says = engine.ok("run", "--rm", engine.image("user"), "/bin/sh", "-c", asked)
    assert says.splitlines() == ["1000", "/home/user", "two words"]


def test_arm64_is_labelled(engine):
    assert engine.ok("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", engine.image("arm64")) == "linux/arm64"


def test_agent_has_git(engine):
    assert "git version" in engine.ok("run", "--rm", engine.image("agent"), "git", "--version")


def test_publishes_on_loopback_and_removes(engine, name):
    engine.ok("run", "-d", "--name", name, "-p", "127.0.0.1::8000", engine.image("static"),
              "busybox", "nc", "-ll", "-p", "8000", "-e", "/bin/echo", "hello")
    where = engine.ok("port", name, "8000/tcp")
    assert where.startswith("127.0.0.1:")
    port = int(where.rpartition(":")[2])

    def answer():
        try:
            return say(port)
        except OSError:  # nc is not there yet
            return ""

    assert until(answer) == "hello\n"
    assert len(engine.containers(f"name={name}")) == 1
    engine.ok("kill", name)
    engine.ok("rm", name)
    assert engine.containers(f"name={name}") == []
    with pytest.raises(OSError):
        say(port)


def test_api_answers(engine):
    says = subprocess.run(["curl", "-s", "--unix-socket", engine.socket, "http://localhost/_ping"], capture_output=True,
                          text=True, timeout=10)
    assert says.stdout == "OK"


def test_limits_are_usable_by_api_containers(engine):
    """What podman's service makes of the limits of containers.conf must be startable."""
    if engine.name == "docker":
        command = [engine.client, "run", "--rm"]
    else:
        command = [engine.client, "--remote", "--url", engine.host, "run", "--rm"]
    done = subprocess.run([*command, engine.image("static"), "bash", "-c", "ulimit -n"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, env=engine.environment())
    assert done.returncode == 0 and int(done.stdout) > 0, done.stderr


def test_pulls(engine, registry):
    target = registry.image("nobash")
    engine.run("rmi", target)
    engine.ok("pull", target)
    engine.ok("image", "inspect", target)
    engine.ok("rmi", target)
    missing = engine.run("pull", f"{registry.open}/crex-test/missing")
    assert missing.returncode != 0 and missing.stderr


def test_pulls_with_password(engine, registry, tmp_path):
    target = registry.image("nobash", auth=True)
    engine.run("rmi", target)
    assert engine.run("pull", target).returncode != 0
    store = {"docker": ["--config", str(tmp_path)], "podman": []}[engine.name]
    file = {"docker": [], "podman": ["--authfile", str(tmp_path / "auth.json")]}[engine.name]
    engine.ok(*store, "login", *file, "--username", registry.user, "--password-stdin", registry.auth, stdin=None,
              input=registry.password)
    engine.ok(*store, "pull", *file, target)
    engine.ok("rmi", target)


def test_pulls_the_platform_asked_for(engine, registry):
    target = registry.image("multi")
    for architecture in ("arm64", "amd64"):
        engine.ok("pull", "--platform", f"linux/{architecture}", target)
        assert engine.ok("image", "inspect", "-f", "{{.Architecture}}", target) == architecture
    engine.ok("rmi", target)


def processes_naming(words):
    """(pid, command line) of all whose command line has one of the words."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if any(word in line for word in words):
            found.append((int(entry.name), line))
    return found


@pytest.mark.parametrize("crash", [False, True], ids=["orderly", "killed"])
def test_stop_leaves_nothing(engines, crash):
    """On an instance of its own, with a container running in each engine."""
    if engines.skip("docker") and engines.skip("podman"):
        pytest.skip("no engine here")
    with tempfile.TemporaryDirectory(prefix="crex-") as parent:
        state, mark = f"{parent}/e", f"31{os.getpid()}"
        own = Engines(state, images=["static"])
        try:
            bridge = pathlib.Path(state, "docker/bridge")
            bridge = bridge.read_text().strip() if bridge.exists() else ""
            for part in ("docker", "podman"):
                if not own.skip(part):
                    one = own.get(part)
                    one.ok("run", "-d", "--label", mark, "-p", "127.0.0.1::8000", one.image("static"), "sleep", mark)
                    if crash:
                        pid = int(pathlib.Path(state, part, "pid").read_text())
                        os.kill(pid, 9)
            assert processes_naming([f"sleep {mark}"])
        finally:
            own.stop("--purge")
        until(lambda: not processes_naming([state, f"sleep {mark}"]), 5)
        assert not pathlib.Path(state).exists()
        assert state not in pathlib.Path("/proc/self/mountinfo").read_text()
        assert not bridge or not pathlib.Path("/sys/class/net", bridge).exists()


def test_start_recovers_from_a_killed_engine(engines):
    if engines.skip("docker"):
        pytest.skip(engines.skip("docker"))
    with tempfile.TemporaryDirectory(prefix="crex-") as parent:
        own = Engines(f"{parent}/e", images=["static"])
        try:
            os.kill(int(pathlib.Path(own.state, "docker/pid").read_text()), 9)
            status, values, said = script("start", "docker", state=own.state)
            assert status == 0 and "CREX_DOCKER_HOST" in values, said
            one = own.get("docker")
            assert one.ok("run", "--rm", one.image("static"), "echo", "again") == "again"
        finally:
            own.stop("--purge")


def test_says_why_it_cannot_run():
    """A path that no socket address can hold stands for all reasons."""
    with tempfile.TemporaryDirectory(prefix="crex-") as parent:
        state = f"{parent}/{'long' * 20}"
        status, values, _ = script("start", "docker", state=state)
        assert status == 0
        assert "CREX_ENGINES" in values["CREX_DOCKER_SKIP"] or os.getuid() != 0
        assert "CREX_DOCKER_HOST" not in values
        assert script("stop", "--purge", state=state)[0] == 0
        assert not pathlib.Path(state).exists()


def test_start_again_is_a_no_op(engines):
    def pids():
        return {part: pathlib.Path(engines.state, part, "pid").read_text() for part in ("docker", "podman")
                if not engines.skip(part)}

    before = pids()
    status, values, said = script("start", state=engines.state)
    assert status == 0, said
    assert pids() == before
    assert [name for name in engines.values if values.get(name) != engines.values[name]] == []

"""What goes wrong with engines, images and containers: a typed error that says what to do, soon, and nothing left."""

import os
import pathlib
import shutil
import socket
import subprocess
import threading

import pytest
from conftest import SERVERS, SLOW, Failed


def fails(host, code, *words, seconds=30.0, driver=None, **config):
    """A start that fails with an error of this code, in which all words are; then a stop."""
    driver = driver or host.driver()
    driver.new(**host.config(**config))
    with pytest.raises(Failed) as failed:
        driver.start(timeout=120)
    message = failed.value.message
    assert failed.value.code == code, str(failed.value)
    for word in words:
        assert word in message, message
    assert failed.value.seconds < seconds * SLOW
    assert failed.value.left_behind is None
    driver.stop()
    assert host.containers() == []
    return failed.value


# ---- configs ----


@pytest.mark.parametrize("config, words", [
    ({"imag": "x"}, ["'imag'", "'image'"]),
    ({"image": "-v"}, ["'image'"]),
    ({"image": ""}, ["'image'"]),
    ({"port": 70000}, ["'port'"]),
    ({"pull": "sometimes"}, ["'pull'", "missing", "always", "never"]),
    ({"platform": "linux/amd64", "docker_args": ["--platform=linux/arm64"]}, ["'platform'", "--platform"]),
    ({"docker_args": ["--platform"]}, ["--platform has no value"]),
    ({"docker_args": "-v a:b"}, ["'docker_args'", "list"]),
    ({"docker_args": ["--network", "none"]}, ["--network none"]),
    ({"docker_args": ["--net=container:x"]}, ["container:x"]),
    ({"publish_address": "everywhere"}, ["'publish_address'"]),
    ({"startup_timeout": 0}, ["'startup_timeout'"]),
    ({"host_timeout": -1}, ["'host_timeout'"]),
], ids=str)
def test_configs_that_are_refused(host, config, words):
    driver = host.driver()
    with pytest.raises(Failed) as failed:
        driver.new(**{**host.config(), **config})
    assert failed.value.code == "CONFIG"
    for word in words:
        assert word in failed.value.message


# ---- images ----


@pytest.fixture
def fresh(host, registry, tmp_path):
    """An image in the registry with a layer that the engine doesn't have."""
    name = f"{registry.open}/crex-test/fresh-{os.getpid()}"
    (tmp_path / "layer").write_bytes(os.urandom(1 << 20))
    container = host.engine.ok("create", host.engine.image("static"), "true")
    host.engine.ok("cp", str(tmp_path / "layer"), f"{container}:/layer")
    host.engine.ok("commit", container, name)
    host.engine.ok("rm", container)
    host.engine.ok("push", name)
    host.engine.ok("rmi", name)
    yield name
    host.engine.run("rmi", name)


def test_pull_and_removal(host, fresh):
    driver = host.driver()
    driver.new(**host.config(fresh, pull="missing", remove_images=True))
    driver.start(timeout=120)
    assert f"Pulling image {fresh}" in driver.steps
    progress = [step.removeprefix("progress: layers pulled ") for step in driver.steps if step.startswith("progress")]
    assert progress and all(0 <= int(step.split(" of ")[0]) <= int(step.split(" of ")[1]) for step in progress)
    if host.engine.name == "docker":  # podman says less where there is no terminal
        assert len(set(progress[-1].split(" of "))) == 1
    assert driver.output("echo hi; [ -f /layer ]") == "hi\n"
    driver.stop()
    assert host.engine.run("image", "inspect", fresh).returncode != 0


def test_pull_always_and_missing(host, registry):
    image = registry.image("static")
    host.engine.run("rmi", image)
    for pull, pulls in (("missing", True), ("missing", False), ("always", True)):
        driver = host.driver()
        driver.new(**host.config(image, pull=pull, remove_images=pull == "always"))
        driver.start(timeout=120)
        assert (f"Pulling image {image}" in driver.steps) == pulls
        driver.stop()


def test_pull_never(host):
    fails(host, "DOCKER_PULL", "never", "pull localhost/crex-test/absent", image="localhost/crex-test/absent")


def test_unknown_image_and_tag(host, registry):
    for image in (f"{registry.open}/crex-test/absent", f"{registry.open}/crex-test/static:absent"):
        fails(host, "DOCKER_PULL", image, "manifest unknown", "check its name", image=image, pull="missing")


def test_unreachable_registry(host):
    fails(host, "DOCKER_PULL", "connection refused", "can't be reached", image="127.0.0.1:1/x/y", pull="missing")


def test_registry_that_wants_a_password(host, registry):
    image = registry.image("static", auth=True)
    host.engine.run("rmi", image)
    fails(host, "DOCKER_PULL", f"{host.engine.name} login {registry.auth}", image=image, pull="missing")


def test_pull_called_off(host, fresh):
    driver = host.driver()
    driver.new(**host.config(fresh, pull="missing"))
    with pytest.raises(Failed) as failed:
        driver.start(cancel_after=0.05)
    assert failed.value.code == "CANCELLED"
    assert host.containers() == []


def test_platform_of_another_machine(host):
    if pathlib.Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        pytest.skip("this machine runs arm64 programs by emulation")
    if not (SERVERS / "swerex-remote-aarch64").exists():
        pytest.skip("no server for aarch64: run script/build")
    fails(host, "DEPLOYMENT_STARTUP", "exec format error", "platform", image="arm64")


def test_platform_that_the_image_is_not_for(host):
    if not (SERVERS / "swerex-remote-aarch64").exists():
        pytest.skip("no server for aarch64: run script/build")
    fails(host, "DEPLOYMENT_STARTUP", "platform", image="static", platform="linux/arm64")
    fails(host, "DEPLOYMENT_STARTUP", "linux/s390x", image="static", docker_args=["--platform", "linux/s390x"])


def test_platform_of_this_machine_in_the_arguments(host, registry):
    image = registry.image("multi")
    host.engine.run("rmi", image)
    driver = host.driver()
    driver.new(**host.config(image, pull="missing", docker_args=["--platform", "linux/amd64"], remove_images=True))
    driver.start(timeout=120)
    assert driver.output("echo hi") == "hi\n"
    driver.stop()


# ---- containers ----


def test_a_container_that_dies_at_once(host):
    """A program that takes the server's place: its words and its exit code are told, now and not in 180 s."""
    busybox = shutil.which("busybox")
    fails(host, "DEPLOYMENT_STARTUP", "exit code 127", "applet not found", server_path=busybox, seconds=10)
    fails(host, "DEPLOYMENT_STARTUP", "exit code 3", "no such luck", exec_shell=["/bin/bash", "-c", "echo no such luck; exit 3"],
          seconds=10)


def test_a_container_that_never_answers(host):
    failed = fails(host, "DEPLOYMENT_STARTUP", "startup_timeout", "I am here", startup_timeout=2,
                   exec_shell=["/bin/bash", "-c", "echo I am here; while :; do read -t 1 < /dev/zero; done"], seconds=15)
    assert failed.seconds >= 2


def test_a_shell_that_the_image_lacks(host):
    fails(host, "DEPLOYMENT_STARTUP", "/no/shell", exec_shell=["/no/shell", "-c"], seconds=10)


def test_an_option_that_does_not_exist(host):
    fails(host, "DEPLOYMENT_STARTUP", "docker_args", "--no-such-option", docker_args=["--no-such-option"])


def test_port_in_use(host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails(host, "DEPLOYMENT_STARTUP", f"port {port} of 127.0.0.1 is in use", port=port)
    driver = host.started(port=port)
    assert driver.output("echo hi") == "hi\n"
    assert host.engine.ok("port", host.containers()[0], "8000/tcp") == f"127.0.0.1:{port}"


def test_a_port_that_leads_nowhere(host):
    """Where the program and the engine's host don't share an address; the caller's patience ends it."""
    driver = host.new(docker_internal_host="http://127.0.0.9", publish_address="127.0.0.1", startup_timeout=3)
    with pytest.raises(Failed) as failed:
        driver.start(timeout=60)
    assert failed.value.code == "DEPLOYMENT_STARTUP" and "docker_internal_host" in failed.value.message
    assert failed.value.seconds < 20 * SLOW
    assert host.containers() == []


# ---- servers ----


def test_servers_that_do_not_fit(host):
    other = SERVERS / "swerex-remote-aarch64"
    if other.exists():
        fails(host, "CONFIG", "not for the image's architecture", server_path=str(other))
    fails(host, "CONFIG", "not statically linked", server_path="/bin/ls")
    fails(host, "CONFIG", "not a Linux program", server_path="/etc/passwd")
    fails(host, "FILE_NOT_FOUND", "/no/server", server_path="/no/server")


def test_a_server_that_the_engine_cannot_mount(host, tmp_path):
    """Its place is only there for the program, as with an engine in a virtual machine."""
    if host.engine.name != "docker":
        pytest.skip("podman runs where the program does")
    (tmp_path / "here").mkdir()
    shutil.copy(SERVERS / "swerex-remote", tmp_path / "server")
    script = f'mount -t tmpfs none {tmp_path}/here && cp {tmp_path}/server {tmp_path}/here && exec "$0"'
    driver = host.driver(before=["unshare", "--mount", "sh", "-c", script])
    driver.new(**host.config(server_path=f"{tmp_path}/here/server"))
    driver.start(timeout=60)
    assert "The server can't be mounted: copying it in" in driver.steps
    assert driver.output("echo copied") == "copied\n"
    driver.stop()


# ---- engines ----


class Proxy:
    """An engine's socket on a TCP port, as an engine of another machine."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self.path)
            for a, b in ((client, engine), (engine, client)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def remote(host, tmp_path):
    """(environment, container_runtime) by which the engine is that of another machine."""
    proxy = Proxy(host.engine.socket)
    if host.engine.name == "docker":
        yield {"DOCKER_HOST": proxy.address}, "docker"
    else:
        client = tmp_path / "podman-remote"
        client.write_text(f'#!/bin/sh\nexec podman --remote --url {proxy.address} "$@"\n')
        client.chmod(0o755)
        yield {}, str(client)
    proxy.listener.close()


def test_an_engine_of_another_machine(host, remote):
    """The server is copied in; files of this machine can't be mounted there."""
    environment, runtime = remote
    driver = host.driver(environment)
    for image in ("static", "user"):
        driver.new(**host.config(image, container_runtime=runtime))
        driver.start(timeout=60)
        assert driver.output("echo copied") == "copied\n"
        mounts = host.engine.ok("inspect", "-f", "{{range .Mounts}}{{.Destination}} {{end}}", *host.containers())
        assert "swerex" not in mounts
        driver.stop()
        assert host.containers() == []
    for after in (0.02, 0.1, 0.2, 0.3):
        try:
            driver.start(cancel_after=after)
            driver.stop()
        except Failed as failed:
            assert failed.code == "CANCELLED" and failed.left_behind is None
        assert host.containers() == []


def test_no_engine_is_installed(host):
    fails(host, "FILE_NOT_FOUND", "/no/docker", "not installed", container_runtime="/no/docker")
    fails(host, "FILE_NOT_FOUND", "nodocker", "not installed", container_runtime="nodocker")
    driver = host.driver({"PATH": "/nowhere"})
    with pytest.raises(Failed) as failed:
        driver.check(type="docker")
    assert failed.value.code == "FILE_NOT_FOUND" and "install" in failed.value.message


def test_the_engine_does_not_run(docker, host):
    if host.engine.name != "docker":
        pytest.skip("podman has no daemon")
    driver = host.driver({"DOCKER_HOST": "unix:///no/docker.sock"})
    fails(host, "CONNECTION", "start it", "/no/docker.sock", driver=driver)


def test_the_engine_is_not_for_this_user(host):
    if host.engine.name != "docker":
        pytest.skip("podman has no daemon")
    if os.getuid() != 0:
        pytest.skip("needs root to become somebody else")
    readable = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "test", "-x", os.path.dirname(host.engine.socket)])
    if readable.returncode != 0:
        pytest.skip("nobody else may look into the engine's directory")
    before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    driver = host.driver({"DOCKER_CONFIG": "/nonexistent"}, before)
    fails(host, "PERMISSION", "group docker", driver=driver, server_path=None)

"""crex with a real Docker and a real podman (tests/engines starts them, or says why it can't)."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, Crex, wait_until

sys.path.insert(0, str(ROOT / "tests" / "engines"))

from engines import docker, engine as real, engines, podman  # noqa: E402, F401


@pytest.fixture
def engine(real, tmp_path):  # noqa: F811
    """A crex whose --image goes to this engine."""
    crex = Crex(tmp_path)
    crex.env.update({key: value for key, value in real.environment().items() if key in ("PATH", "DOCKER_HOST")})
    crex.env["CREX_ENGINE"] = real.name
    crex.program, crex.image = real.client, real.image("bookworm")
    yield crex
    crex("down", "--all", "--force")


def containers(crex):
    return set(subprocess.run([crex.program, "ps", "-aq", "--no-trunc", "--filter", "label=crex=1"], capture_output=True, text=True,
                              check=True, timeout=60).stdout.split())


def test_run(engine):
    result = engine("run", "--image", engine.image, "--", "sh", "-c", "cat /etc/debian_version; echo err >&2; exit 4", timeout=120)
    assert (result.returncode, result.stdout.startswith("12"), result.stderr) == (4, True, "err\n")


def test_input_and_upload(engine, tmp_path):
    (tmp_path / "file").write_text("uploaded ")
    result = engine("run", "--image", engine.image, "-i", "--upload", f"{tmp_path}/file:/srv/", "--", "cat", "/srv/file", "-", input="and typed")
    assert (result.returncode, result.stdout) == (0, "uploaded and typed"), result.stderr


def test_a_life(engine, tmp_path):
    image = engine.image
    assert engine.ok("up", "web", "--image", image, timeout=120) == "web\n"
    assert engine.ok("exec", "web", "--", "sh", "-c", "echo kept >/srv/file; hostname").strip()
    assert engine.ok("exec", "web", "--", "cat", "/srv/file") == "kept\n"
    [row] = engine.json("ps")
    assert (row["type"], row["target"], row["status"]) == ("docker", image, "running")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_text("x" * 100000)
    engine.ok("cp", tmp_path / "tree", "web:/opt/tree")
    engine.ok("cp", "web:/opt/tree", tmp_path / "back")
    assert (tmp_path / "back" / "sub" / "file").read_text() == "x" * 100000
    assert "listening on" in engine.ok("logs", "web")
    assert len(engine.ok("logs", "web", "--tail", "1").splitlines()) == 1
    assert engine("shell", "web", input="cat /srv/file; exit 8\n").returncode == 8
    info = engine.ok("info", "web", "--show-token")
    token = re.search(r"^token +(\S+)$", info, re.M)[1]
    assert token not in engine.ok("info", "web") + engine.ok("ps", "--json") + engine.ok("logs", "web")
    engine("gc")  # a sandbox with a name is nobody's left-over
    assert engine.json("ps")[0]["status"] == "running"
    container = info.split("container ", 1)[1].split()[0]
    assert engine.ok("down", "web") == "web\n"
    assert subprocess.run([engine.program, "inspect", container], capture_output=True, timeout=60).returncode != 0


def test_logs_are_followed(engine):
    engine.ok("up", "web", "--image", engine.image, timeout=120)
    try:
        process = engine.start("logs", "-f", "--json", "web")
        assert "listening" in process.stdout.readline()
        engine("exec", "web", "--", "true")
        engine("cp", "/etc/hostname", "web:/tmp/x")  # a line of the server's
        seen = ""
        while "/upload" not in seen:
            line = process.stdout.readline()
            assert line.startswith('{"line":'), line
            seen += line
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        engine.ok("down", "web")


def test_ctrl_c_takes_the_sandbox_down(engine):
    before = containers(engine)
    process = engine.start("run", "--image", engine.image, "--", "sh", "-c", "echo up; exec sleep 1000")
    assert process.stdout.readline() == "up\n", process.stderr.read()
    mine = containers(engine) - before
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not mine & containers(engine)


def test_ctrl_c_while_it_starts(engine):
    for delay in (0.05, 0.2, 0.4):
        process = engine.start("run", "-v", "--image", engine.image, "--", "sleep", "1000")
        time.sleep(delay)  # the point in time is what varies here
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, process.stderr.read()


def test_a_container_that_ended_is_gone(engine):
    engine.ok("up", "web", "--image", engine.image, timeout=120)
    container = engine.json("info", "web")["connection"]["container"]
    subprocess.run([engine.program, "kill", container], capture_output=True, check=True, timeout=60)
    wait_until(lambda: engine.json("ps")[0]["status"] == "gone", "it is gone")
    engine.fails(125, "exec", "web", "--", "ls")
    line = engine.fails(125, "logs", "web")
    assert container in line
    assert engine.ok("down", "web") == "web\n"


def test_ttl(engine):
    engine.ok("up", "web", "--image", engine.image, "--ttl", "2", timeout=120)
    container = engine.json("info", "web")["connection"]["container"]
    list_it = [engine.program, "ps", "-q", "--filter", f"name={container}"]
    try:
        wait_until(lambda: not subprocess.run(list_it, capture_output=True, check=True, timeout=60).stdout, "it has ended itself", 30)
    finally:
        engine.ok("down", "web")


def test_an_up_that_was_killed_leaves_nothing(engine):
    path, names = engine.state / "crex" / "sandboxes" / "leak.json", []
    for step in range(1, 21):
        process = engine.start("up", "leak", "--image", engine.image)
        time.sleep(step * 0.05)  # the point in time is what varies here
        process.kill()
        process.communicate()
        record = json.loads(path.read_text()) if path.exists() else {}
        if record and not record["state"]:  # else it hadn't begun, or was ready
            names.append(record["plan"]["state"]["container"])
        engine(*(["down", "leak"] if step % 2 or record.get("state") else ["gc"]))  # in gc's code others have a part
        assert not path.exists(), step
    # whatever the engine was asked for has been done when it has started and removed another
    engine.ok("run", "--image", engine.image, "--", "true", timeout=120)
    assert len(names) >= 3
    left = subprocess.run([engine.program, "ps", "-a", "--format", "{{.Names}}"], capture_output=True, text=True, check=True,
                          timeout=60).stdout.split()
    assert not set(names) & set(left)


def test_the_same_with_a_name_of_the_users_own(engine):
    name = f"crex-leak-{os.getpid()}"
    theirs = ["--image", engine.image, "--docker-arg=--name", f"--docker-arg={name}"]
    process = engine.start("up", "leak", *theirs)
    wait_until(lambda: named(engine, name), "there is a container")
    process.kill()
    process.communicate()
    engine.ok("down", "leak", "--force")
    assert not named(engine, name)


def test_a_stranger_of_that_name_stays(engine):
    name = f"crex-theirs-{os.getpid()}"
    subprocess.run([engine.program, "create", "--name", name, engine.image], capture_output=True, check=True, timeout=60)
    try:
        process = engine.start("up", "leak", "--image", engine.image, "--docker-arg=--name", f"--docker-arg={name}")
        wait_until((engine.state / "crex" / "sandboxes" / "leak.json").exists, "there is a record")
        process.kill()
        process.communicate()
        engine.ok("down", "leak")
        assert named(engine, name)
    finally:
        subprocess.run([engine.program, "rm", "-f", name], capture_output=True, timeout=60)


def named(crex, name):
    return subprocess.run([crex.program, "ps", "-aq", "--filter", f"name={name}"], capture_output=True, text=True, check=True,
                          timeout=60).stdout.split()


def test_no_such_image(engine):
    line = engine.fails(125, "run", "--image", "localhost/crex-test/nothing:1", "--pull", "never", "--", "ls")
    assert "localhost/crex-test/nothing" in line
    engine.fails(125, "up", "web", "--image", "localhost/crex-test/nothing:1", "--pull", "never")
    assert engine.json("ps") == []


def test_steps_are_shown(engine):
    result = engine("run", "-v", "--image", engine.image, "--", "true", timeout=120)
    assert result.returncode == 0 and "> " in result.stderr
    assert engine("run", "--image", engine.image, "--", "true", timeout=120).stderr == ""


def test_doctor_knows_the_engine(engine):
    [check] = [check for check in engine.json("doctor")["checks"] if check["name"] == "docker"]
    assert check["works"] and engine.env["CREX_ENGINE"] in check["message"]

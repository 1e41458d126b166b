"""examples/, built against the installed library in each way that it can be linked, and run."""

import json
import os
import pathlib
import re
import signal
import subprocess

import pytest
from conftest import ROOT, run

EXAMPLES = ROOT / "examples"
LOCAL, DUMMY = '{"type": "local"}', '{"type": "dummy"}'


def engine(name):
    """The config of a container on a test engine that runs (tests/engines/start), or the test is skipped."""
    file = pathlib.Path(os.environ.get("CREX_ENGINES", ROOT / "build/engines")) / "env"
    if not file.exists():
        pytest.skip(f"no test engines: {file} is not there (tests/engines/start makes it)")
    settings = dict(re.findall(r"^(\w+)='(.*)'$", file.read_text(), flags=re.M))
    program, image = settings.get(f"CREX_{name.upper()}"), settings.get("CREX_IMAGE_BOOKWORM")
    if not program or run(program, "image", "inspect", image).returncode:
        pytest.skip(f"{name} doesn't answer, or has no test image")
    if not (ROOT / "dist/swerex-remote").exists():
        pytest.skip("no server to bring in: script/build makes it")
    return json.dumps({"type": "docker", "image": image, "container_runtime": program, "pull": "never"})


def ways():
    yield from (("hello", "gcc", False), ("hello", "gcc", True), ("hello", "g++", False), ("hello", "g++", True))
    yield from ((name, "gcc", static) for name in ("parallel", "loop", "guard") for static in (False, True))


FLAGS = {"gcc": ("-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wconversion", "-Wshadow"), "g++": ("-std=c++17", "-Wshadow")}


@pytest.fixture(scope="session")
def program(installed):
    built = {}

    def get(name, compiler="gcc", static=False):
        way = (name, compiler, static)
        if way not in built:
            built[way] = installed.build(EXAMPLES / f"{name}.c", compiler=compiler, flags=FLAGS[compiler], static=static)
        return built[way]

    return get


def arguments(name):
    return [EXAMPLES / "loop.replies"] if name == "loop" else []


EXPECTED = {
    "hello": "hello from /tmp\nexit code 0\n",
    "parallel": "20 sandboxes, 100 of 100 answers right\n",
    "guard": "good morning\na command with 'sudo' is not allowed here\ngood night\n2 commands passed\n",
}


def check(name, done):
    assert done.returncode == 0, done.said
    if name != "loop":
        assert done.stdout == EXPECTED[name]
        return
    out = done.stdout
    assert "$ ls\nanswer.py\n$ grep -c print answer.py missing.py\nanswer.py:1\n" in out
    assert re.search(r"\$ if true; then\n.*syntax error", out, re.S)
    assert "timeout after 2.0 seconds while running command 'sleep 60'" in out
    assert out.endswith("$ pwd; rm -r /tmp/crex-loop\n/tmp/crex-loop\ndone the answer is in answer.py\n")


@pytest.mark.parametrize("name, compiler, static", list(ways()))
def test_local(installed, program, name, compiler, static):
    built = program(name, compiler, static)
    needs = run("readelf", "-d", built).stdout
    assert ("libcrex.so.0" in needs) == (not static)
    check(name, installed.run(built, *arguments(name)))


@pytest.mark.parametrize("name", ["hello", "parallel", "loop", "guard"])
def test_dummy(installed, program, name):
    done = installed.run(program(name), *arguments(name), DUMMY)
    assert done.returncode == 0, done.said
    if name == "hello":
        assert done.stdout == "exit code 0\n"
    elif name == "parallel":
        assert done.stdout == "20 sandboxes, 0 of 100 answers right\n"


@pytest.mark.parametrize("name", ["hello", "parallel", "loop", "guard"])
@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_containers(installed, program, kind, name):
    config = engine(kind)
    if kind == "podman" and name == "parallel":
        pytest.skip("twenty containers are started on one of the engines, docker")
    check(name, installed.run(program(name), *arguments(name), config, timeout=120))


def test_what_goes_wrong_is_said(installed, program):
    for config, says in (
        ('{"type": "dokcer"}', "CONFIG: unknown deployment type 'dokcer'"),
        ('{"type": "docker", "imgae": "x"}', "CONFIG: .*imgae"),
        ('{"type": "remote", "port": 70000}', "CONFIG: .*port"),
    ):
        done = installed.run(program("hello"), config)
        assert done.returncode == 1 and done.stdout == "", done.said
        assert re.search(says, done.stderr), done.said


def test_interrupt_calls_all_off(installed, program):
    """Ctrl-C in parallel: nothing goes on, nothing stays, and it is over soon."""
    slow = installed.scratch / "slow"
    slow.mkdir()
    started = slow / "started"
    os.mkfifo(started)
    # startup files that say that they run, and then take long
    (slow / ".bashrc").write_text(f"echo > {started}; sleep 37.25\n")
    process = subprocess.Popen([program("parallel")], env={**installed.env, "HOME": str(slow)}, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        started.read_text()  # blocks until one is there
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 1 and out == "20 sandboxes, 0 of 100 answers right\n", out + err
    assert run("pgrep", "-fx", "sleep 37.25").returncode == 1

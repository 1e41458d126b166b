"""A sandbox in a container, from its start to its end, on real engines."""

import json
import os
import re
import signal
import socket
import threading
import time

import pytest
from conftest import Failed, until


@pytest.mark.parametrize("image", ["static", "bookworm", "user", "exits", "endless"])
def test_whole_life(host, image, tmp_path):
    driver = host.started(image)
    assert "Starting container" in driver.steps
    assert driver.output("cd /tmp 2>/dev/null || mkdir /tmp && cd /tmp; X=5; echo hi") == "hi\n"
    assert driver.output('echo "$PWD $X"') == "/tmp 5\n"
    driver.write(path="/tmp/a/b", content="wörds\n")
    assert driver.read(path="/tmp/a/b") == "wörds\n"
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/script").write_text("#!/bin/bash\necho run\n")
    (tmp_path / "tree/sub/script").chmod(0o755)
    driver.upload(source=str(tmp_path / "tree"), target="/tmp/up")
    assert driver.output("/tmp/up/sub/script") == "run\n"
    assert driver.execute(command="echo $0; exit 3")["exit_code"] == 3
    assert driver.is_alive()["is_alive"]
    assert "listening on" in driver.logs()
    assert len(host.containers()) == 1
    driver.stop()
    assert host.containers() == []
    with pytest.raises(Failed) as failed:
        driver.run(command="true")
    assert failed.value.code == "DEPLOYMENT_NOT_STARTED"
    driver.stop()


def test_runs_as_the_images_user(host):
    driver = host.started("user")
    assert driver.output('id -u; echo "$PWD $CREX_IMAGE_SAYS"') == "1000\n/home/user two words\n"


def test_again_after_a_stop(host):
    driver = host.started()
    driver.stop()
    driver.start(timeout=60)
    assert driver.output("echo again") == "again\n"


def test_a_program_that_ends_takes_its_sandbox_along(host):
    driver = host.started()
    assert driver.end() == 0
    assert host.containers() == []


def test_an_image_without_bash(host):
    driver = host.started("nobash")
    assert driver.execute(command="echo fine")["output"] == "fine\n"
    with pytest.raises(Failed) as failed:
        driver.run(command="true")
    assert "bash" in failed.value.message


def test_arguments_with_blanks_and_quotes(host, tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b/file").write_text("mounted\n")
    value = """two  words, 'single' "double" $HOME \\ ; &"""
    driver = host.started(docker_args=["-e", f"SAYS={value}", "--hostname=box", "-it", "-v", f"{tmp_path}/a b:/m n:ro",
                                       "--entrypoint", "/bin/false"])
    assert driver.output('printf %s "$SAYS"') == value
    assert driver.output("cat '/m n/file' 2>/dev/null || busybox cat '/m n/file'") == "mounted\n"
    assert driver.output("echo $HOSTNAME") == "box\n"


def test_network_of_the_host(host):
    driver = host.started(docker_args=["--network", "host"])
    assert driver.output("echo on the host") == "on the host\n"
    (listens,) = re.findall("listening on (.*)", driver.logs())
    assert listens.startswith("http://127.0.0.1:") and not listens.endswith(":8000")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = host.new(docker_args=["--net=host"], port=port)
        with pytest.raises(Failed) as failed:
            other.start(timeout=60)
        assert failed.value.code == "DEPLOYMENT_STARTUP" and f"port {port} of 127.0.0.1 is in use" in failed.value.message
    other.start(timeout=60)
    assert f"listening on http://127.0.0.1:{port}\n" in other.logs()


def test_a_shell_of_ones_own(host):
    driver = host.started(exec_shell=["/bin/bash", "-c"])
    assert driver.output("echo hi") == "hi\n"


def test_a_name_of_ones_own(host):
    name = f"crex-named-{os.getpid()}"
    driver = host.started(docker_args=["--name", name])
    assert host.engine.containers(f"name={name}") == host.containers()
    other = host.new(docker_args=["--name", name])
    with pytest.raises(Failed) as failed:
        other.start(timeout=60)
    assert failed.value.code == "DEPLOYMENT_STARTUP" and "name" in failed.value.message
    other.stop()
    assert driver.output("echo still here") == "still here\n"


def own_clients(host, tmp_path):
    """Clients of both engines that list what this test has made, as if there were nothing else."""
    for name in ("docker", "podman"):
        path = tmp_path / name
        ours = f"""[ "$1" != ps ] || set -- "$@" --filter=label={host.mark}
PATH={os.environ['PATH']} exec {host.engine.client} "$@"
"""
        path.write_text("#!/bin/bash\n" + (ours if name == host.engine.name else "exit 0\n"))
        path.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_a_stopped_container_can_be_kept(host, tmp_path):
    driver = host.started(remove_container=False)
    kept = host.containers()
    driver.stop()
    assert host.containers() == kept
    assert host.engine.ok("inspect", "-f", "{{.State.Running}}", *kept) == "false"
    driver.gc(type="docker", all=False)
    assert host.containers() == kept
    assert host.driver(environment=own_clients(host, tmp_path)).gc(type="docker", all=True) == 1
    assert host.containers() == []


def test_published_on_loopback_only(host):
    host.started()
    ports = host.engine.ok("port", host.containers()[0])
    assert ports.startswith("8000/tcp -> 127.0.0.1:") and "\n" not in ports


def test_python_standalone_dir_is_said_to_be_ignored(host):
    driver = host.started(python_standalone_dir="/root")
    assert "python_standalone_dir is not needed: ignored" in driver.steps


def recorder(host, tmp_path):
    """An engine's client that writes down its arguments and the token that it was given."""
    path = tmp_path / host.engine.name
    path.write_text(f"""#!/bin/bash
printf '%s ' "$@" >>{tmp_path}/calls; echo >>{tmp_path}/calls
[ -z "$SWEREX_AUTH_TOKEN" ] || printf %s "$SWEREX_AUTH_TOKEN" >{tmp_path}/token
exec {host.engine.client} "$@"
""")
    path.chmod(0o755)
    return str(path)


def test_few_calls_and_no_token_in_them(host, tmp_path):
    driver = host.started(container_runtime=recorder(host, tmp_path))
    calls = (tmp_path / "calls").read_text()
    token = (tmp_path / "token").read_text()
    assert [line.split()[0] for line in calls.splitlines()] == ["image", "run"]
    assert len(token) == 32 and token not in calls
    assert token not in "".join(driver.steps) and token not in driver.logs()
    assert token not in driver.output("busybox env; busybox cat /proc/1/environ /proc/1/cmdline")
    inspected = json.loads(host.engine.ok("inspect", *host.containers()))[0]
    assert token not in json.dumps({**inspected, "Config": {**inspected["Config"], "Env": []}})
    driver.stop()
    assert [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()[2:]] == ["logs", "rm"]


def test_it_lives_on_in_another_program(host):
    driver = host.started(host_timeout=None)
    state = driver.detach()
    with pytest.raises(Failed):
        driver.is_alive()
    assert driver.end() == 0
    other = host.driver()
    other.gc(type="docker", all=False)
    assert len(host.containers()) == 1  # made to outlive its program
    other.resume(state=state)
    assert other.output("echo resumed") == "resumed\n"
    other.stop()
    assert host.containers() == []


def test_detached_with_a_host_timeout(host):
    """It lives on while some program has it, and ends itself when none does."""
    driver = host.started(host_timeout=2)
    other = host.driver()
    other.resume(state=driver.detach())
    assert driver.end() == 0
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        assert len(host.containers()) == 1
        time.sleep(0.2)
    assert other.output("echo resumed") == "resumed\n"
    other.detach()
    until(lambda: not host.containers(), 20)


def test_an_engine_that_hangs(host, tmp_path):
    client = tmp_path / host.engine.name
    client.write_text("#!/bin/sh\nexec sleep 1000\n")
    client.chmod(0o755)
    driver = host.new(container_runtime=str(client), startup_timeout=0.5)
    with pytest.raises(Failed) as failed:
        driver.start()
    assert failed.value.code == "DEPLOYMENT_STARTUP" and "does not answer" in failed.value.message
    with pytest.raises(Failed) as failed:
        driver.start(cancel_after=0.1)
    assert failed.value.code == "CANCELLED" and failed.value.seconds < 10


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_ends_itself_when_its_program_was_killed(host, busy):
    driver = host.started(host_timeout=2)
    if busy:
        driver.send("run", command="while :; do :; done & sleep 1000", timeout=2000)
        until(lambda: "sleep" in host.engine.run("top", host.containers()[0]).stdout)
    driver.kill()
    until(lambda: not host.containers(), 20)


def test_lives_while_its_program_does(host):
    driver = host.started(host_timeout=1)
    ends = time.monotonic() + 3.5
    while time.monotonic() < ends:
        assert len(host.containers()) == 1
        time.sleep(0.2)
    assert driver.output("echo alive") == "alive\n"


def test_gc_takes_what_killed_programs_left(host):
    killed, living = host.started(), host.started()
    theirs = [one for one in host.containers()]
    killed.kill()
    killed.process.wait()
    third = host.driver()
    assert third.gc(type="docker", all=False) >= 1
    assert [step for step in third.steps if step.startswith(f"{host.engine.name} container crex-")]
    assert len(host.containers()) == 1 and host.containers()[0] in theirs
    assert living.output("echo alive") == "alive\n"


def test_check_says_what_is_there(host):
    assert f"{host.engine.name} " in host.driver().check(type="docker")


def test_fifty_at_once(host):
    driver = host.driver()
    seconds = driver.parallel(config=host.config("static"), n=50)
    assert len(seconds) == 50
    assert host.containers() == []


def test_stop_calls_a_start_off_from_outside(host):
    """The end of the driver's input comes while the start is under way in it; nothing is left in any case."""
    driver = host.new()
    driver.send("start", timeout=60)
    assert driver.end() == 0
    assert host.containers() == []


def test_a_start_called_off_leaves_nothing(host):
    driver = host.new("static")
    driver.start(timeout=60)
    whole = driver.seconds
    driver.stop()
    outcomes = []
    for i in range(16):
        after = whole * 1.3 * i / 15
        try:
            driver.start(cancel_after=after)
            outcomes.append("started")
            driver.stop()
        except Failed as failed:
            outcomes.append(failed.code)
            assert failed.code == "CANCELLED" and failed.left_behind is None, (after, str(failed))
        assert host.containers() == [], (after, outcomes)
    assert outcomes[0] == "CANCELLED"
    driver.start(timeout=60)
    assert driver.output("echo fine") == "fine\n"


def test_a_start_out_of_time_leaves_nothing(host):
    driver = host.new("static")
    for timeout in (0.01, 0.1, 0.2):
        try:
            driver.start(timeout=timeout)
        except Failed as failed:
            assert failed.code == "DEADLINE"
        driver.stop()
        assert host.containers() == []


def test_killed_in_the_middle_of_a_start(host):
    """At any moment: what has come to run ends itself, what has not is swept."""
    for delay in (0.05, 0.15, 0.25, 0.35):
        driver = host.new("static", host_timeout=2)
        driver.send("start", timeout=60)
        threading.Event().wait(delay)
        os.kill(driver.pid, signal.SIGKILL)
        driver.process.wait()
    sweeper = host.driver()

    quiet = 0

    def swept():  # an engine may still be about to create what its killed client asked for
        nonlocal quiet
        sweeper.gc(type="docker", all=False)
        quiet = 0 if host.containers() else quiet + 1
        return quiet == 10

    until(swept, 30)

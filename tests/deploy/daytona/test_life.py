"""A sandbox at Daytona, from its start to its end."""

import json
import subprocess

import pytest
from conftest import PROGRAM, Daytona, Failed, Host, cannot_run, until


def test_whole_life(host, daytona, tmp_path):
    daytona.ask("POST", "/settings", {"polls": 3})
    driver = host.started()
    one = daytona.sandbox()
    assert driver.steps[0] == "Creating Daytona sandbox"
    assert f"Sandbox {one['id']} is started" in driver.steps
    assert driver.output("cd /tmp && X=5; echo hi") == "hi\n"
    assert driver.output('echo "$PWD $X"') == "/tmp 5\n"
    driver.write(path="/tmp/a/b", content="wörds\n")
    assert driver.read(path="/tmp/a/b") == "wörds\n"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/script").write_text("#!/bin/bash\necho run\n")
    (tmp_path / "tree/script").chmod(0o755)
    driver.upload(source=str(tmp_path / "tree"), target="/tmp/up")
    assert driver.output("/tmp/up/script") == "run\n"
    assert driver.execute(command="echo $0; exit 3")["exit_code"] == 3
    assert driver.is_alive()["is_alive"]
    assert "listening on" in driver.logs()
    assert daytona.live() == [one["id"]]
    driver.stop()
    assert daytona.live() == []
    with pytest.raises(Failed) as failed:
        driver.run(command="true")
    assert failed.value.code == "DEPLOYMENT_NOT_STARTED"
    driver.stop()
    driver.start(timeout=60)
    assert driver.output("echo again") == "again\n"


def test_what_is_asked_for(host, daytona):
    host.started(image="debian:12", env={"SAYS": "two  words"}, labels={"team": "a"}, public=True, cpu=2, memory=4,
                 disk=5, target="eu", network_block_all=True, host_timeout=30, container_timeout=601)
    one = daytona.sandbox()
    assert one["image"] == "debian:12" and one["env"] == ["SAYS"] and one["public"] and one["networkBlockAll"]
    assert (one["cpu"], one["memory"], one["disk"], one["target"]) == (2, 4, 5, "eu")
    assert one["labels"]["team"] == "a" and one["labels"]["crex"] == "1" and one["labels"]["crex.owner"]
    assert one["autoStopInterval"] == 2 and one["autoDeleteInterval"] == 0
    assert host.drivers[0].output('printf %s "$SAYS"') == "two  words"
    said = host.drivers[0].output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "timeout 601" in said and "--host-timeout 30" in said


def test_from_a_snapshot(host, daytona):
    host.started(snapshot="daytona-small")
    assert daytona.sandbox()["snapshot"] == "daytona-small" and daytona.sandbox()["image"] is None


def test_defaults(host, daytona):
    host.started()
    one = daytona.sandbox()
    assert one["image"] == "python:3.11" and one["target"] == daytona.environment["DAYTONA_TARGET"]
    assert not one["public"]


def test_the_token_can_be_read_nowhere(host, daytona):
    driver = host.started(host_timeout=None)
    state = json.loads(driver.detach())["state"]
    token, header = state["token"], state["header"]
    other = host.driver()
    other.resume(state=json.dumps({"type": "daytona", "state": state}))
    # in two halves, so that the search doesn't find itself
    search = (f"A={token[:20]} B={token[20:]}; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | "
              "grep -acF -f <(echo $A$B); find /tmp /root /run -type f -exec grep -laF -f <(echo $A$B) {} +; true")
    looked = other.output(search)
    other.write(path="/tmp/said", content=f"it is {token}")
    assert other.output(search) == "0\n/tmp/said\n"  # it would be found
    assert looked == "0\n"
    assert "/tmp/.crex-" in other.output("ls -d /tmp/.crex-*") and other.output("ls /tmp/.crex-*") == "swerex-remote\n"
    everything = json.dumps(daytona.state())
    assert token not in everything
    assert token not in "".join(driver.steps) and header.split()[1] not in "".join(driver.steps)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert token not in listed and daytona.key not in listed
    other.stop()


def test_a_program_that_ends_takes_its_sandbox_along(host, daytona):
    driver = host.started()
    assert driver.end() == 0
    assert daytona.live() == []


def test_detached_and_resumed_elsewhere(host, daytona):
    driver = host.started(host_timeout=None)
    driver.output("cd /usr; X=7")
    driver.write(path="/tmp/kept", content="kept\n")
    state = driver.detach()
    assert driver.end() == 0
    assert len(daytona.live()) == 1
    other = host.driver()
    other.resume(state=state)
    assert other.read(path="/tmp/kept") == "kept\n"
    assert "listening on" in other.logs()
    assert other.is_alive()["is_alive"]
    assert other.gc(type="daytona", all=False) == 0  # nobody's
    other.stop()
    assert daytona.live() == []


@pytest.mark.parametrize("spoil", [{"url": None}, {"session": "x" * 100}, {"token": "t" * 100}, {"api_url": None}])
def test_a_state_that_is_none(host, spoil):
    driver = host.started(host_timeout=None)
    state = driver.detach()
    whole = json.loads(state)
    whole["state"] |= spoil
    with pytest.raises(Failed) as failed:
        driver.resume(state=json.dumps(whole))
    assert failed.value.code == "CONFIG"
    driver.resume(state=state)
    driver.stop()


def test_gc_takes_what_programs_left(host, daytona):
    first, second = host.started(), host.started()
    kept = [one["id"] for one in daytona.state()["sandboxes"]]
    first.kill()
    first.process.wait(10)
    other = host.driver()
    assert other.gc(type="daytona", all=False) == 1
    (left,) = daytona.live()
    assert left in kept and other.steps == [f"daytona sandbox {next(i for i in kept if i != left)}"]
    assert second.output("echo on") == "on\n"
    assert other.gc(type="daytona", all=True) == 1
    assert daytona.live() == []


def test_gc_reads_all_pages(host, daytona):
    for _ in range(2):
        host.started(host_timeout=None).detach()
    daytona.fault("sandbox.list", status=200, body={"items": [], "nextCursor": "MA"})  # "0": the next page is the first
    assert host.driver().gc(type="daytona", all=True) == 2
    assert daytona.kinds().count("sandbox.list") == 2


def test_doctor(host, daytona):
    assert daytona.environment["DAYTONA_API_URL"] in host.driver().check(type="daytona")
    with pytest.raises(Failed) as failed:
        host.driver(DAYTONA_API_KEY=None).check(type="daytona")
    assert failed.value.code == "CONFIG" and "DAYTONA_API_KEY" in failed.value.message
    with pytest.raises(Failed) as failed:
        host.driver(DAYTONA_API_KEY="wrong").check(type="daytona")
    assert failed.value.code == "AUTHENTICATION" and "wrong" not in failed.value.message
    with pytest.raises(Failed) as failed:
        host.driver(DAYTONA_API_KEY=None).gc(type="daytona", all=False)
    assert failed.value.code == "UNSUPPORTED"


def test_the_server_ends_when_its_host_is_gone(host, daytona):
    driver = host.started(host_timeout=1)
    driver.kill()
    driver.process.wait(10)

    def ended():
        (session,) = daytona.sandbox()["sessions"]
        return session["commands"][0].get("exitCode") is not None

    until(ended)
    host.driver().gc(type="daytona", all=False)


def test_the_server_ends_when_its_time_is_over(host):
    driver = host.started(container_timeout=2)
    until(lambda: not driver.is_alive()["is_alive"])


def test_a_sandbox_that_dies_is_told_of(host, daytona):
    driver = host.started()
    daytona.ask("POST", "/kill", {"id": daytona.sandbox()["id"]})
    said = driver.is_alive(timeout=20)
    assert not said["is_alive"] and "state is error" in said["message"]


def test_over_tls(tmp_path):
    if reason := cannot_run():
        pytest.skip(reason)
    one = Daytona(tmp_path, "--tls", "--polls", "1")
    try:
        host = Host(one)
        driver = host.started()
        assert driver.output("echo hi") == "hi\n"
        assert driver.end() == 0
        named = host.driver(SSL_CERT_FILE=None)
        named.new(type="daytona", ca_file=one.environment["DAYTONA_FIXTURE_CA"])
        named.start(timeout=60)
        assert named.output("echo hi") == "hi\n"
        assert named.end() == 0
        stranger = host.driver(SSL_CERT_FILE=None)
        stranger.new(type="daytona")
        with pytest.raises(Failed) as failed:
            stranger.start(timeout=20)
        assert failed.value.code == "CONNECTION" and "certificate" in failed.value.message
        assert stranger.end() == 0
        assert one.live() == []
    finally:
        one.end()


def test_crex_up(daytona, host, tmp_path):
    crex = PROGRAM.parents[2] / "src/cli/crex"
    if not crex.exists():
        pytest.skip(f"no {crex}")
    config = tmp_path / "f.json"
    config.write_text(json.dumps({"type": "daytona", "image": "debian:12"}))
    environment = host.environment(XDG_STATE_HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path))

    def run(*arguments):
        return subprocess.run([crex, *arguments], env=environment, capture_output=True, text=True, timeout=60)

    up = run("up", "--deployment", str(config), "box")
    assert up.returncode == 0, up.stderr
    done = run("exec", "box", "--", "echo", "hi")
    assert done.stdout == "hi\n", done.stderr
    assert run("down", "box").returncode == 0
    assert daytona.live() == []

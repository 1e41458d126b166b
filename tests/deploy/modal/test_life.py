"""A sandbox at Modal from its start to its end, against the stand-in."""

import json
import pathlib
import re
import time

import pytest
from conftest import MODES, SLOW, Failed, until


@pytest.mark.parametrize("generation, tls", MODES)
def test_whole_life(host, generation, tls, tmp_path):
    driver = host.started(tls, generation=generation)
    assert "Starting modal sandbox" in driver.steps
    assert driver.output("cd /tmp; X=5; echo hi") == "hi\n"
    assert driver.output('echo "$PWD $X"') == "/tmp 5\n"
    driver.write(path="/tmp/a/b", content="wörds\n")
    assert driver.read(path="/tmp/a/b") == "wörds\n"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/script").write_text("#!/bin/bash\necho run\n")
    (tmp_path / "tree/script").chmod(0o755)
    driver.upload(source=str(tmp_path / "tree"), target="/tmp/up")
    assert driver.output("/tmp/up/script") == "run\n"
    assert driver.execute(command="exit 3")["exit_code"] == 3
    assert driver.is_alive() == {"is_alive": True, "message": ""}
    assert "listening on" in driver.logs()
    [live] = host.fixture.live()
    assert (len(live) == len("sb-") + 22) == (generation == "v1")
    [sandbox] = [one for one in host.fixture.state()["sandboxes"] if one["id"] == live]
    assert sandbox["tls_on_unencrypted"] == 0 and sandbox["tunnel_connections"] > 0
    driver.stop()
    assert host.fixture.live() == []
    with pytest.raises(Failed) as failed:
        driver.run(command="true")
    assert failed.value.code == "DEPLOYMENT_NOT_STARTED"
    driver.stop()


def test_again_after_a_stop(host):
    driver = host.started()
    driver.stop()
    driver.start(timeout=60)
    assert driver.output("echo again") == "again\n"


def test_a_program_that_ends_takes_its_sandbox_along(host):
    driver = host.started()
    assert driver.end() == 0
    assert host.fixture.live() == []


def test_images_are_found_again(host):
    host.started().stop()
    before = host.fixture.state()["builds"]
    host.started().stop()
    assert host.fixture.state()["builds"] == before


def test_definition(host):
    driver = host.started(modal_sandbox_kwargs={
        "cpu": [0.5, 2], "memory": 512, "gpu": "A100:2", "region": ["us-east", "eu"], "cloud": "aws",
        "outbound_cidr_allowlist": ["10.0.0.0/8"], "inbound_cidr_allowlist": ["1.2.3.4/32"], "workdir": "/srv",
        "env": {"GREETING": "two words"}, "tags": {"by": "test"}, "verbose": True, "idle_timeout": 500,
        "unencrypted_ports": [9000], "h2_ports": [9001], "name": "one", "experimental_options": {"a": True, "b": "x"},
    }, deployment_timeout=1234.5)
    [live] = host.fixture.live()
    [sandbox] = [one for one in host.fixture.state()["sandboxes"] if one["id"] == live]
    seen = sandbox["definition"]
    assert {name: seen["resources"][name] for name in ("milli_cpu", "milli_cpu_max", "memory_mb")} == {
        "milli_cpu": 500, "milli_cpu_max": 2000, "memory_mb": 512}
    assert seen["resources"]["gpu_config"] == {"count": 2, "gpu_type": "A100"}
    assert seen["network_access"]["network_access_type"] == 3
    assert seen["network_access"]["allowed_cidrs"] == ["10.0.0.0/8"]
    assert seen["timeout_secs"] == 1234 and seen["idle_timeout_secs"] == 500
    assert seen["workdir"] == "/srv" and seen["cloud_provider_str"] == "aws" and seen["name"] == "one"
    assert [(port["port"], port["unencrypted"], port["tunnel_type"]) for port in seen["open_ports"]["ports"]] == [
        (8880, False, 0), (9001, False, 1), (9000, True, 0)]
    assert seen["experimental_options_v2"] == {"a": "true", "b": "x"}
    assert sandbox["tags"]["by"] == "test" and sandbox["tags"]["crex"] == "1"
    assert all(re.fullmatch(r"[\w.-]{1,63}", value) for value in sandbox["tags"].values())
    assert {"GREETING", "SWEREX_AUTH_TOKEN", "SWEREX_HOST_TIMEOUT"} <= set(sandbox["env_names"])
    assert driver.output('echo "$GREETING, $PWD"') == "two words, /srv\n"
    assert driver.output("env") .count("SWEREX_AUTH_TOKEN") == 0
    assert "SWEREX" not in json.dumps(seen)


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_named_secrets(host, generation):
    host.fixture.ask("/control/secrets", {"name": "keys", "env": {"KEY": "value of a key"}})
    driver = host.started(generation=generation, modal_sandbox_kwargs={"secrets": ["keys"], "env": {"A": "b"}})
    assert driver.output('echo "$KEY $A"') == "value of a key b\n"
    driver.stop()
    host.fails(host.new(generation=generation, modal_sandbox_kwargs={"secrets": ["none-such"]}), "DEPLOYMENT_STARTUP",
               "none-such")


def test_no_network_but_the_tunnel(host):
    host.started(modal_sandbox_kwargs={"block_network": True})
    [live] = host.fixture.live()
    [sandbox] = [one for one in host.fixture.state()["sandboxes"] if one["id"] == live]
    assert sandbox["definition"]["network_access"] == {"network_access_type": 3, "allowed_cidrs": [],
                                                       "allowed_domains": []}


def test_which_generation(host):
    driver = host.new(environment={"MODAL_SANDBOX_V2": "1"})
    driver.start(timeout=60)
    assert host.fixture.methods().count("SandboxCreateV2") == 1
    driver.stop()
    host.fixture.fault("SandboxCreate", fail={"status": 12, "message": "gone"})
    driver = host.started()
    assert host.fixture.methods().count("SandboxCreateV2") == 2
    driver.stop()


def test_v2_tunnels_are_asked_for_until_they_are_there(host):
    host.started(generation="v2").stop()
    assert host.fixture.methods().count("SandboxGetTunnelsV2") == 0, "the creation's reply has them as a rule"
    host.fixture.fault("SandboxCreateV2", omit=["tunnels"])
    host.fixture.fault("SandboxGetTunnelsV2", omit=["tunnels"])
    host.started(generation="v2").stop()
    assert host.fixture.methods().count("SandboxGetTunnelsV2") == 2


def test_another_port(host):
    assert host.started(port=9999).output("echo hi") == "hi\n"


# ---- Dockerfiles ----


def test_dockerfile(host, tmp_path):
    (tmp_path / "files/deep").mkdir(parents=True)
    (tmp_path / "files/one").write_text("1\n")
    (tmp_path / "two words").write_text("2\n")
    (tmp_path / "Dockerfile").write_text("""# a comment
FROM debian:12
ENV GREETING=hello \\
    OTHER=x
COPY files/one /srv/
COPY ["two words", "/srv/two"]
RUN mkdir -p /srv/made && \\
    # in between
    echo from a build >/srv/made/file
WORKDIR /srv
""")
    driver = host.started(image=str(tmp_path / "Dockerfile"))
    assert driver.output('cat one two made/file; echo "$GREETING $PWD"') == "1\n2\nfrom a build\nhello /srv\n"
    driver.stop()


def test_build_logs_reach_the_hook(host, tmp_path):
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM debian:12\nRUN echo built at {time.time()}; printf 'a\\033[31mb\\n'\n")
    driver = host.started(image=str(path))
    assert [step for step in driver.steps if step.startswith("image build: built at ")]
    assert "image build: a[31mb" in driver.steps
    driver.stop()


def test_a_build_that_fails(host, tmp_path):
    path = tmp_path / "Dockerfile"
    path.write_text("FROM debian:12\nRUN echo the reason; exit 7\n")
    failed = host.fails(host.new(image=str(path)), "DEPLOYMENT_STARTUP", "exit code 7", "the reason")
    assert "SandboxCreate" not in host.fixture.methods()
    assert [step for step in failed.steps if "the reason" in step]


def test_a_build_that_takes_too_long(host, tmp_path):
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM debian:12\nRUN sleep 3 && echo {time.time()}\n")
    host.fails(host.new(image=str(path), build_timeout=0.7), "DEPLOYMENT_STARTUP", "build_timeout", seconds=2.5)


@pytest.mark.parametrize("effect", [{"end_early": True}, {"drop_reply": True}, {"fail": {"status": 14}},
                                    {"cut": {"bytes": 60}}], ids=str)
def test_a_build_stream_that_breaks_is_opened_again(host, tmp_path, effect):
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM debian:12\nRUN echo one; sleep 0.3; echo two {time.time()}\n")
    host.fixture.fault("ImageJoinStreaming", **effect)
    driver = host.started(image=str(path))
    assert host.fixture.methods().count("ImageJoinStreaming") >= 2
    for line in ("image build: one", "image build: two"):
        assert len([step for step in driver.steps if step.startswith(line)]) == 1
    driver.stop()


# ---- private registries ----


def test_registry_credentials_of_the_environment(host):
    driver = host.new(image="private/app:1", environment={"DOCKER_USERNAME": "me", "DOCKER_PASSWORD": "open sesame"})
    driver.start(timeout=60)
    assert "sesame" not in json.dumps(host.fixture.state())
    driver.stop()
    host.fails(host.new(image="private/app:2"), "DEPLOYMENT_STARTUP", "unauthorized")


def test_registry_credentials_in_a_named_secret(host):
    host.fixture.ask("/control/secrets", {"name": "registry", "env": {"REGISTRY_USERNAME": "a", "REGISTRY_PASSWORD": "b"}})
    for _ in range(2):
        host.started(image="private/named:1", registry_secret="registry").stop()
        builds = host.fixture.state()["builds"]
    host.started(image="private/named:1", registry_secret="registry").stop()
    assert host.fixture.state()["builds"] == builds, "a named secret is part of what the image is known by"


def test_amazons_registry(host):
    image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1"
    host.refused("CONFIG", "AWS_ACCESS_KEY_ID", "registry_secret", image=image)
    driver = host.new(image=image, environment={"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hush"})
    driver.start(timeout=60)
    state = host.fixture.state()
    assert ["AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"] in [sorted(s["keys"]) for s in state["secrets"]]
    driver.stop()


# ---- out of the program and back ----


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_detach_and_resume(host, generation):
    driver = host.started(generation=generation, host_timeout=None)
    driver.output("X=kept")
    state = driver.detach()
    assert driver.end() == 0
    assert len(host.fixture.live()) == 1
    other = host.driver()
    other.resume(state=state)
    assert other.execute(command="echo there")["output"] == "there\n"
    assert "listening on" in other.logs()
    other.stop()
    assert host.fixture.live() == []


def test_gc_takes_orphans_and_leaves_others(host):
    lost, kept, alive = host.started(), host.started(host_timeout=None), host.started(generation="v2")
    lost_id, kept_id, alive_id = host.fixture.live()
    lost.kill()
    kept.kill()
    for one in (lost, kept):
        one.process.wait(10)
    other = host.driver()
    assert other.gc(type="modal", all=False) == 1
    assert other.steps == [f"modal sandbox {lost_id}"]
    assert sorted(host.fixture.live()) == sorted([kept_id, alive_id])
    assert alive.output("echo hi") == "hi\n"
    assert other.gc(type="modal", all=False) == 0
    assert other.gc(type="modal", all=True) == 2
    assert host.fixture.live() == []
    alive.stop()


def test_gc_of_many_pages(host):
    kept = [host.started(host_timeout=None) for _ in range(3)]
    for one in kept:
        one.kill()
        one.process.wait(10)
    host.fixture.fault("SandboxList", latency_ms=1)
    assert host.driver().gc(type="modal", all=True) == 3


def test_gc_and_doctor_without_an_account(host):
    driver = host.driver(MODAL_TOKEN_ID=None, MODAL_TOKEN_SECRET=None)
    with pytest.raises(Failed) as failed:
        driver.gc(type="modal", all=False)
    assert failed.value.code == "UNSUPPORTED"
    with pytest.raises(Failed) as failed:
        driver.check(type="modal")
    assert failed.value.code == "AUTHENTICATION" and "MODAL_TOKEN_ID" in failed.value.message


def test_doctor(host):
    says = host.driver().check(type="modal")
    assert "image builder 2025.06" in says and "swerex-remote" in says


def test_a_sandbox_whose_host_is_gone_ends_itself(host):
    driver = host.started(host_timeout=1)
    time.sleep(2 * SLOW)  # the heartbeat keeps it
    assert driver.output("echo hi") == "hi\n"
    driver.kill()
    driver.process.wait(10)
    until(lambda: host.fixture.live() == [])


def test_a_hundred_at_once(host):
    driver = host.driver()
    seen = []
    for _ in range(2):
        driver.send("parallel", config={"type": "modal"}, n=100)
        assert len(driver.receive("parallel")) == 100
        assert host.fixture.live() == []
        status = pathlib.Path(f"/proc/{driver.pid}/status").read_text()
        seen.append(int(re.search(r"VmHWM:\s+(\d+)", status)[1]))
    assert host.fixture.state()["repeats"] == 0
    if SLOW == 1:  # sanitizers keep what was freed
        assert seen[1] < 1.3 * seen[0], "memory grows from one hundred to the next"

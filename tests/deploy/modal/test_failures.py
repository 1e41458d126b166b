"""What goes wrong on the way to Modal and there: a typed error that says what to do, soon, and nothing left running."""

import subprocess

import pytest
from conftest import MODES, SLOW, Failed, until

# ---- configs ----


@pytest.mark.parametrize("config, words", [
    ({"imag": "x"}, ["'imag'", "'image'"]),
    ({"image": ""}, ["'image'"]),
    ({"image": "two words"}, ["'image'"]),
    ({"image": "./no-such-dockerfile"}, ["'image'", "no such file"]),
    ({"startup_timeout": 0}, ["'startup_timeout'"]),
    ({"deployment_timeout": -1}, ["'deployment_timeout'"]),
    ({"port": 70000}, ["'port'"]),
    ({"port": None}, ["'port'"]),
    ({"generation": "v3"}, ["'generation'", "auto", "v1", "v2"]),
    ({"generation": "v2", "modal_sandbox_kwargs": {"gpu": "T4"}}, ["GPU"]),
    ({"modal_sandbox_kwargs": []}, ["'modal_sandbox_kwargs'"]),
    ({"modal_sandbox_kwargs": {"cpus": 1}}, ["'cpus'", "'cpu'"]),
    ({"modal_sandbox_kwargs": {"cpu": -1}}, ["'cpu'", "above 0"]),
    ({"modal_sandbox_kwargs": {"cpu": [2, 1]}}, ["'cpu'"]),
    ({"modal_sandbox_kwargs": {"memory": "1G"}}, ["'memory'"]),
    ({"modal_sandbox_kwargs": {"gpu": "A100:x"}}, ["'gpu'"]),
    ({"modal_sandbox_kwargs": {"workdir": "srv"}}, ["'workdir'"]),
    ({"modal_sandbox_kwargs": {"timeout": 5}}, ["'timeout'", "deployment_timeout"]),
    ({"modal_sandbox_kwargs": {"volumes": {}}}, ["'volumes'", "not supported"]),
    ({"modal_sandbox_kwargs": {"block_network": True, "cidr_allowlist": []}}, ["'block_network'"]),
    ({"modal_sandbox_kwargs": {"env": {"SWEREX_AUTH_TOKEN": "x"}}}, ["'SWEREX_AUTH_TOKEN'"]),
    ({"modal_sandbox_kwargs": {"tags": {"crex-id": "x"}}}, ["'tags'"]),
    ({"modal_sandbox_kwargs": {"encrypted_ports": [0]}}, ["'encrypted_ports'"]),
    ({"ca_file": "/no/such/file"}, ["'ca_file'"]),
    ({"profile": "none-such"}, ["none-such"]),
], ids=str)
def test_configs_that_are_refused(host, config, words):
    host.refused("CONFIG", *words, **config)


@pytest.mark.parametrize("environment, code, words", [
    ({"MODAL_TOKEN_ID": None, "MODAL_TOKEN_SECRET": None}, "AUTHENTICATION", ["MODAL_TOKEN_ID", "modal token new"]),
    ({"MODAL_TOKEN_SECRET": None}, "CONFIG", ["MODAL_TOKEN_SECRET"]),
    ({"MODAL_SERVER_URL": "http://api.modal.example"}, "CONFIG", ["https"]),
    ({"MODAL_SERVER_URL": "ftp://api.modal.example"}, "CONFIG", ["server_url"]),
], ids=str)
def test_environments_that_are_refused(host, environment, code, words):
    host.refused(code, *words, environment=environment)


@pytest.mark.parametrize("lines, words", [
    ("COPY a /a\n", ["begin with FROM"]),
    ("# nothing\n", ["no FROM"]),
    ("FROM x\nCOPY ../a /a\n", ["outside"]),
    ("FROM x\nCOPY none-such /a\n", ["none-such"]),
    ("FROM x\nCOPY $FILE /a\n", ["variables"]),
    ("FROM x\nCOPY context /a\n", [".dockerignore"]),
    ("FROM x\nCOPY linked /a\n", ["link"]),
], ids=str)
def test_dockerfiles_that_are_refused(host, tmp_path, lines, words):
    (tmp_path / "Dockerfile").write_text(lines)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/.dockerignore").write_text("secret\n")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/link").symlink_to("/etc/passwd")
    host.refused("CONFIG", "'image'", *words, image=str(tmp_path / "Dockerfile"))


def test_profiles(host, tmp_path):
    variables = host.fixture.variables
    profiles = tmp_path / "modal.toml"
    profiles.write_text(f"""[other]
token_id = "ak-wrong"
token_secret = "as-wrong"
[work]
token_id = '{variables["MODAL_TOKEN_ID"]}'
token_secret = "{variables["MODAL_TOKEN_SECRET"]}" # the right one
server_url = "{variables["MODAL_FIXTURE_CLEAR_URL"]}"
environment = "main"
active = true
""")
    of_file = {"MODAL_TOKEN_ID": None, "MODAL_TOKEN_SECRET": None, "MODAL_SERVER_URL": None,
               "MODAL_CONFIG_PATH": str(profiles)}
    driver = host.new(environment=of_file)
    driver.start(timeout=60)
    driver.stop()
    other = {**of_file, "MODAL_PROFILE": "other", "MODAL_SERVER_URL": variables["MODAL_FIXTURE_CLEAR_URL"]}
    host.fails(host.new(environment=other), "AUTHENTICATION", "UNAUTHENTICATED")
    host.fails(host.new(environment={**of_file, "MODAL_ENVIRONMENT": "none-such"}), "DEPLOYMENT_STARTUP", "none-such")
    profiles.write_text("[work]\ntoken_id = \"ak-x\ntoken_secret = \"hush\"\n")
    host.refused("CONFIG", "modal.toml:2", environment=of_file)


# ---- Modal refuses, or isn't there ----


@pytest.mark.parametrize("tls", [False, True])
def test_a_wrong_token(host, tls):
    secret = "as-" + "5" * 22
    driver = host.driver(tls, MODAL_TOKEN_SECRET=secret)
    driver.new(type="modal")
    failed = host.fails(driver, "AUTHENTICATION", "MODAL_TOKEN_ID")
    assert secret not in str(failed) + str(failed.steps)


def test_nobody_listens(host):
    driver = host.driver(MODAL_SERVER_URL="http://127.0.0.1:9")
    driver.new(type="modal")
    host.fails(driver, "CONNECTION", "127.0.0.1:9")


def test_a_certificate_that_nobody_vouches_for(host):
    driver = host.driver(True, SSL_CERT_FILE=None)
    driver.new(type="modal")
    host.fails(driver, "CONNECTION", "not trusted", "ca_file")


@pytest.mark.parametrize("method", ["AuthTokenGet", "AppGetOrCreate", "EnvironmentGetOrCreate", "ImageGetOrCreate",
                                    "SecretGetOrCreate", "SandboxCreate", "SandboxGetTunnels"])
@pytest.mark.parametrize("effect", [{"fail": {"status": 14, "message": "a moment"}}, {"drop_reply": True},
                                    {"cut": {"bytes": 0}}, {"cut": {"bytes": 30}}, {"fail": {"status": 8}}], ids=str)
def test_what_passes_is_not_seen(host, method, effect):
    host.fixture.fault(method, **effect)
    driver = host.started()
    assert len(host.fixture.live()) == 1
    calls = [call for call in host.fixture.state()["calls"] if call["method"] == method]
    if method != "AuthTokenGet":
        assert len({call["headers"]["x-idempotency-key"] for call in calls[:2]}) == 1
    driver.stop()


@pytest.mark.parametrize("status, code", [(3, "DEPLOYMENT_STARTUP"), (7, "AUTHENTICATION"), (9, "DEPLOYMENT_STARTUP"),
                                          (14, "CONNECTION"), (13, "CONNECTION")])
def test_what_stays_is_told(host, status, code):
    host.fixture.fault("SandboxCreate", times=4, fail={"status": status, "message": "50%25 Ärger\nand more"})
    failed = host.fails(host.new(generation="v1"), code, "SandboxCreate", "Ärger and more")
    assert failed.message.count("\n") == 0


def test_a_token_is_renewed(host):
    host.fixture.ask("/control/auth", {"lifetime": 2})
    try:
        driver = host.new(generation="v2", image="debian:12")
        host.fixture.fault("ImageGetOrCreate", latency_ms=2500)
        driver.start(timeout=60)
        driver.stop()
    finally:
        host.fixture.ask("/control/auth", {"lifetime": 1200})
    assert host.fixture.methods().count("AuthTokenGet") >= 2


def test_a_token_that_is_refused_is_renewed_once(host):
    host.fixture.fault("SandboxCreateV2", fail={"status": 16, "message": "expired"})
    host.started(generation="v2").stop()
    host.fixture.fault("SandboxCreateV2", times=9, fail={"status": 16, "message": "expired"})
    host.fails(host.new(generation="v2"), "AUTHENTICATION", "expired")


# ---- the sandbox ----


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_a_sandbox_that_dies_at_once(host, tmp_path, generation):
    program = tmp_path / "swerex-remote"
    subprocess.run(["gcc", "-static", "-x", "c", "-o", program, "-"], check=True, text=True, input="""
        #include <stdio.h>
        int main(void) { puts("on stdout"); fputs("its last words\\n", stderr); return 7; }""")
    driver = host.new(generation=generation, server_path=str(program))
    host.fails(driver, "DEPLOYMENT_STARTUP", "exit code 7", "on stdout", "its last words", seconds=15)


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_a_sandbox_that_ends_later(host, generation):
    driver = host.started(generation=generation)
    host.fixture.ask("/control/terminate", {})
    alive = until(lambda: (seen := driver.is_alive())["is_alive"] is False and seen)
    assert "it was terminated" in alive["message"] and "listening on" in alive["message"]
    driver.stop()


def test_modal_ends_it_when_its_time_is_over(host):
    driver = host.started(deployment_timeout=2)
    until(lambda: host.fixture.live() == [])
    assert "deployment_timeout" in driver.is_alive()["message"]


def test_a_sandbox_that_never_answers(host):
    host.fixture.fault("SandboxGetTunnels", times=9, omit=["tunnels"])
    host.fails(host.new(startup_timeout=1.5), "DEPLOYMENT_STARTUP", "startup_timeout", seconds=5)
    host.fixture.ask("/control/reset", {})
    host.fixture.fault("SandboxCreate", latency_ms=4000)
    host.fails(host.new(startup_timeout=1), "DEPLOYMENT_STARTUP", "startup_timeout", seconds=10)


# ---- cuts: at every request, in every way ----


def requests_of_a_start(host, generation):
    host.started(generation=generation).stop()
    host.fixture.ask("/control/reset", {})
    host.started(generation=generation)
    methods = host.fixture.methods()
    host.drivers[-1].stop()
    host.fixture.ask("/control/reset", {})
    return methods


@pytest.mark.parametrize("generation, tls, effect", [
    *[(*mode, {"drop_reply": True}) for mode in MODES],
    *[(*mode, effect) for mode in (("v1", False), ("v2", True))
      for effect in ({"cut": {"bytes": 0}}, {"fail": {"status": 9}}, {"cut": {"bytes": 45}})],
], ids=str)
def test_cut_for_good_at_every_request(host, generation, tls, effect):
    """From the Nth request on nothing works while the start is under way; the taking back may succeed."""
    methods = requests_of_a_start(host, generation)
    assert len(methods) >= 6
    for skip in range(len(methods)):
        driver = host.new(tls, generation=generation)
        # tries of one call: one and three repeats; its reply is lost each time
        host.fixture.fault("*", skip=skip, times=4, **effect)
        try:
            driver.start(timeout=60)
            driver.stop()
        except Failed as failed:
            assert failed.left_behind is None, failed.left_behind
        assert host.fixture.live() == [], f"cut at request {skip}"
        host.fixture.ask("/control/reset", {})
        driver.end()


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_called_off_at_every_request(host, generation):
    methods = requests_of_a_start(host, generation)
    for skip in range(len(methods)):
        driver = host.new(generation=generation)
        host.fixture.fault("*", skip=skip, latency_ms=600)
        failed = host.fails(driver, "CANCELLED", cancel_after=0.3, seconds=4)
        assert failed.seconds < 4 * SLOW
        host.fixture.ask("/control/reset", {})
        driver.end()


@pytest.mark.parametrize("generation, tls", MODES)
def test_called_off_while_the_creations_reply_is_on_its_way(host, generation, tls):
    method = "SandboxCreate" + ("V2" if generation == "v2" else "")
    driver = host.new(tls, generation=generation)
    host.fixture.fault(method, drop_reply=True, times=1)
    host.fixture.fault(method, latency_ms=700, times=1)
    host.fails(driver, "CANCELLED", cancel_after=0.5)
    host.fixture.ask("/control/reset", {})
    driver.start(timeout=60)
    assert driver.output("echo another one") == "another one\n"
    driver.stop()


def test_stop_finds_out_later_what_it_could_not(host):
    """Modal is away when the start fails and while it is taken back; a later stop ends what was made."""
    driver = host.new()
    # the creation's own four tries, then four of taking back
    host.fixture.fault("SandboxCreate", drop_reply=True, times=8)
    with pytest.raises(Failed) as failed:
        driver.start(timeout=60)
    assert failed.value.code == "CONNECTION"
    assert "whether a sandbox was made is not known" in failed.value.left_behind
    assert len(host.fixture.live()) == 1
    driver.stop()
    assert host.fixture.live() == []


def test_a_stop_that_fails_may_be_called_again(host):
    driver = host.started()
    host.fixture.fault("SandboxTerminate", times=99, fail={"status": 14})
    with pytest.raises(Failed) as failed:
        driver.stop()
    assert failed.value.code == "CONNECTION" and "may still run" in failed.value.message
    assert len(host.fixture.live()) == 1
    host.fixture.ask("/control/reset", {})
    driver.stop()
    assert host.fixture.live() == []


def test_a_key_that_is_not_honoured(host):
    """Should a repeated creation make a second sandbox, both are found by their tag."""
    driver = host.new(generation="v1")
    host.fixture.fault("SandboxCreate", drop_reply=True, times=4)
    host.fixture.fault("SandboxCreate", reply={"sandbox_id": "sb-" + "x" * 22})
    with pytest.raises(Failed):
        driver.start(timeout=60)
    assert host.fixture.live() == []


def test_a_name_that_our_own_sandbox_has(host):
    """Its creation's reply was lost, and a repeat is told that the name is taken."""
    driver = host.new(modal_sandbox_kwargs={"name": "box"})
    host.fixture.fault("SandboxCreate", drop_reply=True)
    host.fixture.fault("SandboxCreate", times=2, fail={"status": 6, "message": "a sandbox named box runs already"})
    host.fails(driver, "DEPLOYMENT_STARTUP", "named box")
    assert host.fixture.state()["created"] > 0


# ---- secrets ----


def test_secrets_stay_out_of_sight(host):
    driver = host.started()
    token = host.fixture.variables["MODAL_TOKEN_SECRET"]
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert token not in lines
    assert "auth-token" not in "".join(line for line in lines.splitlines() if ".swerex-remote" in line)
    host.fixture.fault("SandboxTerminate", times=99, fail={"status": 9, "message": f"you said {token}"})
    with pytest.raises(Failed) as failed:
        driver.stop()
    assert token not in failed.value.message and "***" in failed.value.message
    host.fixture.ask("/control/reset", {})
    driver.stop()

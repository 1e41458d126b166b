"""Starts that fail, are cut anywhere, or are called off: each has its error, and leaves nothing."""

import pytest
from conftest import Failed, until

# The requests of a start, in their order (one look at the sandbox, with polls at 1); what comes after is the server's.
STEPS = ["sandbox.create", "sandbox.get", "process.execute", "files.folder", "files.upload", "session.create",
         "session.exec", "sandbox.preview-url"]


def failing(driver, **start):
    with pytest.raises(Failed) as failed:
        driver.start(**{"timeout": 60, **start})
    assert failed.value.left_behind is None, failed.value.left_behind
    return failed.value


def test_the_steps_are_these(host, daytona):
    host.started()
    kinds = daytona.kinds()
    assert kinds[: len(STEPS)] == STEPS
    assert set(kinds[len(STEPS) :]) == {"preview"}


# ---- what a network does once is not noticed ----


@pytest.mark.parametrize("way", ["before", "after", "during"])
@pytest.mark.parametrize("kind", STEPS)
def test_a_connection_that_breaks_once(host, daytona, kind, way):
    daytona.fault(kind, cut=way)
    driver = host.started()
    assert driver.output("echo hi") == "hi\n"
    assert len(daytona.live()) == 1
    driver.stop()
    assert daytona.live() == []


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("kind", STEPS)
def test_a_gateway_that_refuses_once(host, daytona, kind, status):
    daytona.fault(kind, status=status, headers={"Retry-After": "0"})
    driver = host.started()
    assert len(daytona.live()) == 1
    driver.stop()


def test_retry_after_is_kept(host, daytona):
    daytona.fault("sandbox.create", status=429, headers={"Retry-After": "2"})
    driver = host.new()
    driver.start(timeout=60)
    assert driver.seconds >= 2


def test_only_one_server_where_the_reply_was_lost(host, daytona):
    daytona.fault("session.exec", cut="after")
    host.started()
    (session,) = daytona.sandbox()["sessions"]
    assert len(session["commands"]) == 1


# ---- what fails for good ----


@pytest.mark.parametrize("way", ["before", "after", "during"])
@pytest.mark.parametrize("kind", STEPS)
def test_cut_for_good(host, daytona, kind, way):
    daytona.fault(kind, cut=way, times=0)
    # what was carried out though its every reply is lost is found: a sandbox by its label, a command in its session
    found = kind in ("sandbox.create", "session.exec") and way != "before"
    driver = host.new()
    if found:
        driver.start(timeout=60)
        driver.stop()
    else:
        error = failing(driver)
        assert error.code in ("CONNECTION", "DEPLOYMENT_STARTUP")
    assert daytona.live() == []


@pytest.mark.parametrize("kind", STEPS)
def test_silence_at_each_step(host, daytona, kind):
    daytona.fault(kind, drop="after", times=0)
    driver = host.new()
    assert failing(driver, timeout=1.5).code == "DEADLINE"
    assert driver.seconds < 6
    assert daytona.live() == []


@pytest.mark.parametrize("kind", [*STEPS, "preview"])
def test_called_off_at_each_step(host, daytona, kind):
    daytona.fault(kind, drop="before" if kind == "preview" else "after", times=0)
    driver = host.new()
    error = failing(driver, cancel_after=1.5)
    assert error.code == "CANCELLED"
    assert driver.seconds < 6
    assert daytona.live() == []


@pytest.mark.parametrize("kind", STEPS)
def test_refused_at_each_step(host, daytona, kind):
    daytona.fault(kind, status=400, body={"statusCode": 400, "message": ["no such\nthing"]}, times=0)
    error = failing(host.new())
    assert error.code == "DEPLOYMENT_STARTUP"
    assert "HTTP 400" in error.message and "no such" in error.message and error.message.startswith("daytona: ")
    assert daytona.live() == []


@pytest.mark.parametrize("n", range(1, 9))
def test_an_outage_from_the_nth_request_on(host, daytona, n):
    """It lasts longer than any call is repeated, and into the deletion."""
    daytona.fault("*", nth=n, cut="after", times=8)
    failing(host.new())
    assert daytona.live() == []


def test_an_outage_that_does_not_end(host, daytona):
    """Even the deletion fails: it is said what is left, and another stop takes it away."""
    daytona.fault("*", nth=2, cut="before", times=0)
    driver = host.new()
    with pytest.raises(Failed) as failed:
        driver.start(timeout=1)
    (left,) = daytona.live()
    assert f"sandbox {left} may still be there" in failed.value.left_behind
    daytona.no_faults()
    driver.stop()
    assert daytona.live() == []


def test_a_late_creation_is_found(host, daytona):
    """The request arrives when its sender has given up."""
    daytona.fault("sandbox.create", delayMs=1500)
    driver = host.new()
    assert failing(driver, timeout=1).code == "DEADLINE"
    until(lambda: any(call["kind"] == "sandbox.create" and call.get("status") == 200 for call in daytona.state()["calls"]))
    assert daytona.live() == []


def test_a_deletion_is_repeated(host, daytona):
    driver = host.started()
    daytona.fault("sandbox.delete", status=409, times=2, body={"message": "Sandbox state change in progress"})
    driver.stop()
    assert daytona.kinds().count("sandbox.delete") == 3
    assert daytona.live() == []


@pytest.mark.parametrize("way", ["before", "after", "during"])
def test_a_deletion_whose_reply_is_lost(host, daytona, way):
    driver = host.started()
    daytona.fault("sandbox.delete", cut=way)
    driver.stop()
    assert daytona.live() == []


def test_a_deletion_that_fails_is_told_and_can_be_repeated(host, daytona):
    driver = host.started()
    daytona.fault("sandbox.delete", status=500, times=0)
    with pytest.raises(Failed) as failed:
        driver.stop(timeout=2)
    assert "may still be there" in failed.value.message and daytona.live()[0] in failed.value.message
    daytona.no_faults()
    driver.stop()
    assert daytona.live() == []


# ---- sandboxes that come to nothing ----


def test_a_build_that_fails(host, daytona):
    daytona.ask("POST", "/settings", {"polls": 3})
    error = failing(host.new(image="fixture/build-fails:1"))
    assert error.code == "DEPLOYMENT_STARTUP"
    assert "build_failed: Failed to build" in error.message and "Step 1/1" in error.message
    assert daytona.live() == []
    assert daytona.kinds()[-1] == "sandbox.delete"


def test_a_sandbox_that_does_not_start(host, daytona):
    error = failing(host.new(image="fixture/start-fails"))
    assert error.code == "DEPLOYMENT_STARTUP" and "no free slot" in error.message
    assert daytona.live() == []


def test_a_sandbox_that_is_never_ready(host, daytona):
    daytona.ask("POST", "/settings", {"polls": 1000000})
    error = failing(host.new(startup_timeout=1))
    assert error.code == "DEPLOYMENT_STARTUP" and "startup_timeout" in error.message and "starting" in error.message
    assert daytona.live() == []


def test_a_server_that_dies_at_once(host, daytona):
    """Another static program in its place, which knows none of its options."""
    error = failing(host.new(server_path="/sbin/ldconfig"), timeout=30)
    assert error.code == "DEPLOYMENT_STARTUP"
    assert "has ended with exit code" in error.message and "it printed" in error.message
    assert daytona.live() == []


def test_a_server_that_does_not_answer(host, daytona):
    daytona.fault("preview", status=502, times=0)
    error = failing(host.new(runtime_timeout=1.5))
    assert error.code == "DEPLOYMENT_STARTUP" and "it printed" in error.message and "listening on" in error.message
    assert daytona.live() == []


def test_a_sandbox_that_dies_while_it_starts(host, daytona):
    daytona.fault("preview", status=502, times=0)
    driver = host.new(runtime_timeout=30)
    driver.send("start", timeout=60)
    until(lambda: "preview" in daytona.kinds())
    daytona.ask("POST", "/kill", {"id": daytona.sandbox()["id"]})
    with pytest.raises(Failed) as failed:
        driver.receive("start")
    assert failed.value.code == "DEPLOYMENT_STARTUP" and "the sandbox has ended" in failed.value.message
    assert daytona.live() == []


def test_an_old_toolbox_without_bulk_upload(host, daytona):
    daytona.fault("files.upload", status=404)
    driver = host.started()
    assert driver.output("echo hi") == "hi\n"
    assert daytona.kinds().count("files.upload") == 3


# ---- who may ----


def test_a_bad_key(host, daytona):
    driver = host.driver(DAYTONA_API_KEY="dtn_not_this_one")
    driver.new(type="daytona")
    error = failing(driver)
    assert error.code == "AUTHENTICATION" and "DAYTONA_API_KEY" in error.message
    assert "not_this_one" not in error.message
    assert daytona.kinds() == ["sandbox.create"]


def test_a_refusal_that_repeats_the_key(host, daytona):
    daytona.fault("sandbox.create", status=401, body={"message": f"bad key {daytona.key}"})
    error = failing(host.new())
    assert error.code == "AUTHENTICATION" and daytona.key not in error.message


def test_a_forbidden_creation(host, daytona):
    daytona.fault("sandbox.create", status=403, body={"message": "write:sandboxes is missing"})
    error = failing(host.new())
    assert error.code == "PERMISSION" and "write:sandboxes" in error.message


def test_a_jwt_needs_its_organization(host, daytona):
    jwt = daytona.environment["DAYTONA_FIXTURE_JWT"]
    driver = host.driver(DAYTONA_API_KEY=jwt)
    driver.new(type="daytona")
    assert failing(driver).code in ("AUTHENTICATION", "PERMISSION", "DEPLOYMENT_STARTUP")
    driver.new(type="daytona", organization_id=daytona.environment["DAYTONA_FIXTURE_ORGANIZATION_ID"])
    driver.start(timeout=60)
    assert driver.output("echo hi") == "hi\n"


def test_the_configs_key_wins(host, daytona):
    driver = host.driver(DAYTONA_API_KEY="wrong", DAYTONA_API_URL="http://127.0.0.1:1/api")
    driver.new(type="daytona", api_key=daytona.key, api_url=daytona.environment["DAYTONA_API_URL"], host_timeout=None)
    driver.start(timeout=60)
    driver.resume(state=driver.detach())
    driver.stop()
    assert daytona.live() == []


def test_nobody_there(host):
    driver = host.driver(DAYTONA_API_URL="http://127.0.0.1:1/api")
    driver.new(type="daytona")
    assert failing(driver).code == "CONNECTION"


@pytest.mark.parametrize("body, code", [("<html>hello</html>", "PROTOCOL"), ({"name": "no id"}, "PROTOCOL")])
def test_an_answer_of_something_else(host, daytona, body, code):
    daytona.fault("sandbox.create", status=200, body=body, times=0)
    assert failing(host.new()).code == code


def test_a_list_in_its_older_form(host, daytona):
    daytona.fault("sandbox.create", cut="before", times=0)
    daytona.fault("sandbox.list", status=200, body=[], times=0)
    assert failing(host.new()).code == "CONNECTION"


@pytest.mark.parametrize("config, field", [
    ({"imag": "x"}, "imag"), ({"image": ""}, "image"), ({"image": "debian\nRUN x"}, "image"), ({"port": None}, "port"),
    ({"port": 70000}, "port"), ({"env": {"A": 1}}, "env"), ({"labels": []}, "labels"), ({"cpu": -1}, "cpu"),
    ({"container_timeout": 0}, "container_timeout"), ({"api_key": "sesame open"}, "api_key"), ({"public": 1}, "public"),
    ({"api_url": "ftp://x"}, "api_url"), ({"ca_file": "/none"}, "ca_file"), ({"target": "a\r\nb"}, "target"),
    ({"snapshot": ""}, "snapshot"),
])
def test_configs_that_are_wrong(host, daytona, config, field):
    with pytest.raises(Failed) as failed:
        host.new(**config)
    assert failed.value.code == "CONFIG" and f"'{field}'" in failed.value.message
    assert "sesame" not in failed.value.message
    assert daytona.kinds() == []


def test_no_key_at_all(host, daytona):
    driver = host.driver(DAYTONA_API_KEY=None)
    with pytest.raises(Failed) as failed:
        driver.new(type="daytona")
    assert failed.value.code == "CONFIG" and "DAYTONA_API_KEY" in failed.value.message


# ---- many ----


def test_many_at_once(host, daytona):
    driver = host.driver()
    seconds = driver.parallel(config={"type": "daytona"}, n=12)
    assert len(seconds) == 12
    assert daytona.live() == []
    assert daytona.kinds().count("sandbox.create") == 12

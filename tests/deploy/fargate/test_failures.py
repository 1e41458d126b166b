"""What a Fargate deployment does when something goes wrong: a typed error that says what to do, and nothing that runs on."""

import pathlib
import re
import subprocess

import pytest

from conftest import SLOW, Failed, until

TRIES = 5  # of one call when AWS or the way there fails (src/deploy/fargate/aws.c)

# ---- configs ----


@pytest.mark.parametrize("config, words", [
    ({"imag": "x"}, ["unknown field 'imag'", "'image'"]),
    ({"image": "a b"}, ["'image'"]),
    ({"port": 70000}, ["'port'"]),
    ({"cluster_name": "a b"}, ["'cluster_name'"]),
    ({"execution_role_prefix": "x" * 48}, ["'execution_role_prefix'", "47"]),
    ({"task_definition_prefix": "a.b"}, ["'task_definition_prefix'"]),
    ({"security_group_prefix": "sg-x"}, ["'security_group_prefix'"]),
    ({"log_group": "a b"}, ["'log_group'"]),
    ({"fargate_args": {"vcpu": 1}}, ["unknown 'vcpu'", "vcpus"]),
    ({"fargate_args": {"vcpus": 3}}, ["no tasks of 3 vCPU"]),
    ({"fargate_args": {"cpu": "256", "memory": "4096"}}, ["no tasks of 0.25 vCPU with 4096 MiB"]),
    ({"fargate_args": {"memory": "much"}}, ["fargate_args.memory"]),
    ({"fargate_args": {"ephemeral_storage": 10}}, ["21 to 200"]),
    ({"ingress_cidr": "everybody"}, ["'ingress_cidr'"]),
    ({"ingress_cidr": "192.0.2.7/33"}, ["'ingress_cidr'"]),
    ({"server_url": "http://example.com/x"}, ["'server_url'", "https"]),
    ({"server_sha256": "abc"}, ["'server_sha256'"]),
    ({"execution_role_arn": "me"}, ["'execution_role_arn'"]),
    ({"architecture": "vax"}, ["'architecture'", "aarch64"]),
    ({"region": "here!"}, ["'region'"]),
    ({"endpoint_url": "localhost"}, ["'endpoint_url'"]),
    ({"container_timeout": 0}, ["'container_timeout'"]),
])
def test_configs_that_are_refused(host, config, words):
    host.refused(*words, **config)


def test_a_region_is_needed(host):
    host.refused("'region'", "AWS_REGION", environment={"AWS_REGION": None, "AWS_DEFAULT_REGION": None})


# ---- who we are ----


def check(host, **environment):
    driver = host.driver(**environment)
    return driver.check(type="fargate")


NOBODY = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


def test_the_environment(host):
    assert "by the environment; region us-east-1" in check(host)
    with pytest.raises(Failed) as failed:
        check(host, AWS_SECRET_ACCESS_KEY=None)
    assert failed.value.code == "AUTHENTICATION" and "AWS_SECRET_ACCESS_KEY is not" in failed.value.message


def test_profiles(host, tmp_path):
    key, secret = (host.fixture.variables[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    (tmp_path / "credentials").write_text(
        f"# ours\n[default]\naws_access_key_id = AKIAWRONG\naws_secret_access_key=wrong\n[work]\naws_access_key_id={key}\n"
        f"  aws_secret_access_key = nested\naws_secret_access_key =  {secret}  \n[half]\naws_access_key_id = x\n")
    (tmp_path / "config").write_text("[profile work]\nregion = us-west-2\ns3 =\n  region = nested\n[profile sso]\n"
                                     "sso_start_url = https://example.com\nregion = us-east-1\n")
    files = {**NOBODY, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    bare = {**files, "AWS_REGION": None, "AWS_DEFAULT_REGION": None}
    assert "by a profile; region us-west-2" in check(host, AWS_PROFILE="work", **bare)
    for profile, words in (("half", "only one of"), ("sso", "export-credentials"), ("none", "no AWS profile 'none'"),
                           (None, "wrong")):
        with pytest.raises(Failed) as failed:
            check(host, AWS_PROFILE=profile, **files)
        assert failed.value.code == "AUTHENTICATION" and words in failed.value.message, failed.value.message
    driver = host.new(environment=files, profile="work")
    driver.start(timeout=60)
    assert driver.output("echo hi") == "hi\n"


def test_nobody(host):
    with pytest.raises(Failed) as failed:
        check(host, **NOBODY)
    assert failed.value.code == "CONFIG"
    assert "AWS_ACCESS_KEY_ID" in failed.value.message and "AWS_PROFILE" in failed.value.message
    host.fails(host.new(environment=NOBODY), "CONFIG", "no AWS credentials")


def container(host, path="credentials"):
    return {**NOBODY, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{host.fixture.variables['CREX_FARGATE_CONTROL']}/control/{path}"}


def test_a_containers_role(host):
    assert "by the container's role" in check(host, **container(host))
    driver = host.new(environment=container(host))
    driver.start(timeout=60)
    assert driver.output("echo hi") == "hi\n"
    for environment, words in ((container(host, "nothing"), "status 404"),
                               ({**NOBODY, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/"}, "https"),
                               ({**NOBODY, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost:1@example.com/"}, "https")):
        with pytest.raises(Failed) as failed:
            check(host, **environment)
        assert failed.value.code == "AUTHENTICATION" and words in failed.value.message


def test_an_instances_role(host):
    there = {**NOBODY, "AWS_EC2_METADATA_DISABLED": None,
             "AWS_EC2_METADATA_SERVICE_ENDPOINT": host.fixture.variables["CREX_FARGATE_CONTROL"] + "/"}
    assert "by the instance's role" in check(host, **there)
    there["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:9"
    with pytest.raises(Failed) as failed:
        check(host, **there)
    assert "no AWS credentials" in failed.value.message and failed.value.seconds < 5 * SLOW


def test_an_expired_token_is_renewed_where_it_can_be(host):
    driver = host.new(environment=container(host))
    host.fixture.fault("expired-token", skip=3)
    driver.start(timeout=60)
    assert host.fixture.hits() == [1]
    assert driver.output("echo hi") == "hi\n"
    host.fixture.fault("expired-token", times=0)
    with pytest.raises(Failed) as failed:
        driver.stop()
    assert failed.value.code == "AUTHENTICATION" and "expired" in failed.value.message
    host.fixture.no_faults()
    driver.stop()


@pytest.mark.parametrize("service", ["iam", "ecs", "ec2", "logs"])
def test_an_expired_token(host, service):
    host.fixture.fault("expired-token", service=service)
    host.fails(host.new(), "AUTHENTICATION", "expired")


def test_a_wrong_secret(host):
    error = host.fails(host.new(environment={"AWS_SECRET_ACCESS_KEY": "x" * 40}), "AUTHENTICATION", "SignatureDoesNotMatch",
                       "clock")
    assert "x" * 40 not in str(error)
    host.fails(host.new(environment={"AWS_ACCESS_KEY_ID": "AKIA" + "X" * 16}), "AUTHENTICATION", "InvalidClientTokenId")
    host.fails(host.new(environment={"AWS_SESSION_TOKEN": "bogus"}), "AUTHENTICATION", "InvalidClientTokenId")


@pytest.mark.parametrize("action", ["iam:GetRole", "iam:PassRole", "ecs:CreateCluster", "ecs:RunTask", "ec2:DescribeVpcs",
                                    "ec2:CreateSecurityGroup", "logs:CreateLogGroup", "ec2:DescribeNetworkInterfaces"])
def test_a_missing_right(host, action):
    host.fixture.fault("deny", action=action)
    host.fails(host.new(), "PERMISSION", "lacks the right", action)


# ---- what passes, what doesn't ----


def first_calls(host):
    """The calls of a first start up to the server, and of the stop after it."""
    driver = host.started()
    started = len(host.fixture.calls())
    driver.stop()
    until(host.fixture.is_empty)
    calls = host.fixture.calls()
    host.fixture.reset()
    return calls, started


@pytest.mark.parametrize("fault", [{"kind": "cut", "when": "before"}, {"kind": "cut", "when": "after"},
                                   {"kind": "server-error"}, {"kind": "throttle"}], ids=lambda f: f["kind"] + f.get("when", ""))
def test_what_passes_is_not_seen(host, fault):
    """Every third call fails once, then the next ones, so that all have after three starts."""
    for skip in range(3):
        driver = host.new()
        for at in range(skip, 18, 3):
            host.fixture.fault(skip=at, **fault)
        driver.start(timeout=60)
        assert driver.output("echo hi") == "hi\n"
        host.fixture.no_faults()
        driver.stop()
        until(host.fixture.is_empty)
        assert len(host.fixture.state()["tasks"]) == 1
        host.fixture.reset()


@pytest.mark.parametrize("when", ["before", "after"])
def test_cut_for_good_at_every_request(host, when):
    calls, started = first_calls(host)
    first = calls.index("ecs:RunTask")
    for at in range(started) if when == "after" else range(first, first + 1):
        driver = host.new()
        host.fixture.fault("cut", when=when, skip=at, times=TRIES)
        try:
            driver.start(timeout=60)
        except Failed as error:
            assert error.code == "CONNECTION" and error.left_behind is None, (calls[at], str(error))
        else:
            # the number of looks at a task differs from start to start
            assert calls[at] in ("ecs:DescribeTasks", "ec2:DescribeNetworkInterfaces"), calls[at]
            host.fixture.no_faults()
            driver.stop()
        until(host.fixture.is_empty)
        host.fixture.reset()
        assert driver.end() == 0


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_called_off_at_every_request(host, how):
    calls, started = first_calls(host)
    first = calls.index("ecs:RunTask")
    for at in range(started) if how == "deadline" else range(first, first + 2):
        driver = host.new()
        host.fixture.fault("hang", skip=at, seconds=1.2)
        arguments = {"timeout": 0.9} if how == "deadline" else {"timeout": 60, "cancel_after": 0.9}
        try:
            driver.start(**arguments)
        except Failed as error:
            assert error.code == ("DEADLINE" if how == "deadline" else "CANCELLED"), (calls[at], str(error))
            assert error.left_behind is None and error.seconds < 6 * SLOW
        else:
            assert calls[at] in ("ecs:DescribeTasks", "ec2:DescribeNetworkInterfaces"), calls[at]
            driver.stop()
        until(host.fixture.is_empty)
        host.fixture.reset()
        assert driver.end() == 0


@pytest.mark.parametrize("list_fails", [False, True])
def test_a_task_whose_answer_was_lost(host, list_fails):
    """RunTask has arrived, its answer never does: it is found by its mark, or by its client token."""
    host.fixture.fault("cut", when="after", operation="RunTask", times=TRIES)
    if list_fails:
        host.fixture.fault("deny", action="ecs:ListTasks")
    host.fails(host.new(), "CONNECTION", "RunTask")
    tasks = host.fixture.state()["tasks"]
    assert len(tasks) == 1 and tasks[0]["desired"] == "STOPPED"
    assert ("ecs:ListTasks" in host.fixture.calls()) and host.fixture.calls().count("ecs:RunTask") == TRIES + list_fails


def test_a_stop_that_fails_may_be_called_again(host):
    driver = host.started()
    host.fixture.fault("cut", operation="StopTask", times=TRIES)
    with pytest.raises(Failed) as failed:
        driver.stop()
    assert failed.value.code == "CONNECTION"
    assert len(host.fixture.live()) == 1
    driver.stop()
    until(host.fixture.is_empty)


def test_a_failed_start_that_could_not_be_taken_back_is_told_and_made_good(host):
    driver = host.new()
    host.fixture.fault("cut", when="after", operation="DescribeTasks", times=TRIES)
    host.fixture.fault("cut", operation="StopTask", times=TRIES)
    with pytest.raises(Failed) as failed:
        driver.start(timeout=60)
    assert failed.value.left_behind
    driver.start(timeout=60)
    assert driver.output("echo hi") == "hi\n"
    driver.stop()
    until(host.fixture.is_empty)
    assert [task["desired"] for task in host.fixture.state()["tasks"]] == ["STOPPED", "STOPPED"]


def test_throttled_without_end(host):
    host.fixture.fault("throttle", operation="CreateCluster", times=0)
    host.fails(host.new(), "DEADLINE", "throttles ecs:CreateCluster", timeout=4)


def test_nobody_listens(host):
    host.fails(host.new(environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}), "CONNECTION", "nothing listens")


def test_a_new_role_is_not_known_at_once(host):
    host.fixture.fault("role-delay", calls=2)
    driver = host.started()
    assert host.fixture.calls().count("ecs:RegisterTaskDefinition") == 3
    assert driver.output("echo hi") == "hi\n"


# ---- tasks that don't come up ----


def test_no_capacity(host):
    host.fixture.fault("run-failure", reason="RESOURCE:MEMORY", detail="none left")
    host.fails(host.new(), "DEPLOYMENT_STARTUP", "RESOURCE:MEMORY", "none left")
    host.fixture.fault("capacity")
    host.fails(host.new(), "DEPLOYMENT_STARTUP", "Capacity is unavailable")


def test_an_image_that_cant_be_pulled(host):
    host.fails(host.new(image="no-such-image:1"), "DEPLOYMENT_STARTUP", "CannotPullContainerError", "no-such-image:1")


def test_an_image_without_a_server(host):
    host.fails(host.new(image="crex-fargate-bare:latest"), "DEPLOYMENT_STARTUP", "server_url", "exit code 120",
               "Essential container in task exited", "no swerex-remote in the image")


def test_a_task_that_takes_too_long(host):
    host.fixture.fault("slow", state="PENDING", seconds=20)
    host.fails(host.new(startup_timeout=2), "DEPLOYMENT_STARTUP", "startup_timeout")


def test_a_task_that_ends_later(host):
    driver = host.started()
    with pytest.raises(Failed):
        driver.execute(command="kill -TERM 1")
    until(lambda: not driver.is_alive()["is_alive"])
    said = until(lambda: (m := driver.is_alive()["message"]) and "the task stopped" in m and m)
    assert "Essential container in task exited" in said


def test_secrets_stay_out_of_sight(host):
    driver = host.started()
    secret = host.fixture.variables["AWS_SECRET_ACCESS_KEY"]
    token = None
    for process in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            found = re.search(rb"SWEREX_AUTH_TOKEN=([0-9a-f]{32})", process.read_bytes())
        except OSError:
            continue
        token = token or (found and found.group(1).decode())
    assert token
    seen = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    said = "\n".join(driver.steps) + driver.logs() + driver.output("tr '\\0' ' ' < /proc/1/cmdline; env")
    for place in (seen, said):
        assert secret not in place and token not in place

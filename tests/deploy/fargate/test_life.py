"""What a Fargate deployment does when all goes well, and what is left of it then."""

import hashlib
import http.server
import json
import os
import signal
import ssl
import subprocess
import threading

import pytest

from conftest import CIDR, SERVERS, Failed, until

FIRST = ["iam:GetRole", "iam:CreateRole", "iam:AttachRolePolicy", "logs:CreateLogGroup", "ecs:CreateCluster",
         "ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", "ec2:DescribeVpcs", "ec2:DescribeSubnets",
         "ec2:DescribeSecurityGroups", "ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress", "ecs:RunTask"]
NEXT = ["iam:GetRole", "iam:ListAttachedRolePolicies", "logs:CreateLogGroup", "ecs:CreateCluster",
        "ecs:DescribeTaskDefinition", "ec2:DescribeVpcs", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ecs:RunTask"]


def test_whole_life(host, tmp_path):
    driver = host.started()
    assert any(step.startswith("Task is RUNNING") for step in driver.steps)
    assert any("Log: https://us-east-1.console.aws.amazon.com/cloudwatch" in step for step in driver.steps)
    assert host.fixture.calls()[:len(FIRST)] == FIRST
    assert driver.output("echo $((6 * 7))") == "42\n"
    assert driver.execute(command="echo hi")["output"] == "hi\n"
    driver.write(path="/tmp/a", content="text")
    assert driver.read(path="/tmp/a") == "text"
    assert driver.is_alive()["is_alive"]
    assert "server: compatible with" in until(driver.logs)
    state = host.fixture.state()
    task, = state["tasks"]
    assert task["tags"]["origin"] == "crex" and task["tags"]["crex-owner"]
    assert not set(task["tags"]["crex-owner"]) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 +-=._:/@")
    group, = state["security_groups"].values()
    assert group["ingress"] == [{"from": 8880, "to": 8880, "cidrs": [CIDR]}]
    driver.stop()
    until(host.fixture.is_empty)
    with pytest.raises(Failed) as failed:
        driver.is_alive()
    assert failed.value.code == "DEPLOYMENT_NOT_STARTED"


def test_the_next_start_finds_what_is_there(host):
    host.started().stop()
    before = len(host.fixture.calls())
    driver = host.started()
    assert host.fixture.calls()[before:before + len(NEXT)] == NEXT
    driver.stop()
    driver.start(timeout=60)
    assert driver.output("echo again") == "again\n"


def test_another_config_gets_a_definition_and_a_group_of_its_own(host):
    host.started().stop()
    driver = host.started(port=8881, fargate_args={"vcpus": "0.5", "memory": 1024, "ephemeral_storage": "30"})
    assert driver.output("echo hi") == "hi\n"
    state = host.fixture.state()
    assert len(state["task_definitions"]) == 2 and len(state["security_groups"]) == 2 and len(state["roles"]) == 1


def test_over_tls(tls_host):
    driver = tls_host.started()
    assert driver.output("echo hi") == "hi\n"
    driver.stop()
    stranger = tls_host.new(environment={"AWS_CA_BUNDLE": None})
    tls_host.fails(stranger, "CONNECTION", "is not trusted", "AWS_CA_BUNDLE")


def test_private_address_and_named_network(host):
    first = host.started()
    state = host.fixture.state()
    group, = state["security_groups"]
    first.stop()
    driver = host.started(assign_public_ip=False, log_group=None)
    assert "ec2:DescribeNetworkInterfaces" not in host.fixture.calls()[len(state["calls"]):]
    assert driver.output("echo hi") == "hi\n"
    with pytest.raises(Failed) as failed:
        driver.logs()
    assert failed.value.code == "UNSUPPORTED"
    driver.stop()
    before = len(host.fixture.calls())
    subnet = json.loads(subprocess.run(
        ["/usr/bin/python3", "-c", "import boto3, json; print(json.dumps([s['SubnetId'] for s in "
         "boto3.client('ec2', endpoint_url=__import__('os').environ['AWS_ENDPOINT_URL']).describe_subnets()['Subnets']]))"],
        env=host.fixture.environment(), capture_output=True, text=True, check=True).stdout)[0]
    driver = host.started(subnets=[subnet], security_groups=[group])
    assert driver.output("echo hi") == "hi\n"
    assert not [call for call in host.fixture.calls()[before + 1:] if call in ("ec2:DescribeVpcs", "ec2:DescribeSubnets")]


def test_a_private_address_is_let_in_from_where_this_machine_sends(host):
    driver = host.started(assign_public_ip=False, ingress_cidr=None)
    group, = host.fixture.state()["security_groups"].values()
    cidr, = group["ingress"][0]["cidrs"]
    assert cidr.endswith("/32") and not cidr.startswith("0.")
    assert driver.output("echo hi") == "hi\n"


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, answer, context=None, host="127.0.0.1"):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        super().__init__((host, 0), Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.daemon_threads = True
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.port = self.server_address[1]


def test_only_this_machine_is_let_in(host):
    said = [b"203.0.113.9\n"]
    server = Server(lambda path: (200, said[0]))
    asks = {"ingress_cidr": None, "address_url": f"http://127.0.0.1:{server.port}/"}
    host.started(**asks).stop()
    said[0] = b"2001:DB8:0::1"
    host.started(**asks).stop()
    groups = host.fixture.state()["security_groups"].values()
    assert sorted(group["ingress"][0]["cidrs"][0] for group in groups) == ["2001:db8::1/128", "203.0.113.9/32"]
    said[0] = b"<html>log in first</html>"
    host.fails(host.new(**asks), "CONNECTION", "ingress_cidr", "did not tell an address")
    server.shutdown()
    server.server_close()
    host.fails(host.new(**asks), "CONNECTION", "ingress_cidr")


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    """An https address of the server's program, reached from a container."""
    folder = tmp_path_factory.mktemp("download")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=crex", "-keyout",
                    folder / "key", "-out", folder / "cert"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:@SECLEVEL=0")  # busybox's wget knows few
    context.load_cert_chain(folder / "cert", folder / "key")
    program = (SERVERS / "swerex-remote").read_bytes()
    over = threading.Event()

    def answer(path):
        if path == "/slow":
            over.wait(30)
        return (200, program) if path == "/swerex-remote" else (404, b"")

    server = Server(answer, context, "0.0.0.0")
    yield server.port, hashlib.sha256(program).hexdigest()
    over.set()
    server.shutdown()


def gateway(host):
    driver = host.started()
    route = driver.output("ip route 2>/dev/null | sed -n 's/^default via //p'").split()
    driver.stop()
    return route[0]


def test_the_server_is_fetched(host, download):
    port, digest = download
    here = gateway(host)
    url = f"https://{here}:{port}/swerex-remote"
    bare = {"image": "crex-fargate-bare:latest", "server_url": url}
    driver = host.started(server_sha256=digest, **bare)
    assert driver.output("echo hi; echo $CREX_SERVER_URL") == "hi\n\n"
    driver.stop()
    host.fails(host.new(server_sha256="0" * 64, **bare), "DEPLOYMENT_STARTUP", "server_sha256", "exit code 123")
    host.fails(host.new(image=bare["image"], server_url=url + "x"), "DEPLOYMENT_STARTUP", "could not be fetched")
    slow = {"image": bare["image"], "server_url": f"https://{here}:{port}/slow"}
    host.fails(host.new(runtime_timeout=3, **slow), "DEPLOYMENT_STARTUP", "can't be reached", "ingress_cidr", seconds=15)
    host.fails(host.new(**slow), "CANCELLED", seconds=5, cancel_after=2.5)


def test_detach_and_resume(host):
    driver = host.started(host_timeout=None)
    driver.output("echo kept > /tmp/kept")
    state = driver.detach()
    assert driver.end() == 0
    assert len(host.fixture.live()) == 1
    other = host.driver()
    other.resume(state=state)
    assert other.execute(command="cat /tmp/kept")["output"] == "kept\n"
    assert "server" in other.logs()
    other.stop()
    until(host.fixture.is_empty)


def test_a_program_that_ends_takes_its_task_along(host):
    driver = host.started()
    assert driver.end() == 0
    until(host.fixture.is_empty)


def test_gc_takes_what_a_killed_program_left(host):
    lost, kept, detached = host.started(), host.started(), host.started(host_timeout=None)
    state = detached.detach()
    assert detached.end() == 0
    os.kill(lost.pid, signal.SIGKILL)
    lost.process.wait()
    assert len(host.fixture.live()) == 3
    other = host.driver()
    assert other.gc(type="fargate") == 1
    assert other.steps[0].startswith("fargate task ")
    until(lambda: len(host.fixture.live()) == 2)
    assert kept.output("echo hi") == "hi\n"
    other.resume(state=state)
    assert other.execute(command="echo hi")["output"] == "hi\n"


def test_a_sandbox_whose_program_is_gone_ends_itself(host):
    driver = host.started(host_timeout=1)
    os.kill(driver.pid, signal.SIGKILL)
    driver.process.wait()
    until(host.fixture.is_empty, 10)


def test_a_sandbox_ends_when_its_time_is_over(host):
    driver = host.started(container_timeout=3)
    until(host.fixture.is_empty, 15)
    said = driver.is_alive()
    assert not said["is_alive"] and "the task stopped" in said["message"]


def test_teardown_leaves_nothing_of_ours_and_all_of_others(host):
    theirs = """
import boto3, os
def client(name): return boto3.client(name, endpoint_url=os.environ['AWS_ENDPOINT_URL'])
client('ecs').create_cluster(clusterName='theirs', tags=[{'key': 'origin', 'value': 'theirs'}])
client('iam').create_role(RoleName='theirs', Path='/crex/', AssumeRolePolicyDocument='{}')
client('logs').create_log_group(logGroupName='theirs')
vpc = client('ec2').describe_vpcs()['Vpcs'][0]['VpcId']
client('ec2').create_security_group(GroupName='theirs', Description='theirs', VpcId=vpc)
client('ecs').register_task_definition(family='theirs-0123456789abcdef', containerDefinitions=[
    {'name': 'theirs', 'image': 'theirs', 'memory': 128}])
"""
    subprocess.run(["/usr/bin/python3", "-c", theirs], env=host.fixture.environment(), check=True, capture_output=True)
    running, other = host.started(), host.driver()
    host.fixture.fault("slow", state="DEPROVISIONING", seconds=1.5)  # what it uses can't be deleted until then
    assert other.gc(type="fargate", all=True) == 6
    state = host.fixture.state()
    assert list(state["clusters"]) == ["theirs"]
    assert list(state["roles"]) == ["theirs"]
    assert list(state["log_groups"]) == ["theirs"]
    assert [group["name"] for group in state["security_groups"].values()] == ["theirs"]
    assert list(state["task_definitions"]) == ["theirs-0123456789abcdef:1"]
    assert other.gc(type="fargate", all=True) == 0, other.steps
    running.stop()
    assert host.started().output("echo hi") == "hi\n"


def test_many_at_once(host):
    driver = host.driver()
    driver.send("parallel", config=host.config(), n=20)
    assert len(driver.receive("parallel")) == 20
    until(host.fixture.is_empty, 60)
    state = host.fixture.state()
    assert len(state["tasks"]) == 20
    assert len(state["roles"]) == len(state["security_groups"]) == len(state["clusters"]) == 1

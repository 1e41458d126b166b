#!/usr/bin/python3
"""Measures Fargate deployments against the stand-in's own latency, and prints a table (Markdown).

    bench/fargate.py [--quick]

Needs a Docker engine (tests/engines/start docker), script/setup fargate, the driver (ninja -C build/plain) and a static server
(script/build). The floor is a bare client that sends the same signed requests in the same order and decides nothing; the pairs are
taken in turn and figures are medians, from the start to the reply to the first command in a session. What a start makes only once is
there before. Then a hundred at once, twice: none may be lost, and the second hundred may not make the driver grow. Exit status 1
when a target was missed."""

import http.client
import json
import pathlib
import re
import statistics
import sys
import tempfile
import time
import urllib.parse
import uuid

import botocore.auth
import botocore.awsrequest
import botocore.credentials

TREE = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TREE / "tests/deploy/fargate"), str(TREE / "tests/deploy")]

from conftest import Fixture, Host, until  # noqa: E402

MANY = 100
TARGET = 1.2
GROWTH_KIB = 4096
QUERY = {"iam": "2010-05-08", "ec2": "2016-11-15"}
TARGETS = {"ecs": "AmazonEC2ContainerServiceV20141113", "logs": "Logs_20140328"}


class Bare:
    """The requests of a start and no more; what is named in them is read from the requests of one of ours."""

    def __init__(self, fixture):
        self.url = fixture.variables["AWS_ENDPOINT_URL"]
        where = urllib.parse.urlsplit(self.url)
        self.connection = http.client.HTTPConnection(where.hostname, where.port)
        self.key = botocore.credentials.Credentials(fixture.variables["AWS_ACCESS_KEY_ID"],
                                                    fixture.variables["AWS_SECRET_ACCESS_KEY"])

    def ask(self, service, operation, **fields):
        if service in QUERY:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urllib.parse.urlencode({"Action": operation, "Version": QUERY[service], **fields})
        else:
            headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{TARGETS[service]}.{operation}"}
            body = json.dumps(fields)
        request = botocore.awsrequest.AWSRequest("POST", self.url + "/", headers, body.encode())
        botocore.auth.SigV4Auth(self.key, service, "us-east-1").add_auth(request)
        self.connection.request("POST", "/", body.encode(), dict(request.headers))
        answer = self.connection.getresponse()
        text = answer.read().decode()
        return text if service in QUERY else json.loads(text)

    def live(self, state):
        role, = state["roles"]
        cluster, = state["clusters"]
        family = next(iter(state["task_definitions"])).split(":")[0]
        group, facts = next(iter(state["security_groups"].items()))
        self.ask("iam", "GetRole", RoleName=role)
        self.ask("iam", "ListAttachedRolePolicies", RoleName=role)
        self.ask("logs", "CreateLogGroup", logGroupName="/ecs/swe-rex-deployment")
        self.ask("ecs", "CreateCluster", clusterName=cluster)
        self.ask("ecs", "DescribeTaskDefinition", taskDefinition=family)
        vpc = re.search(r"<vpcId>(.*?)</vpcId>", self.ask("ec2", "DescribeVpcs", **{
            "Filter.1.Name": "isDefault", "Filter.1.Value.1": "true"})).group(1)
        subnets = re.findall(r"<subnetId>(.*?)</subnetId>", self.ask("ec2", "DescribeSubnets", **{
            "Filter.1.Name": "vpc-id", "Filter.1.Value.1": vpc}))
        self.ask("ec2", "DescribeSecurityGroups", **{"Filter.1.Name": "group-name", "Filter.1.Value.1": facts["name"]})
        network = {"subnets": subnets, "securityGroups": [group], "assignPublicIp": "ENABLED"}
        task = self.ask(
            "ecs", "RunTask", cluster=cluster, taskDefinition=family, launchType="FARGATE", clientToken=str(uuid.uuid4()),
            networkConfiguration={"awsvpcConfiguration": network}, overrides={"containerOverrides": [
                {"name": "swerex", "environment": [{"name": "SWEREX_AUTH_TOKEN", "value": "t"}]}]})["tasks"][0]["taskArn"]
        while (shown := self.ask("ecs", "DescribeTasks", cluster=cluster, tasks=[task])["tasks"][0])["lastStatus"] != "RUNNING":
            assert shown["lastStatus"] != "STOPPED", shown
        interface = next(detail["value"] for detail in shown["attachments"][0]["details"] if detail["name"] == "networkInterfaceId")
        address = re.search(r"<publicIp>(.*?)</publicIp>", self.ask("ec2", "DescribeNetworkInterfaces", **{
            "NetworkInterfaceId.1": interface})).group(1)
        self.use(address)
        return cluster, task

    def use(self, address):
        def post(path, body=None):
            server.request("POST" if body else "GET", path, json.dumps(body) if body else None,
                           {"X-API-Key": "t", "Content-Type": "application/json"})
            answer = server.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            return json.loads(text)

        while True:
            server = http.client.HTTPConnection(address, 8880)
            try:
                post("/is_alive")
                break
            except ConnectionRefusedError:
                time.sleep(0.005)
        post("/create_session", {"session_type": "bash"})
        assert post("/run_in_session", {"action_type": "bash", "command": "echo hi"})["output"] == "hi\n"


def seconds_of(function):
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def bare_start(fixture):
    bare, state = Bare(fixture), fixture.state()
    taken, (cluster, task) = seconds_of(lambda: bare.live(state))
    bare.ask("ecs", "StopTask", cluster=cluster, task=task)
    until(fixture.is_empty, 60)
    return taken


def our_start(driver, fixture):
    def live():
        driver.start(timeout=60)
        assert driver.output("echo hi") == "hi\n"

    taken, _ = seconds_of(live)
    driver.stop()
    until(fixture.is_empty, 60)
    return taken


def resident(driver, which):
    status = pathlib.Path(f"/proc/{driver.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(which))


def main():
    quick = "--quick" in sys.argv[1:]
    pairs = 3 if quick else 9
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        fixture = Fixture(pathlib.Path(folder))
        try:
            host = Host(fixture)
            driver = host.new()
            our_start(driver, fixture)
            floor, ours = [], []
            for _ in range(pairs):
                floor.append(bare_start(fixture))
                ours.append(our_start(driver, fixture))
            ratio = statistics.median(ours) / statistics.median(floor)
            print("| what | ours | floor | ratio | target |\n|---|---|---|---|---|")
            print(f"| fargate: start to first command | {statistics.median(ours) * 1000:.0f} ms | "
                  f"{statistics.median(floor) * 1000:.0f} ms | {ratio:.2f}x | {TARGET}x |")
            missed += ["start"] if ratio > TARGET else []
            rounds = []
            many = host.driver()
            for _ in range(2):
                many.send("parallel", config=host.config(startup_timeout=900, runtime_timeout=300), n=MANY)
                ready = many.receive("parallel", 900)
                assert len(ready) == MANY
                rounds.append((max(ready), resident(many, "VmHWM")))
                until(fixture.is_empty, 300)
            print(f"| fargate: {MANY} at once, the last one's first command | {rounds[0][0]:.1f} s, {rounds[1][0]:.1f} s | "
                  f"{statistics.median(floor) * MANY:.1f} s one by one | | |")
            print("| fargate: memory of the program with them: at most in the first, the second hundred | "
                  f"{rounds[0][1] / 1024:.1f} MiB, {rounds[1][1] / 1024:.1f} MiB | | | flat |")
            missed += ["memory"] if rounds[1][1] - rounds[0][1] > GROWTH_KIB else []
            tasks = len(fixture.state()["tasks"])
            lost = len(fixture.live()) + abs(tasks - 2 * MANY - 2 * pairs - 1)
            print(f"| fargate: tasks lost of {tasks} | {lost} | | | 0 |")
            missed += ["tasks"] if lost else []
            for one in host.drivers:
                one.end()
        finally:
            fixture.end()
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


sys.exit(main())

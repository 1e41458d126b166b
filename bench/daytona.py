#!/usr/bin/python3
"""Measures daytona deployments against the stand-in's own latency, and prints a table (Markdown).

    bench/daytona.py [--quick]

Needs root, node (script/setup daytona), the driver (ninja -C build/plain) and a static server (script/build). The floor is a bare
client that sends the same requests in the same order and decides nothing; the pairs are taken in turn and figures are medians, from
the start to the reply to the first command in a session. Then a hundred at once, twice: none may be lost, and the second hundred may
not make the driver grow. Exit status 1 when a target was missed."""

import http.client
import json
import pathlib
import statistics
import sys
import tempfile
import time
import urllib.parse

TREE = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TREE / "tests/deploy/daytona"), str(TREE / "tests/deploy")]

from conftest import SERVERS, Daytona, Host, cannot_run  # noqa: E402

MANY = 100
TARGET = 1.2
GROWTH_KIB = 4096


class Bare:
    """The requests of a start and no more."""

    def __init__(self, daytona):
        self.url = urllib.parse.urlsplit(daytona.environment["DAYTONA_API_URL"])
        self.connection = http.client.HTTPConnection(self.url.hostname, self.url.port)
        self.authorization = {"Authorization": f"Bearer {daytona.key}"}

    def ask(self, method, path, body=None, headers=None):
        headers = {**self.authorization, **(headers or {})}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status < 300, (path, answer.status, text)
        return json.loads(text or "null")

    def post(self, path, body, headers=None):
        return self.ask("POST", path, json.dumps(body), {"Content-Type": "application/json", **(headers or {})})

    def upload(self, toolbox):
        edge = "bench"
        fields = [("files[0].path", "/tmp/b/swerex-remote"), ("files[0].file", (SERVERS / "swerex-remote").read_bytes())]
        body = b""
        for name, value in fields:
            file = '; filename="f"' if name.endswith("file") else ""
            value = value if isinstance(value, bytes) else value.encode()
            body += f'--{edge}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
        self.ask("POST", f"{toolbox}/files/bulk-upload", body + f"--{edge}--\r\n".encode(),
                 {"Content-Type": f"multipart/form-data; boundary={edge}"})

    def live(self):
        base = self.url.path
        one = self.post(f"{base}/sandbox", {"buildInfo": {"dockerfileContent": "FROM python:3.11\n"}})["id"]
        while self.ask("GET", f"{base}/sandbox/{one}")["state"] != "started":
            pass
        toolbox = f"/toolbox/{one}"
        self.post(f"{toolbox}/process/execute", {"command": "uname -m"})
        self.ask("POST", f"{toolbox}/files/folder?path=/tmp/b&mode=0700")
        self.upload(toolbox)
        self.post(f"{toolbox}/process/session", {"sessionId": "s"})
        command = "sh -c 'chmod 700 /tmp/b/swerex-remote; exec timeout 900 /tmp/b/swerex-remote --auth-token t'"
        self.post(f"{toolbox}/process/session/s/exec", {"command": command, "runAsync": True})
        preview = self.ask("GET", f"{base}/sandbox/{one}/ports/8000/preview-url")
        host = urllib.parse.urlsplit(preview["url"]).netloc
        headers = {"Host": host, "X-API-Key": "t", "x-daytona-preview-token": preview["token"]}
        while not self.answers(headers):
            time.sleep(0.005)
        self.post("/create_session", {"session_type": "bash"}, headers)
        said = self.post("/run_in_session", {"action_type": "bash", "command": "echo hi"}, headers)
        assert said["output"] == "hi\n"
        return f"{base}/sandbox/{one}"

    def answers(self, headers):
        self.connection.request("GET", "/is_alive", headers=headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status == 200


def seconds_of(function):
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def bare_start(daytona):
    bare = Bare(daytona)
    taken, path = seconds_of(bare.live)
    bare.ask("DELETE", path)
    return taken


def our_start(driver):
    def live():
        driver.start(timeout=60)
        assert driver.output("echo hi") == "hi\n"

    taken, _ = seconds_of(live)
    driver.stop()
    return taken


def resident(driver, which):
    status = pathlib.Path(f"/proc/{driver.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(which))


def main():
    if reason := cannot_run():
        print(f"no stand-in here: {reason}", file=sys.stderr)
        return 1
    pairs = 5 if "--quick" in sys.argv else 15
    with tempfile.TemporaryDirectory() as directory:
        daytona = Daytona(pathlib.Path(directory), "--polls", "0")
        try:
            driver = Host(daytona).driver()
            driver.new(type="daytona")
            bare_start(daytona), our_start(driver)
            floor, ours = zip(*[(bare_start(daytona), our_start(driver)) for _ in range(pairs)])
            floor, ours = statistics.median(floor), statistics.median(ours)
            rounds = []
            for _ in range(2):
                ready = max(driver.parallel(config={"type": "daytona"}, n=MANY))
                rounds.append((ready, resident(driver, "VmHWM"), resident(driver, "VmRSS")))
            lost = len(daytona.live())
            made = daytona.kinds().count("sandbox.create")
            driver.end()
        finally:
            daytona.end()
    print("| what | ours | floor | ratio | target |\n|---|---|---|---|---|")
    print(f"| daytona: start to first command | {ours * 1000:.0f} ms | {floor * 1000:.0f} ms | {ours / floor:.2f}x | {TARGET}x |")
    for ready, most, after in rounds:
        print(f"| daytona: {MANY} at once, the last one's first command | {ready:.1f} s | {MANY * floor:.1f} s one by one | | |")
        print(f"| its memory: at most, afterwards | {most / 1024:.1f} MiB, {after / 1024:.1f} MiB | | | |")
    print(f"| sandboxes left of {made} | {lost} | | | 0 |")
    grown = rounds[1][1] - rounds[0][1]
    return ours > TARGET * floor or lost > 0 or grown > GROWTH_KIB


sys.exit(main())

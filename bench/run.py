#!/usr/bin/env python3
"""Runs the floor programs and the server in one go and prints measured figures beside their floors and targets.

Called by script/bench and script/soak, which build first:
    run.py BENCH_DIR SERVER [--quick] [ROW ...]        the table (Markdown); only rows whose key is given
    run.py BENCH_DIR SERVER --soak [COMMANDS] [SESSIONS]
Figures are medians of one client on an idle machine. Exit status 1 when a target was missed (or, soaking, when memory
or descriptors grew).
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

TOKEN = "bench"
BULK = 16_900_000
COMMAND = json.dumps({"action_type": "bash", "command": "echo hi", "session": "default", "timeout": 30, "check": "silent"})
CREATE = json.dumps({"session": "s%d", "startup_timeout": 20})
CLOSE = json.dumps({"session": "s%d"})


def parse(text):
    return {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)", text)}


class Server:
    def __init__(self, binary, home, *args):
        self.log = open(home / "server.log", "w+")
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "SWEREX_AUTH_TOKEN": TOKEN,
                       "SWE_REX_LOG_STREAM_LEVEL": "ERROR"}
        began = time.perf_counter()
        self.process = subprocess.Popen([binary, "--host", "127.0.0.1", "--port", "0", *args], stdout=self.log, stderr=self.log, env=environment)
        while True:
            self.log.seek(0)
            found = re.search(r"127\.0\.0\.1:(\d+)", self.log.read())
            if found:
                break
            if self.process.poll() is not None or time.perf_counter() - began > 20:
                sys.exit("the server does not start")
            time.sleep(0.0002)
        self.port = int(found[1])
        self.start_ms = (time.perf_counter() - began) * 1000
        # The first process may be a guardian: its one child serves. Memory is that of both.
        first = self.process.pid
        self.pids = [first, *map(int, pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    def status(self, field):
        texts = [pathlib.Path(f"/proc/{pid}/status").read_text() for pid in self.pids]
        return sum(int(re.search(rf"{field}:\s+(\d+)", text)[1]) for text in texts)

    def fds(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids)

    def reset_peak(self):
        for pid in self.pids:
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def stop(self):
        self.process.terminate()
        status = self.process.wait(30)
        self.log.close()
        if status != 0:
            sys.exit(f"the server ended with {status}")


class Bench:
    def __init__(self, directory, binary, home, quick):
        self.directory = pathlib.Path(directory)
        self.home = home
        self.scale = 10 if quick else 1
        self.server = Server(binary, home)
        self.rows = []
        self.missed = []

    def tool(self, name, *args):
        environment = {**os.environ, "HOME": str(self.home)}
        return parse(subprocess.run([self.directory / name, *map(str, args)], check=True, capture_output=True, text=True, env=environment).stdout)

    def client(self, *args, port=None):
        return self.tool("client", port or self.server.port, TOKEN, *args)

    def floor_http(self, body_bytes, *args):
        """The same client and the same request against the bare stack."""
        with subprocess.Popen([self.directory / "floor_http", str(body_bytes)], stdout=subprocess.PIPE, text=True) as process:
            port = int(parse(process.stdout.readline())["port"])
            result = self.client(*args, port=port)
            process.kill()
        return result

    def row(self, what, value, unit, floor=None, target_ratio=None, target=None, upstream=""):
        limit = floor * target_ratio if target_ratio else target
        ratio = f"{value / floor:.2f}x" if floor else ""
        stated = (f"<= {target_ratio:g}x" if target_ratio else f"<= {target:g} {unit}") if limit is not None else ""
        ok = "" if limit is None else "yes" if value <= limit else "NO"
        if ok == "NO":
            self.missed.append(what)
        self.rows.append((what, f"{value:.4g} {unit}", f"{floor:.4g} {unit}" if floor else "", ratio, stated, ok, upstream))
        print(f"  {what}: {self.rows[-1][1]} {ratio} {ok}", file=sys.stderr, flush=True)


def row_echo(b):
    """Floors and measured things by turns, since on a shared machine both move by half from one second to the next."""
    rounds, n = 20, 5000 // b.scale // 20
    b.client("loop", "keep", 1, "POST", "/create_session", json.dumps({"session": "default", "startup_timeout": 20}))
    request = "POST", "/run_in_session", COMMAND
    taken = {"pty": [], "http": [], "http_new": [], "keep": [], "new": []}
    for _ in range(rounds):
        taken["pty"].append(b.tool("floor_pty", n)["median_us"])
        taken["http"].append(b.floor_http(150, "loop", "keep", n, *request)["median_us"])
        taken["http_new"].append(b.floor_http(150, "loop", "new", n, *request)["median_us"])
        for mode in ("keep", "new"):
            taken[mode].append(b.client("loop", mode, n, *request)["median_us"])
    ms = {key: statistics.median(values) / 1000 for key, values in taken.items()}
    floor = ms["pty"] + ms["http"]
    b.row("run_in_session `echo hi`, kept connection", ms["keep"], "ms", floor, 2, upstream="107 ms")
    b.row("run_in_session `echo hi`, new connection", ms["new"], "ms", floor, 3, upstream="107 ms")
    b.row("the same, beside a floor with a new connection too", ms["new"], "ms", ms["pty"] + ms["http_new"])


def row_create(b):
    n = 200 // b.scale
    floor = b.tool("floor_bash", n)["median_us"]
    value = b.client("loop", "keep", n, "POST", "/create_session", CREATE, "POST", "/close_session", CLOSE)["median_us"]
    b.row("create_session", value / 1000, "ms", floor / 1000, 2, upstream="359 ms")


def row_execute(b):
    n = 1000 // b.scale
    body = json.dumps({"command": ["true"]})
    floor = b.tool("floor_spawn", n)["median_us"] + b.floor_http(50, "loop", "keep", n, "POST", "/execute", body)["median_us"]
    value = b.client("loop", "keep", n, "POST", "/execute", body)["median_us"]
    b.row("execute `true`", value / 1000, "ms", floor / 1000, 1.3, upstream="1.66 ms")


def row_bulk(b):
    path = b.home / "bulk"
    path.write_text(("x" * 79 + "\n") * (BULK // 80))
    body = json.dumps({"action_type": "bash", "command": f"cat '{path}'", "session": "bulk"})
    b.client("loop", "keep", 1, "POST", "/create_session", json.dumps({"session": "bulk", "startup_timeout": 20}))
    floor = b.tool("floor_bulk", path, 5)["median_us"] + b.floor_http(BULK * 81 // 80, "loop", "keep", 5, "POST", "/run_in_session", body)["median_us"]
    value = b.client("loop", "keep", 5, "POST", "/run_in_session", body)["median_us"]
    b.row("16.9 MB of session output", value / 1e6, "s", floor / 1e6, 1.25, upstream="47.6 s")


def row_parallel(b):
    n = 256
    b.client("parallel", n, "POST", "/create_session", json.dumps({"session": "p%d", "startup_timeout": 60}))
    body = json.dumps({"action_type": "bash", "command": "sleep 1", "session": "p%d"})
    value = b.client("parallel", n, "POST", "/run_in_session", body)["total_us"]
    b.row("256 sessions, each `sleep 1`", value / 1e6, "s", target=1.3)
    b.client("parallel", n, "POST", "/close_session", json.dumps({"session": "p%d"}))
    value = b.client("parallel", 16, "POST", "/execute", json.dumps({"command": ["sleep", "1"]}))["total_us"]
    b.row("16 executions, each `sleep 1`", value / 1e6, "s", upstream="17.7 s")


def row_alive(b):
    n = 3000 // b.scale
    floor = b.floor_http(32, "loop", "new", n, "GET", "/is_alive", "")["median_us"]
    value = b.client("loop", "new", n, "GET", "/is_alive", "")["median_us"]
    b.row("is_alive, new connection", value / 1000, "ms", floor / 1000, upstream="0.41 ms")


def row_memory(b):
    fresh = Server(b.server.process.args[0], b.home)
    try:
        b.row("start to the port being known", fresh.start_ms, "ms", target=10)
        b.client("loop", "new", 10, "GET", "/is_alive", "", port=fresh.port)
        idle = fresh.status("VmRSS")
        b.row("resident, idle", idle / 1024, "MiB", target=3, upstream="66 MB")
        n = 128
        for name in "abcd":  # what the first sessions bring once is not what each brings
            b.client("loop", "keep", 1, "POST", "/create_session", json.dumps({"session": name, "startup_timeout": 20}), port=fresh.port)
        before = fresh.status("VmRSS")
        b.client("parallel", n, "POST", "/create_session", json.dumps({"session": "m%d", "startup_timeout": 60}), port=fresh.port)
        body = json.dumps({"action_type": "bash", "command": "echo hi", "session": "m%d"})
        b.client("parallel", n, "POST", "/run_in_session", body, port=fresh.port)
        b.row("resident, per session", (fresh.status("VmRSS") - before) / n, "KiB", target=64)
    finally:
        fresh.stop()


def row_upload(b):
    size = (1 << 30) // b.scale
    target = b.home / "uploaded"
    b.server.reset_peak()
    before = b.server.status("VmRSS")
    took = b.client("upload", size, target)["total_us"]
    if target.stat().st_size != size:
        sys.exit("the upload is not whole")
    b.row(f"upload of {size >> 20} MiB", took / 1e6, "s")
    b.row("memory that the upload added at its peak", (b.server.status("VmHWM") - before) / 1024, "MiB", target=2)
    target.unlink()


def row_remote(b):
    times = b.tool("round_trip", b.server.port, TOKEN, 3000 // b.scale)
    b.row("remote runtime: is_alive", times["alive_us"] / 1000, "ms", times["get_us"] / 1000, 1.2)
    b.row("remote runtime: execute `true`", times["execute_us"] / 1000, "ms", times["post_us"] / 1000, 1.2)


def row_hosts(b):
    n = 100
    ours, bare = (b.tool("hosts", b.server.port, TOKEN, n, kind) for kind in ("crex", "curl"))
    b.row(f"host program with {n} remote runtimes, resident", ours["after_kb"] / 1024, "MiB", bare["after_kb"] / 1024)
    b.row("each of the runtimes adds", (ours["after_kb"] - ours["before_kb"]) / n, "KiB", (bare["after_kb"] - bare["before_kb"]) / n)


ROWS = {"echo": row_echo, "create": row_create, "execute": row_execute, "bulk": row_bulk, "parallel": row_parallel, "alive": row_alive,
        "memory": row_memory, "upload": row_upload, "remote": row_remote,
        "hosts": row_hosts}


def table(b, wanted):
    for key in wanted or ROWS:
        ROWS[key](b)
    print("| what | swerex-remote | floor | ratio | target | met | SWE-ReX 1.4.0 |\n|---|---|---|---|---|---|---|")
    for row in b.rows:
        print("| " + " | ".join(row) + " |")
    if b.missed:
        print("\nmissed:", "; ".join(b.missed))
    return 1 if b.missed else 0


def soak(b, commands, sessions):
    def report(kind, done):
        print(f"{kind:>9} {done:>8}  resident {b.server.status('VmRSS'):>7} KiB  descriptors {b.server.fds():>4}  {time.strftime('%H:%M:%S')}", flush=True)
        return b.server.status("VmRSS"), b.server.fds()

    worst = 0
    b.client("loop", "keep", 1, "POST", "/create_session", json.dumps({"session": "default", "startup_timeout": 20}))
    for kind, total, requests in (("commands", commands, ("POST", "/run_in_session", COMMAND)),
                                  ("sessions", sessions, ("POST", "/create_session", CREATE, "POST", "/close_session", CLOSE))):
        # The first part fills the store of replies for repeated ids, which is bounded and meant to fill.
        b.client("loop", "keep", min(total, 5000) if kind == "commands" else min(total, 100), *requests)
        first = report(kind, 0)
        for part in range(10):
            b.client("loop", "keep", max(total // 10, 1), *requests)
            last = report(kind, (part + 1) * total // 10)
        grown = last[0] - first[0]
        print(f"{kind}: {grown:+} KiB, {last[1] - first[1]:+} descriptors")
        if grown > 512 or last[1] > first[1] + 2:
            worst = 1
    print("flat" if not worst else "NOT flat")
    return worst


def main():
    arguments = sys.argv[1:]
    quick = "--quick" in arguments
    soaking = "--soak" in arguments
    directory, binary, *rest = [item for item in arguments if not item.startswith("--")]
    with tempfile.TemporaryDirectory(prefix="crex-bench-") as scratch:
        home = pathlib.Path(scratch)
        (home / ".bashrc").write_text("PS1='BENCHPROMPT> '\nalias ll='ls -l'\n")
        b = Bench(directory, os.path.abspath(binary), home, quick)
        try:
            if soaking:
                numbers = [int(item) for item in rest]
                status = soak(b, *(numbers + [100_000, 10_000][len(numbers):]))
            else:
                status = table(b, rest)
        finally:
            b.server.stop()
    sys.exit(status)


if __name__ == "__main__":
    main()

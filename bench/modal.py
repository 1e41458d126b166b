#!/usr/bin/python3
"""Measures modal deployments against the stand-in, beside Modal's own npm client, and prints a table (Markdown).

    bench/modal.py [--quick]

Needs root, node (script/setup modal), the driver (ninja -C build/plain) and a static server (script/build). The floor is the npm
client on the same way (modal_floor.mjs), without the layer that brings the server: figures are medians in turn, from the start
to the reply to the first command in a session. Then a hundred at once, twice: none may be lost, and the second hundred may not make
the driver grow. Exit status 1 when a target was missed."""

import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TREE / "tests/deploy/modal"), str(TREE / "tests/deploy")]

from conftest import SERVERS, Fixture, Host  # noqa: E402

MANY = 100
TARGET = 1.2
GROWTH = 1.3


def floor(fixture, packages, times, generation):
    environment = {**os.environ, **fixture.variables, "CREX_MODAL_PACKAGES": packages,
                   "MODAL_SERVER_URL": fixture.variables["MODAL_FIXTURE_TLS_URL"],
                   "MODAL_SANDBOX_V2": "1" if generation == "v2" else "0"}
    server = str((SERVERS / "swerex-remote").resolve())
    lines = subprocess.run(["node", str(TREE / "bench/modal_floor.mjs"), server, str(times)], env=environment, check=True,
                           capture_output=True, text=True).stdout.split()
    return [float(line) for line in lines]


def ours(driver, times):
    taken = []
    for i in range(times + 1):
        began = time.perf_counter()
        driver.start(timeout=60)
        assert driver.output("echo hi") == "hi\n"
        if i:
            taken.append(time.perf_counter() - began)
        driver.stop()
    return taken


def peak(driver):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{driver.pid}/status").read_text())[1])


def main():
    rounds, times = (2, 5) if "--quick" in sys.argv else (5, 10)
    packages = subprocess.run([str(TREE / "tests/fixtures/modal/run"), "--packages"], check=True, capture_output=True,
                              text=True).stdout.strip()
    missed = False
    print("| what | ours | floor | ratio | target |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as state, contextlib.ExitStack() as ending:
        fixture = Fixture(pathlib.Path(state))
        ending.callback(fixture.end)
        host = Host(fixture)
        for generation in ("v1", "v2"):
            driver = host.new(tls=True, generation=generation)
            seen, bare = [], []
            for _ in range(rounds):
                bare += floor(fixture, packages, times, generation)
                seen += ours(driver, times)
            one, least = statistics.median(seen), statistics.median(bare)
            missed |= one > TARGET * least
            print(f"| modal, {generation}: start to first command | {one * 1000:.0f} ms | {least * 1000:.0f} ms "
                  f"| {one / least:.2f}x | {TARGET}x |")
        driver = host.driver()
        peaks = []
        for _ in range(2):
            began = time.perf_counter()
            driver.send("parallel", config={"type": "modal"}, n=MANY)
            ready = driver.receive("parallel")
            taken = time.perf_counter() - began
            peaks.append(peak(driver))
            missed |= len(ready) != MANY or fixture.live() != []
        missed |= peaks[1] > GROWTH * peaks[0]
        print(f"| modal: {MANY} at once, used and stopped | {taken:.1f} s | | | none lost |")
        print(f"| modal: the program's peak after one hundred, after two | {peaks[0] / 1024:.0f} MiB, {peaks[1] / 1024:.0f} MiB "
              "| | | flat |")
        for one in host.drivers:
            one.end()
    return missed


sys.exit(main())

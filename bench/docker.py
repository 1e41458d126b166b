#!/usr/bin/python3
"""Measures docker deployments against `docker run` of the same engine and image, and prints a table (Markdown).

    bench/docker.py [--quick]

Needs what tests/engines starts, the driver (ninja -C build/plain) and a static server (script/build). Each pair is taken in
turn, so that both see the same machine; figures are medians. Ours is from the start of the deployment to the reply to its
first command in a session; the floor is `run --rm IMAGE true`, to its end. `crex exec` stands beside the engine's exec. Exit status 1 when a target was missed."""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TREE / "tests/deploy"), str(TREE / "tests/engines")]

from driver import Driver  # noqa: E402
from engines import Engine, Engines  # noqa: E402

MANY = 50
CREX = str(TREE / "build/plain/src/cli/crex")
TARGET = 1.2


def seconds_of(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def one(driver, config):
    driver.new(**config)

    def live():
        driver.start(timeout=60)
        assert driver.output("echo hi") == "hi\n"

    taken = seconds_of(live)
    driver.stop()
    return taken


def plain_many(engine, image):
    runs = [subprocess.Popen([engine.client, "run", "--rm", image, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             env=engine.environment()) for _ in range(MANY)]
    for run in runs:
        run.communicate()
    return sum(run.returncode != 0 for run in runs)


def commands(engine, image, servers, pairs, rows):
    """`crex exec` against the engine's own exec, in one named sandbox."""
    with tempfile.TemporaryDirectory() as state:
        environment = {**engine.environment(), "CREX_SERVER_DIR": servers, "XDG_STATE_HOME": state}

        def crex(*args):
            subprocess.run([CREX, *args], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=120)

        crex("up", "bench", "--image", image, "--engine", engine.name, "--pull", "never")
        try:
            container = engine.ok("ps", "-q", "--latest")
            floor, ours = [], []
            for _ in range(pairs + 2):
                floor.append(seconds_of(lambda: engine.ok("exec", container, "/bin/true")))
                ours.append(seconds_of(lambda: crex("exec", "bench", "--", "/bin/true")))
            rows.append((f"crex exec against {engine.name} exec", statistics.median(ours), statistics.median(floor), 1))
        finally:
            crex("down", "bench")


def measure(engine, pairs, rows):
    servers = os.environ.get("CREX_SERVER_DIR", str(TREE / "dist"))
    driver = Driver({**engine.environment(), "CREX_SERVER_DIR": servers})
    for name in ("bookworm", "static"):
        image = f"localhost/crex-test/{name}"
        config = {"type": "docker", "container_runtime": engine.name, "image": image, "pull": "never"}
        one(driver, config)
        floor, ours = [], []
        for _ in range(pairs):
            floor.append(seconds_of(lambda: engine.ok("run", "--rm", image, "true")))
            ours.append(one(driver, config))
        rows.append((f"{engine.name}, {name}: start to first command", statistics.median(ours), statistics.median(floor), TARGET))
    commands(engine, "localhost/crex-test/bookworm", servers, pairs, rows)
    failed = []
    floor = seconds_of(lambda: failed.append(plain_many(engine, image)))
    ready = driver.parallel(config=config, n=MANY)
    what = f"{engine.name}, {name}: {MANY} at once, the last one's first command"
    rows.append((what + (f" ({failed[0]} of the plain runs failed)" if failed[0] else ""), max(ready), floor, TARGET))
    rows.append((f"{engine.name}, {name}: {MANY} at once, used and stopped", driver.seconds, floor, None))
    driver.end()


def main():
    engines = Engines(images=["bookworm", "static"])
    rows = []
    for name in ("docker", "podman"):
        if engines.skip(name):
            print(f"no {name} here: {engines.skip(name)}", file=sys.stderr)
        else:
            measure(Engine(name, engines.values), 5 if "--quick" in sys.argv else 15, rows)
    if not engines.found and not os.environ.get("CREX_ENGINES_KEEP"):
        engines.stop()
    print("| what | ours | floor | ratio | target |\n|---|---|---|---|---|")
    missed = False
    for what, ours, floor, target in rows:
        missed |= bool(target) and ours > target * floor
        print(f"| {what} | {ours * 1000:.0f} ms | {floor * 1000:.0f} ms | {ours / floor:.2f}x | {f'{target}x' if target else ''} |")
    return missed or not rows


sys.exit(main())

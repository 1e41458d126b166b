"""The library's deployments from Python, through the driver program (driver.c)."""

import json
import os
import pathlib
import subprocess
import threading

TREE = pathlib.Path(__file__).resolve().parents[2]


class Failed(Exception):
    """What a call of the library failed with: `code`, `message`, `seconds`, `steps`."""

    def __init__(self, reply):
        super().__init__(f"{reply['error']}: {reply['message']}")
        self.code, self.message = reply["error"], reply["message"]
        self.seconds, self.steps, self.left_behind = reply["seconds"], reply["steps"], reply["left_behind"]


class Driver:
    """One host program with one deployment. Each operation is a method: driver.start(timeout=3)."""

    def __init__(self, environment=None, before=()):
        program = os.environ.get("CREX_DRIVER", str(TREE / "build/plain/tests/deploy/deploy_driver"))
        self.process = subprocess.Popen([*before, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        self.pid = self.process.pid
        self.steps, self.seconds = [], 0.0

    def send(self, op, **fields):
        self.process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self.process.stdin.flush()

    def receive(self, op, seconds=180):
        watchdog = threading.Timer(seconds, self.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        assert line, f"the driver ended (status {self.process.wait(10)}) or took more than {seconds} seconds during {op}"
        reply = json.loads(line)
        self.steps, self.seconds = reply["steps"], reply["seconds"]
        if "error" in reply:
            raise Failed(reply)
        return reply["ok"]

    def __getattr__(self, op):
        def call(**fields):
            self.send(op, **fields)
            return self.receive(op)

        return call

    def new(self, **config):
        self.send("new", config=config)
        return self.receive("new")

    def output(self, command):
        said = self.run(command=command)
        assert said["exit_code"] == 0, said
        return said["output"]

    def kill(self):
        self.process.kill()

    def end(self):
        """Stops what there is, as a program that ends in good order does; its status must be 0."""
        self.process.stdin.close()
        try:
            status = self.process.wait(60)
        finally:
            self.process.kill()
            self.process.stdout.close()
        return status

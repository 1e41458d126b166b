#!/usr/bin/env python3
"""A tour of swerex-remote over HTTP: each step prints the request, the reply and the time that it took, and checks it.

Only Python's standard library is used, so that every request can be seen as it is: JSON in, JSON out, one key in a
header. The server listens on loopback, on a port that the kernel chose; its token comes from the environment, where
no process list shows it. Exit status 0 means that every step gave what it should.
"""

import http.client
import io
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile

COLOR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOR else text


def shorten(value, limit=200):
    """The value with long strings cut, for printing."""
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}... ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: shorten(item, limit) for key, item in value.items() if key not in ("traceback",) or item}
    return value


class Tour:
    def __init__(self, port, token):
        self.token = token
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.step_count = 0
        self.failures = []

    def say(self, text):
        self.step_count += 1
        print(f"\n{paint('1', f'{self.step_count:2}. {text}')}")

    def send(self, method, path, body=None, content_type="application/json", shown=None):
        headers = {"X-API-Key": self.token}
        if body is not None:
            headers["Content-Type"] = content_type
            headers["X-Request-ID"] = str(uuid.uuid4())
        print(f"    {paint('36', f'{method} {path}')} {shown or json.dumps(json.loads(body), ensure_ascii=False) if body else ''}")
        began = time.perf_counter()
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        data = response.read()
        took = (time.perf_counter() - began) * 1000
        reply = json.loads(data)
        print(f"    {paint('33' if response.status >= 400 else '32', response.status)} "
              f"{json.dumps(shorten(reply), ensure_ascii=False)}  {paint('2', f'{took:.2f} ms')}")
        return response.status, reply

    def post(self, endpoint, **fields):
        return self.send("POST", endpoint, json.dumps(fields))

    def run(self, command, **fields):
        return self.post("/run_in_session", action_type="bash", command=command, check="silent", **fields)

    def expect(self, condition, what):
        if not condition:
            self.failures.append(f"step {self.step_count}: {what}")
            print(f"    {paint('1;31', f'wrong: {what}')}")

    def expect_output(self, result, output, exit_code=0):
        status, reply = result
        self.expect(status == 200 and reply.get("output") == output and reply.get("exit_code") == exit_code,
                    f"expected exit code {exit_code} and {output!r}")

    def expect_exception(self, result, name):
        status, reply = result
        transfer = reply.get("swerexception", {})
        self.expect(status == 511 and transfer.get("class_path", "").endswith(f".{name}"), f"expected {name}")
        return transfer


def zipped(folder):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return stream.getvalue()


def form(boundary, content, target, unzip):
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="files.zip"\r\n\r\n'.encode()
    tail = "".join(f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'
                   for name, value in (("target_path", target), ("unzip", unzip)))
    return head + content + f"{tail}\r\n--{boundary}--\r\n".encode()


def tour(t, scratch):
    t.say("Is it there?")
    t.expect(t.send("GET", "/is_alive") == (200, {"is_alive": True, "message": ""}), "is_alive")

    t.say("A session: a bash that stays")
    t.expect(t.post("/create_session", session="default", startup_timeout=10)[0] == 200, "a session")
    t.expect_output(t.run(f"cd {scratch}; greeting=hello"), "")
    t.expect_output(t.run('echo "$greeting from $PWD"'), f"hello from {scratch}\n")

    t.say("A heredoc, with commands after it")
    t.expect_output(t.run("cat > poem.txt <<'EOF'\n\tTabs stay, and so does $HOME.\n\n  Blanks too.\nEOF\nwc -l < poem.txt && cat poem.txt"),
                    "3\n\tTabs stay, and so does $HOME.\n\n  Blanks too.\n")

    t.say("A server in the background, used from the next command")
    status, reply = t.run("python3 -u -m http.server 0 --bind 127.0.0.1 > server.log 2>&1 &\n"
                          "until port=$(grep -oE 'port [0-9]+' server.log); do sleep 0.05; done; port=${port#port }", timeout=20)
    t.expect(status == 200 and reply["exit_code"] == 0, "the background server starts")
    t.expect_output(t.run("curl -s http://127.0.0.1:$port/poem.txt | head -n 1"), "\tTabs stay, and so does $HOME.\n")
    status, reply = t.run("kill %1; wait 2>/dev/null; echo stopped")
    t.expect(status == 200 and reply["output"].endswith("stopped\n"), "the background server stops")

    t.say("A failing command: its code, or an exception if one asks for it")
    t.expect_output(t.run("ls /nowhere 2>/dev/null; (exit 3)"), "", 3)
    t.expect_exception(t.post("/run_in_session", action_type="bash", command="false", check="raise", error_msg="it failed"),
                       "NonZeroExitCodeError")

    t.say("A syntax error: nothing of the command has run")
    t.expect_exception(t.run("touch never\nif true; then echo"), "BashIncorrectSyntaxError")
    t.expect_output(t.run("ls never 2>/dev/null; true"), "")

    t.say("A timeout: what was printed so far comes with it; the interrupt brings the shell back")
    transfer = t.expect_exception(t.run("trap '' INT; echo working on it; sleep 1000", timeout=0.5), "CommandTimeoutError")
    t.expect("working on it" in transfer.get("message", ""), "the partial output is in the message")
    t.expect(t.post("/run_in_session", action_type="bash_interrupt", session="default")[0] == 200, "the interrupt")
    t.expect_output(t.run("trap - INT; echo \"$greeting again\""), "hello again\n")

    t.say("An interactive Python")
    prompt = {"expect": [">>> "], "is_interactive_command": True, "timeout": 20}
    t.expect(t.run("python3 -q", **prompt)[1].get("expect_string") == ">>> ", "a prompt")
    t.expect_output(t.run("print(6 * 7)", **prompt), "42\n")
    status, reply = t.run("quit()", is_interactive_quit=True, timeout=20)
    t.expect(status == 200, "Python is left")
    t.expect_output(t.run("echo back in bash"), "back in bash\n")

    t.say("Uploading a directory: one zip, unpacked on arrival, exec bits kept")
    source = pathlib.Path(scratch, "source")
    (source / "bin").mkdir(parents=True)
    (source / "README").write_text("A tool.\n")
    (source / "bin" / "tool").write_text('#!/bin/sh\necho "tool runs with $1"\n')
    (source / "bin" / "tool").chmod(0o755)
    boundary = uuid.uuid4().hex
    body = form(boundary, zipped(source), f"{scratch}/tools/mine", "true")
    result = t.send("POST", "/upload", body, f"multipart/form-data; boundary={boundary}",
                    shown=f"file=<{len(body)} bytes> target_path={scratch}/tools/mine unzip=true")
    t.expect(result == (200, {}), "the upload")
    t.expect_output(t.run("tools/mine/bin/tool care"), "tool runs with care\n")

    t.say("Files: written atomically, read in any encoding")
    t.expect(t.post("/write_file", path=f"{scratch}/new/dir/note.txt", content="na\u00efve caf\u00e9\n") == (200, {}), "written")
    t.expect(t.post("/read_file", path=f"{scratch}/new/dir/note.txt") == (200, {"content": "na\u00efve caf\u00e9\n"}), "read back")
    t.expect_output(t.run("printf 'caf\\351' > latin.txt"), "")
    t.expect(t.post("/read_file", path=f"{scratch}/latin.txt", encoding="latin-1") == (200, {"content": "caf\u00e9"}), "latin-1")
    t.expect_exception(t.post("/read_file", path="/nowhere/at/all"), "FileNotFoundError")

    t.say("One-off commands, beside any session")
    status, reply = t.post("/execute", command=["printf", "%s|", "no shell", "$HOME"])
    t.expect(status == 200 and reply["stdout"] == "no shell|$HOME|" and reply["exit_code"] == 0, "a list of arguments")
    status, reply = t.post("/execute", command="echo out; echo err >&2; exit 5", shell=True)
    t.expect(status == 200 and (reply["stdout"], reply["stderr"], reply["exit_code"]) == ("out\n", "err\n", 5), "a shell command")
    t.expect_exception(t.post("/execute", command="setsid sleep 1000 & sleep 1000", shell=True, timeout=0.3), "CommandTimeoutError")

    t.say("Closing")
    t.expect(t.post("/close_session", session="default") == (200, {"session_type": "bash"}), "closed")
    t.expect_exception(t.run("echo anybody?"), "SessionDoesNotExistError")
    t.expect(t.send("POST", "/close") == (200, {}), "all closed")


def start(binary, token, log):
    """The server and its port; the port is in what it prints."""
    environment = {**os.environ, "SWEREX_AUTH_TOKEN": token}
    process = subprocess.Popen([binary, "--host", "127.0.0.1", "--port", "0"], env=environment, stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log)
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"127\.0\.0\.1:(\d+)", pathlib.Path(log.name).read_text())
        if found:
            return process, int(found[1])
        time.sleep(0.005)
    process.kill()
    sys.exit(f"the server did not start:\n{pathlib.Path(log.name).read_text()}")


def main():
    binary = os.path.abspath(sys.argv[1])
    token = secrets.token_urlsafe(24)
    scratch = os.path.realpath(tempfile.mkdtemp(prefix="crex-demo-"))
    try:
        with open(f"{scratch}/server.out", "w") as log:
            process, port = start(binary, token, log)
        print(f"swerex-remote listens on http://127.0.0.1:{port}, with a random token from its environment")
        t = Tour(port, token)
        try:
            tour(t, scratch)
            t.say("The end of the server is orderly")
        finally:
            process.terminate()
            status = process.wait(20)
        t.expect(status == 0, f"exit status 0, not {status}")
        print(f"    exit status {status}")
        if t.failures:
            print(f"\n{len(t.failures)} steps went wrong:", *t.failures, sep="\n  ")
            return 1
        print(f"\nAll {t.step_count} steps gave what they should.")
        return 0
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

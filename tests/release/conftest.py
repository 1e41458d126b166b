"""Starting the released binary in a root of its own.

$CREX_DIST holds the binaries (default: dist/). Each server runs in a mount namespace of its own: what is mounted into
a root (the binary, /dev, /proc) goes away with it, the cached root stays as it is. A root that can't be made here skips
its tests with the reason."""

import http.client
import json
import os
import pathlib
import platform
import re
import subprocess
import tempfile
import time

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
DIST = pathlib.Path(os.environ.get("CREX_DIST", TREE / "dist"))
TOKEN = "release-test"
MACHINE = platform.machine()
NATIVE = {"x86_64": "swerex-remote", "aarch64": "swerex-remote-aarch64"}.get(MACHINE, "")
EMULATOR = "/usr/bin/qemu-aarch64-static"

# $1 root, $2 binary, $3 proc, host-proc or no-proc, $4 emulator or "", the rest: arguments of the server
ENTER = r"""
set -e
mount --bind "$2" "$1/swerex-remote"
mount --rbind /dev "$1/dev"
case $3 in
proc) mount -t proc proc "$1/proc" ;;
host-proc) mount --rbind /proc "$1/proc" ;; # a user namespace may not mount one of its own
esac
root=$1 emulator=$4
[ -z "$emulator" ] || mount --bind "$emulator" "$root/qemu"
shift 4
exec chroot "$root" ${emulator:+/qemu} /swerex-remote "$@"
"""

# registers the emulator for programs of aarch64, in a user namespace's own binfmt_misc (Linux 6.7)
BINFMT = r"""
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf '%s' ':crex-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:'\
'\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$4"':PF' \
	>/proc/sys/fs/binfmt_misc/register
"""


def make_root(name):
    if os.getuid() != 0:
        pytest.skip("chroot and mounts need root")
    made = subprocess.run([TREE / "tools/make-root", name], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=900)
    if made.returncode != 0:
        pytest.skip(f"root {name} can't be made here: {made.stderr.strip().splitlines()[-1:]}")
    return pathlib.Path(made.stdout.strip())


class Server:
    """One server in a root; `post` gives (status, reply)."""

    def __init__(self, root, binary, proc=True, emulator=None, binfmt=False):
        if not binary.exists():
            pytest.skip(f"{binary} is not built: script/build")
        self.output = tempfile.TemporaryFile()
        namespaces = ["--mount"] + (["--user", "--map-root-user"] if binfmt else [])
        script = (BINFMT if binfmt else "") + ENTER
        command = ["unshare", *namespaces, "--propagation", "private", "sh", "-c", script, "sh", root, binary,
                   "host-proc" if binfmt else "proc" if proc else "no-proc", emulator or "", "--host", "127.0.0.1", "--port", "0"]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                       "SWEREX_AUTH_TOKEN": TOKEN}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT, env=environment, cwd="/")
        end = time.monotonic() + 20
        while True:
            found = re.search(r"^listening on http://127\.0\.0\.1:(\d+)$", self.text(), re.M)
            if found:
                self.port = int(found[1])
                break
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, "the server does not say its port: " + self.text()
            time.sleep(0.005)

    def text(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"X-API-Key": TOKEN, **(headers or {})})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def post(self, endpoint, /, **fields):
        return self.request("POST", endpoint, json.dumps(fields), {"Content-Type": "application/json"})

    def ok(self, endpoint, /, **fields):
        status, reply = self.post(endpoint, **fields)
        assert status == 200, reply
        return reply

    def error(self, endpoint, /, **fields):
        status, reply = self.post(endpoint, **fields)
        assert status == 511, reply
        return reply["swerexception"]

    def run(self, command, /, **fields):
        return self.ok("/run_in_session", action_type="bash", command=command, **{"timeout": 30, **fields})

    def upload(self, target, content, unzip=False):
        mark = "release-test-boundary"
        parts = [('name="file"; filename="f"', content), ('name="target_path"', target.encode()),
                 ('name="unzip"', b"true" if unzip else b"false")]
        body = b"".join(f"--{mark}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
                        for head, data in parts) + f"--{mark}--\r\n".encode()
        return self.request("POST", "/upload", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.output.close()


@pytest.fixture
def serve():
    """serve(root name, ...) starts a server; all are ended, and must end well."""
    servers = []

    def start(name, binary=NATIVE, **options):
        if not binary:
            pytest.skip(f"there is no release for {MACHINE}")
        server = Server(make_root(name), DIST / binary, **options)
        servers.append(server)
        return server

    yield start
    statuses = [server.stop() for server in servers]
    assert statuses == [0] * len(statuses)

"""The released binary in roots that have little or nothing: no libc, no bash, no /proc, several Debian releases, and
the other architecture under an emulator."""

import io
import os
import pathlib
import subprocess
import zipfile

import pytest

from conftest import DIST, EMULATOR, NATIVE, make_root

BINARIES = ["swerex-remote", "swerex-remote-aarch64"]
ROOTS = ["busybox", "bullseye", "bookworm", "trixie"]


def archive():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as z:
        info = zipfile.ZipInfo("bin/tool")
        info.create_system, info.external_attr = 3, 0o100755 << 16
        z.writestr(info, "#!/bin/sh\necho tool ran\n")
        z.writestr("data.txt", "text\n" * 1000)
    return data.getvalue()


def files_work(server):
    base = f"/tmp/release-{os.getpid()}"
    server.ok("/write_file", path=f"{base}/a/f", content="one\r\ntwo")
    assert server.ok("/read_file", path=f"{base}/a/f") == {"content": "one\ntwo"}
    for encoding, text in [("latin-1", "\u00e9"), ("cp1252", "\u20ac"), ("utf-16", "\u4e2d"), ("shift_jis", "\u3042"),
                           ("gb18030", "\u4e2d"), ("koi8-r", "\u042f"), ("euc-jp", "\u3042"), ("big5", "\u4e2d")]:
        status, reply = server.upload(f"{base}/{encoding}", text.encode(encoding))
        assert status == 200, reply
        assert server.ok("/read_file", path=f"{base}/{encoding}", encoding=encoding) == {"content": text}
    error = server.error("/read_file", path=f"{base}/none")
    assert error["class_path"] == "builtins.FileNotFoundError"
    assert error["message"] == f"[Errno 2] No such file or directory: '{base}/none'"
    status, reply = server.upload(f"{base}/tree", archive(), unzip=True)
    assert (status, reply) == (200, {})
    assert server.ok("/execute", command=[f"{base}/tree/bin/tool"])["stdout"] == "tool ran\n"
    assert server.ok("/execute", command=["rm", "-rf", base])["exit_code"] == 0


def execute_works(server):
    assert server.ok("/execute", command="echo $((6 * 7)); exit 3", shell=True) == {
        "stdout": "42\n", "stderr": "", "exit_code": 3} | extras(server)
    assert server.ok("/execute", command=["pwd"], cwd="/tmp")["stdout"] == "/tmp\n"
    error = server.error("/execute", command="no-such-program")
    assert error["class_path"] == "builtins.FileNotFoundError"
    error = server.error("/execute", command="sleep 60", shell=True, timeout=0.3)
    assert error["class_path"] == "swerex.exceptions.CommandTimeoutError"


def extras(server):
    """What replies have beyond the contract's fields, so that comparing whole replies stays exact about those."""
    reply = server.ok("/execute", command=["true"])
    return {key: value for key, value in reply.items() if key not in ("stdout", "stderr", "exit_code")}


def session_works(server):
    server.ok("/create_session", startup_timeout=20)
    assert server.run("echo hello; cd /tmp")["output"].rstrip("\n").endswith("hello")
    reply = server.run("pwd; false", check="silent")
    assert (reply["output"].strip(), reply["exit_code"]) == ("/tmp", 1)
    assert server.run("cat <<'END'\na\tb\nEND")["output"] == "a\tb\n"
    error = server.error("/run_in_session", action_type="bash", command="echo (")
    assert error["class_path"] == "swerex.exceptions.BashIncorrectSyntaxError"
    error = server.error("/run_in_session", action_type="bash", command="echo partial; sleep 60", timeout=0.5)
    assert error["class_path"] == "swerex.exceptions.CommandTimeoutError"
    assert server.post("/run_in_session", action_type="bash_interrupt")[0] == 200
    assert server.run("echo again")["output"] == "again\n"
    # a program that takes its time over the interrupt is not taken for the prompt
    server.ok("/write_file", path="/tmp/slow", content="trap 'sleep 0.3; echo in order >/tmp/ended; exit 7' INT\n"
              "echo up; while :; do sleep 0.05; done\n")
    server.error("/run_in_session", action_type="bash", command="rm -f /tmp/ended; sh /tmp/slow", timeout=0.5)
    server.ok("/run_in_session", action_type="bash_interrupt", timeout=10, n_retry=1)
    assert server.ok("/read_file", path="/tmp/ended")["content"] == "in order\n"
    assert server.run("echo third")["output"] == "third\n"
    server.ok("/close_session")


def works(server):
    assert server.request("GET", "/is_alive") == (200, {"is_alive": True, "message": ""})
    execute_works(server)
    files_work(server)
    session_works(server)


@pytest.mark.parametrize("binary", BINARIES)
def test_static_and_small(binary):
    path = DIST / binary
    if not path.exists():
        pytest.skip(f"{path} is not built: script/build")
    assert path.stat().st_size <= 1_500_000
    dynamic = subprocess.run(["readelf", "-d", "-l", path], check=True, capture_output=True, text=True).stdout
    assert "NEEDED" not in dynamic and "INTERP" not in dynamic
    assert "not stripped" not in subprocess.run(["file", path], capture_output=True, text=True).stdout


@pytest.mark.parametrize("root", ROOTS)
def test_root(serve, root):
    works(serve(root))


@pytest.mark.parametrize("root", ["busybox", "bookworm"])
def test_root_without_proc(serve, root):
    works(serve(root, proc=False))


def test_root_without_bash(serve):
    server = serve("nobash")
    error = server.error("/create_session")
    assert error["class_path"] == "builtins.FileNotFoundError"
    assert "bash" in error["message"]
    execute_works(server)
    files_work(server)


def emulator():
    if NATIVE == "swerex-remote-aarch64":
        pytest.skip("this machine is aarch64: test_root has covered it")
    if not pathlib.Path(EMULATOR).exists():
        pytest.skip(f"{EMULATOR} is missing: script/setup roots")
    return EMULATOR


def test_aarch64_server_with_native_programs(serve):
    """The emulated server starts programs that the kernel runs itself: needs no binfmt_misc."""
    works(serve("busybox", "swerex-remote-aarch64", emulator=emulator()))


def test_aarch64_root(serve):
    """Server and programs alike are aarch64; the emulator is registered for this namespace alone."""
    program = emulator()
    make_root("busybox-arm64")
    probe = ("mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && test -w /proc/sys/fs/binfmt_misc/register")
    allowed = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", probe], capture_output=True)
    if allowed.returncode != 0:
        pytest.skip("no binfmt_misc for a user namespace here (Linux 6.7): " + allowed.stderr.decode().strip())
    works(serve("busybox-arm64", "swerex-remote-aarch64", emulator=program, binfmt=True))

"""execute: as Python's subprocess.run would, on the same machine, for the same arguments."""

import os
import subprocess
import time

import pytest
from client import HttpError
from server import SLOW, read_pid, wait_gone
from swerex.exceptions import CommandTimeoutError, NonZeroExitCodeError


def test_plain(box):
    result = box.execute(["echo", "a b", "c"])
    assert (result.stdout, result.stderr, result.exit_code) == ("a b c\n", "", 0)


def test_string_is_the_programs_name(box):
    assert box.execute("true").exit_code == 0
    with pytest.raises(FileNotFoundError) as caught:
        box.execute("echo hi")
    assert "[Errno 2] No such file or directory: 'echo hi'" in str(caught.value)


def test_shell_string(box):
    result = box.execute("echo out; echo err >&2; exit 3", shell=True)
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)


def test_shell_list(box):
    result = box.execute(['echo "$0|$1|$2|$#"', "zero", "one two"], shell=True)
    assert result.stdout == "zero|one two||1\n"


def test_shell_is_sh(box):
    assert box.execute("echo $0", shell=True).stdout == "/bin/sh\n"


CASES = [
    dict(command=["sh", "-c", "exit 255"]),
    dict(command=["sh", "-c", "kill -9 $$"]),
    dict(command=["sh", "-c", "kill -TERM $$"]),
    dict(command="kill -SEGV $$", shell=True),
    dict(command="exit 7", shell=True),
    dict(command=""),
    dict(command=[""]),
    dict(command=[]),
    dict(command="", shell=True),
    dict(command=["cat"]),
    dict(command=["sh", "-c", "wc -c; readlink /proc/self/fd/0"]),
    dict(command=["env"], env={"A": "1", "B": "x y=z\n"}),
    dict(command=["env"], env={}),
    dict(command="echo $A; echo ${PATH:+set}", shell=True, env={"A": "1"}),
    dict(command=["ls"], env={"PATH": "/nonexistent"}),
    dict(command=["mytool"], env={"PATH": "{tmp}/bin"}),
    dict(command=["pwd"], cwd="/usr"),
    dict(command=["pwd"], cwd="{tmp}"),
    dict(command=["./tool"], cwd="{tmp}"),
    dict(command=["tool"], cwd="{tmp}"),
    dict(command=["pwd"], cwd="/nonexistent"),
    dict(command=["pwd"], cwd="/etc/passwd"),
    dict(command=["/etc/passwd"]),
    dict(command=["/etc"]),
    dict(command=["/etc/passwd/x"]),
    dict(command=["/nonexistent/x"]),
    dict(command=["nosuchprogram1"]),
    dict(command="nosuchprogram1", shell=True),
    dict(command=["{tmp}/noshebang"]),
    dict(command=["{tmp}/badinterp"]),
    dict(command=["{tmp}/tool", "a", ""]),
    dict(command=["printf", "%s", "\u00e9\u4e16"]),
    dict(command=["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"]),
    dict(command=["ls", "/proc/self/fd"]),
    dict(command=["sh", "-c", "echo a; echo b >&2; echo c"]),
    dict(command=["sh", "-c", "printf 'x\\r\\ny\\rz'"]),
    dict(command=["sh", "-c", "printf '  lead\\n\\n'"]),
    dict(command=["printf", "\\033[31mred"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(str(value) for value in case.values())[:60])
def test_like_subprocess(box, server, tmp_path, case):
    (tmp_path / "bin").mkdir()
    for path, text, mode in [("tool", '#!/bin/sh\necho "tool $# $1"\n', 0o755), ("bin/mytool", "#!/bin/sh\necho mine\n", 0o755),
                             ("noshebang", "echo no shebang\n", 0o755), ("badinterp", "#!/nonexistent/i\n", 0o755)]:
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(mode)

    def fill(value):
        if isinstance(value, str):
            return value.replace("{tmp}", str(tmp_path))
        if isinstance(value, list):
            return [fill(item) for item in value]
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return value

    case = fill(case)
    given = {**case, "args": case["command"]}
    del given["command"]
    with open(f"/proc/{server.pid()}/environ") as stream:
        environment = dict(item.split("=", 1) for item in stream.read().split("\0") if item)
    for name in ("SWEREX_AUTH_TOKEN",):  # the server keeps its token to itself
        environment.pop(name, None)
    given.setdefault("env", environment)
    given.setdefault("cwd", server.home)
    if not given["args"] and not given.get("shell"):
        with pytest.raises(Exception):
            box.execute(**case)
        return
    try:
        expected = subprocess.run(**given, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        with pytest.raises(type(error)) as caught:
            box.execute(**case)
        assert type(caught.value) is type(error)
        assert str(error) in str(caught.value)
        return
    result = box.execute(**case)
    assert result.exit_code == expected.returncode
    if case["command"] == ["ls", "/proc/self/fd"]:
        assert result.stdout == "0\n1\n2\n3\n"
    elif "readlink" in str(case["command"]):
        assert result.stdout.startswith("0\n")
    elif case["command"] == ["env"]:
        assert sorted(result.stdout.splitlines()) == sorted(expected.stdout.decode().splitlines())
    else:
        assert result.stdout in (expected.stdout.decode(), expected.stdout.decode().replace("\r\n", "\n").replace("\r", "\n"))
    assert result.stderr == expected.stderr.decode()


def test_token_is_not_in_the_childrens_environment(box):
    assert "s3cret" not in box.execute(["env"]).stdout


def test_merged_streams_keep_the_order(box):
    result = box.execute("for i in 1 2 3; do echo out $i; echo err $i >&2; done", shell=True, merge_output_streams=True)
    assert (result.stdout, result.stderr) == ("out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n", "")


def test_stdin_is_empty(box):
    assert box.execute("cat; echo end", shell=True).stdout == "end\n"


def test_check(box):
    with pytest.raises(NonZeroExitCodeError) as caught:
        box.execute("echo some out; echo some err >&2; exit 4", shell=True, check=True, error_msg="my words")
    for part in ("some out", "some err", "4", "my words"):
        assert part in str(caught.value)
    assert box.execute("true", check=True).exit_code == 0


def test_timeout(box):
    began = time.monotonic()
    with pytest.raises(CommandTimeoutError) as caught:
        box.execute(["sleep", "30"], timeout=0.5)
    assert 0.4 < time.monotonic() - began < 2 * SLOW
    assert "Timeout (0.5s) exceeded while running command" in str(caught.value)


DAEMON = """
import os, signal, sys, time
if os.fork(): os.wait(); time.sleep(float(sys.argv[2])); sys.exit()
os.setsid()
if os.fork(): os._exit(0)
for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
with open(sys.argv[1] + ".part", "w") as stream: stream.write(f"{os.getpid()}\\n")
os.rename(sys.argv[1] + ".part", sys.argv[1])
if len(sys.argv) > 3:
    for fd in (0, 1, 2): os.close(fd)
time.sleep(1000)
"""


@pytest.mark.parametrize("detached", [[], ["close"]])
def test_timeout_kills_double_forked_daemons(box, tmp_path, detached):
    (tmp_path / "daemon.py").write_text(DAEMON)
    with pytest.raises(CommandTimeoutError):
        box.execute(["python3", f"{tmp_path}/daemon.py", f"{tmp_path}/pid", "1000", *detached], timeout=1.5 * SLOW)
    wait_gone(read_pid(tmp_path / "pid"), "daemon")


@pytest.mark.parametrize("script", ["setsid sleep 1001 & echo $! > {0}; sleep 100", "sleep 1002 & echo $! > {0}; wait",
                                    "trap '' TERM INT HUP; (trap '' TERM; sleep 1003) & echo $! > {0}; wait",
                                    "setsid setsid sh -c 'echo $$ > {0}; exec sleep 1004' & sleep 100",
                                    "sh -c 'kill -STOP $$' & echo $! > {0}; sleep 100"])
def test_timeout_kills_the_whole_tree(box, tmp_path, script):
    with pytest.raises(CommandTimeoutError):
        box.execute(script.format(tmp_path / "pid"), shell=True, timeout=0.7 * SLOW)
    wait_gone(read_pid(tmp_path / "pid"))


def test_timeout_while_a_grandchild_holds_the_pipe(box):
    """subprocess.run would wait for the pipe's end; here the timeout holds."""
    began = time.monotonic()
    with pytest.raises(CommandTimeoutError):
        box.execute("setsid sleep 50 & exit 0", shell=True, timeout=1)
    assert time.monotonic() - began < 5 * SLOW


def test_partial_output_in_a_timeout(box):
    with pytest.raises(CommandTimeoutError) as caught:
        box.execute("echo so far; sleep 30", shell=True, timeout=0.5)
    assert "so far" in str(caught.value) or "so far\n" in caught.value.extra_info.values()


def test_parallel(box):
    began = time.monotonic()
    results = box.gather(*[box.rt.execute(["sleep", "1"]) for _ in range(16)])
    assert all(result.exit_code == 0 for result in results)
    assert time.monotonic() - began < 3 * SLOW


def test_parallel_outputs_are_not_mixed(box):
    results = box.gather(*[box.rt.execute(f"for i in 1 2 3 4 5; do echo {number}; echo {number} >&2; done", shell=True)
                           for number in range(40)])
    for number, result in enumerate(results):
        assert result.stdout == result.stderr == f"{number}\n" * 5


def test_much_output(box):
    result = box.execute("head -c 5000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2", shell=True)
    assert (len(result.stdout), len(result.stderr)) == (5000000, 3000000)


def test_invalid_utf8_output(box):
    result = box.execute(["printf", "a\\377b"])
    assert result.stdout in ("a\\xffb", "a\ufffdb")


def test_big_arguments(box):
    assert box.execute(["sh", "-c", "echo ${#1}", "sh", "x" * 100000]).stdout == "100000\n"
    with pytest.raises(OSError):
        box.execute(["sh", "-c", "echo ${#1}", "sh", "x" * 1000000])  # E2BIG: one argument is at most 128 KB
    assert box.execute(["true", *["a" * 100] * 5000]).exit_code == 0


def test_nul_in_arguments(box):
    for arguments in (dict(command=["echo", "a\0b"]), dict(command="echo a\0b", shell=True), dict(command="pwd", cwd="/\0"),
                      dict(command="env", env={"A": "x\0"})):
        with pytest.raises((ValueError, HttpError)):
            box.execute(**arguments)
    assert box.execute("true").exit_code == 0


def test_bad_environment_names(box):
    for env in ({"A=B": "x"}, {"": "x"}):
        try:
            box.execute(["true"], env=env)
        except (ValueError, OSError, HttpError):
            pass
    assert box.execute("true").exit_code == 0


def test_permission_denied(box, tmp_path):
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "plain").chmod(0o644)
    with pytest.raises(PermissionError) as caught:
        box.execute([f"{tmp_path}/plain"])
    assert f"[Errno 13] Permission denied: '{tmp_path}/plain'" in str(caught.value)


def test_background_process_is_not_waited_for_once_streams_are_closed(box):
    began = time.monotonic()
    result = box.execute("sleep 20 >/dev/null 2>&1 & echo started", shell=True)
    assert result.stdout == "started\n"
    assert time.monotonic() - began < 5 * SLOW


def test_no_zombies(server, box):
    for _ in range(20):
        box.execute("true")
    box.execute("(sleep 0 &) ; true", shell=True)
    from server import wait_until

    def zombies():
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as stream:
                        fields = stream.read().rpartition(")")[2].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if fields[0] == "Z" and int(fields[1]) == server.pid():
                    found.append(entry)
        return found

    wait_until(lambda: not zombies(), "no zombie is left")


def test_server_working_directory_is_the_default(server, box):
    assert box.execute(["pwd"]).stdout == f"{server.home}\n"

"""crex run: exit codes, output, options, signals. On this machine itself, where no engine is needed."""

import os
import signal
import subprocess
import time

import pytest
from conftest import CREX
from server import read_pid, wait_gone


def sh(crex, script, *options, **kwargs):
    return crex("run", "--local", *options, "--", "sh", "-c", script, **kwargs)


def test_output_and_exit_code_are_the_commands(crex):
    result = sh(crex, "echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_bytes_are_exact(crex, streams):
    result = sh(crex, r"printf '\001\033[1mx\r\n\377\000y'", text=False)
    assert result.stdout == b"\x01\x1b[1mx\r\n\xff\x00y"


@pytest.mark.parametrize("script, code", [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 0", 0), ("exit 255", 255)])
def test_exit_codes(crex, script, code):
    assert sh(crex, script).returncode == code


def test_no_such_command_is_127(crex):
    assert "no-such-program" in crex.fails(127, "run", "--local", "--", "no-such-program")


def test_a_line_of_shell_given_as_a_program_gets_a_hint(crex):
    assert "sh -c" in crex.fails(127, "run", "--local", "ls | wc -l")


def test_not_executable_is_126(crex, tmp_path):
    file = tmp_path / "plain"
    file.write_text("no program\n")
    crex.fails(126, "run", "--local", "--", file)


def test_timeout_is_124_and_ends_the_command(crex, tmp_path):
    pid_file = tmp_path / "pid"
    line = crex.fails(124, "run", "--local", "--timeout", "0.5", "--", "sh", "-c", f"echo $$ >{pid_file}; exec sleep 100")
    assert "--timeout" in line
    wait_gone(read_pid(pid_file))


def test_where_must_be_said(crex):
    line = crex.fails(125, "run", "--", "ls")
    for option in ("--image", "--deployment", "--remote", "--local"):
        assert option in line
    assert "at a time" in crex.fails(125, "run", "--local", "--image", "x", "--", "ls")
    assert "goes with --image" in crex.fails(125, "run", "--local", "--pull", "never", "--", "ls")
    assert "goes with --remote" in crex.fails(125, "run", "--local", "--ca-file", "/x", "--", "ls")


def test_what_must_be_said(crex):
    assert "CMD" in crex.fails(125, "run", "--local")


def test_command_without_dashes_keeps_its_options(crex):
    assert crex.ok("run", "--local", "echo", "-n", "--help", "-v") == "--help -v"


def test_environment_and_directory(crex, tmp_path):
    out = crex.ok("run", "--local", "-e", "A=1 2'3", "-eB=x", "--env=C=", "-e", "HERE", "-e", "NOT_SET", "-w", tmp_path, "--", "sh",
                  "-c", 'echo "$A|$B|$C|$HERE|${NOT_SET-unset}"; pwd', env={"HERE": "from here"})
    assert out == f"1 2'3|x||from here|unset\n{tmp_path}\n"


def test_directory_that_is_not_there(crex):
    crex.fails(127, "run", "--local", "-w", "/no/such/place", "--", "pwd")


def test_upload_comes_first(crex, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("content")
    assert crex.ok("run", "--local", "--upload", f"{source}:{target}", "--", "cat", target / "sub" / "file") == "content"
    assert "SRC:DST" in crex.fails(125, "run", "--local", "--upload", "nothing", "--", "ls")
    crex.fails(125, "run", "--local", "--upload", f"{tmp_path}/missing:{target}", "--", "ls")


def test_bad_options(crex):
    assert "did you mean --local" in crex.fails(125, "run", "--lcoal", "--", "ls")
    assert "--pull" in crex.fails(125, "run", "--image", "x", "--pull", "sometimes", "--", "ls")
    assert "seconds" in crex.fails(125, "run", "--local", "--timeout", "soon", "--", "ls")
    assert "missing" in crex.fails(125, "run", "--image")
    assert "takes no value" in crex.fails(125, "run", "--local=yes", "--", "ls")
    assert "-z" in crex.fails(125, "run", "-z", "--", "ls")
    assert "no name" in crex.fails(125, "run", "--local", "-e", "=x", "--", "ls")


def test_the_value_of_a_mistyped_option_is_not_shown(crex):
    assert "hunter2" not in crex.fails(125, "run", "--tokn=hunter2", "--", "ls")


def test_tty_needs_a_terminal(crex):
    assert "not a terminal" in crex.fails(125, "run", "--local", "-it", "--", "ls")


def test_deployment_file(crex, tmp_path):
    file = tmp_path / "local.json"
    file.write_text('{"type": "local"}')
    assert crex.ok("run", "--deployment", file, "--", "echo", "yes") == "yes\n"
    assert crex.ok("run", "--deployment", "-", "--", "echo", "yes", input='{"type": "local"}') == "yes\n"
    file.write_text('{"type": "docker", "imag": "x"}')
    assert "did you mean 'image'" in crex.fails(125, "run", "--deployment", file, "--", "ls")
    file.write_text('{"type": "local",')
    assert "line 1" in crex.fails(125, "run", "--deployment", file, "--", "ls")
    file.write_text("[]")
    crex.fails(125, "run", "--deployment", file, "--", "ls")
    assert "No such file" in crex.fails(125, "run", "--deployment", tmp_path / "none", "--", "ls")


@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_command(crex, tmp_path, signum, code):
    pid_file = tmp_path / "pid"
    process = crex.start("run", "--local", "--", "sh", "-c", f"echo $$ >{pid_file}; exec sleep 100")
    pid = read_pid(pid_file)
    process.send_signal(signum)
    assert process.wait(20) == code
    wait_gone(pid)


def test_input_and_output_at_the_same_time(crex, streams):
    data = os.urandom(3 << 20)
    assert crex("run", "--local", "-i", "--", "cat", input=data, text=False).stdout == data


def test_without_i_the_input_is_empty(crex):
    assert crex("run", "--local", "--", "cat", input="mine").stdout == ""


def test_interrupt_is_handed_on_first(crex, streams):
    process = crex.start("run", "--local", "--", "sh", "-c", "trap 'echo summary; exit 5' INT; echo ready; while :; do sleep 0.1; done")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stdout.read() == "summary\n"


def test_output_comes_as_it_is_written(crex, streams):
    process = crex.start("run", "--local", "-i", "--", "sh", "-c", "echo first; read line; echo $line", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "first\n"
    process.stdin.write("second\n")
    process.stdin.flush()
    assert process.stdout.readline() == "second\n"
    assert process.wait(20) == 0


def test_a_second_signal_leaves_at_once(crex, tmp_path):
    pid_file = tmp_path / "pid"
    process = crex.start("run", "--local", "--", "sh", "-c", f"trap '' INT TERM; echo $$ >{pid_file}; while :; do sleep 1; done")
    pid = read_pid(pid_file)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    while process.poll() is None and time.monotonic() < begin + 10:
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    assert process.wait(10) == 130
    wait_gone(pid)


def test_who_reads_no_more_ends_it(crex, streams):
    process = crex.start("run", "--local", "--", "sh", "-c", "while echo y; do :; done")
    assert os.read(process.stdout.fileno(), 2) == b"y\n"
    process.stdout.close()
    assert process.wait(20) == 141


def test_no_colours_and_no_bars_in_pipes(crex):
    for result in (crex("run", "--local", "-v", "--", "true"), crex("doctor"), crex("ps"), crex("up", "?")):
        assert "\033" not in result.stdout + result.stderr and "\r" not in result.stdout + result.stderr


@pytest.mark.parametrize("args", [["ps"], ["run", "--local", "--", "echo", "hi"]], ids=lambda args: args[0])
def test_full_disk_on_stdout_is_said(crex, args):
    with open("/dev/full", "w") as full:
        result = subprocess.run([CREX, *args], env=crex.environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert result.returncode == 125 and "standard output" in result.stderr

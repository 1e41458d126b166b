"""Opening, naming, checking and closing sessions."""

import time

import pytest
from client import HttpError
from server import SLOW, read_pid, wait_gone
from swerex.exceptions import (BashIncorrectSyntaxError, CommandTimeoutError, NonZeroExitCodeError, SessionDoesNotExistError,
                               SessionExistsError)


def test_defaults(box):
    reply = box.post("create_session", {})
    assert reply["output"] == "" and reply["session_type"] == "bash"
    reply = box.post("run_in_session", {"action_type": "bash", "command": "echo hi"})
    assert reply["output"] == "hi\n" and reply["exit_code"] == 0
    assert box.post("close_session", {}) == {"session_type": "bash"}


def test_bashrc_is_read_and_its_output_given(start):
    box = start(bashrc="echo from bashrc; rc=1; alias foo='echo aliased'; PS1='x '\n")
    assert box.create_session().output == "from bashrc\n"
    assert box.run("echo $rc; foo").output == "1\naliased\n"


def test_startup_source(box, tmp_path):
    (tmp_path / "a").write_text("echo a; A=1\n")
    (tmp_path / "b c").write_text("echo b $A; B=2; PS1='other '\nf() { echo f; }\n")
    assert box.create_session("src", [f"{tmp_path}/a", f"{tmp_path}/b c"]).output == "a\nb 1\n"
    assert box.run("echo $A $B; f", "src").output == "1 2\nf\n"
    box.close_session("src")


def test_missing_startup_source(box, tmp_path):
    (tmp_path / "there").write_text("echo there\n")
    reply = box.create_session("src", [f"{tmp_path}/missing", f"{tmp_path}/there"])
    assert reply.output.endswith("there\n") and f"{tmp_path}/missing" in reply.output and "No such file" in reply.output
    assert box.run("echo ok", "src").output == "ok\n"
    box.close_session("src")


@pytest.mark.parametrize("text", ["syntax ( error\n", "false\n", "return 3\n", "set -x\n", "set -u\n", "trap 'echo d' DEBUG\n",
                                  "PROMPT_COMMAND='echo pc'\n", "exec 2>/dev/null\n", "stty echo\n", "read() { :; }\n", "cat\n", "read x\n",
                                  "[ -z \"$PS1\" ] && return\necho interactive\n", "\x00\xff\n", ""])
def test_odd_startup_files(box, tmp_path, text):
    (tmp_path / "rc").write_text(text)
    if text in ("cat\n", "read x\n"):  # wait for input that nobody types: a slow startup
        with pytest.raises(CommandTimeoutError):
            box.create_session("odd", [f"{tmp_path}/rc"], startup_timeout=0.5)
        return
    box.create_session("odd", [f"{tmp_path}/rc"])
    obs = box.run("builtin echo hi", "odd")
    assert obs.output.endswith("hi\n") and obs.exit_code == 0
    if "set -x" not in text and "DEBUG" not in text:
        assert obs.output == "hi\n"
    box.close_session("odd")


@pytest.mark.parametrize("text", ["exit 3\n", "exec true\n", "kill -9 $$\n", "set -e; false\n"])
def test_startup_file_that_ends_the_shell(box, tmp_path, text):
    (tmp_path / "rc").write_text(text)
    began = time.monotonic()
    with pytest.raises(Exception):
        box.create_session("ends", [f"{tmp_path}/rc"])
    assert time.monotonic() - began < 5 * SLOW
    box.create_session("ends")
    box.close_session("ends")


def test_slow_startup_is_killed_and_the_name_is_free(box, tmp_path):
    (tmp_path / "slow").write_text(f"echo $$ > {tmp_path}/pid\necho starting\nsleep 100\n")
    with pytest.raises(CommandTimeoutError) as caught:
        box.create_session("slow", [f"{tmp_path}/slow"], startup_timeout=1)
    assert str(caught.value)
    wait_gone(read_pid(tmp_path / "pid"))
    box.create_session("slow")
    assert box.run("echo ok", "slow").output == "ok\n"
    box.close_session("slow")


def test_slow_bashrc(start):
    box = start(bashrc="sleep 100\n")
    with pytest.raises(CommandTimeoutError):
        box.create_session(startup_timeout=0.5)
    with pytest.raises(SessionDoesNotExistError):
        box.run("echo x")


def test_duplicate_name(box):
    box.create_session("twice")
    box.run("x=1", "twice")
    with pytest.raises(SessionExistsError):
        box.create_session("twice")
    assert box.run("echo $x", "twice").output == "1\n"
    box.close_session("twice")


def test_duplicate_while_the_first_is_still_starting(box, tmp_path):
    (tmp_path / "rc").write_text("sleep 0.3\n")
    results = box.gather(*[box.rt.create_session("race", [f"{tmp_path}/rc"]) for _ in range(5)], return_exceptions=True)
    assert sum(isinstance(result, SessionExistsError) for result in results) == 4
    assert box.run("echo ok", "race").output == "ok\n"
    box.close_session("race")


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "\u4e16", "x" * 200, "a\nb", "$(id)", "'", "default"])
def test_names(box, name):
    box.create_session(name)
    assert box.run("echo hi", name).output == "hi\n"
    box.close_session(name)


def test_unknown_session(box):
    with pytest.raises(SessionDoesNotExistError):
        box.run("echo hi", "nobody")
    with pytest.raises(SessionDoesNotExistError):
        box.close_session("nobody")


def test_close_frees_the_name(box):
    for _ in range(10):
        box.create_session("again")
        assert box.run("echo ${x-unset}; x=1", "again").output == "unset\n"
        box.close_session("again")
    with pytest.raises(SessionDoesNotExistError):
        box.run("echo", "again")


def test_close_all(box):
    for name in ("c1", "c2", "c3"):
        box.create_session(name)
    assert box.close() == {}
    assert box.is_alive()["is_alive"] is True
    for name in ("c1", "c2", "c3"):
        with pytest.raises(SessionDoesNotExistError):
            box.run("echo", name)
    box.create_session("c1")
    box.close_session("c1")
    assert box.close() == {}


def test_check_raise(sh):
    with pytest.raises(NonZeroExitCodeError) as caught:
        sh("echo the output; (exit 9)", check="raise", error_msg="custom text")
    for part in ("custom text", "(exit 9)", "9", "the output"):
        assert part in str(caught.value)
    assert sh("echo fine", check="raise").exit_code == 0


def test_check_defaults_to_raise(sh):
    with pytest.raises(NonZeroExitCodeError):
        sh.box.post("run_in_session", {"action_type": "bash", "session": sh.name, "command": "false"})


def test_check_ignore(sh):
    obs = sh("echo out; (exit 9)", check="ignore")
    assert (obs.output, obs.exit_code) == ("out\n", None)


def test_check_silent(sh):
    assert sh("(exit 9)", check="silent").exit_code == 9


def test_check_with_a_bad_value(sh):
    with pytest.raises(HttpError) as caught:
        sh("echo", check="loud")
    assert caught.value.status == 422


def test_working_directory_and_environment_of_a_new_session(server, box):
    box.create_session("fresh")
    assert box.run("pwd; echo $HOME", "fresh").output == f"{server.home}\n{server.home}\n"
    box.close_session("fresh")


def test_sessions_do_not_share_state(box):
    for name in ("one", "two"):
        box.create_session(name)
    box.run("x=1; cd /; set -e", "one")
    assert box.run("echo ${x-unset}; pwd; echo $-", "two").output.startswith("unset\n")
    for name in ("one", "two"):
        box.close_session(name)


def test_without_bash(start, tmp_path):
    box = start(env={"PATH": str(tmp_path)})
    with pytest.raises(Exception) as caught:
        box.create_session()
    assert str(caught.value)
    assert box.execute(["/bin/echo", "x"]).stdout == "x\n"


def test_bash_is_found_by_path(start, tmp_path):
    (tmp_path / "bash").write_text("#!/bin/sh\nexport FROM_PATH=1\nexec /bin/bash \"$@\"\n")
    (tmp_path / "bash").chmod(0o755)
    box = start(env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    box.create_session()
    assert box.run("echo $FROM_PATH").output == "1\n"


def test_syntax_error_class(sh):
    with pytest.raises(BashIncorrectSyntaxError):
        sh("echo 'unclosed")

"""What the server's own environment and the user's startup files may hold without keeping a session from opening."""

import os

import pytest


@pytest.mark.parametrize("variable", ["POSIXLY_CORRECT", "BASH_FUNC_builtin%%", "BASH_FUNC_exec%%", "BASH_FUNC_eval%%", "BASH_FUNC_read%%"])
def test_environment_of_the_server(start, variable):
    value = "1" if variable == "POSIXLY_CORRECT" else "() { echo mine; }"
    box = start(env={variable: value})
    box.create_session()
    assert box.run("echo hi; (exit 3)", check="silent").output == "hi\n"
    assert box.run("echo again").output == "again\n"


def test_errexit_in_bashrc_and_a_missing_startup_file(start, tmp_path):
    (tmp_path / ".bashrc").write_text("set -e\n")
    box = start(env={**os.environ, "HOME": str(tmp_path)})
    box.create_session(startup_source=[str(tmp_path / "missing")])
    assert box.run("echo $-").output.find("e") >= 0
    assert box.run("echo hi").output == "hi\n"


def test_interrupt_of_a_stopped_shell(start):
    box = start()
    box.create_session()
    with pytest.raises(Exception):
        box.run("kill -STOP $$", timeout=0.5)
    box.interrupt()
    assert box.run("echo usable").output == "usable\n"

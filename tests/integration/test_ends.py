"""Commands that end their own shell: the reply has the output and the code, says so, and the name is free again."""

import asyncio
import time

import pytest
from server import SLOW, wait_gone
from swerex.exceptions import NonZeroExitCodeError, SessionDoesNotExistError


def ended(sh, command, codes, output):
    began = time.monotonic()
    obs = sh(command)
    assert time.monotonic() - began < 5 * SLOW, "at once"
    assert obs.exit_code in codes, obs
    rest = obs.output.removeprefix(output)
    assert obs.output.startswith(output) and rest in ("", "exit\n"), obs
    assert obs.failure_reason, "the end of the session is said"
    with pytest.raises(SessionDoesNotExistError):
        sh("echo still there?")
    sh.box.create_session(sh.name)
    assert sh.out("echo new") == "new\n"
    return obs


@pytest.mark.parametrize("command,code,output", [
    ("exit 3", 3, ""),
    ("exit", 0, ""),
    ("echo out; exit 300", 44, "out\n"),
    ("printf 'no newline'; exit 1", 1, "no newline"),
    ("(exit 9); exit", 9, ""),
    ("exec true", 0, ""),
    ("exec false", 1, ""),
    ("exec sh -c 'echo from sh; exit 5'", 5, "from sh\n"),
    ("set -e; echo a; false; echo b", 1, "a\n"),
    ("trap 'echo bye' EXIT; echo hi; exit 4", 4, "hi\n"),
    ("f() { echo in f; exit 6; }; f; echo no", 6, "in f\n"),
    ("cat <<EOF; exit 2\nheredoc\nEOF", 2, "heredoc\n"),
    ("eval 'exit 8'", 8, ""),
    ("set -u; set -e; echo $nope", 1, ""),
    ("exec 2>/dev/null; exit 12", 12, ""),
])
def test_shell_ends(sh, command, code, output):
    if "bye" in command:
        obs = sh(command)
        assert (obs.output.replace("exit\n", ""), obs.exit_code) == ("hi\nbye\n", 4) and obs.failure_reason
        return
    if "nope" in command:
        obs = sh(command)
        assert obs.exit_code in (1, 127) and "nope: unbound variable" in obs.output and obs.failure_reason
        return
    ended(sh, command, (code,), output)


def test_exec_ls(sh, tmp_path):
    (tmp_path / "a").write_text("")
    (tmp_path / "b").write_text("")
    ended(sh, f"exec ls -1 {tmp_path}", (0,), "a\nb\n")


def test_exec_of_a_missing_program_keeps_or_ends_the_shell(sh):
    obs = sh("exec /nonexistent/x")
    assert obs.exit_code == 127 and "/nonexistent/x" in obs.output
    if not obs.failure_reason:
        assert sh.out("echo next") == "next\n"


@pytest.mark.parametrize("signal,code", [("KILL", 9), ("HUP", 1), ("ABRT", 6), ("SEGV", 11)])
def test_shell_killed_by_a_signal(sh, signal, code):
    ended(sh, f"echo before; kill -{signal} $$; sleep 5", (-code, 128 + code), "before\n")


def test_shell_killed_from_outside_while_idle(sh):
    pid = int(sh.out("echo $$"))
    sh.box.execute(["kill", "-9", str(pid)])
    wait_gone(pid)
    end = time.monotonic() + 10
    while True:
        try:
            obs = sh("echo x")
            assert obs.failure_reason
        except SessionDoesNotExistError:
            break
        assert time.monotonic() < end
    sh.box.create_session(sh.name)
    assert sh.out("echo new") == "new\n"


def test_shell_killed_from_outside_while_busy(sh):
    pid = int(sh.out("echo $$"))
    obs, _ = sh.box.gather(sh.coro("echo first; sleep 60"), sh.box.rt.execute(f"sleep 0.2; kill -9 {pid}", shell=True))
    assert obs.output == "first\n" and obs.exit_code in (-9, 137) and obs.failure_reason


def test_ended_under_check_raise(sh):
    with pytest.raises(NonZeroExitCodeError) as caught:
        sh("echo why; exit 3", check="raise", error_msg="it broke")
    for part in ("it broke", "exit 3", "why"):
        assert part in str(caught.value)
    with pytest.raises(SessionDoesNotExistError):
        sh("echo x")


def test_queued_commands_of_an_ended_session_are_answered(sh, tmp_path):
    async def behind(command):
        while not (tmp_path / "runs").exists():
            await asyncio.sleep(0.005)
        return await sh.coro(command)

    first, *rest = sh.box.gather(sh.coro(f"touch {tmp_path}/runs; sleep 0.3; exit 3"), behind("echo a"), behind("echo b"),
                                 return_exceptions=True)
    assert first.exit_code == 3
    for item in rest:
        assert isinstance(item, SessionDoesNotExistError), item


def test_background_children_of_an_ended_shell_go_too(sh):
    obs = sh("setsid sleep 1000 & echo $!; exit 3")
    pid = int(obs.output.split("\n")[-2 if "exit" not in obs.output else -3].split()[-1])
    wait_gone(pid)


def test_set_e_outlives_a_command(sh):
    sh("set -e")
    ended(sh, "false", (1,), "")


def test_exit_in_a_subshell_ends_only_that(sh):
    assert sh("(exit 3)").exit_code == 3
    assert sh("bash -c 'exit 4'").exit_code == 4
    assert sh.out("echo next") == "next\n"

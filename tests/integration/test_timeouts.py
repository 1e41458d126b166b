"""Timeouts say what was printed; interrupts bring the shell back whatever holds it, in under a second."""

import time

import pytest
from server import SLOW, read_pid, wait_gone
from swerex.exceptions import CommandTimeoutError, SessionDoesNotExistError


def time_out(sh, command, timeout=0.4):
    with pytest.raises(CommandTimeoutError) as caught:
        sh(command, timeout=timeout)
    return caught.value


def interrupt(sh):
    began = time.monotonic()
    obs = sh.interrupt()
    took = time.monotonic() - began
    assert took < 1.5 * SLOW, f"{took} s"
    for noise in ("Stopped", "[1]", "fg", "user$"):
        assert noise not in obs.output, obs
    return obs


def usable(sh):
    """Nothing of what was before shows up."""
    assert sh.out("echo usable") == "usable\n"
    assert sh.out("") == ""
    assert sh.out("cat <<EOF\na\nEOF\njobs | grep -c .; true") in ("a\n0\n",)


def test_timeout_message(sh):
    error = time_out(sh, "sleep 30")
    assert "timeout after 0.4 seconds while running command 'sleep 30'" in str(error)
    interrupt(sh)
    usable(sh)


def test_timeout_is_about_on_time(sh):
    began = time.monotonic()
    time_out(sh, "sleep 30", timeout=0.5)
    assert 0.45 < time.monotonic() - began < 1.5 * SLOW
    interrupt(sh)


def test_partial_output_is_given(sh):
    error = time_out(sh, "echo first; echo second; sleep 30; echo never")
    assert "first\nsecond\n" in str(error)
    assert any("first\nsecond\n" == value for value in error.extra_info.values()), error.extra_info
    interrupt(sh)
    usable(sh)


def test_partial_output_without_newline(sh):
    error = time_out(sh, "printf 'Password: '; read -r x")
    assert any("Password: " == value for value in error.extra_info.values())
    interrupt(sh)
    usable(sh)
    assert sh.out('echo "<$x>"') == "<>\n"


def test_nothing_leaks_into_later_replies(sh):
    time_out(sh, "for i in 1 2 3; do echo early $i; done; for i in $(seq 1000); do echo late; sleep 0.01; done")
    interrupt(sh)
    usable(sh)
    for _ in range(5):
        assert sh.out("sleep 0.02; echo clean") == "clean\n"


def test_command_goes_on_until_interrupted(sh, tmp_path):
    time_out(sh, f"echo $BASHPID > {tmp_path}/pid; sleep 0.5; touch {tmp_path}/done", timeout=0.1)
    assert sh.out(f"ls -1 {tmp_path}") == "done\npid\n"  # queued behind the first, which was left to end


def test_next_command_waits_and_times_out_too(sh):
    time_out(sh, "sleep 30", timeout=0.2)
    time_out(sh, "echo queued", timeout=0.2)
    interrupt(sh)
    output = sh.out("echo x")
    assert output == "x\n"


def test_zero_timeout(sh):
    time_out(sh, "sleep 30", timeout=0)
    interrupt(sh)
    usable(sh)


def test_fast_command_under_a_timeout(sh):
    assert sh.out("echo quick", timeout=20) == "quick\n"


STUBBORN = {
    "sleep": "sleep 100",
    "two in a pipe": "sleep 100 | cat",
    "loop": "while true; do sleep 0.05; done",
    "busy loop": "while :; do :; done",
    "loop of short commands": "while true; do /bin/true; done",
    "read": "read x",
    "cat": "cat",
    "wait": "sleep 100 & wait",
    "subshell": "(sleep 100)",
    "substitution": "x=$(sleep 100)",
    "function": "f() { sleep 100; }; f",
    "sh": "sh -c 'sleep 100; echo more'",
    "python": "python3 -c 'import time; time.sleep(100)'",
    "ignores int": "sh -c 'trap \"\" INT; sleep 100; sleep 100'",
    "ignores int and tstp": "python3 -c 'import signal,time\nfor s in (2,3,20): signal.signal(s, signal.SIG_IGN)\nwhile 1: time.sleep(1)'",
    "ignores all it can": "python3 -c 'import signal,time\nfor s in range(1,32):\n  if s not in (9,19): signal.signal(s, signal.SIG_IGN)\nwhile 1: time.sleep(1)'",
    "raw tty": "stty raw -echo -isig; cat",
    "raw python": "python3 -c 'import tty,time; tty.setraw(0); time.sleep(100)'",
    "raw and ignoring": "python3 -c 'import tty,time,signal; tty.setraw(0); [signal.signal(s, signal.SIG_IGN) for s in (1,2,3,15,20)]\nwhile 1: time.sleep(1)'",
    "trap in the shell": "trap '' INT; sleep 100",
    "handler in the shell": "trap 'echo caught' INT; while :; do sleep 0.1; done",
    "own session": "setsid -w sleep 100",
    "stopped": "sh -c 'kill -STOP $$; sleep 100' ; sleep 100",
    "flood": "yes",
    "flood that ignores": "sh -c 'trap \"\" INT TERM; while :; do echo flooding; done'",
    "vi": "vi /etc/passwd || vim /etc/passwd || cat",
    "top": "top -d 10 || cat",
    "bash -i": "bash --norc -i",
    "heredoc": "cat <<EOF; sleep 100\nx\nEOF",
    "set -e": "set +e; sleep 100; false",
    "debug trap": "trap ':' DEBUG; sleep 100",
    "many": "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; wait",
    "nested ignoring": "sh -c 'trap \"\" INT; sh -c \"sleep 100; :\"; sleep 100; :'",
}


@pytest.mark.parametrize("command", STUBBORN.values(), ids=STUBBORN.keys())
def test_interrupt(sh, command):
    time_out(sh, f"kept=1; {command}")
    interrupt(sh)
    assert sh.out("echo usable") in ("usable\n",)
    assert sh.out("trap - INT DEBUG; echo $kept") == "1\n"  # the same shell
    usable_jobs = sh.out("kill -9 $(jobs -p) 2>/dev/null; wait 2>/dev/null; true")
    assert "usable" not in usable_jobs
    assert sh.out("echo next; (exit 0)") == "next\n"


def test_rest_of_an_interrupted_command_does_not_run(sh, tmp_path):
    time_out(sh, f"sleep 100; touch {tmp_path}/ran\ntouch {tmp_path}/ran2")
    interrupt(sh)
    assert sh.out(f"ls {tmp_path}") == ""


def test_rest_after_a_killed_program_does_not_run(sh, tmp_path):
    time_out(sh, f"sh -c 'trap \"\" INT; sleep 100; :'; touch {tmp_path}/ran")
    interrupt(sh)
    usable(sh)


def test_program_is_gone_after_the_interrupt(sh, tmp_path):
    time_out(sh, f"python3 -c 'import os,signal,time\nfor s in (1,2,15,20): signal.signal(s, signal.SIG_IGN)\n"
                 f"open(\"{tmp_path}/pid\",\"w\").write(str(os.getpid())+chr(10))\nwhile 1: time.sleep(1)'", timeout=1 * SLOW)
    pid = read_pid(tmp_path / "pid")
    interrupt(sh)
    wait_gone(pid)


def test_background_jobs_survive_an_interrupt(sh):
    sh("sleep 77 &")
    time_out(sh, "sleep 100")
    interrupt(sh)
    assert sh.out("jobs -r | grep -c 'sleep 77'") == "1\n"
    sh("kill %1; wait")


def test_output_of_the_interrupt_is_what_came_after_the_timeout(sh):
    time_out(sh, "trap 'echo handler ran' INT; echo before; sleep 100; trap - INT")
    obs = sh.interrupt()
    assert "before" not in obs.output
    usable(sh)


def test_interrupt_of_an_idle_session(sh):
    began = time.monotonic()
    sh.interrupt()
    assert time.monotonic() - began < 2 * SLOW
    usable(sh)


def test_interrupt_many_times(sh):
    for _ in range(8):
        time_out(sh, "sleep 100", timeout=0.05)
        interrupt(sh)
        assert sh.out("echo x") == "x\n"


def test_interrupt_of_an_unknown_session(box):
    with pytest.raises(SessionDoesNotExistError):
        box.interrupt(session="nobody")


def test_interrupt_while_the_first_request_is_still_waiting(sh, tmp_path):
    import asyncio

    async def both():
        first = asyncio.create_task(sh.coro(f"echo $BASHPID > {tmp_path}/pid; echo seen; sleep 100"))
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.01)
        await sh.box.rt.interrupt(session=sh.name)
        return await first

    began = time.monotonic()
    obs = sh.box.go(both())
    assert obs.output.startswith("seen\n") and obs.exit_code != 0
    assert time.monotonic() - began < 5 * SLOW
    usable(sh)


def test_python_repl_interrupted_stays_a_repl(sh):
    obs = sh("python3 -q", is_interactive_command=True, expect=[">>> "], timeout=20)
    assert obs.expect_string == ">>> "
    with pytest.raises(CommandTimeoutError):
        sh("import time; time.sleep(100)", is_interactive_command=True, expect=[">>> "], timeout=0.4)
    obs = sh.interrupt(expect=[">>> "])
    assert obs.expect_string == ">>> " and "KeyboardInterrupt" in obs.output
    assert sh("print(6*7)", is_interactive_command=True, expect=[">>> "], timeout=20).output.startswith("42\n")
    sh("quit()", is_interactive_quit=True, timeout=20)
    usable(sh)


def test_close_while_busy(box):
    import asyncio

    box.create_session("busy")

    async def both():
        first = asyncio.create_task(box.rt.run_in_session("sleep 100", "busy"))
        await asyncio.sleep(0.2)
        await box.rt.close_session("busy")
        return await asyncio.gather(first, return_exceptions=True)

    began = time.monotonic()
    [result] = box.go(both())
    assert time.monotonic() - began < 5 * SLOW
    assert isinstance(result, Exception) or result.failure_reason
    box.create_session("busy")
    box.close_session("busy")

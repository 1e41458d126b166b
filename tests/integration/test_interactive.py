"""Interactive programs driven over a session: REPLs, debuggers, expect strings, quitting."""

import pytest
from server import SLOW
from swerex.exceptions import CommandTimeoutError

FAKE_DEBUGGER = """
import sys
print("fake debugger", flush=True)
while True:
    sys.stdout.write("(gdb) "); sys.stdout.flush()
    line = sys.stdin.readline()
    if not line or line.strip() == "quit":
        break
    print("you said", repr(line), flush=True)
sys.exit(0)
"""


@pytest.fixture
def debugger(sh, tmp_path):
    path = tmp_path / "debugger.py"
    path.write_text(FAKE_DEBUGGER)
    return f"python3 {path}"


def talk(sh, line, expect, **kwargs):
    obs = sh(line, is_interactive_command=True, expect=expect, timeout=20 * SLOW, **kwargs)
    assert (obs.exit_code, obs.failure_reason) == (0, "")
    return obs


def test_python_repl(sh):
    obs = talk(sh, "python3 -q", [">>> "])
    assert (obs.output, obs.expect_string) == ("", ">>> ")
    obs = talk(sh, "x = 41", [">>> "])
    assert (obs.output, obs.expect_string) == ("", ">>> ")
    assert talk(sh, "print(x + 1)", [">>> "]).output == "42\n"
    assert talk(sh, "1/0", [">>> "]).output.endswith("ZeroDivisionError: division by zero\n")
    obs = sh("quit()", is_interactive_quit=True, timeout=20 * SLOW)
    assert obs.exit_code == 0
    assert sh.out("echo shell") == "shell\n"


def test_repl_started_by_a_plain_command_with_expect(sh):
    obs = sh("python3 -q", expect=[">>> "], timeout=20 * SLOW)
    assert (obs.output, obs.expect_string) == ("", ">>> ")
    assert talk(sh, "print('hi')", [">>> "]).output == "hi\n"
    sh("exit()", is_interactive_quit=True, timeout=20 * SLOW)
    assert sh.out("echo shell") == "shell\n"


def test_continuation_prompts(sh):
    talk(sh, "python3 -q", [">>> "])
    obs = talk(sh, "for i in range(2):", ["\\.\\.\\. "])
    assert obs.expect_string == "\\.\\.\\. "  # the item of the list that matched, as upstream
    talk(sh, "    print(i)", ["... "])
    assert talk(sh, "", [">>> "]).output == "0\n1\n"
    sh("quit()", is_interactive_quit=True, timeout=20 * SLOW)


def test_literal_expect_with_special_characters(sh, debugger):
    obs = talk(sh, debugger, ["(gdb) "])
    assert (obs.output, obs.expect_string) == ("fake debugger\n", "(gdb) ")
    obs = talk(sh, "break main", ["(gdb) "])
    assert obs.output == "you said 'break main\\n'\n"
    obs = sh("quit", is_interactive_quit=True, timeout=20 * SLOW)
    assert obs.exit_code == 0
    assert sh.out("echo shell") == "shell\n"


def test_regular_expression(sh, debugger):
    obs = talk(sh, debugger, [r"\(gd.\) "])
    assert (obs.output, obs.expect_string) == ("fake debugger\n", r"\(gd.\) ")
    sh("quit", is_interactive_quit=True, timeout=20 * SLOW)


def test_dot_matches_newline(sh):
    obs = sh("echo first; echo second; sleep 0.2; echo third", expect=["first.second"], timeout=20 * SLOW)
    assert obs.expect_string == "first.second"
    sh.interrupt()
    assert sh.out("echo shell") == "shell\n"


def test_first_of_several(sh, debugger):
    assert talk(sh, debugger, ["ipdb> ", "nothing", "(gdb) "]).expect_string == "(gdb) "
    sh("quit", is_interactive_quit=True, timeout=20 * SLOW)


def test_invalid_expression_is_simply_not_found(sh):
    obs = sh("echo 'plain (text'; echo end", expect=["(unclosed", "[", "*"], timeout=20 * SLOW)
    assert obs.exit_code == 0 and obs.expect_string == "SHELLPS1PREFIX" and obs.output == "plain (text\nend\n"


def test_invalid_expression_as_a_literal_hit(sh):
    obs = sh("printf 'see (unclosed here'; sleep 20", expect=["(unclosed"], timeout=15 * SLOW)
    assert obs.expect_string == "(unclosed"
    sh.interrupt()
    assert sh.out("echo shell") == "shell\n"


def test_expect_ends_a_plain_command_early(sh):
    obs = sh("echo ready; sleep 30; echo late", expect=["ready"], timeout=20 * SLOW)
    assert obs.expect_string == "ready"
    sh.interrupt()
    assert sh.out("echo shell") == "shell\n"


def test_expect_that_never_comes_but_the_command_ends(sh):
    obs = sh("echo done; (exit 2)", expect=["never"], timeout=20 * SLOW)
    assert (obs.output, obs.exit_code, obs.expect_string) == ("done\n", 2, "SHELLPS1PREFIX")


def test_expect_across_writes(sh):
    obs = sh("printf '(g'; sleep 0.1; printf 'd'; sleep 0.1; printf 'b) '; sleep 30", expect=["(gdb) "], timeout=20 * SLOW)
    assert obs.expect_string == "(gdb) "
    sh.interrupt()
    assert sh.out("echo shell") == "shell\n"


def test_expect_in_much_output(sh):
    obs = sh("seq 200000; printf 'PROMPT> '; sleep 30", expect=["PROMPT> "], timeout=20 * SLOW)
    assert obs.expect_string == "PROMPT> " and obs.output.startswith("1\n2\n")
    sh.interrupt()
    assert sh.out("echo shell") == "shell\n"


def test_nasty_regular_expression_does_not_block(sh, box):
    """Catastrophic backtracking in a client's expression must not stop the server."""
    import asyncio

    async def both():
        slow = asyncio.create_task(sh.coro("printf 'a%.0s' $(seq 20000); echo; echo end", expect=["(a+)+$x", "(a|aa)+b"], timeout=30 * SLOW))
        for _ in range(20):
            await box.rt.is_alive(timeout=5 * SLOW)
            await asyncio.sleep(0.01)
        return await asyncio.gather(slow, return_exceptions=True)

    [result] = box.go(both())
    assert isinstance(result, CommandTimeoutError) or result.output.endswith("end\n")


def test_program_ends_by_itself(sh, debugger):
    talk(sh, debugger, ["(gdb) "])
    obs = talk(sh, "quit", ["(gdb) "])  # the shell comes back instead of the prompt
    assert obs.expect_string in ("SHELLPS1PREFIX", "")
    assert sh.out("echo shell") == "shell\n"


def test_timeout_in_an_interactive_program(sh, debugger):
    talk(sh, debugger, ["(gdb) "])
    with pytest.raises(CommandTimeoutError):
        sh("hello", is_interactive_command=True, expect=["nothing like it"], timeout=0.3)
    assert talk(sh, "again", ["(gdb) "]).expect_string == "(gdb) "
    sh.interrupt()
    assert sh.out("echo shell") == "shell\n"


def test_long_interactive_line(sh, debugger):
    """Longer than the line buffer of a tty is not promised; up to it is."""
    talk(sh, debugger, ["(gdb) "])
    assert talk(sh, "x" * 4000, ["(gdb) "]).output == f"you said '{'x' * 4000}\\n'\n"
    sh("quit", is_interactive_quit=True, timeout=20 * SLOW)
    assert sh.out("echo shell") == "shell\n"


def test_multi_line_interactive_input(sh):
    talk(sh, "python3 -q", [">>> "])
    obs = talk(sh, "print('a')\nprint('b')", ["b\n>>> "])
    assert "a\n" in obs.output
    sh("quit()", is_interactive_quit=True, timeout=20 * SLOW)
    assert sh.out("echo shell") == "shell\n"


def test_interactive_bash_inside(sh):
    talk(sh, "PS1='inner> ' bash --norc -i", ["inner> "])
    assert talk(sh, "echo $((6*7))", ["inner> "]).output.endswith("42\n")
    sh("exit", is_interactive_quit=True, timeout=20 * SLOW)
    assert sh.out("echo shell") == "shell\n"


def test_quit_leaves_the_shell_in_order(sh, tmp_path):
    (tmp_path / "raw.py").write_text("import tty,sys\nsys.stdout.write('ready> ');sys.stdout.flush()\nsys.stdin.readline()\ntty.setraw(0)\n")
    talk(sh, f"python3 {tmp_path}/raw.py", ["ready> "])
    sh("q", is_interactive_quit=True, timeout=20 * SLOW)
    assert sh.out("printf 'a\\nb\\n'") == "a\nb\n"
    settings = sh.out("stty -a | tr -s ' ;' '\\n' | grep -xE -- '-?(icanon|isig|opost|echo)' | sort")
    assert settings == "-echo\nicanon\nisig\nopost\n"


def test_real_gdb(sh, box):
    if box.execute("command -v gdb", shell=True).exit_code:
        pytest.skip("no gdb here")
    obs = talk(sh, "gdb -q -nx", ["(gdb) "])
    assert obs.expect_string == "(gdb) "
    assert "5" in talk(sh, "print 2+3", ["(gdb) "]).output
    sh("quit", is_interactive_quit=True, timeout=20 * SLOW)
    assert sh.out("echo shell") == "shell\n"

"""Session commands whose text is hard: heredocs, long lines, control bytes, quotes, markers. Outputs are exact."""

import hashlib
import random
import re

import pytest
from swerex.exceptions import BashIncorrectSyntaxError, SwerexException


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_echo(sh):
    obs = sh("echo hi")
    assert (obs.output, obs.exit_code, obs.expect_string, obs.failure_reason) == ("hi\n", 0, "SHELLPS1PREFIX", "")
    assert obs.session_type == "bash"


def test_empty_command(sh):
    for command in ("", " ", "\n", "\t\n \n", "# only a comment", "\n\n# c\n"):
        obs = sh(command)
        assert (obs.output, obs.exit_code) == ("", 0), command


@pytest.mark.parametrize("text", ["no newline", "\n\nlead", "trail\n\n\n", "  blanks  ", "\ttabs\t\n", "a\n\nb", " ", "\n"])
def test_blanks_and_newlines_stay(sh, text):
    assert sh.out(f"printf '%s' '{text}'") == text


@pytest.mark.parametrize("command,output", [
    ("cat <<EOF\na\nb\nEOF", "a\nb\n"),
    ("cat <<EOF\na\nb\nEOF\n", "a\nb\n"),
    ("cat <<'EOF'\n$HOME `date` \\x\nEOF", "$HOME `date` \\x\n"),
    ("x=1; cat <<EOF\n$x \\$x $(echo sub)\nEOF", "1 $x sub\n"),
    ('cat <<"E O F"\na\nE O F', "a\n"),
    ("cat <<\\END\n$x\nEND", "$x\n"),
    ("cat <<-EOF\n\ta\n\t\tb\n\tEOF", "a\nb\n"),
    ("cat <<EOF\n\ta\tb\nEOF", "\ta\tb\n"),
    ("cat <<EOF\na\nEOF\necho after", "a\nafter\n"),
    ("cat <<EOF && echo and\na\nEOF", "a\nand\n"),
    ("cat <<EOF | tr a-z A-Z\nabc\nEOF", "ABC\n"),
    ("cat <<EOF | tr a-z A-Z | rev && echo x\nabc\nEOF\necho y", "CBA\nx\ny\n"),
    ("cat <<A; cat <<B\na\nA\nb\nB", "a\nb\n"),
    ("cat <<A - <(cat <<B\nb\nB\n)\na\nA", "a\nb\n"),
    ("cat <<EOF\nEOF", ""),
    ("cat <<!\nx\n!", "x\n"),
    ("cat <<}\nx\n}", "x\n"),
    ("cat <<''\nx\n\necho y", "x\ny\n"),
    ("cat <<SHELLPS1PREFIX\nx\nSHELLPS1PREFIX", "x\n"),
    ("if true; then cat <<EOF\nin if\nEOF\nfi", "in if\n"),
    ("for i in 1 2; do cat <<EOF\n$i\nEOF\ndone", "1\n2\n"),
    ("f() { cat <<EOF\n$1\nEOF\n}\nf arg", "arg\n"),
    ("cat <<<'here string'", "here string\n"),
    ("python3 - <<'EOF'\nfor i in range(2):\n\tprint(i)\n\nprint('done')\nEOF", "0\n1\ndone\n"),
    ("bash <<'EOF'\necho inner\ncat <<'IN'\n$x\nIN\nEOF", "inner\n$x\n"),
    ("(cat <<EOF\nsub\nEOF\n)", "sub\n"),
    ("echo $(cat <<EOF\nx y\nEOF\n)", "x y\n"),
    ("cat <<EOF\n" + "EOF \n EOF\nEOFx\n" + "EOF", "EOF \n EOF\nEOFx\n"),
    ("cat <<'EOF' | od -An -c\ncr\r\nEOF", "   c   r  \\r  \\n\n"),
])
def test_heredocs(sh, command, output):
    obs = sh(command)
    assert (obs.output, obs.exit_code) == (output, 0)
    assert sh.out("echo next") == "next\n"


@pytest.mark.parametrize("size", [4000, 4096, 65536, 200_000, 1_000_000])
@pytest.mark.parametrize("quoted", [True, False])
def test_big_heredoc(sh, tmp_path, size, quoted):
    rng = random.Random(size)
    lines, total = [], 0
    while total < size:
        lines.append("".join(rng.choices("abcdefgh \t(){}'\"!#^;&|<>*", k=rng.randrange(120))).replace("EOF", ""))
        total += len(lines[-1]) + 1
    text = "\n".join(lines) + "\n"
    delimiter = "'EOF'" if quoted else "EOF"
    assert sh.out(f"cat > {tmp_path}/file <<{delimiter}\n{text}EOF\nwc -c < {tmp_path}/file") == f"{len(text)}\n"
    assert (tmp_path / "file").read_text() == text


def test_megabyte_heredoc_read_back(sh):
    text = "".join(f"{number:07d}\n" for number in range(125_000))
    assert digest(sh.out(f"cat <<'EOF'\n{text}EOF")) == digest(text)


@pytest.mark.parametrize("size", [4094, 4095, 4096, 4097, 100_000, 1_000_000])
def test_one_long_line(sh, size):
    line = "x" * size
    assert sh.out(f"echo '{line}' | wc -c") == f"{size + 1}\n"
    assert sh.out(f"v='{line}'; echo ${{#v}}") == f"{size}\n"


def test_many_lines(sh):
    assert sh.out("\n".join("x=$((x+1))" for _ in range(20000)) + "\necho $x") == "20000\n"


@pytest.mark.parametrize("command", [
    "cat <<EOF\nnever closed", "cat <<EOF", "cat <<'EOF'\na\n EOF", "cat <<EOF | wc\nx\nEOF2", "echo a\ncat <<EOF\nb\n"])
def test_unterminated_heredoc(sh, command):
    with pytest.raises(BashIncorrectSyntaxError) as caught:
        sh(command)
    assert set(caught.value.extra_info) >= {"bash_stdout", "bash_stderr"}
    assert sh.out("echo next") == "next\n"


@pytest.mark.parametrize("command", [
    "echo 'open", 'echo "open', "echo $(open", "echo `open", "if true; then", "for i in 1 2", "(", "{ echo a", ")", "}", "fi",
    "done", "echo a; ;; echo b", "&& echo", "echo a | | echo b", "case x in", "f() {", "echo ${open", "while", "then",
    "}; echo escaped; {", ") ; (", "};{", "echo a &&", "echo a |", "[[ a", "x=(", "echo <", "! ! ! )"])
def test_syntax_error_runs_nothing(sh, tmp_path, command):
    with pytest.raises(BashIncorrectSyntaxError) as caught:
        sh(f"touch {tmp_path}/ran\n{command}")
    assert set(caught.value.extra_info) >= {"bash_stdout", "bash_stderr"}
    assert not (tmp_path / "ran").exists()
    assert sh.out("echo next") == "next\n"


def test_unterminated_heredoc_is_told_by_the_lines_of_the_command(sh):
    for lines in (0, 2):
        with pytest.raises(BashIncorrectSyntaxError) as caught:
            sh("true\n" * lines + "cat <<EOF\nx\n")
        said = caught.value.extra_info["bash_stderr"]
        assert re.fullmatch(rf"bash: (line {lines + 2}: )?warning: here-document at line {lines + 1} delimited by end-of-file "
                            r"\(wanted `EOF'\)\nbash: syntax error: unexpected end of file\n", said), said


def test_syntax_error_says_what_bash_says(sh):
    with pytest.raises(BashIncorrectSyntaxError) as caught:
        sh("if true; then echo; done")
    assert "syntax error near unexpected token `done'" in caught.value.extra_info["bash_stderr"]
    assert "syntax error" in str(caught.value)


@pytest.mark.parametrize("check", ["silent", "raise", "ignore"])
def test_syntax_error_under_every_check(sh, check):
    with pytest.raises(BashIncorrectSyntaxError):
        sh("(", check=check)


CONTROLS = [chr(code) for code in (*range(1, 10), *range(11, 13), *range(14, 27), *range(28, 32), 127)]


@pytest.mark.parametrize("char", CONTROLS, ids=lambda char: f"{ord(char):02x}")
def test_control_byte_in_quotes_reaches_the_program(sh, char):
    assert sh.out(f"printf '%s' 'a{char}b' | od -An -tx1") == f" 61 {ord(char):02x} 62\n"


def test_escape_cr_and_lf_in_quotes_reach_the_program(sh):
    assert sh.out("printf '%s' '\x1b\r\n' | od -An -tx1") == " 1b 0d 0a\n"


def test_control_bytes_in_output_stay(sh):
    assert sh.out("printf 'a\\001\\007\\010b\\177\\tc'") == "a\x01\x07\x08b\x7f\tc"


def test_nul_in_the_command_is_a_typed_error(sh, tmp_path):
    with pytest.raises((SwerexException, ValueError)):
        sh(f"touch {tmp_path}/ran; echo 'a\0b'")
    assert not (tmp_path / "ran").exists()
    assert sh.out("echo next") == "next\n"


def test_nul_in_output(sh):
    assert sh.out("printf 'a\\0b'") == "a\0b"


def test_ansi_sequences_are_removed(sh):
    assert sh.out(r"printf '\033[1;31mred\033[0m \033]0;title\007plain \033]8;;http://x\033\\link\033(B\033=\033[?25l.\n'") == \
        "red plain link.\n"


def test_carriage_returns(sh):
    written = "a\r\nb\rc\r\r\nd\n"  # a tty adds one CR before each LF, and one is taken away again
    assert sh.out(f"printf '%s' '{written}'") in (written, written.replace("\r\n", "\n"))
    assert sh.out("echo x | tr x '\\r'") in ("\r\n", "\n")


def test_invalid_utf8_is_escaped(sh):
    assert sh.out(r"printf 'ok \377 \303( \342\202 \355\240\200 \360\237\230\200 \303\251\n'") == \
        "ok \\xff \\xc3( \\xe2\\x82 \\xed\\xa0\\x80 \U0001f600 \u00e9\n"


def test_unicode_both_ways(sh):
    text = "h\u00e9llo \u4e16\u754c \U0001f600 \u200d \ufeff"
    assert sh.out(f"echo '{text}'") == text + "\n"
    assert sh.out(f"printf '%s' '{text}' | wc -c") == f"{len(text.encode())}\n"


@pytest.mark.parametrize("text", [
    "#!/bin/bash", "!!", "!$", "!echo", "^a^b", "a!b", "wow!", "!-1:p", "!?x?"])
def test_no_history_expansion(sh, text):
    assert sh.out(f'echo "{text}"') == text + "\n"
    assert sh.out(f"echo '{text}'") == text + "\n"


def test_quick_substitution_is_a_plain_word(sh):
    sh("echo a")
    obs = sh("^a^b")
    assert obs.exit_code == 127 and obs.output.endswith("^a^b: command not found\n")


def test_shebang_script_by_echo(sh, tmp_path):
    assert sh.out(f'echo "#!/bin/bash" > {tmp_path}/s; echo "echo ran" >> {tmp_path}/s; bash {tmp_path}/s') == "ran\n"


@pytest.mark.parametrize("text", [
    "SHELLPS1PREFIX", "$SHELLPS1PREFIX", "UNIQUESTRING234", "TEMPDELIMITER", "EXITCODESTART0EXITCODEEND", "user$ ", "> ", ">>> ",
    "___EXITCODE___0", "$ ", "# ", "%", "__crex", "CREX_", "\\[\\e]0;x\\a\\]", "\x1b]1337;x"])
def test_marker_like_text_comes_back(sh, text):
    expected = re.sub("\x1b.*", "", text) if "\x1b" in text else text
    output = sh.out(f"cat <<'XX'\n{text}\nXX")
    if "\x1b" not in text:  # an escape string that never ends may swallow what follows or be shown, as a terminal would
        assert output == expected + "\n"
    assert sh.out("echo next") == "next\n"


def test_prompt_variable_comes_back(sh):
    sh("PS1='my prompt> '")
    for command in ('echo "$PS1"', 'echo "$PS1$PS1$PS1"; printf "%s" "$PS1"', 'printf "%s" "${PS1@P}"', 'echo "$PS1" | cat; echo "${PS1@P}" | cat'):
        obs = sh(f"{command}; echo; echo end; (exit 5)")
        assert obs.output.endswith("\nend\n") and obs.exit_code == 5, command
    assert sh.out("PS1='my prompt> '; echo \"$PS1$PS1\"") == "my prompt> my prompt> \n"


def test_whatever_the_shell_knows_of_us_can_be_printed(sh):
    """All variables and functions of the shell, markers of the engine included, printed back: pairing holds."""
    for command in ("set", "declare -p", "declare -f", "env", "set; declare -p; declare -f", "cat /proc/$$/environ; cat /proc/$$/cmdline"):
        obs = sh(f"{command}; echo the end")
        assert obs.exit_code == 0 and obs.output.endswith("the end\n")
        assert sh.out("echo next") == "next\n"


def test_replayed_raw_terminal_bytes(sh, tmp_path):
    """Everything that a whole bash session with tracing can print, `set -x` of our own machinery included."""
    sh(f"exec 5>{tmp_path}/trace; BASH_XTRACEFD=5; PS4='+ $PS1 '; set -vx")
    sh("echo one")
    sh("set +vx; exec 5>&-")
    assert sh.out(f"cat {tmp_path}/trace; echo end").endswith("end\n")
    assert sh.out("echo next") == "next\n"


@pytest.mark.parametrize("text", ["`", "'", '"', "\\", "$", "*", "~", "!", "{a,b}", "$(", "${", "\\n", "%s", "--", "-n", "-e"])
def test_odd_single_characters(sh, text):
    quoted = "'" + text.replace("'", "'\\''") + "'"
    assert sh.out(f"printf '%s\\n' {quoted}") == text + "\n"


def test_trailing_backslash_and_continuations(sh):
    assert sh.out("echo a \\\n b \\\n c") == "a b c\n"
    assert sh.out("echo a\\") in ("a\\\n", "a\n")
    assert sh.out("echo next") == "next\n"


def test_crlf_commands_are_not_changed(sh):
    assert sh.out("echo 'a\r\nb' | od -An -c") == "   a  \\r  \\n   b  \\n\n"


def test_twenty_megabytes_of_output(sh):
    output = sh.out("head -c 20000000 /dev/zero | tr '\\0' x | fold -w 99")
    assert digest(output) == digest(("x" * 99 + "\n") * (20000000 // 99) + "x" * (20000000 % 99))
    assert sh.out("echo next") == "next\n"


def test_output_is_the_same_in_any_pieces(sh, tmp_path):
    """Each multi-byte character and each line end is written in two writes."""
    text = "".join(f"{number}\u4e16\n" for number in range(300))
    (tmp_path / "writer.py").write_text(
        f"import os\nfor byte in {text.encode()!r}:\n    os.write(1, bytes([byte]))\n")
    assert sh.out(f"python3 {tmp_path}/writer.py") == text

"""What is written about crex is what crex does: help, manual page, guide, README; and what the shells complete."""

import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import CREX, ROOT, up

MANUAL = (ROOT / "man" / "crex.1").read_text().replace("\\-", "-").replace("\\fR", "").replace("\\fI", "")
GUIDE = (ROOT / "docs" / "cli.md").read_text()


def commands():
    text = subprocess.run([CREX, "help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  ([a-z]+) {2,}\S", text, re.M)


def help_of(command):
    return subprocess.run([CREX, command, "--help"], capture_output=True, text=True, check=True).stdout


def options_of(command):
    return set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", help_of(command).partition("Examples:")[0], re.M))


ALL = ["run", "shell", "up", "ps", "exec", "cp", "logs", "info", "down", "gc", "serve", "doctor", "version", "help", "completion"]


def test_overview_has_all_commands():
    assert sorted(commands()) == sorted(ALL)


@pytest.mark.parametrize("command", ALL)
def test_help_has_examples_and_the_manual_has_the_command(crex, command):
    text = help_of(command)
    assert text.startswith(f"Usage: crex {command}") and "Examples:" in text
    assert crex.ok("help", command) == text == crex.ok(command, "-h")
    assert max(map(len, text.splitlines())) <= 120
    assert re.search(rf"^\.(B|BR) {command}\b", MANUAL, re.M)
    assert f"crex {command}" in GUIDE or command in ("help", "version")


@pytest.mark.parametrize("command", ALL)
def test_manual_describes_every_option(command):
    for option in options_of(command):
        assert option in MANUAL, option


def test_manual_and_guide_name_only_what_exists():
    known = set().union(*(options_of(command) for command in ALL)) | {"--version", "--host", "--auth-token-file", "--unix-socket", "--port"}
    known |= {"--norc", "--rm"}
    for text in (MANUAL, GUIDE):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known
        assert set(re.findall(r"\bcrex ([a-z]+)\b(?= [A-Z\-]|`)", text)) <= set(ALL)


def test_manual_page_is_well_formed():
    if not shutil.which("man"):
        pytest.skip("man is not installed")
    result = subprocess.run(["man", "--warnings", "-l", ROOT / "man" / "crex.1"], capture_output=True, text=True,
                            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}, timeout=60)
    assert result.returncode == 0 and result.stderr == ""


def test_examples_of_the_help_are_commands_that_parse(crex):
    """Every `crex ...` of an example names commands and options that exist."""
    for command in ALL:
        for line in help_of(command).partition("Examples:")[2].splitlines():
            for name, rest in re.findall(r"\bcrex ([a-z]+)((?: [^|&<>]*)?)", line):
                assert name in ALL, line
                options = set(re.findall(r"(?<![\w-])--[a-z-]+", rest.partition(" -- ")[0]))
                assert name == "serve" or options <= options_of(name), line


# ---- completion ----


def words(crex, *typed):
    return [line.partition("\t")[0] for line in crex.ok("__complete", *typed).splitlines()]


def test_candidates(crex, server):
    up(crex, server, "web")
    assert words(crex, "do") == ["down", "doctor"]
    assert set(words(crex, "")) == set(ALL)
    assert words(crex, "exec", "") == ["web"]
    assert words(crex, "exec", "web", "") == [":files"]
    assert words(crex, "exec", "-it", "w") == ["web"]
    assert words(crex, "exec", "-w", "w") == []
    assert words(crex, "down", "web", "") == ["web"]
    assert words(crex, "cp", "w") == ["web:", ":files"]
    assert words(crex, "run", "--pull", "") == ["missing", "always", "never"]
    assert words(crex, "run", "--engine", "p") == ["podman"]
    assert words(crex, "run", "--deployment", "") == [":files"]
    assert words(crex, "run", "--de") == ["--deployment"]
    assert words(crex, "run", "--local", "--", "--de") == [":files"]
    assert words(crex, "-v", "help", "ru") == ["run"]
    assert words(crex, "completion", "") == ["bash", "zsh", "fish"]
    assert words(crex, "nonsense", "") == [":files"]
    assert words(crex) == []


def shell(crex, name, script, cwd):
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    environment = crex.environment({"PATH": f"{pathlib.Path(CREX).parent}:{crex.env['PATH']}"})
    result = subprocess.run([name, *(["-f"] if name == "zsh" else []), "-c", script], capture_output=True, text=True, timeout=60, cwd=cwd,
                            env=environment)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    return result.stdout.split()


BASH = """
source <(crex completion bash)
ask() { COMP_LINE=$1 COMP_POINT=${#1}; _crex; printf '%s ' "${COMPREPLY[@]}" .; }
"""


def test_bash(crex, server, tmp_path):
    up(crex, server, "web")
    (tmp_path / "some file").write_text("")
    ask = 'ask "crex do"; ask "crex exec "; ask "crex run --pull a"; ask "crex cp web:/x ./so"; ask "crex cp we"; ask "crex cp web:"'
    assert shell(crex, "bash", BASH + ask, tmp_path) == ["down", "doctor", ".", "web", ".", "always", ".", "./some", "file", ".", "web:", ".", "."]


def test_zsh(crex, server, tmp_path):
    """Parsed and run by zsh, with the two functions of its completion system that it ends in stood in for."""
    up(crex, server, "web")
    script = """
    compdef() { :; }
    compadd() { print -r -- "${candidates[@]}"; }
    _files() { print files; }
    source <(crex completion zsh)
    ask() { words=("$@"); CURRENT=$#; _crex; }
    ask crex do; ask crex exec ''; ask crex cp we
    """
    assert shell(crex, "zsh", script, tmp_path) == ["down", "doctor", "web", "web:", "files"]


def test_fish(crex, server, tmp_path):
    up(crex, server, "web")
    script = """
    crex completion fish | source
    complete -C 'crex do' | string split -f1 \\t
    complete -C 'crex exec ' | string split -f1 \\t
    complete -C 'crex run --pull a' | string split -f1 \\t
    true
    """
    assert shell(crex, "fish", script, tmp_path) == ["doctor", "down", "web", "always"]


def test_files_of_the_completion_are_what_the_command_prints(crex):
    for name, file in (("bash", "crex.bash"), ("zsh", "_crex"), ("fish", "crex.fish")):
        assert crex.ok("completion", name) == (ROOT / "completions" / file).read_text()
    assert "zsh" in crex.fails(125, "completion", "tcsh")


# ---- commands that tell of crex ----


def test_version(crex):
    assert re.fullmatch(r"crex \d+\.\d+\.\d+, compatible with SWE-ReX 1\.4\.0\n", crex.ok("version"))
    assert crex.ok("--version") == crex.ok("version")
    assert set(crex.json("version")) == {"version", "swerex"}


def test_unknown_commands(crex):
    assert "did you mean 'run'" in crex.fails(125, "rnu")
    assert "did you mean 'down'" in crex.fails(125, "stop")
    assert "did you mean 'exec'" in crex.fails(125, "help", "exce")
    assert "crex help" in crex.fails(125, "xyzzy")
    assert crex().returncode == 125 and "Usage" in crex().stdout


def test_doctor(crex):
    report = crex.json("doctor")
    names = {check["name"]: check for check in report["checks"]}
    assert report["works"] is True and names["local"]["works"] is True
    assert {"docker", "server x86_64", "server aarch64", "state"} <= set(names)
    assert all(check["message"] for check in report["checks"])


def test_doctor_says_when_nothing_works(crex, tmp_path):
    result = crex("doctor", env={"PATH": str(tmp_path), "DOCKER_HOST": "unix:///nowhere"})
    assert result.returncode == 1 and "bash" in result.stdout and result.stderr.startswith("crex: ")
    assert crex("doctor", "--json", env={"PATH": str(tmp_path)}).returncode == 1


def test_gc_where_nothing_is_left(crex, tmp_path):
    result = crex("gc", env={"PATH": str(tmp_path)})
    assert (result.returncode, result.stdout) == (0, "")
    assert crex.json("gc", env={"PATH": str(tmp_path)}) == {"removed": []}

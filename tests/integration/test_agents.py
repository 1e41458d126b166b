"""The orders of calls of SWE-agent and of mini-swe-agent, as their deployments make them."""

import pytest
from server import SLOW
from swerex.exceptions import BashIncorrectSyntaxError, CommandTimeoutError, SwerexException


def tool(root, name, script):
    (root / name / "bin").mkdir(parents=True)
    (root / name / "bin" / name).write_text(script)
    (root / name / "bin" / name).chmod(0o755)
    (root / name / "config.yaml").write_text(f"tools: {{{name}: {{}}}}\n")
    (root / name / "install.sh").write_text("#!/usr/bin/env bash\necho installing\n")


def test_swe_agent(start, tmp_path):
    box = start()
    home = box.server.home
    for name in ("edit", "search", "submit"):
        tool(tmp_path / "local", name, f"#!/bin/sh\necho {name} \"$@\"\n")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "main.py").write_text("print('hello')\n")

    box.create_session(startup_source=[f"{home}/.bashrc"], startup_timeout=10)
    obs = box.run("export LANG=C.UTF-8; export LC_ALL=C.UTF-8; export PAGER=cat MANPAGER=cat TQDM_DISABLE=1 GIT_PAGER=cat", timeout=20, check="raise")
    assert obs.output == ""
    box.run("cd /", check="raise")
    assert "tmp\n" in box.run("ls", check="raise").output
    box.upload(tmp_path / "repo", tmp_path / "box" / "repo")
    assert box.run(f"chown -R root:root {tmp_path}/box/repo || true", check="raise").exit_code == 0
    clone = (f"cd {tmp_path}/box/repo && git init -q . && git -c user.email=a@b -c user.name=n add -A && "
             "git -c user.email=a@b -c user.name=n commit -qm base")
    box.execute(clone, shell=True, check=True, timeout=500)
    tools = tmp_path / "root" / "tools"
    box.gather(*[box.rt.upload(tmp_path / "local" / name, tools / name) for name in ("edit", "search", "submit")])
    for name in ("edit", "search", "submit"):
        box.run(f"export PATH=$PATH:{tools}/{name}/bin && chmod +x {tools}/{name}/bin/*", check="raise", timeout=5)
        obs = box.run(f"cd {tools}/{name} && source install.sh && chmod +x bin/*", check="raise", timeout=300)
        assert obs.output == "installing\n"
    path = box.run("echo $PATH", check="raise").output.strip()
    found = box.gather(*[box.rt.execute(f"which {name}", shell=True, check=True, env={"PATH": path}) for name in ("edit", "search", "submit")])
    assert [result.stdout for result in found] == [f"{tools}/{name}/bin/{name}\n" for name in ("edit", "search", "submit")]
    box.write_file(f"{tmp_path}/root/.swe-agent-env", "{}")
    obs = box.run("", check="raise")
    assert (obs.output, obs.exit_code) == ("", 0)

    box.run(f"cd {tmp_path}/box/repo && export ROOT=$(pwd -P)", check="raise")
    for action, output in [("ls -F", "main.py\n"), ("edit 1 2", "edit 1 2\n"), ("python3 main.py", "hello\n"),
                           ("cat <<'EOF' > new.py\nimport sys\nprint('\\t', \"x\")\nEOF\ncat new.py", "import sys\nprint('\\t', \"x\")\n"),
                           ("grep -n nothing main.py", "")]:
        assert box.run(action, timeout=30, check="silent").output == output
        with pytest.raises(FileNotFoundError):
            box.read_file(f"{tmp_path}/root/state.json")
    with pytest.raises(BashIncorrectSyntaxError):
        box.run("if [ x", timeout=30)
    with pytest.raises(CommandTimeoutError) as caught:
        box.run("echo working; sleep 100", timeout=0.5)
    assert isinstance(caught.value, SwerexException) and "working" in str(caught.value)
    box.interrupt()
    assert box.run("echo state", timeout=30).output == "state\n"
    box.write_file(f"{tmp_path}/root/state.json", '{"open_file": "main.py"}')
    assert box.read_file(f"{tmp_path}/root/state.json") == '{"open_file": "main.py"}'
    box.run(f"git add -A && git diff --cached > {tmp_path}/root/model.patch", timeout=30, check="raise")
    patch = box.read_file(f"{tmp_path}/root/model.patch", errors="backslashreplace")
    assert patch.startswith("diff --git a/new.py b/new.py\n") and "+import sys\n" in patch
    assert box.close() == {}
    assert box.server.terminate() == 0


def test_mini_swe_agent(start, tmp_path):
    box = start()

    def step(command, timeout=30):
        return box.execute(command, shell=True, check=False, cwd=str(tmp_path), timeout=timeout, merge_output_streams=True)

    assert step("pwd").stdout == f"{tmp_path}\n"
    result = step("ls missing; echo $?")
    assert result.stdout.endswith("2\n") and "No such file" in result.stdout and result.stderr == "" and result.exit_code == 0
    assert step("cat <<'EOF' > f.py\nprint('x')\nEOF\npython3 f.py").stdout == "x\n"
    assert step("exit 5").exit_code == 5
    assert step("if").exit_code == 2
    with pytest.raises(CommandTimeoutError) as caught:
        step("echo partial; sleep 100", timeout=1 * SLOW)
    assert "exceeded while running command" in str(caught.value)


def test_deployment_command_line(start, tmp_path):
    """`sh -c "swerex-remote ... || fallback"`: the fallback must not fire after an orderly end."""
    import os
    import signal
    import subprocess

    from server import BINARY, wait_until
    fallback = tmp_path / "fallback"
    with open(tmp_path / "out", "wb") as out:
        process = subprocess.Popen(["sh", "-c", f"{BINARY} --auth-token tok --host 127.0.0.1 --port 0 || touch {fallback}"], stdout=out, stderr=out)
    try:
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        wait_until(lambda: b"\n" in (tmp_path / "out").read_bytes(), "it starts", 20)
        child = int(open(children).read().split()[0])
        os.kill(child, signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert not fallback.exists()

"""Sandboxes with a name: up, ps, exec, logs, info, down, and the files behind them. On a server, which needs no engine."""

import json
import os
import re
import signal
import stat
import threading
import urllib.request

import pytest
from conftest import TOKEN, up, wait_until
from server import read_pid


def record(crex, name):
    return crex.state / "crex" / "sandboxes" / f"{name}.json"


def test_a_life(crex, server):
    assert up(crex, server, "web") == "web\n"
    assert crex.ok("exec", "web", "--", "echo", "hi") == "hi\n"
    assert crex("exec", "web", "sh", "-c", "exit 9").returncode == 9
    [row] = crex.json("ps")
    assert (row["name"], row["type"], row["status"], row["target"]) == ("web", "remote", "running", server.base_url)
    table = crex.ok("ps")
    assert "NAME" in table and "web" in table and "running" in table
    assert crex.ok("ps", "-q") == "web\n"
    assert crex.ok("down", "web") == "web\n"
    assert crex.json("ps") == []
    assert server.process.poll() is None  # it isn't ours to end


def test_exec_takes_options_on_either_side_of_the_name(crex, box):
    assert crex.ok("exec", "-e", "A=1", box, "-e", "B=2", "--", "sh", "-c", "echo $A$B") == "12\n"
    assert crex.ok("exec", box, "echo", "-e", "--") == "--\n"
    assert crex.ok("exec", box, "-w", "/", "pwd") == "/\n"


def test_exec_needs_a_name_and_a_command(crex, box):
    assert "crex ps" in crex.fails(125, "exec")
    assert "crex shell box" in crex.fails(125, "exec", box)
    assert "did you mean 'box'" in crex.fails(125, "exec", "bxo", "--", "ls")
    assert "crex ps" in crex.fails(125, "exec", "something-else", "--", "ls")


def test_files_are_the_users_own(crex, box):
    path = record(crex, box)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert TOKEN in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["box.json"]  # neither lock nor half-written file
    os.chmod(path.parent, 0o755)
    crex.ok("ps")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_token_is_only_shown_when_asked_for(crex, server, tmp_path):
    out = crex("up", "box", "--remote", server.base_url, "--json", "-v", env={"SWEREX_AUTH_TOKEN": TOKEN})
    assert json.loads(out.stdout)["name"] == "box" and TOKEN not in out.stdout + out.stderr
    for args in (["ps"], ["ps", "--json"], ["ps", "-v"], ["info", "box"], ["info", "box", "--json"], ["exec", "box", "-v", "--", "true"]):
        result = crex(*args)
        assert result.returncode == 0 and TOKEN not in result.stdout + result.stderr, args
    assert crex.json("info", "box", "--show-token")["connection"]["token"] == TOKEN
    assert TOKEN in crex.ok("info", "box", "--show-token")


def test_token_from_a_file(crex, server, tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    crex.ok("up", "box", "--remote", server.base_url, "--token-file", file)
    file.write_text("\n")
    assert "no token" in crex.fails(125, "up", "other", "--remote", server.base_url, "--token-file", file)


def test_wrong_token_says_what_to_do(crex, server):
    line = crex.fails(125, "up", "box", "--remote", server.base_url, env={"SWEREX_AUTH_TOKEN": "wrong"})
    assert "--token-file" in line and "wrong" not in line.replace("wrong token", "").lower()
    assert crex.json("ps") == []


def test_no_server_there(crex):
    crex.fails(125, "up", "box", "--remote", "http://127.0.0.1:1", "--start-timeout", "0.5")
    assert crex.json("ps") == []
    assert not list((crex.state / "crex" / "sandboxes").iterdir())


def test_unix_socket(crex, tmp_path):
    from server import Server

    instance = Server(token=TOKEN, unix_socket=tmp_path / "socket")
    try:
        crex.ok("up", "box", "--remote", f"unix:{tmp_path / 'socket'}", env={"SWEREX_AUTH_TOKEN": TOKEN})
        assert crex.ok("exec", "box", "--", "echo", "hi") == "hi\n"
    finally:
        instance.stop()


def test_without_credentials_nobody_says_that_it_is_gone(crex, server, box):
    there = json.loads(record(crex, box).read_text())
    there.update(type="daytona", state={"type": "daytona", "state": {
        "sandbox": "id", "toolbox": "http://127.0.0.1:9/toolbox/id", "session": "s", "command": "c", "url": "http://127.0.0.1:9",
        "header": "x-daytona-preview-token: p", "token": "t", "api_url": "http://127.0.0.1:9/api", "organization_id": None,
        "api_key": "", "ca_file": None, "runtime_timeout": 60.0, "host_timeout": None}})
    record(crex, box).write_text(json.dumps(there))
    [row] = crex.json("ps")
    assert (row["status"], "DAYTONA_API_KEY" in row["message"]) == ("unknown", True)
    line = crex.fails(125, "up", box, "--remote", server.base_url, env={"SWEREX_AUTH_TOKEN": TOKEN})
    assert "gone" not in line and "DAYTONA_API_KEY" in line


def test_a_clouds_key_is_not_a_servers_token(crex, tmp_path):
    config = tmp_path / "fargate.json"
    config.write_text(json.dumps({"type": "fargate", "region": "us-east-1", "ingress_cidr": "127.0.0.1/32",
                                  "endpoint_url": "http://127.0.0.1:9"}))
    line = crex.fails(125, "run", "--deployment", config, "--", "true", env={"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"})
    assert "AWS_SECRET_ACCESS_KEY" in line and "--token-file" not in line


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../x", "-dash", "a b", "x" * 64, "a:b", "ü"])
def test_bad_names(crex, server, name):
    crex.fails(125, "up", "--remote", server.base_url, "--", name, env={"SWEREX_AUTH_TOKEN": TOKEN})
    crex.fails(125, "exec", "--", name, "ls")
    assert not record(crex, "x").parent.exists() or not list(record(crex, "x").parent.iterdir())


def test_a_name_is_taken_once(crex, server, box):
    assert "crex down box" in crex.fails(125, "up", "box", "--remote", server.base_url, env={"SWEREX_AUTH_TOKEN": TOKEN})
    server.kill()
    assert "gone" in crex.fails(125, "up", "box", "--remote", server.base_url, env={"SWEREX_AUTH_TOKEN": TOKEN})


def test_of_many_ups_of_one_name_one_wins(crex, server):
    results = []

    def start():
        results.append(crex("up", "web", "--remote", server.base_url, env={"SWEREX_AUTH_TOKEN": TOKEN}))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.returncode for result in results) == [0] + 7 * [125]
    assert crex.ok("exec", "web", "--", "echo", "hi") == "hi\n"


def test_gone_is_told_and_can_be_taken_down(crex, server, box):
    server.kill()
    [row] = crex.json("ps")
    assert row["status"] == "gone" and row["message"]
    assert "gone" in crex.ok("ps")
    crex.fails(125, "exec", "box", "--", "ls")
    assert crex.ok("down", "box") == "box\n"


def test_starting_is_told(crex):
    import socket

    with socket.socket() as listener:  # accepts and never answers
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = crex.start("up", "slow", "--remote", url, "--start-timeout", "60")
        wait_until(record(crex, "slow").exists, "a record is there")
        assert [row["status"] for row in crex.json("ps")] == ["starting"]
        assert "starting" in crex.fails(125, "exec", "slow", "--", "ls")
        assert "right now" in crex.fails(125, "up", "slow", "--remote", url)
        assert "right now" in crex.fails(125, "down", "slow")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert crex.json("ps") == []


def test_an_up_that_was_killed_is_gone_and_swept(crex):
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for command in (["down", "cut"], ["gc"]):
            process = crex.start("up", "cut", "--remote", url, "--start-timeout", "60")
            wait_until(record(crex, "cut").exists, "a record is there")
            process.kill()
            process.wait()
            assert [row["status"] for row in crex.json("ps")] == ["gone"]
            assert "cut off" in crex.fails(125, "exec", "cut", "--", "ls")
            crex(*command)
            assert crex.json("ps") == []


def test_down_of_several_and_of_all(crex, server):
    for name in ("a", "b", "c"):
        up(crex, server, name)
    assert "no sandbox 'nothing'" in crex.fails(125, "down", "nothing")
    assert crex.ok("down", "a", "c").split() == ["a", "c"]
    up(crex, server, "d")
    assert crex.ok("down", "--all").split() == ["b", "d"]
    assert crex.ok("down", "--all") == ""
    assert "--all" in crex.fails(125, "down")
    assert "both" in crex.fails(125, "down", "--all", "x")


def test_sessions_of_others_are_left_alone(crex, server):
    def post(path, **body):
        request = urllib.request.Request(server.base_url + path, data=json.dumps(body).encode(),
                                         headers={"X-API-Key": TOKEN, "Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=20))

    post("/create_session", session="theirs", session_type="bash", startup_timeout=10)
    up(crex, server, "box")
    crex.ok("run", "--remote", server.base_url, "--", "true", env={"SWEREX_AUTH_TOKEN": TOKEN})
    crex.ok("shell", "box", input="true\n")
    crex.ok("down", "box")
    assert post("/run_in_session", action_type="bash", session="theirs", command="echo here")["output"] == "here\n"


def test_local_cant_outlive(crex):
    assert "crex serve" in crex.fails(125, "up", "here", "--local")
    assert crex.json("ps") == []


def test_ttl_is_for_containers(crex, server):
    assert "--ttl" in crex.fails(125, "up", "x", "--remote", server.base_url, "--ttl", "5")


def test_logs_where_none_are_kept(crex, box):
    assert "keeps no log" in crex.fails(125, "logs", box)


def test_damaged_record(crex, box, server):
    up(crex, server, "whole")
    for content in ("{", "[]", ""):
        record(crex, box).write_text(content)
        rows = {row["name"]: row for row in crex.json("ps")}
        assert {name: row["status"] for name, row in rows.items()} == {"box": "damaged", "whole": "running"}
        assert "down -f box" in rows["box"]["message"]
        assert re.search(r"^box +damaged *$", crex.ok("ps"), re.M)
        assert crex.ok("ps", "-q").split() == ["box", "whole"]
        assert "damaged" in crex.fails(125, "exec", box, "--", "ls")
        assert "damaged" in crex.fails(125, "down", box)
        crex("gc")
        assert record(crex, box).exists()
        assert crex.ok("down", "-f", box) == "box\n"
        assert [row["name"] for row in crex.json("ps")] == ["whole"]


def test_link_instead_of_a_record_is_damage(crex, box):
    record(crex, box).unlink()
    record(crex, box).symlink_to("nowhere")
    assert [row["status"] for row in crex.json("ps")] == ["damaged"]
    assert crex.ok("down", "-f", box) == "box\n"
    assert crex.json("ps") == []


def test_record_that_is_a_link_is_not_followed(crex, box, tmp_path):
    path = record(crex, box)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    crex.fails(125, "exec", box, "--", "ls")


def test_home_instead_of_state_home(crex, server):
    crex.ok("up", "box", "--remote", server.base_url, env={"SWEREX_AUTH_TOKEN": TOKEN, "XDG_STATE_HOME": None})
    assert (crex.home / ".local" / "state" / "crex" / "sandboxes" / "box.json").exists()
    assert "HOME" in crex.fails(125, "ps", env={"XDG_STATE_HOME": None, "HOME": None})


def test_serve(crex, tmp_path):
    process = crex.start("serve", "--port", "0")
    try:
        line = process.stdout.readline()
        url = line.split()[-1]
        assert "http://127.0.0.1:" in url
        token = crex.state / "crex" / "serve-token"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert token.read_text().strip().encode() not in open(f"/proc/{process.pid}/cmdline", "rb").read()
        assert crex.ok("run", "--remote", url, "--token-file", token, "--", "echo", "hi") == "hi\n"
        # one more that fails leaves the clients of this one what they have
        assert crex("serve", "--port", url.rsplit(":", 1)[1]).returncode != 0
        assert crex.ok("run", "--remote", url, "--token-file", token, "--", "echo", "hi") == "hi\n"
        first = token.read_text()
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert "Usage: crex serve" in crex.ok("serve", "--help")
    for spoil in (lambda: token.chmod(0o644), lambda: token.write_text("x")):
        spoil()
        assert crex("serve", "--port", "nonsense").returncode != 0
        assert token.read_text() not in (first, "x") and stat.S_IMODE(token.stat().st_mode) == 0o600
        first = token.read_text()


def test_interrupted_exec_ends_the_command(crex, box, streams, tmp_path):
    process = crex.start("exec", box, "--", "sh", "-c", f"echo $$ >{tmp_path}/pid; exec sleep 100")
    pid = read_pid(tmp_path / "pid")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the command is gone")
    assert crex.ok("exec", box, "--", "echo", "still there") == "still there\n"

"""X-Request-ID: a command runs once, whoever repeats it and when."""

import uuid

import pytest
from server import SLOW, wait_until


def identity():
    return str(uuid.uuid4())


def test_concurrent_repeat_waits_for_the_first(box, tmp_path):
    name = identity()
    command = f"echo x >> {tmp_path}/runs; sleep 0.5; wc -l < {tmp_path}/runs"
    replies = box.gather(*[box.rt.execute(command, shell=True, request_id=name) for _ in range(10)])
    assert {reply.stdout for reply in replies} == {"1\n"}
    assert (tmp_path / "runs").read_text() == "x\n"


def test_later_repeat_gets_the_stored_reply(box, tmp_path):
    name = identity()
    command = f"echo x >> {tmp_path}/runs; wc -l < {tmp_path}/runs"
    assert box.execute(command, shell=True, request_id=name).stdout == "1\n"
    assert box.execute(command, shell=True, request_id=name).stdout == "1\n"
    assert box.execute(command, shell=True).stdout == "2\n"


def test_sessions_too(sh):
    name = identity()
    assert sh("x=$((x+1)); echo $x", request_id=name).output == "1\n"
    assert sh("x=$((x+1)); echo $x", request_id=name).output == "1\n"
    assert sh.out("echo $x") == "1\n"


def test_many_interleaved(box, tmp_path):
    names = [identity() for _ in range(50)]

    def command(number):
        return f"echo x >> {tmp_path}/{number}; echo {number}"

    for _ in range(3):
        replies = box.gather(*[box.rt.execute(command(number), shell=True, request_id=name) for number, name in enumerate(names)])
        assert [reply.stdout for reply in replies] == [f"{number}\n" for number in range(50)]
    assert all((tmp_path / str(number)).read_text() == "x\n" for number in range(50))


def test_errors_are_stored_too(box):
    name = identity()
    messages = []
    for _ in range(2):
        with pytest.raises(FileNotFoundError) as caught:
            box.execute(["/nonexistent/tool"], request_id=name)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_other_id_runs_again(box, tmp_path):
    for _ in range(3):
        box.execute(f"echo x >> {tmp_path}/runs", shell=True)
    assert (tmp_path / "runs").read_text() == "x\n" * 3


def test_without_an_id_each_runs(wire, tmp_path):
    from rawhttp import request
    connection = wire()
    for _ in range(2):
        connection.send(request("POST", "/execute", {"command": f"echo x >> {tmp_path}/runs", "shell": True})).reply()
    assert (tmp_path / "runs").read_text() == "x\nx\n"


def test_repeat_after_the_first_client_hung_up(wire, box, tmp_path):
    from rawhttp import request
    name = identity()
    body = {"command": f"echo x >> {tmp_path}/runs; sleep 0.4; touch {tmp_path}/done; wc -l < {tmp_path}/runs", "shell": True}
    first = wire().send(request("POST", "/execute", body, headers=[f"X-Request-ID: {name}"]))
    wait_until((tmp_path / "runs").exists, "the command has begun")
    first.sock.close()
    assert box.post("execute", body, request_id=name)["stdout"] == "1\n"
    assert (tmp_path / "runs").read_text() == "x\n"


def test_wrong_token_does_not_get_a_stored_reply(wire, box):
    from rawhttp import request
    name = identity()
    box.execute("echo secret", shell=True, request_id=name)
    reply = wire().send(request("POST", "/execute", {"command": "echo secret", "shell": True}, token="wrong",
                                headers=[f"X-Request-ID: {name}"])).reply()
    assert reply.status == 401


@pytest.mark.parametrize("name", ["", "x", "y" * 4000, "a b", "\u00e9"])
def test_odd_ids(wire, name):
    from rawhttp import request
    reply = wire().send(request("POST", "/execute", {"command": ["echo", "x"]}, headers=[f"X-Request-ID: {name}"])).reply()
    assert reply.status == 200 and reply.json["stdout"] == "x\n"


def test_memory_of_stored_replies_is_bounded(server, box, tmp_path):
    (tmp_path / "big").write_text("x" * (2 << 20))
    box.read_file(tmp_path / "big")
    for _ in range(100):
        box.read_file(tmp_path / "big")
    assert server.rss_kib() < (250 if SLOW == 1 else 2000) * 1024

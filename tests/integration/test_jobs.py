"""Background jobs, servers that outlive their command, queueing, clients that hang up."""

import json
import re
import socket
import time

from rawhttp import request
from server import alive, read_pid, wait_gone, wait_until

JOB = re.compile(r"(\[\d+\] \d+\n)?")  # what an interactive bash says when it starts a job


def test_background_then_more_lines(sh):
    output = sh.out("sleep 50 &\necho first\necho second")
    assert JOB.sub("", output, count=1) == "first\nsecond\n"
    assert sh.out("jobs | wc -l") == "1\n"
    assert "sleep 50" in sh.out("jobs")
    sh("kill %1; wait %1")


def test_background_alone_returns_at_once(sh):
    began = time.monotonic()
    obs = sh("sleep 50 &")
    assert obs.exit_code == 0 and time.monotonic() - began < 10
    assert JOB.fullmatch(obs.output)


def test_finished_jobs_make_no_noise_in_later_replies(sh):
    sh("sleep 0.05 & wait")
    assert sh.out("echo hi") == "hi\n"
    sh("true &")
    sh.box.execute(["sleep", "0.3"])
    assert sh.out("echo hi") == "hi\n"
    assert sh.out("echo again") == "again\n"


def test_wait_gives_the_status(sh):
    sh("(sleep 0.1; exit 7) &")
    assert sh("wait $!").exit_code == 7


def test_background_output_goes_somewhere_and_pairing_holds(sh, tmp_path):
    sh(f"(while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo from background; touch {tmp_path}/said) &")
    assert sh.out("echo one") == "one\n"
    output = sh.out(f"touch {tmp_path}/go; while [ ! -e {tmp_path}/said ]; do sleep 0.02; done; echo two")
    assert output.endswith("two\n") and "from background\n" in output


def test_nohup_server_answers_until_the_session_is_closed(box):
    box.create_session("web")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    obs = box.run(f"cd $(mktemp -d); nohup python3 -m http.server {port} --bind 127.0.0.1 > log 2>&1 &\necho $!", "web")
    pid = int(obs.output.split()[-1])

    def answers():
        return box.execute(["curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{port}/"]).exit_code == 0

    wait_until(answers, "the user's server answers", 20)
    assert box.run("echo hi", "web").output == "hi\n"
    assert alive(pid)
    box.close_session("web")
    wait_gone(pid)


def test_daemon_with_the_tty_still_open_does_not_hold_the_reply(sh):
    began = time.monotonic()
    assert sh.out("setsid sleep 30 & disown; echo now").endswith("now\n")
    assert time.monotonic() - began < 10


def test_background_reader_of_the_terminal_does_not_steal(sh):
    sh("cat &")
    assert sh.out("echo hi").endswith("hi\n")
    assert sh.out("echo again") == "again\n"
    sh("kill -9 %1; wait")


def test_requests_to_one_session_queue_in_order(sh, tmp_path):
    import asyncio

    async def in_order():
        tasks = []
        for number in range(30):
            tasks.append(asyncio.create_task(sh.coro(f"sleep 0.01; echo {number} >> {tmp_path}/log; echo {number}")))
            await asyncio.sleep(0.01)
        return await asyncio.gather(*tasks)

    replies = sh.box.go(in_order())
    assert [reply.output for reply in replies] == [f"{number}\n" for number in range(30)]
    logged = (tmp_path / "log").read_text().split()
    assert sorted(logged, key=int) == [str(number) for number in range(30)]


def test_pipelined_requests_to_one_session_run_in_order(sh, wire):
    batch = b"".join(request("POST", "/run_in_session", {"action_type": "bash", "session": sh.name, "command": f"x=${{x}}{number}; echo $x"})
                     for number in range(10))
    connection = wire().send(batch)
    for number in range(10):
        assert connection.reply().json["output"] == "0123456789"[:number + 1] + "\n"


def test_sessions_run_in_parallel(box):
    names = [f"p{number}" for number in range(8)]
    box.gather(*[box.rt.create_session(name) for name in names])
    began = time.monotonic()
    replies = box.gather(*[box.rt.run_in_session("sleep 1; echo $$", name) for name in names])
    assert time.monotonic() - began < 4
    assert len({reply.output for reply in replies}) == 8
    box.gather(*[box.rt.close_session(name) for name in names])


def test_a_client_that_hangs_up_does_not_stop_the_command(sh, wire, tmp_path):
    connection = wire()
    connection.send(request("POST", "/run_in_session", {
        "action_type": "bash", "session": sh.name,
        "command": f"echo $BASHPID > {tmp_path}/pid; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; x=finished; touch {tmp_path}/done"}))
    read_pid(tmp_path / "pid")
    connection.sock.close()
    (tmp_path / "go").write_text("")
    wait_until((tmp_path / "done").exists, "the command goes on")
    assert sh.out("echo $x") == "finished\n"


def test_hanging_up_while_queued(sh, wire, tmp_path):
    first, second = wire(), wire()
    first.send(request("POST", "/run_in_session", {"action_type": "bash", "session": sh.name,
                                                   "command": f"echo $BASHPID > {tmp_path}/pid; sleep 0.3; x=1"}))
    read_pid(tmp_path / "pid")
    second.send(request("POST", "/run_in_session", {"action_type": "bash", "session": sh.name, "command": "x=${x}2"}))
    second.sock.close()
    assert json.loads(first.reply().body)["exit_code"] == 0
    assert sh.out("echo next") == "next\n"


def test_disowned_pipeline_and_coproc(sh):
    assert sh.out("coproc cat; echo to >&${COPROC[1]}; read -u ${COPROC[0]} x; echo $x").endswith("to\n")
    sh("kill $COPROC_PID; wait")
    assert sh.out("echo hi") == "hi\n"


def test_job_control_commands(sh):
    sh("sleep 60 &")
    sh("kill -STOP %1; until jobs -s | grep -q sleep; do sleep 0.02; done")
    assert sh("bg %1").exit_code == 0
    assert sh("kill %1; wait %1").exit_code == 143
    assert sh.out("echo hi") == "hi\n"


def test_a_program_that_stops_itself(sh):
    obs = sh("sh -c 'kill -STOP $$'; echo back", timeout=10)
    assert obs.output.endswith("back\n")
    sh("kill -9 %1; wait")
    assert sh.out("echo hi") == "hi\n"

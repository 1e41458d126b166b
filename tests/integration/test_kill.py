"""No descendant outlives what started it: a closed session, an ended server, even a killed one."""

import asyncio
import os
import pathlib
import signal
import subprocess
import time

import pytest
from server import SLOW, alive, read_pid, wait_gone, wait_until
from swerex.exceptions import CommandTimeoutError

DAEMON = """
import os, signal, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for number in (1, 2, 3, 13, 15, 20): signal.signal(number, signal.SIG_IGN)
os.closerange(0, 100)
with open(sys.argv[1] + ".part", "w") as stream: stream.write(f"{os.getpid()}\\n")
os.rename(sys.argv[1] + ".part", sys.argv[1])
while True: time.sleep(1000)
"""

WAYS = {
    "foreground": "sh -c 'echo $$ > {pid}; exec sleep 2001'",
    "background": "sleep 2002 & echo $! > {pid}; sleep 2102",
    "nohup": "nohup sleep 2003 >/dev/null 2>&1 & echo $! > {pid}; disown -a; sleep 2103",
    "setsid": "setsid sh -c 'echo $$ > {pid}; exec sleep 2004' & sleep 2104",
    "double fork": "python3 {daemon} {pid}; sleep 2105",
    "ignores all": "sh -c 'trap \"\" HUP INT TERM QUIT; echo $$ > {pid}; while :; do sleep 1; done'",
    "stopped": "sh -c 'echo $$ > {pid}; kill -STOP $$; sleep 2006' & sleep 2106",
    "orphan of an orphan": "(setsid sh -c '(setsid sh -c \"echo \\$\\$ > {pid}; exec sleep 2007\" &) ; exit' &) ; sleep 2107",
    "subshell tree": "(( sleep 2008 & echo $! > {pid}; sleep 2108 ) ; true ) ; true",
}


def command(way, tmp_path, name="pid"):
    (tmp_path / "daemon.py").write_text(DAEMON)
    return WAYS[way].format(pid=tmp_path / name, daemon=tmp_path / "daemon.py")


def begin(box, wire, tmp_path, way, session):
    """Starts the command in the session without waiting for its reply; returns the descendant's pid and the connection."""
    from rawhttp import request
    connection = wire().send(request("POST", "/run_in_session", {"action_type": "bash", "session": session, "command": command(way, tmp_path)}))
    return read_pid(tmp_path / "pid"), connection


@pytest.mark.parametrize("way", WAYS)
def test_closed_session(box, wire, tmp_path, way):
    box.create_session("doomed")
    pid, _ = begin(box, wire, tmp_path, way, "doomed")
    assert alive(pid)
    box.close_session("doomed")
    wait_gone(pid)


@pytest.mark.parametrize("way", ["foreground", "double fork", "setsid"])
def test_close_all(start, tmp_path, way):
    box = start()
    from rawhttp import Wire
    box.create_session()
    pid, _ = begin(box, lambda: Wire(box.server.connect()), tmp_path, way, "default")
    box.close()
    wait_gone(pid)


@pytest.mark.parametrize("way,signum", [*((way, signal.SIGTERM) for way in WAYS), ("foreground", signal.SIGINT), ("double fork", signal.SIGINT)])
def test_orderly_end_of_the_server(start, tmp_path, way, signum):
    box = start()
    from rawhttp import Wire
    box.create_session()
    pid, _ = begin(box, lambda: Wire(box.server.connect()), tmp_path, way, "default")
    assert box.server.terminate(signum) == 0
    wait_gone(pid)


@pytest.mark.parametrize("way", ["foreground", "setsid", "double fork"])
def test_orderly_end_with_an_execution_under_way(start, tmp_path, way):
    box = start()
    from rawhttp import Wire, request
    connection = Wire(box.server.connect()).send(request("POST", "/execute", {"command": ["bash", "-c", command(way, tmp_path)]}))
    pid = read_pid(tmp_path / "pid")
    assert box.server.terminate() == 0
    wait_gone(pid)
    connection.sock.close()


@pytest.mark.parametrize("last", ["exit 3", "kill -9 $$", "exec true"])
def test_daemon_goes_with_the_shell_that_bore_it(start, tmp_path, last):
    """It has let go of the session, the terminal and the environment; others have left such daemons before and after."""
    box = start()
    for name in ("before", "after"):
        if name == "after":
            box.create_session()
            bearing = command("double fork", tmp_path).replace("; sleep 2105", "").replace("python3", "env -i /usr/bin/python3")
            box.run(bearing)
            daemon = read_pid(tmp_path / "pid")
        box.execute(["bash", "-c", command("double fork", tmp_path, name).replace("; sleep 2105", "")])
    assert box.run(last).failure_reason
    wait_gone(daemon)
    assert all(alive(read_pid(tmp_path / name)) for name in ("before", "after")), "those of executions stay"


def test_leftover_of_a_finished_execution_goes_with_the_server(start, tmp_path):
    box = start()
    box.execute(["bash", "-c", command("double fork", tmp_path).replace("; sleep 2105", "")])
    pid = read_pid(tmp_path / "pid")
    assert box.server.terminate() == 0
    wait_gone(pid)


@pytest.mark.parametrize("who", ["first", "serving"])
def test_leftover_of_a_finished_execution_goes_with_a_killed_server(start, tmp_path, who):
    box = start()
    box.execute(["bash", "-c", command("double fork", tmp_path).replace("; sleep 2105", "")])
    pid = read_pid(tmp_path / "pid")
    os.kill(box.server.pid() if who == "serving" else box.server.first_pid(), signal.SIGKILL)
    wait_gone(pid)


@pytest.mark.parametrize("who", ["first", "serving"])
def test_killed_server_takes_shells_and_executions_along(start, tmp_path, who):
    """What the kernel guarantees: direct children by PDEATHSIG, foreground programs by the hangup of their terminal."""
    box = start()
    from rawhttp import Wire, request

    def connect():
        return Wire(box.server.connect())

    box.create_session()
    shell = int(box.run("echo $$").output)
    foreground, _ = begin(box, connect, tmp_path, "foreground", "default")
    execution = connect().send(request("POST", "/execute", {"command": ["sh", "-c", f"echo $$ > {tmp_path}/exec; exec sleep 2010"]}))
    execution_pid = read_pid(tmp_path / "exec")
    os.kill(box.server.pid() if who == "serving" else box.server.first_pid(), signal.SIGKILL)
    for pid in (shell, execution_pid, foreground):
        wait_gone(pid)
    execution.sock.close()


@pytest.mark.parametrize("who", ["first", "serving"])
@pytest.mark.parametrize("way", ["setsid", "double fork", "nohup", "orphan of an orphan"])
def test_killed_server_takes_detached_descendants_along(start, tmp_path, way, who):
    """Better than the kernel alone: see the guardian in docs/architecture.md."""
    from rawhttp import Wire
    box = start()
    box.create_session()
    pid, _ = begin(box, lambda: Wire(box.server.connect()), tmp_path, way, "default")
    os.kill(box.server.pid() if who == "serving" else box.server.first_pid(), signal.SIGKILL)
    wait_gone(pid)


@pytest.mark.parametrize("way", ["foreground", "setsid", "double fork"])
def test_orderly_end_without_a_guardian(start, tmp_path, way):
    from rawhttp import Wire
    box = start("--no-guardian")
    assert box.server.pid() == box.server.first_pid()
    box.execute(["bash", "-c", command("double fork", tmp_path, "left").replace("; sleep 2105", "")])
    box.create_session()
    pid, _ = begin(box, lambda: Wire(box.server.connect()), tmp_path, way, "default")
    assert box.server.terminate() == 0
    wait_gone(pid)
    wait_gone(read_pid(tmp_path / "left"))


def test_close_of_many_sessions(start, tmp_path):
    """A kill costs what its own tree is worth, and none of them keeps the server from answering."""
    from rawhttp import Wire, request
    box = start()
    names = [str(number) for number in range(150)]

    async def begin_all():
        for first in range(0, len(names), 10):
            some = names[first:first + 10]
            await asyncio.gather(*[box.rt.create_session(name, startup_timeout=60) for name in some])
            await asyncio.gather(*[box.rt.run_in_session(f"sleep 2011 & echo $! >> {tmp_path}/pids; (setsid sleep 2011 & echo $! >> {tmp_path}/pids)", name)
                                   for name in some])

    box.go(begin_all(), deadline=120)
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2 * len(names) and all(alive(pid) for pid in pids)
    began = time.monotonic()
    closing = Wire(box.server.connect()).send(request("POST", "/close", {}))
    times = []
    with Wire(box.server.connect()) as probe:
        while not times or any(alive(pid) for pid in pids):
            asked = time.monotonic()
            assert probe.send(request("GET", "/is_alive")).reply().json["is_alive"]
            times.append(time.monotonic() - asked)
            assert asked - began < 30 * SLOW, "all are gone"
    assert time.monotonic() - began < 1.5 * SLOW  # some 0.1 s
    assert max(times) < 0.15 * SLOW
    closing.reply()
    closing.sock.close()


def test_second_signal_while_ending(start):
    box = start()
    box.create_session()
    box.run("trap '' TERM HUP INT")
    os.kill(box.server.first_pid(), signal.SIGTERM)
    try:
        os.kill(box.server.first_pid(), signal.SIGTERM)
    except ProcessLookupError:
        pass
    assert box.server.process.wait(15) == 0


def test_pending_requests_are_answered_or_closed_at_the_end(start):
    box = start()
    box.create_session()

    async def pending():
        tasks = [asyncio.create_task(box.rt.run_in_session("sleep 100")), asyncio.create_task(box.rt.execute(["sleep", "100"]))]
        await asyncio.sleep(0.3)
        os.kill(box.server.first_pid(), signal.SIGTERM)
        return await asyncio.gather(*tasks, return_exceptions=True)

    for result in box.go(pending(), deadline=30):
        assert isinstance(result, Exception) or result.failure_reason
    assert box.server.process.wait(15) == 0


def processes_in(namespace):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "ns" / "pid") == namespace:
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="unshare --pid needs root")
class TestAsProcessOne:
    def begin(self, start):
        return start(wrap=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"])

    def test_works_and_reaps(self, start, tmp_path):
        box = self.begin(start)
        assert box.execute(["sh", "-c", "readlink /proc/1/exe"]).stdout.endswith("/swerex-remote\n")
        box.create_session()
        assert box.run("echo hi").output == "hi\n"
        box.run("for i in 1 2 3 4 5; do (setsid sleep 0.05 &) ; done")
        box.execute("(setsid sleep 0.05 &) ; true", shell=True)
        wait_until(lambda: "Z" not in box.execute("cat /proc/[0-9]*/stat | sed 's/.*) //' | cut -c1", shell=True).stdout, "no zombies")

    def test_kill_of_everything_spares_the_server(self, start):
        box = self.begin(start)
        box.create_session()
        assert box.server.pid() == box.server.first_pid()
        assert box.run("sleep 3001 & kill -9 -1").exit_code == 0
        assert box.execute(["sh", "-c", "kill -9 -1; echo alive"]).stdout == "alive\n"
        assert box.execute(["echo", "hi"]).stdout == "hi\n"

    def test_processes_put_beside_it_are_spared(self, start, tmp_path):
        """As by `docker exec`: its daemons become the server's children like those of sessions, and are nobody's to kill."""
        box = self.begin(start)

        def put_beside(name):
            path = tmp_path / name
            inner = f"setsid sh -c 'echo $$ > {path}.part; mv {path}.part {path}; exec sleep 3100' </dev/null >/dev/null 2>&1 &"
            subprocess.run(["nsenter", f"--target={box.server.pid()}", "--pid", "--mount", "sh", "-c", inner], check=True, timeout=20)
            return read_pid(path)

        def run_all(tag):
            box.create_session(tag)
            box.run(f"setsid sleep 3101 & (setsid env -i sleep 3101 </dev/null >/dev/null 2>&1 &); echo > {tmp_path}/{tag}", tag)

        def count(seconds):
            text = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
            return box.execute(text, shell=True).stdout.count(f"sleep {seconds} ")

        put_beside("before")
        for tag in ("exits", "closed", "killed"):
            run_all(tag)
            put_beside("while-" + tag)
        assert (count(3100), count(3101)) == (4, 6)
        assert box.run("exit 3", "exits").exit_code == 3
        wait_until(lambda: count(3101) == 4, "the daemons of the shell that ended are gone")
        box.run("kill -9 $$", "killed")
        box.close_session("closed")
        with pytest.raises(CommandTimeoutError):
            box.execute("setsid sleep 3101 & sleep 3101", shell=True, timeout=0.2)
        wait_until(lambda: count(3101) == 0, "all of ours are gone")
        assert count(3100) == 4
        assert box.server.terminate() == 0

    def test_orderly_end(self, start):
        box = self.begin(start)
        box.create_session()
        namespace = os.readlink(f"/proc/{box.server.pid()}/ns/pid")
        box.execute("setsid sleep 3000 >/dev/null 2>&1 & true", shell=True)
        assert box.server.terminate() == 0
        wait_until(lambda: not processes_in(namespace), "the namespace is empty")

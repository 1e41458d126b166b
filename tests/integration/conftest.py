"""One server a module; a client and a session a test."""

import itertools
import pathlib
import sys

import pytest

pytest.register_assert_rewrite("client", "server", "rawhttp")
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from client import Box, Runtime, Shell  # noqa: E402
from rawhttp import Wire  # noqa: E402
from server import Server  # noqa: E402

session_names = (f"s{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server():
    instance = Server()
    yield instance
    instance.stop()


@pytest.fixture
def box(server):
    instance = Box(Runtime(server.base_url, server.token))
    yield instance
    instance.shut()


@pytest.fixture
def start(tmp_path):
    """Starts further servers, with other arguments; gives a Box whose `server` is the process."""
    started = []

    def launch(*args, **kwargs):
        instance = Server(*args, **kwargs)
        client = Box(Runtime(instance.base_url, instance.token, kwargs.get("unix_socket")))
        client.server = instance
        started.append((instance, client))
        return client

    yield launch
    for instance, client in started:
        client.shut()
        instance.end()
        instance.scratch.cleanup()


@pytest.fixture
def sh(box):
    """A fresh session, closed afterwards."""
    name = next(session_names)
    box.create_session(name)
    yield Shell(box, name)
    try:
        box.close_session(name)
    except ValueError:  # SessionDoesNotExistError: the test ended it
        pass


@pytest.fixture
def wire(server):
    """Opens plain connections to the module's server."""
    opened = []

    def connect(timeout=20):
        opened.append(Wire(server.connect(timeout)))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.sock.close()

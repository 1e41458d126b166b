"""A stand-in for SWE-ReX 1.4.0's RemoteRuntime, as the server sees it.

What matters is kept: aiohttp, a new TCP connection for each request, X-API-Key, a fresh X-Request-ID for each
POST (not for uploads), every field of a request sent with its default, directories uploaded as a zip whose
`file` part comes before the fields, and exceptions rebuilt by importing the class path and calling the class
with the message alone. Stricter than the original in one thing: where it would fall back to a generic
exception because a class can't be imported or called, this client raises AssertionError.

`Box` is the synchronous face that most tests use; `Box.go` runs coroutines of `Box.rt` together.
"""

import asyncio
import importlib
import pathlib
import shutil
import tempfile
import types
import uuid

import aiohttp

OBSERVATION_FIELDS = {"output", "exit_code", "failure_reason", "expect_string", "session_type"}


def rebuild_exception(transfer):
    """The exception that the server sent, as the real client would raise it."""
    assert set(transfer) >= {"message", "class_path", "traceback", "extra_info"}, transfer
    assert isinstance(transfer["message"], str) and isinstance(transfer["traceback"], str), transfer
    assert isinstance(transfer["extra_info"], dict), transfer
    module, _, name = transfer["class_path"].rpartition(".")
    assert module in ("builtins", "swerex.exceptions"), f"the client can't import {transfer['class_path']}"
    cls = getattr(importlib.import_module(module), name)
    exc = cls(transfer["message"])  # a TypeError here is a test failure, as it should be
    assert isinstance(exc, Exception)
    exc.extra_info = transfer["extra_info"]
    return exc


class HttpError(Exception):
    """A status of 400 or more that is no 511: the original calls raise_for_status() there."""

    def __init__(self, status, body):
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.body = body


class Runtime:
    def __init__(self, base_url, token, unix_socket=None):
        self.base_url = base_url
        self.token = token
        self.unix_socket = unix_socket

    def _session(self):
        if self.unix_socket:
            connector = aiohttp.UnixConnector(path=self.unix_socket, force_close=True)
        else:
            connector = aiohttp.TCPConnector(force_close=True)
        return aiohttp.ClientSession(connector=connector)

    @property
    def headers(self):
        return {"X-API-Key": self.token} if self.token else {}

    async def _answer(self, response):
        assert response.content_type == "application/json", (response.status, response.content_type)
        body = await response.json()
        if response.status == 511:
            raise rebuild_exception(body["swerexception"]) from None
        if response.status >= 400:
            raise HttpError(response.status, body)
        return body

    async def post(self, endpoint, payload, request_id=None):
        headers = {**self.headers, "X-Request-ID": request_id or str(uuid.uuid4())}
        async with self._session() as session:
            async with session.post(f"{self.base_url}/{endpoint}", json=payload, headers=headers) as response:
                return await self._answer(response)

    async def is_alive(self, timeout=10):
        async with self._session() as session:
            limit = aiohttp.ClientTimeout(total=timeout)
            async with session.get(f"{self.base_url}/is_alive", headers=self.headers, timeout=limit) as response:
                return await self._answer(response)

    async def create_session(self, session="default", startup_source=(), startup_timeout=10.0):
        return types.SimpleNamespace(**await self.post("create_session", {
            "startup_source": list(startup_source), "session": session, "session_type": "bash",
            "startup_timeout": startup_timeout}))

    async def run_in_session(self, command, session="default", timeout=None, check="silent", error_msg="", expect=(),
                             is_interactive_command=False, is_interactive_quit=False, request_id=None):
        body = await self.post("run_in_session", {
            "command": command, "session": session, "timeout": timeout,
            "is_interactive_command": is_interactive_command, "is_interactive_quit": is_interactive_quit,
            "check": check, "error_msg": error_msg, "expect": list(expect), "action_type": "bash"}, request_id)
        assert set(body) >= OBSERVATION_FIELDS, body
        return types.SimpleNamespace(**body)

    async def interrupt(self, session="default", timeout=0.2, n_retry=3, expect=()):
        body = await self.post("run_in_session", {
            "session": session, "timeout": timeout, "n_retry": n_retry, "expect": list(expect),
            "action_type": "bash_interrupt"})
        assert set(body) >= OBSERVATION_FIELDS, body
        return types.SimpleNamespace(**body)

    async def close_session(self, session="default"):
        return await self.post("close_session", {"session": session, "session_type": "bash"})

    async def execute(self, command, timeout=None, shell=False, check=False, error_msg="", env=None, cwd=None,
                      merge_output_streams=False, request_id=None):
        return types.SimpleNamespace(**await self.post("execute", {
            "command": command, "timeout": timeout, "shell": shell, "check": check, "error_msg": error_msg,
            "env": env, "cwd": cwd, "merge_output_streams": merge_output_streams}, request_id))

    async def read_file(self, path, encoding=None, errors=None):
        body = await self.post("read_file", {"path": str(path), "encoding": encoding, "errors": errors})
        return body["content"]

    async def write_file(self, path, content):
        return await self.post("write_file", {"content": content, "path": str(path)})

    async def upload(self, source, target):
        source = pathlib.Path(source)
        with tempfile.TemporaryDirectory() as scratch:
            unzip = source.is_dir()
            if unzip:
                source = pathlib.Path(shutil.make_archive(f"{scratch}/zipped_transfer", "zip", source))
            with open(source, "rb") as stream:
                return await self.upload_stream(stream, source.name, target, unzip)

    async def upload_stream(self, stream, filename, target, unzip):
        form = aiohttp.FormData()
        form.add_field("file", stream, filename=filename)
        form.add_field("target_path", str(target))
        form.add_field("unzip", "true" if unzip else "false")
        async with self._session() as session:
            async with session.post(f"{self.base_url}/upload", data=form, headers=self.headers) as response:
                return await self._answer(response)

    async def close(self):
        return await self.post("close", None)


class Box:
    """The same calls, one at a time: box.run("ls"), box.execute("true"), ..."""

    def __init__(self, rt, deadline=60):
        self.rt = rt
        self.deadline = deadline
        self._loop = asyncio.new_event_loop()

    def go(self, coroutine, deadline=None):
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, deadline or self.deadline))

    def gather(self, *coroutines, deadline=None, return_exceptions=False):
        async def together():
            return await asyncio.gather(*coroutines, return_exceptions=return_exceptions)

        return self.go(together(), deadline)

    def __getattr__(self, name):
        method = getattr(self.rt, name)
        return lambda *args, **kwargs: self.go(method(*args, **kwargs))

    def run(self, command, session="default", **kwargs):
        return self.go(self.rt.run_in_session(command, session, **kwargs))

    def shut(self):
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


class Shell:
    """One session: sh("ls") gives the whole observation, sh.out("ls") its output after a check of exit code 0."""

    def __init__(self, box, name):
        self.box = box
        self.name = name

    def __call__(self, command, **kwargs):
        return self.box.run(command, self.name, **kwargs)

    def out(self, command, **kwargs):
        obs = self(command, **kwargs)
        assert obs.exit_code == 0, obs
        return obs.output

    def interrupt(self, **kwargs):
        return self.box.interrupt(session=self.name, **kwargs)

    def coro(self, command, **kwargs):
        return self.box.rt.run_in_session(command, self.name, **kwargs)

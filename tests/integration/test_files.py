"""read_file and write_file: encodings, error handlers, line ends, errors with Python's text."""

import os
import stat
import threading

import pytest
from server import SLOW, wait_until

TEXT = "plain \u00e9\u00fc\n"
CJK = "\u4e2d\u6587 \u65e5\u672c"


@pytest.mark.parametrize("encoding,text", [
    (None, TEXT + CJK + "\U0001f600"), ("utf-8", TEXT + "\U0001f600"), ("UTF8", TEXT), ("utf_8", TEXT), ("U8", TEXT), ("utf-8-sig", TEXT), ("ascii", "abc\n"),
    ("us-ascii", "abc\n"), ("646", "abc\n"), ("latin-1", TEXT), ("iso-8859-1", TEXT), ("ISO8859-1", TEXT), ("L1", TEXT), ("latin_1", TEXT),
    ("cp1252", TEXT + "\u20ac"), ("windows-1252", "\u20ac\u201c"), ("cp1251", "\u041f\u0440\u0438"), ("koi8-r", "\u041f\u0440\u0438"), ("iso-8859-15", "\u20ac"),
    ("utf-16", TEXT + CJK + "\U0001f600"), ("utf-16-le", TEXT + "\U0001f600"), ("utf-16-be", TEXT), ("UTF-16LE", TEXT), ("utf-32", TEXT + "\U0001f600"),
    ("utf-32-le", TEXT), ("utf-32-be", TEXT), ("gb18030", CJK + "\U0001f600\u20ac"), ("gbk", CJK), ("gb2312", "\u4e2d\u6587"), ("shift_jis", "\u65e5\u672c\uff76"),
    ("sjis", "\u65e5\u672c"), ("cp932", "\u65e5\u672c\u2460"), ("euc-jp", "\u65e5\u672c"), ("eucjp", "\u65e5\u672c"), ("big5", "\u4e2d\u6587"), ("euc-kr", "\ud55c\uae00"), ("cp949", "\ud55c\uae00"),
    ("cp437", "\u00e9\u2592"), ("mac-roman", "\u00e9"),
])
def test_encodings(box, tmp_path, encoding, text):
    path = tmp_path / "file"
    path.write_bytes(text.encode(encoding or "utf-8"))
    assert box.read_file(path, encoding) == text


@pytest.mark.parametrize("encoding", ["nonsense", "utf-9", "utf-8\n; rm", "x" * 1000])
def test_unknown_encoding(box, tmp_path, encoding):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LookupError) as caught:
        box.read_file(tmp_path / "file", encoding)
    assert "unknown encoding" in str(caught.value)


BROKEN = [b"ok \xff end", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x80\x80b", b"\xc0\xaf", b"\xf0\x9f\x98", b"\xe2\x28\xa1"]


@pytest.mark.parametrize("data", BROKEN, ids=[data.hex() for data in BROKEN])
@pytest.mark.parametrize("errors", ["strict", None, "ignore", "replace", "backslashreplace", "surrogateescape"])
def test_undecodable_utf8(box, tmp_path, data, errors):
    (tmp_path / "file").write_bytes(data)
    try:
        expected = data.decode("utf-8", errors or "strict")
    except UnicodeDecodeError as error:
        with pytest.raises((UnicodeError, ValueError)) as caught:
            box.read_file(tmp_path / "file", None, errors)
        assert str(error) in str(caught.value)
        return
    assert box.read_file(tmp_path / "file", None, errors) == expected


@pytest.mark.parametrize("encoding,data", [("ascii", b"a\xe9b"), ("cp1252", b"\x81x"), ("utf-16-le", b"a\0b"), ("shift_jis", b"\x81"), ("euc-jp", b"\xa4x"),
                                           ("gb18030", b"\x81\x30z"), ("big5", b"\xa4\xff"), ("utf-32-le", b"a\0\0\0b"), ("utf-16-le", b"\0\xd8a\0")])
@pytest.mark.parametrize("errors", ["strict", "replace", "ignore", "backslashreplace"])
def test_undecodable_in_other_encodings(box, tmp_path, encoding, data, errors):
    (tmp_path / "file").write_bytes(data)
    try:
        expected = data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        with pytest.raises((UnicodeError, ValueError)) as caught:
            box.read_file(tmp_path / "file", encoding, errors)
        assert str(error) in str(caught.value)
        return
    assert box.read_file(tmp_path / "file", encoding, errors) == expected


def test_unknown_error_handler(box, tmp_path):
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(LookupError) as caught:
        box.read_file(tmp_path / "file", None, "whatever")
    assert "unknown error handler name 'whatever'" in str(caught.value)


@pytest.mark.parametrize("name", ["a\nb", "tab\t\x01\x7f", "it's", 'say "hi"', "'\"", "back\\slash", "\u00e9\u20ac", "no\u00a0break"])
def test_names_in_errors_read_as_pythons(box, tmp_path, name):
    with pytest.raises(FileNotFoundError) as expected:
        open(tmp_path / name)
    with pytest.raises(FileNotFoundError) as caught:
        box.read_file(tmp_path / name)
    assert str(caught.value) == str(expected.value)


def test_universal_newlines(box, tmp_path):
    (tmp_path / "file").write_bytes(b"a\r\nb\rc\n\r\r\n")
    assert box.read_file(tmp_path / "file") == "a\nb\nc\n\n\n"
    (tmp_path / "wide").write_bytes("a\r\nb\r".encode("utf-16"))
    assert box.read_file(tmp_path / "wide", "utf-16") == "a\nb\n"


def test_nul_and_control_bytes(box, tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(13)) + b"x")
    assert box.read_file(tmp_path / "file") == "".join(map(chr, range(13))) + "x"


@pytest.mark.parametrize("path,error,text", [
    ("/nonexistent/x", FileNotFoundError, "[Errno 2] No such file or directory: '/nonexistent/x'"),
    ("/etc", IsADirectoryError, "[Errno 21] Is a directory: '/etc'"),
    ("/etc/passwd/x", NotADirectoryError, "[Errno 20] Not a directory: '/etc/passwd/x'"),
    ("", (FileNotFoundError, IsADirectoryError), "[Errno"),
    ("/tmp/it's", FileNotFoundError, "[Errno 2] No such file or directory: \"/tmp/it's\""),
    ("/tmp/" + "n" * 300, OSError, "[Errno 36] File name too long"),
])
def test_read_errors(box, path, error, text):
    with pytest.raises(error) as caught:
        box.read_file(path)
    assert text in str(caught.value)


def test_nul_in_a_path(box):
    for call in (lambda: box.read_file("/etc/pass\0wd"), lambda: box.write_file("/tmp/x\0y", "")):
        with pytest.raises(ValueError):
            call()


def test_permission(start):
    box = start(user=54321 if os.geteuid() == 0 else None)
    secret = box.server.home / "secret"
    secret.write_text("x")
    secret.chmod(0)
    with pytest.raises(PermissionError) as caught:
        box.read_file(secret)
    assert str(caught.value) == f"[Errno 13] Permission denied: '{secret}'"
    with pytest.raises(PermissionError):
        box.write_file(secret.parent / "below", "x") if os.geteuid() == 0 else box.write_file("/below", "x")


def test_relative_path_is_relative_to_the_servers_directory(box, server):
    (server.home / "rel").write_text("here")
    assert box.read_file("rel") == "here"
    box.write_file("made/rel2", "there")
    assert (server.home / "made" / "rel2").read_text() == "there"


def test_tilde_is_no_home(box):
    with pytest.raises(FileNotFoundError):
        box.read_file("~/.bashrc")


def test_fifo_and_devices_do_not_hang_the_server(box, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = threading.Thread(target=lambda: None)
    reader.start()

    async def attempt():
        import asyncio
        task = asyncio.create_task(box.rt.read_file(tmp_path / "fifo"))
        for _ in range(10):
            await box.rt.is_alive(timeout=5)
        with open(os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK), "wb") as stream:  # lets a blocked open go on
            await asyncio.sleep(0)
            stream.flush()
        return await asyncio.gather(task, return_exceptions=True)

    box.go(attempt())
    assert box.is_alive()["is_alive"] is True
    assert box.read_file("/dev/null") == ""
    assert "processor" in box.read_file("/proc/cpuinfo")  # size 0 in stat, content all the same


def test_endless_device_is_bounded(server, box):
    with pytest.raises(Exception):
        box.read_file("/dev/zero")
    assert server.rss_kib() < (600 if SLOW == 1 else 4800) * 1024
    assert box.is_alive()["is_alive"] is True


def test_write_and_read(box, tmp_path):
    text = "line\r\nother\rthird\n\u4e16\U0001f600 \0 end"
    assert box.write_file(tmp_path / "new", text) == {}
    assert (tmp_path / "new").read_bytes() == text.encode()


def test_write_creates_parents(box, tmp_path):
    box.write_file(tmp_path / "a" / "b" / "c", "deep")
    assert (tmp_path / "a" / "b" / "c").read_text() == "deep"


def test_write_empty(box, tmp_path):
    box.write_file(tmp_path / "empty", "")
    assert (tmp_path / "empty").read_bytes() == b""


def test_write_keeps_the_mode(box, tmp_path):
    path = tmp_path / "script"
    path.write_text("old")
    path.chmod(0o751)
    box.write_file(path, "new")
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o751


def test_write_gives_a_new_file_the_usual_mode(box, tmp_path):
    box.write_file(tmp_path / "new", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~mask


def test_write_through_a_symlink(box, tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    box.write_file(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_write_is_atomic(box, tmp_path):
    path = tmp_path / "file"
    old, new = "a" * (1 << 20), "b" * (1 << 20)
    path.write_text(old)
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            seen.add(hash(path.read_text()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(20):
        box.write_file(path, (old, new)[number % 2])
    stop.set()
    watcher.join()
    assert seen <= {hash(old), hash(new)}
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("path,error", [("/etc", IsADirectoryError), ("/etc/passwd/x", OSError), ("/proc/nope/x", OSError),
                                        ("/tmp/" + "n" * 300, OSError), ("", OSError), ("/tmp/", OSError)])
def test_write_errors(box, path, error):
    with pytest.raises(error):
        box.write_file(path, "x")


def test_no_space(box):
    with pytest.raises(OSError) as caught:
        box.write_file("/dev/full", "x" * 100000)
    assert "[Errno 28]" in str(caught.value)


def test_write_to_a_device(box):
    assert box.write_file("/dev/null", "x") == {}
    assert not os.path.isfile("/dev/null")


def test_big_file(box, tmp_path):
    text = "0123456789abcde\n" * (1 << 19)  # 8 MB
    box.write_file(tmp_path / "big", text)
    assert box.read_file(tmp_path / "big") == text


def test_many_at_once(box, tmp_path):
    box.gather(*[box.rt.write_file(tmp_path / str(number), str(number) * 1000) for number in range(50)])
    contents = box.gather(*[box.rt.read_file(tmp_path / str(number)) for number in range(50)])
    assert contents == [str(number) * 1000 for number in range(50)]


def test_no_descriptors_leak(server, box, tmp_path):
    (tmp_path / "f").write_text("x")

    def fds():
        return len(os.listdir(f"/proc/{server.pid()}/fd"))

    box.read_file(tmp_path / "f")
    before = fds()
    for _ in range(30):
        box.read_file(tmp_path / "f")
        box.write_file(tmp_path / "g", "x")
        with pytest.raises(FileNotFoundError):
            box.read_file(tmp_path / "none")
    wait_until(lambda: fds() <= before, "descriptors are given back")

"""Uploads: files, directories as zips, hostile archives, half uploads, odd forms."""

import io
import os
import stat
import struct
import zipfile
import zlib

import pytest
from client import HttpError
from rawhttp import request
from server import SLOW, wait_until

BOUNDARY = "----crex-test"


def form(*parts, boundary=BOUNDARY, end=True):
    """A multipart body; a part is (name, content) or (name, content, extra Content-Disposition parameters)."""
    body = b""
    for name, content, *extra in parts:
        content = content if isinstance(content, bytes) else content.encode()
        disposition = f'form-data; name="{name}"' + "".join(f"; {item}" for item in extra)
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + (f"--{boundary}--\r\n".encode() if end else b"")


def post(wire, body, boundary=BOUNDARY, headers=(), **kwargs):
    head = request("POST", "/upload", headers=[f"Content-Type: multipart/form-data; boundary={boundary}",
                                               f"Content-Length: {len(body)}", *headers], **kwargs)
    return wire().send(head + body).reply()


def upload(wire, content, target, unzip="false", **kwargs):
    return post(wire, form(("file", content, 'filename="f"'), ("target_path", str(target)), ("unzip", unzip)), **kwargs)


def exception_of(reply):
    assert reply.status == 511, reply
    return reply.json["swerexception"]["class_path"], reply.json["swerexception"]["message"]


def leftovers(path):
    """Names below path, temporary ones included."""
    return sorted(os.path.relpath(os.path.join(folder, name), path) for folder, _, names in os.walk(path) for name in names)


@pytest.mark.parametrize("size", [0, 1, 100, 65535, 65536, 65537, 3_000_000])
def test_file(box, tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    assert box.upload(tmp_path / "source", tmp_path / "deep" / "er" / "target") == {}
    assert (tmp_path / "deep" / "er" / "target").read_bytes() == content


def test_overwrites_atomically(box, tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "source").write_text("new")
    box.upload(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "new"
    assert leftovers(tmp_path) == ["source", "target"]


def test_directory(box, tmp_path):
    source = tmp_path / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    (source / "sub" / "plain.txt").write_text("text")
    (source / "tool").write_text("#!/bin/sh\necho ran\n")
    (source / "tool").chmod(0o755)
    (source / "n\u00e4me \u4e16").write_text("x")
    (source / "big").write_bytes(os.urandom(500_000))
    box.upload(source, tmp_path / "target" / "dir")
    target = tmp_path / "target" / "dir"
    assert leftovers(target) == leftovers(source)
    assert (target / "big").read_bytes() == (source / "big").read_bytes()
    assert (target / "sub" / "empty").is_dir()
    assert stat.S_IMODE((target / "tool").stat().st_mode) & 0o111
    assert not stat.S_IMODE((target / "sub" / "plain.txt").stat().st_mode) & 0o111
    assert box.execute([str(target / "tool")]).stdout == "ran\n"


def test_directory_into_an_existing_one_merges(box, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "new").write_text("new")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").write_text("old")
    box.upload(tmp_path / "source", tmp_path / "target")
    assert leftovers(tmp_path / "target") == ["new", "old"]


def test_empty_directory(box, tmp_path):
    (tmp_path / "source").mkdir()
    box.upload(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").is_dir() and not leftovers(tmp_path / "target")


def test_target_is_an_existing_directory(box, tmp_path):
    (tmp_path / "source").write_text("x")
    (tmp_path / "target").mkdir()
    with pytest.raises(OSError) as caught:
        box.upload(tmp_path / "source", tmp_path / "target")
    assert str(tmp_path / "target") in str(caught.value)
    assert not leftovers(tmp_path / "target")


def test_target_below_a_file(box, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError):
        box.upload(tmp_path / "file", tmp_path / "file" / "below")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_parts_in_any_order(wire, tmp_path, order):
    parts = [("file", b"content", 'filename="f"'), ("target_path", f"{tmp_path}/t"), ("unzip", "false")]
    reply = post(wire, form(*(parts[index] for index in order)))
    assert (reply.status, reply.json) == (200, {})
    assert (tmp_path / "t").read_bytes() == b"content"


@pytest.mark.parametrize("word,meant", [("true", True), ("false", False), ("True", True), ("False", False), ("1", True), ("0", False)])
def test_unzip_words(wire, tmp_path, word, meant):
    reply = upload(wire, archive(("a", b"x")), tmp_path / "t", word)
    assert reply.status == 200
    assert (tmp_path / "t").is_dir() == meant


def test_unzip_is_optional(wire, tmp_path):
    assert post(wire, form(("file", b"c", 'filename="f"'), ("target_path", f"{tmp_path}/t"))).status == 200
    assert (tmp_path / "t").read_bytes() == b"c"


@pytest.mark.parametrize("parts", [[("file", b"x", 'filename="f"')], [("target_path", "/tmp/never")], [], [("unzip", "true")],
                                   [("file", b"x", 'filename="f"'), ("target_path", "/tmp/never"), ("unzip", "perhaps")]])
def test_missing_or_bad_parts(wire, parts):
    reply = post(wire, form(*parts))
    assert reply.status == 422 and reply.json["detail"][0]["loc"][0] == "body", reply
    assert not os.path.exists("/tmp/never")


def test_unknown_parts_are_ignored(wire, tmp_path):
    reply = post(wire, form(("extra", "x" * 1000), ("file", b"c", 'filename="f"'), ("more", b"\0\xff"), ("target_path", f"{tmp_path}/t")))
    assert reply.status == 200 and (tmp_path / "t").read_bytes() == b"c"


def test_content_that_looks_like_the_boundary(wire, tmp_path):
    content = (f"\r\n--{BOUNDARY[:-1]}\r\n--{BOUNDARY}x is not it? \r\n-- \r\n\r\n--" + "-" * 100 + "\r").encode()
    content = content.replace(f"\r\n--{BOUNDARY}x".encode(), f"\r\n--{BOUNDARY[:-2]}yx".encode())
    assert upload(wire, content, tmp_path / "t").status == 200
    assert (tmp_path / "t").read_bytes() == content


def test_quoted_boundary(wire, tmp_path):
    body = form(("file", b"q", 'filename="f"'), ("target_path", f"{tmp_path}/t"), boundary="a b:c")
    assert post(wire, body, boundary='"a b:c"').status == 200
    assert (tmp_path / "t").read_bytes() == b"q"


def test_chunked_in_small_pieces(wire, tmp_path):
    content = bytes(range(256)) * 20
    body = form(("file", content, 'filename="f"'), ("target_path", f"{tmp_path}/t"), ("unzip", "false"))
    connection = wire().send(request("POST", "/upload", headers=[f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
                                                                 "Transfer-Encoding: chunked"]))
    for start in range(0, len(body), 7):
        piece = body[start:start + 7]
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    assert connection.send(b"0\r\n\r\n").reply().status == 200
    assert (tmp_path / "t").read_bytes() == content


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "text/plain", "multipart/mixed; boundary=x"])
def test_not_a_form(wire, box, content_type):
    body = form(("file", b"c", 'filename="f"'), ("target_path", "/tmp/never"))
    reply = wire().send(request("POST", "/upload", headers=[f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]) + body).reply()
    assert reply.status in (400, 415, 422) and "detail" in reply.json
    assert box.is_alive()["is_alive"] is True


@pytest.mark.parametrize("body", [
    b"", b"garbage", form(("file", b"x"), end=False), b"--" + BOUNDARY.encode(), f"--{BOUNDARY}\r\n".encode(),
    f"--{BOUNDARY}\r\nNo-Colon\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(),
    f"--{BOUNDARY}\r\n{'H: ' + 'x' * 100000}\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(),
    f"--{BOUNDARY}\r\n".encode() + b"Content-Disposition: form-data\r\n\r\nx\r\n" + f"--{BOUNDARY}--\r\n".encode(),
    form(("target_path", "x" * 3_000_000), ("file", b"x", 'filename="f"')),
], ids=range(9))
def test_malformed_form(wire, box, tmp_path, body):
    reply = post(wire, body)
    assert 400 <= reply.status < 500 or reply.status == 511, reply
    assert box.is_alive()["is_alive"] is True


def test_authentication(wire, tmp_path):
    assert upload(wire, b"x", tmp_path / "t", token=None).status == 403
    assert upload(wire, b"x", tmp_path / "t", token="wrong").status == 401
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("path", ["", "/proc/nope/x", "/tmp/a\0b"])
def test_bad_target(wire, box, path):
    reply = upload(wire, b"x", path)
    assert reply.status in (422, 511), reply
    assert box.is_alive()["is_alive"] is True


@pytest.mark.parametrize("target_first", [True, False])
def test_half_an_upload_leaves_nothing(wire, box, tmp_path, target_first):
    parts = [("file", os.urandom(2_000_000), 'filename="f"'), ("target_path", f"{tmp_path}/t"), ("unzip", "false")]
    if target_first:
        parts = parts[1:] + parts[:1]
    body = form(*parts)
    connection = wire()
    connection.send(request("POST", "/upload", headers=[f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
                                                        f"Content-Length: {len(body)}"]) + body[:1_500_000])
    box.is_alive()
    connection.sock.close()
    wait_until(lambda: not leftovers(tmp_path), "no trace is left")
    assert box.is_alive()["is_alive"] is True


def test_upload_while_the_connection_is_kept(wire, tmp_path):
    connection = wire()
    for number in range(5):
        body = form(("file", f"{number}".encode(), 'filename="f"'), ("target_path", f"{tmp_path}/t{number}"))
        connection.send(request("POST", "/upload", headers=[f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
                                                            f"Content-Length: {len(body)}"]) + body)
        assert connection.reply().status == 200
    assert leftovers(tmp_path) == [f"t{number}" for number in range(5)]


def test_concurrent_directories(box, tmp_path):
    """As SWE-agent uploads its tools."""
    for number in range(8):
        source = tmp_path / f"tool{number}"
        (source / "bin").mkdir(parents=True)
        (source / "bin" / "run").write_text(f"#!/bin/sh\necho {number}\n")
        (source / "bin" / "run").chmod(0o755)
    box.gather(*[box.rt.upload(tmp_path / f"tool{number}", tmp_path / "out" / f"tool{number}") for number in range(8)])
    for number in range(8):
        assert box.execute([str(tmp_path / "out" / f"tool{number}" / "bin" / "run")]).stdout == f"{number}\n"


# archives


def archive(*entries, compression=zipfile.ZIP_DEFLATED):
    """entries: (name, content) or (name, content, unix mode)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as writer:
        for name, content, *mode in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            info.create_system = 3
            info.external_attr = (mode[0] if mode else 0o100644) << 16
            writer.writestr(info, content)
    return stream.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_compression_methods(wire, tmp_path, compression):
    content = b"abc" * 100000
    assert upload(wire, archive(("d/f", content), compression=compression), tmp_path / "t", "true").status == 200
    assert (tmp_path / "t" / "d" / "f").read_bytes() == content


HOSTILE = {
    "parent": [("../escaped", b"x")],
    "deep parent": [("a/b/../../../escaped", b"x")],
    "absolute": [("{outside}/escaped", b"x")],
    "double slash": [("/{outside}/escaped", b"x")],
    "backslash parent": [("..\\escaped", b"x")],
    "through a symlink": [("link", "{outside}", 0o120777), ("link/escaped", b"x")],
    "through a relative symlink": [("link", "..", 0o120777), ("link/escaped", b"x")],
    "over a symlink": [("link", "{outside}/escaped", 0o120777), ("link", b"x")],
    "parent only": [("..", b"x")],
    "nul": [("a\0/../../escaped", b"x")],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_do_not_escape(wire, box, tmp_path, entries):
    outside = tmp_path / "outside"
    outside.mkdir()
    filled = [(name.replace("{outside}", str(outside)), content.replace("{outside}", str(outside)) if isinstance(content, str) else content, *mode)
              for name, content, *mode in entries]
    reply = upload(wire, archive(*filled), tmp_path / "inner" / "t", "true")
    assert reply.status in (200, 511), reply
    assert not leftovers(outside)
    assert not os.path.exists(tmp_path / "escaped") and not os.path.exists(tmp_path / "inner" / "escaped")
    assert box.is_alive()["is_alive"] is True


def test_existing_symlink_in_the_target_is_no_way_out(wire, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to(tmp_path / "outside")
    upload(wire, archive(("link/escaped", b"x")), tmp_path / "t", "true")
    assert not leftovers(tmp_path / "outside")


def test_target_itself_may_be_a_symlink_to_a_directory(wire, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "t").symlink_to("real")
    assert upload(wire, archive(("f", b"x")), tmp_path / "t", "true").status == 200
    assert (tmp_path / "real" / "f").read_bytes() == b"x"


def test_setuid_bits_are_not_taken_over(wire, tmp_path):
    assert upload(wire, archive(("f", b"x", 0o104755)), tmp_path / "t", "true").status == 200
    assert not (tmp_path / "t" / "f").stat().st_mode & 0o6000


def test_device_entries(wire, box, tmp_path):
    reply = upload(wire, archive(("dev", b"", 0o020666), ("fifo", b"", 0o010666), ("f", b"x")), tmp_path / "t", "true")
    assert reply.status in (200, 511)
    for name in ("dev", "fifo"):
        if (tmp_path / "t" / name).exists():
            assert (tmp_path / "t" / name).is_file()


@pytest.mark.parametrize("content", [b"", b"not a zip at all", b"PK\3\4" + b"\0" * 100, archive(("a", b"x" * 1000))[:-10],
                                     archive(("a", b"x" * 1000))[10:], archive(("a", os.urandom(2000)))[:500]],
                         ids=["empty", "text", "header", "cut end", "cut start", "half"])
def test_broken_archive(wire, box, tmp_path, content):
    class_path, message = exception_of(upload(wire, content, tmp_path / "t", "true"))
    assert message
    assert not (tmp_path / "t").exists() or not leftovers(tmp_path / "t")
    assert box.is_alive()["is_alive"] is True


def test_wrong_checksum(wire, tmp_path):
    good = archive(("a", b"hello hello hello"), compression=zipfile.ZIP_STORED)
    assert good.count(b"hello hello hello") == 1
    exception_of(upload(wire, good.replace(b"hello hello hello", b"hello jello hello"), tmp_path / "t", "true"))


def test_sizes_that_lie(wire, box, tmp_path):
    data = bytearray(archive(("a", b"z" * 100000)))
    central = data.rindex(b"PK\1\2")
    struct.pack_into("<I", data, central + 24, 10)
    upload(wire, bytes(data), tmp_path / "t", "true")
    assert box.is_alive()["is_alive"] is True


def test_zip_bomb_is_bounded(start, server, wire, box, tmp_path):
    """A thousandfold expansion is refused or written, but never held in memory."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as writer:
        with writer.open("zeros", "w") as entry:
            for _ in range(64):
                entry.write(b"\0" * (1 << 20))
    upload(wire, stream.getvalue(), tmp_path / "t", "true")
    assert server.rss_kib() < (300 if SLOW == 1 else 2400) * 1024
    assert box.is_alive()["is_alive"] is True


def test_many_entries(wire, tmp_path):
    assert upload(wire, archive(*[(f"d{number % 7}/f{number}", str(number).encode()) for number in range(2000)]), tmp_path / "t", "true").status == 200
    assert len(leftovers(tmp_path / "t")) == 2000


def test_name_clash_of_file_and_directory(wire, box, tmp_path):
    reply = upload(wire, archive(("a", b"x"), ("a/b", b"y")), tmp_path / "t", "true")
    assert reply.status in (200, 511)
    assert box.is_alive()["is_alive"] is True


def test_unzip_onto_a_file(wire, tmp_path):
    (tmp_path / "t").write_text("a file")
    exception_of(upload(wire, archive(("f", b"x")), tmp_path / "t", "true"))
    assert (tmp_path / "t").read_text() == "a file"


def test_fifty_megabytes_in_constant_memory(server, box, tmp_path):
    size = 50 << 20

    with open(tmp_path / "source", "wb") as stream:
        stream.truncate(size)
    box.is_alive()
    before = server.rss_kib()
    with open(tmp_path / "source", "rb") as stream:
        box.go(box.rt.upload_stream(stream, "source", tmp_path / "t", False))
    assert (tmp_path / "t").stat().st_size == size
    assert zlib.crc32((tmp_path / "t").read_bytes()) == zlib.crc32(bytes(size))
    assert server.rss_kib() - before < (24 if SLOW == 1 else 192) * 1024


def test_client_error_type(box, tmp_path):
    (tmp_path / "source").write_text("x")
    with pytest.raises((OSError, HttpError, ValueError)):
        box.upload(tmp_path / "source", "/proc/self/nothing/x")

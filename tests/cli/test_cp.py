"""crex cp: the rules of cp -r, and archives that mean harm."""

import io
import os
import stat
import tarfile

import pytest
from conftest import TOKEN, up
from server import Server


def tree(path):
    """All of a directory: type, mode and content of each entry."""
    found = {}
    for entry in sorted(path.rglob("*")):
        name = str(entry.relative_to(path))
        if entry.is_symlink():
            found[name] = ("link", os.readlink(entry))
        elif entry.is_dir():
            found[name] = ("directory",)
        else:
            found[name] = (stat.S_IMODE(entry.stat().st_mode), entry.read_bytes())
    return found


@pytest.fixture
def source(tmp_path):
    directory = tmp_path / "source"
    (directory / "sub" / "deeper").mkdir(parents=True)
    (directory / "empty").mkdir()
    (directory / "sub" / "bytes").write_bytes(bytes(range(256)) * 5000)
    (directory / "sub" / "odd name ü\n").write_text("x")
    (directory / "tool").write_text("#!/bin/sh\necho yes\n")
    (directory / "tool").chmod(0o755)
    (directory / "sub" / "link").symlink_to("bytes")
    return directory


def test_a_file_in_and_out(crex, box, source, tmp_path):
    there = tmp_path / "there"
    crex.ok("cp", source / "sub" / "bytes", f"{box}:{there}")
    assert there.read_bytes() == (source / "sub" / "bytes").read_bytes()
    crex.ok("cp", f"{box}:{there}", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == there.read_bytes()


def test_a_tree_in_and_out(crex, box, source, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    crex.ok("cp", source, f"{box}:{there}")
    assert tree(there) == tree(source)
    crex.ok("cp", f"{box}:{there}", back)
    assert tree(back) == tree(source)


def test_into_directories(crex, box, source, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    crex.ok("cp", source / "tool", f"{box}:{there}")
    crex.ok("cp", source, f"{box}:{there}")
    crex.ok("cp", source / "tool", f"{box}:{there}/new/")
    assert (there / "tool").exists() and tree(there / "source") == tree(source) and (there / "new" / "tool").exists()
    back = tmp_path / "back"
    back.mkdir()
    crex.ok("cp", f"{box}:{there}/tool", back)
    crex.ok("cp", f"{box}:{there}/source/", f"{back}/")
    crex.ok("cp", f"{box}:{there}/source/.", back / "content")
    assert tree(back / "source") == tree(source) == tree(back / "content") and (back / "tool").stat().st_mode & 0o111


def test_to_standard_output(crex, box, source):
    assert crex("cp", f"{box}:{source}/tool", "-").stdout == (source / "tool").read_text()
    assert "standard output" in crex.fails(125, "cp", f"{box}:{source}", "-")


def test_a_local_name_with_a_colon(crex, box, tmp_path):
    (tmp_path / "a:b").write_text("x")
    crex.ok("cp", "./a:b", f"{box}:{tmp_path}/there", cwd=tmp_path)
    assert (tmp_path / "there").read_text() == "x"


def test_what_is_not_there(crex, box, tmp_path):
    assert "no such file" in crex.fails(125, "cp", f"{box}:/no/such/file", tmp_path / "x")
    assert "No such file" in crex.fails(125, "cp", tmp_path / "missing", f"{box}:/tmp/x")
    assert "No such file" in crex.fails(125, "cp", f"{box}:/etc/passwd", tmp_path / "missing" / "x")
    assert "neither a file" in crex.fails(125, "cp", f"{box}:/dev/null", tmp_path / "x")
    os.mkfifo(tmp_path / "fifo")
    assert "neither a file" in crex.fails(125, "cp", tmp_path / "fifo", f"{box}:/tmp/x")
    assert not (tmp_path / "x").exists()


def test_two_places_are_needed(crex, box):
    crex.fails(125, "cp", "x")
    assert "NAME:PATH" in crex.fails(125, "cp", "x", "y")
    assert "here first" in crex.fails(125, "cp", f"{box}:/a", f"{box}:/b")
    assert "too many" in crex.fails(125, "cp", "a", "b", "c")


def hostile(tmp_path, entries):
    """A server in whose sandbox `tar` writes what the test wants."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry, data in entries:
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "archive").write_bytes(archive.getvalue())
    (binaries / "tar").write_text(f"#!/bin/sh\nexec cat {binaries}/archive\n")
    (binaries / "tar").chmod(0o755)
    return Server(token=TOKEN, env={"PATH": f"{binaries}:/usr/bin:/bin"})


def member(name, kind=tarfile.REGTYPE, link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.mark.parametrize(
    "entries",
    [
        [(member("../escaped"), b"x")],
        [(member("/{outside}/escaped"), b"x")],
        [(member("link", tarfile.SYMTYPE, "{outside}"), b""), (member("link/escaped"), b"x")],
        [(member("link", tarfile.SYMTYPE, ".."), b""), (member("link/escaped"), b"x")],
        [(member("a", tarfile.LNKTYPE, "{outside}/precious"), b""), (member("a"), b"x")],
        [(member("a", tarfile.SYMTYPE, "{outside}/precious"), b""), (member("a"), b"x")],
        [(member("a", tarfile.LNKTYPE, "../outside/precious"), b""), (member("a"), b"x")],
    ],
    ids=["dotdot", "absolute", "through a link", "through a relative link", "hard link", "link replaced", "hard link up"],
)
def test_archives_cant_escape(crex, tmp_path, entries):
    outside, there = tmp_path / "outside", tmp_path / "there"
    outside.mkdir(), there.mkdir()
    (outside / "precious").write_text("mine")
    for info, _ in entries:
        info.name, info.linkname = (text.replace("{outside}", str(outside)) for text in (info.name, info.linkname))
    server = hostile(tmp_path, entries)
    try:
        up(crex, server, "box")
        target = tmp_path / "target" / "inner"
        target.parent.mkdir()
        crex("cp", f"box:{there}", target)
    finally:
        server.stop()
    assert (outside / "precious").read_text() == "mine"
    assert list(tmp_path.rglob("escaped")) == []
    assert not [name for name in os.listdir(target.parent) if ".crex-" in name]


def test_set_id_bits_and_devices_are_left_behind(crex, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    server = hostile(tmp_path, [(member("tool", mode=0o6755), b"x"), (member("device", tarfile.CHRTYPE), b"")])
    try:
        up(crex, server, "box")
        result = crex("cp", f"box:{there}", tmp_path / "target")
    finally:
        server.stop()
    assert result.returncode == 0 and "left out" in result.stderr
    assert stat.S_IMODE((tmp_path / "target" / "tool").stat().st_mode) == 0o755
    assert os.listdir(tmp_path / "target") == ["tool"]


def test_an_archive_that_is_cut_off_leaves_nothing(crex, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    server = hostile(tmp_path, [(member("file"), b"x" * 100000)])
    (tmp_path / "bin" / "tar").write_text(f"#!/bin/sh\nhead -c 50000 {tmp_path}/bin/archive\nexit 2\n")
    try:
        up(crex, server, "box")
        crex.fails(125, "cp", f"box:{there}", tmp_path / "target")
    finally:
        server.stop()
    assert sorted(os.listdir(tmp_path)) == sorted(["bin", "there", "state"])

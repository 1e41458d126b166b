"""Writes the archives of test_unzip.c and test_files.c into the directory given: sound ones as zipfile makes them,
hostile ones patched from those."""
import os
import stat
import sys
import zipfile


def info(name, mode=None, method=zipfile.ZIP_DEFLATED):
    i = zipfile.ZipInfo(name)
    i.compress_type = method
    i.create_system = 3 if mode is not None else 0
    i.external_attr = (mode or 0) << 16
    return i


def make(name, *entries, comment=b"", prefix=b""):
    path = os.path.join(out, name)
    with open(path, "wb") as f:
        f.write(prefix)
    with zipfile.ZipFile(path, "a" if prefix else "w") as z:
        z.comment = comment
        for i, data in entries:
            z.writestr(i, data)
    with open(path, "rb") as f:
        return f.read()


def patch(name, data, *changes):
    for old, new in changes:
        assert old in data, (name, old)
        data = data.replace(old, new)
    with open(os.path.join(out, name), "wb") as f:
        f.write(data)


out = sys.argv[1]
reg, lnk = stat.S_IFREG, stat.S_IFLNK
text = b"some text that deflates, some text that deflates\n" * 40

good = make(
    "good.zip",
    (info("run.sh", reg | 0o755), b"#!/bin/sh\n"),
    (info("d/", stat.S_IFDIR | 0o750, zipfile.ZIP_STORED), b""),
    (info("d/plain.txt", reg | 0o644), text),
    (info("d/stored.bin", reg | 0o600, zipfile.ZIP_STORED), bytes(range(256))),
    (info("a/b/c/deep.txt", reg | 0o444), b"deep"),
    (info("empty", reg | 0o644), b""),
    (info("nomode.txt"), b"x"),
    (info("./here//./too.txt", reg | 0o644), b"normalised"),
    (info("back\\slash.txt", reg | 0o644), b"one name"),
    (info("\u00fcml\u00e4ut-\u4e2d.txt", reg | 0o644), b"utf-8"),
)
make("empty.zip")
make("comment.zip", (info("f", reg | 0o644), b"f"), comment=b"c" * 60000)
make("prefix.zip", (info("f", reg | 0o644), b"f"), prefix=b"#!/bin/sh\nexit 1\n" * 100)
make("setuid.zip", (info("su", reg | 0o6755), b"x"))
make("symlink.zip", (info("link", lnk | 0o777), b"/etc"), (info("file", reg | 0o644), b"f"))
make("links.zip", (info("in", lnk | 0o777), b"d/f"), (info("d/f", reg | 0o644), b"f"), (info("d/up", lnk | 0o777), b"../in"),
     (info("out", lnk | 0o777), b"../x"), (info("d/far", lnk | 0o777), b"../../x"), (info("sly", lnk | 0o777), b"d/../x"),
     (info("none", lnk | 0o777), b""), (info("in", lnk | 0o777), b"d/up"))
make("linkdir.zip", (info("link", lnk | 0o777), b"/tmp"), (info("link/evil", reg | 0o644), b"f"))
make("bomb.zip", (info("bomb", reg | 0o644), b"\0" * (8 << 20)))
make("dotdot.zip", (info("ok", reg | 0o644), b"x"), (info("../evil", reg | 0o644), b"x"))
make("inner.zip", (info("ok", reg | 0o644), b"x"), (info("a/b/../../../evil", reg | 0o644), b"x"))
make("absolute.zip", (info("/tmp/evil", reg | 0o644), b"x"))
make("conflict.zip", (info("a", reg | 0o644), b"x"), (info("a/b", reg | 0o644), b"x"))
make("filedir.zip", (info("a/b", reg | 0o644), b"x"), (info("a", reg | 0o644), b"x"))
make("toodeep.zip", (info("d/" * 200 + "f", reg | 0o644), b"x"))
make("bzip2.zip", (info("f", reg | 0o644, zipfile.ZIP_BZIP2), b"x"))
make("noname.zip", (info("./", stat.S_IFDIR | 0o755), b""), (info("f", reg | 0o644), b"x"))
make("merge.zip", (info("sub/new.txt", reg | 0o644), b"new"), (info("sub/old.txt", reg | 0o755), b"replaced"),
     (info("top.txt", reg | 0o644), b"top"))

with zipfile.ZipFile(os.path.join(out, "zip64.zip"), "w", zipfile.ZIP_DEFLATED) as z:
    with z.open(info("big", reg | 0o644), "w", force_zip64=True) as f:
        f.write(text)
with zipfile.ZipFile(os.path.join(out, "count.zip"), "w") as z:  # as many as the 16-bit count can say, and one less
    for i in range(65535):
        z.writestr(info(f"{i & 63}/{i}", reg | 0o644, zipfile.ZIP_STORED), b"")

dup = make("dup.zip", (info("f1", reg | 0o644), b"first"), (info("f2", reg | 0o755), b"last"))
patch("dup.zip", dup, (b"f1", b"ff"), (b"f2", b"ff"))
stored = make("stored.zip", (info("f", reg | 0o644, zipfile.ZIP_STORED), b"content that counts"))
patch("badcrc.zip", stored, (b"content that", b"CONTENT that"))
nul = make("nul.zip", (info("nameXname", reg | 0o644), b"x"))
patch("nul.zip", nul, (b"nameXname", b"name\0name"))
cp437 = make("cp437.zip", (info("cafXX", reg | 0o644), b"x"))
patch("cp437.zip", cp437, (b"cafXX", b"caf\x82\xe1"))
badutf8 = make("badutf8.zip", (info("\u00fcx", reg | 0o644), b"x"))
patch("badutf8.zip", badutf8, ("\u00fcx".encode(), b"\xff\xfex"))
crypt = make("encrypted.zip", (info("f", reg | 0o644), b"x"))
central = crypt.index(b"PK\1\2")
patch("encrypted.zip", crypt[:6] + b"\1" + crypt[7:central + 8] + b"\1" + crypt[central + 9:])
# the directory says 5 more bytes than the stream has, and the local header agrees
deflated = make("short.zip", (info("f", reg | 0o644), text))
n = len(text).to_bytes(4, "little")
patch("short.zip", deflated, (n, (len(text) + 5).to_bytes(4, "little")))
patch("long.zip", deflated, (n, (len(text) - 5).to_bytes(4, "little")))
with open(os.path.join(out, "nozip.zip"), "wb") as f:
    f.write(b"this is no archive\n" * 100)
with open(os.path.join(out, "nothing.zip"), "wb") as f:
    pass

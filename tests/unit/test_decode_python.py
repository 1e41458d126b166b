#!/usr/bin/env python3
"""text_decode() against Python's own codecs: the same bytes through both must give the same text or the same message.

One TAP case for each charset: every single byte, every pair behind a lead byte (with newlines after it), and some hundred
generated strings (random bytes, good text, good text with bytes changed or cut off) under every error handler. One more
case checks names. The generator is seeded by the charset's name, so a failure repeats itself.
"""

import codecs
import random
import re
import struct
import subprocess
import sys

HANDLERS = ["strict", "ignore", "replace", "backslashreplace", "surrogateescape", "surrogatepass", "xmlcharrefreplace", "bogus"]
SWITCHES = [b"\x1b$B", b"\x1b(B", b"\x1b(J", b"\x1b(I", b"\x1b$(D", b"\x1b$)C", b"\x0e", b"\x0f", b"~{", b"~}", b"~~", b"\n",
            b"\x1b&@\x1b$B", b"\x1b$@", b"\x1b.A", b"\x1bX", b"\x1bm", b"%!", b"AB", b'0"', b"\xff"]
AWKWARD = b"\x80\x81\xa1\xa4\xd4\x8f\x8eab0123~{}\n\x1b$()BDJI@AC&\x0e\x0f\xe0\xed\xf0\xf4\xbf\x40\x7e\xfe\xff\0\xd8\xdc"
BLOCKS = [(0x20, 0x80), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x3040, 0x30FF), (0xA0, 0x500), (0xE000, 0xFFFF),
          (0x10000, 0x110000), (0xFF60, 0xFFA0)]


class Driver:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def decode(self, data, encoding, handler):
        self.process.stdin.write(encoding.encode() + b"\0" + handler.encode() + b"\0" + struct.pack("<I", len(data)) + data)
        self.process.stdin.flush()
        head = self.process.stdout.read(5)
        return head[0] == 0, self.process.stdout.read(struct.unpack("<I", head[1:])[0])


def python_decode(data, encoding, handler):
    try:
        return True, data.decode(encoding, handler).encode("utf-8", "surrogatepass")
    except (UnicodeError, LookupError, TypeError) as e:
        # bytes.decode wraps some exceptions in text of its own
        return False, re.sub(r"^decoding with .*?Error: (.*)\)$", r"\1", str(e)).encode()


def generated(rng, encoding):
    length = rng.randrange(12)
    form = rng.random()
    if form < 0.2:
        return bytes(rng.randrange(256) for _ in range(length))
    if form < 0.4:
        return bytes(rng.choice(AWKWARD) for _ in range(length))
    if form < 0.5:
        return b"".join(rng.choice(SWITCHES) for _ in range(length))
    data = bytearray("".join(chr(rng.randrange(*rng.choice(BLOCKS))) for _ in range(length)).encode(encoding, "ignore"))
    if form < 0.8 and data:
        data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data) + 1):]
    return bytes(data)


def cases(encoding):
    for byte in range(256):
        yield bytes([byte]), "strict"
    try:
        leads = [b for b in range(0x80, 0x100) if b"incomplete" in python_decode(bytes([b]), encoding, "strict")[1]]
    except UnicodeError:
        leads = []
    for lead in leads:
        yield b"".join(bytes([lead, trail]) + b"\n\n" for trail in range(256)), "replace"
    rng = random.Random(encoding)
    for _ in range(200):
        yield generated(rng, encoding), rng.choice(HANDLERS)


def disagreement(driver, data, encoding, handler):
    ours, theirs = driver.decode(data, encoding, handler), python_decode(data, encoding, handler)
    return None if ours == theirs else f"{encoding} {handler} {data!r}: {ours} instead of {theirs}"


def main():
    driver = Driver(sys.argv[1])
    with open(sys.argv[2], encoding="ascii") as f:
        names = re.findall(r'^\t"([a-z0-9_.]+)\\0"', f.read(), re.M)
    charsets = sorted({codecs.lookup(name).name for name in names})
    print(f"1..{len(charsets) + 1}")
    for number, encoding in enumerate(charsets, 1):
        found = [d for d in (disagreement(driver, *case[:1], encoding, case[1]) for case in cases(encoding)) if d]
        for line in found[:5]:
            print("#", line)
        print("not ok" if found else "ok", number, "-", encoding)
    spelled = names + ["UTF8", "utf 8", " Latin-1", "ISO-8859.1", "IBM 437", "-utf8-", "cp-1252", "no-such", "HZ-GB", "mbcs"]
    found = [d for d in (disagreement(driver, b"\xa4\xd4a", name, "replace") for name in spelled) if d]
    for name in ("utf-7", "idna", "rot13", "punycode", "unicode_escape", "iso2022_jp_2"):  # Python's, not ours
        if driver.decode(b"a", name, "strict") != (False, f"unknown encoding: {name}".encode()):
            found.append(name)
    for line in found[:5]:
        print("#", line)
    print("not ok" if found else "ok", len(charsets) + 1, "- names")


if __name__ == "__main__":
    main()

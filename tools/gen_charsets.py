#!/usr/bin/env python3
"""Writes the tables of text/decode_table.c, asked from Python's own codecs, as one C file.

Nothing is copied from a standard: each codec is given every byte and every pair of bytes, and what it answers is the
table. So the server decodes as the Python that a client would have used. The result depends on nothing but these codecs.

Form. `firsts`: for each charset 256 code units, for the first byte: a character, ILLEGAL, or what it begins. `pairs`: 128
leads x 224 trails (0x80.. x 0x20..), a character each; 0 means illegal, or, in a table that has a base, the base's entry
(ILLEGAL takes one away). ILLEGAL_PAIR is refused as a pair. Charsets that contain each other (gb2312, gbk, gb18030) cost only their difference that way;
Shift_JIS ones differ from EUC by a computed shuffle. D800..DFFF stand for what needs more than one unit: an index into
extras of two code points. All is compressed with zlib, low bytes and high bytes apart.
"""

import encodings.aliases
import re
import sys
import zlib

ILLEGAL, LEAD, LEAD3, ILLEGAL_PAIR = 0xFFFE, 0xFFFF, 0xFFFD, 0xFFFC
LEADS, TRAILS = range(0x80, 0x100), range(0x20, 0x100)

UTF = {
    "utf_8": "utf-8", "utf_8_sig": "utf-8", "utf_16": "utf-16", "utf_16_le": "utf-16-le", "utf_16_be": "utf-16-be",
    "utf_32": "utf-32", "utf_32_le": "utf-32-le", "utf_32_be": "utf-32-be",
}
# name: (name of the base table or None, the base is at EUC positions)
MULTI = {
    "gb2312": (None, False), "gbk": ("gb2312", False), "gb18030": ("gbk", False),
    "euc_kr": (None, False), "cp949": ("euc_kr", False), "johab": (None, False),
    "big5": (None, False), "cp950": ("big5", False), "big5hkscs": ("big5", False),
    "euc_jp": (None, False), "shift_jis": ("euc_jp", True), "cp932": ("shift_jis", False),
    "euc_jis_2004": ("euc_jp", False), "euc_jisx0213": ("euc_jis_2004", False),
    "shift_jis_2004": ("euc_jis_2004", True), "shift_jisx0213": ("shift_jis_2004", False),
}
# Tables of the pairs behind a lead 0x8F.
THIRD = {"euc_jp": None, "euc_jis_2004": "euc_jp", "euc_jisx0213": "euc_jis_2004"}
# Stateful ones that use the table of another: kind, pairs, pairs behind 0x8F.
STATEFUL = {
    "hz": ("HZ", "gb2312", None), "iso2022_kr": ("ISO2022_KR", "euc_kr", None),
    "iso2022_jp": ("ISO2022_JP", "euc_jp", None), "iso2022_jp_1": ("ISO2022_JP_1", "euc_jp", "euc_jp"),
    "iso2022_jp_ext": ("ISO2022_JP_EXT", "euc_jp", "euc_jp"),
}


def single_byte_names():
    """The modules of the encodings package that decode byte by byte through a table."""
    import importlib
    import pkgutil
    for module in sorted(m.name for m in pkgutil.iter_modules(encodings.__path__)):
        try:
            imported = importlib.import_module("encodings." + module)
        except ImportError:
            continue  # those of other systems
        if hasattr(imported, "decoding_table"):
            yield module


def ask(data, name):
    """The code points, or the reason of the refusal."""
    try:
        return tuple(map(ord, data.decode(name)))
    except UnicodeDecodeError as e:
        if e.reason != "incomplete multibyte sequence":
            assert e.start == 0 and e.end <= 2, (name, data, e)
            return "illegal" if e.end == 1 else "illegal pair"
        return "incomplete"


def first_units(name):
    units = []
    for byte in range(256):
        answer = ask(bytes([byte]), name)
        if answer == "illegal":
            units.append(ILLEGAL)
        elif answer == "incomplete":
            units.append(LEAD3 if byte == 0x8F and name in THIRD else LEAD)
        else:
            assert len(answer) == 1 and answer[0] < ILLEGAL_PAIR, (name, byte)
            units.append(answer[0])
    return units


class Pairs:
    def __init__(self, name, prefix, base, from_euc, leads):
        self.base, self.from_euc = base, from_euc
        self.extras = list(base.extras) if base else []
        self.units = {}
        for lead in leads:
            for trail in range(256):
                answer = ask(prefix + bytes([lead, trail]), name)
                if answer == "illegal pair":
                    self.units[lead, trail] = ILLEGAL_PAIR
                    continue
                if not isinstance(answer, tuple):
                    continue
                assert lead in LEADS and trail in TRAILS and len(answer) <= 2, (name, lead, trail)
                self.units[lead, trail] = self.unit(answer)

    def unit(self, answer):
        if len(answer) == 1 and answer[0] < 0x10000:
            return answer[0]
        extra = (answer + (0,))[:2]
        if extra not in self.extras:
            self.extras.append(extra)
        assert len(self.extras) <= 0x800
        return 0xD800 + self.extras.index(extra)

    def inherited(self, lead, trail):
        if not self.base:
            return 0
        if self.from_euc:
            row = (lead - (0x81 if lead < 0xA0 else 0xC1)) * 2 + (trail >= 0x9F)
            column = trail - 0x9F if trail >= 0x9F else trail - 0x40 - (trail > 0x7F)
            if lead < 0x81 or row >= 94 or trail < 0x40 or trail in (0x7F, 0xFD, 0xFE, 0xFF) or 0xA0 <= lead < 0xE0:
                return 0
            lead, trail = 0xA1 + row, 0xA1 + column
        return self.base.units.get((lead, trail), 0)

    def packed(self):
        difference = []
        for lead in LEADS:
            for trail in TRAILS:
                unit, base = self.units.get((lead, trail), 0), self.inherited(lead, trail)
                difference.append(0 if unit == base else unit or ILLEGAL)
        self.own_extras = self.extras[len(self.base.extras) if self.base else 0:]
        points = [point for extra in self.own_extras for point in extra]
        return pack(difference) + b"".join(point.to_bytes(4, "little") for point in points)


def pack(units):
    return bytes(u & 0xFF for u in units) + bytes(u >> 8 for u in units)


def four_byte_ranges():
    """gb18030's four-byte forms of the BMP: (number of the sequence, code point) where a run begins."""
    ranges, previous = [], None
    for number in range(39420):
        a, b = divmod(number, 12600)
        b, c = divmod(b, 1260)
        c, d = divmod(c, 10)
        answer = ask(bytes([0x81 + a, 0x30 + b, 0x81 + c, 0x30 + d]), "gb18030")
        assert len(answer) == 1
        if previous is None or answer[0] != previous + 1:
            ranges.append((number, answer[0]))
        previous = answer[0]
    return ranges


def jamo(position):
    """euc_kr's eight-byte Hangul: index of the part at that position for each last byte 0xA1.., 0xFF for none."""
    def part(byte):
        parts = [0xA1, 0xBF, 0xD4]
        parts[position] = byte
        answer = ask(bytes([0xA4, 0xD4, 0xA4, parts[0], 0xA4, parts[1], 0xA4, parts[2]]), "euc_kr")
        if not isinstance(answer, tuple):
            return 0xFF
        rest = answer[0] - 0xAC00
        return (rest // 588, rest // 28 % 21, rest % 28)[position]
    return [part(byte) for byte in range(0xA1, 0xFF)]


def c_bytes(data):
    lines = [data[i:i + 24] for i in range(0, len(data), 24)]
    return "\n".join("\t" + ",".join(map(str, line)) + "," for line in lines)


def main():
    blob = bytearray()

    def add(raw):
        place = len(blob)
        blob.extend(zlib.compress(raw, 9))
        return place, len(blob) - place, len(raw)

    firsts, charsets, tables, table_index, objects = [], [], [], {}, {}

    def add_table(key, name, prefix, base, from_euc, leads):
        objects[key] = Pairs(name, prefix, objects.get(base), from_euc, leads)
        raw = objects[key].packed()
        place, size, _ = add(raw)
        table_index[key] = len(tables)
        tables.append((place, size, len(objects[key].own_extras), table_index.get(base, -1), int(from_euc)))

    for name, shown in UTF.items():
        charsets.append((name, shown, name.upper(), -1, -1, 0))
    charsets += [("ascii", "ascii", "ASCII", -1, -1, 0), ("latin_1", "latin-1", "LATIN_1", -1, -1, 0)]
    for name in single_byte_names():
        charsets.append((name, "charmap", "TABLE", -1, -1, len(firsts)))
        firsts.append(first_units(name))
    for name, (base, from_euc) in MULTI.items():
        units = first_units(name)
        add_table(name, name, b"", base, from_euc, [b for b in range(256) if units[b] == LEAD])
        if name in THIRD:
            third = THIRD[name] + "+8f" if THIRD[name] else None
            add_table(name + "+8f", name, b"\x8f", third, False, LEADS)
        kind = {"gb18030": "GB18030", "euc_kr": "EUC_KR"}.get(name, "TABLE")
        charsets.append((name, name, kind, table_index[name], table_index.get(name + "+8f", -1), len(firsts)))
        firsts.append(units)
    for name, (kind, pairs, third) in STATEFUL.items():
        charsets.append((name, name, kind, table_index[pairs], table_index.get(f"{third}+8f", -1), 0))

    place, size, raw_size = add(b"".join(pack([u ^ i for i, u in enumerate(units)]) for units in firsts))
    index = {charset[0]: i for i, charset in enumerate(charsets)}
    names = dict(index)
    names.update({alias: index[name] for alias, name in encodings.aliases.aliases.items() if name in index and alias == alias.lower()})

    out = ["/* Generated by tools/gen_charsets.py. */", '#include "text/charsets.h"', ""]
    out.append("const struct text_charset text_charsets[] = {")
    for _, shown, kind, pairs, third, first in charsets:
        out.append(f'\t{{"{shown}", CHARSET_{kind}, {pairs}, {third}, {first}}},')
    out += ["};", "", "const struct text_pairs text_pairs[] = {"]
    out += ["\t{%d, %d, %d, %d, %d}," % table for table in tables]
    out += ["};", "", f"const struct text_packed text_firsts = {{{place}, {size}, {raw_size}}};", ""]
    out.append("const char text_charset_names[] =")
    for name in sorted(names):
        assert re.fullmatch("[a-z0-9_.]+", name) and names[name] < 255
        out.append(f'\t"{name}\\0" "\\{names[name] + 1:03o}"')
    out += ["\t;", "", "const struct text_range text_gb18030_ranges[] = {"]
    ranges = four_byte_ranges()
    out += ["\t{%d, %d}," % pair for pair in ranges]
    out += ["};", f"const size_t text_gb18030_range_count = {len(ranges)};", ""]
    out.append("const unsigned char text_euc_kr_jamo[3][94] = {")
    out += ["\t{" + ",".join(map(str, jamo(position))) + "}," for position in range(3)]
    out += ["};", "", "const unsigned char text_charset_blob[] = {", c_bytes(blob), "};", ""]
    with open(sys.argv[1], "w", encoding="ascii") as f:
        f.write("\n".join(out))
    print(f"{len(charsets)} charsets, {len(names)} names, {len(blob)} bytes packed", file=sys.stderr)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes src/inject/data/*.txt from the tables inside of a built libinjection.

    python3 tables.py LIBRARY OUTPUT-DIRECTORY

LIBRARY is an ELF file for x86-64 that has libinjection in it, such as
libmodsecurity.so.3. Its tables are arrays of pointers to strings, which the
relocations of the file tell; each is known by a word that is in no other.
"""

import struct
import sys
from pathlib import Path

KINDS = "kUBEtfn1vo&AT"
RELATIVE = 8  # R_X86_64_RELATIVE


class Library:
    def __init__(self, path):
        self.bytes = Path(path).read_bytes()
        (table,) = struct.unpack_from("<Q", self.bytes, 40)
        size, count = struct.unpack_from("<HH", self.bytes, 58)
        self.sections = [
            struct.unpack_from("<IIQQQQIIQQ", self.bytes, table + i * size) for i in range(count)
        ]
        self.pointers = {}
        for section in self.sections:
            if section[1] == 4:  # SHT_RELA
                for at in range(section[4], section[4] + section[5], 24):
                    address, info, target = struct.unpack_from("<QQq", self.bytes, at)
                    if info & 0xFFFFFFFF == RELATIVE:
                        self.pointers[address] = target

    def offset(self, address):
        for _, kind, _, start, offset, size, *_ in self.sections:
            if start and kind != 8 and start <= address < start + size:
                return address - start + offset
        raise LookupError(hex(address))

    def string(self, pointer):
        at = self.offset(self.pointers[pointer])
        return self.bytes[at : self.bytes.index(b"\0", at)].decode("latin-1")

    def number(self, address):
        return struct.unpack_from("<i", self.bytes, self.offset(address))[0]

    def table(self, stride, first, last):
        """The strings from one that is `first` to one that is `last`, with their addresses."""
        for start in self.pointers:
            found, at = [], start
            if self.string(start) != first:
                continue
            while at in self.pointers:
                found.append((self.string(at), at))
                if found[-1][0] == last:
                    return found
                at += stride
        raise LookupError(first)


def words(library):
    found = [(word, chr(library.number(at + 8) & 0xFF)) for word, at in library.table(16, "!!", "~*")]
    plain = sorted((kind, word) for word, kind in found if kind != "F")
    assert all(kind in KINDS and len(word) < 32 for kind, word in plain)
    # The C library searches by halves, which is only sound where this holds.
    assert found == sorted(found) and len({word for word, _ in found}) == len(found)
    prints = {}
    for word, kind in found:
        if kind == "F":
            assert word[0] == "0" and 2 <= len(word) <= 6
            prints.setdefault(word[1:3].ljust(2, "_"), []).append(word[3:] or "_")
    return (
        "".join(f"{kind} {word}\n" for kind, word in plain),
        "".join(f"{start} {' '.join(ends)}\n" for start, ends in sorted(prints.items())),
    )


def names(library):
    rows = {}
    for name, at in library.table(16, "ACTION", "XLINK:HREF"):
        kind = ["", "banned", "url", "style", "indirect"][library.number(at + 8)]
        rows.setdefault(f"attribute-{kind}", set()).add(name)
    # `ABORT` is an SQL word as well; what ends with `ZOOM` is the table of events.
    rows["event"] = {name for name, _ in library.table(16, "ABORT", "ZOOM")}
    rows["tag"] = {name for name, _ in library.table(8, "APPLET", "XSS")}
    return "".join(f"{kind} {name}\n" for kind in sorted(rows) for name in sorted(rows[kind]))


def main():
    library, output = Library(sys.argv[1]), Path(sys.argv[2])
    sql_words, fingerprints = words(library)
    (output / "sql-words.txt").write_text(sql_words)
    (output / "sql-fingerprints.txt").write_text(fingerprints)
    (output / "html-names.txt").write_text(names(library))


main()

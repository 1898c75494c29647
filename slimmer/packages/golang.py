"""Go modules in a binary, as the linker left them: `.go.buildinfo` in an ELF.

    16-byte aligned:  "\\xff Go buildinf:", pointer size, flags
    flags & 2:        at 32 two texts, each with its length as a varint: the Go version, the modules
    else:             two pointers to Go strings (pointer, length); flags & 1: big-endian

The modules are lines `mod\\tPATH\\tVERSION\\tSUM` and `dep\\t…`, where `=>\\t…` replaces the line before,
between two marks of 16 bytes. Source: Go's debug/buildinfo and runtime/debug.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.packages.embedded import EmbeddedPackages
from slimmer.packages.model import Package, PackageType
from slimmer.packages.places import Places
from slimmer.root.model import Entry, Root

MAGIC = b"\xff Go buildinf:"
SMALLEST = 500_000  # bytes; a Go program that prints one line has more than a million
_WINDOW = 64 << 10
_LOAD, _WRITE = 1, 2
_LONGEST = 4 << 20


def claim(root: Root, places: Places, directory: str, names: Sequence[str]) -> Iterator[Programs]:
    """A directory that has names as programs have: without a dot."""
    candidates = frozenset(name for name in names if "." not in name)
    if candidates:
        yield Programs(root, directory, candidates)


class Programs(EmbeddedPackages):
    """The Go programs of one directory; each is looked into only when it is asked for."""

    def look(self, entry: Entry) -> tuple[Package, ...]:
        if not entry.mode & 0o111 or entry.size < SMALLEST:
            return ()
        return tuple(modules(self.root, entry.path))


def modules(root: Root, path: str) -> Iterator[Package]:
    """The modules that a binary was linked from, the standard library among them; none when it is no Go binary."""
    try:
        with root.open(path) as stream:
            version, text = build_info(stream)
    except (SlimmerError, OSError, struct.error, ValueError, OverflowError):
        return
    if not version.isprintable() or "go" not in version:  # a truncated file has zeros here
        return
    yield Package(PackageType.GOLANG, "stdlib", version.removeprefix("go").split(" ")[0], location=path)
    found: list[tuple[str, str]] = []
    for line in text.split("\n"):
        words = line.split("\t")
        if words[0] in ("mod", "dep") and len(words) >= 3:
            found.append((words[1], words[2]))
        elif words[0] == "=>" and len(words) >= 3 and found:
            found[-1] = (words[1], words[2])
    for name, release in dict.fromkeys(found):
        yield Package(PackageType.GOLANG, name, release, location=path)


def build_info(stream: BinaryIO) -> tuple[str, str]:
    """(Go version, module lines) of an ELF file; empty texts when it has none."""
    head = stream.read(64)
    if len(head) < 52 or head[:4] != b"\x7fELF":  # a 32-bit file's header
        return "", ""
    order = "<" if head[5] == 1 else ">"
    segments = list(_segments(stream, head, order))
    for offset, address, size, flags in segments:
        if flags & _WRITE:
            stream.seek(offset)
            window = stream.read(min(size, _WINDOW))
            at = window.find(MAGIC)
            while at >= 0 and (address + at) % 16:
                at = window.find(MAGIC, at + 1)
            if at >= 0:
                return _read(stream, offset + at, order, segments)
    return "", ""


def _segments(stream: BinaryIO, head: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """(offset, address, size in the file, flags) of each loaded segment."""
    wide = head[4] == 2
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
    each, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
    stream.seek(table)
    headers = stream.read(each * count)
    for at in range(0, len(headers) - each + 1, each):
        if wide:
            kind, flags, offset, address, _, size = struct.unpack_from(f"{order}IIQQQQ", headers, at)
        else:
            kind, offset, address, _, size, _, flags = struct.unpack_from(f"{order}IIIIIII", headers, at)
        if kind == _LOAD:
            yield offset, address, size, flags


def _read(stream: BinaryIO, offset: int, order: str, segments: Sequence[tuple[int, int, int, int]]) -> tuple[str, str]:
    stream.seek(offset)
    head = stream.read(32)
    if len(head) < 32:
        return "", ""
    size, flags = head[14], head[15]
    if flags & 2:
        version = _varint_text(stream)
        return version, _between(_varint_text(stream))
    order = ">" if flags & 1 else "<"
    pointer = order + ("Q" if size == 8 else "I")
    texts = []
    for at in (16, 16 + size):
        (place,) = struct.unpack_from(pointer, head, at)
        text, length = struct.unpack(f"{order}{pointer[1]}{pointer[1]}", _at(stream, place, 2 * size, segments))
        texts.append(_at(stream, text, min(length, _LONGEST), segments).decode("utf-8", "replace"))
    return texts[0], _between(texts[1])


def _at(stream: BinaryIO, address: int, size: int, segments: Sequence[tuple[int, int, int, int]]) -> bytes:
    for offset, start, length, _ in segments:
        if start <= address < start + length:
            stream.seek(offset + address - start)
            return stream.read(size)
    raise ValueError("a pointer out of the file")


def _varint_text(stream: BinaryIO) -> str:
    length = shift = 0
    while True:
        byte = stream.read(1)
        if not byte or shift > 28:
            raise ValueError("a text without its end")
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            break
    return stream.read(min(length, _LONGEST)).decode("utf-8", "replace")


def _between(text: str) -> str:
    """Without the two marks of 16 bytes (some of them no UTF-8: one character each)."""
    start = text.find("path\t")
    if start < 0:
        start = text.find("mod\t")
    end = text.rfind("\n")
    return text[start : end + 1] if start >= 0 else ""

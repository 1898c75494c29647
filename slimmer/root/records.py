"""One layer's entries on disk: packed, in the order of the archive, names made safe.

    entry = 52 bytes little-endian (see `_FIXED`) + name + target + xattrs
    xattrs = count u16, then for each: name length u16, value length u32, name, value

`number` names the file in the layer's `data` directory that holds the content.
Names have no leading, trailing or double slash, no "." and no ".."; "" is the
root. Written by `unpack`, read by `layers`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from slimmer.root.model import FileType

_FIXED = struct.Struct("<BxHIIQqIQIHHI")
SECOND = 1_000_000_000  # nanoseconds; times are kept in two parts, for tar's go far beyond 64 bits of them
_PAIR = struct.Struct("<HI")
_COUNT = struct.Struct("<H")


class Kind(enum.IntEnum):
    FILE = 0
    HARDLINK = 1
    SYMLINK = 2
    CHAR = 3
    BLOCK = 4
    DIRECTORY = 5
    FIFO = 6
    WHITEOUT = 7  # the name is gone
    OPAQUE = 8  # what lower layers have in this directory is gone


FILE_TYPES = {
    Kind.FILE: FileType.FILE,
    Kind.SYMLINK: FileType.SYMLINK,
    Kind.CHAR: FileType.CHAR,
    Kind.BLOCK: FileType.BLOCK,
    Kind.DIRECTORY: FileType.DIRECTORY,
    Kind.FIFO: FileType.FIFO,
}


class Record(NamedTuple):
    """An entry of a layer; `name` and `target` as bytes, `xattrs` packed."""

    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    device: int
    number: int
    name: bytes
    target: bytes
    xattrs: bytes


def pack(record: Record) -> bytes:
    kind, mode, uid, gid, size, mtime_ns, device, number, name, target, xattrs = record
    lengths = len(name), len(target), len(xattrs)
    fixed = _FIXED.pack(kind, mode, uid, gid, size, *divmod(mtime_ns, SECOND), device, number, *lengths)
    return b"".join((fixed, name, target, xattrs))


def unpack_at(data: memoryview | bytes, offset: int) -> tuple[Record, int]:
    """The record at an offset, and where the next one begins."""
    kind, mode, uid, gid, size, seconds, rest, device, number, names, targets, packed = _FIXED.unpack_from(data, offset)
    at = offset + _FIXED.size
    middle = at + names
    end = middle + targets
    stop = end + packed
    return (
        Record(
            kind,
            mode,
            uid,
            gid,
            size,
            seconds * SECOND + rest,
            device,
            number,
            bytes(data[at:middle]),
            bytes(data[middle:end]),
            bytes(data[end:stop]),
        ),
        stop,
    )


def read_all(data: memoryview | bytes) -> Iterator[tuple[int, Record]]:
    """Every record with its offset."""
    at, end = 0, len(data)
    while at < end:
        record, following = unpack_at(data, at)
        yield at, record
        at = following


def pack_xattrs(xattrs: Mapping[str, bytes]) -> bytes:
    if not xattrs:
        return b""
    parts = [_COUNT.pack(len(xattrs))]
    for name in sorted(xattrs):
        raw = name.encode("utf-8", "surrogateescape")
        parts += (_PAIR.pack(len(raw), len(xattrs[name])), raw, xattrs[name])
    return b"".join(parts)


def unpack_xattrs(data: bytes) -> dict[str, bytes]:
    if not data:
        return {}
    found: dict[str, bytes] = {}
    at = _COUNT.size
    for _ in range(_COUNT.unpack_from(data)[0]):
        names, values = _PAIR.unpack_from(data, at)
        at += _PAIR.size
        middle = at + names
        found[data[at:middle].decode("utf-8", "surrogateescape")] = data[middle : middle + values]
        at = middle + values
    return found

"""The bytes of a tar header: numbers, strings, PAX records.

Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header";
GNU tar's manual, "Basic Tar Format" (base-256 numbers, the GNU header).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

BLOCK = 512
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")
assert _FIELDS.size == BLOCK
_OCTAL = re.compile(rb"[ \0]*+([0-7]*+)[ \0]*+")
_SECONDS = re.compile(rb"(-?)(\d{1,18})(?:\.(\d*))?")
_DECIMAL = re.compile(rb"-?\d{1,19}")


class Malformed(ValueError):
    """A header that no tar writer makes; the reader adds where."""


class RawHeader(NamedTuple):
    """One 512-byte header, its strings cut at NUL and its numbers still text."""

    name: bytes
    mode: bytes
    uid: bytes
    gid: bytes
    size: bytes
    mtime: bytes
    typeflag: bytes
    linkname: bytes
    gnu: bool
    major: bytes
    minor: bytes
    block: bytes


def split(block: bytes) -> RawHeader:
    """The fields of a header block, its checksum verified. Raises Malformed."""
    fields = _FIELDS.unpack(block)
    name, mode, uid, gid, size, mtime, checksum, typeflag, linkname, magic, version = fields[:11]
    major, minor, prefix, tail = fields[13:]
    total = sum(block) - sum(checksum) + 8 * 32
    expected = number(checksum)
    if total != expected:
        # Sun's early tar summed signed bytes; GNU tar still accepts it.
        signed = total - 256 * sum(byte > 127 for byte in block) + 256 * sum(byte > 127 for byte in checksum)
        if signed != expected:
            raise Malformed("header checksum is wrong")
    name = name.partition(b"\0")[0]
    ustar = magic == b"ustar\0"
    if ustar and prefix[0]:
        # star keeps times in the last bytes of the prefix and marks that with "tar\0" at the end.
        parent = (prefix[:131] if tail[8:] == b"tar\0" else prefix).partition(b"\0")[0]
        name = parent + b"/" + name if parent else name
    gnu = magic == b"ustar " and version == b" \0"
    return RawHeader(
        name, mode, uid, gid, size, mtime, typeflag, linkname.partition(b"\0")[0], gnu, major, minor, block
    )


def number(field: bytes) -> int:
    """An octal field, or GNU's base-256 when the first bit is set. Raises Malformed."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        if field[0] & 0x40:  # two's complement, first bit is the mark
            return value - (1 << (8 * len(field)))
        return value - (0x80 << (8 * (len(field) - 1)))
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        pass
    # Some writers leave rubbish after the terminator; the number ends at the first NUL.
    match = _OCTAL.fullmatch(field.partition(b"\0")[0])
    if match is None:
        raise Malformed(f"not a number: {field!r}")
    return int(match[1] or b"0", 8)


def decimal(value: bytes, key: str) -> int:
    if _DECIMAL.fullmatch(value) is None:
        raise Malformed(f"PAX {key} is not a number: {value[:40]!r}")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A PAX time, "-1.25" being a second and a quarter before the epoch."""
    match = _SECONDS.fullmatch(value)
    if match is None:
        raise Malformed(f"PAX time is not a number: {value[:40]!r}")
    total = int(match[2]) * 1_000_000_000 + int((match[3] or b"")[:9].ljust(9, b"0"))
    return -total if match[1] else total


def pax_records(data: bytes) -> list[tuple[str, bytes]]:
    """The records of a PAX header in order ("LENGTH KEY=VALUE\\n"; GNU sparse 0.0 repeats keys). Raises Malformed."""
    records: list[tuple[str, bytes]] = []
    at, end = 0, len(data)
    while at < end:
        space = data.find(b" ", at, at + 12)
        digits = data[at:space]
        if space < 0 or not digits.isdigit():
            # Padding with NUL after the records is common enough to be let through.
            if not data[at:].strip(b"\0"):
                break
            raise Malformed("PAX record without a length")
        stop = at + int(digits)
        if stop > end or stop <= space + 2 or data[stop - 1] != 0x0A:
            raise Malformed("PAX record runs over its header")
        equals = data.find(b"=", space + 1, stop)
        if equals <= space + 1:
            raise Malformed("PAX record without a key")
        records.append((data[space + 1 : equals].decode("utf-8", "surrogateescape"), data[equals + 1 : stop - 1]))
        at = stop
    return records


def xattr_of(key: str, value: bytes) -> tuple[str, bytes] | None:
    """The extended attribute that a PAX record carries (star's and libarchive's spelling), if it carries one."""
    if key.startswith("SCHILY.xattr."):
        return key[13:], value
    if key.startswith("LIBARCHIVE.xattr."):
        name = unquote_to_bytes(key[17:]).decode("utf-8", "surrogateescape")
        try:
            return name, base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
        except binascii.Error as error:
            raise Malformed(f"PAX {key[:60]} is not base64") from error
    return None


def text(raw: bytes, what: str) -> str:
    if b"\0" in raw:
        raise Malformed(f"{what} with a NUL byte")
    return raw.decode("utf-8", "surrogateescape")

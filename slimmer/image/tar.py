"""Tar headers, written byte by byte: ustar, with PAX records only where ustar cannot say it.

A writer of our own because tarfile's output differs between Python versions
(padding, float times, order of records). What a reader must know is in POSIX
pax(1); the SCHILY.xattr records are star's, read by GNU tar, libarchive and Go.

    [ pax header | its records, padded ]   only when needed
    header                                 512 bytes
    content, padded to 512                 regular files
    …
    two zero blocks
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from slimmer.errors import SlimmerError

BLOCK = 512
END = bytes(2 * BLOCK)
NAME_LENGTH = 100
# The fixed name of every PAX header: the file's own name would only repeat, cut off, what the records say.
PAX_NAME = b"././@PaxHeader"
# pax(1), "Values of hdrcharset": without it the text records are UTF-8, and other bytes are an error.
BINARY = (b"hdrcharset", b"BINARY")


class TarType(enum.Enum):
    """The type flags of ustar that a layer uses."""

    FILE = b"0"
    LINK = b"1"
    SYMLINK = b"2"
    CHAR = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


@dataclass(frozen=True, slots=True)
class Member:
    """One header. `name` and `target` are bytes as they stand in the archive; a directory's name ends in a slash."""

    name: bytes
    type: TarType
    mode: int
    uid: int
    gid: int
    mtime: int  # whole seconds, any sign
    size: int = 0  # bytes of content that follow
    target: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


def padding(size: int) -> bytes:
    """The zeros that follow a content of this size."""
    return bytes(-size % BLOCK)


def header(member: Member) -> bytes:
    """The header blocks of a member, its PAX records before it when it needs them. Raises SlimmerError."""
    records = _records(member)
    main = _block(
        member.name[:NAME_LENGTH],
        member.type.value,
        mode=member.mode,
        uid=_fit(member.uid, 7),
        gid=_fit(member.gid, 7),
        size=_fit(member.size, 11),
        mtime=_fit(member.mtime, 11),
        target=member.target[:NAME_LENGTH],
        major=member.major,
        minor=member.minor,
    )
    if not records:
        return main
    text = b"".join(_record(key, value) for key, value in sorted(records))
    return _block(PAX_NAME, b"x", mode=0o644, size=len(text)) + text + padding(len(text)) + main


def _records(member: Member) -> list[tuple[bytes, bytes]]:
    records: list[tuple[bytes, bytes]] = []
    binary = False
    for key, text in ((b"path", member.name), (b"linkpath", member.target)):
        if len(text) > NAME_LENGTH:
            records.append((key, text))
            binary = binary or not _is_utf8(text)
    if binary:
        records.append(BINARY)
    for key, number, digits in (
        (b"uid", member.uid, 7),
        (b"gid", member.gid, 7),
        (b"size", member.size, 11),
        (b"mtime", member.mtime, 11),
    ):
        if _fit(number, digits) != number:
            records.append((key, b"%d" % number))
    for name, value in member.xattrs:
        if b"=" in name:
            # A record's key ends at its first "="; GNU tar's escape for it is read by nobody else.
            raise SlimmerError(
                f"/{member.name.decode('utf-8', 'replace')}: the extended attribute "
                f"{name.decode('utf-8', 'replace')!r} has a '=' in its name, which no layer can carry",
                "remove the attribute, or leave the file out with --exclude",
            )
        records.append((b"SCHILY.xattr." + name, value))
    return records


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fit(number: int, digits: int) -> int:
    """The number when octal digits hold it; else 0, and a PAX record says it."""
    return number if 0 <= number < 8**digits else 0


def _record(key: bytes, value: bytes) -> bytes:
    """The text "LENGTH key=value\\n", where LENGTH counts its own digits."""
    rest = len(key) + len(value) + 3  # space, "=", newline
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


def _block(
    name: bytes,
    flag: bytes,
    *,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    target: bytes = b"",
    major: int = 0,
    minor: int = 0,
) -> bytes:
    block = b"".join(
        (
            name.ljust(NAME_LENGTH, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" % uid,
            b"%07o\0" % gid,
            b"%011o\0" % size,
            b"%011o\0" % mtime,
            b" " * 8,  # the checksum counts itself as spaces
            flag,
            target.ljust(NAME_LENGTH, b"\0"),
            b"ustar\x0000",
            bytes(64),  # user and group names: empty, numbers are what counts
            b"%07o\0" % major,
            b"%07o\0" % minor,
            bytes(167),  # prefix (155) and the rest of the block
        )
    )
    return b"%s%06o\0 %s" % (block[:148], sum(block), block[156:])

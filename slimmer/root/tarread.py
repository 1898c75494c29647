"""Reads tar archives: ustar, v7, PAX, GNU long names, both kinds of sparse files.

Python's tarfile is not used because what an image *is* depends on how its
headers are read: limits, sparse files, the order of duplicates and exact errors
have to be ours. Nothing is written here.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from slimmer.errors import SlimmerError
from slimmer.root import tarsparse
from slimmer.root.limits import Limits, too_much
from slimmer.root.tarheader import (
    BLOCK,
    Malformed,
    RawHeader,
    decimal,
    nanoseconds,
    number,
    pax_records,
    split,
    text,
    xattr_of,
)

ZERO = bytes(BLOCK)
_MAX_ID = (1 << 32) - 2  # uid_t; the last value means "unchanged" to chown(2)
_MAX_NS = (1 << 62) * 1_000_000_000  # far beyond what any filesystem holds
_NO_XATTRS: Mapping[str, bytes] = {}


class ReadError(SlimmerError):
    """The archive is damaged or hostile; the message names the archive and the byte."""


class TarType(enum.IntEnum):
    FILE = 0
    HARDLINK = 1
    SYMLINK = 2
    CHAR = 3
    BLOCK = 4
    DIRECTORY = 5
    FIFO = 6


_TYPES = {
    b"0": TarType.FILE,
    b"\0": TarType.FILE,
    b"7": TarType.FILE,
    b"S": TarType.FILE,
    b"1": TarType.HARDLINK,
    b"2": TarType.SYMLINK,
    b"3": TarType.CHAR,
    b"4": TarType.BLOCK,
    b"5": TarType.DIRECTORY,
    b"6": TarType.FIFO,
}


class TarEntry(NamedTuple):
    """One entry as its headers say it; a tuple, because an image has very many."""

    offset: int  # of its first header in the archive
    type: TarType
    name: str  # as written, trailing slash and all
    mode: int
    uid: int
    gid: int
    size: int  # of the file, holes counted; 0 for what has no content
    mtime_ns: int
    target: str
    device: int
    xattrs: Mapping[str, bytes]
    sparse: tuple[tarsparse.Region, ...] | None
    data: int  # where the stored bytes begin in the archive
    stored: int  # how many they are


class Feed(Protocol):
    """Bytes in order. `offset` counts what was taken or skipped."""

    offset: int

    def block(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""

    def some(self, limit: int) -> memoryview:
        """Up to `limit` next bytes without copying; empty only at the end."""

    def skip(self, size: int) -> int:
        """Pass over bytes; how many there were."""


class ChunkFeed:
    """A Feed over chunks as a decompressor makes them."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._view = memoryview(b"")
        self._at = 0
        self.offset = 0

    def some(self, limit: int) -> memoryview:
        while self._at == len(self._view):
            chunk = next(self._chunks, None)
            if chunk is None:
                return memoryview(b"")
            self._view = memoryview(chunk)
            self._at = 0
        view = self._view[self._at : self._at + limit]
        self._at += len(view)
        self.offset += len(view)
        return view

    def block(self, size: int) -> bytes:
        first = bytes(self.some(size))
        if len(first) == size:
            return first
        parts = [first]
        missing = size - len(first)
        while missing:
            view = self.some(missing)
            if not view:
                break
            parts.append(bytes(view))
            missing -= len(view)
        return b"".join(parts)

    def skip(self, size: int) -> int:
        left = size
        while left:
            view = self.some(left)
            if not view:
                break
            left -= len(view)
        return size - left


class FileFeed:
    """A Feed over a seekable file: what is skipped is not read."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._end = os.fstat(descriptor).st_size
        self.offset = 0

    def some(self, limit: int) -> memoryview:
        data = os.pread(self._descriptor, min(limit, 1 << 20), self.offset)
        self.offset += len(data)
        return memoryview(data)

    def block(self, size: int) -> bytes:
        data = os.pread(self._descriptor, size, self.offset)
        self.offset += len(data)
        return data

    def skip(self, size: int) -> int:
        passed = max(0, min(size, self._end - self.offset))
        self.offset += passed
        return passed


class TarReader:
    """Iterates over the entries of an archive; `data()` is the current entry's content.

    `where` is the archive's name for messages. Raises ReadError, and SlimmerError
    when a limit is passed.
    """

    def __init__(self, feed: Feed, where: str, limits: Limits) -> None:
        self._feed = feed
        self._where = where
        self._limits = limits
        self._globals: dict[str, bytes] = {}
        self._left = 0  # stored bytes of the current entry not yet taken
        self._padding = 0
        self._current: TarEntry | None = None

    def fail(self, problem: str, offset: int | None = None) -> ReadError:
        at = self._feed.offset if offset is None else offset
        return ReadError(f"{self._where}: {problem} (at byte {at:,} of the tar)", "the archive is damaged or hostile")

    def __iter__(self) -> Iterator[TarEntry]:
        while (entry := self._next()) is not None:
            yield entry

    def data(self) -> Iterator[tuple[int, memoryview]]:
        """The current entry's stored bytes, each piece with its offset in the file. Holes are left out."""
        entry = self._current
        if entry is None:
            return
        regions = entry.sparse if entry.sparse is not None else ((0, entry.stored),)
        for start, length in regions:
            at, end = start, start + length
            while at < end:
                view = self._feed.some(end - at)
                if not view:
                    raise self.fail(f"the archive ends inside {entry.name!r}")
                self._left -= len(view)
                yield at, view
                at += len(view)

    def _finish(self) -> None:
        # umoci insert leaves out the last entry's padding and the end of the archive; content must be whole.
        rest = self._left + self._padding
        if rest and self._feed.skip(rest) < self._left:
            name = self._current.name if self._current else ""
            raise self.fail(f"the archive ends inside {name!r}")
        self._left = self._padding = 0

    def _next(self) -> TarEntry | None:
        self._finish()
        self._current = None
        start = self._feed.offset
        records: list[tuple[str, bytes]] = []
        long_name = long_link = None
        while True:
            at = self._feed.offset
            block = self._feed.block(BLOCK)
            if not block or block == ZERO:
                if records or long_name is not None or long_link is not None:
                    raise self.fail("the archive ends after an extended header", at)
                self._check_end(bool(block))
                return None
            if len(block) < BLOCK:
                raise self.fail("the archive ends inside a header", at)
            try:
                header = split(block)
                flag = header.typeflag
                if flag in b"xXgLK":
                    body = self._body(header)
                    if flag in b"xX":
                        records = pax_records(body)
                    elif flag == b"g":
                        self._remember(pax_records(body))
                    elif flag == b"L":
                        long_name = body.partition(b"\0")[0]
                    else:
                        long_link = body.partition(b"\0")[0]
                    continue
                if flag == b"V":  # a volume label names nothing
                    continue
                self._current = self._entry(start, header, records, long_name, long_link)
            except Malformed as error:
                raise self.fail(str(error), at) from error
            return self._current

    def _check_end(self, zero: bool) -> None:
        """Two zero blocks end an archive; one, or none at a border, is let through as GNU tar and Go do."""
        if not zero:
            return
        second = self._feed.block(BLOCK)
        if second and second != ZERO[: len(second)]:
            raise self.fail("a zero block stands in the middle")

    def _body(self, header: RawHeader) -> bytes:
        size = number(header.size)
        if size < 0 or size > self._limits.header_bytes:
            raise too_much(
                f"{self._where}: byte {self._feed.offset:,}", f"an extended header of {size:,} bytes", "header_bytes"
            )
        body = self._feed.block(size)
        if len(body) < size or self._feed.skip(-size % BLOCK) != -size % BLOCK:
            raise self.fail("the archive ends inside an extended header")
        return body

    def _remember(self, records: list[tuple[str, bytes]]) -> None:
        for key, value in records:
            if key in ("path", "linkpath", "size") or key.startswith("GNU.sparse."):
                raise Malformed(f"a global PAX header sets {key}")
            if value:
                self._globals[key] = value
            else:
                self._globals.pop(key, None)

    def _entry(
        self,
        start: int,
        header: RawHeader,
        records: list[tuple[str, bytes]],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> TarEntry:
        flag = header.typeflag
        kind = _TYPES.get(flag)
        if kind is None:
            raise Malformed(f"entry of unknown type {flag!r}")
        raw_name, raw_link = header.name, header.linkname
        uid = gid = size = mtime_ns = None
        xattrs = _NO_XATTRS
        sparse_keys: dict[str, bytes] = {}
        for key, value in [*self._globals.items(), *records] if self._globals else records:
            if key == "path":
                raw_name = value or raw_name
            elif key == "linkpath":
                raw_link = value or raw_link
            elif key == "size":
                size = decimal(value, key) if value else None
            elif key == "uid":
                uid = decimal(value, key) if value else None
            elif key == "gid":
                gid = decimal(value, key) if value else None
            elif key == "mtime":
                mtime_ns = nanoseconds(value) if value else None
            elif key.startswith("GNU.sparse."):
                sparse_keys[key[11:]] = value
            elif (pair := xattr_of(key, value)) is not None:
                xattrs = {**xattrs, pair[0]: pair[1]}
        if long_name is not None:
            raw_name = long_name
        if long_link is not None:
            raw_link = long_link
        name = text(sparse_keys.get("name") or raw_name, "a name")
        if flag == b"\0" and name.endswith("/"):  # v7 has no type for directories
            kind = TarType.DIRECTORY
        stored = size if size is not None else number(header.size)
        sparse: list[tarsparse.Region] | None = None
        if kind is not TarType.FILE:
            stored = 0  # as in Go's archive/tar: their size field has no data behind it
        if stored < 0:
            raise Malformed(f"{name!r} has a negative size")
        full = stored
        padding = -stored % BLOCK
        if flag == b"S" and header.gnu:
            sparse, full = tarsparse.old_gnu(header.block, self._extension)
        elif sparse_keys and kind is TarType.FILE:
            sparse, full, stored = self._pax_sparse(records, sparse_keys, stored)
        device = 0
        if kind in (TarType.CHAR, TarType.BLOCK):
            device = os.makedev(number(header.major) & 0xFFFFFFFF, number(header.minor) & 0xFFFFFFFF)
        if full > self._limits.file_bytes or stored > self._limits.file_bytes:
            raise too_much(f"{self._where}: {name!r}", f"a file of {max(full, stored):,} bytes", "file_bytes")
        entry = TarEntry(
            offset=start,
            type=kind,
            name=name,
            mode=number(header.mode) & 0o7777,
            uid=_owner(number(header.uid) if uid is None else uid),
            gid=_owner(number(header.gid) if gid is None else gid),
            size=full,
            mtime_ns=_time(number(header.mtime) * 1_000_000_000 if mtime_ns is None else mtime_ns),
            target=text(raw_link, "a link target") if kind in (TarType.HARDLINK, TarType.SYMLINK) else "",
            device=device,
            xattrs=xattrs,
            sparse=None if sparse is None else tarsparse.checked(sparse, full, stored),
            data=self._feed.offset,
            stored=stored,
        )
        self._left, self._padding = stored, padding
        return entry

    def _extension(self) -> bytes:
        block = self._feed.block(BLOCK)
        if len(block) < BLOCK:
            raise Malformed("the archive ends inside a sparse map")
        return block

    def _pax_sparse(
        self, records: list[tuple[str, bytes]], keys: dict[str, bytes], stored: int
    ) -> tuple[list[tarsparse.Region] | None, int, int]:
        """The map, the file's real size, and how many stored bytes are data."""
        real = keys.get("realsize") or keys.get("size")
        if keys.get("major", b"0") == b"1":
            if keys.get("minor") != b"0" or real is None:
                raise Malformed("a sparse file of an unknown version")
            regions, used = tarsparse.leading_map(self._extension, min(stored, self._limits.header_bytes))
            if used > stored:
                raise Malformed("a sparse map larger than its file")
            return regions, decimal(real, "size"), stored - used
        found = tarsparse.pax_map(records)
        if found is None:
            return None, stored, stored
        if real is None:
            raise Malformed("a sparse file without its size")
        return found, decimal(real, "size"), stored


def _owner(value: int) -> int:
    if not 0 <= value <= _MAX_ID:
        raise Malformed(f"owner {value} is not one")
    return value


def _time(value: int) -> int:
    if not -_MAX_NS <= value <= _MAX_NS:
        raise Malformed("a time beyond all calendars")
    return value

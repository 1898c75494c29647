"""Tar files that carry images: a table of their members, each readable by itself.

What is compressed or comes through a pipe is first written to a file of our own,
so that members can be read in any order and by several threads.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.codec import CHUNK, Blob, decompressed, file_chunks
from slimmer.root.limits import Limits, too_much
from slimmer.root.tarread import FileFeed, TarReader, TarType

_HOPS = 8  # links to links between members


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member's bytes are in the file; `target` of a link, resolved, else ""."""

    offset: int
    size: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An archive's file and table. `where` is its name for messages."""

    path: str
    where: str
    members: dict[str, Member]

    def has(self, name: str) -> bool:
        return self._find(name) is not None

    def blob(self, name: str, what: str, digest: str = "", size: int = -1) -> Blob:
        """A member's bytes. Raises SlimmerError when there is none."""
        member = self._find(name)
        where = f"{self.where}: {what}"
        if member is None:
            raise SlimmerError(f"{where}: the archive has no member {name!r}", "the archive is damaged or incomplete")
        return Blob(where, lambda: file_chunks(self.path, member.offset, member.size), digest, size)

    def _find(self, name: str) -> Member | None:
        for _ in range(_HOPS):
            member = self.members.get(posixpath.normpath(name))
            if member is None or not member.target:
                return member
            name = member.target
        return None


def open_bundle(path: str, where: str, limits: Limits, scratch: Path) -> Bundle:
    """The table of an archive, which may be compressed as a whole. Raises SlimmerError."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(512)
    except OSError as error:
        raise SlimmerError(f"cannot read {path}: {error.strerror}") from error
    if start[257:262] != b"ustar":
        path = spool(decompressed(file_chunks(path), where), where, limits, scratch)
    return _table(path, where, limits)


def spool_stream(stream: BinaryIO, where: str, limits: Limits, scratch: Path) -> str:
    """A pipe's bytes in a file of our own, decompressed."""

    def chunks() -> Iterator[bytes]:
        read = getattr(stream, "read1", stream.read)
        while data := read(CHUNK):
            yield data

    return spool(decompressed(chunks(), where), where, limits, scratch)


def spool(chunks: Iterator[bytes], where: str, limits: Limits, scratch: Path) -> str:
    path = scratch / "archive.tar"
    total = 0
    try:
        with open(path, "xb", buffering=0) as out:
            for chunk in chunks:
                total += len(chunk)
                if total > limits.archive_bytes:
                    raise too_much(where, f"more than {limits.archive_bytes:,} bytes", "archive_bytes")
                view = memoryview(chunk)
                while view:
                    view = view[out.write(view) :]
    except OSError as error:
        raise SlimmerError(
            f"{where}: cannot be kept in {scratch}: {error.strerror}",
            "make room, or move the cache with XDG_CACHE_HOME",
        ) from error
    if not total:
        raise SlimmerError(f"{where}: is empty", "was the image's name right where the archive was made?")
    return str(path)


def _table(path: str, where: str, limits: Limits) -> Bundle:
    members: dict[str, Member] = {}
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        reader = TarReader(FileFeed(descriptor), where, limits)
        for count, entry in enumerate(reader):
            if count >= limits.members:
                raise too_much(where, f"more than {limits.members:,} members", "members")
            name = posixpath.normpath(entry.name)
            # The names are keys of a table and nothing else, so a hostile one can only fail to be found.
            if entry.type is TarType.FILE and entry.sparse is None:
                members[name] = Member(entry.data, entry.stored)
            elif entry.type is TarType.SYMLINK:
                members[name] = Member(0, 0, posixpath.normpath(posixpath.join(posixpath.dirname(name), entry.target)))
            elif entry.type is TarType.HARDLINK:
                members[name] = Member(0, 0, posixpath.normpath(entry.target))
    finally:
        os.close(descriptor)
    return Bundle(path, where, members)


def same_name(full: str, given: str) -> bool:
    """Whether a short name means a full one: host, `library/` and `:latest` may be left out."""
    if ":" not in given.rpartition("/")[2]:
        given += ":latest"
    return full == given or full.endswith("/" + given)

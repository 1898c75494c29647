"""A root from data, for the tests of images: no disk, no owner of this machine, no clock."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO

from slimmer.root.model import Entry, FileType, Root, sort_key


class MemoryRoot(Root):
    """Made of entries; `content` and `attributes` by path. Parents that are not named are root's, 0755, time 0."""

    def __init__(
        self,
        entries: Iterable[Entry],
        content: Mapping[str, bytes] | None = None,
        attributes: Mapping[str, Mapping[str, bytes]] | None = None,
    ) -> None:
        self._entries = {entry.path: entry for entry in entries}
        self._content = dict(content or {})
        self._attributes = dict(attributes or {})
        for path in list(self._entries):
            while path != "/":
                path = os.path.dirname(path)
                self._entries.setdefault(path, directory(path))

    @property
    def name(self) -> str:
        return "memory"

    @property
    def paths(self) -> list[str]:
        return list(self._entries)

    def entry(self, path: str) -> Entry | None:
        return self._entries.get(path)

    def children(self, path: str) -> Sequence[str]:
        found = [os.path.basename(each) for each in self._entries if each != "/" and os.path.dirname(each) == path]
        return sorted(found, key=sort_key)

    def open(self, path: str) -> BinaryIO:
        return io.BytesIO(self._content.get(path, b""))

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        return self._attributes.get(path, {})


def directory(path: str, mode: int = 0o755, mtime: int = 0, **more: int) -> Entry:
    return Entry(path, FileType.DIRECTORY, mode, more.get("uid", 0), more.get("gid", 0), 0, mtime * 10**9)


def regular(path: str, size: int = 0, mode: int = 0o644, mtime: int = 0, **more: int) -> Entry:
    """A file; `inode` and `links` make it one name of several."""
    return Entry(
        path,
        FileType.FILE,
        mode,
        more.get("uid", 0),
        more.get("gid", 0),
        size,
        mtime * 10**9 + more.get("ns", 0),
        identity=(1, more["inode"]) if "inode" in more else (0, 0),
        links=more.get("links", 1),
    )


def symlink(path: str, target: str, **more: int) -> Entry:
    return Entry(path, FileType.SYMLINK, 0o777, more.get("uid", 0), more.get("gid", 0), 0, 0, target=target)


def of_files(files: Mapping[str, bytes], mtime: int = 0) -> MemoryRoot:
    """A root of regular files."""
    return MemoryRoot([regular(path, len(data), mtime=mtime) for path, data in files.items()], files)

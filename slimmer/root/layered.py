"""Roots over other roots: with files that are generated, or as they were before a run changed them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

from slimmer.root.model import Entry, FileType, Root, sort_key

CAPABILITY = "security.capability"


class GeneratedRoot(Root):
    """A root with some files replaced or added, their content in memory; owned by root, mode 0644.

    A replaced file keeps the time of the one it replaces; an added one has the time of
    `like` (a path of the base root), or 1970.
    """

    def __init__(self, base: Root, files: Mapping[str, bytes], like: str = "") -> None:
        self._base = base
        self._files = dict(files)
        self._added: dict[str, set[str]] = {}
        self._directories: dict[str, Entry] = {}
        model = base.find(like) if like else None
        self._time = model.mtime_ns if model else 0
        for path in files:
            self._place(path)

    def _place(self, path: str) -> None:
        while path != "/":
            parent = path[: path.rindex("/")] or "/"
            self._added.setdefault(parent, set()).add(path[path.rindex("/") + 1 :])
            if self._base.entry(parent) is None:
                self._directories[parent] = Entry(parent, FileType.DIRECTORY, 0o755, 0, 0, 0, self._time)
            path = parent

    @property
    def name(self) -> str:
        return self._base.name

    def entry(self, path: str) -> Entry | None:
        content = self._files.get(path)
        if content is None:
            return self._directories.get(path) or self._base.entry(path)
        replaced = self._base.entry(path)
        time = replaced.mtime_ns if replaced else self._time
        return Entry(path, FileType.FILE, 0o644, 0, 0, len(content), time)

    def children(self, path: str) -> Sequence[str]:
        own = self._base.children(path)
        added = self._added.get(path)
        return own if not added else sorted({*own, *added}, key=sort_key)

    def open(self, path: str) -> BinaryIO:
        content = self._files.get(path)
        return self._base.open(path) if content is None else io.BytesIO(content)

    def beginning(self, entry: Entry, limit: int) -> bytes:
        content = self._files.get(entry.path)
        return self._base.beginning(entry, limit) if content is None else content[:limit]

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        return {} if path in self._files else self._base.xattrs(path)


class ChangedRoot(Root):
    """A root where some paths have another mode or owner; `entries` has these as they are now.

    A file with another owner has no capabilities any more, as the kernel takes them away (chown(2)).
    """

    def __init__(self, base: Root, entries: Mapping[str, Entry]) -> None:
        self._base = base
        self._entries = entries

    @property
    def name(self) -> str:
        return self._base.name

    def entry(self, path: str) -> Entry | None:
        found, now = self._base.entry(path), self._entries.get(path)
        if found is None or now is None:
            return found
        return replace(found, mode=now.mode, uid=now.uid, gid=now.gid)

    def children(self, path: str) -> Sequence[str]:
        return self._base.children(path)

    def open(self, path: str) -> BinaryIO:
        return self._base.open(path)

    def beginning(self, entry: Entry, limit: int) -> bytes:
        return self._base.beginning(entry, limit)

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        found, now = self._base.xattrs(path), self._entries.get(path)
        before = self._base.entry(path) if now is not None and CAPABILITY in found else None
        if now is None or before is None or (before.uid, before.gid) == (now.uid, now.gid):
            return found
        return {name: value for name, value in found.items() if name != CAPABILITY}

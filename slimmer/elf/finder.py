"""What loaders ask of a root, answered once: is this name in this directory, what file is this, is it ELF.

Holds facts about files only, never a resolution: what a search finds depends on who
asks, what a file is does not.
"""

from __future__ import annotations

import posixpath

from slimmer.elf.file import Elf, ElfError, is_elf, parse
from slimmer.elf.machine import VARIANT_NAMES
from slimmer.elf.model import Found
from slimmer.errors import SlimmerError
from slimmer.root.model import MAX_LINKS, Entry, FileType, Resolution, Root


class Directory:
    """A directory by the name that a search path gives it."""

    __slots__ = ("location", "names", "varied")

    def __init__(self, location: str | None, names: frozenset[str]) -> None:
        self.location = location  # canonical; None: not there
        self.names = names
        self.varied = not VARIANT_NAMES.isdisjoint(names)  # may hold variants for some processors


class Finder:
    """Facts about one root. Made once, asked often."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._directories: dict[str, Directory] = {}
        self._resolutions: dict[str, Resolution] = {}
        self._files: dict[tuple[int, int] | str, Elf | ElfError | None] = {}
        self._contents: dict[str, bytes] = {}

    def directory(self, path: str) -> Directory:
        """What is in an absolute directory, links followed."""
        known = self._directories.get(path)
        if known is None:
            where = self.resolve(path)
            if where.entry is None or where.entry.type is not FileType.DIRECTORY:
                known = Directory(None, frozenset())
            else:
                known = Directory(where.path, frozenset(self.root.children(where.path)))
            self._directories[path] = known
        return known

    def resolve(self, path: str) -> Resolution:
        """Where an absolute path leads, links followed."""
        known = self._resolutions.get(path)
        if known is None:
            known = self._resolutions[path] = self.root.resolve(path)
        return known

    def entry(self, path: str) -> Entry | None:
        """What an absolute path leads to. Goes by its directory's listing, which is asked for only once."""
        head, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            return self.resolve(path).entry
        directory = self.directory(head or "/")
        if directory.location is None or (directory.names and name not in directory.names):
            return None
        base = directory.location
        return self.resolve(f"/{name}" if base == "/" else f"{base}/{name}").entry

    def blocked(self, path: str) -> bool:
        """Whether opening a path that leads nowhere fails with something else than "no such file" (ELOOP, ENOTDIR)."""
        where = self.resolve(path)
        return where.entry is None and (len(where.links) >= MAX_LINKS or self.root.entry(where.path) is not None)

    def file(self, entry: Entry) -> Elf | None:
        """The parsed file; None when it is not ELF. Raises ElfError when it claims to be and is not sound."""
        key = entry.identity if entry.identity != (0, 0) else entry.path
        try:
            known = self._files[key]
        except KeyError:
            known = self._files[key] = self._parse(entry)
        if isinstance(known, ElfError):
            raise known
        return known

    def _parse(self, entry: Entry) -> Elf | ElfError | None:
        if entry.type is not FileType.FILE or entry.size < 4:
            return None
        try:
            if not is_elf(self.root.beginning(entry, 4)):
                return None
            with self.root.open(entry.path) as stream:
                return parse(stream, entry.path)
        except ElfError as error:
            return error
        except SlimmerError as error:
            return ElfError(entry.path, 0, "content", f"cannot be read: {error.message}")

    def ident(self, entry: Entry) -> bytes:
        """The first 20 bytes: identification and machine."""
        try:
            return self.root.read(entry.path, 20)
        except SlimmerError:
            return b""

    def found(self, path: str) -> Found | None:
        """An ELF file by an absolute path; None when there is none. Raises ElfError."""
        entry = self.entry(path)
        if entry is None:
            return None
        file = self.file(entry)
        return Found(path, entry, file) if file is not None else None

    def content(self, path: str, limit: int) -> bytes:
        """The first `limit` bytes of what a path leads to; empty when there is nothing to read."""
        known = self._contents.get(path)
        if known is None:
            entry = self.entry(path)
            known = b""
            if entry is not None and entry.type is FileType.FILE:
                try:
                    known = self.root.read(entry.path, limit)
                except SlimmerError:
                    known = b""
            self._contents[path] = known
        return known


def absolute(path: str, workdir: str) -> str:
    """A path as a process in `workdir` means it; `.` and `..` are left for the walk through the root."""
    return path if path.startswith("/") else posixpath.join(workdir, path)

"""What a fat root is to the rest of the house: entries by canonical path.

A *canonical* path is absolute, normalised, and none of its parents is a
symbolic link; the last component may be one. Names that are not UTF-8 are
carried as surrogate escapes, so `path.encode("utf-8", "surrogateescape")` is
always the name on disk.
"""

from __future__ import annotations

import abc
import enum
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Concatenate, ParamSpec, TypeAlias, TypeVar

from slimmer.errors import SlimmerError

_P = ParamSpec("_P")
_R = TypeVar("_R")

MAX_LINKS = 40  # the kernel's MAXSYMLINKS, include/linux/namei.h


class FileType(enum.StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    CHAR = "char"
    BLOCK = "block"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a root, as lstat sees it (or as its tar header says)."""

    path: str
    type: FileType
    mode: int  # permission bits with setuid, setgid and sticky: 0o7777
    uid: int
    gid: int
    size: int  # bytes; 0 for what is not a regular file
    mtime_ns: int
    target: str = ""  # of a symbolic link, as written
    device: int = 0  # rdev of a device node
    identity: tuple[int, int] = (0, 0)  # equal for names of one file (hard links)
    links: int = 1  # number of names that file has

    @property
    def executable(self) -> bool:
        return self.type is FileType.FILE and bool(self.mode & 0o111)


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a path leads: the symbolic links passed on the way, and what is at the end.

    `links` are canonical paths of links, in the order met. `path` is canonical;
    when `entry` is None nothing is there and `path` is where the search ended.
    """

    links: tuple[str, ...]
    path: str
    entry: Entry | None


FORMATS = {
    FileType.FILE: stat.S_IFREG,
    FileType.DIRECTORY: stat.S_IFDIR,
    FileType.SYMLINK: stat.S_IFLNK,
    FileType.FIFO: stat.S_IFIFO,
    FileType.CHAR: stat.S_IFCHR,
    FileType.BLOCK: stat.S_IFBLK,
    FileType.SOCKET: stat.S_IFSOCK,
}


def _status(entry: Entry) -> os.stat_result:
    """An entry as lstat has it, as far as it is known."""
    device, number = entry.identity
    mode = FORMATS[entry.type] | entry.mode
    return os.stat_result((mode, number, device, entry.links, entry.uid, entry.gid, entry.size, 0, 0, 0))


def sort_key(path: str) -> bytes:
    """The one order of paths everywhere: as bytes."""
    return path.encode("utf-8", "surrogateescape")


Enter: TypeAlias = Callable[[Entry], bool] | None


class Root(abc.ABC):
    """A fat root. Subclasses give the primitives; everything else is built on them."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """For messages: the directory, the image reference."""

    @abc.abstractmethod
    def entry(self, path: str) -> Entry | None:
        """What is at a canonical path, the last link not followed; None when nothing is, or when a parent is a link."""

    @abc.abstractmethod
    def children(self, path: str) -> Sequence[str]:
        """The names in a directory (canonical path), sorted as bytes; empty when it is none or cannot be read."""

    @abc.abstractmethod
    def open(self, path: str) -> BinaryIO:
        """A regular file's content (canonical path). Raises SlimmerError."""

    @abc.abstractmethod
    def xattrs(self, path: str) -> Mapping[str, bytes]:
        """Extended attributes of a canonical path, unfiltered."""

    def resolve(self, path: str, *, follow: bool = True, base: str = "/") -> Resolution:
        """Walk a path as the kernel would inside this root; `..` never leaves it.

        With `follow` a link in the last component is followed too. A relative
        path starts at `base`. A loop ends with `entry` None.
        """
        pending = [part for part in (path if path.startswith("/") else f"{base}/{path}").split("/") if part][::-1]
        here = "/"
        links: list[str] = []
        while pending:
            part = pending.pop()
            if part == ".":
                continue
            if part == "..":
                here = posixpath.dirname(here)
                continue
            step = here + part if here == "/" else f"{here}/{part}"
            found = self.entry(step)
            if found is None:
                rest = "/".join(reversed(pending))
                return Resolution(tuple(links), f"{step}/{rest}" if rest else step, None)
            if found.type is FileType.SYMLINK and (follow or pending):
                if len(links) >= MAX_LINKS:
                    return Resolution(tuple(links), step, None)
                links.append(step)
                if found.target.startswith("/"):
                    here = "/"
                pending.extend(part for part in reversed(found.target.split("/")) if part)
                continue
            if pending and found.type is not FileType.DIRECTORY:
                return Resolution(tuple(links), step, None)
            here = step
        return Resolution(tuple(links), here, self.entry(here))

    def find(self, path: str, *, base: str = "/") -> Entry | None:
        """What a path leads to, links followed."""
        return self.resolve(path, base=base).entry

    def read(self, path: str, limit: int = -1) -> bytes:
        """The first `limit` bytes (all when negative) of the regular file a path leads to.

        Raises SlimmerError when there is none or it cannot be read.
        """
        found = self.find(path)
        if found is None or found.type is not FileType.FILE:
            raise SlimmerError(f"{self.name}: no regular file at {path}")
        with self.open(found.path) as stream:
            return stream.read(limit)

    def beginning(self, entry: Entry, limit: int) -> bytes:
        """The first `limit` bytes of a regular file of this root. Raises SlimmerError when it cannot be read."""
        with self.open(entry.path) as stream:
            return stream.read(limit)

    def said(
        self,
        entry: Entry,
        limit: int,
        reader: Callable[Concatenate[bytes, _P], _R],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        """What a pure reader says of the first `limit` bytes of a regular file: with nothing else done to them, another
        content of which the reader says the same may be taken for the same. Raises what `beginning` and the reader do.
        """
        return reader(self.beginning(entry, limit), *args, **kwargs)

    def statuses(self, directory: str, device: int = 0) -> Sequence[tuple[str, os.stat_result]]:
        """Names right in a directory (canonical path) and what lstat says of them, by one read of it and in any order.

        What a walk tells of it, for who asks about hundreds of thousands of paths and needs few of their entries.
        `device` is the directory's own.
        """
        prefix = "/" if directory == "/" else f"{directory}/"
        found = ((name, self.entry(prefix + name)) for name in self.children(directory))
        return [(name, _status(entry)) for name, entry in found if entry is not None]

    def walk(self, top: str = "/", enter: Enter = None) -> Iterator[Entry]:
        """Every entry at and below a canonical path, in the order of whole paths as bytes, memory flat.

        `enter` is asked for each directory below, before it is told and read: False, and nothing in it is told.
        A directory's own name and its content sort at different places ("a",
        "a.b", "a/c"), so each directory stands twice in its parent's list.
        """
        found = self.entry(top)
        if found is None:
            return
        yield found
        if found.type is FileType.DIRECTORY:
            yield from self._below(top, enter)

    def _below(self, top: str, enter: Enter = None) -> Iterator[Entry]:
        prefix = "/" if top == "/" else f"{top}/"
        steps: list[tuple[bytes, Entry, bool]] = []
        for name in self.children(top):
            found = self.entry(prefix + name)
            if found is None:
                continue
            raw = sort_key(name)
            steps.append((raw, found, False))
            if found.type is FileType.DIRECTORY:
                steps.append((raw + b"/", found, True))
        steps.sort(key=lambda step: step[0])
        shut: set[str] = set()
        for _, found, descend in steps:
            if descend:
                if found.path not in shut:
                    yield from self._below(found.path, enter)
            else:
                if enter is not None and found.type is FileType.DIRECTORY and not enter(found):
                    shut.add(found.path)
                yield found

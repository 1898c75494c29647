"""A root that is a directory on disk, read as it is; nothing is ever written to it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root, sort_key

TYPES = {
    stat.S_IFREG: FileType.FILE,
    stat.S_IFDIR: FileType.DIRECTORY,
    stat.S_IFLNK: FileType.SYMLINK,
    stat.S_IFIFO: FileType.FIFO,
    stat.S_IFCHR: FileType.CHAR,
    stat.S_IFBLK: FileType.BLOCK,
    stat.S_IFSOCK: FileType.SOCKET,
}
ENTRIES_KEPT = 1 << 16  # cached ones; half a kilobyte each


def _first(step: tuple[bytes, Entry, bool]) -> bytes:
    return step[0]


def entry_of(path: str, status: os.stat_result, target: str = "") -> Entry:
    """An Entry from what lstat said."""
    kind = TYPES[stat.S_IFMT(status.st_mode)]
    return Entry(
        path=path,
        type=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind is FileType.FILE else 0,
        mtime_ns=status.st_mtime_ns,
        target=target,
        device=status.st_rdev if kind in (FileType.CHAR, FileType.BLOCK) else 0,
        identity=(status.st_dev, status.st_ino),
        links=1 if kind is FileType.DIRECTORY else status.st_nlink,
    )


def _open(path: str, flags: int) -> int:
    """Without a trace in its access time, where this user may: a root is not changed by being looked at."""
    flags |= os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:  # not its owner
        return os.open(path, flags)


@contextlib.contextmanager
def untouched(path: str, flags: int) -> Iterator[int]:
    """A descriptor to read by, which leaves the access time alone where this user may. Raises OSError."""
    descriptor = _open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class DirectoryRoot(Root):
    """`directory` is a real path on disk. Entries are cached, so many and no more: it does not change meanwhile.

    `closed` are canonical paths of directories whose content is not part of the root:
    a live root's /proc, other pseudo filesystems, what slimmer itself writes.
    """

    def __init__(self, directory: str, closed: frozenset[str] = frozenset()) -> None:
        self._directory = os.path.realpath(directory)
        self._prefix = "" if self._directory == "/" else self._directory
        self._entries: dict[str, Entry | None] = {}
        self._closed = closed
        self._unreadable: dict[str, None] = {}

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Directories met so far that could not be listed."""
        return tuple(self._unreadable)

    @property
    def name(self) -> str:
        return self._directory

    def location(self, path: str) -> str:
        """Where a canonical path is on disk."""
        return self._prefix + path

    def entry(self, path: str) -> Entry | None:
        try:
            return self._entries[path]
        except KeyError:
            found = self._look(path)
            if len(self._entries) >= ENTRIES_KEPT:
                self._entries.clear()
            self._entries[path] = found
            return found

    def _look(self, path: str) -> Entry | None:
        if not path.startswith("/"):
            return None  # not canonical, so nothing is there
        if path != "/":
            parent = self.entry(path[: path.rindex("/")] or "/")
            if parent is None or parent.type is not FileType.DIRECTORY or parent.path in self._closed:
                return None
        location = self.location(path)
        try:
            status = os.lstat(location)
            target = os.readlink(location) if stat.S_ISLNK(status.st_mode) else ""
        except (OSError, ValueError):
            return None
        return entry_of(path, status, target)

    def children(self, path: str) -> Sequence[str]:
        found = self.entry(path)
        if found is None or found.type is not FileType.DIRECTORY or path in self._closed:
            return ()
        try:
            with untouched(self.location(path), os.O_DIRECTORY) as descriptor:
                return sorted(os.listdir(descriptor), key=os.fsencode)
        except OSError:
            self._unreadable[path] = None
            return ()

    def _below(self, top: str) -> Iterator[Entry]:
        """As the base does it, but by scandir and without filling the cache: memory stays flat."""
        pending = [iter(self._steps(top))]
        while pending:
            for _, entry, descend in pending[-1]:
                if descend:
                    pending.append(iter(self._steps(entry.path)))
                    break
                yield entry
            else:
                pending.pop()

    def _steps(self, top: str) -> list[tuple[bytes, Entry, bool]]:
        """What is in a directory, in order; each directory once for itself and once for what is in it."""
        if top in self._closed:
            return []
        prefix = "/" if top == "/" else f"{top}/"
        steps: list[tuple[bytes, Entry, bool]] = []
        try:
            with untouched(self.location(top), os.O_DIRECTORY) as descriptor, os.scandir(descriptor) as found:
                for each in found:
                    try:
                        status = each.stat(follow_symlinks=False)
                        link = stat.S_ISLNK(status.st_mode)
                        target = os.readlink(each.name, dir_fd=descriptor) if link else ""
                    except OSError:
                        continue  # gone since: a live root moves
                    entry = entry_of(prefix + each.name, status, target)
                    raw = sort_key(each.name)
                    steps.append((raw, entry, False))
                    if entry.type is FileType.DIRECTORY:
                        steps.append((raw + b"/", entry, True))
        except OSError:
            self._unreadable[top] = None
            return []
        steps.sort(key=_first)
        return steps

    def open(self, path: str) -> BinaryIO:
        found = self.entry(path)
        if found is None or found.type is not FileType.FILE:
            raise SlimmerError(f"{self.name}: no regular file at {path}")
        try:
            return open(_open(self.location(path), os.O_NOFOLLOW), "rb")
        except OSError as error:
            raise SlimmerError(
                f"cannot read {self.location(path)}: {error.strerror}",
                "make it readable for this user, run as root, or leave it out with --exclude",
            ) from error

    def beginning(self, entry: Entry, limit: int) -> bytes:
        """As the base does it, in three system calls: asked for most files of a root."""
        location = self.location(entry.path)
        try:
            with untouched(location, os.O_NOFOLLOW | os.O_NONBLOCK) as handle:
                data = os.read(handle, min(limit, entry.size + 1))
                while len(data) < limit and (more := os.read(handle, min(limit - len(data), 1 << 20))):
                    data += more
        except OSError as error:
            raise SlimmerError(f"cannot read {location}: {error.strerror}") from error
        return data

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        location = self.location(path)
        try:
            names = os.listxattr(location, follow_symlinks=False)
            return {name: os.getxattr(location, name, follow_symlinks=False) for name in names}
        except OSError:
            return {}

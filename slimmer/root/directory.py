"""A root that is a directory on disk, read as it is; nothing is ever written to it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.model import FORMATS, Enter, Entry, FileType, Root, sort_key
from tracer.kernel.beneath import open_beneath

TYPES = {number: kind for kind, number in FORMATS.items()}
_OF_A_PROCESS = re.compile(r"/proc/(\d+|self)/root/?\Z")
ENTRIES_KEPT = 1 << 13  # cached ones; half a kilobyte each


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


class DirectoryRoot(Root):
    """`directory` is a real path on disk, or /proc/PID/root: the root of a process, with its mounts.

    Entries are cached, so many and no more: it does not change meanwhile.

    `closed` are canonical paths of directories whose content is not part of the root:
    a live root's /proc, other pseudo filesystems, what slimmer itself writes.
    """

    def __init__(self, directory: str, closed: frozenset[str] = frozenset()) -> None:
        # That link shows "/" for a container, and leads into it only as long as the kernel follows it.
        self._directory = directory.rstrip("/") if _OF_A_PROCESS.match(directory) else os.path.realpath(directory)
        self._prefix = "" if self._directory == "/" else self._directory
        self._entries: dict[str, Entry | None] = {}
        self._top = -1
        self._closed = closed
        self._unreadable: dict[str, None] = {}
        self._listed: dict[str, list[str]] = {}  # directories that a walk is in just now

    def _open(self, path: str, flags: int) -> int:
        """Without a trace in its access time, where this user may: a root is not changed by being looked at.

        Through no link, and not by name: who swaps one into the root while it is read leads nowhere. Raises OSError.
        """
        top = self._opened_top()
        flags |= os.O_RDONLY | os.O_CLOEXEC
        try:
            return open_beneath(top, path[1:], flags | os.O_NOATIME)
        except PermissionError:  # not its owner
            return open_beneath(top, path[1:], flags)

    def _opened_top(self) -> int:
        if self._top < 0:
            self._top = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._top)
        return self._top

    @contextlib.contextmanager
    def _untouched(self, path: str, flags: int) -> Iterator[int]:
        """A descriptor to read by. Raises OSError."""
        descriptor = self._open(path, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _same(self, descriptor: int, entry: Entry) -> None:
        """That what was opened is what was listed. In the live root files are replaced all the time. Raises OSError."""
        status = os.fstat(descriptor)
        known = bool(self._prefix) and entry.identity != (0, 0)
        moved = known and entry.identity != (status.st_dev, status.st_ino)
        if moved or not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ESTALE, "it was replaced while the root was read", entry.path)

    def names(self) -> list[str]:
        """What is in the root's own directory. Raises OSError."""
        with self._untouched("/", os.O_DIRECTORY) as descriptor:
            return os.listdir(descriptor)

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
            above = path
            missing: list[str] = []  # directories on the way, deepest first: one by one, however many there are
            while above != "/" and (above := above[: above.rindex("/")] or "/") not in self._entries:
                missing.append(above)
            if len(missing) > 1:
                for each in reversed(missing):
                    if self.entry(each) is None:
                        return None
            parent = self.entry(path[: path.rindex("/")] or "/")
            if parent is None or parent.type is not FileType.DIRECTORY or parent.path in self._closed:
                return None
        location = self.location(path)
        try:
            status = os.lstat(location)
            target = self._target(path) if stat.S_ISLNK(status.st_mode) else ""
        except (OSError, ValueError):
            return None
        return entry_of(path, status, target)

    def _target(self, path: str) -> str:
        """Where a link leads. Raises OSError."""
        descriptor = self._place(path)
        try:
            return os.readlink("", dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def _place(self, path: str) -> int:
        """A descriptor of whatever is there, a link itself too, that can only be asked what it is. Raises OSError."""
        return open_beneath(self._opened_top(), path[1:], os.O_PATH)

    def children(self, path: str) -> Sequence[str]:
        found = self.entry(path)
        if found is None or found.type is not FileType.DIRECTORY or path in self._closed:
            return ()
        listed = self._listed.get(path)
        if listed is not None:  # who asks about each path of a walk need not read each directory again
            return listed
        try:
            with self._untouched(path, os.O_DIRECTORY) as descriptor:
                return sorted(os.listdir(descriptor), key=os.fsencode)
        except OSError:
            self._unreadable[path] = None
            return ()

    def statuses(self, directory: str, device: int = 0) -> Sequence[tuple[str, os.stat_result]]:
        if directory in self._closed or self._pseudo(device):
            return ()
        found: list[tuple[str, os.stat_result]] = []
        try:
            with self._untouched(directory, os.O_DIRECTORY) as descriptor, os.scandir(descriptor) as names:
                for each in names:
                    try:
                        found.append((each.name, each.stat(follow_symlinks=False)))
                    except OSError:
                        continue  # gone since: a live root moves
        except OSError:
            self._unreadable[directory] = None
            return ()
        return found

    def _below(self, top: str, enter: Enter = None) -> Iterator[Entry]:
        """As the base does it, but by scandir and without filling the cache: memory stays flat."""
        pending = [(top, iter(self._entered(top)))]
        ready: dict[str, list[tuple[bytes, Entry, bool]]] = {}  # a few: directories that are told and not yet entered
        try:
            while pending:
                for _, entry, descend in pending[-1][1]:
                    if descend:
                        steps = ready.pop(entry.path, None)
                        if steps is None:
                            continue
                        pending.append((entry.path, iter(steps)))
                        break
                    if self._to_enter(entry) and (enter is None or enter(entry)):
                        ready[entry.path] = self._entered(entry.path)
                    yield entry
                else:
                    self._listed.pop(pending.pop()[0], None)
        finally:
            for path in (*ready, *(path for path, _ in pending)):
                self._listed.pop(path, None)

    def _entered(self, top: str) -> list[tuple[bytes, Entry, bool]]:
        """The steps of a directory, whose names are remembered until the walk leaves it."""
        steps = self._steps(top)
        self._listed[top] = [os.fsdecode(raw) for raw, _, descend in steps if not descend]
        return steps

    def _steps(self, top: str) -> list[tuple[bytes, Entry, bool]]:
        """What is in a directory, in order; each directory once for itself and once for what is in it."""
        cut = 1 if top == "/" else len(top) + 1
        steps: list[tuple[bytes, Entry, bool]] = []
        for entry in self._inside(top):
            raw = sort_key(entry.path[cut:])
            steps.append((raw, entry, False))
            if self._to_enter(entry):
                steps.append((raw + b"/", entry, True))
        steps.sort(key=_first)
        return steps

    def _inside(self, top: str) -> list[Entry]:
        """What is in a directory, in no order; nothing where it cannot be read."""
        if top in self._closed:
            return []
        prefix = "/" if top == "/" else f"{top}/"
        entries: list[Entry] = []
        try:
            with self._untouched(top, os.O_DIRECTORY) as descriptor, os.scandir(descriptor) as found:
                for each in found:
                    try:
                        status = each.stat(follow_symlinks=False)
                        link = stat.S_ISLNK(status.st_mode)
                        target = os.readlink(each.name, dir_fd=descriptor) if link else ""
                    except OSError:
                        continue  # gone since: a live root moves
                    entries.append(entry_of(prefix + each.name, status, target))
        except OSError:
            self._unreadable[top] = None
            return []
        return entries

    def _to_enter(self, entry: Entry) -> bool:
        return entry.type is FileType.DIRECTORY and not self._pseudo(entry.identity[0])

    def _pseudo(self, device: int) -> bool:
        """Whether what is on a device is a kernel's, not a root's."""
        return False

    def open(self, path: str) -> BinaryIO:
        found = self.entry(path)
        if found is None or found.type is not FileType.FILE:
            raise SlimmerError(f"{self.name}: no regular file at {path}")
        try:
            descriptor = self._open(path, os.O_NONBLOCK)
            try:
                self._same(descriptor, found)
            except OSError:
                os.close(descriptor)
                raise
            return open(descriptor, "rb")
        except OSError as error:
            raise SlimmerError(
                f"cannot read {self.location(path)}: {error.strerror}",
                "make it readable for this user, run as root, or leave it out with --exclude",
            ) from error

    def beginning(self, entry: Entry, limit: int) -> bytes:
        """As the base does it, in three system calls: asked for most files of a root."""
        location = self.location(entry.path)
        try:
            with self._untouched(entry.path, os.O_NONBLOCK) as handle:
                self._same(handle, entry)
                data = os.read(handle, min(limit, entry.size + 1))
                while len(data) < limit and (more := os.read(handle, min(limit - len(data), 1 << 20))):
                    data += more
        except OSError as error:
            raise SlimmerError(f"cannot read {location}: {error.strerror}") from error
        return data

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        try:
            descriptor = self._place(path)
        except OSError:
            return {}
        try:
            # A descriptor that can only be asked what it is has no fgetxattr(2); its link of /proc leads to the thing
            # itself, and no further where that is a link.
            place = f"/proc/self/fd/{descriptor}"
            return {name: os.getxattr(place, name) for name in os.listxattr(place)}
        except OSError:
            return {}
        finally:
            os.close(descriptor)

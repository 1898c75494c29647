"""Keeps what a run in the live root is about to change, so that the state before the run can be packed.

    DIRECTORY/
      journal   one JSON array a line, in the order of events
      1 2 …     contents, reflinked where the filesystem can

A path is saved once, before its first change: its metadata, and its content when it
is a regular file. With it goes the metadata of the directory above, whose time is about to
change too. Directories are remembered by inode (a descriptor held open keeps the number from being used
again), so that what lies in a directory that was renamed is known by the name that it had before.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_LIMIT = 256 << 20  # bytes of one file
TOTAL_LIMIT = 4 << 30  # bytes of all files
_DESCRIPTORS = 400  # directories held open
_FICLONE = 0x40049409  # include/uapi/linux/fs.h
_ELSEWHERE = ("/proc/", "/sys/", "/dev/")
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class BeforeImage:
    """A path as it was. `content` is a file that holds a regular file's bytes, None when they could not be kept."""

    type: str  # the values of slimmer.root.model.FileType
    mode: int  # permission bits
    uid: int
    gid: int
    size: int  # bytes of a regular file, else 0
    mtime_ns: int
    target: str = ""
    device: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    content: Path | None = None
    problem: str = ""  # why a regular file has no content: too large, unreadable


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the journal: `saved` None means that nothing was there. `place` is the path as it was named."""

    path: str
    place: str
    saved: BeforeImage | None
    identity: tuple[int, int] = (0, 0)
    changed_ns: int = 0


class Store:
    """Used by one process at a time; `load` reads what it wrote."""

    def __init__(self, directory: Path, *, file_limit: int = FILE_LIMIT, total_limit: int = TOTAL_LIMIT) -> None:
        self._directory = directory
        self._file_limit = file_limit
        self._left = total_limit
        self._count = 0
        self._done: set[str] = set()  # a cache: places that need no look any more
        self._above: set[str] = set()  # the same for the directories above
        self._journal: dict[str, tuple[int, int] | None] = {}  # path before the run → identity, None: not there
        self._directories: dict[tuple[int, int], str] = {}  # identity → path before the run
        self._held: list[int] = []
        directory.mkdir(parents=True, exist_ok=True)
        self._stream = -1  # opened by whoever uses it, not by the process that forks that one

    def before_change(self, path: str) -> None:
        """Save a path (its parents resolved) unless that was done before. Never raises for what it finds."""
        if path in self._done or path.startswith(_ELSEWHERE) or path == "/":
            return
        try:
            self._before_change(path)
        except OSError as error:
            self._write(["problem", path, str(error)])
            self._done.add(path)

    def _before_change(self, place: str) -> None:
        above = os.path.dirname(place)
        if above not in self._above:
            self._save(above)
            self._above.add(above)
        if self._save(place):  # a directory may be about to move, and what is known of places in it with it
            self._done.clear()
            self._above.clear()
        else:
            self._done.add(place)

    def _save(self, place: str) -> bool:
        """Whether a directory is there."""
        path = self._origin(place)
        if path is None or path in self._journal:
            return os.path.isdir(place) and not os.path.islink(place)
        try:
            status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            self._journal[path] = None
            self._write(["none", path, place])
            return False
        identity = (status.st_dev, status.st_ino)
        self._journal[path] = identity
        saved = self._copy(place, status)
        self._write(["saved", path, place, *identity, status.st_ctime_ns, *_packed(saved)])
        if stat.S_ISDIR(status.st_mode):
            self._remember(place, path, identity)
            return True
        return False

    def _remember(self, place: str, path: str, identity: tuple[int, int]) -> None:
        if len(self._held) < _DESCRIPTORS:
            with contextlib.suppress(OSError):
                self._held.append(os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
                self._directories[identity] = path

    def _origin(self, place: str) -> str | None:
        """What a place was called before the run; None when it is inside what the run itself made."""
        here, before = "", ""
        *above, last = place.split("/")[1:]
        for name in above:
            here, before = f"{here}/{name}", f"{before}/{name}"
            identity = _identity(here)
            moved = self._directories.get(identity)
            if moved is not None:
                before = moved
            elif before in self._journal and self._journal[before] != identity:
                return None
        return f"{before}/{last}"

    def _copy(self, place: str, status: os.stat_result) -> BeforeImage:
        content: Path | None = None
        problem = ""
        if stat.S_ISREG(status.st_mode):
            occupied = min(status.st_size, status.st_blocks * 512)
            if occupied > self._file_limit or occupied > self._left:
                problem = f"too large to be copied aside ({occupied} bytes)"
            else:
                self._count += 1
                content = self._directory / str(self._count)
                try:
                    copy_content(place, str(content), status.st_size)
                    self._left -= occupied
                except OSError as error:
                    content, problem = None, f"could not be copied aside ({error.strerror})"
        return _saved(place, status, content, problem)

    def _write(self, line: list[object]) -> None:
        with contextlib.suppress(OSError):  # a full disk shows again at the copies, as a problem of each
            if self._stream < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._stream = os.open(self._directory / "journal", flags, 0o600)
            os.write(self._stream, json.dumps(line).encode("ascii") + b"\n")


def _identity(place: str) -> tuple[int, int]:
    try:
        status = os.lstat(place)
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def _saved(place: str, status: os.stat_result, content: Path | None, problem: str) -> BeforeImage:
    kind = _TYPES[stat.S_IFMT(status.st_mode)]
    xattrs: dict[str, bytes] = {}
    with contextlib.suppress(OSError):
        xattrs = {
            name: os.getxattr(place, name, follow_symlinks=False)
            for name in sorted(os.listxattr(place, follow_symlinks=False))
        }
    return BeforeImage(
        type=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind == "file" else 0,
        mtime_ns=status.st_mtime_ns,
        target=os.readlink(place) if kind == "symlink" else "",
        device=status.st_rdev if kind in ("char", "block") else 0,
        xattrs=xattrs,
        content=content,
        problem=problem,
    )


def copy_content(place: str, target: str, size: int) -> None:
    """By reflink, else in the kernel, holes kept. The file's access time is left alone where that is allowed."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        source = os.open(place, flags | os.O_NOATIME)
    except PermissionError:
        source = os.open(place, flags)
    try:
        copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.ioctl(copy, _FICLONE, source)
            except OSError:
                _copy_data(source, copy, size)
        finally:
            os.close(copy)
    finally:
        os.close(source)


def _copy_data(source: int, copy: int, size: int) -> None:
    os.ftruncate(copy, size)
    for start, end in _extents(source, size):
        at = start
        while at < end:
            try:
                done = os.copy_file_range(source, copy, end - at, at, at)
            except OSError:
                block = os.pread(source, min(end - at, 1 << 20), at)
                done = os.pwrite(copy, block, at)
            if not done:
                return  # it shrank meanwhile
            at += done


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
            end = os.lseek(source, start, os.SEEK_HOLE)
        except OSError:  # no data after `at`
            return
        yield start, end
        at = end


def _packed(saved: BeforeImage) -> list[object]:
    return [
        saved.type,
        saved.mode,
        saved.uid,
        saved.gid,
        saved.size,
        saved.mtime_ns,
        saved.target,
        saved.device,
        {name: value.hex() for name, value in saved.xattrs.items()},
        saved.content.name if saved.content else "",
        saved.problem,
    ]


def load(directory: Path) -> Mapping[str, BeforeImage | None]:
    """By path, what each changed path was before the run; None: nothing. Paths that are the same again are left out.

    What lay in a directory that was renamed or removed is there too, path by path, and
    everything in a directory that is new, or that stands in another's place, is None.
    """
    entries = list(_read(directory))
    before: dict[str, BeforeImage | None] = {}
    for each in entries:
        if each.saved is None or not _same(each):
            before[each.path] = each.saved
    places = {_identity(each.place): each.place for each in entries}
    for each in entries:
        if each.saved is not None and each.saved.type == "directory":
            now = places.get(each.identity)
            if now is not None and now != each.path and _identity(each.path) != each.identity:
                known = {entry.path: entry for entry in entries}
                before.update(_moved(each.path, now, known))
    for each in entries:
        if each.saved is None or _identity(each.path) != each.identity:
            for path in _below(each.path):
                before.setdefault(path, None)
    return before


def _below(directory: str) -> Iterator[str]:
    """All paths that are in a directory now."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for each in entries:
            yield each.path
            if each.is_dir(follow_symlinks=False):
                yield from _below(each.path)


def _same(entry: _Entry) -> bool:
    """Nothing happened to it after all: not even its inode's change time moved."""
    try:
        status = os.lstat(entry.path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == entry.identity and status.st_ctime_ns == entry.changed_ns


def _moved(path: str, now: str, known: Mapping[str, _Entry]) -> Iterator[tuple[str, BeforeImage]]:
    """What came along in a moved directory and was never changed by itself."""
    with contextlib.suppress(OSError), os.scandir(now) as entries:
        for each in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            child = f"{path}/{each.name}"
            status = each.stat(follow_symlinks=False)
            if child not in known:
                content = Path(each.path) if stat.S_ISREG(status.st_mode) else None
                yield child, _saved(each.path, status, content, "")
            elif known[child].identity != (status.st_dev, status.st_ino):
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from _moved(child, each.path, known)


def _read(directory: Path) -> Iterator[_Entry]:
    try:
        lines = (directory / "journal").read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines:
        try:
            kind, *values = json.loads(line)
        except ValueError:
            continue  # the last line of a process that was killed
        if kind == "none":
            yield _Entry(values[0], values[1], None)
        elif kind == "saved":
            yield _parsed(directory, values)


def _parsed(directory: Path, values: list[Any]) -> _Entry:
    path, place, device, inode, changed, *rest = values
    what, mode, uid, gid, size, mtime, target, rdev, xattrs, content, problem = rest
    saved = BeforeImage(
        type=what,
        mode=mode,
        uid=uid,
        gid=gid,
        size=size,
        mtime_ns=mtime,
        target=target,
        device=rdev,
        xattrs={name: bytes.fromhex(value) for name, value in xattrs.items()},
        content=directory / content if content else None,
        problem=problem,
    )
    return _Entry(path, place, saved, (device, inode), changed)


def problems(directory: Path) -> tuple[str, ...]:
    """What could not be saved, for a person: a path and why, sorted."""
    found = []
    for each in _read(directory):
        if each.saved is not None and each.saved.problem:
            found.append(f"{each.path} was changed by the run and {each.saved.problem}")
    return tuple(sorted(found))

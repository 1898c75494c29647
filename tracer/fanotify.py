"""Recorder by fanotify: which files were opened, executed and written, at almost no cost.

Nothing is stopped: the kernel queues events and we read them when we come to it. So it
suits heavy load and long watches, and it is not complete: no stat, no missing path, no link; paths
are those of the files themselves. It needs CAP_SYS_ADMIN in the first user namespace.

Each filesystem below the recorded root is marked whole. Where it can say which file an event is
about by handle and name (FID mode), that costs no open; overlayfs cannot, and gives an open
descriptor (its events would carry the lower filesystem's paths otherwise). Once a file is
known, an ignore mark keeps the kernel from telling it again, so that a steady load costs nothing;
so `by` is the first program only. The queue is unlimited where allowed; events lost are never silent.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tracer import paths
from tracer.collector import Collector
from tracer.errors import TracerError
from tracer.recording import ENVIRONMENT
from tracer.seccomp import libc
from tracer.syscalls import EXEC, LIST, READ, WRITE

# linux/fanotify.h
_CLOEXEC, _NONBLOCK, _UNLIMITED_QUEUE, _UNLIMITED_MARKS = 1, 2, 0x10, 0x20
_REPORT_DFID_NAME = 0xC00
_MARK_ADD, _MARK_DONT_FOLLOW, _MARK_IGNORED = 1, 4, 0x20
_MARK_IGNORED_SURVIVES, _MARK_FILESYSTEM, _MARK_EVICTABLE = 0x40, 0x100, 0x200
ACCESS, MODIFY, CLOSE_WRITE, OPEN, OVERFLOW, OPEN_EXEC = 1, 2, 8, 0x20, 0x4000, 0x1000
_ONDIR = 0x40000000
_INFO_DFID_NAME = 2

_EVENT = struct.Struct("=IBBHQii")
_HANDLE = struct.Struct("=Ii")
_BLOCK = 1 << 18
_MOST_EXECUTED = 10000
_LOADERS = (b"ld-", b"ld.so", b"ld64.so")  # ELF interpreters: the kernel opens them as it opens programs

LOST = "the kernel's queue of file events overflowed: what was recorded has holes"
INCOMPLETE = "recorded by fanotify: only files that were opened, nothing that was just looked at"

# Filesystems that hold no file of a fat root.
_WITHOUT_FILES = frozenset(
    """autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue nsfs
    proc pstore rpc_pipefs securityfs selinuxfs sysfs tmpfs tracefs""".split()  # noqa: SIM905
)


@dataclass(slots=True)
class _Filesystem:
    """A marked one: a descriptor of its mount, and the paths of directories by their handle, for FID mode."""

    mount: int
    directories: dict[bytes, bytes | None] = field(default_factory=dict)


class Watcher:
    """Two groups of marks, one for each mode, that note what they hear in a collector.

    `wanted` says whether the events of a process count; None: those of all. `reads` also hears what is
    read and written through descriptors that were open before; without `executions` another recorder notes those.
    """

    def __init__(
        self,
        collector: Collector,
        *,
        reads: bool = False,
        executions: bool = True,
        wanted: Callable[[int], bool] | None = None,
    ) -> None:
        self._collector = collector
        self._executions = executions
        self._wanted = wanted
        self._mask = OPEN | OPEN_EXEC | CLOSE_WRITE | (ACCESS | MODIFY if reads else 0)
        self._named: int | None = None  # the group in FID mode
        self._opened: int | None = None  # the group that gives descriptors
        self._filesystems: dict[bytes, _Filesystem] = {}
        self._known: dict[bytes, int] = {}
        self._executed: dict[int, bytes] = {}  # what a process executed last, for when it is gone before we look
        self._root = ""
        self._me = os.getpid()
        self.overflowed = False

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to poll."""
        return tuple(group for group in (self._named, self._opened) if group is not None)

    def watch(self, pid: int) -> None:
        """Mark what the root of a process holds (0: our own). Raises TracerError where the kernel refuses."""
        self._root = f"/proc/{pid or 'self'}/root"
        prefix = os.readlink(self._root).rstrip("/")
        self._collector.processes.prefix = prefix.encode("utf-8", "surrogateescape")
        self._watch(f"/proc/{pid or 'self'}/mountinfo", prefix)

    def watch_directory(self, directory: str) -> None:
        """The same for a directory of our own root."""
        self._root = os.path.realpath(directory).rstrip("/")
        self._collector.processes.prefix = os.fsencode(self._root)
        self._watch("/proc/self/mountinfo", self._root)

    def _watch(self, mountinfo: str, prefix: str) -> None:
        marked: set[int] = set()
        below = {self._place(prefix, mount) for mount in _mounts(mountinfo, prefix)}
        for mount in sorted({self._root + "/", *below}):
            try:
                status = os.stat(mount)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode) and status.st_dev not in marked:
                marked.add(status.st_dev)
                self._mark(mount)

    def _place(self, prefix: str, mount: str) -> str:
        return f"{self._root}{mount[len(prefix) :]}" if not self._root.startswith(prefix or "\0") else mount

    def _mark(self, mount: str) -> None:
        if self._named is None and self._opened is None:
            self._named, self._opened = _group(_REPORT_DFID_NAME), _group(0)
        wanted = self._mask | _ONDIR
        if self._add(self._named, _MARK_FILESYSTEM, wanted, mount):
            descriptor = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fsid = struct.pack("=Q", os.fstatvfs(descriptor).f_fsid)
            self._filesystems[fsid] = _Filesystem(descriptor)
        elif not self._add(self._opened, _MARK_FILESYSTEM, wanted, mount):
            raise _refused(ctypes.get_errno(), mount)

    @staticmethod
    def _add(group: int | None, flags: int, mask: int, path: str) -> bool:
        raw = os.fsencode(path)
        return bool(libc.fanotify_mark(group, _MARK_ADD | flags, ctypes.c_uint64(mask), -100, raw) == 0)

    # -- events

    def read(self) -> int:
        """Note all that is queued; gives how many events that was."""
        count = 0
        for group in self.descriptors:
            while True:
                try:
                    block = os.read(group, _BLOCK)
                except BlockingIOError:
                    break
                if not block:
                    break
                place = 0
                while place < len(block):
                    length, _, _, size, mask, fd, pid = _EVENT.unpack_from(block, place)
                    self._event(mask, fd, pid, block[place + size : place + length])
                    place += length
                    count += 1
        return count

    def tick(self) -> None:
        """Directories may have been renamed."""
        for filesystem in self._filesystems.values():
            filesystem.directories.clear()
        if len(self._executed) > _MOST_EXECUTED:
            self._executed.clear()

    def _event(self, mask: int, fd: int, pid: int, information: bytes) -> None:
        try:
            if mask & OVERFLOW:
                self.overflowed = True
                return
            if pid == self._me or (self._wanted is not None and not self._wanted(pid)):
                return
            path = self._by_descriptor(fd) if fd >= 0 else self._by_name(information)
            if fd >= 0 and stat.S_ISDIR(os.fstat(fd).st_mode):
                mask |= _ONDIR  # told by itself in FID mode only
        finally:
            if fd >= 0:
                os.close(fd)
        if path is None:
            return
        kinds = _kinds(mask)
        started = kinds & EXEC and not os.path.basename(path).startswith(_LOADERS)
        if started:
            self._executed[pid] = path  # after a script its interpreter
            if self._executions:
                processes = self._collector.processes
                self._collector.executions.add((path, *_circumstances(pid, processes.prefix)))
        known = self._known.get(path, 0)
        if kinds & ~known:
            self._known[path] = known | kinds
            self._note(path, kinds, pid)
        if not mask & _ONDIR:
            self._ignore(path, self._known[path])

    def _note(self, path: bytes, kinds: int, pid: int) -> None:
        processes = self._collector.processes
        program = processes.program_of(pid)
        if not program.name:
            program = processes.named(self._executed.get(pid, b""))
        scope = program.scope(b"", b"")
        scope[path] = scope.get(path, 0) | kinds

    def _by_descriptor(self, fd: int) -> bytes | None:
        path = os.readlink(b"/proc/self/fd/%d" % fd).removesuffix(b" (deleted)")
        return paths.relative_to(self._collector.processes.prefix, path)

    def _by_name(self, information: bytes) -> bytes | None:
        """From a struct fanotify_event_info_fid: the filesystem, the directory's handle, and a name in it."""
        if len(information) < 20 or information[0] != _INFO_DFID_NAME:
            return None
        filesystem = self._filesystems.get(information[4:12])
        if filesystem is None:
            return None
        size = _HANDLE.unpack_from(information, 12)[0]
        handle = information[12 : 20 + size]
        name = information[20 + size :].split(b"\0", 1)[0]
        if handle in filesystem.directories:
            directory = filesystem.directories[handle]
        else:
            directory = filesystem.directories[handle] = self._directory(filesystem, handle)
        if directory is None:
            return None
        if name in (b"", b"."):
            return directory
        return (b"" if directory == b"/" else directory) + b"/" + name

    def _directory(self, filesystem: _Filesystem, handle: bytes) -> bytes | None:
        opened = libc.open_by_handle_at(filesystem.mount, handle, os.O_PATH | os.O_CLOEXEC)
        if opened < 0:
            return None  # removed meanwhile
        try:
            path = os.readlink(b"/proc/self/fd/%d" % opened)
        finally:
            os.close(opened)
        if path.endswith(b" (deleted)"):
            return None
        return paths.relative_to(self._collector.processes.prefix, path)

    def _ignore(self, path: bytes, kinds: int) -> None:
        """Hear no more of what is known of a file."""
        mask = (OPEN | ACCESS if kinds & (READ | EXEC) else 0) | (OPEN_EXEC if kinds & EXEC else 0)
        mask |= CLOSE_WRITE | MODIFY if kinds & WRITE else 0
        flags = _MARK_IGNORED | _MARK_IGNORED_SURVIVES | _MARK_DONT_FOLLOW
        where = self._root + os.fsdecode(path)
        for group in self.descriptors:
            if not self._add(group, flags | _MARK_EVICTABLE, mask, where):
                self._add(group, flags, mask, where)

    def close(self) -> None:
        """No more events."""
        for descriptor in (*self.descriptors, *(each.mount for each in self._filesystems.values())):
            os.close(descriptor)
        self._named = self._opened = None
        self._filesystems.clear()


class Tree:
    """Which processes are of the commands, where the machine has others that open the same files.

    A command's tree hangs below the process that started it. One that has ended before it was looked at is
    counted in: to miss a file is worse than to keep one.
    """

    def __init__(self) -> None:
        self._tops: set[int] = set()
        self._inside: dict[int, bool] = {}
        self.unseen = 0

    def add(self, pid: int) -> None:
        """A command is about to be started by this process."""
        parent = _parent(pid)
        if parent is not None:
            self._tops.add(parent)
        self._inside[pid] = True

    def tick(self) -> None:
        """Numbers may be used again."""
        self._inside.clear()

    def __contains__(self, pid: int) -> bool:
        found = self._inside.get(pid)
        if found is None:
            found = self._inside[pid] = self._look(pid)
        return found

    def _look(self, pid: int) -> bool:
        parent = _parent(pid)
        if parent is None:
            self.unseen += 1
            return True
        while parent is not None and parent > 0:
            if parent in self._tops:
                return True
            parent = _parent(parent)
        return False


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _group(flags: int) -> int:
    flags |= _CLOEXEC | _NONBLOCK
    opened = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_LARGEFILE", 0) | os.O_NOATIME
    for more in (_UNLIMITED_QUEUE | _UNLIMITED_MARKS, 0):
        group = libc.fanotify_init(flags | more, opened)
        if group >= 0:
            return int(group)
    raise _refused(ctypes.get_errno(), "")


def probe() -> None:
    """Raises TracerError where the kernel refuses."""
    os.close(_group(0))


def _refused(number: int, mount: str) -> TracerError:
    where = f" for {mount}" if mount else ""
    hint = (
        "it needs CAP_SYS_ADMIN in the first user namespace: run as root, or use --recorder notify"
        if number == errno.EPERM
        else "use --recorder notify"
    )
    return TracerError(f"the kernel refused fanotify{where}: {os.strerror(number)}", hint)


def _kinds(mask: int) -> int:
    if mask & _ONDIR:
        return LIST if mask & (OPEN | ACCESS) else 0
    kinds = EXEC if mask & OPEN_EXEC else READ if mask & (OPEN | ACCESS) else 0
    return kinds | WRITE if mask & (CLOSE_WRITE | MODIFY) else kinds


def _mounts(mountinfo: str, prefix: str) -> Iterator[str]:
    """Mount points at and below a path that may hold files of the root.

    A part of a filesystem that is mounted here (a bind) is left out: to mark it is to mark all of that filesystem,
    whose other files have no name here.
    """
    with open(mountinfo, "rb") as stream:
        for line in stream:
            fields = line.split()
            kind = fields[fields.index(b"-") + 1].decode()
            point = os.fsdecode(fields[4].decode("unicode_escape").encode("latin-1"))
            if (
                fields[3] == b"/"
                and kind not in _WITHOUT_FILES
                and (not prefix or point == prefix or point.startswith(prefix + "/"))
            ):
                yield point


def _circumstances(pid: int, prefix: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """The working directory and the ENVIRONMENT of a process, if it is still there."""
    try:
        workdir = paths.relative_to(prefix, os.readlink(b"/proc/%d/cwd" % pid)) or b"/"
        with open(f"/proc/{pid}/environ", "rb") as stream:
            lines = [line.partition(b"=") for line in stream.read().split(b"\0")]
    except OSError:
        return b"/", ()
    return workdir, tuple(sorted((name, value) for name, _, value in lines if os.fsdecode(name) in ENVIRONMENT))

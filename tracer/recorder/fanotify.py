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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tracer.errors import TracerError
from tracer.kernel import mountinfo
from tracer.kernel.beneath import open_beneath
from tracer.kernel.seccomp import libc
from tracer.kernel.syscalls import EXEC, LIST, READ, WRITE
from tracer.recorder import paths
from tracer.recorder.access_log import AccessLog
from tracer.recording import ENVIRONMENT

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
_DESCRIPTORS = 128  # that one read may open: the kernel drops, silently, an event for which there is none to be had
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
    """Two groups of marks, one for each mode, that note what they hear in an access log.

    `wanted` says whether the events of a process count; None: those of all. `reads` also hears what is
    read and written through descriptors that were open before; without `executions` another recorder notes those.
    """

    def __init__(
        self,
        log: AccessLog,
        *,
        reads: bool = False,
        executions: bool = True,
        wanted: Callable[[int], bool] | None = None,
    ) -> None:
        self._log = log
        self._executions = executions
        self._wanted = wanted
        self._mask = OPEN | OPEN_EXEC | CLOSE_WRITE | (ACCESS | MODIFY if reads else 0)
        self._named: int | None = None  # the group in FID mode
        self._opened: int | None = None  # the group that gives descriptors
        self._filesystems: dict[bytes, _Filesystem] = {}
        self._known: dict[bytes, int] = {}
        self._executed: dict[int, bytes] = {}  # what a process executed last, for when it is gone before we look
        self._root = ""
        self._top = -1  # the root itself: it stays when the process that has it is gone
        self._points: list[bytes] = []  # of the marked mounts, in the root
        self._me = os.getpid()
        self.overflowed = False

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to poll."""
        return tuple(group for group in (self._named, self._opened) if group is not None)

    def watch(self, pid: int) -> None:
        """Mark what the root of a process holds (0: our own). Raises TracerError where the kernel refuses."""
        root = f"/proc/{pid or 'self'}/root"
        self._log.processes.prefix = os.fsencode(os.readlink(root).rstrip("/"))
        self._watch(root, _mounts(pid or "self"))  # mountinfo names them as the process sees them

    def watch_directory(self, directory: str) -> None:
        """The same for a directory of our own root."""
        root = os.path.realpath(directory).rstrip("/")
        self._log.processes.prefix = os.fsencode(root)
        below = (mount[len(root) :] for mount in _mounts("self") if mount == root or mount.startswith(root + "/"))
        self._watch(root + "/", below)

    def _watch(self, root: str, mounts: Iterable[str]) -> None:
        self._top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._root = f"/proc/self/fd/{self._top}"
        marked: set[int] = set()
        for mount in sorted({"", *(mount.rstrip("/") for mount in mounts)}):
            try:
                status = os.stat(f"{self._root}{mount}/")
            except OSError:
                continue
            if status.st_dev not in marked:
                marked.add(status.st_dev)
                self._mark(f"{self._root}{mount}/")
            self._points.append(os.fsencode(mount))

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
            size = _BLOCK if group == self._named else _EVENT.size * _DESCRIPTORS
            while True:
                try:
                    block = os.read(group, size)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                        raise
                    self.overflowed = True  # the event is gone
                    break
                if not block:
                    break
                place = 0
                while place < len(block):
                    length, _, _, head, mask, fd, pid = _EVENT.unpack_from(block, place)
                    self._event(mask, fd, pid, block[place + head : place + length])
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
                processes = self._log.processes
                self._log.executions[(path, *_circumstances(pid, processes.prefix))] = None
        known = self._known.get(path, 0)
        if kinds & ~known:
            self._known[path] = known | kinds
            self._note(path, kinds, pid)
        if not mask & _ONDIR:
            self._ignore(path, self._known[path])

    def _note(self, path: bytes, kinds: int, pid: int) -> None:
        processes = self._log.processes
        program = processes.program_of(pid)
        if not program.name:
            program = processes.named(self._executed.get(pid, b""))
        scope = program.scope(b"", b"")
        scope[path] = scope.get(path, 0) | kinds

    def _by_descriptor(self, fd: int) -> bytes | None:
        """What an opened file is called in the root.

        The kernel names it by the mount that it was opened through, and the same filesystem can be mounted elsewhere
        or be seen from another mount namespace: of the paths that may be meant, the one where this file lies is it.
        """
        shown = os.readlink(b"/proc/self/fd/%d" % fd)
        prefix = self._log.processes.prefix
        if shown.endswith(b" (deleted)"):
            return paths.relative_to(prefix, shown.removesuffix(b" (deleted)"))
        status = os.fstat(fd)
        first = paths.relative_to(prefix, shown)
        for candidate in (first, shown if prefix else None):
            if candidate is not None and self._lies_at(candidate, status):
                return candidate
        mounted = _mounted_at(fd)
        if mounted is not None and shown.startswith(mounted + b"/"):
            for point in self._points:
                if self._lies_at(point + shown[len(mounted) :], status):
                    return point + shown[len(mounted) :]
        return None

    def _lies_at(self, path: bytes, status: os.stat_result) -> bool:
        try:
            found = open_beneath(self._top, os.fsdecode(path[1:]), os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return os.path.samestat(os.fstat(found), status)
        finally:
            os.close(found)

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
            # Outside the mount, which can be a part of its filesystem, a directory's path means nothing.
            path = paths.relative_to(self._log.processes.prefix, os.readlink(b"/proc/self/fd/%d" % opened))
            return path if path is not None and self._lies_at(path, os.fstat(opened)) else None
        finally:
            os.close(opened)

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
        tops = (self._top,) if self._top >= 0 else ()
        for descriptor in (*self.descriptors, *(each.mount for each in self._filesystems.values()), *tops):
            os.close(descriptor)
        self._named = self._opened = None
        self._top = -1
        self._filesystems.clear()


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


def _mounts(pid: int | str) -> Iterator[str]:
    """Mount points that may hold files of the root of a process, as it names them.

    A part of a filesystem that is mounted here (a bind) is left out: to mark it is to mark all of that filesystem,
    whose other files have no name here.
    """
    for each in mountinfo.read(pid):
        if each.directory == b"/" and each.kind.decode() not in _WITHOUT_FILES:
            yield os.fsdecode(each.point)


def _mounted_at(fd: int) -> bytes | None:
    """Where the mount of a descriptor lies ("" for "/"), if it is one of our own namespace."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as stream:
        number = next((line[7:].strip() for line in stream if line.startswith(b"mnt_id:")), b"")
    return next((each.point.rstrip(b"/") for each in mountinfo.read() if each.number == number), None)


def _circumstances(pid: int, prefix: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """The working directory and the ENVIRONMENT of a process, if it is still there."""
    try:
        workdir = paths.relative_to(prefix, os.readlink(b"/proc/%d/cwd" % pid)) or b"/"
        with open(f"/proc/{pid}/environ", "rb") as stream:
            lines = [line.partition(b"=") for line in stream.read().split(b"\0")]
    except OSError:
        return b"/", ()
    return workdir, tuple(sorted((name, value) for name, _, value in lines if os.fsdecode(name) in ENVIRONMENT))

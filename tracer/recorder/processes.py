"""What is remembered of processes between their stops: program, root and working directory.

Three things make such a memory wrong, and each has its answer:

- exec: a stop of its own; what is known of the process, and of threads that it may end, is dropped;
- chdir, chroot, mounts, renames: the stop is on entry, so the change comes later. Until the
  process that asked stops again, or a tick has passed, nobody's directories are believed
  (threads and CLONE_FS children share them, so whose they are is not asked);
- a process number used again: everything is dropped at each tick.

As long as no process of a recording has changed its root, all have the same (`uniform`), and only the
first is asked; so for the directory.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable

from tracer.kernel.seccomp import libc
from tracer.recorder import mount_namespace, paths
from tracer.recorder.exec_cache import ExecCache
from tracer.recorder.tracee import DiscardScope, News, Process, Program

_OPEN = 512  # processes, of which each may have a descriptor
_KEPT = 4096
_FEW = 4  # processes, that cost less to meet again than to ask whether it is needed
_SYS_OPENAT2 = 437
RESOLVE_IN_ROOT = 0x10


class Processes:
    """All of them. `prefix` is where the recorded root lies in the service's view of the traced mount namespace."""

    def __init__(self, read_link: Callable[[int, bytes], bytes | None] = lambda tid, name: None) -> None:
        self._read_link = read_link  # for those that we may not look at ourselves
        self._remembered: dict[int, tuple[bytes, bytes, Program]] = {}  # root, directory, program while we might look
        self._denied = False  # the last link could not be read for want of permission
        self.prefix = b""
        self.root_pid = 0  # whose root the recorded one is; 0: our own
        self.mounts_differ = False  # someone has touched mounts: ask each process for its namespace
        self.programs: dict[bytes, Program] = {}
        self.news: list[News] = []  # of all programs, until it is in the journal
        self.runner = Program(b"", self.news)  # whoever starts the commands, until they are executed
        self.known: dict[int, Process] = {}
        self.unsettled: set[int] = set()
        self.cwd_epoch = 0
        self.root_epoch = 0
        self._armed: dict[int, bool] = {}
        self._discard = DiscardScope()
        self._first: tuple[bytes | None, bytes | None] | None = None  # root and directory of the first command
        self._roots_differ = False  # one has changed, or two commands had different ones
        self._directories_differ = False
        self._root: bytes | None = None  # of all, while they do not differ; None: to be asked
        self._directory: bytes | None = None  # the same
        self._exec_cache = ExecCache()

    def start_from(self, pid: int, prefix: bytes) -> None:
        """The recorded root is that of this process, and lies at `prefix` of ours."""
        self.root_pid, self.prefix = pid, prefix
        self._root = self._directory = None

    # -- who

    def meet(self, tid: int, *, executing: bool = False) -> Process:
        """The process of a number that is not known; `executing` when it stopped for exec."""
        if len(self.known) > _OPEN:
            self._forget_all()
        process = self.known[tid] = Process(tid, self._program(tid, executing))
        return process

    def arm(self, tid: int) -> None:
        """This process will exec a command; what it does until then is not the command's, and has no program."""
        now = _seen(tid, "root"), _seen(tid, "cwd")
        first = self._first = self._first or now
        self._roots_differ = self._roots_differ or now[0] is None or now[0] != first[0]
        self._directories_differ = self._directories_differ or now[1] is None or now[1] != first[1]
        self._armed[tid] = False

    def executing(self, tid: int, seen: bytes = b"") -> None:
        """It is about to exec; if that fails it is simply met again.

        `seen`, if any, tells all about it: see `repeats`.
        """
        if tid in self._armed:
            self._armed[tid] = True
        self._becomes_another(tid)
        if seen:
            self._exec_cache.wait(tid, seen)

    def uniform(self, tid: int) -> bool:
        """Whether a process surely has the root that all have: nobody has changed its own."""
        return not self._roots_differ and tid not in self._armed

    def place(self, tid: int) -> bytes | None:
        """Tells its directory from others', when there are others; None when it cannot be seen."""
        return _seen(tid, "cwd") if self._directories_differ else b""

    def repeats(self, tid: int, seen: bytes) -> bool:
        """Whether exec was asked for the same a moment ago, with `executing`; if so, it is done again."""
        if not self._exec_cache.knows(seen):
            return False
        self._becomes_another(tid)
        self._exec_cache.expect(tid, seen)
        return True

    def _becomes_another(self, tid: int) -> None:
        """All of its threads end but one, which gets the number of the process."""
        self.forget(tid)
        self._exec_cache.drop(tid)
        if len(self.known) < _FEW or not _leads(tid):
            self._forget_all()

    def moves(self, process: Process, *, root: bool, mounts: bool) -> None:
        """A process is about to change its directory or a name of one, its root, or its mounts."""
        self.unsettled.add(process.tid)
        self._directories_differ = True
        self._roots_differ = self._roots_differ or root
        if root and mounts:
            self.mounts_differ = True

    def tidy(self) -> None:
        """Once in a while: numbers of processes that are gone may be used again."""
        for tid in {*self._armed, *self._remembered}:
            if not os.path.exists(f"/proc/{tid}"):
                self._armed.pop(tid, None)
                self._remembered.pop(tid, None)

    def tick(self) -> None:
        """A few times a second."""
        self._forget_all()
        self._root = self._directory = None
        self._exec_cache.clear()
        if self.unsettled:
            self.unsettled.clear()
            self.cwd_epoch += 1
            self.root_epoch += 1

    def forget(self, tid: int) -> None:
        """It is gone, or another program now."""
        process = self.known.pop(tid, None)
        if process is not None:
            process.close()

    def _forget_all(self) -> None:
        for process in self.known.values():
            process.close()
        self.known.clear()

    def settle(self, tid: int) -> None:
        """Someone's chdir or chroot may have happened by now: believe no directory until it is known to have."""
        self.cwd_epoch += 1
        self.root_epoch += 1
        self.unsettled.discard(tid)

    def _program(self, tid: int, executing: bool) -> Program:
        if self._armed.get(tid) is not None:
            # Several attempts to exec in a row are a search along PATH.
            if executing or not self._armed[tid]:
                return self.runner
            del self._armed[tid]
        program = self._exec_cache.take(tid)
        if program is None:
            program = self.program_of(tid)
            self._exec_cache.learn(tid, program)
        return program

    def program_of(self, tid: int) -> Program:
        """The program of a process, whose name is empty when it is gone or closed to us."""
        name: bytes | None = b""
        try:
            name = os.readlink(b"/proc/%d/exe" % tid)
        except PermissionError:
            name = self._read_link(tid, b"exe")
            if name is None:
                return self._last(tid)[2]
        except OSError:
            return self.named(b"")  # gone
        name = name.removesuffix(b" (deleted)")
        return self.named(paths.relative_to(self.prefix, name) or name)

    def _last(self, tid: int) -> tuple[bytes, bytes, Program]:
        """What was known of a process, or of its parent, while we might look at it."""
        known = self._remembered.get(tid)
        if known is None:
            known = self._remembered.get(parent_of(tid), (b"", b"/", self.named(b"")))
            self._remembered[tid] = known
        return known

    def _remember(self, process: Process) -> None:
        if len(self._remembered) > _KEPT:
            self._remembered.clear()
        self._remembered[process.tid] = process.root, process.base or b"/", process.program

    def named(self, name: bytes) -> Program:
        """The program with this path."""
        program = self.programs.get(name)
        if program is None:
            program = self.programs[name] = Program(name, self.news)
        return program

    # -- where

    def link(self, process: Process, name: bytes) -> bytes | None:
        """Where a link of /proc/TID leads, inside the recorded root; what is not a file keeps its name ("pipe:[7]").

        None: not readable, outside the root, or removed.
        """
        place = b"/proc/%d/%s" % (process.tid, name)
        self._denied = False
        try:
            target = os.readlink(place)
            if target.endswith(b" (deleted)") and os.stat(place).st_nlink == 0:
                return None
        except PermissionError:
            shown = self._read_link(process.tid, name)
            if shown is None:
                self._denied = True
                return None
            target = shown
        except OSError:
            return None
        if not target.startswith(b"/"):
            return target
        return paths.relative_to(self.prefix, target)

    def refresh_root(self, process: Process) -> None:
        if self.mounts_differ:
            process.namespace = mount_namespace.of(process.tid, self.root_pid)
            if process.namespace is not None:
                process.root_epoch = self.root_epoch
                process.root = b""
                process.absolute = self._foreign(process, b"/")
                return
        process.root_epoch = self.root_epoch
        if self._root is not None and self.uniform(process.tid):
            process.root = self._root
            process.absolute = process.program.scope(process.root, b"")
            self._remember(process)
            return
        root = self.link(process, b"root")
        if self._denied:
            process.root = self._last(process.tid)[0]
            process.absolute = process.program.scope(process.root, b"")
            return
        if root is None:
            process.absolute = self._discard
            return
        process.root = b"" if root == b"/" else root
        process.absolute = process.program.scope(process.root, b"")
        if process.program is not self.runner:
            self._root = process.root
        self._remember(process)

    def refresh_cwd(self, process: Process) -> None:
        if process.root_epoch != self.root_epoch:
            self.refresh_root(process)
        if process.namespace is not None:
            self._refresh_foreign_cwd(process, process.namespace)
            return
        process.cwd_epoch = self.cwd_epoch
        if self._directory is not None and not self._directories_differ and self.uniform(process.tid):
            process.base = self._directory
            process.relative = process.program.scope(process.root, process.base)
            self._remember(process)
            return
        base = self.link(process, b"cwd")
        if self._denied:
            base = self._last(process.tid)[1]
        if base is None:
            process.base = b""
            process.relative = self._discard
            return
        process.base = base
        process.relative = process.program.scope(process.root, base)
        if process.program is not self.runner:
            self._directory = base
        self._remember(process)

    def directory(self, process: Process, fd: int) -> dict[bytes, int]:
        """The scope of what is named from a directory descriptor; that changes unseen, so it is asked each time."""
        if process.root_epoch != self.root_epoch:
            self.refresh_root(process)
        if process.namespace is not None:
            try:
                return self._foreign(process, os.readlink(b"/proc/%d/fd/%d" % (process.tid, fd)))
            except OSError:
                return self._discard
        base = self.link(process, b"fd/%d" % fd)
        if base is None or not base.startswith(b"/"):
            return self._discard
        return process.program.scope(process.root, base)

    def _refresh_foreign_cwd(self, process: Process, where: mount_namespace.Namespace) -> None:
        process.cwd_epoch = self.cwd_epoch
        try:
            base = os.readlink(b"/proc/%d/cwd" % process.tid)
        except OSError:
            process.relative = self._discard
            return
        process.base = where.translate(base) or base
        process.relative = self._foreign(process, base)

    def _foreign(self, process: Process, base: bytes) -> dict[bytes, int]:
        if process.namespace is None or not base.startswith(b"/"):
            return self._discard
        return mount_namespace.ForeignMountScope(process.namespace, base, process.program.scope(b"", b""))

    def base(self, process: Process) -> bytes:
        """The working directory now."""
        if process.cwd_epoch != self.cwd_epoch:
            self.refresh_cwd(process)
        return process.base

    def resolve(self, process: Process, path: bytes) -> bytes | None:
        """Where a path inside the recorded root leads, as the process would find it; None where to nothing.

        Where the kernel cannot say (before 5.6), the path itself.
        """
        inside = paths.relative_to(process.root, path) or path
        try:
            root = os.open(b"/proc/%d/root" % process.tid, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return path
        try:
            how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT)
            found = libc.syscall(_SYS_OPENAT2, root, inside, how, ctypes.c_size_t(len(how)))
            if found < 0:
                return path if ctypes.get_errno() in (38, 1, 13) else None  # ENOSYS, EPERM, EACCES
            try:
                return paths.relative_to(self.prefix, os.readlink(b"/proc/self/fd/%d" % found))
            finally:
                os.close(found)
        finally:
            os.close(root)

    def through(self, process: Process, raw: bytes) -> bytes | None:
        """Where /proc/self/exe, cwd, root or fd/N (and what is named below them) leads, of the process itself."""
        parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
        if parts[:1] == [b"dev"]:
            standard = {b"stdin": b"0", b"stdout": b"1", b"stderr": b"2"}
            if len(parts) == 2 and parts[1] in standard:
                parts = [b"proc", b"self", b"fd", standard[parts[1]]]
            elif parts[1:2] == [b"fd"]:
                parts = [b"proc", b"self", *parts[1:]]
            else:
                return None
        if len(parts) < 3 or parts[1] not in (b"self", b"thread-self"):
            return None  # a number is one of the process's own pid namespace
        rest = parts[2:]
        if rest[0] in (b"exe", b"cwd", b"root"):
            taken = 1
        elif rest[0] == b"fd" and len(rest) > 1 and rest[1].isdigit():
            taken = 2
        else:
            return None
        target = self.link(process, b"/".join(rest[:taken]))
        if target is None or not target.startswith(b"/"):
            return None
        return paths.join(process.root, target, b"/".join(rest[taken:])) if rest[taken:] else target


def _seen(tid: int, name: str) -> bytes | None:
    """A link of a process as the kernel shows it; None when it does not."""
    try:
        return os.readlink(b"/proc/%d/%s" % (tid, name.encode()))
    except OSError:
        return None


def _leads(tid: int) -> bool:
    """Whether a thread is the first of its process."""
    try:
        os.close(os.pidfd_open(tid))
    except OSError:  # EINVAL or ENOENT: it is not; else we cannot tell
        return False
    return True


def parent_of(pid: int) -> int:
    """The parent of a process, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0

"""What the stop-based recorders share: from a stop to an access, and what has been seen.

`Collector.stop` is the whole cost of a recording after the two switches of context,
so it is one flat function. What a process has already named is a dictionary lookup:
each program keeps, for each directory that it named paths from, the strings it
passed and the kinds it passed them with; turning these into paths waits until the end.

Processes are remembered between stops: the open /proc/TID/mem, the program, the root
and the working directory. Three things make such a memory wrong:

- exec: a stop of its own drops the entry;
- chdir, chroot, mounts, renames: the stop is on entry, so the change comes later. The
  entry of everyone is distrusted until the process that asked stops again (`_unsettled`);
- a process number used again: entries not used since the last tick are checked
  against the kernel before they are believed again (`_revive`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tracer import paths
from tracer.recording import ENVIRONMENT, Access, Execution, Kind
from tracer.seccomp import libc
from tracer.syscalls import (
    AT_EMPTY_PATH,
    EXEC,
    LINK,
    LIST,
    READ,
    STAT,
    WRITE,
    Action,
    Call,
    Convention,
    Effect,
    open_mask,
)

ARGUMENTS = 6  # where a stop's fields have the first argument, for both recorders
PATH_MAX = 4096
_HERE = 0xFFFFFF9C  # AT_FDCWD as an unsigned int
_ENVIRONMENT = frozenset(name.encode() for name in ENVIRONMENT)
_KINDS = tuple(Kind)
_RESOLVE_IN_ROOT = 0x10
_SYS_OPENAT2 = 437
_KEPT_PROCESSES = 1024
# What ServiceOptions.pretend answers, and which argument is the mode of a device.
_PRETENDED = {"chown": -1, "lchown": -1, "chown32": -1, "lchown32": -1, "fchownat": -1, "mknod": 1, "mknodat": 2}


class _Nowhere(dict[bytes, int]):
    """For paths that lead nowhere: forgets what it is told."""

    def __setitem__(self, key: bytes, value: int) -> None:
        pass


class Program:
    """What the processes of one executable have named: (root, directory) → string → mask."""

    __slots__ = ("name", "scopes")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.scopes: dict[tuple[bytes, bytes], dict[bytes, int]] = {}

    def scope(self, root: bytes, base: bytes) -> dict[bytes, int]:
        return self.scopes.setdefault((root, base), {})


class Process:
    """What is remembered of one thread between its stops."""

    __slots__ = ("absolute", "base", "cwd_epoch", "memory", "program", "relative", "root", "root_epoch", "tid")

    def __init__(self, tid: int, memory: int, program: Program) -> None:
        self.tid = tid
        self.memory = memory
        self.program = program
        self.root_epoch = -1
        self.cwd_epoch = -1
        self.root: bytes = b""
        self.base: bytes = b""
        self.absolute: dict[bytes, int] = {}
        self.relative: dict[bytes, int] = {}


Row = tuple[int, int, int, int, Call, Convention]


@dataclass(slots=True)
class Collected:
    """What a recorder hands back; travels between processes as a pickle."""

    accesses: list[tuple[bytes, int, list[bytes]]] = field(default_factory=list)
    executions: list[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recorders: list[str] = field(default_factory=list)


class Collector:
    """Everything that one recording has seen."""

    def __init__(
        self, kernel: Sequence[Convention], before_change: Callable[[str], None] | None = None, *, pretend: bool = False
    ) -> None:
        self.prefix = b""  # of the recorded root in the service's view
        self.programs: dict[bytes, Program] = {}
        self.executions: set[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]] = set()
        self.notes: set[str] = set()
        self.resolved: dict[tuple[bytes, bytes], int] = {}  # (program, path) → mask: what could not wait
        self._before_change = before_change
        self._pretend = pretend
        self._hot: dict[int, Process] = {}
        self._cold: dict[int, Process] = {}
        self._armed: dict[int, bool] = {}  # not yet the command itself; True once it has tried to exec
        self._unsettled: set[int] = set()
        self._cwd_epoch = 0
        self._root_epoch = 0
        self._nowhere = _Nowhere()
        self._rows: dict[tuple[int, int], Row] = {}
        for convention in kernel:
            for number, call in convention.calls.items():
                self._rows[convention.audit, number] = self._row(call, convention)

    def _row(self, call: Call, convention: Convention) -> Row:
        """The hot ones (one operand, fixed or open's mask) begin with 0 or 1; the rest with 2."""
        plain = call.action in (Action.PATHS, Action.OPEN) and len(call.operands) == 1 and call.effect is Effect.NONE
        if plain and not (self._pretend and call.name in _PRETENDED):
            (operand,) = call.operands
            at = -1 if operand.dirfd is None else operand.dirfd + ARGUMENTS
            extra = call.extra + ARGUMENTS if call.action is Action.OPEN else operand.mask
            return int(call.action), operand.path + ARGUMENTS, at, extra, call, convention
        return 2, 0, 0, 0, call, convention

    # -- a stop ---------------------------------------------------------------

    def stop(self, tid: int, number: int, audit: int, fields: Sequence[int]) -> int | None:
        """Note what a stopped thread is about to do. `fields[ARGUMENTS:]` are its arguments.

        Gives None when the call may go on; else its result in place of doing it, as the kernel gives results.
        """
        row = self._rows.get((audit, number))
        if row is None:
            return None
        if self._unsettled:
            self._settle(tid)
        process = self._hot.get(tid) or self._meet(tid, row[4])
        if process is None:
            return None
        shape, path, at, extra, call, convention = row
        if shape == 2:
            return self._rare(process, call, convention, fields)
        try:
            raw = os.pread(process.memory, 256, fields[path])
        except (OSError, OverflowError):
            return None  # a bad pointer: the call will fail with EFAULT
        end = raw.find(b"\0")
        if end > 0:
            raw = raw[:end]
        else:
            found, process = self._long(process, fields[path], call)
            if not found or process is None:
                if found is not None and process is not None:
                    self._empty(process, call, fields)
                return None
            raw = found
        if raw[0] == 47:
            if process.root_epoch != self._root_epoch:
                self._refresh_root(process)
            scope = process.absolute
        elif at < 0 or fields[at] & 0xFFFFFFFF == _HERE:
            if process.cwd_epoch != self._cwd_epoch:
                self._refresh_cwd(process)
            scope = process.relative
        else:
            scope = self._directory(process, fields[at] & 0xFFFFFFFF)
        mask = open_mask(fields[extra], convention.directory_flag) if shape else extra
        seen = scope.get(raw, 0)
        if mask & ~seen:
            if raw.startswith((b"/proc/", b"/dev/")):
                self._magic(process, raw, mask)
            else:
                scope[raw] = seen | mask
        if mask & WRITE and self._before_change is not None:
            self._announce(process, scope, raw, follow=shape == 1)
        return None

    def _note(self, process: Process, fd: int | None, raw: bytes, mask: int, *, follow: bool = False) -> None:
        """The same for one operand of the rarer calls."""
        if raw.startswith(b"/"):
            if process.root_epoch != self._root_epoch:
                self._refresh_root(process)
            scope = process.absolute
        elif fd is None or fd & 0xFFFFFFFF == _HERE:
            if process.cwd_epoch != self._cwd_epoch:
                self._refresh_cwd(process)
            scope = process.relative
        else:
            scope = self._directory(process, fd & 0xFFFFFFFF)
        seen = scope.get(raw, 0)
        if mask & ~seen:
            if raw.startswith((b"/proc/", b"/dev/")):
                self._magic(process, raw, mask)
            else:
                scope[raw] = seen | mask
        if mask & WRITE and self._before_change is not None:
            self._announce(process, scope, raw, follow=follow)

    def _empty(self, process: Process, call: Call, fields: Sequence[int]) -> None:
        """An empty path means the descriptor itself where AT_EMPTY_PATH says so."""
        for operand in call.operands:
            if operand.flags is None or operand.dirfd is None or operand.mask == STAT:
                continue
            if fields[ARGUMENTS + operand.flags] & AT_EMPTY_PATH:
                self._descriptor(process, fields[ARGUMENTS + operand.dirfd] & 0xFFFFFFFF, operand.mask)

    def _descriptor(self, process: Process, fd: int, mask: int) -> None:
        named = self._link(process, b"cwd" if fd == _HERE else b"fd/%d" % fd)
        if named is not None and named.startswith(b"/"):
            self._record(process, named, mask)
            if mask & WRITE and self._before_change is not None:
                self._before_change(os.fsdecode(named))

    def _record(self, process: Process, path: bytes, mask: int) -> None:
        """A path that is known already, inside the recorded root."""
        scope = process.program.scope(b"", b"")
        scope[path] = scope.get(path, 0) | mask

    # -- strings --------------------------------------------------------------

    def _long(self, process: Process, address: int, call: Call) -> tuple[bytes | None, Process | None]:
        """A string that the first short read did not end: long, empty, or of a program that is gone (after exec)."""
        whole = self._read(process, address, PATH_MAX)
        if whole == b"":
            # The memory is that of the program before an exec by another thread, or of a number's former owner.
            self.forget(process.tid)
            again = self._meet(process.tid, call)
            if again is None:
                return None, None
            process = again
            whole = self._read(process, address, PATH_MAX)
        if not whole:
            return None, process
        end = whole.find(b"\0")
        return (whole[:end] if end >= 0 else None), process  # without an end the kernel says ENAMETOOLONG

    @staticmethod
    def _read(process: Process, address: int, size: int) -> bytes | None:
        """Up to `size` bytes; None for a bad address, empty when the memory's owner is gone."""
        try:
            return os.pread(process.memory, size, address)
        except (OSError, OverflowError):
            return None

    def _string(self, process: Process, address: int) -> bytes | None:
        whole = self._read(process, address, 256)
        if whole and b"\0" not in whole:
            whole = self._read(process, address, PATH_MAX)
        if not whole:
            return None
        end = whole.find(b"\0")
        return whole[:end] if end >= 0 else None

    # -- processes ------------------------------------------------------------

    def arm(self, tid: int) -> None:
        """A command is about to be started by this process; what it does until exec is nobody's."""
        self._armed[tid] = False

    def forget(self, tid: int) -> None:
        """After exec, or when it is gone."""
        process = self._hot.pop(tid, None) or self._cold.pop(tid, None)
        if process is not None:
            os.close(process.memory)

    def tick(self) -> None:
        """A few times a second: what was not used since the last one has to be checked before it is believed."""
        for process in list(self._cold.values()):
            if not self._alive(process):
                self.forget(process.tid)
        self._cold.update(self._hot)
        self._hot.clear()
        if self._unsettled:
            self._unsettled.clear()
            self._cwd_epoch += 1
            self._root_epoch += 1

    @staticmethod
    def _alive(process: Process) -> bool:
        # The kernel unhashes /proc/TID when the task is gone, even if its number lives again.
        return not os.readlink(b"/proc/self/fd/%d" % process.memory).endswith(b" (deleted)")

    def _meet(self, tid: int, call: Call) -> Process | None:
        """The process of a number that was not seen since the last tick."""
        process = self._cold.pop(tid, None)
        if process is not None:
            if self._alive(process):
                self._hot[tid] = process
                return process
            os.close(process.memory)
        if len(self._hot) + len(self._cold) > _KEPT_PROCESSES:
            self.tick()
            if len(self._cold) > _KEPT_PROCESSES:
                for old in list(self._cold)[: _KEPT_PROCESSES // 2]:
                    self.forget(old)
        memory = self._open_memory(tid)
        if memory is None:
            return None
        process = Process(tid, memory, self._program(tid, call))
        self._hot[tid] = process
        return process

    def _open_memory(self, tid: int) -> int | None:
        try:
            return os.open(b"/proc/%d/mem" % tid, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            return None  # killed meanwhile
        except OSError as error:
            self.notes.add(
                f"the memory of {self._name_of(tid)} cannot be read ({error.strerror}): its paths are missing"
            )
            return None

    @staticmethod
    def _name_of(tid: int) -> str:
        try:
            with open(f"/proc/{tid}/comm", "rb") as stream:
                return os.fsdecode(stream.read().rstrip(b"\n"))
        except OSError:
            return "a process"

    def _program(self, tid: int, call: Call) -> Program:
        name = b""
        if tid in self._armed:
            if self._armed[tid] and call.action is not Action.EXEC:
                del self._armed[tid]
            else:
                return self.programs.setdefault(b"", Program(b""))
        with contextlib.suppress(OSError):
            name = os.readlink(b"/proc/%d/exe" % tid).removesuffix(b" (deleted)")
            name = paths.relative_to(self.prefix, name) or name
        program = self.programs.get(name)
        if program is None:
            program = self.programs[name] = Program(name)
        return program

    def _settle(self, tid: int) -> None:
        """Someone's chdir or chroot may have happened by now: believe no directory until it is known to have."""
        self._cwd_epoch += 1
        self._root_epoch += 1
        self._unsettled.discard(tid)

    # -- directories ----------------------------------------------------------

    def _link(self, process: Process, name: bytes) -> bytes | None:
        """Where a link of /proc/TID leads, inside the recorded root; what is not a file keeps its name ("pipe:[7]").

        None: not readable, outside the root, or removed.
        """
        place = b"/proc/%d/%s" % (process.tid, name)
        try:
            target = os.readlink(place)
            if target.endswith(b" (deleted)") and os.stat(place).st_nlink == 0:
                return None
        except OSError:
            return None
        if not target.startswith(b"/"):
            return target
        return paths.relative_to(self.prefix, target)

    def _refresh_root(self, process: Process) -> None:
        root = self._link(process, b"root")
        process.root_epoch = self._root_epoch
        if root is None:
            process.absolute = self._nowhere
            return
        process.root = b"" if root == b"/" else root
        process.absolute = process.program.scope(process.root, b"")

    def _refresh_cwd(self, process: Process) -> None:
        if process.root_epoch != self._root_epoch:
            self._refresh_root(process)
        base = self._link(process, b"cwd")
        process.cwd_epoch = self._cwd_epoch
        if base is None:
            process.base = b""
            process.relative = self._nowhere
            return
        process.base = base
        process.relative = process.program.scope(process.root, base)

    def _directory(self, process: Process, fd: int) -> dict[bytes, int]:
        base = self._link(process, b"fd/%d" % fd)
        if base is None or not base.startswith(b"/"):
            return self._nowhere
        if process.root_epoch != self._root_epoch:
            self._refresh_root(process)
        return process.program.scope(process.root, base)

    # -- the rarer calls ------------------------------------------------------

    def _rare(self, process: Process, call: Call, convention: Convention, fields: Sequence[int]) -> int | None:
        action = call.action
        arguments = fields[ARGUMENTS : ARGUMENTS + 6]
        if action is Action.PATHS:
            for operand in call.operands:
                raw = self._string(process, arguments[operand.path])
                if raw:
                    fd = None if operand.dirfd is None else arguments[operand.dirfd]
                    self._note(process, fd, raw, operand.mask)
            if not any(operand.mask & ~STAT and operand.flags is None for operand in call.operands):
                self._empty_operands(process, call, arguments)
        elif action is Action.OPENAT2:
            self._openat2(process, convention, arguments)
        elif action is Action.EXEC:
            self._exec(process, call, convention, arguments)
        elif action is Action.ADDRESS:
            (operand,) = call.operands
            self._address(process, arguments[operand.path], arguments[call.extra] & 0xFFFFFFFF, operand.mask)
        elif action is Action.SOCKETCALL:
            self._socketcall(process, arguments)
        elif action is Action.MOUNT:
            self._mount(process, arguments)
        elif action is Action.FSCONFIG:
            raw = self._string(process, arguments[3])
            if raw:
                self._note(process, arguments[4], raw, STAT)
        elif action is Action.BPF:
            attribute = self._read(process, arguments[1], 8)
            if attribute and len(attribute) == 8:
                raw = self._string(process, int.from_bytes(attribute, "little"))
                if raw:
                    self._note(process, None, raw, WRITE if arguments[0] & 0xFFFFFFFF == 6 else STAT)
        elif action is Action.CHANGES_FD:
            self._descriptor(process, arguments[0] & 0xFFFFFFFF, WRITE)
        elif action is Action.REFUSE:
            self.notes.add(f"io_uring was refused to {self._called(process)}")
            return -errno.ENOSYS
        elif action is Action.LISTENER:
            self.notes.add(
                f"{self._called(process)} asked for a seccomp listener of its own, which the kernel refuses while "
                "recording by notify; record it by ptrace"
            )
        elif action is Action.TRACER:
            self.notes.add(
                f"{self._called(process)} asked to trace a process, which the kernel refuses while recording by "
                "ptrace; record it by notify"
            )
        if call.effect is not Effect.NONE:
            self._unsettled.add(process.tid)
        return 0 if self._pretend and self._pretended(call, arguments) else None

    @staticmethod
    def _pretended(call: Call, arguments: Sequence[int]) -> bool:
        """Whether a call would fail only for want of privilege, and is answered with success instead."""
        mode = _PRETENDED.get(call.name)
        return mode is not None and (mode < 0 or stat.S_IFMT(arguments[mode]) in (stat.S_IFCHR, stat.S_IFBLK))

    def _empty_operands(self, process: Process, call: Call, arguments: Sequence[int]) -> None:
        for operand in call.operands:
            if operand.flags is None or operand.dirfd is None or operand.mask == STAT:
                continue
            if arguments[operand.flags] & AT_EMPTY_PATH and not self._string(process, arguments[operand.path]):
                self._descriptor(process, arguments[operand.dirfd] & 0xFFFFFFFF, operand.mask)

    @staticmethod
    def _called(process: Process) -> str:
        return os.fsdecode(process.program.name) or "the command"

    def _openat2(self, process: Process, convention: Convention, arguments: Sequence[int]) -> None:
        raw = self._string(process, arguments[1])
        how = self._read(process, arguments[2], 24)
        if not raw or how is None or len(how) < 24:
            return
        flags, _, resolve = struct.unpack("=QQQ", how)
        if resolve & _RESOLVE_IN_ROOT:
            raw = raw.lstrip(b"/") or b"."
        self._note(process, arguments[0], raw, open_mask(flags, convention.directory_flag), follow=True)

    def _address(self, process: Process, address: int, length: int, mask: int) -> None:
        if length <= 2:
            return
        block = self._read(process, address, min(length, 110))
        if block and block[:2] == b"\1\0" and len(block) > 2 and block[2]:  # AF_UNIX, not abstract
            self._note(process, None, block[2:].split(b"\0", 1)[0], mask)

    def _socketcall(self, process: Process, arguments: Sequence[int]) -> None:
        number = arguments[0] & 0xFFFFFFFF
        block = self._read(process, arguments[1], 24)
        if block is None or len(block) < 24:
            return
        values = struct.unpack("=6I", block)
        if number == 11:  # sendto
            self._address(process, values[4], values[5], STAT)
        else:
            self._address(process, values[1], values[2], WRITE if number == 2 else STAT)

    def _mount(self, process: Process, arguments: Sequence[int]) -> None:
        source = self._string(process, arguments[0])
        target = self._string(process, arguments[1])
        flags = arguments[3]
        if target:
            self._note(process, None, target, STAT)
        # A source is a path for bind and move; for a filesystem when it looks like one ("proc", "tmpfs" do not).
        if source and (flags & (4096 | 8192) or source.startswith(b"/")):
            self._note(process, None, source, STAT)

    def _exec(self, process: Process, call: Call, convention: Convention, arguments: Sequence[int]) -> None:
        (operand,) = call.operands
        fd = None if operand.dirfd is None else arguments[operand.dirfd]
        raw = self._string(process, arguments[operand.path])
        path: bytes | None = None
        if raw:
            self._note(process, fd, raw, operand.mask)
            path = self._existing(process, fd, raw)
        elif raw == b"" and fd is not None and operand.flags is not None and arguments[operand.flags] & AT_EMPTY_PATH:
            self._descriptor(process, fd & 0xFFFFFFFF, operand.mask)
            path = self._link(process, b"fd/%d" % (fd & 0xFFFFFFFF))
        if path is not None and path.startswith(b"/"):
            if process.cwd_epoch != self._cwd_epoch:
                self._refresh_cwd(process)
            environment = self._environment(process, arguments[call.extra], convention.pointer)
            self.executions.add((path, process.base, environment))
        if process.tid in self._armed:
            self._armed[process.tid] = True
        self.forget(process.tid)

    def _existing(self, process: Process, fd: int | None, raw: bytes) -> bytes | None:
        """The path of what exec will find, None when it will find nothing (a search along PATH)."""
        if process.cwd_epoch != self._cwd_epoch:
            self._refresh_cwd(process)
        if raw.startswith(b"/proc/"):
            return self._through(process, raw)
        base = process.base
        if fd is not None and fd & 0xFFFFFFFF != _HERE and not raw.startswith(b"/"):
            base = self._link(process, b"fd/%d" % (fd & 0xFFFFFFFF)) or b""
        path = paths.join(process.root, base, raw)
        return path if self._resolve(process, path) is not None else None

    def _resolve(self, process: Process, path: bytes, *, follow: bool = True) -> bytes | None:
        """Where a path inside the recorded root leads, as the process would find it; None where to nothing.

        Where the kernel cannot say (before 5.6), the path itself.
        """
        inside = paths.relative_to(process.root, path) or path
        try:
            root = os.open(b"/proc/%d/root" % process.tid, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return path
        try:
            flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
            how = struct.pack("=QQQ", flags, 0, _RESOLVE_IN_ROOT)
            found = libc.syscall(_SYS_OPENAT2, root, inside, how, ctypes.c_size_t(len(how)))
            if found < 0:
                return path if ctypes.get_errno() in (38, 1, 13) else None  # ENOSYS, EPERM, EACCES
            try:
                return paths.relative_to(self.prefix, os.readlink(b"/proc/self/fd/%d" % found))
            finally:
                os.close(found)
        finally:
            os.close(root)

    def _environment(self, process: Process, address: int, pointer: int) -> tuple[tuple[bytes, bytes], ...]:
        """The variables of ENVIRONMENT, from the array that exec was given."""
        block = self._read(process, address, 512 * pointer)
        if not block:
            return ()
        addresses: list[int] = []
        for (value,) in struct.iter_unpack("=Q" if pointer == 8 else "=I", block[: len(block) // pointer * pointer]):
            if not value:
                break
            addresses.append(value)
        if not addresses:
            return ()
        found: dict[bytes, bytes] = {}
        low, high = min(addresses), max(addresses)
        arena = self._read(process, low, high - low + PATH_MAX) if high - low < 1 << 17 else None
        for each in addresses:
            if arena is not None and each - low < len(arena):
                end = arena.find(b"\0", each - low)
                line: bytes | None = arena[each - low : end] if end >= 0 else self._string(process, each)
            else:
                line = self._string(process, each)
            if line is None:
                continue
            name, _, value_text = line.partition(b"=")
            if name in _ENVIRONMENT:
                found.setdefault(name, value_text)
        return tuple(sorted(found.items()))

    # -- links of /proc -------------------------------------------------------

    def _magic(self, process: Process, raw: bytes, mask: int) -> None:
        """A path below /proc or /dev: its normal form, and what a link to a file of the root stands for."""
        path = paths.join(process.root, b"", raw)
        normal = paths.normal_form(path)
        self._record(process, normal, mask)
        if not normal.startswith((b"/proc/self/", b"/dev/fd", b"/dev/std")):
            return
        through = self._through(process, raw)
        if through is not None and through.startswith(b"/") and not through.startswith((b"/proc/", b"/dev/")):
            self._record(process, through, mask & ~LIST if mask != LIST else LIST)

    def _through(self, process: Process, raw: bytes) -> bytes | None:
        """Where /proc/self/exe, cwd, root or fd/N (and what is named below them) leads."""
        parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
        if parts[:1] == [b"dev"]:
            standard = {b"stdin": b"0", b"stdout": b"1", b"stderr": b"2"}
            if len(parts) == 2 and parts[1] in standard:
                parts = [b"proc", b"self", b"fd", standard[parts[1]]]
            elif parts[1:2] == [b"fd"]:
                parts = [b"proc", b"self", *parts[1:]]
            else:
                return None
        who = parts[1] if len(parts) > 1 else b""
        if who not in (b"self", b"thread-self"):
            return None  # another process's: its number is one of the process's own namespace
        rest = parts[2:]
        if rest[:1] in ([b"exe"], [b"cwd"], [b"root"]):
            taken = 1
        elif rest[:1] == [b"fd"] and len(rest) > 1 and rest[1].isdigit():
            taken = 2
        else:
            return None
        target = self._link(process, b"/".join(rest[:taken]))
        if target is None or not target.startswith(b"/"):
            return None
        return paths.join(process.root, target, b"/".join(rest[taken:])) if rest[taken:] else target

    # -- changes --------------------------------------------------------------

    def _announce(self, process: Process, scope: dict[bytes, int], raw: bytes, *, follow: bool) -> None:
        """Tell what is about to change: its name with parents resolved, and for an open the end of its links too."""
        if self._before_change is None:
            return
        where = next((where for where, known in process.program.scopes.items() if known is scope), None)
        if where is None:  # outside the root
            return
        path = paths.join(*where, raw)
        named = self._resolve_parent(process, path)
        self._before_change(os.fsdecode(named))
        if follow:
            end = self._resolve(process, path)
            if end is not None and end != named:
                self._before_change(os.fsdecode(end))

    def _resolve_parent(self, process: Process, path: bytes) -> bytes:
        parent, _, name = path.rpartition(b"/")
        if name in (b"", b".."):
            return self._resolve(process, path) or path
        where = self._resolve(process, parent or b"/")
        if where is None:
            return path
        return (b"" if where == b"/" else where) + b"/" + name

    # -- the end --------------------------------------------------------------

    def count(self) -> int:
        """About how many distinct paths so far."""
        return sum(len(scope) for program in self.programs.values() for scope in program.scopes.values())

    def collected(self) -> Collected:
        masks: dict[bytes, int] = {}
        by: dict[bytes, set[bytes]] = {}
        for program in self.programs.values():
            for (root, base), strings in program.scopes.items():
                for raw, mask in strings.items():
                    if not program.name:
                        mask &= EXEC  # what the runner did between arming and exec is not the program's
                    if not mask:
                        continue
                    path = paths.normal_form(paths.join(root, base, raw))
                    masks[path] = masks.get(path, 0) | mask
                    by.setdefault(path, set()).add(program.name)
        return Collected(
            [(path, masks[path], sorted(by[path])) for path in sorted(masks)],
            sorted(self.executions),
            sorted(self.notes),
        )


def accesses(collected: Collected) -> tuple[Access, ...]:
    """As the recording has them."""
    names: dict[int, frozenset[Kind]] = {}
    result: list[Access] = []
    for path, mask, by in collected.accesses:
        kinds = names.get(mask)
        if kinds is None:
            kinds = names[mask] = frozenset(kind for bit, kind in enumerate(_KINDS) if mask & 1 << bit)
        result.append(Access(os.fsdecode(path), kinds, frozenset(map(os.fsdecode, by))))
    return tuple(result)


def executions(collected: Collected) -> tuple[Execution, ...]:
    """As the recording has them."""
    return tuple(
        sorted(
            Execution(
                os.fsdecode(path),
                os.fsdecode(workdir),
                tuple((os.fsdecode(name), os.fsdecode(value)) for name, value in environment),
            )
            for path, workdir, environment in collected.executions
        )
    )


# Kind's order is that of the mask's bits.
assert [1 << bit for bit in range(len(_KINDS))] == [READ, WRITE, EXEC, STAT, LINK, LIST]

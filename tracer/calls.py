"""The calls that are not just one path: several paths, structures, addresses, exec, and those that are answered."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, assert_never

from tracer import paths
from tracer.memory import PATH_MAX
from tracer.namespace import Elsewhere
from tracer.processes import RESOLVE_IN_ROOT, Process
from tracer.recording import ENVIRONMENT
from tracer.syscalls import AT_EMPTY_PATH, STAT, WRITE, Action, Call, Convention, Effect, open_mask

if TYPE_CHECKING:
    from tracer.collector import Collector

_HERE = 0xFFFFFF9C
_ENVIRONMENT = frozenset(name.encode() for name in ENVIRONMENT)
_GAP, _ARENA = 4096, 1 << 17  # bytes: execve's strings mostly lie together, and are read together
_SIGNIFICANT_MOUNTS = 4096 | 8192  # MS_BIND, MS_MOVE: the source is a path, whatever it looks like
_BPF_OBJ_PIN = 6
_SOCKETCALL_BIND, _SOCKETCALL_SENDTO = 2, 11

# What ServiceOptions.pretend answers, and which argument is the mode of a device.
_PRETENDED = {"chown": -1, "lchown": -1, "chown32": -1, "lchown32": -1, "fchownat": -1, "mknod": 1, "mknodat": 2}


class Calls:
    """Handles them for a collector."""

    def __init__(self, collector: Collector, *, pretend: bool) -> None:
        self._collector = collector
        self._pretend = pretend

    def pretends(self, call: Call) -> bool:
        """Whether this call may be answered in place of being done."""
        return self._pretend and call.name in _PRETENDED

    def stop(self, process: Process, call: Call, convention: Convention, arguments: Sequence[int]) -> int | None:
        """As Collector.stop."""
        collector, memory = self._collector, self._collector.memory
        action = call.action
        match action:
            case Action.PATHS | Action.OPEN:
                self._paths(process, call, convention, arguments)
            case Action.OPENAT2:
                self._openat2(process, convention, arguments)
            case Action.EXEC:
                self._exec(process, call, convention, arguments)
            case Action.ADDRESS:
                (operand,) = call.operands
                length = arguments[call.extra] & 0xFFFFFFFF
                self._address(process, arguments[operand.path], length, operand.mask)
            case Action.SOCKETCALL:
                self._socketcall(process, arguments)
            case Action.MOUNT:
                self._mount(process, arguments)
            case Action.FSCONFIG:
                raw = memory.string(process.tid, arguments[3])
                if raw:
                    collector.note(process, arguments[4], raw, STAT)
            case Action.BPF:
                self._bpf(process, arguments)
            case Action.CHANGES_FD:
                collector.descriptor(process, arguments[0] & 0xFFFFFFFF, WRITE)
            case Action.HIDES:
                memory.keep(process.tid)
            case Action.REFUSE:
                collector.notes.add(f"io_uring was refused to {_called(process)}")
                return -errno.ENOSYS
            case Action.LISTENER:
                collector.notes.add(
                    f"{_called(process)} asked for a seccomp listener of its own, which the kernel refuses while "
                    "recording by notify: record it with --recorder ptrace"
                )
            case Action.TRACER:
                collector.notes.add(
                    f"{_called(process)} asked to trace a process, which the kernel refuses while recording by "
                    "ptrace: record it with --recorder notify"
                )
            case Action.MOVES_CWD | Action.MOVES_ROOT:
                pass  # see the effect
            case _:
                assert_never(action)
        if call.effect is not Effect.NONE and (
            call.effect_flag is None or arguments[call.effect_flag[0]] & call.effect_flag[1]
        ):
            collector.processes.unsettled.add(process.tid)
            if call.effect is Effect.ROOT and call.name != "chroot":
                collector.processes.mounts_differ = True
        return 0 if self._pretend and _privileged(call, arguments) else None

    def _paths(self, process: Process, call: Call, convention: Convention, arguments: Sequence[int]) -> None:
        named = False
        for operand in call.operands:
            raw = self._collector.memory.string(process.tid, arguments[operand.path])
            if raw:
                named = True
                fd = None if operand.dirfd is None else arguments[operand.dirfd]
                mask = operand.mask
                if call.action is Action.OPEN:
                    mask = open_mask(arguments[call.extra], convention.directory_flag)
                self._collector.note(process, fd, raw, mask)
        if not named or len(call.operands) > 1:
            self._collector.empty(process, call, arguments)

    def _openat2(self, process: Process, convention: Convention, arguments: Sequence[int]) -> None:
        raw = self._collector.memory.string(process.tid, arguments[1])
        how = self._collector.memory.read(process.tid, arguments[2], 24)
        if not raw or how is None or len(how) < 24:
            return
        flags, _, resolve = struct.unpack("=QQQ", how)
        if resolve & RESOLVE_IN_ROOT:  # the descriptor is the root of this one path
            raw = raw.lstrip(b"/") or b"."
        mask = open_mask(flags, convention.directory_flag)
        self._collector.note(process, arguments[0], raw, mask, follow=True)

    def _address(self, process: Process, address: int, length: int, mask: int) -> None:
        if length <= 2:
            return
        block = self._collector.memory.read(process.tid, address, min(length, 110))
        if block and block[:2] == b"\1\0" and len(block) > 2 and block[2]:  # AF_UNIX, and not an abstract name
            self._collector.note(process, None, block[2:].split(b"\0", 1)[0], mask)

    def _socketcall(self, process: Process, arguments: Sequence[int]) -> None:
        block = self._collector.memory.read(process.tid, arguments[1], 24)
        if block is None or len(block) < 24:
            return
        values = struct.unpack("=6I", block)
        number = arguments[0] & 0xFFFFFFFF
        if number == _SOCKETCALL_SENDTO:
            self._address(process, values[4], values[5], STAT)
        else:
            self._address(process, values[1], values[2], WRITE if number == _SOCKETCALL_BIND else STAT)

    def _mount(self, process: Process, arguments: Sequence[int]) -> None:
        source = self._collector.memory.string(process.tid, arguments[0])
        target = self._collector.memory.string(process.tid, arguments[1])
        if target:
            self._collector.note(process, None, target, STAT)
        # Else a source is only a path when it looks like one: "proc" and "tmpfs" do not.
        if source and (arguments[3] & _SIGNIFICANT_MOUNTS or source.startswith(b"/")):
            self._collector.note(process, None, source, STAT)

    def _bpf(self, process: Process, arguments: Sequence[int]) -> None:
        attribute = self._collector.memory.read(process.tid, arguments[1], 8)
        if attribute is None or len(attribute) < 8:
            return
        raw = self._collector.memory.string(process.tid, struct.unpack("=Q", attribute)[0])
        if raw:
            self._collector.note(process, None, raw, WRITE if arguments[0] & 0xFFFFFFFF == _BPF_OBJ_PIN else STAT)

    def _exec(self, process: Process, call: Call, convention: Convention, arguments: Sequence[int]) -> None:
        collector = self._collector
        (operand,) = call.operands
        fd = None if operand.dirfd is None else arguments[operand.dirfd] & 0xFFFFFFFF
        raw = collector.memory.string(process.tid, arguments[operand.path])
        path: bytes | None = None
        if raw:
            collector.note(process, fd, raw, operand.mask)
            path = self._found(process, fd, raw)
        elif raw == b"" and fd is not None and operand.flags is not None and arguments[operand.flags] & AT_EMPTY_PATH:
            path = collector.descriptor(process, fd, operand.mask)
        if path is not None:
            environment = self._environment(process, arguments[call.extra], convention.pointer)
            collector.executions.add((path, collector.processes.base(process), environment))
        collector.processes.executing(process.tid)
        collector.memory.forget(process.tid)

    def _found(self, process: Process, fd: int | None, raw: bytes) -> bytes | None:
        """The path of what exec will find, None when it will find nothing (a search along PATH)."""
        processes = self._collector.processes
        base = processes.base(process)
        if raw.startswith((b"/proc/", b"/dev/")):
            return processes.through(process, raw)
        scope = process.absolute if raw.startswith(b"/") else process.relative
        if isinstance(scope, Elsewhere):
            return scope.place(raw) if processes.resolve(process, scope.own(raw)) is not None else None
        if fd is not None and fd != _HERE and not raw.startswith(b"/"):
            base = processes.link(process, b"fd/%d" % fd) or b""
        path = paths.join(process.root, base, raw)
        return path if processes.resolve(process, path) is not None else None

    def _environment(self, process: Process, address: int, pointer: int) -> tuple[tuple[bytes, bytes], ...]:
        """The variables of ENVIRONMENT, from the array that exec was given."""
        memory, tid = self._collector.memory, process.tid
        block = memory.read(tid, address, 512 * pointer) if address else None
        if not block:
            return ()
        addresses: list[int] = []
        for (value,) in struct.iter_unpack("=Q" if pointer == 8 else "=I", block[: len(block) // pointer * pointer]):
            if not value:
                break
            addresses.append(value)
        lines: dict[int, bytes | None] = {}
        for together in _clusters(addresses):
            low = together[0]
            arena = memory.read(tid, low, (together[-1] - low + 2 * PATH_MAX) & -PATH_MAX) or b""
            for each in together:
                end = arena.find(b"\0", each - low)
                lines[each] = arena[each - low : end] if end >= 0 else memory.string(tid, each)
        found: dict[bytes, bytes] = {}
        for each in addresses:
            name, _, value_text = (lines[each] or b"").partition(b"=")
            if name in _ENVIRONMENT:
                found.setdefault(name, value_text)  # the first counts, as for getenv
        return tuple(sorted(found.items()))


def _clusters(addresses: Sequence[int]) -> Iterator[list[int]]:
    """Those that lie close together, in order."""
    together: list[int] = []
    for each in sorted(addresses):
        if together and (each - together[-1] > _GAP or each - together[0] > _ARENA):
            yield together
            together = []
        together.append(each)
    if together:
        yield together


def _called(process: Process) -> str:
    return os.fsdecode(process.program.name) or "the command"


def _privileged(call: Call, arguments: Sequence[int]) -> bool:
    """Whether a call would fail only for want of privilege."""
    mode = _PRETENDED.get(call.name)
    return mode is not None and (mode < 0 or stat.S_IFMT(arguments[mode]) in (stat.S_IFCHR, stat.S_IFBLK))

"""The calls that are not just one path: several paths, structures, addresses, exec, and those that are answered."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Sequence
from typing import assert_never

from tracer.kernel.syscalls import STAT, WRITE, Action, Call, Convention, Effect, open_mask
from tracer.recorder.access_log import AccessLog
from tracer.recorder.processes import RESOLVE_IN_ROOT
from tracer.recorder.tracee import Process

_SIGNIFICANT_MOUNTS = 4096 | 8192  # MS_BIND, MS_MOVE: the source is a path, whatever it looks like
_BPF_OBJ_PIN = 6
_SOCKETCALL_BIND, _SOCKETCALL_SENDTO = 2, 11

# What ServiceOptions.pretend answers, and which argument is the mode of a device.
_PRETENDED = {"chown": -1, "lchown": -1, "chown32": -1, "lchown32": -1, "fchownat": -1, "mknod": 1, "mknodat": 2}


class Calls:
    """Handles them for a log."""

    def __init__(self, log: AccessLog, *, pretend: bool) -> None:
        self._log = log
        self._pretend = pretend

    def pretends(self, call: Call) -> bool:
        """Whether this call may be answered in place of being done."""
        return self._pretend and call.name in _PRETENDED

    def stop(self, process: Process, call: Call, convention: Convention, arguments: Sequence[int]) -> int | None:
        """As Dispatcher.stop."""
        log, memory = self._log, self._log.memory
        action = call.action
        match action:
            case Action.PATHS | Action.OPEN:
                self._paths(process, call, convention, arguments)
            case Action.OPENAT2:
                self._openat2(process, convention, arguments)
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
                    log.note(process, arguments[4], raw, STAT)
            case Action.BPF:
                self._bpf(process, arguments)
            case Action.CHANGES_FD:
                log.descriptor(process, arguments[0] & 0xFFFFFFFF, WRITE)
            case Action.HIDES:
                memory.keep(process.tid)
            case Action.REFUSE:
                log.notes.add(f"io_uring was refused to {_called(process)}")
                return -errno.ENOSYS
            case Action.LISTENER:
                log.notes.add(
                    f"{_called(process)} asked for a seccomp listener of its own, which the kernel refuses while "
                    "recording by notify: record it with --recorder ptrace"
                )
            case Action.TRACER:
                log.notes.add(
                    f"{_called(process)} asked to trace a process, which the kernel refuses while recording by "
                    "ptrace: record it with --recorder notify"
                )
            case Action.MOVES_CWD | Action.MOVES_ROOT:
                pass  # see the effect
            case Action.EXEC | Action.UNKNOWN:
                pass  # see tracer.recorder.exec and Dispatcher.stop
            case _:
                assert_never(action)
        if call.effect is not Effect.NONE and (
            call.effect_flag is None or arguments[call.effect_flag[0]] & call.effect_flag[1]
        ):
            log.processes.moves(process, root=call.effect is Effect.ROOT, mounts=call.name != "chroot")
        return 0 if self._pretend and _privileged(call, arguments) else None

    def _paths(self, process: Process, call: Call, convention: Convention, arguments: Sequence[int]) -> None:
        named = False
        for operand in call.operands:
            raw = self._log.memory.string(process.tid, arguments[operand.path])
            if raw:
                named = True
                fd = None if operand.dirfd is None else arguments[operand.dirfd]
                mask = operand.mask
                if call.action is Action.OPEN:
                    mask = open_mask(arguments[call.extra], convention.directory_flag)
                self._log.note(process, fd, raw, mask)
        if not named or len(call.operands) > 1:
            self._log.empty(process, call, arguments)

    def _openat2(self, process: Process, convention: Convention, arguments: Sequence[int]) -> None:
        raw = self._log.memory.string(process.tid, arguments[1])
        how = self._log.memory.read(process.tid, arguments[2], 24)
        if not raw or how is None or len(how) < 24:
            return
        flags, _, resolve = struct.unpack("=QQQ", how)
        if resolve & RESOLVE_IN_ROOT:  # the descriptor is the root of this one path
            raw = raw.lstrip(b"/") or b"."
        mask = open_mask(flags, convention.directory_flag)
        self._log.note(process, arguments[0], raw, mask, follow=True)

    def _address(self, process: Process, address: int, length: int, mask: int) -> None:
        if length <= 2:
            return
        block = self._log.memory.read(process.tid, address, min(length, 110))
        if block and block[:2] == b"\1\0" and len(block) > 2 and block[2]:  # AF_UNIX, and not an abstract name
            self._log.note(process, None, block[2:].split(b"\0", 1)[0], mask)

    def _socketcall(self, process: Process, arguments: Sequence[int]) -> None:
        block = self._log.memory.read(process.tid, arguments[1], 24)
        if block is None or len(block) < 24:
            return
        values = struct.unpack("=6I", block)
        number = arguments[0] & 0xFFFFFFFF
        if number == _SOCKETCALL_SENDTO:
            self._address(process, values[4], values[5], STAT)
        else:
            self._address(process, values[1], values[2], WRITE if number == _SOCKETCALL_BIND else STAT)

    def _mount(self, process: Process, arguments: Sequence[int]) -> None:
        source = self._log.memory.string(process.tid, arguments[0])
        target = self._log.memory.string(process.tid, arguments[1])
        if target:
            self._log.note(process, None, target, STAT)
        # Else a source is only a path when it looks like one: "proc" and "tmpfs" do not.
        if source and (arguments[3] & _SIGNIFICANT_MOUNTS or source.startswith(b"/")):
            self._log.note(process, None, source, STAT)

    def _bpf(self, process: Process, arguments: Sequence[int]) -> None:
        attribute = self._log.memory.read(process.tid, arguments[1], 8)
        if attribute is None or len(attribute) < 8:
            return
        raw = self._log.memory.string(process.tid, struct.unpack("=Q", attribute)[0])
        if raw:
            self._log.note(process, None, raw, WRITE if arguments[0] & 0xFFFFFFFF == _BPF_OBJ_PIN else STAT)


def _called(process: Process) -> str:
    return os.fsdecode(process.program.name) or "the command"


def _privileged(call: Call, arguments: Sequence[int]) -> bool:
    """Whether a call would fail only for want of privilege."""
    mode = _PRETENDED.get(call.name)
    return mode is not None and (mode < 0 or stat.S_IFMT(arguments[mode]) in (stat.S_IFCHR, stat.S_IFBLK))

"""From a stop to what handles its call, for both recorders that stop.

`Dispatcher.stop` is what a recording costs beside the switches of context, so the common calls go through one flat
function. What a process has already named is a dictionary lookup in one of its scopes (see
tracer.recorder.access_log).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from os import pread

from tracer.kernel.syscalls import HERE, WRITE, Action, Call, Convention, Effect, open_mask
from tracer.recorder.access_log import AccessLog, Collected
from tracer.recorder.calls import Calls
from tracer.recorder.exec import Executions
from tracer.recorder.memory import NONE, ONE, SHORT, Window, readv
from tracer.recorder.tracee import Program

ARGUMENTS = 4  # where a stop's fields have the first argument, for both recorders

Row = tuple[int, int, int, int, Call, Convention]


def key(number: int, audit: int) -> int:
    """A call's number and its convention's, as they lie side by side in a struct seccomp_notif."""
    return number | audit << 32 if sys.byteorder == "little" else number << 32 | audit


def _number(which: int) -> int:
    return which & 0xFFFFFFFF if sys.byteorder == "little" else which >> 32


class Dispatcher:
    """Hands each stop to what handles its call."""

    def __init__(
        self, kernel: Sequence[Convention], before_change: Callable[[str], None] | None = None, *, pretend: bool = False
    ) -> None:
        self.log = AccessLog(before_change)
        self.memory = self.log.memory
        self.processes = self.log.processes
        self._window = Window(SHORT)
        self._unknown: Counter[tuple[Program, int]] = Counter()  # calls newer than the table
        self._changes = before_change is not None
        self._calls = Calls(self.log, pretend=pretend)
        self._execute = Executions(self.log).stop
        self._rows: dict[int, Row] = {
            key(number, convention.audit): self._row(call, convention)
            for convention in kernel
            for number, call in convention.calls.items()
        }

    def _row(self, call: Call, convention: Convention) -> Row:
        """The hot ones (one operand, fixed or open's mask) begin with 0 or 1; exec with 3; the rest with 2."""
        common = call.action in (Action.PATHS, Action.OPEN) and len(call.operands) == 1 and call.effect is Effect.NONE
        if common and not self._calls.pretends(call):
            (operand,) = call.operands
            at = -1 if operand.dirfd is None else operand.dirfd + ARGUMENTS
            extra = call.extra + ARGUMENTS if call.action is Action.OPEN else operand.mask
            return int(call.action), operand.path + ARGUMENTS, at, extra, call, convention
        return 3 if call.action is Action.EXEC else 2, 0, 0, 0, call, convention

    def stop(self, tid: int, which: int, fields: Sequence[int]) -> int | None:
        """Note what a stopped thread is about to do: `which` call (a `key`), with the arguments `fields[ARGUMENTS:]`.

        Gives None when the call may go on; else its result in place of doing it, as the kernel gives results.
        """
        row = self._rows.get(which)
        if row is None:
            unsure = self.processes.known.get(tid) or self.processes.meet(tid)
            self._unknown[unsure.program, _number(which)] += 1
            return None
        processes = self.processes
        if processes.unsettled:
            processes.settle(tid)
        shape, path, at, extra, call, convention = row
        if shape == 3:
            self._execute(tid, call, convention, fields[ARGUMENTS : ARGUMENTS + 6])
            return None
        process = processes.known.get(tid)
        if process is None:
            process = processes.meet(tid)
        if shape == 2:
            return self._calls.stop(process, call, convention, fields[ARGUMENTS : ARGUMENTS + 6])
        raw: bytes | None
        if process.memory < 0:
            window = self._window
            window.remote[0] = fields[path]
            count = readv(tid, window.local_at, ONE, window.remote_at, ONE, NONE)
            raw = window.buffer.value
            if len(raw) >= count:  # longer, or not to be read in this way
                raw = self.memory.string(tid, fields[path])
            process.look()
        else:
            try:
                raw = pread(process.memory, SHORT, fields[path])
            except (OSError, OverflowError):
                raw = b""
            end = raw.find(0)
            raw = raw[:end] if end >= 0 else self.memory.string(tid, fields[path])
        if not raw:
            if raw is not None:
                self.log.empty(process, call, fields[ARGUMENTS : ARGUMENTS + 6])
            return None
        if raw[0] == 47:  # "/"
            if process.root_epoch != processes.root_epoch:
                processes.refresh_root(process)
            scope = process.absolute
        elif at < 0 or fields[at] & 0xFFFFFFFF == HERE:
            if process.cwd_epoch != processes.cwd_epoch:
                processes.refresh_cwd(process)
            scope = process.relative
        else:
            scope = processes.directory(process, fields[at] & 0xFFFFFFFF)
        mask = open_mask(fields[extra], convention.directory_flag) if shape else extra
        seen = scope.get(raw, 0)
        if mask & ~seen:
            if raw.startswith((b"/proc/", b"/dev/")):
                self.log.magic(process, raw, mask)
            else:
                scope[raw] = seen | mask
        if mask & WRITE and self._changes:
            self.log.announce(process, scope, raw, follow=shape == 1)
        return None

    def tick(self) -> None:
        """A few times a second: see tracer.recorder.processes."""
        self.processes.tick()
        self.memory.tick()

    def collected(self) -> Collected:
        """All of it, in order."""
        collected = self.log.collected()
        collected.notes = sorted({*collected.notes, *self._newer()})
        return collected

    def _newer(self) -> Iterator[str]:
        for (program, number), count in self._unknown.items():
            yield (
                f"{os.fsdecode(program.name) or 'the command'} made system call {number} ({count} times), which this "
                "version does not know: it was allowed, and if it names a path, that is missing here"
            )

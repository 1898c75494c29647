"""What the stop-based recorders share: from a stop to an access.

`Collector.stop` is what a recording costs beside the switches of context, so the common
calls go through one flat function. What a process has already named is a dictionary lookup: each
program keeps, for each directory that it named paths from, the strings it passed and the
kinds it passed them with. Turning these into paths waits until the end.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from os import pread

from tracer import paths
from tracer.memory import NONE, ONE, SHORT, Memory, Window, readv
from tracer.namespace import Elsewhere
from tracer.processes import Processes
from tracer.recording import Access, Execution, Kind
from tracer.syscalls import (
    AT_EMPTY_PATH,
    EXEC,
    HERE,
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
from tracer.tracee import Process, Program

ARGUMENTS = 4  # where a stop's fields have the first argument, for both recorders
_KINDS = tuple(Kind)

Started = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]  # of an Execution
Row = tuple[int, int, int, int, Call, Convention]


def key(number: int, audit: int) -> int:
    """A call's number and its convention's, as they lie side by side in a struct seccomp_notif."""
    return number | audit << 32 if sys.byteorder == "little" else number << 32 | audit


def _number(which: int) -> int:
    return which & 0xFFFFFFFF if sys.byteorder == "little" else which >> 32


@dataclass(slots=True)
class Collected:
    """What a recorder hands back; travels between processes as a pickle."""

    accesses: list[tuple[bytes, int, list[bytes]]] = field(default_factory=list)
    executions: list[Started] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recorders: list[str] = field(default_factory=list)
    lost: str = ""  # why there are holes


class Collector:
    """Everything that one recording has seen."""

    def __init__(
        self, kernel: Sequence[Convention], before_change: Callable[[str], None] | None = None, *, pretend: bool = False
    ) -> None:
        from tracer.calls import Calls
        from tracer.executions import Executions

        self.memory = Memory(self._closed)
        self.processes = Processes(self.memory.helpers.link)
        self.executions: set[Started] = set()
        self._window = Window(SHORT)
        self.notes: set[str] = set()
        self._unknown: Counter[tuple[Program, int]] = Counter()  # calls newer than the table
        self._before_change = before_change
        self._calls = Calls(self, pretend=pretend)
        self._execute = Executions(self).stop
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
                self.empty(process, call, fields[ARGUMENTS : ARGUMENTS + 6])
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
                self._magic(process, raw, mask)
            else:
                scope[raw] = seen | mask
        if mask & WRITE and self._before_change is not None:
            self._announce(process, scope, raw, follow=shape == 1)
        return None

    # -- the parts, for the rarer calls

    def note(self, process: Process, fd: int | None, raw: bytes, mask: int, *, follow: bool = False) -> None:
        """A path that a process names from a descriptor (None or AT_FDCWD: from its working directory)."""
        processes = self.processes
        if raw.startswith(b"/"):
            if process.root_epoch != processes.root_epoch:
                processes.refresh_root(process)
            scope = process.absolute
        elif fd is None or fd & 0xFFFFFFFF == HERE:
            if process.cwd_epoch != processes.cwd_epoch:
                processes.refresh_cwd(process)
            scope = process.relative
        else:
            scope = processes.directory(process, fd & 0xFFFFFFFF)
        if raw.startswith((b"/proc/", b"/dev/")):
            self._magic(process, raw, mask)
        else:
            scope[raw] = scope.get(raw, 0) | mask
        if mask & WRITE and self._before_change is not None:
            self._announce(process, scope, raw, follow=follow)

    def empty(self, process: Process, call: Call, arguments: Sequence[int]) -> None:
        """An empty path means the descriptor itself where AT_EMPTY_PATH says so. Looking at it names nothing new."""
        for operand in call.operands:
            if operand.flags is None or operand.dirfd is None or operand.mask == STAT:
                continue
            if arguments[operand.flags] & AT_EMPTY_PATH:
                self.descriptor(process, arguments[operand.dirfd] & 0xFFFFFFFF, operand.mask)

    def descriptor(self, process: Process, fd: int, mask: int) -> bytes | None:
        """What a descriptor stands for, when that has a path."""
        path = self.processes.link(process, b"cwd" if fd == HERE else b"fd/%d" % fd)
        if path is None or not path.startswith(b"/"):
            return None
        self._record(process, path, mask)
        if mask & WRITE and self._before_change is not None:
            self._before_change(os.fsdecode(path))
        return path

    def _record(self, process: Process, path: bytes, mask: int) -> None:
        scope = process.program.scope(b"", b"")
        scope[path] = scope.get(path, 0) | mask

    def _magic(self, process: Process, raw: bytes, mask: int) -> None:
        """A path below /proc or /dev: its normal form, and what a link to a file of the root stands for."""
        normal = paths.normal_form(paths.join(process.root, b"", raw))
        self._record(process, normal, mask)
        through = self.processes.through(process, raw)
        if through is not None and not through.startswith((b"/proc/", b"/dev/")):
            self._record(process, through, mask)
            if mask & WRITE and self._before_change is not None:
                self._before_change(os.fsdecode(through))

    def _announce(self, process: Process, scope: dict[bytes, int], raw: bytes, *, follow: bool) -> None:
        """Tell what is about to change: its name with parents resolved, and for an open the end of its links too."""
        if self._before_change is None:
            return
        if isinstance(scope, Elsewhere):
            place = scope.place(raw)
            if place is not None:
                self._before_change(os.fsdecode(place))
            return
        where = next((where for where, known in process.program.scopes.items() if known is scope), None)
        if where is None:  # outside the root
            return
        path = paths.join(*where, raw)
        parent, _, name = path.rpartition(b"/")
        if name in (b"", b".."):
            named = self.processes.resolve(process, path) or path
        else:
            directory = self.processes.resolve(process, parent or b"/")
            named = path if directory is None else directory.rstrip(b"/") + b"/" + name
        self._before_change(os.fsdecode(named))
        if follow:
            end = self.processes.resolve(process, path)
            if end is not None and end != named:
                self._before_change(os.fsdecode(end))

    def _closed(self, tid: int, reason: str) -> None:
        """A process that we may not read."""
        try:
            with open(f"/proc/{tid}/comm", "rb") as stream:
                name = os.fsdecode(stream.read().rstrip(b"\n"))
        except OSError:
            return
        self.notes.add(f"the memory of {name} cannot be read ({reason}): what it touched is missing here")

    # -- from outside

    def tick(self) -> None:
        """A few times a second: see tracer.processes."""
        self.processes.tick()
        self.memory.tick()

    def count(self) -> int:
        """About how many distinct paths so far."""
        return sum(len(scope) for program in self.processes.programs.values() for scope in program.scopes.values())

    def collected(self) -> Collected:
        """All of it, in order."""
        masks: dict[bytes, int] = {}
        by: dict[bytes, set[bytes]] = {}
        runner = self.processes.runner
        for program in (runner, *self.processes.programs.values()):
            for (root, base), strings in program.scopes.items():
                for raw, mask in strings.items():
                    if program is runner:
                        mask &= EXEC  # what it did between arming and exec is not the program's
                    if not mask:
                        continue
                    path = paths.normal_form(paths.join(root, base, raw))
                    masks[path] = masks.get(path, 0) | mask
                    by.setdefault(path, set()).add(program.name)
        return Collected(
            [(path, masks[path], sorted(by[path])) for path in sorted(masks)],
            sorted(self.executions),
            sorted({*self.notes, *self._newer()}),
        )

    def _newer(self) -> Iterator[str]:
        for (program, number), count in self._unknown.items():
            yield (
                f"{os.fsdecode(program.name) or 'the command'} made system call {number} ({count} times), which this "
                "version does not know: it was allowed, and if it names a path, that is missing here"
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

"""What a stop becomes: accesses and executions, collected until they are handed back.

Each program keeps, for each directory that it named paths from, the strings it passed and the kinds it passed them
with. Turning these into paths waits until the end. `tracer.recorder.dispatcher` notes the common calls by itself, in
the same scopes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tracer.kernel.syscalls import AT_EMPTY_PATH, EXEC, HERE, LINK, LIST, READ, STAT, WRITE, Call
from tracer.recorder import paths
from tracer.recorder.journal import Journal
from tracer.recorder.memory import Memory
from tracer.recorder.mount_namespace import ForeignMountScope
from tracer.recorder.processes import Processes
from tracer.recorder.tracee import Process, Scope
from tracer.recording import Access, Execution, Kind

_KINDS = tuple(Kind)

Started = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]  # of an Execution
Row = tuple[bool, bytes, bytes, bytes, dict[bytes, int]]  # of a scope: is it the runner's, program, root, directory


@dataclass(slots=True)
class Collected:
    """What a recorder hands back; travels between processes as a pickle."""

    accesses: list[tuple[bytes, int, list[bytes]]] = field(default_factory=list)
    executions: list[Started] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recorders: list[str] = field(default_factory=list)
    lost: str = ""  # why there are holes
    failure: str = ""  # why it ends early
    calls: list[tuple[int, int]] = field(default_factory=list)  # audit architecture and number, where these are asked


class AccessLog:
    """Everything that one recording has seen. `before_change` is told what is about to change (see ServiceOptions)."""

    def __init__(self, before_change: Callable[[str], None] | None = None) -> None:
        self.memory = Memory(self._closed)
        self.processes = Processes(self.memory.helpers.link)
        self.executions: dict[Started, None] = {}  # in order, so that the journal knows which are new
        self.notes: set[str] = set()
        self.before_change = before_change
        self._written = 0  # executions that are in the journal
        self._notes = 0

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
            self.magic(process, raw, mask)
        else:
            scope[raw] = scope.get(raw, 0) | mask
        if mask & WRITE and self.before_change is not None:
            self.announce(process, scope, raw, follow=follow)

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
        if mask & WRITE and self.before_change is not None:
            self.before_change(os.fsdecode(path))
        return path

    def _record(self, process: Process, path: bytes, mask: int) -> None:
        scope = process.program.scope(b"", b"")
        scope[path] = scope.get(path, 0) | mask

    def magic(self, process: Process, raw: bytes, mask: int) -> None:
        """A path below /proc or /dev: its normal form, and what a link to a file of the root stands for."""
        normal = paths.normal_form(paths.join(process.root, b"", raw))
        self._record(process, normal, mask)
        through = self.processes.through(process, raw)
        if through is not None and not through.startswith((b"/proc/", b"/dev/")):
            self._record(process, through, mask)
            if mask & WRITE and self.before_change is not None:
                self.before_change(os.fsdecode(through))

    def announce(self, process: Process, scope: dict[bytes, int], raw: bytes, *, follow: bool) -> None:
        """Tell what is about to change: its name with parents resolved, and for an open the end of its links too."""
        if self.before_change is None:
            return
        if isinstance(scope, ForeignMountScope):
            place = scope.place(raw)
            if place is not None:
                self.before_change(os.fsdecode(place))
            return
        if not isinstance(scope, Scope):  # outside the root
            return
        path = paths.join(*scope.where, raw)
        parent, _, name = path.rpartition(b"/")
        if name in (b"", b".."):
            named = self.processes.resolve(process, path) or path
        else:
            directory = self.processes.resolve(process, parent or b"/")
            named = path if directory is None else directory.rstrip(b"/") + b"/" + name
        self.before_change(os.fsdecode(named))
        if follow:
            end = self.processes.resolve(process, path)
            if end is not None and end != named:
                self.before_change(os.fsdecode(end))

    def _closed(self, tid: int, reason: str) -> None:
        """A process that we may not read."""
        try:
            with open(f"/proc/{tid}/comm", "rb") as stream:
                name = os.fsdecode(stream.read().rstrip(b"\n"))
        except OSError:
            return
        self.notes.add(f"the memory of {name} cannot be read ({reason}): what it touched is missing here")

    def count(self) -> int:
        """About how many distinct paths so far."""
        return sum(len(scope) for program in self.processes.programs.values() for scope in program.scopes.values())

    def collected(self) -> Collected:
        """All of it, in order."""
        runner = self.processes.runner
        rows = (
            (program is runner, program.name, root, base, strings)
            for program in (runner, *self.processes.programs.values())
            for (root, base), strings in program.scopes.items()
        )
        return _collected(rows, self.executions, self.notes)

    def write(self, journal: Journal, recorders: Iterable[str], failure: str = "") -> None:
        """Append what is new since the last time."""
        news = self.processes.news
        rows: dict[int, Row] = {}
        for scope, raw, mask in news:
            row = rows.get(id(scope))
            if row is None:
                program = scope.program
                row = rows[id(scope)] = (program is self.processes.runner, program.name, *scope.where, {})
            row[4][raw] = mask
        executions = list(islice(self.executions, self._written, None))
        if not (rows or executions or failure or len(self.notes) != self._notes):
            return
        if journal.append((list(rows.values()), executions, sorted(self.notes), sorted(recorders), failure)):
            news.clear()
            self._written, self._notes = len(self.executions), len(self.notes)


def recovered(journal: Journal) -> Collected:
    """What the journal of a recorder that is gone holds."""
    rows: list[Row] = []
    executions: set[Started] = set()
    notes: set[str] = set()
    recorders: set[str] = set()
    failure = ""
    for more, started, said, used, why in journal.frames():
        rows += more
        executions.update(started)
        notes.update(said)
        recorders.update(used)
        failure = failure or why
    collected = _collected(rows, executions, notes)
    collected.recorders = sorted(recorders)
    collected.failure = failure
    return collected


def _collected(rows: Iterable[Row], executions: Iterable[Started], notes: Iterable[str]) -> Collected:
    masks: dict[bytes, int] = {}
    by: dict[bytes, set[bytes]] = {}
    for running, name, root, base, strings in rows:
        for raw, mask in strings.items():
            if running:
                mask &= EXEC  # what it did between arming and exec is not the program's
            if not mask:
                continue
            path = paths.normal_form(paths.join(root, base, raw))
            masks[path] = masks.get(path, 0) | mask
            by.setdefault(path, set()).add(name)
    return Collected(
        [(path, masks[path], sorted(by[path])) for path in sorted(masks)], sorted(executions), sorted(notes)
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

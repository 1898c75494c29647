"""exec: what is executed, from where, and with which of the variables that loaders and runtimes search by.

A build or a shell script executes the same few programs with the same environment thousands of times. So
what exec was given (path, pointers, strings) is read in one call from where it lay the last time, and when these
bytes are known, and nobody has changed its root, there is nothing left to find out: not even who the process
is. Links below /proc/PID cost more than the rest: they are made for us and torn down again as the process ends.
All of that is believed until the next tick only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tracer.kernel.syscalls import AT_EMPTY_PATH, HERE, Call, Convention
from tracer.recorder import paths
from tracer.recorder.access_log import AccessLog
from tracer.recorder.memory import SHORT, Gatherer
from tracer.recorder.mount_namespace import ForeignMountScope
from tracer.recorder.tracee import Process
from tracer.recording import ENVIRONMENT

Environment = tuple[tuple[bytes, bytes], ...]  # names and values, sorted
Places = tuple[tuple[int, int], ...]  # address and size

_NAMES = frozenset(name.encode() for name in ENVIRONMENT)
_GAP, _ARENA = 4096, 1 << 17  # bytes: the strings mostly lie together, and are read together
_LAST = 512  # bytes that are read of the last string of an arena, at least
_POINTERS = 96  # that are read of an environment at first
_REMEMBERED = 64  # environments, and places of them


class Executions:
    """Handles exec for a log."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log
        self._gatherer = Gatherer()
        self._environments: dict[tuple[bytes, ...], Environment] = {}  # by its lines
        self._runs: dict[int, Places] = {}  # address of an environment → where its strings lay

    def stop(self, tid: int, call: Call, convention: Convention, arguments: Sequence[int]) -> None:
        """A thread is about to execute something."""
        processes, memory = self._log.processes, self._log.memory
        (operand,) = call.operands
        pointer, strings = arguments[operand.path], arguments[call.extra]
        seen = b""
        if operand.dirfd is None and processes.uniform(tid):
            places = ((pointer, SHORT), (strings, _POINTERS * convention.pointer), *self._runs.get(strings, ()))
            seen = _trimmed(self._gatherer.read(tid, places), _POINTERS * convention.pointer)
            place = processes.place(tid) if seen else None
            seen = place + b"\0" + seen if place is not None else b""
            if processes.repeats(tid, seen):
                memory.forget(tid)
                return
        process = processes.known.get(tid) or processes.meet(tid, executing=True)
        fd = None if operand.dirfd is None else arguments[operand.dirfd] & 0xFFFFFFFF
        raw = memory.string(tid, pointer)
        path: bytes | None = None
        if raw:
            self._log.note(process, fd, raw, operand.mask)
            path = self._found(process, fd, raw)
        elif raw == b"" and fd is not None and operand.flags is not None and arguments[operand.flags] & AT_EMPTY_PATH:
            path = self._log.descriptor(process, fd, operand.mask)
        if path is not None:
            environment, runs = self._environment(tid, strings, convention.pointer)
            self._log.executions[path, processes.base(process), environment] = None
            if self._runs.get(strings) != runs:
                if len(self._runs) >= _REMEMBERED:
                    self._runs.clear()
                self._runs[strings] = runs
                seen = b""  # did not see all of it
        own = raw is not None and raw.startswith((b"/proc/", b"/dev/"))  # means something else for each process
        processes.executing(tid, seen if path is not None and not own else b"")
        memory.forget(tid)

    def _found(self, process: Process, fd: int | None, raw: bytes) -> bytes | None:
        """The path of what exec will find, None when it will find nothing (a search along PATH)."""
        processes = self._log.processes
        base = processes.base(process)
        if raw.startswith((b"/proc/", b"/dev/")):
            return processes.through(process, raw)
        scope = process.absolute if raw.startswith(b"/") else process.relative
        if isinstance(scope, ForeignMountScope):
            return scope.place(raw) if processes.resolve(process, scope.own(raw)) is not None else None
        if fd is not None and fd != HERE and not raw.startswith(b"/"):
            base = processes.link(process, b"fd/%d" % fd) or b""
        path = paths.join(process.root, base, raw)
        return path if processes.resolve(process, path) is not None else None

    def _environment(self, tid: int, address: int, pointer: int) -> tuple[Environment, Places]:
        """The variables of ENVIRONMENT, from the array that exec was given, and where its strings lie.

        Most programs pass on what they were given, so the same bytes are parsed once.
        """
        memory = self._log.memory
        addresses: list[int] = []
        for size in (_POINTERS, 8 * _POINTERS, 64 * _POINTERS) if address else ():
            addresses = _numbers(memory.read(tid, address, size * pointer) or b"", pointer)
            if 0 in addresses:
                del addresses[addresses.index(0) :]
                break
        ordered = sorted(addresses)
        lines: dict[int, bytes] = {}
        for low, last in _clusters(ordered):
            arena = memory.read(tid, low, last - low + _LAST & -_LAST) or b""
            for each in ordered[bisect_left(ordered, low) : bisect_right(ordered, last)]:
                end = arena.find(b"\0", each - low)
                lines[each] = arena[each - low : end] if end >= 0 else memory.string(tid, each) or b""
        key = tuple(map(lines.__getitem__, addresses))
        known = self._environments.get(key)
        if known is None:
            if len(self._environments) >= _REMEMBERED:
                self._environments.clear()
            known = self._environments[key] = _variables(key)
        return known, tuple(_runs(ordered, lines))


def _trimmed(seen: bytes, pointers: int) -> bytes:
    """What a glance saw without what lies after the path and after the pointers; empty when one of them has no end."""
    path, end = seen.find(0), seen.find(bytes(8), SHORT, SHORT + pointers)
    if not 0 <= path < SHORT or end < 0:
        return b""
    return seen[: path + 1] + seen[SHORT:end] + seen[SHORT + pointers :]


def _numbers(block: bytes, size: int) -> list[int]:
    return memoryview(block)[: len(block) // size * size].cast("Q" if size == 8 else "I").tolist()


def _variables(lines: Iterable[bytes]) -> Environment:
    """Those of ENVIRONMENT among NAME=value lines."""
    found: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b"=")
        if name in _NAMES:
            found.setdefault(name, value)  # the first counts, as for getenv
    return tuple(sorted(found.items()))


def _runs(addresses: Sequence[int], lines: Mapping[int, bytes]) -> Iterator[tuple[int, int]]:
    """Address and size of the strings, with their NULs, one after the other where they touch; `addresses` is sorted."""
    if not addresses:
        return
    start = end = addresses[0]
    for each in addresses:
        if each > end:
            yield start, end - start
            start = each
        end = max(end, each + len(lines[each]) + 1)
    yield start, end - start


def _clusters(addresses: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where those that lie close together begin and end, in order; `addresses` is sorted."""
    if not addresses:
        return
    low = last = addresses[0]
    for each in addresses:
        if each - last > _GAP or each - low > _ARENA:
            yield low, last
            low = each
        last = each
    yield low, last

"""What a process becomes by exec, known without asking where the same exec was asked for a moment ago.

The first time, what exec was given (see tracer.recorder.exec) waits with the process's number until it is met again
and asked what it is; from then on, until the next tick, whoever is given the same becomes the same.
"""

from __future__ import annotations

from tracer.recorder.tracee import Program


class ExecCache:
    """By thread, and by what exec was given."""

    def __init__(self) -> None:
        self._known: dict[bytes, Program] = {}
        self._waiting: dict[int, bytes] = {}
        self._expected: dict[int, Program] = {}

    def wait(self, tid: int, given: bytes) -> None:
        """What this process becomes is to be learned."""
        self._waiting[tid] = given

    def knows(self, given: bytes) -> bool:
        return given in self._known

    def expect(self, tid: int, given: bytes) -> None:
        """This process becomes what others became."""
        self._expected[tid] = self._known[given]

    def take(self, tid: int) -> Program | None:
        """What a process that is met became, when that was expected; once."""
        return self._expected.pop(tid, None)

    def learn(self, tid: int, became: Program) -> None:
        """What a process that was met became."""
        given = self._waiting.pop(tid, b"")
        if given:
            self._known[given] = became

    def drop(self, tid: int) -> None:
        """It executes something else now."""
        self._waiting.pop(tid, None)
        self._expected.pop(tid, None)

    def clear(self) -> None:
        self._known.clear()
        self._waiting.clear()
        self._expected.clear()

"""Who watches a run: whom it tells how it goes, and who may end it."""

from __future__ import annotations

import contextlib
import enum
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


class ContinueOn(enum.StrEnum):
    """What ends a run whose exercise somebody else does, while it goes on."""

    ENTER = "enter"  # a line on standard input, or its end
    SIGNAL = "signal"  # SIGUSR1 to this process


class Interrupt:
    """Ctrl-C: the first ends a run by which nothing more is to be proved; anywhere else, and again, it aborts.

    `continue_on`: such a run goes on until that, or Ctrl-C; a signal that comes while it is still asked counts then.
    """

    def __init__(self, continue_on: ContinueOn | None = None) -> None:
        self.continue_on = continue_on
        self.asked = False
        self._signalled = False
        self._runs: set[object] = set()
        self._needed: set[object] = set()  # runs whose exercise is not done

    def begin(self, run: object) -> None:
        """A run begins, and is needed until `release`."""
        self._needed.add(run)
        self._runs.add(run)

    def release(self, run: object) -> None:
        """Its exercise is done, or it has none: Ctrl-C may end it."""
        self._needed.discard(run)

    def end(self, run: object) -> None:
        self._runs.discard(run)
        self._needed.discard(run)

    @property
    def awaited(self) -> str:
        """What a run goes on until, for a person; empty where nothing is said of it."""
        if self.continue_on is ContinueOn.SIGNAL:
            return f"running until SIGUSR1: kill -USR1 {os.getpid()}"
        return "running until Enter" if self.continue_on is ContinueOn.ENTER else ""

    def ended(self) -> bool:
        """Whether somebody has asked for the end of what goes on."""
        if self._signalled:
            self._signalled, self.asked = False, True
        elif self.continue_on is ContinueOn.ENTER and not self.asked and select.select([sys.stdin], [], [], 0)[0]:
            os.read(sys.stdin.fileno(), 4096)  # a terminal gives whole lines
            self.asked = True
        return self.asked

    @contextlib.contextmanager
    def endable(self) -> Iterator[None]:
        """Something that goes on until Ctrl-C."""
        mine = object()
        self._runs.add(mine)
        try:
            yield
        finally:
            self.end(mine)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.asked or not self._runs or self._needed:
            raise KeyboardInterrupt
        self.asked = True

    def _on_continue(self, number: int, frame: object) -> None:
        self._signalled = True

    @contextlib.contextmanager
    def watching(self) -> Iterator[Interrupt]:
        handlers: dict[int, Callable[[int, object], None]] = {signal.SIGINT: self._on_signal}
        if self.continue_on is ContinueOn.SIGNAL:
            handlers[signal.SIGUSR1] = self._on_continue
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield self
        finally:
            for number, before in previous.items():
                signal.signal(number, before)


@dataclass(frozen=True, slots=True)
class Observer:
    """Whom the drive tells how it goes: `stage` by name, `tick` with seconds, `echo` what the program prints."""

    stage: Callable[[str], None] = lambda name: None
    tick: Callable[[float, int], None] = lambda seconds, paths: None
    echo: Callable[[bytes], None] | None = None
    interrupt: Interrupt = field(default_factory=Interrupt)

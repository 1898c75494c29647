"""How much work one file may make for its reader before it counts as unread.

Strangers' files come in any shape. Budgets are counted in bytes and depth, so that the same file gives the same
answer on every machine; time of the processor is the last net, below which no honest file ever falls.
"""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from slimmer.errors import SlimmerError

DEEPEST = 2000  # brackets inside brackets; what people and bundlers write stays below 200
SECONDS = 60.0  # of the processor, without a single answer
_BRACKETS = re.compile(rb"[(\[{]+|[)\]}]+")


class Unread(SlimmerError):
    """A file asks more of its reader than any honest one: it counts as unread, and whoever knows its name says so."""


def check_depth(source: bytes, deepest: int = DEEPEST) -> None:
    """Raises Unread for brackets nested too deeply. Those in texts and comments count too: cheap, and enough."""
    if sum(source.count(each) for each in (b"(", b"[", b"{")) <= deepest:
        return
    depth = 0
    for found in _BRACKETS.finditer(source):
        size = found.end() - found.start()
        depth = depth + size if source[found.start()] in b"([{" else max(depth - size, 0)
        if depth > deepest:
            raise Unread(f"more than {deepest:,} brackets inside each other")


class Watch:
    """The last net: raises Unread where the processor was busy for a minute or two and nobody called `alive`.

    Only the main thread can be interrupted so; elsewhere there is no net, and the counted budgets have to do.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self.alive = 0  # raised by one at each sign of life
        self._seen = -1
        self.reading = False  # a file is being read, so that there is something that can be given up

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGVTALRM, self._tick)
        signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds, self._seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    def _tick(self, number: int, frame: FrameType | None) -> None:
        if self.reading and self._seen == self.alive:
            raise Unread(f"reading it took more than {self._seconds:.0f} seconds of the processor")
        self._seen = self.alive

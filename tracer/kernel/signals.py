"""Steps that a signal must not cut in two: what ends a program waits until they are done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Signals that end the program wait meanwhile, then come as they would have. For a few moments only.

    A mask would not do: a signal that another thread takes has its handler run in the main thread all the same,
    between any two of its instructions. In other threads no handler ever runs, so there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in ENDING}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, lambda got, frame: came.append(got))
        yield
    finally:
        try:
            _set(before)
        except BaseException:  # of a handler that is back already
            _set(before)
            raise
        for late in dict.fromkeys(came):
            signal.raise_signal(late)


def _set(handlers: Mapping[signal.Signals, object]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]  # as getsignal gave it

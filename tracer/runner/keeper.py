"""The fork that every session begins with: its keeper, and the line to the process that will start commands."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

from tracer.recorder.protocol import Service
from tracer.runner import protocol


@contextlib.contextmanager
def forked(recorder: Service | None) -> Iterator[tuple[int, protocol.Wire, protocol.Wire, tuple[int, ...]]]:
    """Fork; the body runs on both sides, and never returns in the child, where the number is 0.

    Gives the keeper's number, the caller's end of the line, the other one, and pidfds of what must live (the recorder).
    """
    mine, theirs = socket.socketpair()
    wire, line = protocol.Wire(mine), protocol.Wire(theirs)
    watched = (os.pidfd_open(recorder.pid),) if recorder is not None else ()
    # A Ctrl-C between fork and the child's own signal handling would unwind the caller's stack in the child.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        try:
            number = os.fork()
        except OSError:
            wire.close()
            raise
        if number:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield number, wire, line, watched
        finally:
            if number == 0:
                os._exit(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        line.close()
        for descriptor in watched:
            os.close(descriptor)

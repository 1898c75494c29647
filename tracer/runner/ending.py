"""How all that a session started comes to its end: asked first, then killed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from tracer.runner import protocol
from tracer.runner.process import Process


def end(commands: Sequence[Process], ask: Callable[[protocol.Request], int], signal_number: int, grace: float) -> None:
    """The signal to the commands; after at most `grace` seconds SIGKILL to all that is left of them.

    `ask` sends a request to the process that starts commands, and gives its answer's number. Commands that have ended
    leave the signal to what they left behind (daemons), which gets the rest of the grace; where a command took the
    signal, what outlives it gets a second at most.
    """
    deadline = time.monotonic() + grace
    running = [each for each in commands if each.poll() is None]
    for each in running:
        each.signal(signal_number)
    for each in running:
        each.wait(max(0.0, deadline - time.monotonic()))
    if running:
        deadline = min(deadline, time.monotonic() + 1.0)
    with contextlib.suppress(protocol.Closed):
        if not ask(protocol.Drain(0)):
            return
        ask(protocol.Signal(signal_number))
        while time.monotonic() < deadline:
            if not ask(protocol.Drain(min(0.1, max(0.0, deadline - time.monotonic())))):
                return
        ask(protocol.Kill())

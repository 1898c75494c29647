"""What a program's end and last lines are called in a message."""

from __future__ import annotations

import contextlib
import re
import signal

from slimmer.values import plain

LINE = 300  # characters of one line that are shown
# A step of a stack that is printed below its error: of JavaScript and Java, Ruby, PHP. What went wrong stands above.
STEP = re.compile(r"\s+at \S|\s+from \S.*:\d+:in |#\d+ \S")
STEPS = 2  # of one stack that are shown


def last_lines(output: bytes, count: int = 8) -> str:
    """The end of what a program printed, for a message: printable, without the credentials of its URLs.

    Of a stack below its error a few steps count, lest the error itself be cut off.
    """
    lines: list[str] = []
    steps = 0
    for line in (each.rstrip() for each in output.decode("utf-8", "replace").splitlines() if each.strip()):
        steps = steps + 1 if STEP.match(line) else 0
        if steps <= STEPS:
            lines.append(line)
    return "\n  ".join(["its last lines:", *(plain(line)[:LINE] for line in lines[-count:])]) if lines else ""


def ending(code: int | None) -> str:
    """What an exit code says, in words."""
    if code is None:
        return "did not end"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"exited with {code}"

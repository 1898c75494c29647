"""What a program's end and last lines are called in a message."""

from __future__ import annotations

import contextlib
import signal

from slimmer.values import plain

LINE = 300  # characters of one line that are shown


def last_lines(output: bytes, count: int = 8) -> str:
    """The end of what a program printed, for a message: printable, without the credentials of its URLs."""
    lines = [line.rstrip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return "\n  ".join(["its last lines:", *(plain(line)[:LINE] for line in lines[-count:])]) if lines else ""


def ending(code: int | None) -> str:
    """What an exit code says, in words."""
    if code is None:
        return "did not end"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"exited with {code}"

"""Why the recorder failed, in words that hold nothing of what it traced: an exception may hold its environment."""

from __future__ import annotations

import contextlib
import os
import traceback

_DEBUG = "SLIMMER_RECORDER_DEBUG"  # a file that gets whole tracebacks; they may hold what traced programs were given


def explained(error: BaseException) -> str:
    """The kind of an error and where in our code it came up; of its words only what the kernel says."""
    file = os.environ.get(_DEBUG)
    if file:
        with contextlib.suppress(OSError), open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "a") as stream:
            traceback.print_exception(error, file=stream)
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        _, found, below = frame.filename.rpartition("/tracer/")
        if found:
            where = f" at tracer/{below}:{frame.lineno} ({frame.name})"
    said = f": {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__}{where}{said}"

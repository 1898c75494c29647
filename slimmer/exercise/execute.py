"""One command beside the application: inside its sandbox, or of the host in its network."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

from slimmer.errors import SlimmerError
from slimmer.exercise.model import Executed
from slimmer.exercise.output import Stream
from slimmer.exercise.words import ending, last_lines
from tracer.errors import TracerError
from tracer.session import Command, Session

ENOUGH = 8192  # bytes of the end of a stream, for its last lines
NOT_STARTED = 127  # a shell's exit code for a command that it does not find


class Started(Protocol):
    """A process that goes on."""

    def wait(self, timeout: float | None = None) -> int | None: ...
    def poll(self) -> int | None: ...
    def signal(self, number: int) -> None: ...


Wait = Callable[[Started, float | None], int | None]  # until a process has ended, at most so many seconds
Echo = Callable[[bytes], None] | None


def inside(session: Session, command: Command, echo: Echo, wait: Wait, timeout: float) -> Executed:
    """Run it in the sandbox, at most `timeout` seconds, and keep what it says."""

    def start(out: int, err: int) -> Started:
        return session.spawn(command, stdout=out, stderr=err)

    try:
        return _run(shlex.join(command.argv), start, echo, wait, timeout)
    except TracerError as error:  # that one program is missing says nothing of what is asked next
        return Executed(shlex.join(command.argv), NOT_STARTED, b"", b"", str(error))


def outside(session: Session, argv: tuple[str, ...], echo: Echo, wait: Wait, timeout: float) -> Executed:
    """The same with a program of the host, where `Session.start_outside` has it. Raises SlimmerError without it."""

    def start(out: int, err: int) -> Started:
        return _OfHost(session.start_outside(argv, stdout=out, stderr=err))

    try:
        return _run(shlex.join(argv), start, echo, wait, timeout)
    except (OSError, subprocess.SubprocessError) as error:
        raise SlimmerError(
            f"--client {shlex.join(argv)}: {getattr(error, 'strerror', '') or error}",
            "a client is a program of the host; --exec runs one of the root",
        ) from error


class _OfHost:
    """A program of the host, which leads a process group of its own: all of that ends together."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait(self, timeout: float | None = None) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def poll(self) -> int | None:
        return self._process.poll()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _run(line: str, start: Callable[[int, int], Started], echo: Echo, wait: Wait, timeout: float) -> Executed:
    out, err = Stream(echo), Stream(echo)
    try:
        process = start(out.fd, err.fd)
        out.started()
        err.started()
        began = time.monotonic()
        try:
            code = wait(process, timeout)
        except BaseException:
            process.signal(signal.SIGKILL)
            raise
        seconds = time.monotonic() - began
        if code is None:
            process.signal(signal.SIGKILL)
            process.wait(5.0)
    finally:
        out.finish()
        err.finish()
    late = code is None and seconds >= timeout
    problem = _problem(code, timeout if late else seconds, late, out.tail(), err.tail()) if code != 0 else ""
    return Executed(line, code, out.head(), err.tail(), problem)


def _problem(code: int | None, seconds: float, late: bool, output: bytes, errors: bytes) -> str:
    """What went wrong, after how long, and what it said last."""
    if code is None:
        what = f"did not end within {round(seconds, 1):g} s" + (" (--exec-timeout gives it longer)" if late else "")
    else:
        what = f"{ending(code)} after {seconds:.1f} s"
    said = last_lines(b"\n".join((output[-ENOUGH:], errors[-ENOUGH:])))
    return f"{what}; {said or 'it printed nothing'}"

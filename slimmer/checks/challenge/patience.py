"""How long a question may take, told without the clock of a busy machine.

What counts is the processor time of a command and all below it, and how often they were seen asleep without having
computed anything since: who waits for nothing that comes is given up. A machine's load stretches neither.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Protocol

from slimmer.exercise.listening import descendants

PAUSE = 0.1  # seconds between two looks


class Started(Protocol):
    """A command that was started; `pid` 0 where it is not known."""

    @property
    def pid(self) -> int: ...

    def wait(self, timeout: float | None = None) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """`looks` that see it asleep one after another; `computing`, seconds of processor time; `seconds`, a last net."""

    looks: int = 40
    computing: float = 10.0
    seconds: float = 300.0


def ended(process: Started, patience: Patience) -> int | None:
    """Its exit status; None when it waits for what does not come, or computes for longer than it may."""
    deadline = time.monotonic() + patience.seconds
    used, asleep = 0.0, 0
    while (code := process.wait(PAUSE)) is None:
        if not process.pid:  # nobody can look at it: the clock has to do
            code = process.wait(patience.looks * PAUSE)
            break
        computed, sleeps = _look(process.pid)
        asleep = asleep + 1 if sleeps and computed == used else 0
        used = computed
        if asleep >= patience.looks or used > patience.computing or time.monotonic() > deadline:
            break
    return code


def _look(pid: int) -> tuple[float, bool]:
    """Processor time of a process and all below it, in seconds, and whether they all sleep. proc_pid_stat(5)."""
    ticks, sleeps = 0, True
    for each in descendants(pid):
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{each}/stat") as stream:
            state, *fields = stream.read().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[10:14])
            sleeps = sleeps and state not in ("R", "D")  # not ready to run, nor waiting for a disk
    return ticks / os.sysconf("SC_CLK_TCK"), sleeps

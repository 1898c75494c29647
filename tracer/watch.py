"""Watches a root or a running container that was started by someone else, for a while, by fanotify."""

from __future__ import annotations

import os
import platform
import select
import time
from collections.abc import Callable
from pathlib import Path

from tracer.errors import TracerError
from tracer.recorder.access_log import AccessLog, accesses, executions
from tracer.recorder.attach import Vain
from tracer.recorder.fanotify import INCOMPLETE, LOST, Watcher
from tracer.recording import Access, Kind, Recording, collect

_BATCH = 0.05  # seconds between reads: events queue and merge meanwhile, so that a busy server is left alone


def watch(
    root_or_pid: str | int, seconds: float, stop: Callable[[], bool] = lambda: False, *, vain: bool = False
) -> Recording:
    """Record which files of a root are opened, read, executed and written by whomever, until `seconds` have passed.

    `root_or_pid` is a directory, or the number of a process in a container (its root is watched). Ends early when
    `stop()` says so, asked a few times a second. With `vain` also the lookups that find nothing, by ptrace: each
    system call of a process's container then stops, which is slow. Raises TracerError when there is no such root or
    process, when the kernel refuses, or when events were lost.
    """
    log = AccessLog()
    watcher = Watcher(log, reads=True)
    traced: Vain | None = None
    lookups: dict[str, set[str]] = {}
    try:
        _begin(watcher, root_or_pid)
        if vain:
            if not isinstance(root_or_pid, int):
                hint = "give the number of a process on the host"
                raise TracerError(f"lookups are seen of the processes of a container, not of {root_or_pid}", hint)
            traced = Vain.start(root_or_pid)
        _listen(watcher, time.monotonic() + seconds, stop)
        if watcher.overflowed:
            raise TracerError(LOST, "watch for a shorter time, or under less load, and merge the recordings")
    finally:
        if traced is not None:
            lookups = traced.finish()
        watcher.close()
    collected = log.collected()
    return Recording(
        accesses=collect(
            (
                *accesses(collected),
                *(Access(path, frozenset((Kind.STAT,)), frozenset(by)) for path, by in lookups.items()),
            )
        ),
        executions=executions(collected),
        architecture=platform.machine(),
        recorder=("fanotify", "ptrace") if vain else ("fanotify",),
        notes=(INCOMPLETE,),
    )


def _begin(watcher: Watcher, root_or_pid: str | int) -> None:
    if isinstance(root_or_pid, int):
        if not os.path.exists(f"/proc/{root_or_pid}/root"):
            raise TracerError(f"no process {root_or_pid} that may be watched", "give its number on the host")
        watcher.watch(root_or_pid)
    elif Path(root_or_pid).is_dir():
        watcher.watch_directory(root_or_pid)
    else:
        raise TracerError(f"no directory to watch: {root_or_pid}", "give a root directory or a process number")


def _listen(watcher: Watcher, deadline: float, stop: Callable[[], bool]) -> None:
    poll = select.poll()
    for descriptor in watcher.descriptors:
        poll.register(descriptor, select.POLLIN)
    ticked = time.monotonic()
    while not stop():
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if poll.poll(min(left, 0.25) * 1000):
            watcher.read()
            time.sleep(min(_BATCH, left))
        if time.monotonic() - ticked > 1:
            watcher.tick()
            ticked = time.monotonic()
    watcher.read()

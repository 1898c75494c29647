"""Makes images on this machine, several at once, each by a process of its own."""

from __future__ import annotations

import selectors
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from slimmer.batch import capacity
from slimmer.batch.child import Child, Death
from slimmer.batch.model import Job, Outcome, Watch, unwatched

PAUSE = 1.0  # seconds after which the memory is looked at again


def run_here(
    jobs: Sequence[Job],
    count: int,
    *,
    retries: int = 2,
    watch: Watch = unwatched,
    room: Callable[[], int] = capacity.memory,
) -> Generator[Outcome, None, None]:
    """Outcomes as they come. To close this ends what runs; so does an exception, Ctrl-C's too.

    `count` at once; fewer while `room` (bytes) is short, but always one. An image whose process a signal
    ended is made again, `retries` times. One that works in the live root is made alone, after all others.
    """
    waiting = deque((job, 1) for job in sorted(jobs, key=lambda job: job.alone))
    running: dict[Child, int] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and _fits(waiting[0][0], running, count, room):
                    job, attempt = waiting.popleft()
                    child = Child(job)
                    running[child] = attempt
                    selector.register(child, selectors.EVENT_READ, child)
                    watch(job.name, "starting")
                for key, _ in selector.select(PAUSE):
                    child = key.data
                    stages = child.read()
                    for stage in stages or ():
                        watch(child.job.name, stage)
                    if stages is not None:
                        continue
                    selector.unregister(child)
                    found = child.result()
                    attempt = running.pop(child)
                    child.end()
                    if isinstance(found, Outcome):
                        yield replace(found, attempts=attempt, worker="here")
                    elif _again(found) and attempt <= retries:
                        watch(child.job.name, f"again: {found.words}")
                        waiting.appendleft((child.job, attempt + 1))
                    else:
                        yield child.lost(found, attempt)
        finally:
            for child in running:
                child.ask_to_end()
            for child in running:
                child.end()


def _again(death: Death) -> bool:
    """What a signal ended may go well the next time; what ended by itself would do so again."""
    return bool(death.number) and death.number != signal.SIGINT


def _fits(job: Job, running: dict[Child, int], count: int, room: Callable[[], int]) -> bool:
    if not running:
        return True
    alone = job.alone or any(child.job.alone for child in running)
    return not alone and len(running) < count and room() >= capacity.NEEDED

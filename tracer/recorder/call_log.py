"""Which system calls are made, in place of which paths are named: for policies, by the same listener."""

from __future__ import annotations

import errno
import platform
import sys
from collections.abc import Sequence

from tracer.kernel.syscalls import Action, Convention, conventions
from tracer.recorder.access_log import Collected
from tracer.recorder.dispatcher import Dispatcher
from tracer.recorder.protocol import ServiceOptions


class CallDispatcher(Dispatcher):
    """Notes each call once. A stop is one addition to a set: what it costs is the switch of context."""

    def __init__(self, kernel: Sequence[Convention], *, refuse: bool, pretend: bool) -> None:
        super().__init__(kernel, pretend=pretend)
        self._seen: set[int] = set()
        self._answer = -errno.EPERM if refuse else None
        # What is answered in the kernel's place, as when paths are recorded; those noted beside it are thrown away.
        self._answered = {
            which
            for which, (*_, call, _) in self._rows.items()
            if call.action is Action.REFUSE or self._calls.pretends(call)
        }

    def stop(self, tid: int, which: int, fields: Sequence[int]) -> int | None:
        self._seen.add(which)
        if self._answer is None and which in self._answered:
            return super().stop(tid, which, fields)
        return self._answer

    def collected(self) -> Collected:
        halves = ((which & 0xFFFFFFFF, which >> 32) for which in self._seen)
        return Collected(
            calls=sorted((high, low) if sys.byteorder == "little" else (low, high) for low, high in halves)
        )


def dispatcher_for(options: ServiceOptions) -> Dispatcher:
    """What handles the stops of a service."""
    kernel = conventions(platform.machine())
    if options.calls is not None:
        return CallDispatcher(kernel, refuse=options.calls.refuse, pretend=options.pretend)
    return Dispatcher(kernel, options.before_change, pretend=options.pretend)

"""A command that runs, seen from the caller: a pidfd, and a pipe that its exit status comes through."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct


class Process:
    """A command that was started. Exit statuses are subprocess's: negative is a signal."""

    def __init__(self, status: int, handle: int, pid: int) -> None:
        self._status = status  # the pipe that init writes the wait status to
        self._handle = handle  # pidfd, or -1
        self._pid = pid
        self._result: int | None = None

    @property
    def pid(self) -> int:
        """Its id in the caller's pid namespace; 0 if unknown."""
        return self._pid

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status, None when it still runs after so many seconds."""
        if self._result is None:
            poll = select.poll()
            poll.register(self._status, select.POLLIN)
            if poll.poll(None if timeout is None else timeout * 1000):
                raw = os.read(self._status, 4)
                # An end without a status: whoever would have told was killed, and the tree with it.
                status = struct.unpack("=i", raw)[0] if len(raw) == 4 else signal.SIGKILL
                self._result = os.waitstatus_to_exitcode(status)
        return self._result

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, number)
            elif self._pid:
                os.kill(self._pid, number)

    def close(self) -> None:
        """The session closes it."""
        for descriptor in (self._status, self._handle):
            if descriptor >= 0:
                os.close(descriptor)
        self._status = self._handle = -1
        self._result = -signal.SIGKILL if self._result is None else self._result


def pid_of(handle: int) -> int:
    """The process of a pidfd in this process's own pid namespace; 0 when it cannot be told."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/self/fdinfo/{handle}", "rb") as lines:
        for line in lines:
            if line.startswith(b"Pid:"):
                return max(0, int(line.split()[1]))
    return 0

"""Listeners held where the recorder's death does not reach, so that nobody goes on without it.

When the last descriptor of a seccomp listener closes, every call that waits for it, and each one after, gets ENOSYS:
the program would go on with wrong answers. A descriptor that lies unread in a socket stays open as long as the socket
does, and the recorder's parent holds that too: until everything traced has been killed, it waits in the kernel.
"""

from __future__ import annotations

import contextlib
import select
import socket


class Custody:
    """Made before the fork; the recorder gives listeners, its parent only closes."""

    def __init__(self) -> None:
        self._write, self._read = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._write.setblocking(False)
        self._read.setblocking(False)

    @property
    def descriptors(self) -> tuple[int, int]:
        return self._write.fileno(), self._read.fileno()

    def hold(self, listener: int) -> None:
        """Keep one. Those whose last process has gone make room when the socket is full."""
        for _ in range(2):
            try:
                socket.send_fds(self._write, [b"."], [listener])
                return
            except OSError:
                self._tidy()

    def _tidy(self) -> None:
        held: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                _, found, _, _ = socket.recv_fds(self._read, 1, 1)
                held += found
        poll = select.poll()
        for each in held:
            poll.register(each, 0)
        gone = {each for each, _ in poll.poll(0)}
        for each in held:
            if each not in gone:
                with contextlib.suppress(OSError):
                    socket.send_fds(self._write, [b"."], [each])
            socket.close(each)

    def close(self) -> None:
        """Harmless the second time."""
        self._write.close()
        self._read.close()

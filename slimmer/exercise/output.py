"""What a program prints, collected while it runs: the beginning for comparisons, the end for messages."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

HEAD = 1 << 20
TAIL = 1 << 14


class Stream:
    """A pipe whose write end a program gets. As in container runtimes the program may reopen it by /dev/stdout."""

    def __init__(self, echo: Callable[[bytes], None] | None = None) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        os.fchmod(self._write, 0o666)  # whoever the program becomes may open /proc/self/fd/1 again
        self._head = bytearray()
        self._tail = bytearray()
        self._echo = echo
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    @property
    def fd(self) -> int:
        """What to give to the program."""
        return self._write

    def started(self) -> None:
        """The program has its own copy now."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def _drain(self) -> None:
        while chunk := os.read(self._read, 65536):
            with self._lock:
                if len(self._head) < HEAD:
                    self._head += chunk[: HEAD - len(self._head)]
                self._tail += chunk
                del self._tail[:-TAIL]
            if self._echo is not None:
                self._echo(chunk)
        os.close(self._read)

    def head(self) -> bytes:
        with self._lock:
            return bytes(self._head)

    def tail(self) -> bytes:
        with self._lock:
            return bytes(self._tail)

    def finish(self) -> None:
        """After the last writer is gone; a stray writer is not waited for."""
        self.started()
        self._thread.join(1.0)

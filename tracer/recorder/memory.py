"""Reads what a stopped process points to.

Where a process stops again and again, pread on an open /proc/TID/mem is cheapest (see tracer.recorder.tracee, which
opens it); here is what serves before that and when that fails. process_vm_readv holds no descriptor and
can never read the memory of a number's former owner. It is not always allowed: some container
runtimes filter it; and without CAP_SYS_PTRACE nobody may look into a process that has changed
its user. For those, in this order: a /proc/TID/mem that was opened before the change
(`keep`); one opened now; one opened by a helper that takes on the process's user. What then is still
closed to us is told once for each program. See tracer.recorder.helper for the last one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Sequence

from tracer.recorder.helper import Helpers

PATH_MAX = 4096
SHORT = 256  # bytes that a first read asks for: most paths are shorter, and a page is cheap to copy a part of

_MOST_KEPT = 2048  # memories held open
_GATHERED = 32  # places that one call reads

# PyDLL: one thread only, so there is no lock to give up. Without argtypes, ready-made objects pass fastest.
readv = ctypes.PyDLL(None, use_errno=True)["process_vm_readv"]
readv.restype = ctypes.c_ssize_t
ONE, NONE = ctypes.c_ulong(1), ctypes.c_ulong(0)


class Window:
    """A buffer of ours and the place of a process that is read into it, as the kernel wants them (struct iovec)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.buffer = ctypes.create_string_buffer(size + 1)  # always ends in a NUL
        self._local = (ctypes.c_ulong * 2)(ctypes.addressof(self.buffer), size)
        self.remote = (ctypes.c_ulong * 2)(0, size)
        self.local_at = ctypes.c_void_p(ctypes.addressof(self._local))
        self.remote_at = ctypes.c_void_p(ctypes.addressof(self.remote))


class Gatherer:
    """Reads several places of a process in one call."""

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(1 << 14)
        self._local = (ctypes.c_ulong * 2)(ctypes.addressof(self._buffer), 0)
        self._remote = (ctypes.c_ulong * (2 * _GATHERED))()
        self._local_at = ctypes.c_void_p(ctypes.addressof(self._local))
        self._remote_at = ctypes.c_void_p(ctypes.addressof(self._remote))

    def read(self, tid: int, places: Sequence[tuple[int, int]]) -> bytes:
        """What lies at (address, size) each, one after the other; empty when not all of it could be read."""
        size = 0
        for index, (address, length) in enumerate(places[:_GATHERED]):
            self._remote[2 * index], self._remote[2 * index + 1] = address, length
            size += length
        if len(places) > _GATHERED or size > len(self._buffer):
            return b""
        self._local[1] = size
        count = readv(tid, self._local_at, ONE, self._remote_at, ctypes.c_ulong(len(places)), NONE)
        return ctypes.string_at(self._buffer, size) if count == size else b""


class Memory:
    """The memories of the traced processes. `tell` is given a note when one is closed to us."""

    def __init__(self, tell: Callable[[int, str], None]) -> None:
        self._tell = tell
        self.helpers = Helpers()
        self._kept: dict[int, int] = {}  # thread → open /proc/TID/mem
        self._refused: set[int] = set()
        self._windows: dict[int, Window] = {}

    def read(self, tid: int, address: int, size: int) -> bytes | None:
        """Up to `size` bytes, fewer where the mapping ends; None when there is nothing to read."""
        window = self._windows.get(size)
        if window is None:
            if len(self._windows) > 16:
                self._windows.clear()
            window = self._windows[size] = Window(size)
        window.remote[0] = address
        count = readv(tid, window.local_at, ONE, window.remote_at, ONE, NONE)
        if count > 0:
            return ctypes.string_at(window.buffer, count)
        if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS, errno.EACCES):
            return self._through_file(tid, address, size)
        return None  # a bad address (the call will fail with EFAULT), or killed meanwhile

    def string(self, tid: int, address: int) -> bytes | None:
        """A string that ends in NUL, at most PATH_MAX with it; None when there is none (a null or bad pointer)."""
        if not address:
            return None
        block = self.read(tid, address, SHORT)
        if block is None:
            return None
        end = block.find(b"\0")
        if end < 0:
            block = self.read(tid, address, PATH_MAX) or b""
            end = block.find(b"\0")
        return block[:end] if end >= 0 else None  # without an end the kernel says ENAMETOOLONG or EFAULT

    def keep(self, tid: int) -> None:
        """The process may be closed to us soon: open its memory now."""
        if tid not in self._kept:
            self._make_room()
            with contextlib.suppress(OSError):
                self._kept[tid] = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def _make_room(self) -> None:
        """Descriptors are few: the oldest gives way."""
        while len(self._kept) >= _MOST_KEPT:
            os.close(self._kept.pop(next(iter(self._kept))))

    def forget(self, tid: int) -> None:
        """After exec, or when it is gone."""
        self._refused.discard(tid)
        if tid in self._kept:
            os.close(self._kept.pop(tid))

    def tick(self) -> None:
        """Drop the memories of those that are gone."""
        for tid, memory in list(self._kept.items()):
            # The kernel unhashes /proc/TID when the task ends, even if its number lives again.
            if os.readlink(f"/proc/self/fd/{memory}").endswith(" (deleted)"):
                self.forget(tid)
        self._refused.clear()

    def _through_file(self, tid: int, address: int, size: int) -> bytes | None:
        memory = self._kept.get(tid)
        if memory is None:
            if tid in self._refused:
                return None
            memory = self._open(tid)
            if memory is None:
                self._refused.add(tid)
                return None
            self._make_room()
            self._kept[tid] = memory
        try:
            return os.pread(memory, size, address) or None
        except (OSError, OverflowError):
            return None

    def _open(self, tid: int) -> int | None:
        try:
            return os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            return None  # killed meanwhile
        except OSError as error:
            memory = self.helpers.memory(tid)
            if memory is None:
                self._tell(tid, error.strerror or str(error))
            return memory

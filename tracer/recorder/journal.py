"""What a recorder has seen, kept where its death does not reach: frames appended to memory that its parent holds too.

A frame is its size, the CRC-32 of its body, and the body: marshal (numbers, bytes, tuples; nothing of it can run), by
zlib at its fastest. A recorder killed in the middle of one leaves a frame whose checksum is wrong, and reading
ends before it.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any

_HEADER = struct.Struct("=II")


class Journal:
    """Made before the fork; the child appends, the parent reads."""

    def __init__(self) -> None:
        try:
            self.descriptor = os.memfd_create("recording", os.MFD_CLOEXEC)
        except OSError:  # refused by a filter
            with tempfile.TemporaryFile() as file:
                self.descriptor = os.dup(file.fileno())
        self._size = 0

    def append(self, value: Any) -> bool:
        """Whether there was room for it."""
        body = zlib.compress(marshal.dumps(value), 1)
        block = memoryview(_HEADER.pack(len(body), zlib.crc32(body)) + body)
        place = self._size
        try:
            while block:
                written = os.pwrite(self.descriptor, block, place)
                block, place = block[written:], place + written
        except OSError:
            return False
        self._size = place
        return True

    def frames(self) -> Iterator[Any]:
        """What was appended, up to where it breaks off."""
        place = 0
        while len(header := os.pread(self.descriptor, _HEADER.size, place)) == _HEADER.size:
            size, checksum = _HEADER.unpack(header)
            body = os.pread(self.descriptor, size, place + _HEADER.size)
            if len(body) != size or zlib.crc32(body) != checksum:
                return
            yield marshal.loads(zlib.decompress(body))
            place += _HEADER.size + size

    def close(self) -> None:
        """Harmless the second time."""
        descriptor, self.descriptor = self.descriptor, -1
        with contextlib.suppress(OSError):
            os.close(descriptor)

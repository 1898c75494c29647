"""Compression of layers on all cores, where the number of cores never changes a byte.

The stream is cut into blocks and each block is compressed by itself, so who
compresses it does not matter. It is cut before some of the members, chosen by
their headers alone, and where a block is full: a file that grows moves all that
follows, and blocks after the next such member are still the same, and known.
gzip: one member, whose blocks end in a sync flush and know the 32 KiB before
them (as pigz does), so every reader sees an ordinary gzip file. zstd: one frame
a block, each with its size declared; the format says that frames may follow
each other (RFC 8878, 3.1).

The bytes are the same for one version of zlib or zstd: see `compressor`.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import os
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self, assert_never

import zstandard

from slimmer.facts.remember import remembered_bytes

# zlib's level 5 takes two thirds of the time of level 6 for half a percent more bytes (shared libraries, measured).
GZIP_LEVEL = 5
ZSTD_LEVEL = 3
# RFC 1952: deflate, no flags, no time, no extra flags, and OS 255, "unknown": Python's own gzip varies here.
GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
WINDOW = 32 * 1024
ONE_IN = 8  # members before which a block may end
# More would only wait for the one thread that feeds and hashes, and hold memory.
MOST_WORKERS = 8


class Compression(enum.StrEnum):
    GZIP = "gzip"
    ZSTD = "zstd"
    NONE = "none"

    @property
    def media_type(self) -> str:
        """The layer's media type, image-spec's layer.md."""
        if self is Compression.GZIP:
            return "application/vnd.oci.image.layer.v1.tar+gzip"
        if self is Compression.ZSTD:
            return "application/vnd.oci.image.layer.v1.tar+zstd"
        if self is Compression.NONE:
            return "application/vnd.oci.image.layer.v1.tar"
        assert_never(self)

    @property
    def compressor(self) -> str:
        """Name, version and level of what makes the bytes, and how it is cut: equal words, equal blobs."""
        if self is Compression.GZIP:
            return f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {GZIP_LEVEL} by files"
        if self is Compression.ZSTD:
            return f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} level {ZSTD_LEVEL} by files"
        if self is Compression.NONE:
            return "none"
        assert_never(self)


class Codec(Protocol):
    """How blocks of a stream become a file. `compress` runs in any thread, in any order."""

    block: int  # bytes of the stream in a block at most
    least: int  # bytes of the stream in a block that ends before a member; 0: none does

    def head(self) -> bytes: ...

    def compress(self, block: bytes, before: bytes) -> bytes:
        """A block's bytes; `before` is the block that it follows (empty for the first)."""

    def tail(self, crc: int, length: int) -> bytes: ...


class Gzip:
    block = 512 * 1024
    least = 64 * 1024

    def head(self) -> bytes:
        return GZIP_HEADER

    def compress(self, block: bytes, before: bytes) -> bytes:
        if before:
            engine = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -15, 8, 0, before[-WINDOW:])
        else:
            engine = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -15, 8, 0)
        return engine.compress(block) + engine.flush(zlib.Z_SYNC_FLUSH)

    def tail(self, crc: int, length: int) -> bytes:
        # An empty final block, as every block before it was left open.
        return b"\x03\0" + crc.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")


class Zstd:
    block = 4 * 1024 * 1024
    least = 2 * 1024 * 1024

    def head(self) -> bytes:
        return b""

    def compress(self, block: bytes, before: bytes) -> bytes:
        engine = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True, write_checksum=False, threads=0)
        return engine.compress(block)

    def tail(self, crc: int, length: int) -> bytes:
        return b""


class Plain:
    block = 1024 * 1024
    least = 0

    def head(self) -> bytes:
        return b""

    def compress(self, block: bytes, before: bytes) -> bytes:
        return block

    def tail(self, crc: int, length: int) -> bytes:
        return b""


def codec(compression: Compression) -> Codec:
    if compression is Compression.GZIP:
        return Gzip()
    if compression is Compression.ZSTD:
        return Zstd()
    if compression is Compression.NONE:
        return Plain()
    assert_never(compression)


@functools.cache
def _sample(compression: Compression) -> str:
    """What the compressor makes of a text: two builds of one version need not agree, and blocks of both may be kept."""
    text = " ".join(map(str, range(20_000))).encode()
    return hashlib.sha256(codec(compression).compress(text, text)).hexdigest()


def cores() -> int:
    """How many cores this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


class BlobWriter:
    """A stream in, a compressed and hashed blob out, in one pass and with flat memory.

    Feed it at most `room` bytes a time and no byte is copied twice. After `close`
    the digests and sizes are final. Leaving the `with` by an error stops the threads.
    """

    def __init__(self, sink: Callable[[bytes], object], compression: Compression, workers: int | None = None) -> None:
        self._sink = sink
        self._compression = compression
        self._codec = codec(compression)
        count = min(workers or cores(), MOST_WORKERS)
        # Large blocks need fewer in flight for the same use of the cores.
        self._most_pending = count + 2
        self._pool = ThreadPoolExecutor(count, "compress")
        self._hasher = ThreadPoolExecutor(1, "hash")
        self._pending: deque[tuple[Future[None], Future[bytes] | bytes]] = deque()
        self._parts: list[bytes] = []
        self._filled = 0
        self._before = b""
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        self._crc = 0
        self.uncompressed_size = 0
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._hasher.shutdown(wait=True, cancel_futures=True)

    @property
    def room(self) -> int:
        """Bytes until the next block is full; never 0."""
        return self._codec.block - self._filled

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._plain.hexdigest()}"

    @property
    def digest(self) -> str:
        return f"sha256:{self._packed.hexdigest()}"

    def member(self, header: bytes, size: int) -> None:
        """Says that a member begins here. `size`: bytes of its content."""
        least = self._codec.least
        if least and self._filled >= least and (size >= self._codec.block or zlib.crc32(header) % ONE_IN == 0):
            self._cut()

    def write(self, data: bytes) -> None:
        while len(data) > self.room:
            part, data = data[: self.room], data[self.room :]
            self.write(part)
        self._parts.append(data)
        self._filled += len(data)
        if self._filled == self._codec.block:
            self._cut()

    def close(self) -> None:
        """Write what is left. Afterwards digests and sizes are those of the whole."""
        if self._filled:
            self._cut()
        while self._pending:
            self._drain()
        if self.size == 0:
            self._emit(self._codec.head())
        self._emit(self._codec.tail(self._crc, self.uncompressed_size))

    def _cut(self) -> None:
        block = b"".join(self._parts) if len(self._parts) > 1 else self._parts[0]
        self._parts.clear()
        self._filled = 0
        self.uncompressed_size += len(block)
        hashed = self._hasher.submit(self._hash, block)
        if self._compression is Compression.NONE:
            self._pending.append((hashed, block))
        else:
            self._pending.append((hashed, self._pool.submit(self._compressed, block, self._before)))
            self._before = block
        while len(self._pending) >= self._most_pending:
            self._drain()

    def _compressed(self, block: bytes, before: bytes) -> bytes:
        """A block that was compressed before is not compressed again."""
        name = f"{self._compression.compressor} {_sample(self._compression)}"
        return remembered_bytes(name, (block, before[-WINDOW:]), lambda: self._codec.compress(block, before))

    def _hash(self, block: bytes) -> None:
        """Runs in the one hashing thread, so blocks come in order."""
        self._plain.update(block)
        if self._compression is Compression.GZIP:
            self._crc = zlib.crc32(block, self._crc)

    def _drain(self) -> None:
        hashed, compressed = self._pending.popleft()
        data = compressed if isinstance(compressed, bytes) else compressed.result()
        hashed.result()
        if self.size == 0:
            self._emit(self._codec.head())
        self._emit(data)

    def _emit(self, data: bytes) -> None:
        if not data:
            return
        self.size += len(data)
        self._sink(data)
        if self._compression is Compression.NONE:
            self._packed = self._plain  # the same bytes: one hash is enough
        else:
            self._packed.update(data)

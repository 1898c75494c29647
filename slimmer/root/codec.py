"""Blobs as streams of bytes: read, verified, decompressed, a piece at a time.

A blob's compression is told by its first bytes, never by its media type: tools
label layers wrongly, and what is unpacked is checked against the diff id anyway.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import queue
import re
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

import zstandard

from slimmer.errors import SlimmerError

CHUNK = 1 << 18  # bytes: small enough to stay in cache between hashing and writing, large enough to let the GIL rest
_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")
_PATIENCE = 0.4  # seconds between looks at whether to stop
_MAX_WINDOW = 1 << 27  # zstd's own default limit, 128 MiB
_SKIPPABLE = tuple(bytes((0x50 + low, 0x2A, 0x4D, 0x18)) for low in range(16))  # zstd:chunked begins with one


def is_digest(value: str) -> bool:
    """Whether this is a digest of a registered algorithm (image-spec, descriptor.md, "Registered algorithms")."""
    return _DIGEST.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that can be read once or more. `digest` "" and `size` -1 mean that nothing is promised."""

    where: str  # for messages
    read: Callable[[], Iterator[bytes]]
    digest: str = ""
    size: int = -1

    def chunks(self) -> Iterator[bytes]:
        """The bytes; raises SlimmerError, at the end at the latest, when they are not what was promised."""
        return verified(self.read(), self.where, self.digest, self.size)

    def bytes(self, limit: int) -> bytes:
        """All of it, at most `limit` bytes."""
        parts: list[bytes] = []
        total = 0
        for chunk in self.chunks():
            total += len(chunk)
            if total > limit:
                raise SlimmerError(
                    f"{self.where}: more than {limit:,} bytes of JSON",
                    "if the image is honest, raise the limit with --limit json_bytes=…",
                )
            parts.append(chunk)
        return b"".join(parts)


def verified(chunks: Iterator[bytes], where: str, digest: str, size: int = -1) -> Iterator[bytes]:
    """The chunks as they are; raises SlimmerError when their digest or size is another."""
    algorithm, _, expected = digest.partition(":")
    checker = hashlib.new(algorithm) if digest else None
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if 0 <= size < total:
            raise SlimmerError(
                f"{where}: longer than its descriptor's {size:,} bytes", "the image is damaged or hostile"
            )
        if checker is not None:
            checker.update(chunk)
        yield chunk
    if size >= 0 and total != size:
        raise SlimmerError(f"{where}: {total:,} bytes, its descriptor says {size:,}", "the image is damaged or hostile")
    if checker is not None and checker.hexdigest() != expected:
        raise SlimmerError(
            f"{where}: content is {algorithm}:{checker.hexdigest()}, not {digest}", "the image is damaged or hostile"
        )


def file_chunks(path: str, start: int = 0, size: int = -1) -> Iterator[bytes]:
    """A regular file's bytes, or a part of them."""
    try:
        # O_NONBLOCK so that a FIFO in a blob's place cannot hang the run
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            left = size if size >= 0 else os.fstat(descriptor).st_size - start
            at = start
            while left > 0:
                data = os.pread(descriptor, min(CHUNK, left), at)
                if not data:
                    break
                at += len(data)
                left -= len(data)
                yield data
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SlimmerError(f"cannot read {path}: {error.strerror}") from error


class _Source:
    """Chunks as a file to read from; what was read too much can be put back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        if 0 <= size < len(self._rest):
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        data, self._rest = self._rest, b""
        return data

    def put_back(self, data: bytes) -> None:
        self._rest = data + self._rest


class _Engine(Protocol):
    """What bz2's, lzma's and (adapted) zlib's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """One gzip member, in the manner of bz2.BZ2Decompressor."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def decompressed(chunks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """What a gzip, zstd, xz, bzip2 or plain stream holds, in pieces of bounded size. Raises SlimmerError."""
    source = _Source(chunks)
    start = b""
    while len(start) < 6 and (more := source.read()):
        start += more
    source.put_back(start)
    try:
        if start[:2] == b"\x1f\x8b":
            yield from _members(source, _Gzip, start[:2])
        elif start[:4] == b"\x28\xb5\x2f\xfd" or start[:4] in _SKIPPABLE:
            reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
                cast(BinaryIO, source), read_size=1 << 17, read_across_frames=True
            )
            while data := reader.read(CHUNK):
                yield data
        elif start[:6] == b"\xfd7zXZ\0":
            yield from _members(source, lambda: lzma.LZMADecompressor(memlimit=1 << 28), start[:6])
        elif start[:3] == b"BZh":
            yield from _members(source, bz2.BZ2Decompressor, start[:3])
        else:
            while data := source.read():
                yield data
    except (zlib.error, zstandard.ZstdError, lzma.LZMAError, EOFError, OSError) as error:
        raise SlimmerError(f"{where}: cannot be decompressed: {error}", "the image is damaged or hostile") from error


def _members(source: _Source, make: Callable[[], _Engine], magic: bytes) -> Iterator[bytes]:
    """One compressed member after the other: eStargz and pigz-like tools write many."""
    engine = make()
    while True:
        data = source.read() if engine.needs_input else b""
        if not data and engine.needs_input:
            raise EOFError("it ends too early")
        out = engine.decompress(data, CHUNK)
        if out:
            yield out
        if not engine.eof:
            continue
        rest = engine.unused_data
        while len(rest) < len(magic) and (more := source.read()):
            rest += more
        if not rest.startswith(magic):
            while rest:  # gzip(1) too lets zeros pass after the end
                if rest.strip(b"\0"):
                    raise EOFError("there is something else after its end")
                rest = source.read()
            return
        source.put_back(rest)
        engine = make()


class Stopped(Exception):
    """Someone else's failure, or the user, ended this work."""


def ahead(chunks: Iterator[bytes], stop: threading.Event, depth: int = 16) -> Generator[bytes, None, None]:
    """The same chunks, made by a thread that runs at most `depth` of them ahead. Raises Stopped once `stop` is set.

    Reading, hashing and decompressing let go of the GIL, so they run beside the parsing and writing.
    """
    pipe: queue.Queue[bytes | BaseException | None] = queue.Queue(depth)
    stopped = threading.Event()  # this one stream only

    def put(item: bytes | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                pipe.put(item, timeout=_PATIENCE / 4)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for chunk in chunks:
                if not put(chunk):
                    break
            else:
                put(None)
        except BaseException as error:  # handed over, raised by the consumer
            put(error)

    thread = threading.Thread(target=work, name="slimmer-read", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = pipe.get(timeout=_PATIENCE)
            except queue.Empty:
                item = b""
            if stop.is_set():
                raise Stopped
            if item is None:
                break
            if isinstance(item, BaseException):
                raise item
            if item:
                yield item
    finally:
        stopped.set()
        thread.join(_PATIENCE)  # it may hang on a network, which ends by itself


def unpacked(blob: Blob, diff_id: str, stop: threading.Event) -> Generator[bytes, None, None]:
    """A layer's tar, everything about it verified: the blob's size and digest, and the diff id of what it holds."""
    plain = verified(decompressed(blob.chunks(), blob.where), f"{blob.where} unpacked", diff_id)
    with closing(ahead(plain, stop)) as chunks:
        yield from chunks

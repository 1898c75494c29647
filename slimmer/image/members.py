"""What a layer holds, read back: each entry's header, and the digest of its content."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

import zstandard

from slimmer.errors import SlimmerError


def members(blob: Path) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """The entries of a layer as this program writes them, with the SHA-256 (hex) of each regular file.

    Raises SlimmerError when the layer cannot be read as one.
    """
    try:
        with ExitStack() as streams:
            archive = streams.enter_context(tarfile.open(fileobj=_plain(streams, blob), mode="r|"))
            for info in archive:
                content = archive.extractfile(info) if info.isreg() else None
                digest = ""
                if content is not None:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
                yield info, digest
    except (tarfile.TarError, EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
        raise SlimmerError(f"the layer {blob.name[:19]} cannot be read: {error}", "make the image again") from error
    except OSError as error:
        raise SlimmerError(f"cannot read {blob}: {error.strerror or error}", "make the image again") from error


def _plain(streams: ExitStack, blob: Path) -> IO[bytes]:
    stream = streams.enter_context(blob.open("rb"))
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast(IO[bytes], streams.enter_context(gzip.GzipFile(fileobj=stream)))
    if magic == b"\x28\xb5\x2f\xfd":
        reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
        return cast(IO[bytes], streams.enter_context(reader))
    return stream

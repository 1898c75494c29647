"""Zip archives of a root: jars, eggs, wheels. Whatever is wrong with one is a SlimmerError."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.model import Root

if TYPE_CHECKING:
    import zipfile


@contextlib.contextmanager
def unzipped(root: Root, path: str) -> Iterator[zipfile.ZipFile]:
    """The archive while it is open. Raises SlimmerError, also for what goes wrong with its members meanwhile."""
    with _opened(path, lambda: root.open(path)) as archive:
        yield archive


@contextlib.contextmanager
def unpacked(data: bytes, name: str) -> Iterator[zipfile.ZipFile]:
    """The same of an archive's bytes; `name` is for messages."""
    with _opened(name, lambda: io.BytesIO(data)) as archive:
        yield archive


@contextlib.contextmanager
def _opened(name: str, stream: Callable[[], BinaryIO]) -> Iterator[zipfile.ZipFile]:
    """zipfile raises what its parts do: for a damaged stream its decompressor's error, for a method that it does not
    know NotImplementedError, for an encrypted member RuntimeError, for a missing one KeyError.
    """
    import lzma  # most roots have no archives, and need not wait for these
    import struct
    import zipfile
    import zlib

    wrong = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError)
    try:
        with stream() as opened, zipfile.ZipFile(opened) as archive:
            yield archive
    except (*wrong, KeyError, RuntimeError) as error:  # NotImplementedError is a RuntimeError
        raise SlimmerError(f"{name} cannot be read as a zip archive: {error}") from error

"""Zip archives of a root: jars, eggs, wheels. Whatever is wrong with one is a SlimmerError.

An archive inside another (a Spring Boot jar's libraries, an EAR's WARs) is read whole into memory, as far as what all
of them together may ask of their reader goes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from slimmer.errors import SlimmerError
from slimmer.root.model import Root

if TYPE_CHECKING:
    import zipfile

DEEPEST = 2  # archives inside each other, the outermost not counted: an EAR's WAR's libraries
LARGEST = 96 << 20  # bytes of one inside another


@dataclass(slots=True)
class Allowance:
    """What the archives inside one may ask of their reader, all of them together."""

    bytes: int = 1 << 30
    members: int = 2000


@dataclass(frozen=True, slots=True)
class Inner:
    """An archive inside another: its name there and its bytes, or why it is not read."""

    name: str
    data: bytes
    refused: str = ""


def inside(archive: zipfile.ZipFile, suffixes: tuple[str, ...], allowance: Allowance) -> Iterator[Inner]:
    """The archives that stand in an archive, in its order."""
    for member in archive.infolist():
        name = member.filename
        if not name.lower().endswith(suffixes):
            continue
        if allowance.members <= 0:
            yield Inner(name, b"", "there are too many archives before it")
        elif member.file_size > min(LARGEST, allowance.bytes):
            yield Inner(name, b"", f"{member.file_size:,} bytes are more than is read")
        else:
            allowance.members -= 1
            allowance.bytes -= member.file_size
            try:
                with refusing(name):
                    data = archive.read(member)
            except SlimmerError as error:
                yield Inner(name, b"", error.message)
            else:
                yield Inner(name, data)


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
    import zipfile  # most roots have no archives, and need not wait for it

    with refusing(name), stream() as opened, zipfile.ZipFile(opened) as archive:
        yield archive


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """zipfile raises what its parts do: for a damaged stream its decompressor's error, for a method that it does not
    know NotImplementedError, for an encrypted member RuntimeError, for a missing one KeyError. One error for all.
    """
    import lzma
    import struct
    import zipfile
    import zlib

    wrong = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError)
    try:
        yield
    except (*wrong, KeyError, RuntimeError) as error:  # NotImplementedError is a RuntimeError
        raise SlimmerError(f"{name} cannot be read as a zip archive: {error}") from error

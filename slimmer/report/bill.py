"""What a bill of materials is made from: the packages and files of an output, whatever its format."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import zstandard

from slimmer.errors import SlimmerError
from slimmer.packages.model import Package
from slimmer.packages.purl import purl
from slimmer.report.model import KeptPath, PackageState, Subject
from slimmer.report.output import Output
from slimmer.root.layout import directory_layout
from slimmer.root.limits import DEFAULT_LIMITS
from slimmer.root.model import FileType

NAMESPACE = uuid.UUID("6b1c6a6e-6d1f-5d0c-9d5e-0d3c1b0a7f21")


@dataclass(frozen=True, slots=True)
class Item:
    """A kept package with its purl, and its kept files."""

    package: Package
    purl: str
    files: tuple[KeptPath, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """Everything in order: packages sorted, files in path order. `loose` files belong to no package."""

    subject: Subject
    items: tuple[Item, ...]
    loose: tuple[KeptPath, ...]

    @property
    def name(self) -> str:
        return " ".join(self.subject.command)[:120] or "image"

    @property
    def identity(self) -> uuid.UUID:
        """The same for the same packages and files."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(item.purl.encode() + b"\n")
        for row in (*(row for item in self.items for row in item.files), *self.loose):
            digest.update(row.entry.path.encode("utf-8", "surrogateescape") + b"\0" + row.sha256.encode() + b"\n")
        return uuid.uuid5(NAMESPACE, self.subject.image + digest.hexdigest())


def bill(output: Output, *, files: bool = True) -> Bill:
    """The bill of an output. Raises SlimmerError."""
    report = output.report()
    release = {"ID": report.subject.distribution, "VERSION_ID": report.subject.release}
    owned: dict[tuple[str, str, str, str], list[KeptPath]] = {}
    loose: list[KeptPath] = []
    for row in output.manifest() if files else ():
        if row.entry.type is FileType.FILE:
            (owned.setdefault(_key(row.package), []) if row.package else loose).append(row)
    items = tuple(
        Item(each.package, purl(each.package, release), tuple(owned.get(_key(each.package), ())))
        for each in report.packages
        if each.state is not PackageState.REMOVED
    )
    known = {_key(item.package) for item in items}
    loose += [row for key, rows in owned.items() if key not in known for row in rows]
    loose.sort(key=lambda row: row.entry.path.encode("utf-8", "surrogateescape"))
    return Bill(report.subject, items, tuple(loose))


def _key(package: Package) -> tuple[str, str, str, str]:
    return (package.type.value, package.name, package.version, package.location)


def sha1_of_files(output: Output) -> dict[str, str]:
    """SHA-1 of every regular file of the output's image, by path: SPDX 2.3 asks for it (clause 8.4).

    Read from the layers; raises SlimmerError when the output has no image.
    """
    layout = output.directory / "image"
    plan = directory_layout(str(layout)).plan("", "", None, DEFAULT_LIMITS)
    found: dict[str, str] = {}
    for layer in plan.layers:
        place = layout / "blobs" / layer.blob.digest.replace(":", "/")
        found.update(_layer(place))
    return found


def _layer(place: Path) -> Iterator[tuple[str, str]]:
    known: dict[str, str] = {}
    try:
        with open(place, "rb") as raw, _plain(raw) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = "/" + member.name.removeprefix("./").strip("/")
                if member.islnk():
                    digest = known.get("/" + member.linkname.removeprefix("./").strip("/"), "")
                elif member.isreg():
                    digest = _sha1(archive.extractfile(member))
                else:
                    continue
                known[path] = digest
                yield path, digest
    except (OSError, tarfile.TarError, EOFError, zstandard.ZstdError) as error:
        raise SlimmerError(f"cannot read the layer {place}: {error}", "the image is damaged; build it again") from error


def _plain(stream: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    """The layer unpacked, whichever way it is packed."""
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast(AbstractContextManager[IO[bytes]], gzip.GzipFile(fileobj=stream))
    if magic == b"\x28\xb5\x2f\xfd":
        return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
    return nullcontext(stream)


def _sha1(stream: IO[bytes] | None) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    while stream is not None and (chunk := stream.read(1 << 20)):
        digest.update(chunk)
    return digest.hexdigest()

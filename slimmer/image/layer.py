"""Layers: the one place of determinism. Paths and a root in, the same bytes out, anywhere and at any time.

What stands in the archive: each path once, sorted as bytes, every parent before
its content, no leading "./". Owners as numbers, times in whole seconds, modes
with setuid, setgid and sticky, whitelisted extended attributes, hard links within
the layer (the first name is the file). Sockets are left out, as they mean nothing
once their process is gone. The root directory itself is left out too: its mode and
time belong to whoever made the directory that the root was unpacked into.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from slimmer.errors import SlimmerError
from slimmer.image import pyc, tar
from slimmer.image.compress import BlobWriter, Compression
from slimmer.image.times import MtimeMode, MtimePolicy
from slimmer.root.model import Entry, FileType, Root, sort_key

WHITEOUT = ".wh."  # image-spec, layer.md: such a name would delete another path
KEPT_XATTR = "security.capability"
KEPT_XATTR_PREFIX = "user."
# Marks of overlayfs and of rootless containers: the storage's own, not the file's.
DROPPED_XATTR_PREFIXES = ("user.overlay.", "user.rootlesscontainers")
TYPES = {
    FileType.FILE: tar.TarType.FILE,
    FileType.DIRECTORY: tar.TarType.DIRECTORY,
    FileType.SYMLINK: tar.TarType.SYMLINK,
    FileType.FIFO: tar.TarType.FIFO,
    FileType.CHAR: tar.TarType.CHAR,
    FileType.BLOCK: tar.TarType.BLOCK,
}


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """How a layer is written. `workers` (threads; None is one a core) and `progress` never change its bytes."""

    compression: Compression = Compression.GZIP
    mtime: MtimePolicy = field(default_factory=MtimePolicy.keep)
    workers: int | None = None
    progress: Callable[[int], None] | None = None  # called with the bytes of content just packed


@dataclass(frozen=True, slots=True)
class Layer:
    """A written layer. Digests are "sha256:HEX"; sizes are bytes; `files` is path → hex sha256 of what was packed."""

    media_type: str
    digest: str
    size: int
    diff_id: str
    uncompressed_size: int
    files: Mapping[str, str]


def write_layer(
    root: Root,
    paths: Iterable[str],
    destination: BinaryIO | Path,
    options: LayerOptions | None = None,
    *,
    carried: Collection[str] = (),
) -> Layer:
    """Write the layer that holds these canonical paths and all their parents.

    `destination` is a stream, or the directory of blobs where the layer appears,
    whole, under its digest. `carried` names directories that the highest layer of the
    same image holds too: here their time is 1970, there it is the true one, so what
    other layers add to them does not change this one.

    Raises SlimmerError when a path is not in the root, is given twice or cannot
    stand in a layer, or when reading or writing fails.
    """
    chosen = options or LayerOptions()
    if not isinstance(destination, Path):
        return _write(root, paths, destination.write, chosen, frozenset(carried))
    try:
        destination.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=destination, prefix=".layer-")
    except OSError as error:
        raise _cannot_write(destination, error) from error
    try:
        with open(handle, "wb") as stream:
            layer = _write(root, paths, stream.write, chosen, frozenset(carried))
        os.chmod(name, 0o644)
        os.rename(name, destination / layer.digest.removeprefix("sha256:"))
    except OSError as error:
        os.unlink(name)
        raise _cannot_write(destination, error) from error
    except BaseException:
        os.unlink(name)
        raise
    return layer


def entries(root: Root, paths: Iterable[str]) -> list[Entry]:
    """What a layer of these paths holds, in its order: parents added, sockets and the root directory left out.

    Raises SlimmerError as `write_layer` does.
    """
    found: dict[str, Entry] = {}
    given: set[str] = set()
    for path in paths:
        if path in given:
            raise SlimmerError(f"{path} is given twice for one layer")
        given.add(path)
        _add(root, path, found)
    return sorted(
        (entry for entry in found.values() if entry.type is not FileType.SOCKET),
        key=lambda entry: sort_key(entry.path),
    )


def kept_xattrs(attributes: Mapping[str, bytes]) -> dict[str, bytes]:
    """The extended attributes that belong to the file, in the order of their names as bytes."""
    return {
        name: attributes[name]
        for name in sorted(attributes, key=sort_key)
        if name == KEPT_XATTR or (name.startswith(KEPT_XATTR_PREFIX) and not name.startswith(DROPPED_XATTR_PREFIXES))
    }


def _add(root: Root, path: str, found: dict[str, Entry]) -> None:
    if not path.startswith("/"):
        raise SlimmerError(f"{path!r} is no canonical path")
    end = 0 if path == "/" else len(path)
    wanted: list[str] = []
    while end > 0 and path[:end] not in found:
        wanted.append(path[:end])
        end = path.rindex("/", 0, end)
    for step in reversed(wanted):
        name = step.rpartition("/")[2]
        if name in ("", ".", "..") or "\0" in name:
            raise SlimmerError(f"{path!r} is no canonical path")
        if name.startswith(WHITEOUT):
            raise SlimmerError(
                f"{step} has a name that means 'delete' in a layer (it begins with {WHITEOUT})",
                "leave it out with --exclude",
            )
        entry = root.entry(step)
        if entry is None:
            raise SlimmerError(f"{root.name}: there is nothing at {step}, or a parent of it is a link")
        found[step] = entry


def _write(
    root: Root,
    paths: Iterable[str],
    sink: Callable[[bytes], object],
    options: LayerOptions,
    carried: frozenset[str],
) -> Layer:
    first: dict[tuple[int, int], str] = {}
    files: dict[str, str] = {}
    with BlobWriter(sink, options.compression, options.workers) as blob:
        for entry in entries(root, paths):
            other = ""
            if entry.type is FileType.FILE and entry.links > 1 and entry.identity != (0, 0):
                other = first.setdefault(entry.identity, entry.path)
                if other == entry.path:
                    other = ""
            member = _member(root, entry, other, options.mtime, entry.path in carried)
            header = tar.header(member)
            blob.member(header, member.size)
            blob.write(header)
            if other:
                files[entry.path] = files[other]
            elif entry.type is FileType.FILE:
                files[entry.path] = _content(root, entry, blob, options)
        blob.write(tar.END)
        blob.close()
        return Layer(
            options.compression.media_type, blob.digest, blob.size, blob.diff_id, blob.uncompressed_size, files
        )


def _member(root: Root, entry: Entry, other: str, policy: MtimePolicy, carried: bool) -> tar.Member:
    name = sort_key(entry.path)[1:]
    attributes = kept_xattrs(root.xattrs(entry.path))
    device = entry.type in (FileType.CHAR, FileType.BLOCK)
    return tar.Member(
        name=name + b"/" if entry.type is FileType.DIRECTORY else name,
        type=tar.TarType.LINK if other else TYPES[entry.type],
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        mtime=policy.of(0) if carried else policy.of_ns(entry.mtime_ns),
        size=entry.size if entry.type is FileType.FILE and not other else 0,
        target=sort_key(other)[1:] if other else sort_key(entry.target),
        major=os.major(entry.device) if device else 0,
        minor=os.minor(entry.device) if device else 0,
        # On later names of a hard link too: a reader that sets the owner again thereby
        # clears the capability, and must find it again in that very header.
        xattrs=tuple((sort_key(key), value) for key, value in attributes.items()),
    )


def content(root: Root, entry: Entry, policy: MtimePolicy, room: Callable[[], int]) -> Iterator[bytes]:
    """A file's content as it is packed, in pieces of about `room()` bytes at most; in all `entry.size` bytes.

    Raises SlimmerError when it cannot be read or has another size by now.
    """
    left = entry.size
    with root.open(entry.path) as stream:
        if pyc.is_pyc(entry.path) and policy.mode is not MtimeMode.KEEP and left:
            start = _read(root, entry, stream, min(left, pyc.LONGEST_HEADER))
            yield pyc.rewrite(root, entry.path, start, policy)
            left -= len(start)
        while left:
            data = _read(root, entry, stream, min(left, room()))
            if not data:
                raise _changed(root, entry)
            yield data
            left -= len(data)
        if _read(root, entry, stream, 1):
            raise _changed(root, entry)


def _content(root: Root, entry: Entry, blob: BlobWriter, options: LayerOptions) -> str:
    """Pack a file's content; hex sha256 of what was packed."""
    digest = hashlib.sha256()
    for data in content(root, entry, options.mtime, lambda: blob.room):
        digest.update(data)
        blob.write(data)
    blob.write(tar.padding(entry.size))
    if options.progress is not None:
        options.progress(entry.size)
    return digest.hexdigest()


def _read(root: Root, entry: Entry, stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except OSError as error:
        raise SlimmerError(f"{root.name}: cannot read {entry.path}: {error.strerror}") from error


def _changed(root: Root, entry: Entry) -> SlimmerError:
    return SlimmerError(
        f"{root.name}: {entry.path} changed while it was being packed: it is no longer {entry.size} bytes",
        "stop what writes to it, or leave it out with --exclude",
    )


def _cannot_write(place: Path, error: OSError) -> SlimmerError:
    return SlimmerError(f"cannot write into {place}: {error.strerror}", "free some space there, or choose another -o")

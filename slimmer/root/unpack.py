"""One layer's archive → numbered content files and a list of records.

No name of the archive ever becomes a name on disk here: content goes to
`data/0`, `data/1`, … so there is nothing to break out of. Names are checked and
kept in `entries`; the tree is made later, from a tree in memory (`layers`,
`plant`). What only the order of layers decides is left to `layers`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slimmer.root.limits import Budget, Limits, too_much
from slimmer.root.records import Kind, Record, pack, pack_xattrs
from slimmer.root.tarread import ChunkFeed, TarEntry, TarReader, TarType

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."  # aufs' own book-keeping: no layer means anything by it
_OVERLAY = ("trusted.overlay.", "user.overlay.")  # would change what the overlay of a run shows
_NAME_MAX = 255  # linux/limits.h, as the next
_PATH_MAX = 4095
_ON_DISK = ("user.", "security.capability")


@dataclass(frozen=True, slots=True)
class LayerSize:
    """What a layer asks for, kept beside it so that limits hold for a cached layer too."""

    entries: int
    bytes: int
    whiteouts: int


@dataclass(frozen=True, slots=True)
class OwnershipMode:
    """How content lies on disk: `owned` with true owners and modes (root), otherwise readable by this user."""

    owned: bool

    def mode(self, mode: int, kind: Kind) -> int:
        if self.owned:
            return mode
        return mode & 0o777 | (0o700 if kind is Kind.DIRECTORY else 0o400)


def unpack_layer(
    chunks: Iterator[bytes], where: str, directory: Path, limits: Limits, budget: Budget, manner: OwnershipMode
) -> LayerSize:
    """Reads a whole tar stream to its end into `directory`, which must be new. Raises SlimmerError."""
    data = directory / "data"
    data.mkdir()
    feed = ChunkFeed(chunks)
    reader = TarReader(feed, where, limits)
    entries = total = numbers = whiteouts = 0
    home = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(directory / "entries", "xb") as out:
            for entry in reader:
                record = record_of(entry, reader, limits, numbers)
                if record is None:
                    continue
                budget.spend(where, entry.size, 1)
                entries += 1
                total += entry.size
                if entry.type is TarType.FILE and record.kind == Kind.FILE:
                    _write(entry, reader, home, str(numbers), manner)
                    numbers += 1
                whiteouts += record.kind >= Kind.WHITEOUT
                out.write(pack(record))
    finally:
        os.close(home)
    # What follows the end of the archive still counts for the digest, and may be a bomb of its own.
    while view := feed.some(1 << 20):
        if feed.offset > 2 * limits.total_bytes:
            raise too_much(where, "does not end", "total_bytes")
        view.release()
    return LayerSize(entries, total, whiteouts)


def record_of(entry: TarEntry, reader: TarReader, limits: Limits, number: int) -> Record | None:
    """The entry as a record, its names checked; None for what carries nothing. Raises ReadError."""
    parts = _parts(entry, entry.name, reader, limits)
    kind = Kind(entry.type)
    target = b""
    if kind is Kind.SYMLINK:
        target = _symlink(entry, parts, reader, limits)
    elif kind is Kind.HARDLINK:
        linked = _parts(entry, entry.target, reader, limits)
        if linked == parts:
            raise reader.fail(f"{entry.name!r} is a hard link to itself", entry.offset)
        marked = any(part.startswith(WHITEOUT) for part in linked)
        if marked and not any(part.startswith(WHITEOUT) for part in parts):
            raise reader.fail(f"{entry.name!r} is a hard link to a whiteout", entry.offset)
        target = "/".join(linked).encode("utf-8", "surrogateescape")
    if not parts and kind is not Kind.DIRECTORY:
        raise reader.fail(f"the root directory is given as a {entry.type.name.lower()}", entry.offset)
    if any(part.startswith(WHITEOUT) for part in parts):
        found = _whiteout(entry, parts, reader)
        if found is None:
            return None
        kind, parts, target = found[0], found[1], b""
    elif kind is Kind.CHAR and entry.device == 0:  # overlayfs' own whiteout, kernel: filesystems/overlayfs.rst
        kind = Kind.WHITEOUT
    xattrs = {name: value for name, value in entry.xattrs.items() if not name.startswith(_OVERLAY)}
    if any(not 0 < len(name.encode("utf-8", "surrogateescape")) <= _NAME_MAX or "\0" in name for name in xattrs):
        raise reader.fail(f"{entry.name!r} has an extended attribute with an impossible name", entry.offset)
    return Record(
        kind=kind,
        mode=0o777 if kind is Kind.SYMLINK else entry.mode,  # as lstat has it; headers say anything
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        device=entry.device,
        number=number if kind is Kind.FILE else 0,
        name="/".join(parts).encode("utf-8", "surrogateescape"),
        target=target,
        xattrs=pack_xattrs(xattrs),
    )


def _parts(entry: TarEntry, name: str, reader: TarReader, limits: Limits) -> list[str]:
    """The components of a name inside the root."""
    length = len(name.encode("utf-8", "surrogateescape"))
    if length > min(limits.path_bytes, _PATH_MAX):
        raise too_much(f"{name[:80]!r}…", f"a name of {length:,} bytes", "path_bytes")
    # A bare "/" is how kaniko spells the root; anything else absolute is a name outside.
    if name.startswith("/") and name.strip("/") and not limits.absolute:
        raise reader.fail(
            f"{name!r} is an absolute name; if they are meant to be below the root, use --limit absolute=yes",
            entry.offset,
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise reader.fail(f"{name!r} leaves the root by '..'", entry.offset)
    if not name:
        raise reader.fail("an entry without a name", entry.offset)
    if len(parts) > limits.depth:
        raise too_much(f"{name[:80]!r}…", f"{len(parts)} directories deep", "depth")
    for part in parts:
        if len(part) > 63 and len(part.encode("utf-8", "surrogateescape")) > _NAME_MAX:
            raise reader.fail(f"{part[:80]!r}… is longer than a file name can be ({_NAME_MAX} bytes)", entry.offset)
    return parts


def _symlink(entry: TarEntry, parts: list[str], reader: TarReader, limits: Limits) -> bytes:
    """The target as written. One that climbs above the root is refused, as Docker does (moby, pkg/archive)."""
    target = entry.target
    if not target:
        raise reader.fail(f"{entry.name!r} is a symbolic link to nothing", entry.offset)
    raw = target.encode("utf-8", "surrogateescape")
    if len(raw) > min(limits.path_bytes, _PATH_MAX):
        raise too_much(f"{entry.name!r}", f"a link target of {len(raw):,} bytes", "path_bytes")
    if not target.startswith("/"):
        depth = len(parts) - 1
        for part in target.split("/"):
            depth += -1 if part == ".." else part not in ("", ".")
            if depth < 0:
                raise reader.fail(f"{entry.name!r} is a link that leaves the root: {target!r}", entry.offset)
    return raw


def _whiteout(entry: TarEntry, parts: list[str], reader: TarReader) -> tuple[Kind, list[str]] | None:
    """Image-spec, layer.md, "Whiteouts": an empty file `.wh.NAME`, or `.wh..wh..opq` in an opaque directory."""
    last = parts[-1]
    if parts[0].startswith(_AUFS) and last != OPAQUE:  # /.wh..wh.plnk and its like, with all below
        return None
    if any(part.startswith(WHITEOUT) for part in parts[:-1]):
        raise reader.fail(f"{entry.name!r} is below a whiteout", entry.offset)
    if entry.type not in (TarType.FILE, TarType.HARDLINK) or entry.size:
        raise reader.fail(f"the whiteout {entry.name!r} is not an empty file", entry.offset)
    if last == OPAQUE:
        return Kind.OPAQUE, parts[:-1]
    if last.startswith(_AUFS):
        return None
    gone = last[len(WHITEOUT) :]
    if gone in ("", ".", ".."):
        raise reader.fail(f"{entry.name!r} is a whiteout of nothing", entry.offset)
    return Kind.WHITEOUT, [*parts[:-1], gone]


def _write(entry: TarEntry, reader: TarReader, home: int, name: str, manner: OwnershipMode) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=home)
    try:
        at = 0
        for offset, view in reader.data():
            if offset != at:
                os.lseek(descriptor, offset, os.SEEK_SET)
            at = offset + len(view)
            while view:
                view = view[os.write(descriptor, view) :]
        if at != entry.size:
            os.ftruncate(descriptor, entry.size)
        dress(descriptor, entry, entry.xattrs, manner)
    finally:
        os.close(descriptor)


def dress(descriptor: int, entry: TarEntry | Record, xattrs: Mapping[str, bytes], manner: OwnershipMode) -> None:
    """Owner, mode, attributes and time of an open content file, as far as this user may."""
    if manner.owned:
        give(descriptor, entry.uid, entry.gid)
    os.fchmod(descriptor, manner.mode(entry.mode, Kind.FILE))
    for name, value in xattrs.items():
        # Kept in the index whatever happens here; what the disk cannot carry only makes the run less faithful.
        if name.startswith(_ON_DISK) and not name.startswith(_OVERLAY):
            with contextlib.suppress(OSError):
                os.setxattr(descriptor, name, value)
    set_time(descriptor, entry.mtime_ns)


def give(place: int | bytes, uid: int, gid: int, *, dir_fd: int | None = None) -> None:
    """The owner of a file, directory or link. One that this user namespace does not know stays in the index only."""
    try:
        if isinstance(place, int):
            os.fchown(place, uid, gid)
        else:
            os.chown(place, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def set_time(place: int | str, mtime_ns: int, *, dir_fd: int | None = None) -> None:
    """The time of a file, directory or link. One that the filesystem cannot hold stays in the index only."""
    try:
        if isinstance(place, int):
            os.utime(place, ns=(mtime_ns, mtime_ns))
        else:
            os.utime(place, ns=(mtime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=False)
    except (OSError, OverflowError):
        return

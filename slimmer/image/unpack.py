"""The image as a plain tree, for `COPY --from`: what a runtime would unpack, without the detour over a layer."""

from __future__ import annotations

import contextlib
import enum
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from slimmer.errors import SlimmerError
from slimmer.image.layer import content, entries, kept_xattrs
from slimmer.image.times import MtimePolicy
from slimmer.root.model import Entry, FileType, Root

CHUNK = 64 * 1024
ZEROS = bytes(CHUNK)
SET_ID = 0o6000


class Feature(enum.StrEnum):
    """What of a path may need privilege."""

    OWNER = "owner"
    SET_ID = "set-id"
    DEVICE = "device"
    XATTR = "xattr"


@dataclass(frozen=True, slots=True)
class Unset:
    """Something that this user or filesystem could not give a path; `text` is for a person."""

    path: str
    feature: Feature
    text: str


_COUNTED = {
    Feature.OWNER: ("owner", "owners"),
    Feature.SET_ID: ("set-id bit", "set-id bits"),
    Feature.DEVICE: ("device", "devices"),
    Feature.XATTR: ("extended attribute", "extended attributes"),
}


def unset_words(unset: Sequence[Unset]) -> str:
    """What a tree lacks, why that matters, and what keeps it: one sentence or two. "" for nothing."""
    if not unset:
        return ""
    counts = Counter(each.feature for each in unset)
    kinds = ", ".join(f"{counts[each]:,} {_COUNTED[each][counts[each] != 1]}" for each in Feature if counts[each])
    why = "; every file would belong to who wrote the tree, or to who copies it" if counts[Feature.OWNER] else ""
    return (
        f"this user could not set {kinds} in the tree (e.g. {unset[0].path}: {unset[0].text}){why}."
        " --archive FILE and image/ have them all; as root of the build step, --rootfs has them too"
    )


def write_rootfs(
    root: Root, paths: Iterable[str], directory: Path, *, mtime: MtimePolicy | None = None
) -> tuple[Unset, ...]:
    """Write canonical paths and their parents as a tree into `directory`, which must be new or empty.

    A new directory appears whole or not at all. Modes, links, hard links, times (whole seconds,
    as in a layer) and holes are kept; owners, devices and attributes as far as this
    user may, and what could not be set is returned. A set-id bit without its owner
    is not set, as it would speak for the wrong user. Raises SlimmerError.
    """
    wanted = entries(root, paths)
    policy = mtime or MtimePolicy.keep()
    directory = directory.absolute()
    try:
        if directory.is_symlink() or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
            raise SlimmerError(f"{directory} exists and is not empty", "name a directory that does not exist yet")
        if directory.exists():  # perhaps a mount point, which no other directory can replace
            return _Tree(root, directory, policy).fill(wanted)
        directory.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{directory.name[:100]}.", dir=directory.parent))
        try:
            unset = _Tree(root, part, policy).fill(wanted)
            part.chmod(0o755)
            part.rename(directory)
        except BaseException:
            _remove(part)
            raise
        return unset
    except OSError as error:
        raise SlimmerError(f"cannot write the tree in {directory}: {error.strerror}: {error.filename}") from error


def _remove(top: Path) -> None:
    for place, _, _ in os.walk(top):
        with contextlib.suppress(OSError):
            os.chmod(place, 0o700)  # an ordinary user's own directory may be closed to him by its packed mode
    shutil.rmtree(top, ignore_errors=True)


class _Tree:
    def __init__(self, root: Root, top: Path, policy: MtimePolicy) -> None:
        self._root = root
        self._top = os.fspath(top)
        self._policy = policy
        self._unset: list[Unset] = []

    def fill(self, wanted: Iterable[Entry]) -> tuple[Unset, ...]:
        """Each entry after its parent; what directories are like comes last, as their content changes it."""
        first: dict[tuple[int, int], str] = {}
        directories: list[Entry] = []
        for entry in wanted:
            place = self._top + entry.path
            if entry.type is FileType.DIRECTORY:
                os.mkdir(place, 0o700)
                directories.append(entry)
                continue
            if entry.type is FileType.FILE and entry.links > 1 and entry.identity != (0, 0):
                other = first.setdefault(entry.identity, place)
                if other != place:
                    os.link(other, place, follow_symlinks=False)
                    continue
            if self._make(entry, place):
                self._describe(entry, place)
        for entry in reversed(directories):
            self._describe(entry, self._top + entry.path)
        return tuple(self._unset)

    def _make(self, entry: Entry, place: str) -> bool:
        kind = entry.type
        if kind is FileType.FILE:
            self._copy(entry, place)
        elif kind is FileType.SYMLINK:
            os.symlink(entry.target, place)
        elif kind is FileType.FIFO:
            os.mkfifo(place, 0o600)
        elif kind is FileType.CHAR or kind is FileType.BLOCK:
            try:
                os.mknod(place, (0o020600 if kind is FileType.CHAR else 0o060600), entry.device)
            except PermissionError as error:
                self._unset.append(Unset(entry.path, Feature.DEVICE, f"device not made: {error.strerror}"))
                return False
        elif kind is FileType.SOCKET or kind is FileType.DIRECTORY:
            raise AssertionError(kind)  # `entries` leaves sockets out, `fill` makes directories
        else:
            assert_never(kind)
        return True

    def _copy(self, entry: Entry, place: str) -> None:
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as target:
            for data in content(self._root, entry, self._policy, lambda: CHUNK):
                if data == ZEROS[: len(data)]:
                    target.seek(len(data), os.SEEK_CUR)
                else:
                    target.write(data)
            target.truncate(entry.size)

    def _describe(self, entry: Entry, place: str) -> None:
        """Owner first: setting it clears set-id bits and capabilities. Mode after attributes: it may forbid them."""
        mode = entry.mode
        status = os.lstat(place)
        if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
            try:
                os.chown(place, entry.uid, entry.gid, follow_symlinks=False)
            except OSError as error:  # EPERM, or EINVAL for an id that this user namespace does not know
                self._unset.append(
                    Unset(entry.path, Feature.OWNER, f"owner {entry.uid}:{entry.gid} not set: {error.strerror}")
                )
                if mode & SET_ID and entry.type is FileType.FILE:
                    self._unset.append(Unset(entry.path, Feature.SET_ID, "set-id bits left out, as the owner is"))
                    mode &= ~SET_ID
        for name, value in kept_xattrs(self._root.xattrs(entry.path)).items():
            try:
                os.setxattr(place, name, value, follow_symlinks=False)
            except OSError as error:
                self._unset.append(Unset(entry.path, Feature.XATTR, f"{name} not set: {error.strerror}"))
        if entry.type is not FileType.SYMLINK:
            os.chmod(place, mode)
        stamp = self._policy.of_ns(entry.mtime_ns) * 1_000_000_000
        os.utime(place, ns=(stamp, stamp), follow_symlinks=False)

"""What tells whether anything of a root has changed since it was last looked at: a digest, without any content read.

For a directory it is git's rule: what lstat(2) says of every file, the time of the last change of its inode among it.
A file that was changed in the same moment as it was read would look unchanged for ever, so a root that was changed
just now has no state. An unpacked image is what its identifier says.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass

from slimmer.root.directory import DirectoryRoot
from slimmer.root.image import ImageRoot
from slimmer.root.model import Root

SETTLED = 1.0  # seconds; no filesystem that keeps owners and modes counts coarser
MOST = 500_000  # entries; the walk of more takes longer than many a whole first run
TOLD = 50_000  # entries; of more than these no table is made


@dataclass(frozen=True, slots=True)
class State:
    """How a root was: a digest, b"" where nothing sure can be said, and where it is small enough, of what it is one.

    `table` holds for each path, in the order of the walk: path, what lstat said, a link's target (of the root: where
    it is), with NULs between.
    """

    digest: bytes = b""
    table: bytes = b""


def changed(before: bytes, now: bytes) -> list[str] | None:
    """Paths of two tables whose files or directories are other ones now, or were written since.

    None where more than that is different: paths that came or went, other types, modes, owners, names of one file,
    targets of links, devices.
    """
    old, new = before.split(b"\0"), now.split(b"\0")
    if not before or old[::3] != new[::3] or old[2::3] != new[2::3]:
        return None
    found = []
    for number, (former, present) in enumerate(zip(old[1::3], new[1::3], strict=True)):
        if former != present:
            was, is_ = former.split(b" "), present.split(b" ")
            mode, names = int(is_[0]), int(is_[5])
            if was[:4] != is_[:4] or not (
                stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and was[5] == is_[5] and names == 1)
            ):
                return None
            found.append(os.fsdecode(new[3 * number]))
    return found


def state(root: Root) -> bytes:
    """A digest that is another one when anything of the root is; b"" where nothing sure can be said, or not soon."""
    return seen(root).digest


def seen(root: Root) -> State:
    """How a root is just now."""
    if isinstance(root, ImageRoot):
        return State(hashlib.blake2b(f"image {root.image_id}".encode(), digest_size=24).digest())
    if type(root) is not DirectoryRoot:
        return State()  # a live root changes while it is read
    try:
        return _walked(root.location("/"))
    except OSError:
        return State()


def _walked(top: str) -> State:
    """Raises OSError."""
    latest = (time.time() - SETTLED) * 1e9
    rows = [b"/", _row(os.lstat(top)), os.fsencode(top)]
    digest = hashlib.blake2b(b"\0".join(rows), digest_size=24)
    cut = len(top.rstrip("/"))
    count = 0
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            descriptor = _opened(path)
        except PermissionError:  # unreadable, then and now
            continue
        try:
            inside = os.fsencode(path[cut:].rstrip("/")) + b"/"
            for name in sorted(os.listdir(descriptor)):
                found = os.lstat(name, dir_fd=descriptor)
                count += 1
                if count > MOST or found.st_ctime_ns > latest:  # whoever sets another time changes this one
                    return State()
                target = b""
                if stat.S_ISLNK(found.st_mode):
                    target = os.fsencode(os.readlink(name, dir_fd=descriptor))
                elif stat.S_ISDIR(found.st_mode):
                    waiting.append(f"{path.rstrip('/')}/{name}")
                row = (inside + os.fsencode(name), _row(found), target)
                digest.update(b"\0" + b"\0".join(row))
                if count <= TOLD:
                    rows += row
                else:
                    rows.clear()
        finally:
            os.close(descriptor)
    return State(digest.digest(), b"\0".join(rows))


def _opened(path: str) -> int:
    """A directory, without a trace in its access time where this user may. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:  # not its owner
        return os.open(path, flags)


def _row(found: os.stat_result) -> bytes:
    """As text: a time may be before 1970, a device's number larger than any other."""
    kind = f"{found.st_mode} {found.st_uid} {found.st_gid} {found.st_dev} {found.st_ino} {found.st_nlink}"
    return f"{kind} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}".encode()

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

from slimmer.root.directory import DirectoryRoot
from slimmer.root.image import ImageRoot
from slimmer.root.model import Root

SETTLED = 1.0  # seconds; no filesystem that keeps owners and modes counts coarser
MOST = 200_000  # entries; who has more waits for the walk longer than for what it would spare


def state(root: Root) -> bytes:
    """A digest that is another one when anything of the root is; b"" where nothing sure can be said, or not soon."""
    if isinstance(root, ImageRoot):
        return hashlib.blake2b(f"image {root.image_id}".encode(), digest_size=24).digest()
    if type(root) is not DirectoryRoot:
        return b""  # a live root changes while it is read
    try:
        return _walked(root.location("/"))
    except OSError:
        return b""


def _walked(top: str) -> bytes:
    """Raises OSError."""
    digest = hashlib.blake2b(os.fsencode(top), digest_size=24)
    latest = (time.time() - SETTLED) * 1e9
    digest.update(_row(os.lstat(top)))
    count = 0
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            descriptor = _opened(path)
        except PermissionError:  # unreadable, then and now
            continue
        try:
            digest.update(b"\0\0" + os.fsencode(path))
            for name in sorted(os.listdir(descriptor)):
                found = os.lstat(name, dir_fd=descriptor)
                count += 1
                if count > MOST or found.st_ctime_ns > latest:  # whoever sets another time changes this one
                    return b""
                digest.update(os.fsencode(name) + b"\0" + _row(found))
                if stat.S_ISLNK(found.st_mode):
                    digest.update(os.fsencode(os.readlink(name, dir_fd=descriptor)))
                elif stat.S_ISDIR(found.st_mode):
                    waiting.append(f"{path.rstrip('/')}/{name}")
        finally:
            os.close(descriptor)
    return digest.digest()


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
    return f"{kind} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\0".encode()

"""The layer of an overlay that takes the changes: what a run created, changed or removed is what is in it."""

from __future__ import annotations

import contextlib
import os
import stat

_STATE = ("/var", "/run", "/home", "/root", "/srv")
_BULK = ("/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/cache/debconf")
_SMALL, _ADOPTED = 256 << 10, 32 << 20  # bytes of one file, and of all
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque", "trusted.overlay.redirect", "user.overlay.redirect")


def like(model: str, directory: str) -> None:
    """Give the upper layer's top the owner, mode, xattrs and times of the root's: the overlay shows them at "/"."""
    status = os.stat(model)
    with contextlib.suppress(OSError):
        os.chown(directory, status.st_uid, status.st_gid)
    os.chmod(directory, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError):
        for name in os.listxattr(model):
            if ".overlay." not in name:
                with contextlib.suppress(OSError):
                    os.setxattr(directory, name, os.getxattr(model, name))
    os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))


def adopt(above: str, below: str) -> None:
    """Before the overlay is mounted: make a root's directories belong to whoever mounts.

    For a root whose owner is no user of this namespace: an overlay could not copy them up
    when something is to be made in them (EOVERFLOW). With them go files that programs keep writing
    to: small ones below `_STATE`, and empty ones, which can be copied without being read.
    """
    left = _ADOPTED
    directories = []
    for directory, names, files in os.walk(below):
        inside = directory[len(below) :]
        for name in names:
            if not os.path.islink(f"{directory}/{name}"):
                with contextlib.suppress(OSError):
                    os.mkdir(f"{above}{inside}/{name}")
                    directories.append(f"{inside}/{name}")
        if inside.startswith(_STATE) and not inside.startswith(_BULK):
            for name in files:
                with contextlib.suppress(OSError):
                    left -= _adopt_file(f"{directory}/{name}", f"{above}{inside}/{name}", left)
    for inside in reversed(directories):
        with contextlib.suppress(OSError):
            if not os.access(below + inside, os.R_OK | os.X_OK):
                os.setxattr(above + inside, "user.overlay.opaque", b"y")  # as if empty: it cannot be looked into
            like(below + inside, above + inside)


def _adopt_file(origin: str, place: str, left: int) -> int:
    """Copy a small regular file; gives its size, 0 when it was left alone. Raises OSError."""
    status = os.lstat(origin)
    if not stat.S_ISREG(status.st_mode) or status.st_size > min(left, _SMALL):
        return 0
    content = b""
    if status.st_size:
        with open(origin, "rb") as stream:
            content = stream.read()
    with open(place, "xb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode))
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    return status.st_size


def make_mount_point(above: str, below: str, path: str, *, directory: bool) -> None:
    """Before the overlay is mounted: make a mount point where the root has none and its owner is not of this namespace.

    There the overlay would refuse to make it. The directories above become copies that
    belong to whoever mounts. Paths that lead through symbolic links are left alone.
    """
    *parents, last = [part for part in path.split("/") if part]
    here = ""
    for part in parents:
        here = f"{here}/{part}"
        if os.path.islink(below + here):
            return
    if os.path.lexists(f"{below}{here}/{last}") or _makeable(below, parents):
        return
    here = ""
    for part in parents:
        here = f"{here}/{part}"
        if not os.path.isdir(above + here):
            os.mkdir(above + here)
            if os.path.isdir(below + here):
                like(below + here, above + here)
    place = f"{above}{here}/{last}"
    if directory:
        os.makedirs(place, exist_ok=True)
    elif not os.path.lexists(place):
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _makeable(below: str, parents: list[str]) -> bool:
    """Whether this process may make names in the deepest directory that is there."""
    here = below
    for part in parents:
        if not os.path.isdir(f"{here}/{part}"):
            break
        here = f"{here}/{part}"
    return here == below or os.access(here, os.W_OK)


class Overlay:
    """Holds descriptors of both layers, so that it works after the host's paths are gone."""

    def __init__(self, above: str, below: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._above = os.open(above, flags)
        self._below = os.open(below, flags)
        self._furniture: dict[str, tuple[int, ...]] = {}

    def settle(self) -> None:
        """What is there now is not the run's doing: mount points that the root did not have, adopted files."""
        self._furniture = self._changes()

    def changes(self) -> tuple[str, ...]:
        """Canonical paths that were created, changed or removed, sorted as bytes.

        A directory is among them when it is new, replaced another, or its owner or mode
        changed; not merely because something in it did.
        """
        now = self._changes()
        return tuple(sorted((each for each, sign in now.items() if self._furniture.get(each) != sign), key=os.fsencode))

    def _changes(self) -> dict[str, tuple[int, ...]]:
        """Each path with what would tell that it changed again."""
        found: dict[str, tuple[int, ...]] = {}
        for directory, _, files, descriptor in os.fwalk(".", dir_fd=self._above, follow_symlinks=False):
            inside = directory[1:]  # "" or "/a/b"
            for name in files:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                found[f"{inside}/{name}"] = (status.st_ino, status.st_mode, status.st_uid, status.st_ctime_ns)
            status = os.fstat(descriptor)
            if inside and self._directory_changed(inside[1:], status, descriptor):
                found[inside] = (status.st_ino, status.st_mode, status.st_uid)
        return found

    def _directory_changed(self, path: str, now: os.stat_result, descriptor: int) -> bool:
        try:
            before = os.stat(path, dir_fd=self._below, follow_symlinks=False)
        except OSError:
            return True
        if not stat.S_ISDIR(before.st_mode):
            return True
        if (now.st_mode, now.st_uid, now.st_gid) != (before.st_mode, before.st_uid, before.st_gid):
            return True
        for name in _OPAQUE:
            with contextlib.suppress(OSError):
                if os.getxattr(descriptor, name):
                    return True
        return False

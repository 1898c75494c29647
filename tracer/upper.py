"""The layer of an overlay that takes the changes: what a run created, changed or removed is what is in it."""

from __future__ import annotations

import contextlib
import os
import stat

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
    """Before the overlay is mounted: copy every directory of the root, so that they belong to whoever mounts.

    For a root whose owner is no user of this namespace: an overlay could not copy them up when
    something is to be made in them (EOVERFLOW). What is in them still belongs to others.
    """
    for directory, names, _ in os.walk(below):
        inside = directory[len(below) :]
        for name in names:
            origin = f"{directory}/{name}"
            if not os.path.islink(origin):
                with contextlib.suppress(OSError):
                    os.mkdir(f"{above}{inside}/{name}")
    for directory, _, _ in os.walk(above, topdown=False):
        if directory != above:
            with contextlib.suppress(OSError):
                like(below + directory[len(above) :], directory)


def plant(above: str, below: str, path: str, *, directory: bool) -> None:
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


class Layer:
    """Holds descriptors of both layers, so that it works after the host's paths are gone."""

    def __init__(self, above: str, below: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._above = os.open(above, flags)
        self._below = os.open(below, flags)
        self._furniture: frozenset[str] = frozenset()

    def settle(self) -> None:
        """What is there now was not the run's doing: mount points that the root did not have."""
        self._furniture = frozenset(self.changes())

    def changes(self) -> tuple[str, ...]:
        """Canonical paths that were created, changed or removed, sorted as bytes.

        A directory is among them when it is new, replaced another, or its owner or mode
        changed; not merely because something in it did.
        """
        found = []
        for directory, _, files, descriptor in os.fwalk(".", dir_fd=self._above, follow_symlinks=False):
            inside = directory[1:]  # "" or "/a/b"
            found += [f"{inside}/{name}" for name in files]
            if inside and self._directory_changed(inside[1:], os.fstat(descriptor), descriptor):
                found.append(inside)
        return tuple(sorted((each for each in found if each not in self._furniture), key=os.fsencode))

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

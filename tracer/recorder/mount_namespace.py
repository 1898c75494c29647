"""What a path means in a mount namespace of a process's own, as a path of the recorded root.

A program that unshares its mounts (bubblewrap, systemd, a container runtime) may bind /srv/app at /app: what
it calls /app/x is /srv/app/x. Both tables of mounts (/proc/PID/mountinfo, proc(5)) name the filesystem and the
directory in it that lies at each mount point, so a path leads through its own table to a place in a filesystem,
and through that of the recorded root back to a path.
"""

from __future__ import annotations

import os

from tracer.kernel import mountinfo
from tracer.kernel.mountinfo import Mount
from tracer.recorder import paths

_KERNELS = {b"proc", b"sysfs", b"devtmpfs", b"devpts", b"cgroup", b"cgroup2", b"mqueue"}


def _below(path: bytes, top: bytes) -> bytes | None:
    """The rest of a path below another (b"" or "/…"), None when it is not below it."""
    if top == b"/":
        return b"" if path == b"/" else path
    if path == top:
        return b""
    return path[len(top) :] if path.startswith(top + b"/") else None


class Namespace:
    """A foreign one beside the one of the recorded root, as a process of that root sees it."""

    def __init__(self, foreign: list[Mount], home: list[Mount]) -> None:
        self._foreign = foreign
        self._home = home

    def translate(self, path: bytes) -> bytes | None:
        """A path as the process means it, as one of the recorded root's namespace; None when it is not there."""
        mount, rest = self._longest(path)
        if mount is None:
            return None
        if mount.kind in _KERNELS:
            return path
        inside = (b"" if mount.directory == b"/" else mount.directory) + rest or b"/"
        found: tuple[int, bytes] | None = None
        for each in self._home:
            below = _below(inside, each.directory) if each.device == mount.device else None
            if below is not None and (found is None or len(each.directory) > found[0]):
                found = len(each.directory), (b"" if each.point == b"/" else each.point) + below or b"/"
        return found[1] if found else None

    def _longest(self, path: bytes) -> tuple[Mount | None, bytes]:
        best: Mount | None = None
        rest = b""
        for each in self._foreign:
            below = _below(path, each.point)
            if below is not None and (best is None or len(each.point) >= len(best.point)):
                best, rest = each, below
        return best, rest


class ForeignMountScope(dict[bytes, int]):
    """A scope of such a process: what it names is noted, at once, where that lies in the recorded root."""

    def __init__(self, namespace: Namespace, base: bytes, into: dict[bytes, int]) -> None:
        super().__init__()
        self._namespace = namespace
        self._base = base
        self._into = into

    def __setitem__(self, raw: bytes, mask: int) -> None:
        super().__setitem__(raw, mask)
        place = self.place(raw)
        if place is not None:
            self._into[place] = self._into.get(place, 0) | mask

    def own(self, raw: bytes) -> bytes:
        """The path as the process means it."""
        return paths.join(b"", self._base, raw)

    def place(self, raw: bytes) -> bytes | None:
        """Where that lies in the recorded root, None when it does not."""
        return self._namespace.translate(self.own(raw))


def of(pid: int, home: int) -> Namespace | None:
    """The namespace of a process when it is not that of another (0: ourselves); None when it is, or cannot be seen."""
    other = f"/proc/{home or 'self'}"
    try:
        if os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"{other}/ns/mnt"):
            return None
        return Namespace(mountinfo.read(pid), mountinfo.read(home or "self"))
    except OSError:
        return None

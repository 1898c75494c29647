"""A copy of a root to run commands in, where an overlay cannot be had; and what they changed in it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from tracer.errors import TracerError
from tracer.runner.before_image import copy_content

LIMIT = 2 << 30  # bytes: more is no slim image


def duplicate(source: str, target: str) -> None:
    """Copy a tree with owners, modes, times, xattrs, hard links and holes. Raises TracerError.

    `target` must not exist. Sockets and devices are left out: the first are dead, the second made anew.
    """
    linked: dict[tuple[int, int], str] = {}
    total = 0
    directories: list[tuple[str, str, os.stat_result]] = []
    try:
        for path, status in _walk(source):
            place = target + path
            origin = source + path
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(place, 0o700)
                directories.append((origin, place, status))
                continue
            first = linked.setdefault((status.st_dev, status.st_ino), place) if status.st_nlink > 1 else place
            if first != place:
                os.link(first, place, follow_symlinks=False)
                continue
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(origin), place)
            elif stat.S_ISREG(status.st_mode):
                total += min(status.st_size, status.st_blocks * 512)
                if total > LIMIT:
                    raise TracerError(
                        f"{source} is too large to be copied for a run in a chroot (over {LIMIT >> 30} GiB)",
                        "namespaces would make a copy needless; this kernel or container refuses them",
                    )
                copy_content(origin, place, status.st_size)
            elif stat.S_ISFIFO(status.st_mode):
                os.mkfifo(place)
            else:
                continue
            _like(origin, place, status)
        for origin, place, status in reversed(directories):
            _like(origin, place, status)
    except OSError as error:
        raise TracerError(
            f"cannot copy {source} for a run in a chroot: {error}", "free some space, or name another place with TMPDIR"
        ) from error


def changes(source: str, target: str) -> tuple[str, ...]:
    """Paths that differ between a root and its copy, sorted as bytes; directories only by presence, owner and mode."""
    before = dict(_walk(source))
    now = dict(_walk(target))
    found = [path for path in before.keys() | now.keys() if _sign(before.get(path)) != _sign(now.get(path))]
    return tuple(sorted((path for path in found if path), key=os.fsencode))


def _sign(status: os.stat_result | None) -> tuple[int, ...]:
    if status is None or stat.S_IFMT(status.st_mode) in (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
        return ()
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode, status.st_uid, status.st_gid)
    return (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)


def _walk(top: str) -> Iterator[tuple[str, os.stat_result]]:
    """Paths below `top` ("" is itself), each directory before what is in it."""
    pending = [""]
    while pending:
        path = pending.pop()
        status = os.lstat(top + path)
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            pending += [f"{path}/{name}" for name in sorted(os.listdir(top + path), reverse=True)]


def _like(origin: str, place: str, status: os.stat_result) -> None:
    os.lchown(place, status.st_uid, status.st_gid)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(place, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError):
        for name in os.listxattr(origin, follow_symlinks=False):
            with contextlib.suppress(OSError):
                os.setxattr(place, name, os.getxattr(origin, name, follow_symlinks=False), follow_symlinks=False)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)

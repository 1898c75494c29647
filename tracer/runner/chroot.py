"""A root for commands where the kernel refuses namespaces: a copy of it, entered by chroot(2).

For the check of a small image inside an image build. There is no /proc and no /sys,
the network and the process ids are those around, and /dev has what mknod(2) allows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from dataclasses import dataclass

from tracer.errors import TracerError
from tracer.kernel import userns
from tracer.runner import copy, mount_point
from tracer.runner.rootfs import DEVICES, Mount
from tracer.runner.sandbox import generated


@dataclass(frozen=True, slots=True)
class Copy:
    """A furnished copy of a root. `furniture` is what it has and the root has not."""

    root: str
    place: str
    furniture: frozenset[str]
    notes: tuple[str, ...]

    def changes(self) -> tuple[str, ...]:
        """What commands created, changed or removed."""
        return tuple(
            path
            for path in copy.changes(self.root, self.place)
            if path not in self.furniture and not path.startswith("/dev/")
        )


def not_enough(refused: str) -> TracerError:
    """The error where a stranger's image would run in a chroot; `refused` is why there can be no sandbox."""
    return TracerError(
        f"no sandbox can be made here ({refused or 'a chroot was asked for'}), and a chroot does not hold "
        "what a stranger's image may do",
        f"{userns.refusal()}; or say that you trust this image with --trust-root",
    )


def prepare(root: str, place: str, hostname: str, binds: tuple[Mount, ...], *, fresh_tmp: bool) -> Copy:
    """Make the copy at `place`/root. Raises TracerError."""
    here = f"{place}/root"
    copy.duplicate(root, here)
    notes = ["NOT A SANDBOX: in a chroot on a copy of the root: no /proc, the host's network and process ids"]
    try:
        top = os.open(here, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        proc, system, devices = (mount_point.own(top, name) for name in ("proc", "sys", "dev"))
        made = _devices(devices)
        for descriptor in (top, proc, system, devices):
            os.close(descriptor)
        if not made:
            notes.append("no device can be made: /dev has an empty file for null, and nothing else")
        if fresh_tmp and os.path.isdir(f"{here}/tmp") and not os.path.islink(f"{here}/tmp"):
            for name in os.listdir(f"{here}/tmp"):
                _remove(f"{here}/tmp/{name}")
        for name, text in generated(hostname, private_network=False).items():
            with open(_inside(here, f"/etc/{name}"), "w", encoding="utf-8") as stream:
                stream.write(text)
        for each in binds:
            _copy_in(each, here)
    except OSError as error:
        raise TracerError(f"cannot prepare a chroot in {here}: {error}", "free some space there") from error
    return Copy(root, here, frozenset(copy.changes(root, here)), tuple(notes))


def _devices(place: int) -> bool:
    """Into a directory's descriptor: a link in the root's own /dev leads nowhere."""
    for name in DEVICES:
        with contextlib.suppress(OSError):
            os.mknod(name, stat.S_IFCHR | 0o666, os.stat(f"/dev/{name}").st_rdev, dir_fd=place)
            os.chmod(name, 0o666, dir_fd=place)
    with contextlib.suppress(OSError):
        os.mkdir("shm", dir_fd=place)
        os.chmod("shm", 0o1777, dir_fd=place)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISCHR(os.stat("null", dir_fd=place, follow_symlinks=False).st_mode):
            return True
        os.unlink("null", dir_fd=place)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open("null", flags, dir_fd=place)  # can be written to, and reads as empty
    os.fchmod(descriptor, 0o666)
    os.close(descriptor)
    return False


def _copy_in(each: Mount, here: str) -> None:
    if each.writable:
        raise TracerError(
            f"{each.source} cannot be mounted writable in a chroot", "mount it read-only, or allow namespaces"
        )
    target = _inside(here, each.target)
    if os.path.isdir(each.source):
        copy.duplicate(each.source, target)
    else:
        shutil.copy2(each.source, target)


def _inside(here: str, path: str) -> str:
    """Where to write a path of the root: its parents made, and nothing there (a link could lead out)."""
    place = here
    *above, last = [part for part in path.split("/") if part not in ("", ".", "..")]
    for part in above:
        place = f"{place}/{part}"
        if os.path.islink(place):
            raise TracerError(f"{path} cannot be placed in a chroot: {place.removeprefix(here)} is a symbolic link")
        os.makedirs(place, 0o755, exist_ok=True)
    place = f"{place}/{last}"
    if os.path.lexists(place):
        _remove(place)
    return place


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)

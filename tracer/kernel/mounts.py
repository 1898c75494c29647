"""Mounting, as a program that has just got a mount namespace of its own does it.

Thin and typed wrappers over the C library (mount, umount2, pivot_root); every failure is an OSError that names the
target.
"""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

# include/uapi/linux/mount.h
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
REMOUNT, BIND, REC, PRIVATE = 32, 4096, 16384, 1 << 18
DETACH = 2


def _checked(result: int, path: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError with the target."""
    _checked(
        LIBC.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            os.fsencode(data) or None,
        ),
        target,
    )


def umount(target: str, flags: int = DETACH) -> None:
    """umount2(2). Raises OSError."""
    _checked(LIBC.umount2(os.fsencode(target), flags), target)


def pivot(new_root: str) -> int:
    """Make the mount `new_root` the root of this mount namespace, "/" and the working directory its top.

    Gives a descriptor of the old root, which stays mounted, below "/", until `detach`: until then `..` at the
    top leads into it. Raises OSError.
    """
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(new_root)
    _checked(LIBC.pivot_root(b".", b"."), new_root)
    return old


def detach(old_root: int) -> None:
    """Let go of what `pivot` left. Raises OSError."""
    os.fchdir(old_root)
    try:
        umount(".", DETACH)
    finally:
        os.chdir("/")
        os.close(old_root)

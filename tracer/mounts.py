"""Mounting, as a program that has just got a mount namespace of its own does it.

Thin and typed wrappers over the C library (mount, umount2, pivot_root,
mount_setattr); every failure is an OSError that names the target.
"""

from __future__ import annotations

import ctypes
import os
import stat

LIBC = ctypes.CDLL(None, use_errno=True)

# include/uapi/linux/mount.h
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT = 1, 2, 4, 8, 32
NOATIME, NODIRATIME, BIND, MOVE, REC = 1024, 2048, 4096, 8192, 16384
PRIVATE, SLAVE, RELATIME = 1 << 18, 1 << 19, 1 << 21
DETACH = 2

_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_SYS_MOUNT_SETATTR = 442  # one number on every architecture

# statvfs's f_flag bits → mount(2)'s, for a remount that must repeat what is locked (fs/namespace.c)
_KEPT = ((1, RDONLY), (2, NOSUID), (4, NODEV), (8, NOEXEC), (1024, NOATIME), (2048, NODIRATIME), (4096, RELATIME))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


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


def bind(source: str, target: str, *, writable: bool = True) -> None:
    """Bind `source`, with what is mounted below it; read-only throughout unless writable. Raises OSError."""
    mount(source, target, flags=BIND | REC)
    if not writable:
        read_only(target)


def read_only(target: str) -> None:
    """Make a mount and all below it read-only. Raises OSError."""
    wanted = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    done = LIBC.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(-100),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(wanted),
        ctypes.c_size_t(ctypes.sizeof(wanted)),
    )
    if done == 0:
        return
    # Before Linux 5.12: only the top mount can be changed, and locked flags must be said again.
    flags = os.statvfs(target).f_flag
    kept = sum(mine for theirs, mine in _KEPT if flags & theirs)
    mount("", target, flags=BIND | REMOUNT | RDONLY | kept)


def pivot(new_root: str) -> int:
    """Make the mount `new_root` the root of this mount namespace, "/" and the working directory its top.

    Gives a descriptor of the old root, which stays mounted until `detach`; while it does,
    a relative path from there still reaches the host. Raises OSError.
    """
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(new_root)
    try:
        _checked(LIBC.pivot_root(b".", b"."), new_root)
    except OSError:
        # The host runs from its initial ramdisk, which cannot be pivoted away (pivot_root(2), EINVAL).
        mount(".", "/", flags=MOVE)
        os.chroot(".")
    return old


def detach(old_root: int) -> None:
    """Let go of what `pivot` left. Raises OSError."""
    os.fchdir(old_root)
    try:
        umount(".", DETACH)
    finally:
        os.chdir("/")
        os.close(old_root)


def is_directory(path: str) -> bool:
    """Whether a real directory (not a link to one) is there."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False

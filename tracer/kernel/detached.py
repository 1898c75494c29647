"""Mounts that are made first and put somewhere later, by descriptor: no path is ever looked up twice.

open_tree(2), fsopen(2), mount_setattr(2), move_mount(2); Linux 5.12. Every failure is an OSError that says what
failed.
"""

from __future__ import annotations

import ctypes
import os
import struct

from tracer.kernel.mounts import LIBC

# One number on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 437, 442
# include/uapi/linux/mount.h, fcntl.h, openat2.h
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
_CLONE, _RECURSIVE, _EMPTY_PATH, _NOFOLLOW, _HERE = 1, 0x8000, 0x1000, 0x100, -100
_FROM_DESCRIPTOR, _TO_DESCRIPTOR = 0x04, 0x40
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_PROPAGATE_PRIVATE = 1 << 18
_NO_MAGIC_LINKS, _IN_ROOT = 0x02, 0x10


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return int(result)


def clone(source: str, flags: int = 0, *, at: int = _HERE) -> int:
    """A private copy of a mount, and of all that is mounted below; no link is followed at its end. Raises OSError."""
    wanted = _CLONE | _RECURSIVE | os.O_CLOEXEC | _NOFOLLOW
    mount = _checked(LIBC.syscall(_OPEN_TREE, at, os.fsencode(source), ctypes.c_uint(wanted)), source)
    change = struct.pack("=QQQQ", flags, 0, _PROPAGATE_PRIVATE, 0)
    size = ctypes.c_size_t(len(change))
    try:
        _checked(
            LIBC.syscall(_MOUNT_SETATTR, mount, b"", ctypes.c_uint(_EMPTY_PATH | _RECURSIVE), change, size), source
        )
    except OSError:
        os.close(mount)
        raise
    return mount


def make(kind: str, flags: int, *options: str) -> int:
    """A new filesystem; options are "name=value" or "name". Raises OSError."""
    context = _checked(LIBC.syscall(_FSOPEN, kind.encode(), ctypes.c_uint(1)), kind)  # FSOPEN_CLOEXEC
    try:
        for each in options:
            name, equals, value = each.partition("=")
            command, given = (_SET_STRING, value.encode()) if equals else (_SET_FLAG, None)
            _checked(LIBC.syscall(_FSCONFIG, context, command, name.encode(), given, 0), f"{kind} {each}")
        _checked(LIBC.syscall(_FSCONFIG, context, _CREATE, None, None, 0), kind)
        return _checked(LIBC.syscall(_FSMOUNT, context, ctypes.c_uint(1), ctypes.c_uint(flags)), kind)
    finally:
        os.close(context)


def attach(mount: int, point: int, what: str) -> None:
    """Put a mount on what a descriptor is of. `what` is for the error. Raises OSError."""
    _checked(LIBC.syscall(_MOVE_MOUNT, mount, b"", point, b"", ctypes.c_uint(_FROM_DESCRIPTOR | _TO_DESCRIPTOR)), what)


def open_in(root: int, path: str, flags: int) -> int:
    """openat2(2): as if `root` were "/", and through none of /proc's links. Raises OSError."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _IN_ROOT | _NO_MAGIC_LINKS)
    return _checked(LIBC.syscall(_OPENAT2, root, os.fsencode(path), how, ctypes.c_size_t(len(how))), path)

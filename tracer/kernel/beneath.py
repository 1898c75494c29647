"""Opening below a directory without following a link on the way: nobody who swaps one in can lead outside.

openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS; where the kernel or a container's profile lacks the call, one
component after the other with O_NOFOLLOW.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from tracer.kernel.mounts import LIBC

_OPENAT2 = 437
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_HOW = struct.Struct("=QQQ")
_SIZE = ctypes.c_size_t(_HOW.size)
_ABSENT = (errno.ENOSYS, errno.EPERM)


def open_beneath(top: int, path: str, flags: int) -> int:
    """A descriptor of a relative path without links in it ("" is `top` itself). Raises OSError."""
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    how = _HOW.pack(flags, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    found = LIBC.syscall(_OPENAT2, top, os.fsencode(path or "."), how, _SIZE)
    if found >= 0:
        return int(found)
    number = ctypes.get_errno()
    # EPERM is also what a file answers whose access time is not ours to leave alone: then this says it again.
    if number in _ABSENT:
        return step_by_step(top, path, flags)
    raise OSError(number, os.strerror(number), path)


def step_by_step(top: int, path: str, flags: int) -> int:
    """The same without openat2(2). Raises OSError."""
    *above, last = [each for each in path.split("/") if each not in ("", ".")] or ["."]
    here = os.dup(top)
    try:
        for name in above:
            if name == "..":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
            inner = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = inner
        if last == "..":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)

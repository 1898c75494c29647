"""The session keyring: what a login put into it (Kerberos tickets, disk keys) is inherited by all that it starts."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

from tracer.kernel.mounts import LIBC

_NUMBER = {"x86_64": 250, "i686": 288, "aarch64": 219, "armv7l": 311}
_JOIN_SESSION_KEYRING = 1


def join_new() -> None:
    """Leave the caller's for a new and empty one. Raises OSError where there is one that cannot be left."""
    number = _NUMBER.get(platform.machine())
    if number is None or LIBC.syscall(number, _JOIN_SESSION_KEYRING, None) >= 0:
        return
    failure = ctypes.get_errno()
    # No keys in this kernel, or a container's profile forbids the call: then for the commands too.
    if failure not in (errno.ENOSYS, errno.EPERM):
        raise OSError(failure, os.strerror(failure), "a session keyring of its own")

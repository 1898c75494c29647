"""Capabilities (capabilities(7)): the sets of a process, and what container runtimes leave of them."""

from __future__ import annotations

import ctypes
import errno
import os

from tracer.errors import TracerError
from tracer.kernel.mounts import LIBC

# include/uapi/linux/capability.h, in the kernel's order
NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
_RUNTIME = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE"),
    *("NET_RAW", "SYS_CHROOT", "AUDIT_WRITE", "SETFCAP"),
)
# moby's oci/caps/defaults.go without mknod: what a sandbox has for devices is bound into it.
RUNTIME = frozenset(NAMES.index(name) for name in _RUNTIME)
# Where chroot(2) is all that holds a command, it may not have that call, nor the network's raw sockets: the host's.
CHROOT = RUNTIME - {NAMES.index("SYS_CHROOT"), NAMES.index("NET_RAW")}
_VERSION = 0x20080522
_CAPBSET_READ, _CAPBSET_DROP, _SET_KEEPCAPS, _CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 23, 24, 8, 47, 4


def number(name: str) -> int:
    """Of a name as `--cap-add` takes it: with or without CAP_, in any case. Raises TracerError."""
    plain = name.upper().removeprefix("CAP_")
    if plain not in NAMES:
        raise TracerError(f"no such capability: {name}", f"known are {', '.join(sorted(NAMES))}")
    return NAMES.index(plain)


def limit(allowed: frozenset[int]) -> None:
    """The next exec gets these at most: bounding set, inheritable and ambient ones. Raises OSError.

    What is permitted stays until then: while a process has more than a command can have, no command may look
    into it (security/commoncap.c, cap_ptrace_access_check).
    """
    for each in range(64):
        there = LIBC.prctl(_CAPBSET_READ, *_words(each))
        if there < 0:
            break
        if there and each not in allowed and LIBC.prctl(_CAPBSET_DROP, *_words(each)) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"dropping capability {each}")
    LIBC.prctl(_CAP_AMBIENT, *_words(_AMBIENT_CLEAR_ALL))
    header, data = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    if LIBC.capget(header, data) == 0 and (data[2] or data[5]):
        data[2] = data[5] = 0
        if LIBC.capset(header, data) < 0:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), "clearing inheritable capabilities")


def keep_over_identity() -> None:
    """Stay unreadable for commands until exec: a change of ids keeps what is permitted (PR_SET_KEEPCAPS)."""
    LIBC.prctl(_SET_KEEPCAPS, *_words(1))


def _words(first: int) -> tuple[ctypes.c_ulong, ...]:
    return ctypes.c_ulong(first), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)

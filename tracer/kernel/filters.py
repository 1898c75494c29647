"""Two small seccomp filters of the runner's own, beside the recorder's.

*Pretend*: where a user namespace maps one id only, the calls that change ids and
owners are answered with success, so that servers which drop their privileges start
(SECCOMP_RET_ERRNO with errno 0 makes a call return 0 without doing anything).

*Protect*: in a run in the live root, nothing separates the commands from the
processes that watch them; a signal to one of those, or to every process there is,
is answered with EPERM.

Of several filters the strictest answer counts (ERRNO before USER_NOTIF before TRACE),
so calls that name a path are left to the recorder when there is one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass

from tracer.kernel.bpf import AND, EQUAL, LOAD, NUMBER, RET_ALLOW, RET_ERRNO, RETURN, argument, by_architecture, op
from tracer.kernel.mounts import LIBC

_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_IFMT, _IFCHR, _IFBLK = 0o170000, 0o020000, 0o060000


@dataclass(frozen=True, slots=True)
class _Calls:
    """Numbers of one system call table."""

    audit: int
    ids: tuple[int, ...]  # set*id, setgroups
    fchown: tuple[int, ...]
    chown: tuple[int, ...]  # with a path
    mknod: tuple[tuple[int, int], ...]  # with the index of the mode
    kill: tuple[tuple[int, int], ...]  # with the index of the process id
    machine: tuple[int, ...]  # perf_event_open, quotactl, quotactl_fd


_PIDFD_SEND_SIGNAL = 424
_IDS_32 = (23, 46, 70, 71, 81, 138, 139, 164, 170, 203, 204, 206, 208, 210, 213, 214, 215, 216)
# kill, tkill, tgkill (both ids), rt_sigqueueinfo, rt_tgsigqueueinfo
_X86_64 = _Calls(
    0xC000003E,
    (105, 106, 113, 114, 116, 117, 119, 122, 123),
    (93,),
    (92, 94, 260),
    ((133, 1), (259, 2)),
    ((62, 0), (200, 0), (234, 0), (234, 1), (129, 0), (297, 0)),
    (298, 179, 443),
)
_I386 = _Calls(
    0x40000003,
    _IDS_32,
    (95, 207),
    (16, 182, 198, 212, 298),
    ((14, 1), (297, 2)),
    ((37, 0), (238, 0), (270, 0), (270, 1), (178, 0), (335, 0)),
    (336, 131, 443),
)
_AARCH64 = _Calls(
    0xC00000B7,
    (143, 144, 145, 146, 147, 149, 151, 152, 159),
    (55,),
    (54,),
    ((33, 2),),
    ((129, 0), (130, 0), (131, 0), (131, 1), (138, 0), (240, 0)),
    (241, 60, 443),
)
_ARM = _Calls(
    0x40000028,
    _IDS_32,
    (95, 207),
    (16, 182, 198, 212, 325),
    ((14, 1), (324, 2)),
    ((37, 0), (238, 0), (268, 0), (268, 1), (178, 0), (363, 0)),
    (364, 131, 443),
)
_TABLES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM)}


def pretend(*, paths: bool) -> None:
    """Answer set*id, setgroups and fchown of this process and all it starts with success.

    With `paths` also chown, lchown, fchownat, and mknod(at) of devices, which a
    stop-based recorder otherwise answers itself. Raises OSError.
    """
    install(pretend_program(_tables(), paths=paths))


def protect(processes: Iterable[int]) -> None:
    """Refuse signals of this process and all it starts to `processes` and their groups, and to all processes at once.

    What no program of a run in the live root needs and the whole machine would feel is refused too. Raises OSError.
    """
    targets = list(processes)
    for each in tuple(targets):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(each)
            if group:  # 0: one whose leader lies outside this pid namespace, where nobody in it can name it
                targets.append(0x100000000 - group)
    install(protect_program(_tables(), tuple(dict.fromkeys(targets))))


def _tables() -> tuple[_Calls, ...]:
    return _TABLES.get(platform.machine(), ())


def pretend_program(tables: tuple[_Calls, ...], *, paths: bool) -> bytes:
    """The BPF program of `pretend`."""
    sections = []
    for calls in tables:
        code: list[bytes] = []
        for number in calls.ids + calls.fchown + (calls.chown if paths else ()):
            code += [op(EQUAL, number, 0, 1), op(RETURN, RET_ERRNO)]
        for number, index in calls.mknod if paths else ():
            code += [
                op(EQUAL, number, 0, 6),
                op(LOAD, argument(index)),
                op(AND, _IFMT),
                op(EQUAL, _IFCHR, 1, 0),
                op(EQUAL, _IFBLK, 0, 1),
                op(RETURN, RET_ERRNO),
                op(RETURN, RET_ALLOW),
            ]
        sections.append((calls.audit, code))
    return by_architecture(sections)


def protect_program(tables: tuple[_Calls, ...], processes: tuple[int, ...]) -> bytes:
    """The BPF program of `protect`."""
    sections = []
    for calls in tables:
        code: list[bytes] = []
        for number, index in calls.kill:
            targets = [*processes, 0xFFFFFFFF] if number == calls.kill[0][0] else list(processes)
            code += [op(EQUAL, number, 0, 2 * len(targets) + 2), op(LOAD, argument(index))]
            for target in targets:
                code += [op(EQUAL, target, 0, 1), op(RETURN, RET_ERRNO | errno.EPERM)]
            code.append(op(LOAD, NUMBER))
        for number in calls.machine:
            code += [op(EQUAL, number, 0, 1), op(RETURN, RET_ERRNO | errno.EPERM)]
        # By a descriptor it cannot be seen whom it is for; programs fall back to kill(2) where the call is not there.
        code += [op(EQUAL, _PIDFD_SEND_SIGNAL, 0, 1), op(RETURN, RET_ERRNO | errno.ENOSYS)]
        sections.append((calls.audit, code))
    return by_architecture(sections)


def install(program: bytes) -> None:
    """Put a BPF program on this process; sets no_new_privs only when the kernel asks for it. Raises OSError."""
    raw = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    wanted = Program(len(program) // 8, ctypes.addressof(raw))
    for attempt in range(2):
        if LIBC.prctl(_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(wanted), ctypes.c_ulong(0)) == 0:
            return
        number = ctypes.get_errno()
        if attempt or number != errno.EACCES:
            raise OSError(number, os.strerror(number), "seccomp filter")
        LIBC.prctl(_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(each) for each in (1, 0, 0, 0)))

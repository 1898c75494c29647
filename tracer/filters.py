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

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from tracer.mounts import LIBC

# include/uapi/linux/seccomp.h, filter.h, audit.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
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
    bit: int = 0  # a second number space of the same table (x32)


_IDS_32 = (23, 46, 70, 71, 81, 138, 139, 164, 170, 203, 204, 206, 208, 210, 213, 214, 215, 216)
# kill, tkill, tgkill (both ids), rt_sigqueueinfo, rt_tgsigqueueinfo
_X86_64 = _Calls(
    0xC000003E,
    (105, 106, 113, 114, 116, 117, 119, 122, 123),
    (93,),
    (92, 94, 260),
    ((133, 1), (259, 2)),
    ((62, 0), (200, 0), (234, 0), (234, 1), (129, 0), (297, 0)),
)
_I386 = _Calls(
    0x40000003,
    _IDS_32,
    (95, 207),
    (16, 182, 198, 212, 298),
    ((14, 1), (297, 2)),
    ((37, 0), (238, 0), (270, 0), (270, 1), (178, 0), (335, 0)),
)
_AARCH64 = _Calls(
    0xC00000B7,
    (143, 144, 145, 146, 147, 149, 151, 152, 159),
    (55,),
    (54,),
    ((33, 2),),
    ((129, 0), (130, 0), (131, 0), (131, 1), (138, 0), (240, 0)),
)
_ARM = _Calls(
    0x40000028,
    _IDS_32,
    (95, 207),
    (16, 182, 198, 212, 325),
    ((14, 1), (324, 2)),
    ((37, 0), (238, 0), (268, 0), (268, 1), (178, 0), (363, 0)),
)
_TABLES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM)}


def pretend(*, paths: bool) -> None:
    """Answer set*id, setgroups and fchown of this process and all it starts with success.

    With `paths` also chown, lchown, fchownat, and mknod(at) of devices, which a
    stop-based recorder otherwise answers itself. Raises OSError.
    """
    install(pretend_program(_tables(), paths=paths))


def protect(processes: Iterable[int]) -> None:
    """Refuse signals of this process and all it starts to `processes`, and to all processes at once. Raises OSError."""
    install(protect_program(_tables(), tuple(processes)))


def _tables() -> tuple[_Calls, ...]:
    return _TABLES.get(platform.machine(), ())


def pretend_program(tables: tuple[_Calls, ...], *, paths: bool) -> bytes:
    """The BPF program of `pretend`."""
    sections = []
    for calls in tables:
        code: list[bytes] = []
        for number in calls.ids + calls.fchown + (calls.chown if paths else ()):
            code += [_jump(_EQUAL, number, 0, 1), _op(_RETURN, _ERRNO)]
        for number, index in calls.mknod if paths else ():
            code += [
                _jump(_EQUAL, number, 0, 6),
                _op(_LOAD, _ARGUMENTS + 8 * index),
                _op(_AND, _IFMT),
                _jump(_EQUAL, _IFCHR, 1, 0),
                _jump(_EQUAL, _IFBLK, 0, 1),
                _op(_RETURN, _ERRNO),
                _op(_RETURN, _ALLOW),
            ]
        sections.append((calls, code))
    return _program(sections)


def protect_program(tables: tuple[_Calls, ...], processes: tuple[int, ...]) -> bytes:
    """The BPF program of `protect`."""
    sections = []
    for calls in tables:
        code: list[bytes] = []
        for number, index in calls.kill:
            targets = [*processes, 0xFFFFFFFF] if number == calls.kill[0][0] else list(processes)
            code += [_jump(_EQUAL, number, 0, 2 * len(targets) + 2), _op(_LOAD, _ARGUMENTS + 8 * index)]
            for target in targets:
                code += [_jump(_EQUAL, target, 0, 1), _op(_RETURN, _ERRNO | errno.EPERM)]
            code.append(_op(_LOAD, _NUMBER))
        sections.append((calls, code))
    return _program(sections)


def _program(sections: list[tuple[_Calls, list[bytes]]]) -> bytes:
    """Sections by architecture; a jump over more than 255 instructions goes by an unconditional one."""
    code = [_op(_LOAD, _ARCH)]
    for calls, section in sections:
        body = [_op(_LOAD, _NUMBER), *section, _op(_RETURN, _ALLOW)]
        code += [_jump(_EQUAL, calls.audit, 1, 0), _op(0x05, len(body)), *body]
    return b"".join([*code, _op(_RETURN, _ALLOW)])


def _op(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, yes: int, no: int) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


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

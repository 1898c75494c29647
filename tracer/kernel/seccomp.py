"""The BPF program that selects the calls of `tracer.kernel.syscalls`, and its installation.

The kernel keeps a bitmap of calls that a filter allows whatever their arguments
(since 5.11), so what is not selected costs nothing, however long the program is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Container, Iterable

from tracer.errors import TracerError
from tracer.kernel.bpf import AND, ARCHITECTURE, AT_LEAST, EQUAL, GOTO, LOAD, NUMBER, RET_ALLOW, RETURN, argument, op
from tracer.kernel.mounts import LIBC
from tracer.kernel.syscalls import NEWER, Action, Call, Convention, Test, conventions

_SYS_SECCOMP = {"x86_64": 317, "i386": 354, "i686": 354, "aarch64": 277, "armv7l": 383, "armv8l": 383}
_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE = 1 << 5
_PR_SET_NO_NEW_PRIVS = 38

libc = LIBC


def _when(test: Test, yes: int, no: int) -> list[bytes]:
    """Load and compare; jumps are relative to the end of this sequence."""
    code = [op(LOAD, argument(test.argument, upper=test.upper))]
    if test.mask != 0xFFFFFFFF:
        code.append(op(AND, test.mask))
    return [*code, op(EQUAL, test.value, yes, no)]


def _decide(call: Call, action: int) -> list[bytes]:
    """Ends in a RET on every way."""
    code: list[bytes] = []
    for test in call.only:  # any of them stops
        code += [*_when(test, 0, 1), op(RETURN, action)]
    if call.only:
        return [*code, op(RETURN, RET_ALLOW)]
    rest: list[bytes] = [op(RETURN, RET_ALLOW), op(RETURN, action)]
    if not call.unless:
        return [op(RETURN, action)]
    for test in reversed(call.unless):  # the first that fails stops
        rest = _when(test, 0, len(rest) - 1) + rest
    return rest


def program(kernel: Iterable[Convention], action: int, actions: Container[Action]) -> bytes:
    """An array of struct sock_filter: `action` for the calls whose Action is among `actions`, else allow."""
    blocks: dict[int, list[bytes]] = {}
    for convention in kernel:
        code = blocks.setdefault(convention.audit, [op(LOAD, NUMBER)])
        for number, call in sorted(convention.calls.items()):
            if call.action in actions:
                decision = _decide(call, action)
                code += [op(EQUAL, number, 0, len(decision)), *decision]
    whole = [op(LOAD, ARCHITECTURE)]
    for audit, code in blocks.items():
        if Action.UNKNOWN in actions:
            code += [op(AT_LEAST, NEWER.start, 0, 2), op(AT_LEAST, NEWER.stop, 1, 0), op(RETURN, action)]
        code.append(op(RETURN, RET_ALLOW))
        whole += [op(EQUAL, audit, 1, 0), op(GOTO, len(code)), *code]
    whole.append(op(RETURN, RET_ALLOW))
    return b"".join(whole)


class _Fprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Refused(TracerError):
    """The kernel refused the filter."""

    def __init__(self, number: int) -> None:
        reasons = {
            errno.EBUSY: "a seccomp listener is already there, from a container runtime or another recorder",
            errno.EINVAL: "the kernel is older than 5.5 or was built without it",
            errno.EACCES: "no_new_privs could not be set",
            errno.ENOSYS: "the kernel was built without seccomp, or a filter already there forbids it",
            errno.EPERM: "a filter already there forbids it",
        }
        super().__init__(
            f"the kernel refused the seccomp filter that recording needs: {os.strerror(number)}",
            reasons.get(number, ""),
        )
        self.errno = number


def set_no_new_privs() -> None:
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise Refused(ctypes.get_errno())


def install(code: bytes, *, listener: bool) -> int:
    """Filter this thread and what it starts; gives the listener's descriptor, or 0. Raises Refused.

    no_new_privs is set only when the kernel insists, so that setuid programs keep
    working where the caller has CAP_SYS_ADMIN in its user namespace.
    """
    number = _SYS_SECCOMP[platform.machine()]
    prog = _Fprog(len(code) // 8, code)
    wishes = (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER) if listener else (0,)
    privileged = True
    for flags in wishes:
        while True:
            done = libc.syscall(number, _SET_MODE_FILTER, flags, ctypes.byref(prog))
            if done >= 0:
                return int(done)
            failure = ctypes.get_errno()
            if failure != errno.EACCES or not privileged:
                break
            privileged = False
            set_no_new_privs()
        if failure != errno.EINVAL:
            break
    raise Refused(failure)


def filter_for(action: int, actions: Container[Action]) -> bytes:
    """The program for this machine. Raises TracerError when its system calls are not known."""
    kernel = conventions(platform.machine())
    if not kernel:
        raise TracerError(
            f"recording is not possible on {platform.machine()}: its system calls are not in the table",
            "record on x86_64 or aarch64",
        )
    return program(kernel, action, actions)

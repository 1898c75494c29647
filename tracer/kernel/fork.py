"""What a process does right after it was forked from a larger one: lets go of all that is not its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
from collections.abc import Iterable

from tracer.kernel.mounts import LIBC

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_NAME = b"slimmer"


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """A signal from the kernel when the parent ends. A change of ids clears it: say it again afterwards."""
    LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)


def no_new_privileges() -> None:
    """No exec gives more than there is: neither setuid nor file capabilities. Raises OSError."""
    if LIBC.prctl(_PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(each) for each in (1, 0, 0, 0))) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "no_new_privs")


def alone(keep: Iterable[int]) -> None:
    """In a forked process: close all descriptors but these, standard ones at /dev/null, signals as new, own session."""
    gc.disable()  # a collected object of the caller's would close a descriptor number that is ours by now
    signal.set_wakeup_fd(-1)
    for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(PermissionError):
        os.setsid()
    dumpable()
    forget()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number, inheritable=False)
    close_others(keep)


def forget() -> None:
    """The caller's environment and arguments are not ours to show: /proc/PID/environ and cmdline read this memory."""
    os.environ.clear()
    with contextlib.suppress(OSError, ValueError), open("/proc/self/stat", "rb") as stream:
        # proc(5), fields 48 to 51: arg_start, arg_end, env_start, env_end; the third is the first behind the name
        first, last, low, high = (int(each) for each in stream.read().rpartition(b")")[2].split()[45:49])
        for start, end in ((first, last), (low, high)):
            if 0 < start < end:
                ctypes.memset(start, 0, end - start)
        if last - first > len(_NAME):
            ctypes.memmove(first, _NAME, len(_NAME))


def dumpable() -> None:
    """After a change of ids: /proc files, and memory, of this process belong to its user again, not to root."""
    LIBC.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1), 0, 0, 0)


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor above 2 but these."""
    previous = 2
    for number in sorted({each for each in keep if each > 2}):
        os.closerange(previous + 1, number)
        previous = number
    os.closerange(previous + 1, 1 << 20)

"""Recorder by ptrace behind the same seccomp filter, for where a listener is refused.

Processes are seized, so that a stop of the program's own (SIGSTOP, Ctrl-Z) stays one;
they stop for the filter (on entry, once), for the birth of a child or a thread, for exec, and
for each signal, which is passed on. The tracees die with us (PTRACE_O_EXITKILL).

A stop on another CPU than the recorder's costs two wake-ups across CPUs, five times what the
work costs: so the recorder and its tracees share one CPU (`pin`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptrace import PtraceError
from ptrace.binding import func as binding

from tracer.kernel.bpf import RET_TRACE
from tracer.kernel.seccomp import filter_for
from tracer.kernel.syscalls import AARCH64, ARM, I386, X86_64, Action
from tracer.recorder.dispatcher import ARGUMENTS, Dispatcher, key

# linux/ptrace.h: what python-ptrace's bindings do not name
_SEIZE = 0x4206
_LISTEN = 0x4208
_GET_SYSCALL_INFO = 0x420E
_EVENT_SECCOMP = 7
_EVENT_STOP = 128
_O_TRACESECCOMP = 1 << _EVENT_SECCOMP
_O_EXITKILL = 1 << 20
_NT_ARM_SYSTEM_CALL = 0x404

_OPTIONS = (
    binding.PTRACE_O_TRACEFORK
    | binding.PTRACE_O_TRACEVFORK
    | binding.PTRACE_O_TRACECLONE
    | binding.PTRACE_O_TRACEEXEC
    | _O_TRACESECCOMP
    | _O_EXITKILL
)
_WALL = binding.THREAD_TRACE_FLAGS
_BIRTHS = {binding.PTRACE_EVENT_FORK, binding.PTRACE_EVENT_VFORK, binding.PTRACE_EVENT_CLONE}
_GROUP_STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_AT_FILTER = signal.SIGTRAP << 8 | _EVENT_SECCOMP << 16  # a whole wait status

# struct ptrace_syscall_info at a seccomp stop: op (a byte) and arch in the first 8, ip, sp, nr, six arguments, and 8
# more. The arguments begin where those of a notification do.
_INFO = 88  # bytes

_ptrace = ctypes.CDLL(None, use_errno=True)["ptrace"]
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)

# os.waitpid waits on when a signal came; this one comes back. PyDLL: one thread only, no lock to give up.
_waitpid = ctypes.PyDLL(None, use_errno=True)["waitpid"]


@dataclass(frozen=True, slots=True)
class Registers:
    """Where a convention keeps a call's number and arguments, in python-ptrace's names of the registers."""

    audit: int
    number: str
    arguments: tuple[str, str, str, str, str, str]
    result: str


REGISTERS: Mapping[str, Registers] = {
    "x86_64": Registers(X86_64.audit, "orig_rax", ("rdi", "rsi", "rdx", "r10", "r8", "r9"), "rax"),
    "i386": Registers(I386.audit, "orig_rax", ("rbx", "rcx", "rdx", "rsi", "rdi", "rbp"), "rax"),
    "aarch64": Registers(AARCH64.audit, "r8", ("r0", "r1", "r2", "r3", "r4", "r5"), "r0"),
    "arm": Registers(ARM.audit, "r7", ("r0", "r1", "r2", "r3", "r4", "r5"), "r0"),
}
_I386_CODE_SEGMENT = 0x23  # arch/x86/include/asm/segment.h: __USER32_CS
_PSTATE_AARCH32 = 0x10  # arch/arm64/include/uapi/asm/ptrace.h: PSR_MODE32_BIT


def code(*, changes: bool) -> bytes:
    """The filter: `changes` also stops what changes a file through a descriptor."""
    actions = set(Action) - {Action.LISTENER}
    if not changes:
        actions.discard(Action.CHANGES_FD)
    return filter_for(RET_TRACE, actions)


def seize(tid: int) -> None:
    """Make a process a tracee without stopping it. Raises OSError."""
    if _ptrace(_SEIZE, tid, None, _OPTIONS) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def pin(tid: int) -> None:
    """Keep a tracee, and what it starts, on our CPU; the first time, choose one: the one we are on."""
    with contextlib.suppress(OSError):
        mine = os.sched_getaffinity(0)
        if len(mine) > 1:
            with open("/proc/self/stat", "rb") as stream:
                cpu = int(stream.read().rpartition(b")")[2].split()[36])
            mine = {cpu}
            os.sched_setaffinity(0, mine)
        os.sched_setaffinity(tid, mine)


class Tracer:
    """The tracees of this process."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._tracees: set[int] = set()
        self._info = ctypes.create_string_buffer(_INFO)
        self._wide = memoryview(self._info).cast("B").cast("Q")
        self._narrow = memoryview(self._info).cast("B").cast("I")
        self._registers: Registers | None = None  # before 5.3 the calls are read from the registers

    def __len__(self) -> int:
        return len(self._tracees)

    def take(self, pid: int) -> None:
        """Trace a process that is about to exec a command. Raises OSError."""
        seize(pid)
        pin(pid)
        self._tracees.add(pid)

    def serve(self, wanted: Sequence[bool]) -> None:
        """Serve stops until there is no tracee, or until `wanted` holds something."""
        wait, size, cont, call = _waitpid, _INFO, binding.PTRACE_CONT, _ptrace
        stop, wide, narrow, at_filter, call = (
            self._dispatcher.stop,
            self._wide,
            self._narrow,
            _AT_FILTER | 0x7F,
            _ptrace,
        )
        address = ctypes.addressof(self._info)
        word = ctypes.c_int()
        status_at = ctypes.byref(word)
        while not wanted:
            tid = wait(-1, status_at, _WALL)
            if tid < 0:
                if ctypes.get_errno() == errno.EINTR:
                    continue
                self._tracees.clear()  # ECHILD
                return
            status = word.value
            if status == at_filter and call(_GET_SYSCALL_INFO, tid, size, address) > 0:
                answer = stop(tid, key(wide[3], narrow[1]), wide)
                if answer is not None:
                    self._skip(tid, answer)
                call(cont, tid, None, None)
            else:
                self._other(tid, status)
                if not self._tracees:  # what is left to wait for are helpers of our own
                    return

    def serve_ready(self) -> None:
        """Serve what has stopped already, without waiting."""
        while True:
            try:
                tid, status = os.waitpid(-1, _WALL | os.WNOHANG)
            except ChildProcessError:
                self._tracees.clear()
                return
            if not tid:
                return
            self._other(tid, status)

    def _other(self, tid: int, status: int) -> None:
        """Any stop."""
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            self._tracees.discard(tid)
            self._forget(tid)
            return
        number, event = os.WSTOPSIG(status), status >> 16
        go_on, data = binding.PTRACE_CONT, 0
        if event == _EVENT_SECCOMP:
            self._filtered(tid)
        elif event in _BIRTHS:
            with contextlib.suppress(PtraceError):
                self._tracees.add(binding.ptrace_geteventmsg(tid))
        elif event == binding.PTRACE_EVENT_EXEC:
            # Whoever called exec has the number of the whole process now; the other threads are gone.
            with contextlib.suppress(PtraceError):
                former = binding.ptrace_geteventmsg(tid)
                if former != tid:
                    self._tracees.discard(former)
                    self._forget(former)
            self._forget(tid)
        elif event == _EVENT_STOP:
            self._tracees.add(tid)
            if number in _GROUP_STOPS:
                go_on = _LISTEN  # stays stopped until SIGCONT, as it would alone
        elif not event:
            data = number  # a signal on its way
        _ptrace(go_on, tid, None, data)

    def _forget(self, tid: int) -> None:
        self._dispatcher.processes.forget(tid)
        self._dispatcher.memory.forget(tid)

    def _filtered(self, tid: int) -> None:
        fields: Sequence[int] = self._wide
        if _ptrace(_GET_SYSCALL_INFO, tid, _INFO, ctypes.addressof(self._info)) > 0:
            which = key(self._wide[3], self._narrow[1])
        else:
            try:
                which, fields = from_registers(binding.ptrace_getregs(tid), platform.machine())
            except PtraceError:
                return  # killed meanwhile
        answer = self._dispatcher.stop(tid, which, fields)
        if answer is not None:
            self._skip(tid, answer)

    @staticmethod
    def _skip(tid: int, result: int) -> None:
        """Let the call not happen, and give this result."""
        with contextlib.suppress(PtraceError):
            registers = binding.ptrace_getregs(tid)
            if platform.machine() == "aarch64":
                # The number of the call is not among the general registers that may be set.
                value = ctypes.c_int(-1)
                part = (ctypes.c_void_p * 2)(ctypes.addressof(value), ctypes.sizeof(value))
                _ptrace(binding.PTRACE_SETREGSET, tid, _NT_ARM_SYSTEM_CALL, ctypes.addressof(part))
                registers.r0 = result & (1 << 64) - 1
            else:
                registers.orig_rax = (1 << 64) - 1
                registers.rax = result & (1 << 64) - 1
            binding.ptrace_setregs(tid, registers)


def from_registers(registers: object, machine: str) -> tuple[int, list[int]]:
    """The key and the fields of a stop, from the registers: kernels before 5.3 have no PTRACE_GET_SYSCALL_INFO."""
    name = machine
    if machine == "x86_64" and getattr(registers, "cs", 0) == _I386_CODE_SEGMENT:
        name = "i386"
    elif machine == "aarch64" and getattr(registers, "pstate", 0) & _PSTATE_AARCH32:
        name = "arm"
    layout = REGISTERS[name]
    wide = (1 << 64) - 1 if name in ("x86_64", "aarch64") else (1 << 32) - 1
    number = getattr(registers, layout.number) & wide
    arguments = [getattr(registers, name) & wide for name in layout.arguments]
    return key(number, layout.audit), [*[0] * ARGUMENTS, *arguments]

"""Lookups in vain of processes that run already: every one that shares a process's root is traced for a while.

No filter can be put on a running process, so each of its system calls stops twice, at a hundred microseconds: this is
for finding out what is missing, not for a server under load. A worker process traces; it lets go of all at its end, and
the kernel does when it is killed. What the programs do is not changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ptrace.binding import func as binding

from tracer.errors import TracerError
from tracer.kernel.fork import die_with_parent
from tracer.kernel.syscalls import HERE, Action, Call, conventions
from tracer.recorder.memory import Memory

_SEIZE, _INTERRUPT, _LISTEN, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x4208, 0x420E  # linux/ptrace.h
_EVENT_STOP = 128
_OPTIONS = (
    binding.PTRACE_O_TRACEFORK
    | binding.PTRACE_O_TRACEVFORK
    | binding.PTRACE_O_TRACECLONE
    | binding.PTRACE_O_TRACESYSGOOD
)
_AT_SYSCALL = signal.SIGTRAP | 0x80
_GROUP_STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_ENTRY, _EXIT, _INFO = 1, 2, 88  # struct ptrace_syscall_info: op, and its size
_FOUND = {Action.PATHS, Action.OPEN, Action.OPENAT2, Action.EXEC}
_PATIENCE = 5.0  # seconds for tracees to stop once more, at the end
_ptrace = ctypes.CDLL(None, use_errno=True)["ptrace"]
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def threads_of(pid: int) -> list[int]:
    """Every thread on the machine whose root directory is that of a process. Raises OSError."""
    wanted = os.stat(f"/proc/{pid}/root")
    mounts = os.readlink(f"/proc/{pid}/ns/mnt")
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                same = os.path.samestat(os.stat(f"/proc/{name}/root"), wanted)
                if same and os.readlink(f"/proc/{name}/ns/mnt") == mounts:
                    found += [int(each) for each in os.listdir(f"/proc/{name}/task")]
    return sorted(found)


@dataclass(slots=True)
class Vain:
    """A worker that traces, and its answer."""

    worker: int
    answer: int  # a pipe's end

    @classmethod
    def start(cls, pid: int) -> Vain:
        """Begin with every process that has the root of this one. Raises TracerError."""
        try:
            threads = threads_of(pid)
        except OSError as error:
            raise TracerError(f"process {pid} cannot be traced: {error.strerror}", "as root, on its host") from error
        reader, writer = os.pipe2(os.O_CLOEXEC)
        ready, started = os.pipe2(os.O_CLOEXEC)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        worker = os.fork()
        if worker == 0:
            try:
                die_with_parent()
                os.close(reader)
                os.close(ready)
                _Tracees(threads).run(writer, started)
            finally:
                os._exit(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
        os.close(started)
        with open(ready, "rb") as stream:
            problem = stream.read()
        if problem != b"ok":
            os.close(reader)
            os.waitpid(worker, 0)
            said = problem.decode(errors="replace") or "the tracer ended"
            raise TracerError(
                f"process {pid} cannot be traced: {said}", "as root; nobody else may trace it, no debugger"
            )
        return cls(worker, reader)

    def finish(self) -> dict[str, set[str]]:
        """Let go of all; what was looked for in vain, each absolute path with the programs that did."""
        os.kill(self.worker, signal.SIGTERM)
        with open(self.answer, "rb") as stream:
            text = stream.read()
        os.waitpid(self.worker, 0)
        found: dict[str, set[str]] = {}
        for line in text.split(b"\0\0"):
            path, _, program = line.partition(b"\0")
            if path:
                found.setdefault(os.fsdecode(path), set()).add(os.fsdecode(program))
        return found


@dataclass(slots=True)
class _Tracees:
    """What the worker holds."""

    threads: list[int]
    pending: dict[int, tuple[bytes, ...]] = field(default_factory=dict)  # a thread to what it looks for just now
    alive: set[int] = field(default_factory=set)
    vain: set[tuple[bytes, bytes]] = field(default_factory=set)

    def run(self, writer: int, started: int) -> None:
        """Until SIGTERM, which is blocked and asked for between stops."""
        info = ctypes.create_string_buffer(_INFO)
        memory = Memory(lambda tid, why: None)
        calls = {
            (each.audit, number): call
            for each in conventions(platform.machine())
            for number, call in each.calls.items()
            if call.action in _FOUND
        }
        problem = self._seize()
        os.write(started, problem or b"ok")
        os.close(started)
        asked, deadline = False, 0.0
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
        while self.alive and not problem:
            tid, status = self._wait()
            if not tid:
                got = signal.sigtimedwait((signal.SIGTERM, signal.SIGCHLD), 0.2)
                if got is not None and got.si_signo == signal.SIGTERM and not asked:
                    asked, deadline = True, time.monotonic() + _PATIENCE
                    for each in self.alive:
                        _ptrace(_INTERRUPT, each, None, None)
                if asked and time.monotonic() > deadline:
                    break
                continue
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self.alive.discard(tid)
                self.pending.pop(tid, None)
                continue
            self._stop(tid, status, info, memory, calls, leave=asked)
            if not asked and signal.SIGTERM in signal.sigpending():
                signal.sigtimedwait((signal.SIGTERM,), 0)
                asked, deadline = True, time.monotonic() + _PATIENCE
                for each in self.alive:
                    _ptrace(_INTERRUPT, each, None, None)
        data = b"\0\0".join(path + b"\0" + program for path, program in sorted(self.vain))
        with open(writer, "wb") as stream:
            stream.write(data)

    def _seize(self) -> bytes:
        """Take all; why not, in words, when none can be taken."""
        why = 0
        for tid in self.threads:
            if _ptrace(_SEIZE, tid, None, _OPTIONS) < 0:
                why = ctypes.get_errno()
                continue
            self.alive.add(tid)
            _ptrace(_INTERRUPT, tid, None, None)  # the next stop sets it going from call to call
        return b"" if self.alive else os.strerror(why or errno.ESRCH).encode()

    def _wait(self) -> tuple[int, int]:
        try:
            return os.waitpid(-1, os.WNOHANG | binding.THREAD_TRACE_FLAGS)
        except ChildProcessError:
            self.alive.clear()
            return 0, 0

    def _stop(
        self,
        tid: int,
        status: int,
        info: ctypes.Array[ctypes.c_char],
        memory: Memory,
        calls: dict[tuple[int, int], Call],
        *,
        leave: bool,
    ) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        self.alive.add(tid)  # one that was born comes by itself
        data = 0
        if number == _AT_SYSCALL and not event:
            if _ptrace(_GET_SYSCALL_INFO, tid, _INFO, ctypes.addressof(info)) > 0:
                self._call(tid, info, memory, calls)
        elif event == _EVENT_STOP and number in _GROUP_STOPS and not leave:
            _ptrace(_LISTEN, tid, None, None)
            return
        elif not event:
            data = number  # a signal on its way
        if leave:
            _ptrace(binding.PTRACE_DETACH, tid, None, data)
            self.alive.discard(tid)
            return
        _ptrace(binding.PTRACE_SYSCALL, tid, None, data)

    def _call(
        self, tid: int, info: ctypes.Array[ctypes.c_char], memory: Memory, calls: dict[tuple[int, int], Call]
    ) -> None:
        wide, narrow = memoryview(info).cast("B").cast("Q"), memoryview(info).cast("B").cast("I")
        kind = info.raw[0]
        if kind == _ENTRY:
            call = calls.get((narrow[1], wide[3]))
            if call is not None:
                self.pending[tid] = tuple(_named(tid, call, [wide[4 + index] for index in range(6)], memory))
        elif kind == _EXIT:
            paths = self.pending.pop(tid, ())
            if ctypes.c_int64(wide[3]).value == -errno.ENOENT and paths:
                program = _link(f"/proc/{tid}/exe") or b""
                self.vain.update((path, program) for path in paths)


def _named(tid: int, call: Call, arguments: list[int], memory: Memory) -> Iterator[bytes]:
    """Absolute paths that a call names."""
    for operand in call.operands:
        raw = memory.string(tid, arguments[operand.path])
        if not raw:
            continue
        if raw.startswith(b"/"):
            yield os.path.normpath(raw)
            continue
        fd = HERE if operand.dirfd is None else arguments[operand.dirfd] & 0xFFFFFFFF
        base = _link(f"/proc/{tid}/cwd" if fd == HERE else f"/proc/{tid}/fd/{fd}")
        if base and base.startswith(b"/"):
            yield os.path.normpath(os.path.join(base, raw))


def _link(path: str) -> bytes | None:
    try:
        return os.readlink(os.fsencode(path))
    except OSError:
        return None
